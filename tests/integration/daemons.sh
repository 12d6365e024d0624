#!/usr/bin/env bash
# The programs themselves: start, refusal, kill, restart on the same ports, mount helper, clean end.
. "$(dirname "$0")/../support/cluster.sh"

# refused WORDS COMMAND...: fails, and says WORDS.
refused() {
  local words=$1 out
  shift
  if out=$(timeout 30 "$@" 2>&1); then die "not refused: $*"; fi
  grep -qF -- "$words" <<<"$out" || die "'$*' does not say '$words': $out"
}
port() { # daemon, data|control
  sheen dev status --name "$NAME" --json |
    python3 -c 'import json,sys; print(next(d["ports"][sys.argv[2]] for d in json.load(sys.stdin)["daemons"] if d["name"] == sys.argv[1]))' "$@"
}
state() {
  sheen dev status --name "$NAME" --json |
    python3 -c 'import json,sys; print(next(d["state"] for d in json.load(sys.stdin)["daemons"] if d["name"] == sys.argv[1]))' "$@"
}

cluster_up
D=$WORK/cluster
free=(--port 0 --control-port 0)

say "second starts and wrong starts are refused"
refused "another process" sheen-mds --dir "$D/mdt0" "${free[@]}"
refused "in use by the process" sheen-oss --target "$D/ost0" --mgs 127.0.0.1:1 "${free[@]}"
refused "sheen format mdt" sheen-mds --dir "$WORK" "${free[@]}"
refused "sheen format ost" sheen-oss --target "$WORK" --mgs 127.0.0.1:1 "${free[@]}"
refused "needs --allow" sheen-mds --dir "$WORK" --listen 0.0.0.0
refused "is not empty" sheen format mdt --fsname sheen --dir "$D/mdt0"
refused "is not empty" sheen format ost --fsname sheen --dir "$D/ost0"
printf 'port = 1\nprot = 2\n' >"$WORK/bad.toml"
refused "$WORK/bad.toml:2: unknown key 'prot'" sheen-mds --config "$WORK/bad.toml"
refused "$WORK/none.toml" sheen-oss --config "$WORK/none.toml"
[ "$(sheen dev up --name "$NAME" | grep -c 'running already')" = 1 ] || die "up of a running instance"

say "ports stay over kill and start, and over down and up"
before="$(port mds0 data) $(port mds0 control) $(port oss0 data) $(port oss1 data)"
echo kept >"$MNT/kept"
sync "$MNT/kept"
for daemon in oss0 oss1 mds0; do
  sheen dev kill "$daemon" --name "$NAME"
  [ "$(state "$daemon")" = dead ] || die "$daemon is not dead after kill"
  sheen dev start "$daemon" --name "$NAME"
  [ "$(state "$daemon")" = running ] || die "$daemon is not running after start"
done
[ "$(cat "$MNT/kept")" = kept ] || die "data after all servers were killed"
restart
[ "$before" = "$(port mds0 data) $(port mds0 control) $(port oss0 data) $(port oss1 data)" ] ||
  die "the ports changed"
[ "$(cat "$MNT/kept")" = kept ] || die "data after down and up"

say "a killed client's mount is cleaned up"
sheen dev kill "client:$MNT" --name "$NAME"
[ "$(state "client:$MNT")" = dead ] || die "the client is not dead after kill"
sheen dev start "client:$MNT" --name "$NAME"
[ "$(cat "$MNT/kept")" = kept ] || die "data after the client was killed"

say "mount helper"
second=$WORK/second
mkdir "$second"
data=$(port mds0 data)
mount.sheen "127.0.0.1@tcp:/sheen" "$second" -o "rw,noatime,nosuid,_netdev,x-test,port=$data,log=$WORK/second.log"
grep -q " $second fuse.sheen .*nosuid.*noatime" /proc/mounts || die "/proc/mounts: $(grep "$second" /proc/mounts)"
[ "$(cat "$second/kept")" = kept ] || die "data through the second mount"
umount "$second"
mkdir "$MNT/sub"
echo below >"$MNT/sub/file"
mount.sheen "127.0.0.1:/sheen/sub" "$second" -o "ro,port=$data,log=$WORK/second.log"
[ "$(cat "$second/file")" = below ] || die "subdirectory mount"
refused "Read-only" touch "$second/new"
umount "$second"
refused "noatme" mount.sheen "127.0.0.1:/sheen" "$second" -o noatme
refused "names no Sheen filesystem" mount.sheen "sheen" "$second"
refused "mkdir -p" mount.sheen "127.0.0.1:/sheen" "$WORK/none"
mount.sheen "127.0.0.1:/other" "$second" -o "port=$data" >"$WORK/out" 2>&1 && die "mounted another filesystem"
status=0
mount.sheen "127.0.0.1:/other" "$second" -o "port=$data,log=$WORK/second.log" >"$WORK/out" 2>&1 || status=$?
[ "$status" = 32 ] || die "exit status $status for a filesystem that is not there: $(cat "$WORK/out")"
grep -q "$second" /proc/mounts && die "a refused mount is left"

say "new files keep away from servers that have stopped, and are made though all have"
for i in $(seq 8); do : >"$MNT/before$i"; done
sheen dev stop oss1 --name "$NAME" >/dev/null
# Known at once, or when a goodbye that was lost has been missed.
for _ in $(seq 100); do lfs check osts "$MNT" >/dev/null 2>&1 || break; sleep 0.1; done
for i in $(seq 12); do timeout 5 sh -c ': >"$0"' "$MNT/new$i" || die "create without oss1"; done
for f in "$MNT"/new*; do lfs getstripe -i "$f"; done | sort -u >"$WORK/osts"
grep -qE '^[23]$' "$WORK/osts" && die "new files on OSTs of a server that said goodbye: $(tr '\n' ' ' <"$WORK/osts")"
sheen dev stop oss0 --name "$NAME" >/dev/null
timeout 5 sh -c ': >"$0"' "$MNT/none" || die "create without any OSS"
timeout 5 touch "$MNT/touched" || die "touch without any OSS"
echo data >"$MNT/written" & writer=$!
sleep 6
timeout 5 sh -c ': >"$0"' "$MNT/none2" || die "create 6 s after the last OSS stopped"
kill -0 "$writer" || die "a write did not wait for an OSS"
sheen dev start oss0 --name "$NAME" >/dev/null
sheen dev start oss1 --name "$NAME" >/dev/null
wait "$writer" || die "writing failed while no OSS was there"
[ "$(cat "$MNT/written")" = data ] || die "what waited for an OSS"
echo data >"$MNT/none"
[ "$(cat "$MNT/none")" = data ] || die "a file that was made without any OSS"

say "clean end"
pid=$(sheen dev status --name "$NAME" --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["daemons"][0]["pid"])')
begin=$(date +%s)
sheen dev down --name "$NAME" >/dev/null
[ $(($(date +%s) - begin)) -le 20 ] || die "down took $(($(date +%s) - begin)) s"
[ -e "/proc/$pid/status" ] && grep -q sheen-mds "/proc/$pid/status" && ! grep -q 'State:.Z' "/proc/$pid/status" && die "mds0 still runs"
grep -q " $MNT " /proc/mounts && die "still mounted after down"
say ok
