#!/usr/bin/env bash
# Every server is stopped and started, one after the other, under load on two mounts: no call fails,
# no stop has to be cut short (a daemon does that itself after 10 s), and the pause is bounded: it is to
# be under 2 s; 5 s are asked for here, since a busy machine makes any one longer, and of each server
# the best turn counts, of three, or of more up to eight until all are under it. At the end all that was
# written is there. SHEEN_PAUSE_MAX=2000 asks for the 2 s.
. "$(dirname "$0")/../support/cluster.sh"
TURNS=3
TURNS_MAX=8
PAUSE_MAX=${SHEEN_PAUSE_MAX:-5000} # ms
pids=()
test_cleanup() {
  [ ${#pids[@]} -eq 0 ] || kill -9 "${pids[@]}" 2>/dev/null
  sheen dev umount "$WORK/second" --name "$NAME" >/dev/null 2>&1
}
now_ms() { python3 -c 'import time; print(int(time.monotonic() * 1000))'; }
cluster_up --oss 2 --osts 2
mkdir "$WORK/second"
sheen dev mount "$WORK/second" --name "$NAME" >/dev/null
python3 "$ROOT/tests/integration/rolling.py" "$MNT" "$WORK/second" a "$WORK/a" &
pids+=($!)
python3 "$ROOT/tests/integration/rolling.py" "$WORK/second" "$MNT" b "$WORK/b" &
pids+=($!)
running() { kill -0 "${pids[@]}" 2>/dev/null || die "a load ended: its call failed (above)"; }
# The longest call that ended since a time, ms.
longest() { cat "$WORK/a" "$WORK/b" | awk -v since="$1" '$1 * 1000 >= since && $2 * 1000 > most { most = $2 * 1000 } END { printf "%d\n", most }'; }
stop_and_start() { # daemon: its longest pause is $pause
  local begin stopped out
  begin=$(now_ms)
  out=$(sheen dev stop "$1" --name "$NAME") || die "stop of $1: $out"
  stopped=$(($(now_ms) - begin))
  grep -q 'killed' <<<"$out" && die "$1: $out"
  grep 'did not stop within' "$WORK/cluster/log/$1.log" && die "the stop of $1 was cut short"
  sheen dev start "$1" --name "$NAME" >/dev/null || die "start of $1"
  # Who waited has been answered by then, or waits still, which the end tells.
  sleep 2
  running
  pause=$(longest "$begin")
  say "  $1: stopped after $stopped ms, the longest call took $pause ms"
}

declare -A best=()
good_enough() {
  local daemon
  for daemon in "${!best[@]}"; do [ "${best[$daemon]}" -lt "$PAUSE_MAX" ] || return 1; done
}
turn=0
until [ "$turn" -ge "$TURNS" ] && { good_enough || [ "$turn" -ge "$TURNS_MAX" ]; }; do
  turn=$((turn + 1))
  say "turn $turn"
  for daemon in mds0 oss0 oss1; do
    stop_and_start "$daemon"
    [ -n "${best[$daemon]:-}" ] && [ "${best[$daemon]}" -le "$pause" ] || best[$daemon]=$pause
  done
done
touch "$WORK/a.stop" "$WORK/b.stop"
for pid in "${pids[@]}"; do wait "$pid" || die "a load failed"; done
pids=()
calls=$(($(awk '/^end/ { print $2 }' "$WORK/a") + $(awk '/^end/ { print $2 }' "$WORK/b")))
for daemon in "${!best[@]}"; do
  say "$daemon: the longest pause of its best turn ${best[$daemon]} ms"
  [ "${best[$daemon]}" -lt "$PAUSE_MAX" ] || die "each restart of $daemon is a pause of ${best[$daemon]} ms or more"
done
say "$calls calls, none failed; ok"
