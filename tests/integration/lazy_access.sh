#!/usr/bin/env bash
# All that programs do to files whose bytes are still in S3: run them, map them, copy ranges of them,
# and be killed while S3 says nothing. Against the stub.
. "$(dirname "$0")/../support/cluster.sh"
PARTY=$ROOT/tests/s3/second_party.py
repo() { timeout 300 sheen repo "$@" --dev "$NAME"; }
test_cleanup() { [ -n "${STUB:-}" ] && kill "$STUB" 2>/dev/null; }
"$BIN/s3_stub" --control 'objects={"bucket":"b","key":"p/one","size":1}' >"$WORK/url" 2>"$WORK/stub.log" &
STUB=$!
for _ in $(seq 600); do [ -s "$WORK/url" ] && break; sleep 0.05; done
URL=$(cat "$WORK/url")
control() { curl -sf -X POST -d "$2" "$URL/_stub/$1" >/dev/null || die "stub: $1"; }
export AWS_ACCESS_KEY_ID=stub-access-key AWS_SECRET_ACCESS_KEY=stub-secret-key
export AWS_EC2_METADATA_DISABLED=true HOME=$WORK
unset AWS_PROFILE AWS_SESSION_TOKEN
head -c 5000000 /dev/urandom >"$WORK/bytes"
put() { # key, file
  timeout 60 "$PARTY" "$URL" put b "p/$1" "$2" 2>"$WORK/error" || { cat "$WORK/error"; die "put of $1"; }
}
for key in mapped copied copied_over stalled; do put "$key" "$WORK/bytes"; done
put tool "$(readlink -f "$(type -P sort)")"
cluster_up --agent --osts 2
# Stripes of 8 MiB; 2 of them from 1 MiB on.
repo add /data s3://b/p --endpoint "$URL" --imported-file-chunk-size 1M --no-head >"$WORK/out" ||
  die "$(cat "$WORK/out")"
D=$MNT/data
absent() { [ "$(lfs hsm_state "$D/$1" | sed 's/.*: (\(0x[0-9a-f]*\)).*/\1/')" = 0x0000000d ]; }
for key in mapped copied copied_over stalled tool; do absent "$key" || die "$key is here already"; done

[ "$(printf 'b\na\n' | "$D/tool" | tr '\n' ,)" = a,b, ] || die "a program that was still in S3"

# A map reads what is there, and what is written through it replaces that alone.
/usr/bin/python3 - "$D/mapped" "$WORK/bytes" <<'P' || die "a map"
import mmap, sys
want = bytearray(open(sys.argv[2], "rb").read())
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 0) as there:
    assert there[3000000:3000100] == want[3000000:3000100], "read through a map"
    for at in (0, 1048575, 2500000, len(want) - 1):
        want[at] ^= 0xff
        there[at] = want[at]
    there.flush()
    assert there[:] == bytes(want), "all of it through a map"
open(sys.argv[2] + ".mapped", "wb").write(want)
P
cmp "$D/mapped" "$WORK/bytes.mapped" || die "what a map has written"

# From and to files that are not here.
/usr/bin/python3 - "$D" "$WORK/bytes" <<'P' || die "copy_file_range"
import os, sys
data = open(sys.argv[2], "rb").read()
size, source_at, target_at = 1234567, 1000001, 2000003
def copy(name):
    source = os.open(sys.argv[1] + "/copied", os.O_RDONLY)
    target = os.open(sys.argv[1] + "/" + name, os.O_RDWR | os.O_CREAT, 0o644)
    done = 0
    while done < size:
        more = os.copy_file_range(source, target, size - done, source_at + done, target_at + done)
        assert more > 0, f"ended after {done} bytes"
        done += more
    os.close(source)
    os.close(target)
copy("new")
want = bytes(target_at) + data[source_at:source_at + size]
open(sys.argv[2] + ".new", "wb").write(want)
copy("copied_over")
end = target_at + size
open(sys.argv[2] + ".over", "wb").write(data[:target_at] + data[source_at:source_at + size] + data[end:])
P
cmp "$D/new" "$WORK/bytes.new" || die "copied out of a file that was in S3"
cmp "$D/copied_over" "$WORK/bytes.over" || die "copied into a file that was in S3"

# S3 says nothing for a minute: who reads can be killed, and reads on later.
control faults '{"kind":"stall","operation":"get","key":"p/stalled","times":0,"value":0}'
STATUS=0
SECONDS=0
timeout -s KILL 2 cat "$D/stalled" >"$WORK/cat" || STATUS=$?
[ "$STATUS" = 137 ] || die "who waits for S3 did not wait: $STATUS"
[ "$SECONDS" -lt 40 ] || die "who waits for S3 could be killed after $SECONDS s only"
curl -sf "$URL/_stub/stats" | /usr/bin/python3 -c 'import json, sys
assert json.load(sys.stdin)["keys"]["p/stalled"]["gets"] > 0' || die "S3 was not asked: this test sees nothing"
curl -sf -X DELETE "$URL/_stub/faults" >/dev/null || die "stub"
cmp "$D/stalled" "$WORK/bytes" || die "read after S3 answers again"
cold
for pair in mapped:bytes.mapped new:bytes.new copied_over:bytes.over copied:bytes stalled:bytes; do
  cmp "$D/${pair%:*}" "$WORK/${pair#*:}" || die "${pair%:*} over a mount"
done
say ok
