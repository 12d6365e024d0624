#!/usr/bin/env bash
# The same calls on Sheen, on one mount and on two alternating ones, and on a local ext4 beside it:
# tests/posix/posix.py. Then random operations with that ext4 as the model, and bytes against a model
# in memory. SHEEN_POSIX_FULL=1: everything at full length (tests/integration/posix_long.sh).
. "$(dirname "$0")/../support/cluster.sh"
cluster_up
mkdir -p "$WORK/second" "$WORK/local"
sheen dev mount "$WORK/second" --name "$NAME" >/dev/null
test_cleanup() {
  sheen dev umount "$WORK/second" --name "$NAME" >/dev/null 2>&1
  mountpoint -q "$WORK/local" && umount "$WORK/local"  # its loop device goes with it
}
truncate -s 4G "$WORK/ext4"
mkfs.ext4 -q -b 4096 -N 400000 -O ea_inode "$WORK/ext4"
mount -o loop "$WORK/ext4" "$WORK/local"
chmod 755 "$WORK" "$MNT" "$WORK/second" "$WORK/local"
[ -w /dev/shm ] || die "no second filesystem at /dev/shm"

full=${SHEEN_POSIX_FULL:-}
python3 "$ROOT/tests/posix/posix.py" --local "$WORK/local" --mount "$MNT" --mount "$WORK/second" \
  ${full:+--full --verbose} || die "differences"
posix-random --local "$WORK/local" --mount "$MNT" --mount "$WORK/second" \
  --operations "$([ "$full" ] && echo 1000000 || echo 10000)" || die "random operations"
for mode in buffered direct mmap two; do
  posix-bytes --mode "$mode" --mount "$MNT" --mount "$WORK/second" \
    --operations "$([ "$full" ] && echo 2500000 || echo 5000)" || die "bytes, $mode"
done

# The mount option noatime, which no case can set.
sheen dev umount "$WORK/second" --name "$NAME" >/dev/null
sheen dev mount "$WORK/second" --name "$NAME" --client-opt noatime >/dev/null
echo quiet > "$MNT/noatime"
touch -a -d 2001-01-01 "$MNT/noatime"
cat "$WORK/second/noatime" >/dev/null
[ "$(stat -c %X "$WORK/second/noatime")" = "$(date -d 2001-01-01 +%s)" ] || die "noatime"
say ok
