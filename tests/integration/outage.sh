#!/usr/bin/env bash
# What does not answer holds up nobody who does not need it: a mount without servers is taken away at
# once by umount -f, df and stat of another filesystem go on, and a mount's daemon that is killed while
# the kernel waits in one of its notices leaves no process behind.
. "$(dirname "$0")/../support/cluster.sh"

cluster_up --oss 2 --osts 2
SECOND=$WORK/second
mkdir -p "$SECOND"
sheen dev mount "$SECOND" --name "$NAME" >/dev/null
pids=()
test_cleanup() {
  [ ${#pids[@]} -eq 0 ] || kill -9 "${pids[@]}" 2>/dev/null
  umount -f "$SECOND" 2>/dev/null || umount -l "$SECOND" 2>/dev/null || true
}
ms_since() { echo $((($(date +%s%N) - $1) / 1000000)); }
daemon_of() { pgrep -nf "^[^ ]*sheen-client .*$1( |\$)"; }

say "a daemon is killed while a notice of its waits for a directory"
mkdir "$MNT/d"
echo x >"$MNT/d/known"
ls -l "$SECOND/d" >/dev/null # the second mount's kernel knows the name
# A mkdir there holds the directory in the kernel until its answer comes, long after.
lctl set_param fail_loc=server.executed.mds_make_node >/dev/null 2>&1 || true
lctl set_param fail_val=delay,ms=25000 >/dev/null 2>&1 || true
mkdir "$SECOND/d/slow" 2>/dev/null &
pids+=($!)
slow=$!
sleep 0.5
chmod 600 "$MNT/d/known" # its notice goes to the second mount
rm "$MNT/d/known" &
pids+=($!)
sleep 1
client=$(daemon_of "$SECOND")
begin=$(date +%s%N)
kill -9 "$client"
while [ -e "/proc/$client" ] || [ -e "/proc/$slow" ]; do
  [ "$(ms_since "$begin")" -lt 6000 ] || die "6 s after kill -9: daemon $(cat "/proc/$client/stat" 2>/dev/null), mkdir $(cat "/proc/$slow/stat" 2>/dev/null)"
  sleep 0.05
done
say "  daemon and waiting process gone after $(ms_since "$begin") ms"
{ ls "$SECOND" 2>&1 || true; } | grep -q 'Transport endpoint is not connected' || die "the dead mount: $(ls "$SECOND" 2>&1)"
timeout 5 ls "$WORK" >/dev/null || die "ls of the dead mount's parent hangs"
lctl set_param fail_loc=0 >/dev/null 2>&1 || true
sheen dev mount "$SECOND" --name "$NAME" >/dev/null || die "the next mount at the same place"
timeout 10 ls "$SECOND/d" >/dev/null || die "the new mount"
wait "${pids[@]}" 2>/dev/null || true
pids=()

say "one of two OSSs is gone"
for ost in 0 1; do
  lfs setstripe -c 1 -i "$ost" "$MNT/on$ost" || die "setstripe"
  head -c 300000 /dev/zero >"$MNT/on$ost"
done
sync
cold
sheen dev kill oss1 --name "$NAME" >/dev/null
timeout 5 df -P "$MNT" >/dev/null || die "df of the mount hangs on one OSS"
timeout 8 lfs df "$MNT" >/dev/null || die "lfs df hangs on one OSS"
[ "$(timeout 5 cat "$MNT/on0" | wc -c)" = 300000 ] || die "a file on the OSS that is there"
[ "$(timeout 5 stat -c %s "$MNT/on0" "$MNT/on1" | tr '\n' ' ')" = '300000 300000 ' ] ||
  die "stat of closed files, which the MDS knows all of"
timeout 5 ls -l "$MNT" >/dev/null || die "ls -l"
timeout 5 mkdir "$MNT/meanwhile" || die "mkdir"
sheen dev start oss1 --name "$NAME" >/dev/null
[ "$(timeout 20 cat "$MNT/on1" | wc -c)" = 300000 ] || die "a file on the OSS that is back"

say "all servers are gone"
echo data >"$SECOND/file"
sync "$SECOND/file"
sheen dev kill mds0 --name "$NAME" >/dev/null
sheen dev kill oss0 --name "$NAME" >/dev/null
sheen dev kill oss1 --name "$NAME" >/dev/null
cat "$SECOND/other" >/dev/null 2>&1 &
pids+=($!)
stat "$SECOND/nothing" >/dev/null 2>&1 &
pids+=($!)
sleep 0.5
timeout 5 df -P / >/dev/null || die "df of another filesystem hangs"
timeout 5 stat "$WORK" >/dev/null || die "stat of another filesystem hangs"
begin=$(date +%s%N)
timeout 10 umount -f "$SECOND" 2>/dev/null || timeout 5 umount -l "$SECOND" || die "umount -f"
took=$(ms_since "$begin")
[ "$took" -lt 5000 ] || die "umount -f took $took ms"
while kill -0 "${pids[@]}" 2>/dev/null; do
  [ "$(ms_since "$begin")" -lt 5000 ] || die "who waited for the servers still does"
  sleep 0.05
done
say "  umount -f after $took ms, its users after $(ms_since "$begin") ms"
pids=()
sheen dev start mds0 --name "$NAME" >/dev/null
sheen dev start oss0 --name "$NAME" >/dev/null
sheen dev start oss1 --name "$NAME" >/dev/null
# The servers wait for the other mount, which is gone, as long as they wait for any client: 20 s.
[ "$(timeout 60 cat "$MNT/file")" = data ] || die "the file after the outage"
say "done"
