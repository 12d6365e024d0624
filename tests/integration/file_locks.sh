#!/usr/bin/env bash
# flock(2) and fcntl(2) over two mounts: exclusion, waits and what ends them, EDEADLK, 1,000 waiters
# on one core, SQLite, a restart of the MDS, the death of a client, -o localflock.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up
SECOND=$WORK/second
LOCAL=$WORK/local
mkdir -p "$SECOND" "$LOCAL"
test_cleanup() {
  sheen dev umount "$SECOND" --name "$NAME" >/dev/null 2>&1
  sheen dev umount "$LOCAL" --name "$NAME" >/dev/null 2>&1
}
sheen dev mount "$SECOND" --name "$NAME" >/dev/null
step() { # name, mounts
  local begin
  begin=$(date +%s.%N)
  timeout 90 python3 "$(dirname "$0")/file_locks.py" "$1" "$2" "$3" "$NAME" || die "$1"
  say "$1: $(awk -v a="$begin" -v b="$(date +%s.%N)" 'BEGIN{printf "%.1f s", b - a}')"
}
for name in exclusion closing waiting deadlock many sqlite server_restart; do step $name "$MNT" "$SECOND"; done
sheen dev mount "$LOCAL" --client-opt localflock --name "$NAME" >/dev/null
step local "$MNT" "$LOCAL"
# Last: the first mount does not come back.
step client_death "$MNT" "$SECOND"
say ok
