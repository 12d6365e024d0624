#!/usr/bin/env bash
# Two mounts whose kernels keep names and attributes: what one changes, the other sees at once, also
# after the MDS was killed, and when both change the same directories.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up
mkdir -p "$WORK/second"
sheen dev mount "$WORK/second" --name "$NAME" >/dev/null
test_cleanup() { sheen dev umount "$WORK/second" --name "$NAME" >/dev/null 2>&1; }
check() {
  python3 - "$1" "$2" "$3" <<'PY'
import os, random, sys
a, b, tag = sys.argv[1:4]
rng = random.Random(7)
# A directory each: names of one that others have changed are not kept for a while.
dirs = [f"/{tag}{i}" for i in range(120)]
for d in dirs:
    os.mkdir(a + d)
    for name in "fgh":
        with open(f"{a}{d}/{name}", "w") as f:
            f.write(name)
    os.symlink("f", f"{a}{d}/s")
def warm(m):
    for _ in range(2):
        for d in dirs:
            assert sorted(os.listdir(m + d)) == ["f", "g", "h", "s"]
            for name in "fghs":
                os.lstat(f"{m}{d}/{name}")
            assert os.readlink(f"{m}{d}/s") == "f"
warm(a)
warm(b)
for i, d in enumerate(dirs):
    x, y = (a, b) if i % 2 else (b, a)
    kind = i % 10
    if kind == 0:
        os.unlink(f"{x}{d}/f")
        assert not os.path.exists(f"{y}{d}/f")
        assert not os.path.exists(f"{y}{d}/s")
    elif kind == 1:
        os.rename(f"{x}{d}/f", f"{x}{d}/g")
        assert not os.path.exists(f"{y}{d}/f") and open(f"{y}{d}/g").read() == "f"
    elif kind == 2:
        os.chmod(f"{x}{d}/f", 0o600)
        assert os.stat(f"{y}{d}/f").st_mode & 0o777 == 0o600
    elif kind == 3:
        with open(f"{x}{d}/f", "a") as f:
            f.write("more")
            f.flush()
            assert os.stat(f"{y}{d}/f").st_size == 5
        assert os.stat(f"{y}{d}/f").st_size == 5
    elif kind == 4:
        os.rename(x + d, x + d + ".moved")
        assert not os.path.exists(y + d) and os.path.exists(f"{y}{d}.moved/f")
        dirs[i] = d + ".moved"
    elif kind == 5:
        os.rename(f"{x}{d}/f", f"{x}{d}/new")
        os.stat(f"{x}{d}/new")
        os.rename(f"{y}{d}/new", f"{y}{d}/newer")
        assert not os.path.exists(f"{x}{d}/new") and os.path.exists(f"{x}{d}/newer")
    elif kind == 6:
        os.link(f"{x}{d}/f", f"{x}{d}/l")
        assert os.stat(f"{y}{d}/f").st_nlink == 2 == os.stat(f"{y}{d}/l").st_nlink
        os.unlink(f"{y}{d}/l")
        assert os.stat(f"{x}{d}/f").st_nlink == 1 and not os.path.exists(f"{x}{d}/l")
    elif kind == 7:
        os.utime(f"{x}{d}/f", (5, 5))
        assert os.stat(f"{y}{d}/f").st_mtime == 5
    elif kind == 8:
        os.chmod(x + d, 0o700)
        os.mkdir(f"{x}{d}/sub")
        s = os.stat(y + d)
        assert s.st_mode & 0o777 == 0o700 and s.st_nlink == 3
    else:
        os.unlink(f"{x}{d}/f")
        os.mkdir(f"{x}{d}/f")
        assert os.path.isdir(f"{y}{d}/f")
PY
}
check "$MNT" "$WORK/second" first
# Listings that the kernels keep: of names that both change, also when the directory's time is set back,
# for who opens it and for who has it open.
python3 - "$MNT" "$WORK/second" "${SHEEN_SEED:-$RANDOM}" <<'PY'
import os, random, sys
mounts, seed = sys.argv[1:3], int(sys.argv[3])
rng = random.Random(seed)
names = {d: set() for d in ("l0", "l1", "l2")}
for d in names:
    os.mkdir(f"{mounts[0]}/{d}")
