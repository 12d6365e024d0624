#!/usr/bin/env bash
# Fault points of real daemons: they are listed, armed by lctl, happen once, and a process that uses
# the mount meanwhile sees a pause and no error; a daemon that is killed by one comes back. And the
# deadline of a mount: an outage is EIO after it.
. "$(dirname "$0")/../support/cluster.sh"

cluster_up --osts 1

points=$(lctl get_param -n fault_points | grep -c ' hits=')
[ "$points" -ge 150 ] || die "only $points fault points are listed"
say "$points fault points of three daemons"

# Names that only one of the daemons has are refused by the others.
arm() { # point, order
  lctl set_param "fail_loc=$1" >/dev/null 2>&1 || true
  lctl set_param "fail_val=$2" >/dev/null 2>&1 || true
  grep -q "^$1 hits=[0-9]* armed=" <<<"$(lctl get_param -n fault_points)" || die "$1 is not armed"
}
fired() { # point
  grep -q "^$1 hits=[1-9][0-9]*$" <<<"$(lctl get_param -n fault_points)" || die "$1 did not happen"
  lctl set_param fail_loc=0 >/dev/null
}
if lctl set_param fail_loc=no.such.point 2>"$WORK/refused"; then die "a point that does not exist was taken"; fi
grep -q 'fault_points lists them' "$WORK/refused" || die "the refusal says not what to do: $(cat "$WORK/refused")"

number=0
use() { # what a user does: each of it once, and seen to be so
  number=$((number + 1))
  local dir=$MNT/d$number
  timeout 40 mkdir "$dir" || die "mkdir with $1"
  timeout 40 bash -c 'head -c 100000 /dev/zero | tr "\0" x >"$1/f"' - "$dir" || die "write with $1"
  timeout 40 ln "$dir/f" "$dir/hard" || die "link with $1"
  timeout 40 truncate -s 50000 "$dir/f" || die "truncate with $1"
  timeout 40 sync "$dir/f" || die "fsync with $1"
  [ "$(timeout 40 stat -c '%h %s' "$dir/hard")" = '2 50000' ] || die "links or size with $1"
  [ "$(timeout 40 tr -d x <"$dir/f" | wc -c)" = 0 ] || die "bytes with $1"
  timeout 40 rm "$dir/f" "$dir/hard" || die "unlink with $1"
  timeout 40 rmdir "$dir" || die "rmdir with $1"
}
use nothing
for point in server.received.mds_make_node server.executed.mds_make_node client.sent.mds_link \
  server.executed.ost_truncate client.answered.mds_unlink server.executed.mds_remove_dir; do
  arm "$point" drop
  use "$point dropped"
  fired "$point"
done
for point in server.received.ost_sync server.received.mds_unlink; do
  arm "$point" duplicate
  use "$point duplicated"
  fired "$point"
  arm "$point" error,count=3
  use "$point refused"
  fired "$point"
done
arm client.send.mds_link delay,ms=500
use 'client.send.mds_link delayed'
fired client.send.mds_link

# Killed in the middle of a request, before and after its change is in the store.
for point in server.changing.mds_make_node server.changed.mds_make_node server.changed.ost_truncate; do
  case $point in *ost*) daemon=oss0 ;; *) daemon=mds0 ;; esac
  arm "$point" kill
  (
    until ! grep -q "^$daemon .*running" <<<"$(sheen dev status --name "$NAME")"; do sleep 0.1; done
    sheen dev start "$daemon" --name "$NAME" >/dev/null
  ) &
  use "$point killed"
  wait $! || die "$daemon was not killed by $point"
done

