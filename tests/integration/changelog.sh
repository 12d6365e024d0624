#!/usr/bin/env bash
# The changelog: what is done on the mount is recorded in order, for those who have registered, until
# they have cleared it; a killed and a restarted MDS lose none of it and show none twice.
. "$(dirname "$0")/../support/cluster.sh"

cluster_up --oss 1 --osts 2
cd "$WORK"
MDT=sheen-MDT0000

# What was recorded: types and names alone.
records() { lfs changelog "$@" | sed -E 's/^([0-9]+) [0-9]{2}([A-Z]+) +[^ ]+ [^ ]+ [^ ]+ t=[^ ]+/\2/; s/ ef=.*nid=[^ ]+//; s/ s?p=[^ ]+//g; s/ s=[^ ]+//g'; }

echo early >"$MNT/early"
[ -z "$(lfs changelog $MNT)" ] || die "recorded without a user"
[ "$(lctl --device $MDT changelog_register)" = "$MDT: Registered changelog userid 'cl1'" ] || die "register"
[ "$(lctl changelog_register -n -u policy -m CREAT,UNLNK)" = cl2-policy ] || die "register -n -u"
lctl --device sheen-MDT0009 changelog_register 2>"$WORK/error" && die "no such MDT"
grep -q "no MDT sheen-MDT0009 on this host (there is $MDT)" "$WORK/error" || die "$(cat "$WORK/error")"
lctl changelog_register -m CREATED 2>"$WORK/error" && die "no such type"
grep -q "'CREATED' is no type" "$WORK/error" || die "$(cat "$WORK/error")"

# A close is recorded a moment after close(2) has returned.
recorded() { # how many
  local i
  for i in $(seq 200); do
    [ "$(lfs changelog $MNT | wc -l)" -lt "$1" ] || return 0
    sleep 0.05
  done
  die "record $1 does not come"
}
mkdir "$MNT/cl"
touch "$MNT/cl/a"
recorded 4
echo hi >"$MNT/cl/b"
recorded 6
ln "$MNT/cl/a" "$MNT/cl/a2"
ln -s a "$MNT/cl/s"
mv "$MNT/cl/b" "$MNT/cl/c"
mv "$MNT/cl/c" "$MNT/cl/a2"
chmod 600 "$MNT/cl/a"
setfattr -n user.x -v 1 "$MNT/cl/a"
truncate -s 100 "$MNT/cl/a"
recorded 14
rm "$MNT/cl/a"
mkfifo "$MNT/cl/p"
mkdir "$MNT/mk0"; rmdir "$MNT/mk0"
rm "$MNT/cl/s" "$MNT/cl/p"
cat >"$WORK/expected" <<'END'
MKDIR cl
CREAT a
MTIME
CLOSE
CREAT b
CLOSE
HLINK a2
SLINK s
RENME c b
RENME a2 c
SATTR
XATTR x=user.x
TRUNC
CLOSE
UNLNK a
MKNOD p
MKDIR mk0
RMDIR mk0
UNLNK s
UNLNK p
END
records $MNT >"$WORK/records"
diff "$WORK/expected" "$WORK/records" || die "what was recorded"
lfs changelog $MNT | grep -qE '^1 02MKDIR [0-9:.]{18} [0-9.]{10} 0x0 t=\[0x[0-9a-f:x]+\] ef=0x13 u=0:0 nid=0@lo p=\[0x200000007:0x1:0x0\] cl$' ||
  die "$(lfs changelog $MNT | head -n 1)"
lfs changelog $MNT | grep -q '14SATTR .* 0x14 ' || die "flags of chmod"
lfs changelog $MNT | grep -q '06UNLNK .* 0x1 .* a$' || die "the last link"
[ "$(lfs changelog $MNT 5 7 | wc -l)" = 3 ] || die "a range"
[ "$(records -u policy $MNT | sort | uniq -c | tr -s ' ' | paste -sd,)" = \
  " 1 CREAT a, 1 CREAT b, 1 UNLNK a, 1 UNLNK p, 1 UNLNK s" ] || die "$(records -u policy $MNT)"
[ "$(records -m MKDIR,RMDIR $MNT | paste -sd,)" = "MKDIR cl,MKDIR mk0,RMDIR mk0" ] || die "--mask"
lfs changelog --json $MNT | python3 -c '
import json, sys
records = [json.loads(line) for line in sys.stdin]
assert [r["index"] for r in records] == list(range(1, 21)), records
assert records[8]["source_name"] == "b", records[8]' || die "--json"
say "records are what was done"

