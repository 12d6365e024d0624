#!/usr/bin/env bash
# sheen support-bundle: what is promised is in it, of running and dead daemons, no secret is; it never
# overwrites and leaves nothing half-made.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up
mkdir "$WORK/etc" "$WORK/out"
cat >"$WORK/etc/mds.toml" <<'TOML'
listen = "127.0.0.1"
secret_key = "SesameOpenYourself"
TOML
# In a log and on a command line, too.
echo 'mount with password=SesameOpenYourself done' >>"$WORK/cluster/log/mds0.log"
bundle() { sheen support-bundle --config-dir "$WORK/etc" "$@"; }
control=$(sheen dev status --name "$NAME" --json |
  python3 -c 'import json,sys; print(next(d["ports"]["control"] for d in json.load(sys.stdin)["daemons"] if d["name"] == "mds0"))')

bundle --out "$WORK/out/b.tar.gz" >"$WORK/said" || die "support-bundle: $(cat "$WORK/said")"
[ "$(stat -c %a "$WORK/out/b.tar.gz")" = 600 ] || die "others may read it"
[ "$(ls "$WORK/out")" = b.tar.gz ] || die "it leaves more than the archive"
mkdir "$WORK/unpacked"
tar -C "$WORK/unpacked" --strip-components=1 -xzf "$WORK/out/b.tar.gz" || die "tar does not unpack it"
cd "$WORK/unpacked"
# What it says is what it put in.
diff <(head -n -1 "$WORK/said") MANIFEST || die "it says something else than its MANIFEST"
find . -type f ! -name MANIFEST -printf '%P %s\n' | sort >"$WORK/there"
awk '/^Not in it/ { exit } /^  / { print $1, $2 }' MANIFEST | sort >"$WORK/listed"
diff "$WORK/there" "$WORK/listed" || die "the MANIFEST lists something else than what is there"
for wanted in versions/sheen versions/os-release kernel/proc-meminfo mounts/mounts stores/sizes \
  "status/127.0.0.1:$control" "logs/*log-mds0.log" "logs/*log-oss1.log" "logs/*log-client*" \
  "configuration/*mds.toml" "daemons/sheen-mds-*/status" "daemons/sheen-client-*/command-line"; do
  compgen -G "$wanted" >/dev/null || die "there is no $wanted"
done
grep -q '"state": "serving"' "status/127.0.0.1:$control" || die "no state of the MDS"
grep -q "$WORK/cluster/ost3" stores/sizes || die "no size of an OST"
grep -q 'serves on' logs/*log-mds0.log || die "the log of the MDS is empty"
grep -rq SesameOpenYourself . && die "a secret is in it: $(grep -rl SesameOpenYourself .)"
grep -q 'password=(removed) done' logs/*log-mds0.log || die "more than the secret was taken out"
cd /

say "refusals"
bundle --out "$WORK/out/b.tar.gz" >"$WORK/said" 2>&1 && die "it writes over a file"
grep -q 'already.*--out' "$WORK/said" || die "a file that exists: $(cat "$WORK/said")"
bundle --out "$WORK/none/b" >"$WORK/said" 2>&1 && die "it writes into no directory"
grep -q "no directory $WORK/none" "$WORK/said" || die "no directory: $(cat "$WORK/said")"
bundle --log-size much --out "$WORK/out/c" >"$WORK/said" 2>&1 && die "a size 'much'"
mkdir "$WORK/full" && mount -t tmpfs -o size=16k tmpfs "$WORK/full"
test_cleanup() { umount "$WORK/full"; }
bundle --out "$WORK/full/b" >"$WORK/said" 2>&1 && die "an archive on a full disk"
grep -q 'No space left' "$WORK/said" || die "a full disk: $(cat "$WORK/said")"
[ -z "$(ls "$WORK/full")" ] || die "half an archive is left: $(ls "$WORK/full")"

say "with dead and frozen daemons, for programs, and by default here"
sheen dev kill oss0 --name "$NAME" >/dev/null
sheen dev kill mds0 --signal STOP --name "$NAME" >/dev/null
begin=$SECONDS
(cd "$WORK/out" && bundle --json --log-size 100 >"$WORK/json") || die "support-bundle without the servers"
took=$((SECONDS - begin))
sheen dev kill mds0 --signal CONT --name "$NAME" >/dev/null
sheen dev start oss0 --name "$NAME" >/dev/null
[ "$took" -lt 60 ] || die "it waits $took s for servers that do not answer"
python3 - "$WORK/json" "$WORK/out" "$WORK/cluster" <<'PY' || die "--json"
import json, os, sys, tarfile
said = json.load(open(sys.argv[1]))
assert os.path.dirname(said["path"]) == sys.argv[2] and os.path.basename(said["path"]).startswith("sheen-support-"), said["path"]
inside = {m.name.split("/", 1)[1]: m.size for m in tarfile.open(said["path"])}
del inside["MANIFEST"]
assert inside == {f["path"]: f["bytes"] for f in said["files"]}, "files differ"
ours = sys.argv[3].lstrip("/").replace("/", "-")
logs = {p: s for p, s in inside.items() if p.startswith("logs/" + ours)}
assert logs and all(size < 200 for size in logs.values()), logs
PY
say ok
