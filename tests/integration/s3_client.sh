#!/usr/bin/env bash
# src/s3 against a real server, Ceph's radosgw, with boto3 as the second party: what one puts the
# other gets, listings agree, a changed object is told, and so is whatever is set up wrongly.
set -uo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
. "$ROOT/tests/support/radosgw.sh"
TOOL=$ROOT/build/release/bin/s3_tool
PARTY=$ROOT/tests/s3/second_party.py
WORK=$(mktemp -d "${TMPDIR:-/tmp}/sheen-s3.XXXXXX")
trap 'radosgw_down; rm -rf "$WORK"' EXIT

say() { echo "s3_client: $*"; }
die() {
  say "FAILED: $*"
  [ -s "$WORK/error" ] && tail -5 "$WORK/error"
  exit 1
}
s3() { # command, words...
  local command=$1
  shift
  timeout 60 "$TOOL" "$command" --endpoint "$RGW_URL" --bucket "${BUCKET:-bucket}" "$@" \
    2>"$WORK/error"
}
party() { timeout 100 "$PARTY" "$RGW_URL" "$@" 2>"$WORK/error"; }
refused() { # expected name of the error, command...
  local expected=$1
  shift
  s3 "$@" >/dev/null && die "$* succeeded, $expected was expected"
  grep -q "^$expected: " "$WORK/error" || die "$* did not fail with $expected"
}

begin=$(date +%s)
radosgw_up || { tail -n 5 "$RGW_DIR"/*.out; die "radosgw does not start"; }
say "radosgw serves after $(($(date +%s) - begin)) s"
export AWS_ACCESS_KEY_ID=$RGW_ACCESS AWS_SECRET_ACCESS_KEY=$RGW_SECRET
export AWS_EC2_METADATA_DISABLED=true HOME=$WORK
unset AWS_PROFILE AWS_SESSION_TOKEN
party make bucket || die "bucket made by boto3"

s3 check >"$WORK/out" || die "check"
BUCKET=other refused ENODEV check
AWS_SECRET_ACCESS_KEY=wrong refused EPERM check
AWS_ACCESS_KEY_ID=nobody refused EPERM check
AWS_ACCESS_KEY_ID='' refused EPERM check
RGW_URL=http://127.0.0.1:1 refused ECONNREFUSED check

head -c 20000000 /dev/urandom >"$WORK/body"
: >"$WORK/empty"
for key in plain 'a b+c%20/ü//x' 'dots/../z' '日本/&<>"q?r=s#t'; do
  party put bucket "$key" "$WORK/body" file-permissions=0100640 file-owner=7 file-group=8 \
    file-mtime=1595002920000000001ns || die "boto3 puts '$key'"
  s3 get "$key" >"$WORK/out" || die "get '$key'"
  cmp "$WORK/body" "$WORK/out" || die "other bytes of '$key'"
  s3 get "$key" 1234567 7654321 "$(party etag bucket "$key")" >"$WORK/out" || die "range of '$key'"
  [ "$(stat -c %s "$WORK/out")" = 7654321 ] || die "size of a range of '$key'"
  cmp -n 7654321 -i 1234567:0 "$WORK/body" "$WORK/out" || die "other bytes of a range of '$key'"
  s3 put "$key.ours" "$WORK/body" file-owner=5 file-group=6 >/dev/null || die "put '$key.ours'"
  party get bucket "$key.ours" "$WORK/out" || die "boto3 gets '$key.ours'"
  cmp "$WORK/body" "$WORK/out" || die "other bytes of '$key.ours'"
done
s3 head plain >"$WORK/out" || die "head"
for line in 'size 20000000' 'mode 100640' 'owner 7:8' 'mtime 1595002920000000001'; do
  grep -qx "$line" "$WORK/out" || die "head says no '$line'"
done
s3 put empty "$WORK/empty" >/dev/null && s3 get empty | cmp - "$WORK/empty" || die "empty object"

etag=$(party etag bucket plain)
head -c 1000 /dev/urandom | cat - "$WORK/body" >"$WORK/changed"
party put bucket plain "$WORK/changed" || die "boto3 changes 'plain'"
refused ESTALE get plain 0 100 "$etag"
refused ERANGE get plain 30000000 10
refused ENOENT head nothing
refused ENOENT get nothing 0 10
s3 delete empty || die delete
refused ENOENT head empty

party make many || die "bucket made by boto3"
expected=$(party fill many 2200) || die "fill"
for parallel in 1 4 16; do
  BUCKET=many s3 list-parallel '' "$parallel" >"$WORK/out" || die "list by $parallel"
  [ "$(head -1 "$WORK/out")" = "$expected" ] || die "list by $parallel: $(cat "$WORK/out")"
  say "list by $parallel: $(tail -1 "$WORK/out")"
done
BUCKET=many s3 list '' >"$WORK/out" || die "list page by page"
[ "$(wc -l <"$WORK/out")" = 2200 ] || die "list page by page: $(wc -l <"$WORK/out") lines"
say "ok, $(($(date +%s) - begin)) s"
