#!/usr/bin/env bash
# SQLite: 100,000 inserts, ten a transaction, in both journal modes; integrity_check says ok.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up
rows=100000
fill() { # journal mode
  python3 - "$MNT/$1.db" "$1" "$rows" <<'PY'
import sqlite3, sys
path, mode, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
db = sqlite3.connect(path, isolation_level=None)
assert db.execute(f"PRAGMA journal_mode={mode}").fetchone()[0] == mode.lower()
db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT)")
for start in range(0, rows, 10):
    db.execute("BEGIN")
    for i in range(start, start + 10):
        db.execute("INSERT INTO t VALUES(?, ?)", (i, "row %d " % i * 5))
    db.execute("COMMIT")
db.close()
PY
}
verify() {
  local result
  result=$(sqlite3 "$MNT/$1.db" 'PRAGMA integrity_check; SELECT count(*), sum(id) FROM t;')
  [ "$result" = "ok
$rows|$((rows * (rows - 1) / 2))" ] || die "$1: $result"
}
for mode in DELETE WAL; do fill "$mode"; verify "$mode"; done
cold
for mode in DELETE WAL; do verify "$mode"; done
restart
for mode in DELETE WAL; do verify "$mode"; done
say ok
