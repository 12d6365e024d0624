"""The load of tests/fault/rounds in which both mounts fight over the same names."""
import errno
import os
import stat
import time

from loads import Broken, Load, Shared

# What the fight explains.
EXPECTED = {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR, errno.EPERM,
            errno.ESTALE, errno.EINVAL, errno.EMLINK}
NAMES = 20


class Racing(Load):
    """Creates, renames, links, removes, writes and lists; nothing is owed but that both agree."""

    def setup(self):
        self.dir = f"{self.top}/race"
        os.makedirs(self.dir, exist_ok=True)
        side = int(self.name[-1])
        self.twin = Shared(self.shared.array,
                           self.shared.base + (Shared.FIELDS if side == 0 else -Shared.FIELDS))

    def step(self):
        self.do(self.attempt)
        time.sleep(0.002)

    def attempt(self):
        try:
            self.act(*(f"{self.dir}/n{self.rng.randrange(NAMES)}" for _ in range(2)))
        except OSError as error:
            if error.errno not in EXPECTED:
                raise

    def act(self, one, two):
        kind = self.rng.randrange(12)
        if kind == 0:
            os.close(os.open(one, os.O_CREAT | os.O_RDWR, 0o644))
        elif kind < 3:
            (os.rename if kind == 1 else os.link)(one, two)
        elif kind == 3:
            os.unlink(one)
        elif kind == 4:
            os.chmod(one, self.rng.choice([0o600, 0o644, 0o755]))
        elif kind == 5:
            os.truncate(one, self.rng.randrange(100000))
        elif kind == 6:
            with open(one, "r+b") as file:
                file.write(b"x" * self.rng.randrange(1, 20000))
        elif kind == 7:
            for name in os.listdir(self.dir):
                if not name.startswith("n"):
                    raise Broken(f"{self.dir} has the name {name!r}")
        elif kind == 8:
            os.mkdir(one)
        elif kind == 9:
            os.rmdir(one)
        elif kind == 10:
            with open(one, "rb") as file:
                data = file.read()
            if data.strip(b"x\0"):
                raise Broken(f"{one} has bytes that nobody wrote")
        else:
            os.stat(one)

    def view(self, top):
        out = {}
        for name in sorted(os.listdir(f"{top}/race")):
            path = f"{top}/race/{name}"
            found = os.lstat(path)
            out[name] = [found.st_ino, found.st_mode, found.st_nlink]
            if stat.S_ISREG(found.st_mode):
                with open(path, "rb") as file:
                    data = file.read()
                if len(data) != found.st_size:
                    raise Broken(f"{path}: {len(data)} bytes, its size is {found.st_size}")
                out[name] += [found.st_size, found.st_mtime_ns, data.count(b"x")]
        return out

    def verify(self):
        """Both stand still until both have looked: they verify equally often."""
        turn = self.shared.get(Shared.STILL) + 1
        self.shared.set(Shared.STILL, turn)
        while self.twin.get(Shared.STILL) < turn:
            time.sleep(0.01)
        one, two = self.view(self.top), self.view(self.other)
        if one != two:
            raise Broken("the mounts differ: " + "; ".join(
                f"{name}: {one.get(name)} at {self.top}, {two.get(name)} at {self.other}"
                for name in sorted(one.keys() | two.keys()) if one.get(name) != two.get(name)))

    def after_death(self):
        pass
