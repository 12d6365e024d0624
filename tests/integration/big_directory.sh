#!/usr/bin/env bash
# A million files in one directory (SHEEN_BIG_DIRECTORY: another number): created, listed without loss or
# doubling, removed; names of 255 bytes.
. "$(dirname "$0")/../support/cluster.sh"
count=${SHEEN_BIG_DIRECTORY:-1000000}
cluster_up
python3 - "$MNT" "$count" <<'PY'
import os, sys, time
top, count = sys.argv[1], int(sys.argv[2])
d = top + "/many"
os.mkdir(d)
start = time.time()
fd = os.open(d, os.O_RDONLY)
for i in range(count):
    os.close(os.open("file-%06d" % i, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644, dir_fd=fd))
print("create: %.0f/s" % (count / (time.time() - start)))
start = time.time()
names = [e.name for e in os.scandir(d)]
print("list: %.0f/s" % (count / (time.time() - start)))
assert len(names) == count == len(set(names)), (len(names), len(set(names)))
longest = "n" * 255
os.close(os.open(d + "/" + longest, os.O_CREAT | os.O_WRONLY))
assert longest in os.listdir(d)
try:
    os.open(d + "/" + "n" * 256, os.O_CREAT | os.O_WRONLY)
    sys.exit("a name of 256 bytes was accepted")
except OSError as error:
    assert error.errno == 36, error
PY
restart
python3 - "$MNT/many" "$count" <<'PY'
import os, sys, time
d, count = sys.argv[1], int(sys.argv[2])
names = set(os.listdir(d))
assert len(names) == count + 1, len(names)
start = time.time()
fd = os.open(d, os.O_RDONLY)
for name in names:
    os.unlink(name, dir_fd=fd)
print("unlink: %.0f/s" % (count / (time.time() - start)))
assert os.listdir(d) == []
os.rmdir(d)
PY
say ok
