#!/usr/bin/env bash
# The small process beside a mount: a signal that is not the daemon's death changes nothing, the
# death does. And an unmount with an OSS that is away says for what it waits, and ends with it.
. "$(dirname "$0")/../support/cluster.sh"

client_pid() {
  sheen dev status --name "$NAME" --json |
    python3 -c 'import json,sys; print(next(d["pid"] for d in json.load(sys.stdin)["daemons"] if d["name"].startswith("client")))'
}
until_gone() { # pid, tenths of a second
  local i
  for i in $(seq "$2"); do
    [ -e "/proc/$1" ] || return 0
    sleep 0.1
  done
  return 1
}

cluster_up
pid=$(client_pid)
guardian=$(pgrep -P "$pid" -x sheen-guardian) || die "no guardian beside the daemon $pid"
kill -USR1 "$guardian"
sleep 1.5
[ -e "/proc/$guardian" ] || die "the guardian took a signal for the daemon's death"
echo fine >"$MNT/f"
[ "$(cat "$MNT/f")" = fine ] || die "the mount after a signal to its guardian"
sync "$MNT/f"

say "the daemon is killed"
kill -9 "$pid"
until_gone "$guardian" 50 || die "the guardian is still there 5 s after the daemon's death"
timeout 5 cat "$MNT/f" >/dev/null 2>"$WORK/err" && die "the dead mount answers"
umount -l "$MNT" 2>/dev/null || true
sheen dev mount "$MNT" --name "$NAME" >/dev/null || die "mount after the daemon was killed"
[ "$(cat "$MNT/f")" = fine ] || die "the mount after its daemon was killed"

say "unmount without the OSSs"
pid=$(client_pid)
log=$(ls -t "$WORK"/cluster/log/client* | head -n 1)
head -c 300000 /dev/urandom >"$WORK/data"
cp "$WORK/data" "$MNT/kept"
for oss in oss0 oss1; do sheen dev kill "$oss" --name "$NAME" >/dev/null 2>&1 || true; done
umount "$MNT" || die "umount"
for i in $(seq 150); do
  grep -q 'unmount: .* bytes .* waiting for its server\|unmount: .* bytes wait for a server' "$log" && break
  [ "$i" -lt 150 ] || die "it does not say for what it waits: $(tail -n 5 "$log")"
  sleep 0.1
done
[ -e "/proc/$pid" ] || die "it gave up what was written"
for oss in oss0 oss1; do sheen dev start "$oss" --name "$NAME" >/dev/null 2>&1 || true; done
until_gone "$pid" 100 || die "it still waits with the OSSs there: $(tail -n 5 "$log")"
sheen dev mount "$MNT" --name "$NAME" >/dev/null || die "mount"
cmp "$WORK/data" "$MNT/kept" || die "what was written before the unmount"
say ok
