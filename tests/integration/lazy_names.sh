#!/usr/bin/env bash
# Names of an import come first, their owner and mode after it: nobody is shown what is not known yet,
# while S3 is slow, the agent or the MDS dies, and objects go. Against the stub.
. "$(dirname "$0")/../support/cluster.sh"
PARTY=$ROOT/tests/s3/second_party.py
repo() { timeout 300 sheen repo "$@" --dev "$NAME"; }
test_cleanup() {
  [ -n "${IMPORT:-}" ] && kill "$IMPORT" 2>/dev/null
  [ -n "${STUB:-}" ] && kill "$STUB" 2>/dev/null
}
"$BIN/s3_stub" >"$WORK/url" 2>"$WORK/stub.log" &
STUB=$!
for _ in $(seq 600); do [ -s "$WORK/url" ] && break; sleep 0.05; done
URL=$(cat "$WORK/url")
control() { curl -sf -X POST -d "$2" "$URL/_stub/$1" >/dev/null || die "stub: $1"; }
export AWS_ACCESS_KEY_ID=stub-access-key AWS_SECRET_ACCESS_KEY=stub-secret-key
export AWS_EC2_METADATA_DISABLED=true HOME=$WORK
unset AWS_PROFILE AWS_SESSION_TOKEN
COUNT=1000
/usr/bin/python3 - "$COUNT" >"$WORK/objects" <<'P'
import json, sys
meta = {"file-permissions": "0100640", "file-owner": "7", "file-group": "8"}
out = [{"bucket": "b", "key": f"p/{d}/f{i:04}", "size": 10, "metadata": meta}
       for d in "abd" for i in range(int(sys.argv[1]))]
out += [{"bucket": "b", "key": f"q/c/f{i:04}", "size": 10, "metadata": meta}
        for i in range(int(sys.argv[1]))]
out += [{"bucket": "b", "key": "p/marked/", "size": 0, "metadata": {"file-permissions": "0040710"}}]
print(json.dumps(out))
P
control objects "@$WORK/objects"
printf 'f0001' >"$WORK/target"
for name in a/link d/link; do
  timeout 60 "$PARTY" "$URL" put b "p/$name" "$WORK/target" file-permissions=0120777 \
    2>"$WORK/error" || { cat "$WORK/error"; die "put of $name"; }
done
printf x >"$WORK/x"
timeout 60 "$PARTY" "$URL" put b p/marked/f "$WORK/x" 2>"$WORK/error" || die "put"
cluster_up --agent --osts 2
D=$MNT/data
M=$MNT/more
pending() { repo status "$1" --json |
  /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["repositories"][0]["pending"])'; }
