#!/usr/bin/env bash
# A bucket as a directory: import, reads of byte ranges, writes, a restart of everything, changed and
# lost objects; against Ceph's radosgw, with boto3 as the second party.
. "$(dirname "$0")/../support/cluster.sh"
. "$ROOT/tests/support/radosgw.sh"
PARTY=$ROOT/tests/s3/second_party.py
test_cleanup() { radosgw_down; }
party() { timeout 100 "$PARTY" "$RGW_URL" "$@" 2>"$WORK/error" || { cat "$WORK/error"; die "boto3: $*"; }; }
repo() { timeout 120 sheen repo "$@" --dev "$NAME"; }
refused() { # expected words, command...
  local words=$1
  shift
  "$@" >"$WORK/out" 2>"$WORK/error" && die "$* succeeded"
  grep -qi -- "$words" "$WORK/error" || { cat "$WORK/error"; die "$* does not say '$words'"; }
}

radosgw_up || { tail -n 5 "$RGW_DIR"/*.out; die "radosgw does not start"; }
export AWS_ACCESS_KEY_ID=$RGW_ACCESS AWS_SECRET_ACCESS_KEY=$RGW_SECRET
export AWS_EC2_METADATA_DISABLED=true HOME=$WORK
unset AWS_PROFILE AWS_SESSION_TOKEN
party make bucket
cluster_up --agent --osts 2

# What the bucket holds, and a copy of it as it must be seen.
SEEN=$WORK/seen
mkdir -p "$SEEN/dir/sub"
head -c 30000000 /dev/urandom >"$SEEN/big"
head -c 70000 /dev/urandom >"$SEEN/dir/small"
head -c 1048576 /dev/urandom >"$SEEN/dir/sub/block"
: >"$SEEN/dir/empty"
printf 'plain\n' >"$SEEN/dir/ü b+c"
for file in big dir/small dir/sub/block dir/empty 'dir/ü b+c'; do
  party put bucket "data/$file" "$SEEN/$file" file-permissions=0100640 file-owner=7 file-group=8 \
    file-mtime=1595002920000000001ns
done
printf 'dir/small' >"$WORK/target"
party put bucket data/link "$WORK/target" file-permissions=0120777
: >"$WORK/nothing"
party put bucket 'data/bad//name' "$WORK/nothing"
party put bucket elsewhere "$WORK/nothing"

# What is wrong is told at once, and nothing is made.
E=(--endpoint "$RGW_URL")
refused 'bucket' repo add /wrong s3://no-such-bucket/ "${E[@]}"
refused 'refused\|connect' repo add /wrong s3://bucket/ --endpoint http://127.0.0.1:1
printf '[default]\naws_access_key_id = nobody\naws_secret_access_key = x\n' >"$WORK/keys"
refused 'key' repo add /wrong s3://bucket/ "${E[@]}" --credentials "$WORK/keys"
[ ! -e "$MNT/wrong" ] || die "a refused repository left a directory"

# All keys but the impossible one, which is named; the exit status says so.
refused "bad//name" repo add /data s3://bucket/data "${E[@]}" --failures "$WORK/failures.csv" \
  --imported-file-chunk-size 20M
grep -q '7 keys listed' "$WORK/out" || die "$(cat "$WORK/out")"
grep -q 'bad//name.*empty component' "$WORK/failures.csv" || die "no failure in the CSV"
refused 'overlaps' repo add /data/dir s3://bucket/other "${E[@]}"
refused 'overlaps' repo add /other s3://bucket/data/dir "${E[@]}"
repo list | grep -q '^/data .*s3://bucket/data/' || die "repo list"
repo show /data --json | /usr/bin/python3 -c 'import json,sys; assert json.load(sys.stdin)["bucket"] == "bucket"'

# Attributes without any data.
D=$MNT/data
[ "$(stat -c '%s %a %u %g %Y' "$D/big")" = '30000000 640 7 8 1595002920' ] || die "$(stat "$D/big")"
[ "$(readlink "$D/link")" = dir/small ] || die "the symbolic link"
[ "$(stat -c %b "$D/big")" -lt 10 ] || die "an imported file has data already"
lfs getstripe -c "$D/big" | grep -qx 2 || die "stripes: $(lfs getstripe -c "$D/big")"

# A few bytes in the middle cost a block, not the file.
bytes() { sheen status --json --server "127.0.0.1:$AGENT" | grep -o '[0-9]* bytes in' | cut -d' ' -f1; }
AGENT=$(repo status --json | /usr/bin/python3 -c 'import json,sys; print(json.load(sys.stdin)["agents"][0]["control_port"])')
dd if="$D/big" bs=4096 skip=4000 count=1 iflag=direct status=none | cmp -n 4096 -i 0:16384000 - "$SEEN/big" ||
  die "bytes in the middle"
[ "$(bytes)" -le 4194304 ] || die "$(bytes) bytes were fetched for 4096"
# Read by many at once: each block comes once.
for _ in 1 2 3 4 5 6 7 8; do cmp "$D/big" "$SEEN/big" & done
wait $(jobs -p | tail -n 8) || die "eight readers"
[ "$(bytes)" -le 30000000 ] || die "$(bytes) bytes were fetched of a file of 30000000"

# Written before it was read: what the write does not cover is S3's.
printf 'changed here' | dd of="$D/dir/sub/block" bs=1 seek=500000 conv=notrunc status=none
printf 'changed here' | dd of="$SEEN/dir/sub/block" bs=1 seek=500000 conv=notrunc status=none
truncate -s 30000 "$D/dir/small"
truncate -s 60000 "$D/dir/small"
truncate -s 30000 "$SEEN/dir/small"
truncate -s 60000 "$SEEN/dir/small"
check() {
  local file
  for file in big dir/small dir/sub/block dir/empty 'dir/ü b+c'; do
    cmp "$D/$file" "$SEEN/$file" || die "$1: $file differs"
  done
}
check "as written"
restart
check "after a restart"
for daemon in oss0 agent0 mds0; do
  sheen dev kill "$daemon" --name "$NAME" && sheen dev start "$daemon" --name "$NAME" ||
    die "kill and start of $daemon"
done
check "after kills"

# Imported again: nothing to do, and local changes stay; then what has changed in S3.
refused "bad//name" repo import /data
grep -q '0 new, 0 changed' "$WORK/out" || die "second import: $(cat "$WORK/out")"
check "after the second import"
printf 'plain and more\n' >"$SEEN/dir/ü b+c"
party put bucket 'data/dir/ü b+c' "$SEEN/dir/ü b+c"
refused "bad//name" repo import /data
grep -q '0 new, 1 changed' "$WORK/out" || die "third import: $(cat "$WORK/out")"
check "after a change in S3"

# Changed in S3 and not imported again: an error, never other bytes.
head -c 3000000 /dev/urandom >"$WORK/later"
party put bucket data/later "$WORK/later"
refused "bad//name" repo import /data
head -c 3000000 /dev/urandom >"$WORK/other"
party put bucket data/later "$WORK/other"
refused 'input/output error' cat "$D/later"
grep -q "was changed since it was imported" "$WORK"/cluster/log/oss*.log || die "no reason in the log"
refused "bad//name" repo import /data
cmp "$D/later" "$WORK/other" || die "imported again, other bytes"
# The link goes: with --keep-data all names stay, and can be read when the place is linked again.
party put bucket data/stays "$WORK/other"
refused "bad//name" repo import /data
repo remove /data --keep-data | grep -q 'its files stay' || die "repo remove --keep-data"
AGENT=$(repo status --json | /usr/bin/python3 -c 'import json,sys; print(json.load(sys.stdin)["agents"][0]["control_port"])')
for _ in $(seq 300); do
  sheen status --json --server "127.0.0.1:$AGENT" | grep -q 'serving 0 data' && break
  sleep 0.1
done
refused 'input/output error' cat "$D/stays"
repo add /data s3://bucket/data "${E[@]}" --no-import-on-create >/dev/null || die "linked again"
cmp "$D/stays" "$WORK/other" || die "a file that stayed, after the place was linked again"
# Without it what S3 has goes, and what was changed here stays.
repo remove /data >"$WORK/out" || die "repo remove"
[ "$(cd "$D" && find . -type f | sort | tr '\n' ' ')" = './dir/small ./dir/sub/block ' ] ||
  die "left behind: $(cat "$WORK/out"; find "$D")"
cmp "$D/dir/sub/block" "$SEEN/dir/sub/block" || die "a changed file, after its link went"
say ok
