#!/usr/bin/env bash
# Files from S3 as Lustre's users handle them: states, release, restore, prefetch, over kills of the
# servers; and a byte exerciser on one file that is released and restored under it.
. "$(dirname "$0")/../support/cluster.sh"
repo() { timeout 60 sheen repo "$@" --dev "$NAME"; }
refused() { # expected words, command...
  local words=$1
  shift
  "$@" >"$WORK/out" 2>"$WORK/error" && die "$* succeeded"
  grep -qi -- "$words" "$WORK/error" || { cat "$WORK/error"; die "$* does not say '$words'"; }
}
test_cleanup() { [ -n "${STUB:-}" ] && kill "$STUB" 2>/dev/null; }
"$BIN/s3_stub" --control 'patterns={"bucket":"b","prefix":"p/s","count":120,"size":65536}' \
  --control 'objects={"bucket":"b","key":"p/big","size":25000000}' >"$WORK/url" 2>"$WORK/stub.log" &
STUB=$!
for _ in $(seq 600); do [ -s "$WORK/url" ] && break; sleep 0.05; done
URL=$(cat "$WORK/url")
control() { curl -sf -X POST -d "$2" "$URL/_stub/$1" >/dev/null || die "stub: $1"; }
gets() { curl -sf "$URL/_stub/stats" | /usr/bin/python3 -c 'import json,sys
print(sum(k["gets"] for k in json.load(sys.stdin)["keys"].values()))'; }
export AWS_ACCESS_KEY_ID=stub-access-key AWS_SECRET_ACCESS_KEY=stub-secret-key
export AWS_EC2_METADATA_DISABLED=true HOME=$WORK
cluster_up --agent --osts 2
repo add /data s3://b/p --endpoint "$URL" --imported-file-chunk-size 10M --no-head >"$WORK/out" ||
  die "$(cat "$WORK/out")"
D=$MNT/data
state() { lfs hsm_state "$1" | sed 's/.*: (\(0x[0-9a-f]*\)).*/\1/'; }
# A reader has its bytes before their blocks are noted as here.
soon() {
  for _ in $(seq 100); do
    "$@" && return 0
    sleep 0.05
  done
  return 1
}
here() { [ "$(state "$1")" = 0x00000009 ]; }
none_released() { [ -z "$(lfs find "$D" -name big --layout released)" ]; }

# Imported, read in part, read.
[ "$(lfs hsm_state "$D/big")" = "$D/big: (0x0000000d) released exists archived, archive_id:1" ] ||
  die "$(lfs hsm_state "$D/big")"
[ "$(lfs hsm_action "$D/big")" = "$D/big: NOOP" ] || die "$(lfs hsm_action "$D/big")"
dd if="$D/big" of=/dev/null bs=4096 skip=3000 count=1 iflag=direct status=none
one_block_here() {
  sheen repo status "$D/big" --json | /usr/bin/python3 -c 'import json, sys
state = json.load(sys.stdin)
here = [r for r in state["ranges"] if r["state"] == "here"]
assert len(here) == 1 and here[0]["begin"] == 11 << 20 and here[0]["end"] == 12 << 20, state["ranges"]
assert state["bytes_here"] == 1 << 20 and state["bytes_in_s3"] == 25000000 - (1 << 20), state'
}
soon one_block_here 2>"$WORK/out" || die "ranges of a file read in part: $(tail -n 1 "$WORK/out")"
[ "$(state "$D/big")" = 0x0000000d ] || die "a file that is here in part is not released"
cp "$D/big" "$WORK/big"
soon here "$D/big" || die "read and still released: $(lfs hsm_state "$D/big")"

# Released: gone from the OSTs, there again when read.
used() { du -sb --apparent-size "$WORK"/cluster/ost* 2>/dev/null | awk '{s += $1} END {print s}'; }
lfs hsm_release "$D/big" || die "hsm_release"
[ "$(state "$D/big")" = 0x0000000d ] || die "not released: $(lfs hsm_state "$D/big")"
[ "$(lfs find "$D" -name big --layout released)" = "$D/big" ] || die "find --layout released"
# The kernel may still have its pages: they are right, and ask nobody.
cmp "$D/big" "$WORK/big" || die "after a release"
dd if="$D/big" bs=1M iflag=direct status=none | cmp - "$WORK/big" || die "after a release, from S3"
soon none_released || die "find --layout released: it is here"

# What is changed here, kept, or open for writing stays; as do files that are not from S3.
printf x | dd of="$D/s00000001" bs=1 conv=notrunc status=none
[ "$(state "$D/s00000001")" = 0x0000000f ] || [ "$(state "$D/s00000001")" = 0x0000000b ] || die "not dirty"
refused "changed here" lfs hsm_release "$D/s00000001"
lfs hsm_set --norelease "$D/big"
refused "norelease" lfs hsm_release "$D/big"
lfs hsm_clear --norelease "$D/big"
echo own >"$D/own"
refused "not imported" lfs hsm_release "$D/own"
refused "not imported" lfs hsm_set --norelease "$D/own"

# A whole directory; what cannot go is left alone.
sheen prefetch --wait "$D" >"$WORK/out" || die "prefetch: $(cat "$WORK/out")"
before=$(gets)
for file in s00000000 s00000119 big; do
  [ "$(state "$D/$file")" = 0x00000009 ] || die "$file is not here after a prefetch"
done
sheen prefetch --wait "$D" >/dev/null || die "second prefetch"
[ "$(gets)" = "$before" ] || die "a second prefetch fetched again"
sheen release "$D" >"$WORK/out" || die "release"
grep -q '^120 files released' "$WORK/out" || die "release: $(cat "$WORK/out")"
[ "$(state "$D/s00000000")" = 0x0000000d ] || die "not released with its directory"
[ "$(sheen release "$D" --older-than 1h | cut -d' ' -f1)" -le 121 ] || die "--older-than"
sheen release "$D" --high 99.9 --low 99 | grep -q '^0 files released' || die "released though there is room"
refused "go together" sheen release "$D" --high 90
refused "no age" sheen release "$D" --older-than week

# Those of a list alone, one a line.
printf '%s\n' "$D/s00000003" "$D/s00000004" >"$WORK/list"
sheen prefetch --wait --from "$WORK/list" >"$WORK/out" || die "prefetch --from: $(cat "$WORK/out")"
printf '%s\n' "$D/s00000005" | sheen prefetch --wait --from - >"$WORK/out" ||
  die "prefetch --from -: $(cat "$WORK/out")"
for file in s00000003 s00000004 s00000005; do
  [ "$(state "$D/$file")" = 0x00000009 ] || die "$file of a list is not here: $(lfs hsm_state "$D/$file")"
done
[ "$(state "$D/s00000006")" = 0x0000000d ] || die "a file that is not in the list was fetched"
printf '%s\n' "$D/none" >>"$WORK/list"
refused "none" sheen prefetch --wait --from "$WORK/list"

# A prefetch goes on over kills of those who do it.
control limits '{"first_byte_ms": 60, "total_bytes_per_second": 9000000}'
sheen prefetch "$D" >"$WORK/out" || die "prefetch"
for daemon in mds0 oss0 agent0; do
  sheen dev kill "$daemon" --name "$NAME" >/dev/null && sheen dev start "$daemon" --name "$NAME" >/dev/null ||
    die "kill and start of $daemon"
done
control limits '{}'
for _ in $(seq 600); do
  [ "$(lctl get_param -n 'mdt.*.hsm.restore_count' 2>/dev/null)" = 0 ] && break
  sleep 0.2
done
for file in s00000000 s00000119 big; do
  [ "$(state "$D/$file")" = 0x00000009 ] || die "$file is not here after the kills: $(lfs hsm_state "$D/$file")"
done
cmp "$D/big" "$WORK/big" || die "after the kills"

# S3 has another object there: the restore fails, and says why.
lfs hsm_release "$D/s00000002" || die "hsm_release"
control touch '{"bucket": "b", "key": "p/s00000002"}'
refused "was changed" sheen prefetch --wait "$D/s00000002"
lfs hsm_action "$D/s00000002" | grep -q "NOOP (the last restore failed: .*was changed" ||
  die "$(lfs hsm_action "$D/s00000002")"

# A byte exerciser on one file, which is released and restored under it, over a kill of the OSSs.
timeout 60 "$ROOT/tests/support/release_exerciser.py" "$D/big" "$WORK/big" 6 "${SHEEN_SEED:-$RANDOM}" &
exerciser=$!
for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  lfs hsm_release "$D/big" 2>/dev/null || true
  [ $((round % 3)) = 0 ] && { lfs hsm_restore "$D/big" || true; }
  if [ "$round" = 8 ]; then
    sheen dev kill oss0 --name "$NAME" >/dev/null && sheen dev start oss0 --name "$NAME" >/dev/null || die "oss0"
  fi
  sleep 0.2
done
wait "$exerciser" || die "the exerciser saw other bytes"
cold
cmp "$D/big" "$WORK/big" || die "after the exerciser"
say ok
