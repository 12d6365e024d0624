#!/usr/bin/env bash
# lfs migrate, swap_layouts, data_version: a file changes objects to and fro under writers and readers
# on two mounts, and not a byte is lost; whoever is killed leaves the file as it was, and no object.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up --osts 3
SECOND=$WORK/second
mkdir -p "$SECOND"
sheen dev mount "$SECOND" --name "$NAME" >/dev/null
test_cleanup() { touch "$WORK/enough"; sheen dev umount "$SECOND" --name "$NAME" >/dev/null 2>&1; }

objects() { find "$WORK"/cluster -path '*objects*' -type f | wc -l; }
# objects_are N: within a minute; a destroy takes a commit of the MDS and one of the OST.
objects_are() {
  local i
  for i in $(seq 600); do
    [ "$(objects)" -eq "$1" ] && return 0
    sleep 0.1
  done
  die "$(objects) objects, $1 expected: $2"
}

cd "$MNT"
lfs setstripe -c 1 -S 1M still
head -c 7000000 /dev/urandom >"$WORK/data"
cp "$WORK/data" still
touch -d '2020-02-03 04:05:06' still
before=$(lfs data_version still)
[ "$before" = "$(lfs data_version "$SECOND/still")" ] || die "the mounts disagree on the version"
lfs migrate -c 3 -S 64k still || die "lfs migrate"
[ "$(lfs getstripe -c still)" = 3 ] || die "stripe count after migrate"
cmp still "$WORK/data" || die "bytes after migrate"
cmp "$SECOND/still" "$WORK/data" || die "bytes on the other mount"
[ "$(stat -c %y still)" = "$(stat -c %y "$SECOND/still")" ] || die "times differ"
stat -c %y still | grep -q '^2020-02-03 04:05:06' || die "mtime was not kept: $(stat -c %y still)"
[ "$before" != "$(lfs data_version still)" ] || die "the same version of other objects"
sync still
objects_are 3 "the old object goes"

# Holes stay holes; an empty file; a template of another file.
truncate -s 40M sparse
printf x | dd of=sparse bs=1 seek=30000000 conv=notrunc status=none
lfs migrate --copy still sparse || die "migrate --copy"
[ "$(lfs getstripe -c sparse)" = 3 ] || die "--copy"
[ "$(stat -c %s sparse)" = 41943040 ] || die "size of the sparse file"
[ "$(du -k sparse | cut -f1)" -lt 4000 ] || die "holes were filled"
[ "$(tail -c +30000001 sparse | head -c 1)" = x ] || die "the byte in the hole"
lfs migrate -A sparse || die "migrate -A"
[ "$(lfs getstripe -c sparse)" = 1 ] || die "one stripe for 40 MiB: $(lfs getstripe -c sparse)"
lfs migrate -c 2 --fid --lustre-dir "$MNT" "$(lfs path2fid sparse)" || die "migrate --fid"
[ "$(lfs getstripe -c sparse)" = 2 ] || die "--fid: $(lfs getstripe -c sparse)"
: >empty
lfs migrate -c 2 empty && [ "$(lfs getstripe -c empty)" = 2 ] || die "an empty file"

# Exchange.
echo one >a; echo two, longer >b
sha=$(sha256sum <"$SECOND/a")
lfs swap_layouts a b || die "swap_layouts"
[ "$(cat a)" = "two, longer" ] && [ "$(cat b)" = one ] || die "swapped bytes"
[ "$(sha256sum <"$SECOND/b")" = "$sha" ] || die "swapped bytes on the other mount"
lfs swap_layouts a a 2>/dev/null && die "swapped with itself"
lfs migrate -c 2 . 2>"$WORK/err" && die "migrated a directory"
grep -q "error: lfs migrate: '.': not a regular file" "$WORK/err" || die "message: $(cat "$WORK/err")"
rm -f still sparse empty a b
objects_are 0 "all files are gone"

