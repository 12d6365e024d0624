#!/bin/bash
# sheen-bench ior and mdtest on a mounted filesystem: their data is right, the reports are readable,
# and data that was changed behind their back makes them fail. bench/compare, recovery_cost and restart run, and leave nothing.
. "$(dirname "$0")/../support/cluster.sh"

cluster_up
cd "$MNT" || die "cd"

say "ior: one file, a file each, from the neighbour, direct, in random order"
sheen-bench ior -N 4 -w -r -R -W -C -e -g -i 2 -b 2115k -t 47k -s 2 -o shared >"$WORK/ior" ||
  die "ior, one file"
grep -q '^write  *[0-9.]* ' "$WORK/ior" || die "no summary line: $(tail -5 "$WORK/ior")"
sheen-bench ior -N 3 -F -w -r -R -C -z -B -b 1m -t 64k -o own -O summaryFormat=JSON >"$WORK/json" ||
  die "ior, a file each"
python3 - "$WORK/json" <<'PY' || die "the JSON is not as it should be"
import json, sys
report = json.load(open(sys.argv[1]))
assert [row["access"] for row in report["tests"][0]["Results"]] == ["write", "read"], report
assert all(one["bwMeanMIB"] > 0 and one["numTasks"] == 3 for one in report["summary"]), report
PY
sheen-bench ior -N 2 -w -k -b 1m -t 1m -o kept -O summaryFormat=CSV >"$WORK/csv" || die "ior, CSV"
[ "$(wc -l <"$WORK/csv")" = 2 ] || die "CSV: $(cat "$WORK/csv")"
sheen-bench ior -N 2 -R -k -b 1m -t 1m -o kept >/dev/null || die "ior reads what it has kept"
printf x | dd of=kept bs=1 seek=1500000 conv=notrunc status=none
sheen-bench ior -N 2 -R -b 1m -t 1m -o kept >/dev/null 2>"$WORK/err" && die "a changed byte passed"
grep -q 'data mismatch in kept at offset 1500000' "$WORK/err" || die "$(cat "$WORK/err")"

if command -v mpirun >/dev/null && [ -x "$BIN/sheen-bench-mpi" ]; then
  say "both under mpirun"
  mpi() { mpirun --allow-run-as-root --oversubscribe -n 3 "$@"; }
  mpi sheen-bench ior -w -r -R -C -e -g -i 2 -b 1m -t 64k -o by_mpi >"$WORK/mpi" 2>&1 || die "$(cat "$WORK/mpi")"
  [ "$(grep -c '^Summary of all tests:' "$WORK/mpi")" = 1 ] || die "one report: $(cat "$WORK/mpi")"
  grep -qE '^tasks +: 3$' "$WORK/mpi" || die "tasks: $(cat "$WORK/mpi")"
  mpi sheen-bench ior -w -k -F -b 1m -t 1m -o by_mpi >/dev/null 2>&1 || die "a file each"
  printf x | dd of=by_mpi.00000002 bs=1 seek=100000 conv=notrunc status=none
  mpi sheen-bench ior -R -F -b 1m -t 1m -o by_mpi >"$WORK/mpi" 2>&1 && die "a changed byte passed"
  grep -q 'data mismatch in by_mpi.00000002 at offset 100000' "$WORK/mpi" || die "$(cat "$WORK/mpi")"
  mpi sheen-bench ior -N 2 -w -o by_mpi >"$WORK/mpi" 2>&1 && die "-N 2 with 3 processes"
  grep -q -- '-N 2 under mpirun with 3 processes' "$WORK/mpi" || die "$(cat "$WORK/mpi")"
  mpi sheen-bench mdtest -n 30 -u -w 3901 -e 3901 -N 1 -d md >"$WORK/mpi" 2>&1 || die "$(cat "$WORK/mpi")"
  grep -qE '^   File read +[1-9]' "$WORK/mpi" || die "no rate: $(cat "$WORK/mpi")"
  [ -z "$(ls md)" ] || die "mdtest left something"
fi

say "ior: many short phases, each with its own times and errors"
for i in $(seq 20); do
  sheen-bench ior -N 4 -b 64k -t 64k -w -r -o short -O summaryFormat=CSV || die "ior"
done >"$WORK/csv"
python3 - "$WORK/csv" <<'PY' || die "the times of a short phase are not its own"
import csv, sys
rows = [row for row in csv.DictReader(line for line in open(sys.argv[1]) if line.strip())
        if row["access"] in ("write", "read")]
assert len(rows) == 40, len(rows)
for row in rows:
    assert 0 < float(row["total(s)"]) < 100 and 0 < float(row["bw(MiB/s)"]) < 1e5, row
PY
sheen-bench ior -N 4 -F -b 64k -t 64k -w -k -o own >/dev/null
rm own.00000001
for i in $(seq 10); do
  sheen-bench ior -N 4 -F -R -r -k -b 64k -t 64k -o own >"$WORK/ior" 2>"$WORK/err" && die "a file is missing"
  grep -q '1 calls failed' "$WORK/err" || die "$(cat "$WORK/err")"
  grep -q '^read ' "$WORK/ior" && die "a bandwidth of what failed"