slow() { control faults '{"kind":"slow","operation":"head","times":0,"value":'"$1"'}'; }
fast() { curl -sf -X DELETE "$URL/_stub/faults" >/dev/null || die "stub"; }
begin_import() { # link, names
  repo import "$1" --json >"$WORK/import" 2>"$WORK/import.error" &
  IMPORT=$!
  local i
  for ((i = 0; i < 600; ++i)); do
    [ "$(pending "$1")" -ge "$2" ] && return 0
    sleep 0.1
  done
  cat "$WORK/import.error"
  die "no names: $(repo status "$1")"
}
heads() { curl -sf "$URL/_stub/stats" | /usr/bin/python3 -c 'import json, sys
print(json.load(sys.stdin)["operations"].get("head", 0))'; }

# Before an import has made it a name is what S3 has, also to who has looked in vain before; what is
# removed meanwhile stays so. Here the import ends before its first page.
mkdir "$MNT/early"
[ ! -e "$MNT/early/b/f0003" ] || die "there before it is linked"
control faults '{"kind":"status","operation":"list","skip":1,"times":0,"value":403}'
repo add /early s3://b/p --endpoint "$URL" >"$WORK/early" 2>&1 && die "an import without a listing"
repo status /early | grep -q 'absent ones are asked of S3' || die "status: $(repo status /early)"
fast
E=$MNT/early
[ -e "$E/b/f0003" ] || die "absence was kept over the link"
[ "$(stat -c '%a %u %g %F' "$E/a/f0500")" = '640 7 8 regular file' ] || die "$(stat "$E/a/f0500")"
[ "$(readlink "$E/a/link")" = f0001 ] || die "a symbolic link: $(stat "$E/a/link")"
[ "$(stat -c %a "$E/marked")" = 710 ] || die "a directory: $(stat "$E/marked")"
[ "$(ls "$E")" = "$(printf 'a\nb\nmarked')" ] || die "this test sees nothing: $(ls "$E")"
[ ! -e "$E/a/none" ] || die "a name that S3 does not have"
timeout 60 "$PARTY" "$URL" put b p/a/none "$WORK/x" 2>"$WORK/error" || die "put"
# That S3 does not have it is believed for some seconds.
for _ in $(seq 600); do [ -e "$E/a/none" ] && break; sleep 0.1; done
[ "$(cat "$E/a/none")" = x ] || die "absence was kept"
rm "$E/a/none" && [ ! -e "$E/a/none" ] || die "what was removed came back"
sheen dev kill mds0 --name "$NAME" >/dev/null && sheen dev start mds0 --name "$NAME" >/dev/null || die "mds0"
[ ! -e "$E/a/none" ] || die "what was removed came back after a kill of the MDS"
[ "$(stat -c %a "$E/a/f0501")" = 640 ] || die "after a kill of the MDS"
timeout 60 "$PARTY" "$URL" put b p/a/later "$WORK/x" 2>"$WORK/error" || die "put"
repo import /early >"$WORK/out" || die "import: $(cat "$WORK/out")"
[ ! -e "$E/a/none" ] || die "what was removed came back with the import"
[ "$(find "$E" -type f | wc -l)" = $((3 * COUNT + 2)) ] || die "files: $(find "$E" -type f | wc -l)"
timeout 60 "$PARTY" "$URL" put b p/a/after "$WORK/x" 2>"$WORK/error" || die "put"
[ ! -e "$E/a/after" ] || die "S3 is asked for names after a whole import"
repo remove /early >/dev/null || die "repo remove"
for name in none later after; do
  timeout 60 "$PARTY" "$URL" delete b "p/a/$name" 2>"$WORK/error" || die "delete"
done

for link in data/p more/q; do
  repo add "/${link%/*}" "s3://b/${link#*/}" --endpoint "$URL" --no-import-on-create >/dev/null ||
    die "repo add"
done

# Slow: the names are all there, and what somebody looks at is right.
slow 1500
begin_import /data $((3 * COUNT))
[ "$(stat -c '%a %u %g %F' "$D/a/f0500")" = '640 7 8 regular file' ] || die "$(stat "$D/a/f0500")"
[ "$(readlink "$D/a/link")" = f0001 ] || die "a symbolic link: $(stat "$D/a/link")"
[ "$(stat -c %a "$D/marked")" = 710 ] || die "a directory: $(stat "$D/marked")"
# What a listing alone knows is no type.
/usr/bin/python3 - "$D/d" "$COUNT" <<'P' || die "types of a listing"
import os, sys
entries = {e.name: e for e in os.scandir(sys.argv[1])}
assert len(entries) == int(sys.argv[2]) + 1, len(entries)
assert entries["link"].is_symlink() and not entries["link"].is_file(follow_symlinks=False)
assert entries["f0000"].is_file(follow_symlinks=False) and not entries["f0000"].is_symlink()
P
[ "$(pending /data)" -gt 0 ] || die "nothing is pending any more: this test sees nothing"

# A thousand of one directory together.
fast
ls -ln "$D/b" >"$WORK/ls" || die "ls -ln"
[ "$(grep -c '^-rw-r----- 1 7 *8 *10 ' "$WORK/ls")" = "$COUNT" ] ||
  die "ls -l: $(grep -v '^-rw-r----- 1 7 *8 *10 ' "$WORK/ls" | head -n 3)"

wait "$IMPORT" || { cat "$WORK/import.error"; die "an import"; }
IMPORT=
[ "$(pending /data)" = 0 ] || die "still pending: $(repo status /data)"

# The agent dies: names stay as they are, and who looks waits until one is there.
slow 60000
begin_import /more "$COUNT"
sheen dev kill agent0 --name "$NAME" >/dev/null || die "kill"
wait "$IMPORT" && die "an import without its agent came to its end"
IMPORT=
# Files that S3 was not asked for yet.
curl -sf "$URL/_stub/stats" | /usr/bin/python3 -c 'import json, sys
asked = {key for key, one in json.load(sys.stdin)["keys"].items() if one["heads"] > 0}
left = [f"c/f{i:04}" for i in range(int(sys.argv[1])) if f"q/c/f{i:04}" not in asked]
print("\n".join(left[-4:]))' "$COUNT" >"$WORK/left"
mapfile -t LEFT <"$WORK/left"
[ "${#LEFT[@]}" = 4 ] || die "nothing is pending any more: this test sees nothing"
stat -c '%a %u' "$M/${LEFT[0]}" >"$WORK/stat" 2>&1 &
LOOK=$!
STATUS=0
timeout -s KILL 2 stat "$M/${LEFT[1]}" >/dev/null 2>&1 || STATUS=$?
[ "$STATUS" = 137 ] || die "who waits for S3 cannot be killed, or did not wait"
timeout 60 "$PARTY" "$URL" delete b "q/${LEFT[2]}" 2>"$WORK/error" || die "delete"
fast
sheen dev start agent0 --name "$NAME" >/dev/null || die "start"
wait "$LOOK" || die "a look that waited for an agent: $(cat "$WORK/stat")"
[ "$(cat "$WORK/stat")" = '640 7' ] || die "$(cat "$WORK/stat")"
[ ! -e "$M/${LEFT[2]}" ] || die "a name whose object is gone"

# The MDS dies in the second step, which goes on with the next.
slow 1500
BEFORE=$(heads)
begin_import /more 1
for _ in $(seq 600); do [ "$(heads)" -gt "$BEFORE" ] && break; sleep 0.05; done
sheen dev kill mds0 --name "$NAME" >/dev/null && sheen dev start mds0 --name "$NAME" >/dev/null || die "mds0"
[ "$(stat -c '%a %u' "$M/${LEFT[3]}")" = '640 7' ] ||
  die "after a kill of the MDS: $(stat "$M/${LEFT[3]}")"
fast
wait "$IMPORT" || { cat "$WORK/import.error"; die "an import over a restart of the MDS"; }
IMPORT=
repo import /more >"$WORK/out" || die "the last import: $(cat "$WORK/out")"
[ "$(pending /more)" = 0 ] || die "still pending: $(repo status /more)"
find "$D/a" "$D/b" "$D/d" "$M/c" -type f '(' ! -perm 640 -o ! -uid 7 ')' >"$WORK/wrong"
[ ! -s "$WORK/wrong" ] || die "other attributes: $(head -n 3 "$WORK/wrong")"
[ "$(find "$M/c" -type f | wc -l)" = $((COUNT - 1)) ] || die "files of c"
[ "$(find "$D" -type l | wc -l)" = 2 ] || die "symbolic links"
say ok