held = {(m, d): os.open(f"{m}/{d}", os.O_RDONLY) for m in mounts for d in ("l1", "l2")}
for step in range(1500):
    m, d = rng.choice(mounts), rng.choice(list(names))
    kind = rng.randrange(8)
    if kind == 0:
        name = f"n{rng.randrange(60)}"
        if name in names[d]:
            os.unlink(f"{m}/{d}/{name}")
        else:
            os.close(os.open(f"{m}/{d}/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        names[d] ^= {name}
        if rng.randrange(2):
            os.utime(f"{m}/{d}", (1000000000, 1000000000))
    elif kind == 1 and names[d]:
        old, new = rng.choice(sorted(names[d])), f"r{step}"
        os.rename(f"{m}/{d}/{old}", f"{m}/{d}/{new}")
        names[d] ^= {old, new}
    elif kind < 5:
        assert set(os.listdir(f"{m}/{d}")) == names[d], (seed, step, m, d)
    elif (m, d) in held:
        assert set(os.listdir(held[m, d])) == names[d], (seed, step, m, d, "rewound")
        if rng.randrange(8) == 0:
            os.close(held.pop((m, d)))
    elif d != "l0":
        held[m, d] = os.open(f"{m}/{d}", os.O_RDONLY)
for fd in held.values():
    os.close(fd)
PY
asked() { lctl get_param -n 'llite.*.stats' | awk '$1 == "readdir" { n += $2 } END { print n + 0 }'; }
mkdir "$MNT/many"
(cd "$MNT/many" && seq 500 | xargs touch)
# A mount that had no time to prove that it lives asks once more.
for round in $(seq 10); do
  for _ in 1 2 3; do [ "$(ls -l "$MNT/many" | wc -l)" = 501 ] || die "a listing"; done
  before=$(asked)
  for _ in 1 2 3; do [ "$(ls "$MNT/many" | wc -l)" = 500 ] || die "a kept listing"; done
  [ "$(asked)" = "$before" ] && break
done
[ "$(asked)" = "$before" ] || die "listings are not kept: $before requests, then $(asked), round $round"
rm -r "$MNT/many" "$MNT"/l[012]
say "kept listings are right"
# Each kernel knows all names, and both remove them: each holds its directory's lock while it waits
# for the other to forget.
python3 - "$MNT" "$WORK/second" <<'PY'
import multiprocessing, os, sys, time
a, b = sys.argv[1:3]
for i in range(4):
    os.mkdir(f"{a}/both{i}")
    for j in range(100):
        open(f"{a}/both{i}/{j}", "w").close()
for m in (a, b):
    for i in range(4):
        for j in range(100):
            os.stat(f"{m}/both{i}/{j}")
def remove(m, order):
    for i in range(4):
        for j in order:
            try:
                os.unlink(f"{m}/both{i}/{j}")
            except FileNotFoundError:
                pass
begin = time.time()
tasks = [multiprocessing.Process(target=remove, args=(m, range(100)[::step]))
         for m, step in ((a, 1), (b, -1))]
for task in tasks:
    task.start()
for task in tasks:
    task.join()
    assert task.exitcode == 0
assert time.time() - begin < 15, time.time() - begin
for m in (a, b):
    for i in range(4):
        assert os.listdir(f"{m}/both{i}") == []
PY
# The MDS forgets all locks; the kernels keep nothing that they covered.
python3 - "$MNT" "$WORK/second" <<'PY'
import os, sys
for i in range(50):
    open(f"{sys.argv[1]}/kept{i}", "w").close()
for m in sys.argv[1:3]:
    for i in range(50):
        os.stat(f"{m}/kept{i}")
PY
sheen dev kill mds0 --name "$NAME" >/dev/null
sheen dev start mds0 --name "$NAME" >/dev/null
python3 - "$MNT" "$WORK/second" <<'PY'
import os, sys
a, b = sys.argv[1:3]
for i in range(50):
    os.chmod(f"{a}/kept{i}", 0o640)
    assert os.stat(f"{b}/kept{i}").st_mode & 0o777 == 0o640
    os.unlink(f"{b}/kept{i}")
    assert not os.path.exists(f"{a}/kept{i}")
PY
check "$WORK/second" "$MNT" again
sheen dev umount "$WORK/second" --name "$NAME" >/dev/null
say ok
