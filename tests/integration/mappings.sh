#!/usr/bin/env bash
# What is mapped on one mount shows what another has written, as soon as that was answered: a load
# asks nobody.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up
mkdir -p "$WORK/second"
sheen dev mount "$WORK/second" --name "$NAME" >/dev/null
test_cleanup() { sheen dev umount "$WORK/second" --name "$NAME" >/dev/null 2>&1; }
cat > "$WORK/mappings.py" <<'PY'
import mmap, multiprocessing, os, random, struct, sys, time
a, b = sys.argv[1:3]
PAGE, PAGES = 4096, 64
rng = random.Random(7)

def mapped(path, write=False):
    fd = os.open(path, os.O_RDWR if write else os.O_RDONLY)
    prot = mmap.PROT_READ | (mmap.PROT_WRITE if write else 0)
    m = mmap.mmap(fd, PAGE * PAGES, mmap.MAP_SHARED, prot)
    os.close(fd)  # the mapping keeps the file open
    return m

def number(m, page):
    return struct.unpack_from("<Q", m, page * PAGE)[0]

def fresh(name):
    with open(a + name, "wb") as f:
        f.write(bytes(PAGE * PAGES))

# write(2) on one, loads on the other; warm pages on both.
fresh("/f")
maps = {a: mapped(a + "/f", True), b: mapped(b + "/f", True)}
fds = {m: os.open(m + "/f", os.O_RDWR) for m in (a, b)}
for m in maps.values():
    for page in range(PAGES):
        assert number(m, page) == 0
for step in range(1, 1501):
    x, y = (a, b) if rng.random() < 0.5 else (b, a)
    page = rng.randrange(PAGES)
    how = rng.randrange(4)
    data = struct.pack("<Q", step)
    if how == 0:
        os.pwrite(fds[x], data, page * PAGE)
    elif how == 1:
        os.pwrite(fds[x], data + bytes(PAGE - 8), page * PAGE)  # a whole page: no read before
    elif how == 2:
        os.pwrite(fds[x], data, page * PAGE)
        os.fsync(fds[x])
    else:
        maps[x][page * PAGE:page * PAGE + 8] = data
        maps[x].flush()
    seen = number(maps[y], page)
    assert seen == step, f"step {step} ({how}): page {page} shows {seen}"
    assert number(maps[x], page) == step
    if rng.random() < 0.3:
        page = rng.randrange(PAGES)
        assert number(maps[x], page) == number(maps[y], page)

# Punched, truncated and made longer again on the other mount.
os.pwrite(fds[a], struct.pack("<Q", 99), 5 * PAGE)
assert number(maps[b], 5) == 99
os.ftruncate(fds[a], 5 * PAGE)
os.ftruncate(fds[a], PAGE * PAGES)
assert number(maps[b], 5) == 0

# Two processes store and write back, each on its mount, at once: neither waits for the other's
# pages for long.
def storer(mount, pages, steps):
    m = mapped(mount + "/g", True)
    for step in range(1, steps + 1):
        for page in pages:
            struct.pack_into("<Q", m, page * PAGE, step)
            assert number(m, page) >= 0
        m.flush()
        for page in range(PAGES):
            number(m, page)

fresh("/g")
STEPS = 60
began = time.monotonic()
workers = [multiprocessing.Process(target=storer, args=(mount, range(side, PAGES, 2), STEPS))
           for side, mount in enumerate((a, b))]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
    assert worker.exitcode == 0
assert time.monotonic() - began < 60, f"{time.monotonic() - began:.1f} s for {STEPS} rounds"
time.sleep(1)
for mount in (a, b):
    m = mapped(mount + "/g")
    assert [number(m, page) for page in range(PAGES)] == [STEPS] * PAGES

# A reader that never makes a system call on the file, beside a writer that never stops.
def writer(path, shared):
    fd = os.open(path, os.O_RDWR)
    for step in range(1, 4001):
        os.pwrite(fd, struct.pack("<Q", step), 0)
        shared.value = step  # answered

fresh("/h")
shared = multiprocessing.RawValue("Q", 0)
m = mapped(b + "/h")
process = multiprocessing.Process(target=writer, args=(a + "/h", shared))
process.start()
looks = 0
while process.is_alive() or shared.value != number(m, 0):
    answered = shared.value
    seen = number(m, 0)
    assert seen >= answered, f"{seen} is older than {answered}, which was answered before"
    looks += 1
process.join()
assert process.exitcode == 0 and number(m, 0) == 4000 and looks > 100

# Kept over close and open: what nobody has changed is not read again, what somebody has is.
with open(a + "/k", "wb") as f:
    f.write(b"1" * PAGE)
for turn in range(3):
    m = mmap.mmap(os.open(b + "/k", os.O_RDONLY), PAGE, mmap.MAP_SHARED, mmap.PROT_READ)
    assert m[0] == ord(b"1") + turn
    with open(a + "/k", "r+b") as f:
        f.write(b"%d" % (turn + 2))
    assert m[0] == ord(b"1") + turn + 1
PY
timeout 300 python3 "$WORK/mappings.py" "$MNT" "$WORK/second"

# With other objects since.
head -c 8192 /dev/zero > "$MNT/moved"
python3 - "$MNT" "$WORK/second" <<'PY'
import mmap, os, subprocess, sys
a, b = sys.argv[1:3]
m = mmap.mmap(os.open(b + "/moved", os.O_RDONLY), 8192, mmap.MAP_SHARED, mmap.PROT_READ)
assert m[0] == 0
subprocess.run(["lfs", "migrate", "-c", "1", "-S", "2M", a + "/moved"], check=True)
fd = os.open(a + "/moved", os.O_RDWR)
os.pwrite(fd, b"x", 0)
assert m[0] == ord("x")
PY

# A server that comes back knows of no reader: the mount forgets its pages by itself.
head -c 8192 /dev/zero > "$MNT/r"
python3 - "$MNT" "$WORK/second" "$NAME" <<'PY'
import mmap, os, subprocess, sys, time
a, b, name = sys.argv[1:4]
m = mmap.mmap(os.open(b + "/r", os.O_RDONLY), 8192, mmap.MAP_SHARED, mmap.PROT_READ)
assert m[0] == 0
for server in ("oss0", "oss1"):
    subprocess.run(["sheen", "dev", "kill", server, "--name", name], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["sheen", "dev", "start", server, "--name", name], check=True, stdout=subprocess.DEVNULL)
fd = os.open(a + "/r", os.O_RDWR)
os.pwrite(fd, b"x", 0)
os.fsync(fd)
until = time.monotonic() + 30
while m[0] != ord("x"):
    assert time.monotonic() < until, "the old page is still there"
    time.sleep(0.01)
os.pwrite(fd, b"y", 0)
assert m[0] == ord("y")
PY
