#!/usr/bin/env bash
# Hosts that cannot reach each other, as network namespaces: frames lost in one direction, a cable that
# flaps, servers' machines that vanish and come back (no connection is ever reset). No call fails, all
# go on soon after, and what was answered is there once. Longer than that: evictions.sh.
. "$(dirname "$0")/../support/cluster.sh"
. "$(dirname "$0")/../support/hosts.sh"
. "$(dirname "$0")/../support/hosts_cluster.sh"
HELPER=$ROOT/tests/integration/partitions.py
HEALED_MAX=20000 # ms; a connection repeats what is lost after 0.2, 0.6, 1.4, 3, 6.2, 12.6 s
test_cleanup() { hosts_cluster_down; }
hosts_cluster_up c0 c1
chmod 777 "$WORK/c0"

loads=()
answered() { wc -l <"$WORK/$1.notes/$1"; }
more_than() { [ "$(answered "$1")" -gt "$2" ]; }
# goes_on HOST: both servers have answered it several times since now.
goes_on() {
  local host=$1 at
  at=$(answered "$host")
  until_true "$host goes on" no_error_and more_than "$host" $((at + 10))
}
no_error_and() {
  grep -h '^error' "$WORK"/c?.notes/c? >&2 && die "a call failed"
  "$@"
}
for host in c0 c1; do
  mkdir "$WORK/$host.notes"
  python3 "$HELPER" load "$WORK/$host" "$host" "$WORK/$host.notes/$host" &
  loads+=($!)
  pids+=($!)
  until_true "the first answers of $host" test -s "$WORK/$host.notes/$host"
  goes_on "$host"
done
# healed WHAT: each load goes on within HEALED_MAX.
healed() {
  local begin host
  begin=$(now_ms)
  for host in c0 c1; do goes_on "$host"; done
  local took=$(($(now_ms) - begin))
  say "  $1: all go on after $took ms"
  [ "$took" -lt "$HEALED_MAX" ] || die "$1: all go on only after $took ms"
}

say "one direction loses everything"
for way in 'c0 mds' 'mds c0' 'c0 oss0' 'oss0 c0'; do
  # shellcheck disable=SC2086
  lose $way
  sleep 1.5
  at=$(answered c0)
  sleep 2.5
  [ "$(answered c0)" = "$at" ] || die "$way: nothing should arrive, and c0 goes on"
  # shellcheck disable=SC2086
  heal $way
  healed "$way"
done

say "a cable that flaps"
RANDOM=$$
for host in c0 oss0 mds; do
  for _ in 1 2 3; do
    unplug "$host"
    sleep "$((RANDOM % 2)).$((RANDOM % 5 + 1))"
    plug "$host"
    sleep "0.$((RANDOM % 9 + 1))"
  done
  healed "$host"
done

say "a server's machine vanishes, and comes back"
for host in mds oss0; do
  unplug "$host"
  kill -9 "${DAEMON[$host]}"
  wait "${DAEMON[$host]}" 2>/dev/null || true
  start_server "$host"
  sleep 2
  plug "$host"
  healed "$host"
done

for host in c0 c1; do touch "$WORK/$host.notes/$host.stop"; done
for load in "${loads[@]}"; do wait "$load" || die "a load failed"; done
for host in "${clients[@]}"; do
  python3 "$HELPER" verify "$WORK/$host" "$WORK"/c[01].notes/c[01] >"$WORK/out" || die "what $host sees: $(cat "$WORK/out")"
done
cat "$WORK/out"
say ok