lfs changelog_clear $MNT cl1 5
[ "$(lfs changelog $MNT | head -n 1 | cut -d' ' -f1)" = 1 ] || die "the other user needs it still"
lfs changelog_clear $MNT cl2-policy 7
[ "$(lfs changelog $MNT | head -n 1 | cut -d' ' -f1)" = 6 ] || die "cleared by both"
status=0; lfs changelog_clear $MNT cl1 99 2>"$WORK/error" || status=$?
[ $status = 22 ] && grep -q "record out of range: 99" "$WORK/error" || die "$status $(cat "$WORK/error")"
status=0; lfs changelog_clear $MNT cl9 1 2>"$WORK/error" || status=$?
[ $status = 2 ] && grep -q "no changelog user: cl9" "$WORK/error" || die "$status $(cat "$WORK/error")"
status=0; lfs changelog other-MDT0000 2>"$WORK/error" || status=$?
[ $status = 19 ] || die "another filesystem: $status $(cat "$WORK/error")"
# By name it is of the first mount of a filesystem of that name.
if [ "$(grep -c ' fuse.sheen ' /proc/mounts)" = 1 ]; then
  [ "$(lfs changelog $MDT | wc -l)" = "$(lfs changelog "$MNT" | wc -l)" ] || die "by the MDT's name"
  status=0; lfs changelog sheen-MDT0001 2>/dev/null || status=$?
  [ $status = 19 ] || die "another MDT: $status"
fi
lctl get_param "mdd.$MDT.changelog_users" | sed 's/([0-9]*)/(0)/' >"$WORK/users"
diff - "$WORK/users" <<END || die "changelog_users"
mdd.$MDT.changelog_users=
current_index: 20
ID                            index (idle) mask
cl1                               5 (0)
cl2-policy                        7 (0) mask=CREAT,UNLNK
END
[ "$(lctl get_param "mdd.$MDT.changelog_mask")" = "mdd.$MDT.changelog_mask=MARK " ] || die "mask"
chmod 755 "$WORK"
status=0
setpriv --reuid 1000 --clear-groups "$BIN/lfs" changelog "$MNT" 2>/dev/null || status=$?
[ $status = 1 ] || die "anybody may read it: $status"
say "users clear for themselves"

# What a mount opens under a lock, without the MDS, nobody records; who wants openings gets them all.
cat "$MNT/early" >/dev/null
fid=$(lfs path2fid "$MNT/early")
opens=$(lctl --device $MDT changelog_register -n -m OPEN)
openings() { lfs changelog -u "$opens" -m OPEN $MNT | grep -cF "t=$fid" || true; }
for _ in $(seq 300); do # the mount hears of it
  cat "$MNT/early" >/dev/null
  before=$(openings)
  [ "$before" = 0 ] || break
  sleep 0.1
done
for _ in 1 2 3 4 5; do cat "$MNT/early" >/dev/null; done
[ "$(openings)" = $((before + 5)) ] || die "openings after $before: $(lfs changelog -u "$opens" $MNT)"
lctl --device $MDT changelog_deregister "$opens" >/dev/null
say "openings are recorded for who asks for them"

# A killed MDS, in the middle of work; then everything restarted.
lfs changelog_clear $MNT cl1 0
lfs changelog_clear $MNT cl2 0
(for i in $(seq 300); do : >"$MNT/cl/f$i"; done) &
sleep 0.2
sheen dev kill mds0 --name "$NAME" >/dev/null
sheen dev start mds0 --name "$NAME" >/dev/null
wait $!
[ "$(records -m CREAT $MNT | sort -V | paste -sd,)" = "$(seq -f 'CREAT f%g' 300 | sort -V | paste -sd,)" ] ||
  die "not every creation once: $(records -m CREAT $MNT | wc -l)"
last=$(lfs changelog $MNT | tail -n 1 | cut -d' ' -f1)
restart
[ "$(records -m CREAT $MNT | wc -l)" = 300 ] || die "after a restart"
: >"$MNT/after"
[ "$(lfs changelog "$MNT" "$((last + 1))" | head -n 1 | cut -d' ' -f1)" = $((last + 1)) ] || die "indexes go on"
say "nothing is lost, nothing comes twice"

# Followed while it comes.
lfs changelog --follow -m MKDIR $MNT $((last + 1)) >"$WORK/followed" &
follower=$!
mkdir "$MNT/one" "$MNT/two"
for _ in $(seq 300); do
  [ "$(wc -l <"$WORK/followed")" = 2 ] && break
  sleep 0.1
done
kill "$follower"
wait "$follower" 2>/dev/null || true
[ "$(wc -l <"$WORK/followed")" = 2 ] || die "--follow: $(cat "$WORK/followed")"

[ "$(lctl changelog_deregister -u policy)" = "$MDT: Deregistered changelog user #2" ] || die "deregister -u"
[ "$(lctl changelog_deregister cl1)" = "$MDT: Deregistered changelog user #1" ] || die "deregister"
mkdir "$MNT/unseen"
[ -z "$(lfs changelog $MNT)" ] || die "recorded when nobody is registered"
status=0; lctl changelog_deregister cl1 2>"$WORK/error" || status=$?
[ $status = 2 ] && grep -q "no changelog user: cl1" "$WORK/error" || die "$status $(cat "$WORK/error")"
say "followed, and let go"
