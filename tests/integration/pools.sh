#!/usr/bin/env bash
# Pools of OSTs: lctl pool_*, lfs pool_list, setstripe -p, migrate -p, df -p, find --pool. Objects are
# where the pool says, on the disks too; after restarts as well.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up --oss 2 --osts 4
SECOND=$WORK/second
mkdir -p "$SECOND"
sheen dev mount "$SECOND" --name "$NAME" >/dev/null
test_cleanup() { sheen dev umount "$SECOND" --name "$NAME" >/dev/null 2>&1; }

cd "$MNT"

# refused STATUS TEXT COMMAND ...
refused() {
  local want=$1 text=$2 status=0
  shift 2
  "$@" >"$WORK/out" 2>"$WORK/err" || status=$?
  [ "$status" = "$want" ] || die "$*: status $status, not $want: $(cat "$WORK/err")"
  grep -qF "$text" "$WORK/err" || die "$*: $(cat "$WORK/err")"
}
# Of a plain file's objects.
osts_of() { lfs getstripe "$1" | awk '/^\t +[0-9]/ { print $1 }' | sort -u | tr '\n' ' '; }

lctl pool_new sheen.flash 2>"$WORK/err" || die "pool_new"
[ "$(cat "$WORK/err")" = "Pool sheen.flash created" ] || die "pool_new says: $(cat "$WORK/err")"
refused 17 "Pool sheen.flash already exists" lctl pool_new sheen.flash
refused 22 "cannot be a pool's name" lctl pool_new sheen.ignore
refused 22 "must be named as FSNAME.POOL" lctl pool_new flash
refused 19 "no MGS of filesystem 'other'" lctl pool_new other.flash
refused 2 "pool 'tape fsname sheen does not exist" lfs setstripe -p tape "$MNT/x"
refused 22 "pool 'flash fsname sheen has no OSTs" lfs setstripe -p flash "$MNT/x"
[ ! -e "$MNT/x" ] || die "a refused setstripe left a file"
lctl pool_add sheen.flash 'OST[1,3]' 2>"$WORK/err" || die "pool_add"
grep -qx "OST sheen-OST0003_UUID added to pool sheen.flash" "$WORK/err" || die "$(cat "$WORK/err")"
refused 17 "OST sheen-OST0001_UUID is already in pool sheen.flash" lctl pool_add sheen.flash OST0001
refused 2 "OST sheen-OST0009_UUID is not part of the 'sheen' filesystem" \
  lctl pool_add sheen.flash OST0009 OST0000
grep -q "OST sheen-OST0000_UUID added" "$WORK/err" || die "the others are added: $(cat "$WORK/err")"
lctl pool_remove sheen.flash sheen-OST0000_UUID 2>/dev/null || die "pool_remove"
refused 39 "is not empty" lctl pool_destroy sheen.flash
[ "$(lctl get_param -n 'lod.*.pools.flash' | tr '\n' ' ')" = "sheen-OST0001_UUID sheen-OST0003_UUID " ] ||
  die "lod.*.pools: $(lctl get_param 'lod.*.pools.*')"
[ "$(lfs pool_list sheen.flash)" = "$(lctl pool_list sheen.flash)" ] || die "the lists differ"
[ "$(lfs pool_list --json "$SECOND")" = '{
  "sheen.flash": [
    "sheen-OST0001_UUID",
    "sheen-OST0003_UUID"
  ]
}' ] || die "--json: $(lfs pool_list --json "$SECOND")"

