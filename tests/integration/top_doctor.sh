#!/usr/bin/env bash
# sheen top shows who does what; sheen doctor finds what is wrong.
. "$(dirname "$0")/../support/cluster.sh"

sheen top --rounds 1 2>"$WORK/error" && die "top without daemons"
grep -q "no Sheen daemon of this host answers" "$WORK/error" || die "$(cat "$WORK/error")"
sheen doctor >"$WORK/doctor" || { cat "$WORK/doctor"; die "doctor without daemons"; }
grep -q '^warning  daemons: none' "$WORK/doctor" || die "$(cat "$WORK/doctor")"

sheen status --dev "$NAME" 2>"$WORK/error" && die "status of no instance"
grep -q "there is no instance '$NAME'" "$WORK/error" || die "$(cat "$WORK/error")"

cluster_up --oss 2 --osts 2
# The state, by an instance's name, and without any name: this one, or what else runs on this machine.
sheen status --dev "$NAME" | grep -q '^sheen-mds mds0 of filesystem sheen: serving' || die "status --dev"
sheen status --dev "$NAME" --json | python3 -c '
import json, sys
status = json.load(sys.stdin)
assert [t["name"] for t in status["targets"]] == ["sheen-MDT0000", "sheen-OST0000", "sheen-OST0001"], status'
sheen status --dev "$NAME" --server 127.0.0.1 2>"$WORK/error" && die "two daemons at once"
grep -q -- '--server and --dev name two daemons' "$WORK/error" || die "$(cat "$WORK/error")"
if sheen status >"$WORK/out" 2>"$WORK/error"; then
  grep -q ' of filesystem .*, process [0-9]*, boot' "$WORK/out" || die "$(cat "$WORK/out")"
else
  grep -q "several instances of sheen dev run here (.*$NAME.*--dev NAME" "$WORK/error" || die "$(cat "$WORK/error")"
fi
sheen status --dev "$NAME" >/dev/full 2>"$WORK/error" && die "status on a full disk"
grep -q 'cannot write the output: No space left on device' "$WORK/error" || die "$(cat "$WORK/error")"
(while dd if=/dev/zero of="$MNT/f" bs=64K count=4 conv=fsync status=none; do :; done) &
load=$!
test_cleanup() { [ -z "$load" ] || { kill "$load"; wait "$load"; } 2>/dev/null; }
# Long enough for a write that a busy disk holds up.
sheen top --rounds 2 --interval 2 --json >"$WORK/top"
python3 - "$WORK/top" "$MNT" <<'PY'
import json, sys
rounds = [json.loads(line) for line in open(sys.argv[1])]
assert len(rounds) == 2, rounds
targets = {t["name"]: t for t in rounds[1]["targets"]}
assert sorted(targets) == ["sheen-MDT0000", "sheen-OST0000", "sheen-OST0001"], targets
assert targets["sheen-MDT0000"]["requests"] > 0, targets
written = sum(t["written_bytes"] for t in targets.values())
assert written > 0 and written % 65536 == 0, targets
clients = [c for c in rounds[1]["clients"] if c["name"].endswith(":" + sys.argv[2])]
assert len(clients) == 1, rounds[1]["clients"]
assert clients[0]["written_bytes"] > 0, clients
# A client's bytes are those of all OSTs, each counted once; requests may end between two looks.
assert abs(clients[0]["written_bytes"] - written) <= 16 * 65536, (clients, written)
PY
sheen top --rounds 1 --interval 2 | grep -q "$MNT" || die "the client has no line"
kill "$load" 2>/dev/null || true
wait "$load" 2>/dev/null || true
load=''
say "top shows targets and clients"

sheen doctor --dir "$WORK" >"$WORK/doctor" || { cat "$WORK/doctor"; die "doctor"; }
grep -q '^ok       daemons: 4 answer, all healthy' "$WORK/doctor" || die "$(cat "$WORK/doctor")"
grep -q "disk: $WORK" "$WORK/doctor" || die "$(cat "$WORK/doctor")"
sheen doctor --json | python3 -c '
import json, sys
assert all(f["cure"] or f["health"] == "ok" for f in json.load(sys.stdin))'
# Ports are tried as this host reaches them.
control=$(sheen dev status --name "$NAME" --json | python3 -c '
import json, sys
print([d["ports"]["control"] for d in json.load(sys.stdin)["daemons"] if d["name"] == "mds0"][0])')
sheen doctor --server "127.0.0.1:$control" >"$WORK/doctor" || die "$(cat "$WORK/doctor")"
grep -q '^ok       ports: all 6 of the servers' "$WORK/doctor" || die "$(cat "$WORK/doctor")"
sheen dev stop oss1 --name "$NAME" >/dev/null
sheen doctor --server "127.0.0.1:$control" >"$WORK/doctor" 2>/dev/null && die "a port is closed"
grep -q '^BAD      ports: oss1, port .*refused' "$WORK/doctor" || die "$(cat "$WORK/doctor")"
sheen dev start oss1 --name "$NAME" >/dev/null
sheen nosuch 2>"$WORK/doctor" && die "sheen nosuch"
grep -q "'nosuch' is no command" "$WORK/doctor" || die "$(cat "$WORK/doctor")"
# A daemon that does not answer is found.
sheen dev kill oss1 --signal STOP --name "$NAME" >/dev/null
sheen doctor >"$WORK/doctor" 2>&1 && die "a daemon that hangs is healthy"
sheen dev kill oss1 --signal CONT --name "$NAME" >/dev/null
grep -q '^BAD      daemon: .*does not answer' "$WORK/doctor" || die "$(cat "$WORK/doctor")"
say "doctor finds what is wrong"
