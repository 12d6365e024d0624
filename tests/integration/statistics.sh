#!/usr/bin/env bash
# lctl and /metrics show what was done, on the daemon that did it; settings hold, also over restarts
# when they are kept; slow operations name what they waited on.
. "$(dirname "$0")/../support/cluster.sh"

cluster_up --oss 1 --osts 2 --client-opt metrics=0
cd "$WORK"

# value NAME: of the one parameter that matches.
value() { lctl get_param -n "$1"; }
# samples PATTERN WORD: how often, by a statistics file.
samples() { value "$1" | awk -v word="$2" '$1 == word {print $2}'; }

mkdir "$MNT/d"
head -c 3000000 /dev/urandom >"$MNT/d/f"
sync -f "$MNT/d/f"; sync "$MNT/d/f"
mv "$MNT/d/f" "$MNT/d/g"
mv "$MNT/d/g" "$MNT/g"
sheen dev umount "$MNT" --name "$NAME" >/dev/null
sheen dev mount "$MNT" --name "$NAME" >/dev/null
[ "$(wc -c <"$MNT/g")" = 3000000 ] && cat "$MNT/g" >/dev/null || die "read"

[ "$(samples 'mdt.*.md_stats' mkdir)" = 1 ] || die "mkdir was not counted once"
[ "$(samples 'mdt.*.md_stats' rename)" = 2 ] || die "renames were not counted"
[ "$(samples 'mdt.*.md_stats' samedir_rename)" = 1 ] || die "samedir_rename"
[ "$(samples 'mdt.*.md_stats' crossdir_rename)" = 1 ] || die "crossdir_rename"
bytes=$(lctl get_param -n 'obdfilter.*.stats' | awk '$1 == "write_bytes" {n += $7} END {print n}')
[ "$bytes" = 3000000 ] || die "the OSTs counted $bytes written bytes"
bytes=$(lctl get_param -n 'osc.*.stats' | awk '$1 == "read_bytes" {n += $7} END {print n}')
[ "$bytes" -ge 3000000 ] || die "the client counted $bytes read bytes"
[ "$(value 'llite.*.stats' | awk '$1 == "read_bytes" {print $7}')" -ge 3000000 ] || die "llite"
say "counted where it was done"

[ "$(value health_check)" = healthy ] || die "health_check"
lctl set_param 'mdt.*.md_stats=clear' >/dev/null
[ -z "$(samples 'mdt.*.md_stats' rename)" ] || die "clearing did not"
lctl get_param -N 'llite.*.stats' | grep -q '^llite.sheen-ffff' || die "-N"
lctl get_param nothing.such 2>"$WORK/error" && die "an unknown parameter was found"
grep -q "error: get_param: param_path 'nothing.such': No such file or directory" "$WORK/error" ||
  die "$(cat "$WORK/error")"
lctl set_param version=2 2>"$WORK/error" && die "version was set"
grep -q 'Permission denied' "$WORK/error" || die "$(cat "$WORK/error")"
lctl set_param 'ldlm.namespaces.*.lru_size=x' 2>/dev/null && die "x is no number"
lctl list_param -R llite | grep -q 'llite.*.cur_dirty_bytes' || die "list_param"
lctl get_param --json version | python3 -c 'import json,sys; json.load(sys.stdin)["version"]'

devices=$(lctl dl)
for type in mgs mdt ost obdfilter mgc mdc osc; do
  grep -q " UP $type " <<<"$devices" || die "lctl dl does not show $type: $devices"
done

# Whom a mount is connected to, and how.
lctl dl -t | grep -qE '^ *[0-9]+ UP osc sheen-OST0001-osc-ffff[0-9a-f]{12} .* 127\.0\.0\.1@tcp$' ||
  die "lctl dl -t: $(lctl dl -t)"
