#!/usr/bin/env bash
# Processes on two mounts fight over twenty names: create, rename, link, unlink, chmod, truncate,
# write, list. Nothing hangs, no call fails in a way that the fight does not explain, both mounts
# agree at every pause, and so do they with what is there after a restart. At the end each link count is
# the number of names, and each object on the OSTs is that of a name; when the names are gone, so are they.
. "$(dirname "$0")/../support/cluster.sh"
seconds=${SHEEN_RACE_SECONDS:-20}
cluster_up
mkdir -p "$WORK/second"
sheen dev mount "$WORK/second" --name "$NAME" >/dev/null
test_cleanup() { sheen dev umount "$WORK/second" --name "$NAME" >/dev/null 2>&1; }
cat > "$WORK/race.py" <<'PY'
import collections, errno, itertools, multiprocessing, os, random, stat, sys, time
a, b, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
EXPECTED = {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR, errno.EPERM,
            errno.ESTALE, errno.EINVAL, errno.EMLINK}

def act(top, rng):
    one, two = (f"{top}/race/n{rng.randrange(20)}" for _ in range(2))
    kind = rng.randrange(12)
    if kind == 0:
        os.close(os.open(one, os.O_CREAT | os.O_RDWR, 0o644))
    elif kind == 1:
        os.rename(one, two)
    elif kind == 2:
        os.link(one, two)
    elif kind == 3:
        os.unlink(one)
    elif kind == 4:
        os.chmod(one, rng.choice([0o600, 0o644, 0o755]))
    elif kind == 5:
        os.truncate(one, rng.randrange(100000))
    elif kind == 6:
        with open(one, "r+b") as f:
            f.write(b"x" * rng.randrange(1, 20000))
    elif kind == 7:
        for name in os.listdir(f"{top}/race"):
            assert name.startswith("n"), name
    elif kind == 8:
        os.mkdir(one)
    elif kind == 9:
        os.rmdir(one)
    elif kind == 10:
        with open(one, "rb") as f:
            data = f.read()
            assert data.count(b"x") + data.count(b"\0") == len(data)
    else:
        os.stat(one)

def fight(top, seed, until, counts):
    rng = random.Random(seed)
    done = 0
    while time.time() < until:
        try:
            act(top, rng)
        except OSError as error:
            if error.errno not in EXPECTED:
                print(f"{top}: unexpected: {error}", flush=True)
                os._exit(1)
        done += 1
    counts.put(done)

def view(top):
    out = {}
    for entry in sorted(os.listdir(f"{top}/race")):
        s = os.lstat(f"{top}/race/{entry}")
        if stat.S_ISDIR(s.st_mode):
            out[entry] = (s.st_ino, s.st_mode, s.st_nlink)
            continue
        with open(f"{top}/race/{entry}", "rb") as f:
            data = f.read()
        assert len(data) == s.st_size, (entry, len(data), s.st_size)
        out[entry] = (s.st_ino, s.st_mode, s.st_nlink, s.st_size, s.st_mtime_ns, hash(data))
    return out

def check_links(top):
    """Each inode has as many links as names; a directory two, and one for each in it."""
    names, status = collections.Counter(), {}
    for directory, below, files in os.walk(top):
        s = os.lstat(directory)
        if s.st_nlink != 2 + len(below):
            sys.exit(f"{directory}: {s.st_nlink} links, {len(below)} directories in it")
        for name in files:
            path = f"{directory}/{name}"
            s = os.lstat(path)
            names[s.st_ino] += 1
            status[s.st_ino] = (path, s.st_nlink)
    for number, count in names.items():
        if status[number][1] != count:
            sys.exit("%s: %d links, %d names" % (*status[number], count))
    return names.keys()

def check_objects(top, targets):
    """Each object on the OSTs is of a file that has a name, as soon as what was removed has left."""
    inodes = check_links(top)
    kept = os.stat(top + "/kept").st_ino
    deadline = time.time() + 60
    while True:
        of = set()
        for _, _, files in itertools.chain.from_iterable(os.walk(f"{t}/objects") for t in targets):
            for name in files:
                seq, oid = name.split("_")[:2]
                of.add(int(seq, 16) << 24 | int(oid, 16))
        if kept not in of:
            sys.exit(f"no object of the file that was written, in {targets}")
        if of <= inodes:
            return
        if time.time() > deadline:
            sys.exit(f"objects without a name: {sorted(map(hex, of - inodes))}")
        time.sleep(0.1)

if len(sys.argv) > 4:
    if sys.argv[4] == "objects":
        check_objects(a, sys.argv[5:])
    else:
        check_links(a)
        print(sorted((k, v[:-1]) for k, v in view(a).items()))
    sys.exit(0)
os.mkdir(a + "/race")
seed = int(os.environ.get("SHEEN_SEED", time.time_ns() % 10**9))
print("SHEEN_SEED=%d" % seed, flush=True)
total, end = 0, time.time() + seconds
while time.time() < end:
    counts = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=fight, args=(top, seed + i, time.time() + 3, counts))
               for i, top in enumerate([a, b, a, b])]
    seed += len(workers)
    for w in workers:
        w.start()
    for w in workers:
        w.join(60)
        if w.exitcode != 0:
            print(f"a fighter ended with {w.exitcode}: it hangs or failed", flush=True)
            for other in workers:
                other.kill()
            os._exit(1)  # who hangs is not waited for
    total += sum(counts.get() for _ in workers)
    one, two = view(a), view(b)
    assert one == two, {k: (one.get(k), two.get(k)) for k in one.keys() | two.keys()
                        if one.get(k) != two.get(k)}
print("%d operations" % total)
PY
python3 "$WORK/race.py" "$MNT" "$WORK/second" "$seconds" || die "the mounts disagree"
targets=("$WORK"/cluster/ost*)
head -c 100000 /dev/urandom >"$MNT/kept"
sync "$MNT/kept"
before=$(python3 "$WORK/race.py" "$MNT" - 0 show) || die "the tree is not sound"
after=$(python3 "$WORK/race.py" "$WORK/second" - 0 show) || die "the tree is not sound on the second mount"
[ "$before" = "$after" ] || die "the mounts list different trees"
python3 "$WORK/race.py" "$WORK/second" - 0 objects "${targets[@]}" || die "objects that nobody has"
sheen dev umount "$WORK/second" --name "$NAME" >/dev/null
restart
[ "$(python3 "$WORK/race.py" "$MNT" - 0 show)" = "$before" ] || die "another tree after the restart"
python3 "$WORK/race.py" "$MNT" - 0 objects "${targets[@]}" || die "objects that nobody has, after the restart"
rm -r "$MNT/race"
python3 "$WORK/race.py" "$MNT" - 0 objects "${targets[@]}" || die "objects of what was removed"
say ok