done

say "mdtest: all phases, and phase by phase with clients that are new each time"
sheen-bench mdtest --tasks 4 -n 50 -u -w 3901 -e 3901 -N 1 -i 2 -P -d md >"$WORK/md" || die "mdtest"
grep -qE '^   File read +[1-9]' "$WORK/md" || die "no rate: $(cat "$WORK/md")"
grep -q '^SUMMARY time: (of 2 iterations)$' "$WORK/md" || die "no times: $(cat "$WORK/md")"
[ -z "$(ls md)" ] || die "mdtest left something"
for phase in -C -T -E -r; do
  cd / && cold && cd "$MNT" || die "cold"
  sheen-bench mdtest --tasks 3 -n 40 -w 10k -e 10k -N 1 -d md $phase >/dev/null || die "mdtest $phase"
done
[ -z "$(ls md)" ] || die "mdtest left something after its phases"
sheen-bench mdtest -F -n 2 -w 100 -d md -C >/dev/null || die "mdtest -C"
printf x | dd of=md/test-dir.0-0/mdtest_tree.0/file.mdtest.0.1 bs=1 seek=99 conv=notrunc status=none
sheen-bench mdtest -F -n 2 -e 100 -d md -E >/dev/null 2>"$WORK/err" && die "a changed byte passed"
grep -q 'data mismatch in md/.*file.mdtest.0.1 at offset 96' "$WORK/err" || die "$(cat "$WORK/err")"
cd /

say "bench/compare: Sheen and the FUSE ceiling, some workloads"
"$ROOT/bench/compare" --quick --systems sheen,classic --workloads names1,stream,records,mdtest \
  --bin "$BIN" --json "$WORK/compare.json" --plot "$WORK/compare.svg" >"$WORK/compare.md" \
  2>"$WORK/compare.log" || die "bench/compare: $(tail -5 "$WORK/compare.log")"
grep -q '^| mdtest, 4 KiB files, 2 tasks, remove, per s | [0-9]' "$WORK/compare.md" ||
  die "no row of mdtest: $(cat "$WORK/compare.md")"

say "bench/recovery_cost: three instances, one of them without recovery; what is judged"
"$ROOT/bench/recovery_cost" --quick --busy --workloads names,small-writes --bin "$BIN" \
  --json "$WORK/cost.json" >"$WORK/cost.md" 2>"$WORK/cost.log" ||
  die "bench/recovery_cost: $(tail -5 "$WORK/cost.log" "$WORK/cost.md")"
grep -qE '^\| create and fsync, 8 processes, per s \| 1,000 operations \|( 0\.[0-9]{4} \|){2}' \
  "$WORK/cost.md" || die "no row of create_fsync: $(cat "$WORK/cost.md")"
judged() { # wanted status, CPU seconds with recovery, the same once more, rate; 2.0 and 100 without
  python3 - "$WORK/cost.json" "$@" >"$WORK/judged.json" <<'PY' || die "samples"
import json, sys
kept, (on, again, rate) = json.load(open(sys.argv[1])), map(float, sys.argv[3:])
def samples(cpu, value):
    return {"create": {"cpu": cpu, "value": value, "amount": 1000}}
kept["meta"]["quick"] = False
kept["rounds"] = [{"off": samples(2.0, off_rate), "on": samples(on, rate),
                   "again": samples(again, rate)} for off_rate in (98, 100, 102)]
print(json.dumps(kept))
PY
  local status=0
  "$ROOT/bench/recovery_cost" --report --json "$WORK/judged.json" >"$WORK/judged.md" || status=$?
  [ "$status" = "$1" ] || die "status $status instead of $1: $(cat "$WORK/judged.md")"
}
judged 0 2.09 2.10 97
judged 1 2.11 2.11 100
judged 1 2.00 2.00 95
judged 3 2.11 2.20 100

say "bench/restart: a little of it, with a bound that nothing keeps"
"$ROOT/bench/restart" --inodes 800 --objects 400 --between 80 --kills 1 --seconds 0.001 --bin "$BIN" \
  >"$WORK/restart" 2>&1 && die "nothing is over 1 ms: $(cat "$WORK/restart")"
for server in mds0 oss0; do
  grep -qE "^$server, 1 kills: first answer after [0-9.]+ s " "$WORK/restart" &&
    grep -q "^FAILED: $server: .* to the first answer, 0.001 are allowed$" "$WORK/restart" ||
    die "$server: $(cat "$WORK/restart")"
done
[ "$(grep -c FAILED "$WORK/restart")" = 2 ] || die "a call failed: $(cat "$WORK/restart")"
grep -q ' /run/bench' /proc/mounts && die "a program of bench left a mount"
exit 0
