#!/usr/bin/env bash
# A linked directory follows its bucket by itself: new, changed and deleted objects, as --import says,
# never a file changed here; settings that are changed; an agent that dies meanwhile. Against Ceph's
# radosgw, with boto3 as the second party.
. "$(dirname "$0")/../support/cluster.sh"
. "$ROOT/tests/support/radosgw.sh"
PARTY=$ROOT/tests/s3/second_party.py
test_cleanup() { radosgw_down; }
party() { timeout 100 "$PARTY" "$RGW_URL" "$@" 2>"$WORK/error" || { cat "$WORK/error"; die "boto3: $*"; }; }
repo() { timeout 60 sheen repo "$@" --dev "$NAME"; }
refused() { # expected words, command...
  local words=$1
  shift
  "$@" >"$WORK/out" 2>"$WORK/error" && die "$* succeeded"
  grep -qi -- "$words" "$WORK/error" || { cat "$WORK/error"; die "$* does not say '$words'"; }
}
soon() { # what is to be, command...
  local what=$1 i
  shift
  for ((i = 0; i < 600; ++i)); do
    "$@" >/dev/null 2>&1 && return 0
    sleep 0.1
  done
  repo status >&2
  die "not within 60 s: $what"
}
has() { [ "$(cat "$1")" = "$2" ]; }
gone() { [ ! -e "$1" ] && [ ! -L "$1" ]; }
put() { printf '%s' "$2" >"$WORK/body" && party put bucket "data/$1" "$WORK/body" "${@:3}"; }
# How the last comparison went; `comparisons` waits for two more, so that one began after the call.
last() { repo status /data --json | /usr/bin/python3 -c "import json, sys
state = json.load(sys.stdin)['repositories'][0].get('comparison', {})
print(state.get('ended_ns', 0) if '$1' == 'ended_ns' else state['last']['$1'])"; }
comparisons() {
  local before round
  for round in 1 2; do
    before=$(last ended_ns)
    newer() { [ "$(last ended_ns)" != "$before" ]; }
    soon "a comparison" newer
  done
}

radosgw_up || { tail -n 5 "$RGW_DIR"/*.out; die "radosgw does not start"; }
export AWS_ACCESS_KEY_ID=$RGW_ACCESS AWS_SECRET_ACCESS_KEY=$RGW_SECRET
export AWS_EC2_METADATA_DISABLED=true HOME=$WORK
unset AWS_PROFILE AWS_SESSION_TOKEN
party make bucket
for name in a b written renamed kept sub/deep/only sub/two; do put "$name" "first $name"; done
cluster_up --agent --osts 2
E=(--endpoint "$RGW_URL")
refused 'nothing that can be imported' repo add /data s3://bucket/data "${E[@]}" --import old
refused 'no age' repo add /data s3://bucket/data "${E[@]}" --every soon
repo add /data s3://bucket/data "${E[@]}" --import new,changed,deleted --every 1s >/dev/null || die "repo add"
D=$MNT/data
repo show /data --json | /usr/bin/python3 -c 'import json, sys
shown = json.load(sys.stdin)
assert shown["import"] == "new,changed,deleted" and shown["import_every_seconds"] == 1, shown' || die "show"

# What is changed here stays, whatever S3 does: written, renamed, kept, and made here.
has "$D/written" "first written" || die "a first read"
has "$D/renamed" "first renamed" && has "$D/kept" "first kept" || die "first reads"
printf 'here' >"$D/written"
mv "$D/renamed" "$D/elsewhere"
lfs hsm_set --norelease "$D/kept"
echo own >"$D/own"
put sub/new "new" file-permissions=0100640 file-owner=7
put b "second b"
put written "second written"
for name in a renamed kept sub/deep/only; do party delete bucket "data/$name"; done
soon "a new object" has "$D/sub/new" new
[ "$(stat -c '%a %u' "$D/sub/new")" = '640 7' ] || die "attributes of a new object: $(stat "$D/sub/new")"
soon "a changed object" has "$D/b" "second b"
soon "a deleted object" gone "$D/a"
soon "a directory with nothing in it any more" gone "$D/sub/deep"
comparisons
has "$D/written" here || die "a file that was changed here was replaced"
has "$D/elsewhere" "first renamed" || die "a renamed file went with its object"
has "$D/kept" "first kept" || die "a kept file went with its object"
has "$D/own" own || die "a file of this side went"
has "$D/sub/two" "first sub/two" || die "an unchanged file"
repo status /data >"$WORK/out"
grep -q 'compared every 1 s: new,changed,deleted' "$WORK/out" || die "$(cat "$WORK/out")"
grep -q "'data/written': .*changed here and in S3" "$WORK/out" || die "no conflict told: $(cat "$WORK/out")"
[ "$(last created)" = 0 ] && [ "$(last updated)" = 0 ] || die "it goes on importing: $(cat "$WORK/out")"

# Other settings, at once; what cannot be is refused and changes nothing.
refused 'nothing is to be changed' repo update /data
refused 'nothing was changed' repo update /data --endpoint http://127.0.0.1:1
refused 'no data repository' repo update /other --every 1s
repo update /data --import new --bandwidth 500M >"$WORK/out" || die "repo update"
grep -q '^import: "new" (was "new,changed,deleted")' "$WORK/out" || die "$(cat "$WORK/out")"
put b "third b"
party delete bucket data/sub/two
put later "later"
soon "a new object, after an update" has "$D/later" later
comparisons
has "$D/b" "second b" || die "a change was taken over, and only new objects are asked for"
has "$D/sub/two" "first sub/two" || die "a deletion was taken over, and only new objects are asked for"
[ "$(last skipped)" -ge 1 ] || die "nothing is told of what was left alone"

# Whoever compares may die.
sheen dev kill agent0 --name "$NAME" >/dev/null || die "kill"
put after "after"
sheen dev start agent0 --name "$NAME" >/dev/null || die "start"
soon "a new object, after a kill of the agent" has "$D/after" after
sheen dev kill mds0 --name "$NAME" >/dev/null && sheen dev start mds0 --name "$NAME" >/dev/null || die "mds0"
put afterwards "afterwards"
soon "a new object, after a kill of the MDS" has "$D/afterwards" afterwards

# Off: by hand, and only what is asked for.
repo update /data --every off >/dev/null || die "--every off"
repo import /data --import deleted >"$WORK/out" || die "import --import deleted: $(cat "$WORK/out")"
grep -q '1 names deleted' "$WORK/out" || die "$(cat "$WORK/out")"
gone "$D/sub/two" && has "$D/b" "second b" || die "import --import deleted did something else"
repo import /data >"$WORK/out" 2>"$WORK/error" && die "a conflict is no failure any more"
has "$D/b" "third b" || die "an import by hand"

# A link that cannot be removed is compared as before; one that goes makes no names again.
repo update /data --import new --every 1s >/dev/null || die "--every 1s"
sheen dev kill agent0 --name "$NAME" >/dev/null || die "kill"
refused 'is still linked' repo remove /data
sheen dev start agent0 --name "$NAME" >/dev/null || die "start"
put at_last "at last"
soon "a new object, after a removal that failed" has "$D/at_last" "at last"
repo remove /data >"$WORK/out" || die "repo remove: $(cat "$WORK/out")"
gone "$D/at_last" || die "a name that S3 has stays"
has "$D/written" here || die "a changed file went with the link"
say ok