# A client killed in the middle of a request, or of the answer to a callback: the other mount goes on,
# with all that was synced; the next mount at the same place works.
SECOND=$WORK/second
mkdir "$SECOND"
head -c 100000 /dev/urandom >"$WORK/data"
OTHERS_MAX=20 # s; the dead one's connections have 3 s, then it is evicted
# Of its own, so that what is armed is armed there alone.
second() { SHEEN_RUN_DIR=$WORK/second.run "$@"; }
second_is() { grep -q "^client:$SECOND .*$1" <<<"$(sheen dev status --name "$NAME")"; }
test_cleanup() { sheen dev umount "$SECOND" --name "$NAME" >/dev/null 2>&1 || umount -l "$SECOND" 2>/dev/null; }
for point in client.sent.mds_make_node client.answered.mds_link client.send.ost_write \
  client.asked.extent_callback client.answering.extent_callback client.answering.lock_callback; do
  second sheen dev mount "$SECOND" --name "$NAME" >/dev/null || die "mount before $point"
  mkdir "$SECOND/killed"
  cp "$WORK/data" "$SECOND/killed/f"
  sync "$SECOND/killed/f"
  second arm "$point" kill
  # It ends with the daemon.
  python3 - "$SECOND/killed" <<'PY' 2>"$WORK/python.err" &
import os, sys, time
directory = sys.argv[1]
os.mkdir(f"{directory}/new")
os.link(f"{directory}/f", f"{directory}/hard")
os.stat(f"{directory}/f")
with open(f"{directory}/f", "r+b", buffering=0) as file:
    while True:
        file.seek(100000)
        file.write(b"later")
        time.sleep(0.05)
PY
  user=$!
  for i in $(seq 400); do
    second_is running || break
    [ "$i" -lt 400 ] || die "$point killed no client"
    # The first mount wants what the other one has.
    timeout 40 cat "$MNT/killed/f" >/dev/null || die "cat beside $point"
    timeout 40 chmod "$((600 + i % 2 * 40))" "$MNT/killed/f" || die "chmod beside $point"
    sleep 0.1
  done
  begin=$SECONDS
  timeout 40 cmp -n 100000 "$MNT/killed/f" "$WORK/data" || die "what was synced before $point"
  tail -c +100001 "$MNT/killed/f" >"$WORK/tail"
  [ ! -s "$WORK/tail" ] || [ "$(cat "$WORK/tail")" = later ] || die "bytes of nobody after $point"
  use "the other client killed by $point"
  # Made as a whole or not at all, once.
  [ -d "$MNT/killed/new" ] || mkdir "$MNT/killed/new" || die "mkdir after $point"
  rm -f "$MNT/killed/hard"
  [ "$(stat -c %h "$MNT/killed/f")" = 1 ] || die "links after $point: $(stat -c %h "$MNT/killed/f")"
  [ $((SECONDS - begin)) -lt "$OTHERS_MAX" ] || die "after $point others waited for $((SECONDS - begin)) s"
  wait "$user" || true
  second sheen dev start "client:$SECOND" --name "$NAME" >/dev/null || die "the mount after $point"
  timeout 40 cmp "$MNT/killed/f" "$SECOND/killed/f" || die "the new mount after $point"
  rm -r "$SECOND/killed"
  sheen dev umount "$SECOND" --name "$NAME" >/dev/null
  say "a client killed at $point: the other went on within $((SECONDS - begin)) s"
done

umount "$MNT"
sheen dev mount "$MNT" --name "$NAME" --client-opt deadline=2 >/dev/null || die "mount with a deadline"
echo before >"$MNT/file"
sync "$MNT/file"
sheen dev kill mds0 --name "$NAME" >/dev/null
begin=$(date +%s%N)
if mkdir "$MNT/never" 2>"$WORK/error"; then die "mkdir without an MDS"; fi
took=$((($(date +%s%N) - begin) / 1000000))
grep -q 'Input/output error' "$WORK/error" || die "not EIO: $(cat "$WORK/error")"
[ "$took" -ge 1900 ] && [ "$took" -lt 6000 ] || die "EIO after $took ms, not after 2 s"
say "EIO after $took ms without an MDS"
sheen dev start mds0 --name "$NAME" >/dev/null
until mkdir "$MNT/later" 2>/dev/null; do sleep 0.2; done
[ "$(cat "$MNT/file")" = before ] || die "the file is not what it was"
say "done"
