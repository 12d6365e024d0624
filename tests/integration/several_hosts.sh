#!/usr/bin/env bash
# By hand, as in production, on six "hosts" (network namespaces on one bridge): an MDS, two OSSs, two
# clients and one that may not connect; formatted with `sheen format`, mounted through mount(8), also
# from an fstab line.
. "$(dirname "$0")/../support/cluster.sh"
. "$(dirname "$0")/../support/hosts.sh"
test_cleanup() {
  local host
  for host in c0 c1; do on "$host" umount -l "$WORK/$host" 2>/dev/null; done
  hosts_down
}
hosts_up mds oss0 oss1 c0 c1 stranger
allow=10.99.7.0/30,10.99.7.4/31
mgs=$(address mds)
sheen format mdt --fsname hosts --index 0 --mgs "$mgs" --dir "$WORK/mdt" >/dev/null
start mds mds sheen-mds --dir "$WORK/mdt" --fsname hosts --listen "$mgs" --allow "$allow"
wait_port mds 7988
for i in 0 1; do
  targets=()
  for j in 0 1; do
    index=$((i * 2 + j))
    sheen format ost --fsname hosts --index $index --mgs "$mgs" --dir "$WORK/ost$index" --size 1G >/dev/null
    targets+=(--target "$WORK/ost$index")
  done
  start "oss$i" "oss$i" sheen-oss "${targets[@]}" --listen "$(address "oss$i")" --allow "$allow"
  wait_port "oss$i" 7990
done

say "status of a server, from its own host and from another"
on mds sheen status --server "$mgs" >"$WORK/status" || die "sheen status by the server's own address: $(cat "$WORK/status")"
grep -q 'hosts-OST0003' "$WORK/status" || die "sheen status shows no OST: $(cat "$WORK/status")"
on c0 sheen status --server "$mgs" >"$WORK/status" 2>&1 && die "sheen status from another host"
grep -q 'run the command there' "$WORK/status" || die "sheen status from another host says: $(cat "$WORK/status")"

say "a port that is taken is not another's"
sheen format mdt --fsname more --dir "$WORK/more" >/dev/null
on mds timeout 10 sheen-mds --dir "$WORK/more" --listen "$mgs" --allow "$allow" >"$WORK/out" 2>&1 &&
  die "a second sheen-mds with the default port"
grep -q '7988.*--port' "$WORK/out" || die "a port in use: $(cat "$WORK/out")"

use_mount_helper
mkdir "$WORK/c0" "$WORK/c1"
on c0 mount -t sheen "$mgs@tcp:/hosts" "$WORK/c0" -o noatime,log="$WORK/c0.out"
grep -q "$WORK/c0 fuse.sheen " /proc/mounts || die "/proc/mounts does not show fuse.sheen"
echo "$mgs:/hosts $WORK/c1 sheen rw,_netdev,noauto,log=$WORK/c1.out 0 0" >"$WORK/fstab"
on c1 mount -T "$WORK/fstab" "$WORK/c1" || die "mount from fstab"

say "a host that --allow does not name"
mkdir "$WORK/stranger"
status=0
on stranger timeout -k 5 40 mount -t sheen "$mgs:/hosts" "$WORK/stranger" >"$WORK/out" 2>&1 || status=$?
[ "$status" -ne 0 ] && [ "$status" -ne 124 ] || die "a stranger's mount ends with $status"
cat "$WORK/out"
grep -q -- '--allow' "$WORK/out" || die "a stranger is not told of --allow"
grep -q "$(address stranger).*--allow" "$WORK"/mds.out || die "the server's log does not name the stranger"

cp -a /usr/include/linux "$WORK/c0/linux"
same /usr/include/linux "$WORK/c1/linux"
lfs setstripe -c 4 "$WORK/c1/striped" || die "setstripe"
dd if=/dev/urandom of="$WORK/data" bs=1M count=64 status=none
cp "$WORK/data" "$WORK/c1/striped"
cmp "$WORK/data" "$WORK/c0/striped" || die "c0 reads something else than c1 wrote"
mkdir "$WORK/c0/pairs"
python3 "$ROOT/tests/integration/pairs.py" "$WORK/c0/pairs" "$WORK/c1/pairs" || die "pairs of operations"
[ "$(lfs df "$WORK/c0" | grep -c 'OST:')" = 4 ] || die "lfs df does not show four OSTs"
on c0 umount "$WORK/c0"
on c1 umount "$WORK/c1"
for pid in "${pids[@]}"; do kill "$pid"; done
for pid in "${pids[@]}"; do wait "$pid" || die "a daemon ended with an error"; done
pids=()
say ok
