#!/usr/bin/env bash
# How many requests things take: a create with open, layout and locks is one; a listing with attributes
# brings about a thousand entries a request, and asks no OST when the MDS knows the sizes.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up

# asked mdc|osc [KIND]: requests of this mount to the MDS or the OSTs, of all kinds or of one.
asked() {
  lctl get_param -n "$1.*.stats" | awk -v kind="${2:-req_waittime}" '$1 == kind { n += $2 } END { print n + 0 }'
}
# best_of_three CHECK: it fits in one of three turns. A mount that had no time to prove that it lives
# asks for everything once more: what it needs is what it asks for when nothing held it up.
best_of_three() {
  local turn
  for turn in 1 2 3; do
    wrong=''
    "$1" "$turn"
    [ -n "$wrong" ] || return 0
    say "turn $turn: $wrong"
  done
  die "$wrong, in each of three turns"
}
# fits NUMBER MOST WHAT
fits() { [ "$1" -le "$2" ] || wrong="$1 $3, $2 at most"; }

count=1000
# In a directory of this mount's own, also the first one of all: lookup, create and close of each file.
creating() { # turn
  local creates all looked osts others
  creates=$(asked mdc mds_create) all=$(asked mdc) looked=$(asked mdc mds_getattr_lock) osts=$(asked osc)
  others=$(questions)
  python3 - "$MNT/own$1" $count <<'PY'
import os, sys
os.mkdir(sys.argv[1])
for i in range(int(sys.argv[2])):
    os.close(os.open(f"{sys.argv[1]}/f{i}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
PY
  creates=$(($(asked mdc mds_create) - creates)) looked=$(($(asked mdc mds_getattr_lock) - looked))
  all=$(($(asked mdc) - all)) osts=$(($(asked osc) - osts)) others=$(($(questions) - others))
  say "$all requests to the MDS for $count creates and closes, $looked of them lookups"
  [ $creates -ge $count ] || die "$creates creates for $count files"
  fits $creates $count "creates of $count files"
  fits $osts 0 "requests to OSTs for empty files"
  fits $looked $((count / 20)) "lookups of names in an own directory"
  # A close each comes later; layouts, locks and opens came with the create.
  fits $all $((2 * count + count / 10)) "requests for $count creates and closes"
  fits $others $((count / 20)) "opens and questions about files just made"
}
questions() {
  local kind sum=0
  for kind in mds_open mds_get_layout mds_getattr mds_getxattr; do sum=$((sum + $(asked mdc $kind))); done
  echo $sum
}
best_of_three creating

# Files with bytes, closed; a new mount knows nothing of them.
files=2000
mkdir "$MNT/many"
python3 - "$MNT/many" $files <<'PY'
import os, sys
for i in range(int(sys.argv[2])):
    with open(f"{sys.argv[1]}/f{i}", "wb") as f:
        f.write(b"x" * (i + 1))
PY
listing() {
  local listings looked osts
  cold
  listings=$(asked mdc mds_readpage) looked=$(looks) osts=$(asked osc)
  ls -l "$MNT/many" >"$WORK/list"
  awk -v files=$files '$1 != "total" { n++; sum += $5 } END { exit !(n == files && sum == files * (files + 1) / 2) }' \
    "$WORK/list" || die "ls -l shows other files or sizes"
  listings=$(($(asked mdc mds_readpage) - listings)) looked=$(($(looks) - looked)) osts=$(($(asked osc) - osts))
  say "$listings listings and $looked other questions for $files files"
  fits $osts 0 "requests of ls -l to OSTs"
  fits $listings $((files / 500)) "listings for $files files"
  fits $looked $((files / 20)) "files asked for one by one"
}
looks() { echo $(($(asked mdc mds_getattr_lock) + $(asked mdc mds_getattr))); }
best_of_three listing

# Extended attributes are known as long as the inode's lock is held.
python3 - "$MNT/many" <<'PY'
import os, sys
for i in range(100):
    os.setxattr(f"{sys.argv[1]}/f{i}", "user.kind", b"%d" % i)
PY
looking() {
  local got
  got=$(asked mdc mds_getxattr)
  python3 - "$MNT/many" <<'PY'
import os, sys
for _ in range(10):
    for i in range(100):
        name = f"{sys.argv[1]}/f{i}"
        assert os.stat(name).st_size == i + 1
        assert os.getxattr(name, "user.kind") == b"%d" % i
        try:
            os.getxattr(name, "user.other")
            raise AssertionError(name)
        except OSError as error:
            assert error.errno == 61, error
PY
  got=$(($(asked mdc mds_getxattr) - got))
  say "$got questions for 2,000 looks at 200 xattrs"
  fits $got 220 "questions for xattrs that were known"
}
best_of_three looking
say ok