# Under writers on both mounts, and readers.
cat >"$WORK/exercise.py" <<'PY'
import os, random, struct, sys, time
path, seed, enough, parity = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
rng = random.Random(seed)
RECORD, SLOTS = 12345, 300
fd = os.open(path, os.O_RDWR)
have, end = {}, time.time() + 60
count = 0
while time.time() < end and not os.path.exists(enough):
    slot = rng.randrange(SLOTS) * 2 + parity
    if rng.random() < 0.5:
        count += 1
        data = struct.pack("<Q", count << 8 | parity) * (RECORD // 8)
        data += b"e" * (RECORD - len(data))
        assert os.pwrite(fd, data, slot * RECORD) == RECORD
        have[slot] = data
        if rng.random() < 0.02:
            os.fsync(fd)
    elif slot in have:
        assert os.pread(fd, RECORD, slot * RECORD) == have[slot], f"slot {slot}"
os.fsync(fd)
for slot, data in have.items():
    assert os.pread(fd, RECORD, slot * RECORD) == data, f"slot {slot} at the end"
with open(sys.argv[5], "wb") as out:
    for slot, data in sorted(have.items()):
        out.write(struct.pack("<Q", slot) + data)
PY
cat >"$WORK/verify.py" <<'PY'
import struct, sys
RECORD = 12345
with open(sys.argv[1], "rb") as f, open(sys.argv[2], "rb") as want:
    while head := want.read(8):
        slot = struct.unpack("<Q", head)[0]
        data = want.read(RECORD)
        f.seek(slot * RECORD)
        assert f.read(RECORD) == data, f"slot {slot}"
PY
lfs setstripe -E 1M -c 1 -E -1 -c 2 -S 64k busy
python3 "$WORK/exercise.py" "$MNT/busy" 1 "$WORK/enough" 0 "$WORK/first" & writer_a=$!
python3 "$WORK/exercise.py" "$SECOND/busy" 2 "$WORK/enough" 1 "$WORK/second_want" & writer_b=$!
least=$((SECONDS + 6))
moved=0 refused=0 layouts=("-c 3 -S 64k" "-c 1" "-E 512k -c 1 -S 64k -E -1 -c 3" "")
for i in $(seq 1000); do
  kill -0 "$writer_a" 2>/dev/null || break
  # shellcheck disable=SC2086
  if [ $((i % 3)) = 0 ]; then
    status=0
    (cd "$SECOND" && lfs migrate -n ${layouts[$((i % 4))]} busy) 2>"$WORK/err" || status=$?
    [ "$status" = 0 ] || [ "$status" = 16 ] || die "migrate -n: $status $(cat "$WORK/err")"
    [ "$status" = 0 ] || refused=$((refused + 1))
  else
    lfs migrate ${layouts[$((i % 4))]} busy || die "migrate under writers"
    moved=$((moved + 1))
  fi
  [ "$moved" -lt 12 ] || [ "$SECONDS" -lt "$least" ] || touch "$WORK/enough"
done
wait "$writer_a" || die "bytes of the first writer"
wait "$writer_b" || die "bytes of the second writer"
[ "$moved" -gt 2 ] || die "only $moved migrations"
for mount in "$MNT" "$SECOND"; do
  python3 "$WORK/verify.py" "$mount/busy" "$WORK/first"
  python3 "$WORK/verify.py" "$mount/busy" "$WORK/second_want"
done
say "$moved migrations under writers, $refused gave up"
rm busy
objects_are 0 "after the busy file"

# kill -9 in the middle, in the hold and before it; then the same of a client, then of the MDS.
head -c 60000000 /dev/urandom >"$WORK/data"
cp "$WORK/data" big
sync big
count=$(objects)
layout=$(lfs getstripe -c big)
for pause in 0.05 0.1 0.2 0.3; do
  lfs migrate -W 20 -c 3 -S 64k big & victim=$!
  sleep "$pause"
  kill -9 "$victim"
  wait "$victim" 2>/dev/null || true
done
cmp big "$WORK/data" || die "bytes after kill -9 of lfs"
objects_are "$count" "the copies of killed migrates"
[ "$(lfs getstripe -c big)" = "$layout" ] || die "layout after kill -9 of lfs"
status=0
timeout -s INT 0.2 lfs migrate -W 10 -c 3 big 2>"$WORK/err" || status=$?
[ "$status" = 124 ] || die "interrupted: $status"
objects_are "$count" "an interrupted migrate"
lfs migrate --stats -c 2 big >"$WORK/stats" || die "migrate --stats"
grep -q '^big:$' "$WORK/stats" && grep -Eq '^- \{ seconds: .*pct: 100% \}$' "$WORK/stats" ||
  die "--stats: $(cat "$WORK/stats")"
cmp "$SECOND/big" "$WORK/data" || die "bytes after all"

# A mount that may only read changes nothing by way of ioctls either.
echo one >one; echo two >two
cd /
sheen dev umount "$SECOND" --name "$NAME" >/dev/null
sheen dev mount "$SECOND" --name "$NAME" --client-opt ro >/dev/null
for change in "setstripe -c 1 $SECOND/new" "setstripe -c 1 $SECOND" "migrate -c 1 $SECOND/big" \
    "swap_layouts $SECOND/one $SECOND/two" "hsm_release $SECOND/big" "hsm_restore $SECOND/big" \
    "hsm_set --norelease $SECOND/big"; do
  # shellcheck disable=SC2086
  lfs $change 2>"$WORK/err" && die "lfs $change on a mount that may only read"
  grep -q "Read-only file system" "$WORK/err" || die "lfs $change: $(cat "$WORK/err")"
done
[ "$(lfs getstripe -c "$SECOND/big")" = 2 ] || die "getstripe on a mount that may only read"
lfs data_version "$SECOND/big" >/dev/null || die "data_version on a mount that may only read"
sheen dev umount "$SECOND" --name "$NAME" >/dev/null
say ok
