#!/usr/bin/env bash
# Four processes on two mounts write records of 47,008 bytes into one file in turn, and each reads what
# its neighbour on the other mount wrote, by every byte: a new file, and over what both have read.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up
mkdir -p "$WORK/second"
sheen dev mount "$WORK/second" --name "$NAME" >/dev/null
test_cleanup() { sheen dev umount "$WORK/second" --name "$NAME" >/dev/null 2>&1; }
# records DIRECTORIES PHASES [OPTIONS of fsbench]
records() { fsbench --dir "$1" --procs 4 --shared-file --mib 4 --keep --phases "$2" "${@:3}" >"$WORK/out" 2>&1; }
bytes=$((4 * 1024 * 1024 / 47008 * 47008 * 4))
for stripes in 1 4; do
  mkdir "$MNT/s$stripes"
  lfs setstripe -c $stripes "$MNT/s$stripes"
  one=$MNT/s$stripes other=$WORK/second/s$stripes
  records "$one,$other" record_write,record_read || die "$(cat "$WORK/out")"
  rm "$one/fsbench.big0"
  # Over other bytes that both mounts have read.
  head -c $bytes /dev/urandom >"$other/fsbench.big0"
  cmp "$one/fsbench.big0" "$other/fsbench.big0" || die "the mounts differ"
  records "$other,$one" record_write,record_read --fsync || die "$(cat "$WORK/out")"
  for top in "$one" "$other"; do
    [ "$(stat -c %s "$top/fsbench.big0")" = $bytes ] || die "size of $top/fsbench.big0: $(stat -c %s "$top/fsbench.big0")"
  done
  cmp "$one/fsbench.big0" "$other/fsbench.big0" || die "the mounts differ"
  # A byte that is wrong is found; the answer names the first word of its 4 KiB but the stamp.
  printf x | dd of="$one/fsbench.big0" bs=1 seek=5000003 conv=notrunc status=none
  records "$one,$other" record_read && die "a wrong byte was not found"
  grep -q 'wrong data at offset 4997128' "$WORK/out" || die "$(cat "$WORK/out")"
done
sheen dev umount "$WORK/second" --name "$NAME" >/dev/null
say ok
