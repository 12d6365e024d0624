#!/usr/bin/env bash
# A server that is to stop while requests wait, for the locks of a client that is frozen or for a
# server that is, does so at once, and nothing of it is an error to anybody: what waited is asked again
# when the server is back.
. "$(dirname "$0")/../support/cluster.sh"
STOP_MAX=9500 # ms; well below 1 s as a rule. A daemon cuts a stop short after 10 s
SECOND=$WORK/second
frozen='' waiting=()
test_cleanup() {
  [ -z "$frozen" ] || kill -CONT "$frozen" 2>/dev/null
  [ ${#waiting[@]} -eq 0 ] || kill -9 "${waiting[@]}" 2>/dev/null
  sheen dev umount "$SECOND" --name "$NAME" >/dev/null 2>&1
}
cluster_up --oss 2 --osts 2
mkdir "$SECOND"
sheen dev mount "$SECOND" --name "$NAME" >/dev/null
client=$(pgrep -nf "sheen-client .*$SECOND")

freeze() { kill -STOP "$client" && frozen=$client; }
thaw() { kill -CONT "$client" && frozen=''; }
waits() { # command...
  "$@" >"$WORK/out" 2>&1 &
  waiting=($!)
  sleep 1
  kill -0 "$!" 2>/dev/null || die "does not wait: $*: $(cat "$WORK/out")"
}
goes_on() {
  wait "${waiting[0]}" || die "what waited failed: $(cat "$WORK/out")"
  waiting=()
}
stops() { # daemon
  local begin out ms
  begin=$(date +%s%N)
  out=$(sheen dev stop "$1" --name "$NAME") || die "stop of $1: $out"
  ms=$((($(date +%s%N) - begin) / 1000000))
  ! grep -q 'killed' <<<"$out" || die "$1: $out"
  ! grep 'did not stop within' "$WORK/cluster/log/$1.log" || die "the stop of $1 was cut short"
  [ "$ms" -lt "$STOP_MAX" ] || die "the stop of $1 took $ms ms"
  say "  $1: stopped after $ms ms"
}
starts() { sheen dev start "$1" --name "$NAME" >/dev/null || die "start of $1"; }

say "the MDS, while a change waits for the locks of a frozen client"
mkdir "$MNT/d"
echo 1 >"$MNT/d/f"
stat "$SECOND/d/f" >/dev/null # its attributes and entry are cached there
freeze
waits mv "$MNT/d/f" "$MNT/d/g"
stops mds0
starts mds0
thaw
goes_on
[ "$(ls "$MNT/d") $(ls "$SECOND/d")" = "g g" ] || die "after the rename: $(ls "$MNT/d"), $(ls "$SECOND/d")"

say "the MDS, while changes wait for clients that have not come back"
sheen dev kill mds0 --name "$NAME" >/dev/null
freeze
starts mds0
waits mkdir "$MNT/e"
stops mds0
starts mds0
thaw
goes_on
[ -d "$SECOND/e" ] || die "the directory is not there"

say "an OSS, while a write waits for the locks of a frozen client"
lfs setstripe -c 1 -i 0 "$MNT/data"
head -c 65536 /dev/urandom >"$WORK/one"
head -c 65536 /dev/urandom >"$WORK/two"
cp "$WORK/one" "$SECOND/data"
cmp "$WORK/one" "$SECOND/data"
freeze
waits dd if="$WORK/two" of="$MNT/data" bs=64k conv=notrunc oflag=direct status=none
stops oss0
starts oss0
thaw
goes_on
cmp "$WORK/two" "$MNT/data"
cmp "$WORK/two" "$SECOND/data"

say "the MDS, while it has orders for an OSS that is frozen"
for i in $(seq 50); do lfs setstripe -c 1 -i 1 "$MNT/gone$i" && cp "$WORK/one" "$MNT/gone$i"; done
sheen dev kill oss1 --signal STOP --name "$NAME" >/dev/null
rm -f "$MNT"/gone*
sleep 1 # the orders to destroy their objects are under way
stops mds0
starts mds0
sheen dev start oss1 --name "$NAME" >/dev/null || die "start of oss1"
cmp "$WORK/two" "$SECOND/data"
say "ok"
