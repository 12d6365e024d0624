#!/usr/bin/env bash
# How many requests things take: a create with open, layout and locks is one; a listing with attributes
# brings about a thousand entries a request, and asks no OST when the MDS knows the sizes.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up

# asked mdc|osc [KIND]: requests of this mount to the MDS or the OSTs, of all kinds or of one.
asked() {
  lctl get_param -n "$1.*.stats" | awk -v kind="${2:-req_waittime}" '$1 == kind { n += $2 } END { print n + 0 }'
}
count=1000
# In a directory of this mount's own, also the first one of all: lookup, create and close of each file.
opens=$(asked mdc mds_create) all=$(asked mdc) looked=$(asked mdc mds_getattr_lock) osts=$(asked osc)
python3 - "$MNT/own" $count <<'PY'
import os, sys
os.mkdir(sys.argv[1])
for i in range(int(sys.argv[2])):
    os.close(os.open(f"{sys.argv[1]}/f{i}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
PY
creates=$(($(asked mdc mds_create) - opens)) looked=$(($(asked mdc mds_getattr_lock) - looked))
say "$(($(asked mdc) - all)) requests to the MDS for $count creates and closes, $looked of them lookups"
[ $creates = $count ] || die "$creates creates for $count files"
[ $(($(asked osc) - osts)) = 0 ] || die "$(($(asked osc) - osts)) requests to OSTs for empty files"
# A mount that had no time to prove that it lives asks once more; so nothing here is counted to the last.
[ $looked -le $((count / 20)) ] || die "names of an own directory are asked for"
# A close each comes later; layouts, locks and opens came with the create.
[ $(($(asked mdc) - all)) -le $((2 * count + count / 10)) ] || die "more than a create and a close a file"
for kind in mds_open mds_get_layout mds_getattr mds_getxattr; do
  [ "$(asked mdc $kind)" -le $((count / 20)) ] || die "$(asked mdc $kind) of $kind"
done

# Files with bytes, closed; a new mount knows nothing of them.
files=2000
mkdir "$MNT/many"
python3 - "$MNT/many" $files <<'PY'
import os, sys
for i in range(int(sys.argv[2])):
    with open(f"{sys.argv[1]}/f{i}", "wb") as f:
        f.write(b"x" * (i + 1))
PY
cold
listings=$(asked mdc mds_readpage) looked=$(asked mdc mds_getattr_lock) got=$(asked mdc mds_getattr) osts=$(asked osc)
ls -l "$MNT/many" >"$WORK/list"
awk -v files=$files '$1 != "total" { n++; sum += $5 } END { exit !(n == files && sum == files * (files + 1) / 2) }' \
  "$WORK/list" || die "ls -l shows other files or sizes"
listings=$(($(asked mdc mds_readpage) - listings))
looked=$(($(asked mdc mds_getattr_lock) + $(asked mdc mds_getattr) - looked - got))
say "$listings listings and $looked other questions for $files files"
[ $(($(asked osc) - osts)) = 0 ] || die "ls -l asked OSTs $(($(asked osc) - osts)) times"
[ $listings -le $((files / 500)) ] || die "$listings listings for $files files"
[ $looked -le $((files / 20)) ] || die "$looked files were asked for one by one"

# Extended attributes are known as long as the inode's lock is held.
python3 - "$MNT/many" <<'PY'
import os, sys
for i in range(100):
    os.setxattr(f"{sys.argv[1]}/f{i}", "user.kind", b"%d" % i)
PY
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
[ $got -le 220 ] || die "xattrs that were known are asked for again"
say ok