lctl dl | grep -q '@tcp$' && die "lctl dl shows what only -t asks for: $(lctl dl)"
lctl dl -t --json | python3 -c '
import json, sys
devices = json.load(sys.stdin)
assert [d["nid"] for d in devices if d["type"] in ("mdc", "osc")] == ["127.0.0.1@tcp"] * 3, devices
assert not any("nid" in d for d in devices if d["type"] not in ("mdc", "osc")), devices'
state() { value "$1.state" | sed -n 's/^current_state: //p'; }
await_state() { # device, state
  for _ in $(seq 300); do [ "$(state "$1")" = "$2" ] && return; sleep 0.1; done
  die "$1 is $(state "$1"), not $2: $(value "$1.import")"
}
import_number() { value 'osc.sheen-OST0000-osc-*.import' | sed -n "s/^ *$1: //p"; }
cat "$MNT/g" >/dev/null
await_state 'mdc.*' FULL
await_state 'osc.sheen-OST0000-osc-*' FULL
[ "$(import_number target) $(import_number current_connection) $(import_number failover_nids)" = \
  'sheen-OST0000_UUID "127.0.0.1@tcp" [ "127.0.0.1@tcp" ]' ] || die "$(value 'osc.*.import')"
made=$(import_number generation)
boot=$(import_number instance)
sheen dev kill oss0 --name "$NAME" >/dev/null
await_state 'osc.sheen-OST0000-osc-*' DISCONN
[ "$(state 'mdc.*')" = FULL ] || die "the MDS is there"
[ "$(import_number current_connection)" = '<none>' ] || die "$(value 'osc.*.import')"
sheen dev start oss0 --name "$NAME" >/dev/null
await_state 'osc.sheen-OST0000-osc-*' FULL
[ "$(import_number generation)" -gt "$made" ] || die "no further connection is counted"
[ "$(import_number instance)" -gt "$boot" ] || die "the server's next boot is not shown"
say "connections are shown"

# Who may hold locks is awaited after a restart.
lfs setstripe -c 2 "$MNT/held"
dd if=/dev/zero of="$MNT/held" bs=64K count=40 conv=notrunc status=none
sheen dev kill oss0 --name "$NAME" >/dev/null
sheen dev start oss0 --name "$NAME" >/dev/null
cmp -n 2621440 "$MNT/held" /dev/zero || die "what was held was lost"
for _ in $(seq 300); do
  recovery=$(value 'obdfilter.sheen-OST0001.recovery_status')
  grep -q '^status: COMPLETE$' <<<"$recovery" && break
  sleep 0.1
done
grep -q '^completed_clients: 1/1$' <<<"$recovery" || die "recovery_status: $recovery"
grep -q '^evicted_clients: 0$' <<<"$recovery" || die "recovery_status: $recovery"
say "recovery is shown"

# As many requests at a time as may be. (A machine that stands still for a second lets some go on.)
value 'osc.*.max_rpcs_in_flight' | sort -u | grep -qx 256 || die "max_rpcs_in_flight"
for bad in 0 513 x -1 ''; do
  lctl set_param "osc.*.max_rpcs_in_flight=$bad" 2>"$WORK/error" && die "max_rpcs_in_flight=$bad"
  grep -q 'max_rpcs_in_flight.*Invalid argument' "$WORK/error" || die "$(cat "$WORK/error")"
done
lctl set_param 'osc.*.max_pages_per_rpc=16' 2>"$WORK/error" && die "max_pages_per_rpc was set"
grep -q 'can only be read: Permission denied' "$WORK/error" || die "$(cat "$WORK/error")"
lctl set_param 'osc.*.max_rpcs_in_flight=2' 'mdc.*.max_rpcs_in_flight=1' 'osc.*.rpc_stats=clear' \
  'mdc.*.stats=clear' >/dev/null
head -c 16000000 /dev/zero >"$MNT/many_readers"
sync "$MNT/many_readers"
for _ in $(seq 12); do
  dd if="$MNT/many_readers" of=/dev/null bs=64K iflag=direct status=none &
done
wait
value 'osc.*.rpc_stats' | python3 -c '
import re, sys
within = beyond = 0
part = ""
for line in sys.stdin:
    part = "flight" if line.startswith("rpcs in flight") else "" if not line.strip() else part
    row = re.match(r"(\d+):\s+(\d+)\s.*\|\s+(\d+)\s", line)
    if part and row:
        level, reads, writes = map(int, row.groups())
        within, beyond = (within + reads + writes, beyond) if level <= 2 else (within, beyond + reads + writes)
