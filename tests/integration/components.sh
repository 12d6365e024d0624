#!/usr/bin/env bash
# lfs setstripe --component-add, -del and -set, overstriping, and what lustre.lov says of it: on
# files that another mount has open.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up --osts 3
SECOND=$WORK/second
mkdir -p "$SECOND"
sheen dev mount "$SECOND" --name "$NAME" >/dev/null
test_cleanup() { sheen dev umount "$SECOND" --name "$NAME" >/dev/null 2>&1; }
cd "$MNT"

# A file that ends with its layout grows when it gets further components, also where it is open.
lfs setstripe -E 1M -c 1 short
python3 - "$MNT/short" "$SECOND/short" <<'PY'
import errno, os, subprocess, sys
here, there = sys.argv[1:3]
fd = os.open(there, os.O_RDWR)
assert os.pwrite(fd, b"a" * 1000, 0) == 1000
try:
    os.pwrite(fd, b"b" * 1000, 2 << 20)
    sys.exit("wrote beyond the layout")
except OSError as error:
    assert error.errno == errno.EFBIG, error
subprocess.run(["lfs", "setstripe", "--component-add", "-E", "4M", "-c", "2", "-S", "64k", "-E", "-1",
                "-c", "-1", here], check=True)
assert os.pwrite(fd, b"b" * 1000, 2 << 20) == 1000
os.fsync(fd)
r = os.open(here, os.O_RDONLY)
assert os.pread(r, 1000, 2 << 20) == b"b" * 1000
assert os.fstat(r).st_size == (2 << 20) + 1000
PY
[ "$(lfs getstripe --component-count short)" = 3 ] || die "components after --component-add"
[ "$(lfs getstripe -I2 -E short)" = 4194304 ] || die "end of the second component"

# Deleted from the end only, with what is in them.
lfs setstripe --component-del -I 2 short 2>"$WORK/err" && die "deleted from the middle"
grep -q "cannot delete components of 'short': Invalid argument (22)" "$WORK/err" || die "$(cat "$WORK/err")"
lfs setstripe --component-del --component-flags=^init short || die "--component-flags=^init"
[ "$(lfs getstripe --component-count short)" = 2 ] || die "components without objects"
lfs setstripe --component-del -I 2 short || die "--component-del -I 2"
[ "$(stat -c %s "$SECOND/short")" -le 1048576 ] || die "size after --component-del"
[ "$(head -c 1000 "$SECOND/short" | tr -d a | wc -c)" = 0 ] || die "bytes of the first component"
lfs setstripe --component-del -I 1 short 2>/dev/null && die "deleted the first component"
lfs setstripe -c 1 alone
lfs setstripe --component-add -E -1 alone 2>/dev/null && die "components for a plain file"

# Flags of a component.
lfs setstripe -E 1M -c 1 -E -1 -c 2 flagged
head -c 1000 /dev/zero >flagged
lfs setstripe --component-set -I 1 --component-flags=prefer flagged || die "--component-set"
lfs setstripe --component-set -I 2 --comp-flags=prefwr flagged || die "--comp-flags"
[ "$(lfs getstripe -I1 --component-flags "$SECOND/flagged")" = init,prefer ] ||
  die "flags: $(lfs getstripe "$SECOND/flagged")"
[ "$(lfs find . --component-flags init,prefwr)" = ./flagged ] || die "lfs find --component-flags"
[ -z "$(lfs find . --component-flags '^init,prefrd')" ] || die "lfs find --component-flags ^init"
getfattr --only-values -n lustre.lov flagged | python3 -c '
import struct, sys
lov = sys.stdin.buffer.read()
assert [struct.unpack_from("<I", lov, 32 + 48 * i + 4)[0] for i in (0, 1)] == [0x16, 0x4], lov' ||
  die "flags in lustre.lov"
lfs setstripe --component-set -I 1 --component-flags=^prefwr flagged
[ "$(lfs getstripe -I1 --component-flags flagged)" = init,prefrd ] || die "a flag cleared"
lfs setstripe --component-set -I 9 --component-flags=prefer flagged 2>/dev/null && die "component 9"
lfs setstripe --component-set -I 1 --component-flags=stale flagged 2>"$WORK/err" && die "stale"
grep -q "a file has one copy" "$WORK/err" || die "$(cat "$WORK/err")"

# More stripes than OSTs.
lfs setstripe -C 7 -S 64k over
[ "$(lfs getstripe -c over)" = 7 ] || die "-C 7: $(lfs getstripe over)"
[ "$(lfs getstripe -L over)" = raid0,overstriped ] || die "pattern: $(lfs getstripe -L over)"
head -c 3000000 /dev/urandom >"$WORK/data"
cp "$WORK/data" over
cmp "$SECOND/over" "$WORK/data" || die "bytes of an overstriped file"
lfs setstripe -C -2 two_each
[ "$(lfs getstripe -c two_each)" = 6 ] || die "-C -2: $(lfs getstripe -c two_each)"
lfs setstripe -o 1,1,0 listed
[ "$(lfs getstripe listed | awk '/^\t/ && $1 ~ /^[0-9]+$/ { printf "%s ", $1 }')" = "1 1 0 " ] ||
  die "-o 1,1,0: $(lfs getstripe listed)"
[ "$(lfs find . -name over --layout overstriped)" = ./over ] || die "lfs find --layout overstriped"
cd /
cold
cd "$MNT"
cmp over "$WORK/data" || die "bytes of an overstriped file after a mount"

# The structures that Lustre's programs read.
python3 - "$MNT" <<'PY'
import os, struct, sys
top = sys.argv[1]
def lov(name):
    return os.getxattr(f"{top}/{name}", "lustre.lov")
value = lov("over")
magic, pattern, oid, seq, size, count, gen = struct.unpack_from("<IIQQIHH", value)
assert magic == 0x0BD10BD0 and pattern == 0x201 and size == 65536 and count == 7, value
assert len(value) == 32 + 24 * count
assert value == os.getxattr(f"{top}/over", "trusted.lov")
osts = [struct.unpack_from("<I", value, 32 + 24 * i + 20)[0] for i in range(count)]
assert len(set(osts)) == 3 and max(map(osts.count, osts)) == 3, osts
fid = os.getxattr(f"{top}/over", "lustre.fid")
assert struct.unpack("<QII", fid)[:2] == (seq, oid)
magic, total, gen, flags, entries = struct.unpack_from("<IIIHH", lov("short"))
assert magic == 0x0BD60BD0 and entries == 1 and total == len(lov("short"))
# What was read makes a file alike.
os.mknod(f"{top}/copy", 0o100644)
os.setxattr(f"{top}/copy", "lustre.lov", value)
again = struct.unpack_from("<IIQQIHH", lov("copy"))
assert (again[1], again[4], again[5]) == (0x201, 65536, 7), again
PY
cd /
sheen dev umount "$SECOND" --name "$NAME" >/dev/null
say ok