# Files and what directories hand on, on the other mount too.
mkdir d
lfs setstripe -p flash -c -1 -S 64k d
mkdir "$SECOND/d/sub"
for i in 1 2 3 4; do head -c 300000 /dev/urandom >"$SECOND/d/sub/f$i"; done
sync "$SECOND"/d/sub/*
[ "$(osts_of d/sub/f1)" = "1 3 " ] || die "inherited: $(lfs getstripe d/sub/f1)"
[ "$(lfs getstripe -p d/sub/f1)" = flash ] || die "getstripe -p"
lfs getstripe d/sub/f1 | grep -qx 'lmm_pool:          flash' || die "$(lfs getstripe d/sub/f1)"
lfs getstripe -d d | grep -q 'pool: *flash' || die "$(lfs getstripe -d d)"
[ "$(find "$WORK/cluster" -path '*ost*objects*' -type f | grep -cE 'ost[13]/')" = 8 ] ||
  die "objects: $(find "$WORK/cluster" -path '*objects*' -type f)"
[ "$(find "$WORK/cluster" -path '*ost*objects*' -type f | wc -l)" = 8 ] || die "objects elsewhere"
refused 22 "OST 2 is not in pool 'flash' of 'sheen'" lfs setstripe -p flash -o 1,2 d/y
refused 22 "OST 0 is not in pool 'flash' of 'sheen'" lfs setstripe -p flash -i 0 d/y
lfs setstripe -p flash -o 3,1 d/y
[ "$(lfs getstripe -i d/y)" = 3 ] || die "-o with -p"
lfs setstripe -p ignore -c -1 d/everywhere
[ "$(osts_of d/everywhere)" = "0 1 2 3 " ] || die "-p ignore: $(lfs getstripe d/everywhere)"
lfs setstripe -E 1M -c 1 -p flash -E -1 -c -1 -p none both
head -c 3000000 /dev/zero >both
[ "$(lfs getstripe -I1 -p both)" = flash ] || die "pool of the first component"
[ "$(lfs getstripe -I2 -c both)" = 4 ] || die "the second component has no pool: $(lfs getstripe both)"
[ "$(lfs find . --pool flash --type f | sort | tr '\n' ' ')" = \
  "./both ./d/sub/f1 ./d/sub/f2 ./d/sub/f3 ./d/sub/f4 ./d/y " ] || die "find --pool: $(lfs find . --pool flash)"
[ "$(lfs find d --pool '' --type f)" = d/everywhere ] || die "find --pool ''"
if lfs df -p sheen.flash . | grep -q OST0000; then die "df -p shows another OST"; fi
[ "$(lfs df -p flash . | grep -c OST0)" = 2 ] || die "df -p: $(lfs df -p flash .)"
refused 2 "pool 'tape fsname sheen does not exist" lfs df -p tape .

# A file moves into the pool; the bytes stay.
head -c 2000000 /dev/urandom >"$WORK/data"
lfs setstripe -c 1 -i 0 moved
cp "$WORK/data" moved
refused 2 "pool 'tape fsname sheen does not exist" lfs migrate -p tape moved
lfs migrate -p flash -c 2 moved || die "migrate -p"
[ "$(osts_of moved)" = "1 3 " ] || die "migrate -p: $(lfs getstripe moved)"
cmp "$SECOND/moved" "$WORK/data" || die "bytes after migrate -p"
lfs setstripe --copy d/sub/f1 copied
[ "$(lfs getstripe -p copied)" = flash ] || die "--copy keeps the pool"
lfs getstripe --yaml d/y >"$WORK/yaml"
lfs setstripe --yaml "$WORK/yaml" from_yaml
[ "$(osts_of from_yaml)" = "1 3 " ] && [ "$(lfs getstripe -p from_yaml)" = flash ] || die "--yaml"
python3 - "$MNT/moved" <<'PY'
import os, struct, sys
value = os.getxattr(sys.argv[1], "lustre.lov")
assert struct.unpack_from("<I", value)[0] == 0x0BD30BD0 and value[32:48].rstrip(b"\0") == b"flash", value
PY

# Without an option a migrate keeps what the file has, whatever its directory says.
cp "$WORK/data" d/everywhere
lfs migrate d/everywhere || die "migrate without an option"
[ "$(osts_of d/everywhere)" = "0 1 2 3 " ] && [ -z "$(lfs getstripe -p d/everywhere)" ] ||
  die "it takes the directory's pool: $(lfs getstripe d/everywhere)"
cmp "$SECOND/d/everywhere" "$WORK/data" || die "bytes after migrate"
# A component that is added takes the pool of its own place.
lctl pool_new sheen.slow 2>/dev/null && lctl pool_add sheen.slow 'OST[0,2]' 2>/dev/null
mkdir two
lfs setstripe -E 1M -c 1 -p flash -E -1 -c 1 -p slow two
lfs setstripe -E 1M -c 1 two/f
lfs setstripe --component-add -E -1 -c -1 two/f || die "component-add"
[ "$(lfs getstripe -I1 -p two/f)" = flash ] || die "the first component: $(lfs getstripe two/f)"
[ "$(lfs getstripe -I2 -p two/f)" = slow ] || die "the component added: $(lfs getstripe two/f)"
lfs setstripe -d two
lctl pool_remove sheen.slow 'OST[0,2]' 2>/dev/null
lctl pool_destroy sheen.slow 2>"$WORK/err" || die "pool_destroy"
grep -q "lfs find --pool slow" "$WORK/err" || die "pool_destroy warns: $(cat "$WORK/err")"

# What was said is kept.
cd /
sheen dev umount "$SECOND" --name "$NAME" >/dev/null
restart
cd "$MNT"
[ "$(lfs pool_list sheen)" = "Pools from sheen:
sheen.flash" ] || die "after a restart: $(lfs pool_list sheen)"
head -c 300000 /dev/zero >d/sub/later
[ "$(osts_of d/sub/later)" = "1 3 " ] || die "after a restart: $(lfs getstripe d/sub/later)"
lctl pool_remove sheen.flash 'OST[1-3/2]' 2>/dev/null || die "pool_remove"
if touch d/sub/none 2>"$WORK/err"; then die "a file of an empty pool"; fi
grep -q "No space left on device" "$WORK/err" || die "an empty pool: $(cat "$WORK/err")"
lctl pool_destroy sheen.flash 2>/dev/null || die "pool_destroy"
[ "$(lfs pool_list sheen)" = "Pools from sheen:" ] || die "destroyed"
[ "$(lfs getstripe -p moved)" = flash ] || die "files keep the name"
cmp moved "$WORK/data" || die "files keep their bytes"
refused 2 "pool 'flash fsname sheen does not exist" lfs migrate -A d/everywhere
lfs migrate moved || die "a file of a pool that is gone is moved"
[ -z "$(lfs getstripe -p moved)" ] || die "it names the pool still"
cmp moved "$WORK/data" || die "bytes after that"
lfs setstripe -d d
touch d/again || die "without the default"
cd /
say ok