assert within >= 12 * 240, (within, beyond)
assert beyond * 100 <= within, (within, beyond)' || die "more than 2 at a time: $(value 'osc.*.rpc_stats')"
for i in $(seq 8); do (for j in $(seq 20); do mkdir "$MNT/mdc$i.$j"; done) & done
wait
[ "$(find "$MNT" -maxdepth 1 -name 'mdc*' | wc -l)" = 160 ] || die "with one request at a time"
lctl set_param 'osc.*.max_rpcs_in_flight=256' 'mdc.*.max_rpcs_in_flight=256' >/dev/null
say "requests under way are limited"

# The locks of the client.
mkdir "$MNT/many"
for i in $(seq 200); do echo "$i" >"$MNT/many/$i"; done
[ "$(value 'ldlm.namespaces.*-mdc-*.lock_count')" -ge 200 ] || die "lock_count"
lctl set_param 'ldlm.namespaces.*-mdc-*.lru_size=10' >/dev/null
sleep 0.3
ls -l "$MNT/many" >/dev/null
[ "$(value 'ldlm.namespaces.*-mdc-*.lock_count')" -le 40 ] || die "lru_size was not kept to"
lctl set_param 'ldlm.namespaces.*-mdc-*.lru_size=clear' >/dev/null
[ "$(value 'ldlm.namespaces.*-mdc-*.lock_count')" = 0 ] || die "lru_size=clear"
[ "$(cat "$MNT/many/7")" = 7 ] || die "after clear"
# Those of the servers: what is held stays, and nothing more is given.
lctl set_param 'ldlm.namespaces.*.lock_limit=-1' 2>/dev/null && die "a limit below nothing"
lctl set_param 'ldlm.namespaces.*.lock_limit=1' >/dev/null
held=$(value 'ldlm.namespaces.mdt-*.lock_count')
lctl set_param 'ldlm.namespaces.*-mdc-*.lru_size=10000' >/dev/null
ls -l "$MNT/many" >/dev/null
[ "$(value 'ldlm.namespaces.mdt-*.lock_count')" -le "$held" ] || die "the MDS gives more locks than its limit"
python3 - "$MNT/unlocked" <<'PY' || die "small writes over the limit of locks"
import os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR, 0o644)
for i in range(2000):
    os.write(fd, b"%03d " % (i % 1000))
assert os.fstat(fd).st_size == 8000
assert os.pread(fd, 8000, 0) == b"".join(b"%03d " % (i % 1000) for i in range(2000))
PY
[ "$(value 'ldlm.namespaces.filter-*.lock_count')" -le 2 ] || die "the OSSs give more locks than their limit"
lctl set_param 'ldlm.namespaces.mdt-*.lock_limit=2000000' 'ldlm.namespaces.filter-*.lock_limit=1000000' >/dev/null
cold
ls -l "$MNT/many" >/dev/null
[ "$(value 'ldlm.namespaces.mdt-*.lock_count')" -ge 200 ] || die "no locks although there is room"
say "lock limits hold"

# Kept settings: on the client that is there, on one that comes, and after everything restarted.
lctl set_param -P 'ldlm.namespaces.*-mdc-*.lru_size=123' slow_operation_ms=300 >/dev/null
for i in $(seq 300); do
  [ "$(value 'ldlm.namespaces.*-mdc-*.lru_size')" = 123 ] && break
  sleep 0.1
done
[ "$(value 'ldlm.namespaces.*-mdc-*.lru_size')" = 123 ] || die "-P did not reach the client"
restart
[ "$(value 'ldlm.namespaces.*-mdc-*.lru_size')" = 123 ] || die "-P was lost with the restart"
for i in $(seq 300); do
  [ "$(lctl get_param slow_operation_ms)" = slow_operation_ms=300 ] && break
  sleep 0.1
done
[ "$(lctl get_param slow_operation_ms)" = slow_operation_ms=300 ] || die "not on all daemons"
lctl set_param -P -d 'ldlm.namespaces.*-mdc-*.lru_size' >/dev/null
value 'mgs.MGS.live.sheen' | grep -q lru_size && die "still kept"
lctl set_param -P -d 'ldlm.namespaces.*-mdc-*.lru_size' 2>/dev/null && die "forgotten twice"
say "kept settings are kept"

