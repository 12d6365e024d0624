#!/usr/bin/env bash
# Processes on two mounts append to the same files: no record is lost, torn or doubled; neither when
# the MDS or an OSS is killed meanwhile.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up
mkdir -p "$WORK/second"
sheen dev mount "$WORK/second" --name "$NAME" >/dev/null
test_cleanup() { sheen dev umount "$WORK/second" --name "$NAME" >/dev/null 2>&1; }
cat >"$WORK/append.py" <<'PY'
import collections, multiprocessing, os, sys
mode, a, b, path = sys.argv[1:5]
COUNT, TASKS = 250, 4
def append(mount, task):
    fd = os.open(mount + path, os.O_WRONLY | os.O_APPEND)
    for i in range(COUNT):
        record = f"<{task}:{i}:" + "x" * ((task * 7919 + i * 31) % 9000) + ">"
        done = os.write(fd, record.encode())
        assert done == len(record), (done, len(record))
    os.close(fd)
if mode == "create":
    os.close(os.open(a + path, os.O_CREAT | os.O_WRONLY, 0o644))
keep = os.open(a + path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
tasks = [multiprocessing.Process(target=append, args=((a, b)[t % 2], t)) for t in range(TASKS)]
for task in tasks:
    task.start()
for task in tasks:
    task.join()
    assert task.exitcode == 0
os.close(keep)
for mount in (a, b):
    seen = collections.Counter()
    text = open(mount + path).read()
    for record in text.split(">")[:-1]:
        task, number, body = record[1:].split(":")
        assert record[0] == "<" and body == "x" * len(body), record[:80]
        assert len(body) == (int(task) * 7919 + int(number) * 31) % 9000
        seen[task, number] += 1
    assert text.endswith(">")
    assert len(seen) == TASKS * COUNT and set(seen.values()) == {1}, (len(seen), set(seen.values()))
PY
python3 "$WORK/append.py" create "$MNT" "$WORK/second" /closed
python3 "$WORK/append.py" sole "$MNT" "$WORK/second" /sole
python3 "$WORK/append.py" sole "$MNT" "$WORK/second" /killed &
appender=$!
for daemon in oss0 mds0; do
  sleep 0.3
  sheen dev kill $daemon --name "$NAME" >/dev/null
  sheen dev start $daemon --name "$NAME" >/dev/null
done
wait $appender || die "appends over killed daemons"
sheen dev umount "$WORK/second" --name "$NAME" >/dev/null
say ok
