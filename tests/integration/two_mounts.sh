#!/usr/bin/env bash
# Two mounts of one filesystem: what one has done, the other sees at once: names, attributes, sizes,
# and data at open and after any visible change.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up
mkdir -p "$WORK/second"
sheen dev mount "$WORK/second" --name "$NAME" >/dev/null
test_cleanup() { sheen dev umount "$WORK/second" --name "$NAME" >/dev/null 2>&1; }
python3 - "$MNT" "$WORK/second" <<'PY'
import errno, os, random, sys
a, b = sys.argv[1:3]
rng = random.Random(5)
def gone(p):
    try:
        os.stat(p)
    except FileNotFoundError:
        return True
    return False
for round in range(200):
    x, y = (a, b) if round % 2 else (b, a)
    name = f"/f{round}"
    assert gone(y + name)
    data = rng.randbytes(rng.randrange(1, 300000))
    with open(x + name, "wb") as f:
        f.write(data)
        f.flush()
        assert os.stat(y + name).st_size == len(data)
        assert open(y + name, "rb").read() == data
        f.write(b"more")
        f.flush()
        assert os.stat(y + name).st_size == len(data) + 4
    assert open(y + name, "rb").read() == data + b"more"
    os.truncate(y + name, 7)
    assert os.stat(x + name).st_size == 7 and open(x + name, "rb").read() == (data + b"more")[:7]
    with open(y + name, "r+b") as f:
        f.write(b"REPLACE")
    assert open(x + name, "rb").read() == b"REPLACE"
    os.chmod(x + name, 0o640)
    assert os.stat(y + name).st_mode & 0o777 == 0o640
    os.utime(y + name, (round, round))
    assert os.stat(x + name).st_mtime == round
    os.setxattr(x + name, "user.k", b"%d" % round)
    assert os.getxattr(y + name, "user.k") == b"%d" % round
    os.rename(x + name, x + "/moved")
    assert gone(y + name) and os.stat(y + "/moved").st_size == 7
    fd = os.open(x + "/moved", os.O_RDONLY)
    os.unlink(y + "/moved")
    assert gone(x + "/moved")
    assert os.read(fd, 100) == b"REPLACE"
    os.close(fd)
    os.mkdir(x + "/dir")
    assert os.listdir(y + "/dir") == []
    open(y + "/dir/e", "w").close()
    assert os.listdir(x + "/dir") == ["e"]
    try:
        os.rmdir(x + "/dir")
        sys.exit("removed a directory that is not empty")
    except OSError as error:
        assert error.errno == errno.ENOTEMPTY
    os.unlink(x + "/dir/e")
    os.rmdir(y + "/dir")
# A reader with an open file sees growth and overwrites once the mtime moved.
w = os.open(a + "/grow", os.O_CREAT | os.O_RDWR)
r = os.open(b + "/grow", os.O_RDONLY)
want = b""
for i in range(100):
    part = rng.randbytes(5000)
    os.write(w, part)
    want += part
    assert os.fstat(r).st_size == len(want)
    assert os.pread(r, 5000, i * 5000) == part
    os.pwrite(w, b"OVER", i * 5000)
    os.fstat(r)
    assert os.pread(r, 4, i * 5000) == b"OVER"
# The creator knows the size itself, until another writer comes.
for i in range(50):
    fa = os.open(a + f"/sole{i}", os.O_CREAT | os.O_RDWR)
    os.write(fa, b"12345")
    assert os.fstat(fa).st_size == 5 and os.stat(b + f"/sole{i}").st_size == 5
    fb = os.open(b + f"/sole{i}", os.O_WRONLY | os.O_APPEND)
    os.write(fb, b"678")
    assert os.fstat(fa).st_size == 8, os.fstat(fa).st_size
    if i % 2:
        os.close(fb)
    os.ftruncate(fa, 2)
    assert os.stat(b + f"/sole{i}").st_size == 2 == os.fstat(fa).st_size
    os.pwrite(fa, b"x", 99)
    assert os.stat(b + f"/sole{i}").st_size == 100 == os.fstat(fa).st_size
    os.close(fa)
    if not i % 2:
        os.write(fb, b"end")
        assert os.stat(a + f"/sole{i}").st_size == 103
        os.close(fb)
    assert os.stat(a + f"/sole{i}").st_size == os.stat(b + f"/sole{i}").st_size == 100 + (i + 1) % 2 * 3
PY
# That a file has no xattrs is known with its attributes; who sets one is seen at once.
python3 - "$MNT" "$WORK/second" <<'PY'
import errno, os, random, sys
mounts = sys.argv[1:3]
rng = random.Random(11)
objects = ["plain", "directory"]
open(f"{mounts[0]}/plain", "w").close()
os.mkdir(f"{mounts[0]}/directory")
known = {o: {} for o in objects}
for step in range(800):
    m, o = rng.choice(mounts), rng.choice(objects)
    path, have = f"{m}/{o}", known[o]
    name = rng.choice(["user.a", "trusted.b", "security.c"])
    kind = rng.randrange(10)
    if kind == 0:
        have[name] = b"%d" % step
        os.setxattr(path, name, have[name])
    elif kind == 1 and have:
        name = rng.choice(sorted(have))
        os.removexattr(path, name)
        del have[name]
    elif kind < 6:
        try:
            assert os.getxattr(path, name) == have.get(name), (step, path, name)
        except OSError as error:
            assert error.errno == errno.ENODATA and name not in have, (step, path, name, error)
    else:
        assert set(os.listxattr(path)) == set(have), (step, path)
for o in objects:
    (os.rmdir if o == "directory" else os.unlink)(f"{mounts[0]}/{o}")
PY
asked() { lctl get_param -n 'mdt.*.md_stats' | awk '$1 ~ /xattr/ { n += $2 } END { print n + 0 }'; }
# A mount that had no time to prove that it lives asks once more.
for round in $(seq 10); do
  before=$(asked)
  for i in $(seq 50); do echo "$i" >"$MNT/new$round.$i"; done
  getfattr -d -m - "$MNT/new$round".* >"$WORK/out"
  [ ! -s "$WORK/out" ] || die "xattrs of new files: $(cat "$WORK/out")"
  more=$(($(asked) - before))
  [ "$more" = 0 ] && break
done
[ "$more" = 0 ] || die "the MDS was asked $more times for xattrs that new files have not"
rm "$MNT"/new*
sheen dev umount "$WORK/second" --name "$NAME" >/dev/null
say ok