# An operation that waits names what it waited on.
sheen dev kill oss0 --signal STOP --name "$NAME" >/dev/null
(sleep 2; sheen dev kill oss0 --signal CONT --name "$NAME" >/dev/null) &
head -c 100000 /dev/zero >"$MNT/slow"
sync "$MNT/slow"
wait
grep -h 'slow operation: .* inode .* waited on ost_.* to OST000' "$WORK"/cluster/log/*client* ||
  die "no line about the slow operation"

say "slow operations are explained"

# Metrics, in the form that Prometheus reads.
port=$(value metrics_port)
python3 - "http://127.0.0.1:$port" <<'PY'
import re, sys, urllib.error, urllib.request
families, seen = {}, None
page = urllib.request.urlopen(sys.argv[1] + "/metrics", timeout=5).read().decode()
for line in page.splitlines():
    if line.startswith("# TYPE "):
        name, kind = line.split()[2:4]
        assert name not in families, "family twice: " + name
        families[name], seen = kind, name
    elif not line.startswith("#"):
        assert re.fullmatch(r'[a-z_]+(\{([a-z_]+="[^"]*",?)*\})? [0-9.e+-]+', line), line
        assert line.startswith(seen), line
assert families["lustre_read_bytes_total"] == "counter"
assert families["sheen_operation_duration_seconds"] == "histogram"
for name in ("lustre_rpcs_in_flight lustre_maximum_rpcs_in_flight lustre_checksum_pages_enabled "
             "lustre_write_minimum_size_bytes lustre_write_maximum_size_bytes").split():
    assert families[name] == "gauge", (name, families)
try:
    urllib.request.urlopen(sys.argv[1] + "/other", timeout=5)
    raise SystemExit("/other is there")
except urllib.error.HTTPError as error:
    assert error.code == 404, error
PY

lctl ping 127.0.0.1:1 2>/dev/null && die "ping to nobody"
mds_port=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["servers"][0]["data_port"])' \
  "$WORK/cluster/state.json")
[ "$(lctl ping "127.0.0.1:$mds_port")" = "12345-127.0.0.1:$mds_port@tcp" ] || die "ping"
control=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["servers"][1]["control_port"])' \
  "$WORK/cluster/state.json")
lctl --server "127.0.0.1:$control" get_param 'obdfilter.sheen-OST0001.num_exports' | grep -q '=1$' ||
  die "through the control port"
lctl --server "127.0.0.1:$control" set_param debug=info 2>"$WORK/error" && die "set by a TCP port"
grep -q "not through the control port" "$WORK/error" || die "$(cat "$WORK/error")"
say "metrics and servers answer"

# An agent, with nothing to do.
mds_control=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["servers"][0]["control_port"])' \
  "$WORK/cluster/state.json")
sheen-agent --mgs "127.0.0.1:$mds_control" --port 0 --control-port 0 --metrics 0 --log "$WORK/agent.log" &
agent=$!
test_cleanup() { kill "$agent" 2>/dev/null; wait "$agent" 2>/dev/null; }
for _ in $(seq 300); do
  lctl get_param -n agent.sheen.name 2>/dev/null | grep -q agent && break
  sleep 0.1
done
lctl get_param -n agent.sheen.stats | grep -q '^snapshot_time' || die "the agent does not answer lctl"
lctl dl | grep -q ' UP agent ' || die "lctl dl does not show the agent"
pages=$(for port in $(value metrics_port); do
  python3 -c '
import sys, urllib.request
page = urllib.request.urlopen("http://127.0.0.1:%s/metrics" % sys.argv[1], timeout=5).read().decode()
print([line for line in page.splitlines() if line.startswith("sheen_build_info")][0])' "$port"
done)
grep -q 'program="sheen-agent"' <<<"$pages" || die "the agent has no metrics"
kill "$agent"
wait "$agent" || die "the agent did not end"
say "an agent shows what it does"
