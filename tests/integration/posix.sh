#!/usr/bin/env bash
# The same calls on Sheen, on one mount and on two alternating ones, and on a local ext4 beside it:
# tests/posix/posix.py. Then random operations with that ext4 as the model, and bytes against a model
# in memory. SHEEN_POSIX_FULL=1: everything at full length (tests/integration/posix_long.sh), in parts,
# each with a seed of its own; those that passed with these programs are in build/posix_long.done, and
# are not run again until all have passed.
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
done_file=$ROOT/build/posix_long.done
mkdir -p "$ROOT/build"
programs=$(cat "$BIN"/sheen-{mds,oss,client} "$BIN"/posix-{random,bytes} | cksum | tr ' ' '-')
# part NAME COMMAND...: with a seed.
part() {
  local name=$1 seed
  shift
  if [ "$full" ] && grep -q "^$programs $name " "$done_file" 2>/dev/null; then
    say "$name passed before"
    return 0
  fi
  seed=${SHEEN_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
  SHEEN_SEED=$seed "$@" || die "$name"
  [ -z "$full" ] || echo "$programs $name seed $seed" >>"$done_file"
}
# parts NAME COUNT COMMAND...: numbered.
parts() {
  local name=$1 count=$2 number
  shift 2
  for number in $(seq "$count"); do part "$name $number of $count" "$@"; done
}
part "calls" python3 "$ROOT/tests/posix/posix.py" --local "$WORK/local" --mount "$MNT" \
  --mount "$WORK/second" ${full:+--full --verbose}
parts "random operations" "$([ "$full" ] && echo 10 || echo 1)" \
  posix-random --local "$WORK/local" --mount "$MNT" --mount "$WORK/second" \
  --operations "$([ "$full" ] && echo 100000 || echo 10000)"
for mode in buffered direct mmap two; do
  parts "bytes, $mode," "$([ "$full" ] && echo 10 || echo 1)" \
    posix-bytes --mode "$mode" --mount "$MNT" --mount "$WORK/second" \
    --operations "$([ "$full" ] && echo 250000 || echo 5000)"
done

# The mount option noatime, which no case can set.
sheen dev umount "$WORK/second" --name "$NAME" >/dev/null
sheen dev mount "$WORK/second" --name "$NAME" --client-opt noatime >/dev/null
echo quiet > "$MNT/noatime"
touch -a -d 2001-01-01 "$MNT/noatime"
cat "$WORK/second/noatime" >/dev/null
[ "$(stat -c %X "$WORK/second/noatime")" = "$(date -d 2001-01-01 +%s)" ] || die "noatime"
[ -z "$full" ] || mv "$done_file" "$done_file.all"
say ok
