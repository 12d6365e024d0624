"""What one mount has done the other sees at once: names, attributes, sizes, data.

  pairs.py A B     two mounts of one filesystem

In turn, and while one writes and the other reads and lists.
"""
import errno
import multiprocessing
import os
import random
import subprocess
import sys
import time

BLOCK = random.Random(7).randbytes(1000003)


def bytes_at(offset, length):
    start = offset % len(BLOCK)
    return (BLOCK * ((start + length) // len(BLOCK) + 1))[start:start + length]


def gone(path):
    try:
        os.stat(path)
    except FileNotFoundError:
        return True
    return False


def names_and_data(x, y, number, rng):
    """One file and one directory, changed by each in turn."""
    name = f"/f{number}"
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
    os.utime(y + name, (number, number))
    assert os.stat(x + name).st_mtime == number
    os.setxattr(x + name, "user.k", b"%d" % number)
    assert os.getxattr(y + name, "user.k") == b"%d" % number
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


def growth_in_turn(a, b, rng):
    """A reader with an open file sees growth and overwrites once the mtime moved."""
    w = os.open(a + "/grow", os.O_CREAT | os.O_RDWR)
    r = os.open(b + "/grow", os.O_RDONLY)
    size = 0
    for i in range(100):
        part = rng.randbytes(5000)
        os.write(w, part)
        size += len(part)
        assert os.fstat(r).st_size == size
        assert os.pread(r, 5000, i * 5000) == part
        os.pwrite(w, b"OVER", i * 5000)
        os.fstat(r)
        assert os.pread(r, 4, i * 5000) == b"OVER"
    os.close(w)
    os.close(r)
    os.unlink(a + "/grow")


def sole_creators(a, b):
    """The creator knows the size itself, until another writer comes."""
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
        sizes = {os.stat(m + f"/sole{i}").st_size for m in (a, b)}
        assert sizes == {100 + (i + 1) % 2 * 3}, sizes
        os.unlink(b + f"/sole{i}")


class Growth:
    """What a growing file must show: `answered` bytes at least, `begun` at most."""

    def __init__(self):
        self.begun, self.answered, self.looks, self.reads = (
            multiprocessing.Value("q", 0) for _ in range(4))
        self.over = multiprocessing.Value("b", 0)

    def write(self, path, seed, watchers):
        """In steps; each waits until everybody has looked after the one before."""
        rng = random.Random(seed)
        fd = os.open(path, os.O_WRONLY)
        size = 0
        for _ in range(40):
            before = [watcher.value for watcher in watchers]
            for _ in range(8):
                length = rng.randrange(1, 60000)
                self.begun.value = size + length
                assert os.write(fd, bytes_at(size, length)) == length
                size += length
                self.answered.value = size
            deadline = time.monotonic() + 60
            while any(w.value == b for w, b in zip(watchers, before)):
                assert time.monotonic() < deadline, "the other mount hangs"
        os.close(fd)
        self.over.value = 1

    def read_tail(self, path, alone):
        """Beside somebody who asks for the size a read may end where it was, or show zeros where the
        file's last page had nothing before (docs/posix.md)."""
        fd, at, late = os.open(path, os.O_RDONLY), 0, 0
        while True:
            over, least = self.over.value, self.answered.value
            got = os.pread(fd, 1 << 20, at)
            most = self.begun.value
            if at + len(got) < min(least, at + (1 << 20)):
                late += 1
                assert not alone and late < 100, ("short", at, len(got), least, late)
                over = False
            else:
                late = 0
            assert at + len(got) <= most, ("long", at, len(got), most)
            wanted = bytes_at(at, len(got))
            if got != wanted:
                wrong = [i for i, (x, y) in enumerate(zip(got, wanted)) if x != y]
                one_page = (at + wrong[0]) // 4096 == (at + wrong[-1]) // 4096
                zeros = all(got[i] == 0 for i in wrong)
                late += 1
                assert not alone and one_page and zeros and late < 100, ("wrong bytes", at, wrong[:9])
                continue
            at += len(got)
            self.reads.value += 1
            if over and at == least:
                return

    def list(self, path):
        last = 0
        while True:
            over, least = self.over.value, self.answered.value
            out = subprocess.run(["ls", "-l", path], capture_output=True, text=True, check=True)
            most, size = self.begun.value, int(out.stdout.split()[4])
            assert max(least, last) <= size <= most, (last, least, size, most)
            last = size
            self.looks.value += 1
            if over:
                return


def growth_watched(a, b, seed, listed):
    """One writes to the end of a file; the other reads there, and perhaps lists it, meanwhile."""
    path = "/watched"
    open(a + path, "wb").close()
    growth = Growth()
    watchers = [growth.reads] + [growth.looks] * listed
    tasks = [multiprocessing.Process(target=growth.write, args=(a + path, seed, watchers)),
             multiprocessing.Process(target=growth.read_tail, args=(b + path, not listed))]
    if listed:
        tasks.append(multiprocessing.Process(target=growth.list, args=(b + path,)))
    for task in tasks:
        task.start()
    while any(task.is_alive() for task in tasks) and not any(task.exitcode for task in tasks):
        time.sleep(0.05)
    failed = [task.name for task in tasks if task.exitcode]
    for task in tasks:
        task.kill()
    assert not failed, failed
    whole = bytes_at(0, growth.answered.value)
    for mount in (a, b):
        with open(mount + path, "rb") as f:
            assert f.read() == whole, mount
    os.unlink(b + path)


def main():
    a, b = sys.argv[1:3]
    seed = int(os.environ.get("SHEEN_SEED", time.time_ns() % 10**9))
    print(f"SHEEN_SEED={seed}", flush=True)
    rng = random.Random(seed)
    for number in range(200):
        names_and_data(*((a, b) if number % 2 else (b, a)), number, rng)
    growth_in_turn(a, b, rng)
    sole_creators(a, b)
    for listed in (False, True):
        growth_watched(a, b, seed, listed)
        growth_watched(b, a, seed + 1, listed)


main()
