#!/usr/bin/env bash
# All ordinary operations, over both FUSE transports.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up --client-opt io_uring=off
chmod 755 "$WORK" "$MNT"
mkdir "$MNT/classic"
python3 "$ROOT/tests/integration/operations.py" "$MNT/classic" || die "classic transport"
sheen dev umount "$MNT" --name "$NAME" >/dev/null
if [ -w /sys/module/fuse/parameters/enable_uring ]; then
  echo Y >/sys/module/fuse/parameters/enable_uring
fi
sheen dev mount "$MNT" --name "$NAME" --client-opt io_uring=auto >/dev/null
mkdir "$MNT/ring"
python3 "$ROOT/tests/integration/operations.py" "$MNT/ring" || die "io_uring transport"
restart
[ "$(cat "$MNT/ring/test_append/log")" = "one
two
three
four" ] || die "data after restart"
say ok
