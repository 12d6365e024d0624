"""The loads of tests/fault/rounds: each knows what the filesystem owes it, outside of it.

A load runs in a process of its own on one mount and has the other to look through. `step` does a few
operations; `verify` compares all that is owed, exactly; `after_death`, called when this load's own
mount was killed and is there again, allows what was not synced to be lost, takes what it finds, and
goes on from there. Whatever is owed and not there raises Broken.
"""
import errno
import fcntl
import os
import random
import sqlite3
import time

# How system calls end whose mount was killed; ECANCELED: on its ring. EIO: of programs.
DEATH = {errno.ENOTCONN, errno.ECONNABORTED, errno.ECANCELED, errno.EIO, errno.ESTALE}


class Broken(Exception):
    """A promise that was not kept."""


class Shared:
    """What a load tells the main process and its twin on the other mount: doubles in shared memory."""
    OPS, BEGAN, LONGEST, LONGEST_AT, CHECKED, STILL, FIELDS = range(7)

    def __init__(self, array, base):
        self.array, self.base = array, base

    def get(self, field):
        return self.array[self.base + field]

    def set(self, field, value):
        self.array[self.base + field] = value


class Load:
    def __init__(self, name, top, other, seed, shared):
        self.top, self.other, self.name = top, other, name
        self.rng = random.Random(seed)
        self.shared = shared
        self.dir = f"{top}/{name}"

    def do(self, function, *arguments, **keywords):
        """One operation: counted when it is answered, and timed."""
        began = time.monotonic()
        self.shared.set(Shared.BEGAN, began)
        result = function(*arguments, **keywords)
        ended = time.monotonic()
        self.shared.set(Shared.BEGAN, 0)
        self.shared.set(Shared.OPS, self.shared.get(Shared.OPS) + 1)
        if ended - began > self.shared.get(Shared.LONGEST):
            self.shared.set(Shared.LONGEST, ended - began)
            self.shared.set(Shared.LONGEST_AT, ended)
        return result

    def elsewhere(self, path):
        return self.other + path[len(self.top):]

    def setup(self):
        os.makedirs(self.dir, exist_ok=True)

    def close(self):
        pass


class FileModel:
    def __init__(self):
        self.now = bytearray()
        self.synced = bytearray()
        self.since = []  # changes after the last fsync: (offset, bytes), or (size, None)

    def write(self, offset, data):
        if len(self.now) < offset:
            self.now.extend(bytes(offset - len(self.now)))
        self.now[offset:offset + len(data)] = data

    def sync(self):
        self.synced, self.since = bytearray(self.now), []

    def explain(self, found):
        """None, or what `found` has that neither the synced bytes nor a later change has."""
        sizes = {len(self.synced), len(self.now)}
        shortest = len(self.synced)
        size = shortest
        for offset, data in self.since:
            size = offset if data is None else max(size, offset + len(data))
            sizes.add(size)
            shortest = min(shortest, size)
        longest = max(sizes)
        if not shortest <= len(found) <= longest:
            return f"{len(found)} bytes, not {shortest} to {longest}"
        if found == self.synced[:len(found)] and len(found) >= len(self.synced):
            return None
        # A byte is 1 while nothing explains it; whole ranges at a time, for speed.
        unexplained = bytearray(b"\1" * len(found))
        self.accept(unexplained, found, 0, self.synced)
        for offset, data in self.since:
            if data is not None:
                self.accept(unexplained, found, offset, data)
        # Beyond the synced size, or cut off since: zeros are honest there.
        hole = min([len(self.synced)] + [size for size, data in self.since if data is None])
        if hole < len(found):
            self.accept(unexplained, found, hole, bytes(len(found) - hole))
        at = unexplained.find(1)
        if at >= 0:
            return (f"byte {at} is {found[at]:#x}: neither what was synced nor what was written "
                    "since")
        return None

    DIFFERS = bytes([0] + [1] * 255)

    def accept(self, unexplained, found, offset, data):
        size = min(len(data), len(found) - offset)
        if size <= 0:
            return
        here = slice(offset, offset + size)

        def number(some):
            return int.from_bytes(some, "little")

        differs = (number(found[here]) ^ number(data[:size])).to_bytes(size, "little")
        still = number(unexplained[here]) & number(differs.translate(self.DIFFERS))
        unexplained[here] = still.to_bytes(size, "little")


class Writer(Load):
    """Writes, truncates, appends and syncs files, with a ledger of every byte."""
    FILES, BYTES_MAX = 6, 1 << 20

    def setup(self):
        super().setup()
        self.files = {f"{self.dir}/w{i}": FileModel() for i in range(self.FILES)}
        self.fds = {}

    def fd(self, path):
        if path not in self.fds:
            self.fds[path] = self.do(os.open, path, os.O_RDWR | os.O_CREAT, 0o644)
        return self.fds[path]

    def step(self):
        path = self.rng.choice(list(self.files))
        model, kind = self.files[path], self.rng.randrange(20)
        if kind < 13:
            offset = self.rng.randrange(max(1, min(len(model.now) + 4096, self.BYTES_MAX)))
            data = self.rng.randbytes(self.rng.choice([1, 511, 4096, 47008, 65536]))
            fd = self.fd(path)
            # What is under way may be there after a death.
            model.since.append((offset, data))
            written = self.do(os.pwrite, fd, data, offset)
            model.write(offset, data[:written])
        elif kind == 13:
            size = self.rng.randrange(self.BYTES_MAX)
            fd = self.fd(path)
            model.since.append((size, None))
            self.do(os.ftruncate, fd, size)
            del model.now[size:]
            model.now.extend(bytes(size - len(model.now)))
        elif kind < 17:
            fd = self.fd(path)
            self.do(os.fsync, fd)
            model.sync()
        elif kind == 17:
            os.close(self.fds.pop(path, None) or self.fd(path))
            self.fds.pop(path, None)
        else:
            offset = self.rng.randrange(self.BYTES_MAX)
            found = self.do(os.pread, self.fd(path), 65536, offset)
            if found != bytes(model.now[offset:offset + 65536]):
                raise Broken(f"{path}: own read at {offset} differs from what was written")

    def verify(self):
        for path, model in self.files.items():
            self.do(os.fsync, self.fd(path))
            model.sync()
            for view in (path, self.elsewhere(path)):
                with open(view, "rb") as file:
                    found = file.read()
                if found != model.now:
                    where = next((i for i, (a, b) in enumerate(zip(found, model.now)) if a != b),
                                 min(len(found), len(model.now)))
                    raise Broken(f"{view}: {len(found)} bytes, first difference at {where}; "
                                 f"{len(model.now)} are owed")

    def after_death(self):
        self.close()
        for path, model in self.files.items():
            with open(path, "rb") as file:
                found = file.read()
            with open(self.elsewhere(path), "rb") as file:
                other = file.read()
            if other != found:
                raise Broken(f"{path}: the mounts differ after a client's death")
            why = model.explain(found)
            if why:
                raise Broken(f"{path}: after a client's death: {why}")
            model.now = bytearray(found)
            # What was found is not promised to stay: the next fsync makes it so.
            with open(path, "r+b") as file:
                os.fsync(file.fileno())
            model.sync()

    def close(self):
        for fd in self.fds.values():
            try:
                os.close(fd)
            except OSError:
                pass
        self.fds = {}


class Names(Load):
    """Makes, renames, links and removes names; the ledger is the tree: path to content or None."""

    def setup(self):
        super().setup()
        self.tree = {}  # relative path -> content (a file, set once) or None (a directory)
        self.count = 0
        self.under_way = None  # (paths before, paths after) of the operation that is not answered

    def pick(self, directories):
        names = [n for n, c in self.tree.items() if (c is None) == directories]
        return self.rng.choice(names) if names else None

    def fresh(self):
        self.count += 1
        parent = self.pick(True) if self.rng.random() < 0.5 else None
        return (f"{parent}/" if parent and parent.count("/") < 3 else "") + f"n{self.count}"

    def change(self, function, removed, added, *arguments):
        """`added` replaces `removed` when the call is answered; until then either is there."""
        self.under_way = (removed, added)
        self.do(function, *arguments)
        self.apply(removed, added)
        self.under_way = None

    def apply(self, removed, added):
        for name in removed:
            del self.tree[name]
        self.tree.update(added)

    def create(self, path, content):
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        try:
            os.write(fd, content)
            os.fsync(fd)
        finally:
            os.close(fd)

    def step(self):
        kind = self.rng.randrange(10)
        if len(self.tree) > 300:
            kind = self.rng.choice([6, 9])
        new = self.fresh()
        if kind < 4:
            content = b"%s %d\n" % (new.encode(), self.rng.randrange(10**9))
            self.change(self.create, [], {new: content}, f"{self.dir}/{new}", content)
        elif kind == 4:
            self.change(os.mkdir, [], {new: None}, f"{self.dir}/{new}", 0o755)
        elif kind == 5:
            old = self.pick(self.rng.random() < 0.2)
            if old is None or new.startswith(f"{old}/"):
                return
            moved = [n for n in self.tree if n == old or n.startswith(f"{old}/")]
            added = {new + n[len(old):]: self.tree[n] for n in moved}
            self.change(os.rename, moved, added, f"{self.dir}/{old}", f"{self.dir}/{new}")
        elif kind < 8:
            old = self.pick(False)
            if old:
                self.change(os.unlink, [old], {}, f"{self.dir}/{old}")
        elif kind == 8:
            old = self.pick(False)
            if old:
                self.change(os.link, [], {new: self.tree[old]}, f"{self.dir}/{old}",
                            f"{self.dir}/{new}")
        else:
            parents = {name.rpartition("/")[0] for name in self.tree}
            empty = [n for n, c in self.tree.items() if c is None and n not in parents]
            if empty:
                old = self.rng.choice(empty)
                self.change(os.rmdir, [old], {}, f"{self.dir}/{old}")

    def found(self, top):
        base, tree = f"{top}/{self.name}", {}
        for parent, directories, files in os.walk(base, onerror=self.fail):
            inside = parent[len(base) + 1:]
            for name in directories:
                tree[f"{inside}/{name}" if inside else name] = None
            for name in files:
                with open(f"{parent}/{name}", "rb") as file:
                    tree[f"{inside}/{name}" if inside else name] = file.read()
        return tree

    def fail(self, error):
        raise error

    def difference(self, found, owed):
        for name in sorted(found.keys() | owed.keys()):
            if found.get(name, "-") != owed.get(name, "-"):
                return f"{name}: found {found.get(name, '-')!r}, owed {owed.get(name, '-')!r}"
        return None

    def verify(self):
        for top in (self.top, self.other):
            why = self.difference(self.found(top), self.tree)
            if why:
                raise Broken(f"{top}/{self.name}: {why}")

    def after_death(self):
        found = self.found(self.top)
        if self.difference(found, self.tree) and self.under_way:
            removed, added = self.under_way
            # A file that was being made may be empty yet.
            for name in added:
                if added[name] is not None and found.get(name) == b"":
                    added[name] = b""
            self.apply(removed, added)
        self.under_way = None
        why = self.difference(found, self.tree)
        if why:
            raise Broken(f"{self.dir}: after a client's death: {why}")


class Appender(Load):
    """Both mounts append records to one file: each is there once, whole, in its writer's order."""
    RECORD = 64

    def setup(self):
        self.dir = f"{self.top}/appends"
        os.makedirs(self.dir, exist_ok=True)
        self.generation, self.next, self.acknowledged, self.unsure = 0, 0, [], set()
        self.fd = None

    def path(self, top=None):
        return f"{top or self.top}/appends/{self.generation}"

    def step(self):
        if self.fd is None:
            self.fd = self.do(os.open, self.path(), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        self.next += 1
        self.unsure.add(self.next)
        record = f"{self.name} {self.next} ".ljust(self.RECORD - 1, ".").encode() + b"\n"
        written = self.do(os.write, self.fd, record)
        if written != self.RECORD:
            raise Broken(f"{self.path()}: {written} bytes of a record were written")
        self.unsure.discard(self.next)
        self.acknowledged.append(self.next)
        if self.rng.randrange(8) == 0:
            self.do(os.fsync, self.fd)
        time.sleep(0.002)

    def mine(self, top):
        with open(self.path(top), "rb") as file:
            data = file.read()
        if len(data) % self.RECORD:
            raise Broken(f"{self.path(top)}: {len(data)} bytes are no whole records")
        numbers = []
        for at in range(0, len(data), self.RECORD):
            record = data[at:at + self.RECORD]
            words = record.split(b" ")
            if len(words) != 3 or not record.endswith(b".\n"):
                raise Broken(f"{self.path(top)}: torn record at {at}: {record!r}")
            if words[0].decode() == self.name:
                numbers.append(int(words[1]))
        return numbers

    def check(self, top, exact):
        if not self.acknowledged and not self.unsure:
            return
        numbers = self.mine(top)
        if len(set(numbers)) != len(numbers):
            twice = next(n for n in numbers if numbers.count(n) > 1)
            raise Broken(f"{self.path(top)}: record {self.name} {twice} is there twice")
        lost = set(self.acknowledged) - set(numbers)
        alien = set(numbers) - set(self.acknowledged) - self.unsure
        if lost or alien or exact and numbers != sorted(numbers):
            raise Broken(f"{self.path(top)}: of {self.name} lost {sorted(lost)[:5]}, "
                         f"unknown {sorted(alien)[:5]}, in order {numbers == sorted(numbers)}")

    def verify(self):
        for top in (self.top, self.other):
            self.check(top, True)
        self.rotate()

    def rotate(self):
        """Both writers verify equally often, so they go on in the same file."""
        self.close()
        self.generation += 1
        self.acknowledged, self.unsure = [], set()
        try:
            os.unlink(f"{self.dir}/{self.generation - 2}")
        except FileNotFoundError:
            pass

    def after_death(self):
        self.close()
        # Appends are written through: what was answered is with the OSS.
        self.check(self.top, False)

    def close(self):
        if self.fd is not None:
            try:
                os.close(self.fd)
            except OSError:
                pass
        self.fd = None


class Sqlite(Load):
    """Transactions; the ledger: which were answered as committed."""

    def setup(self):
        super().setup()
        self.mode = self.rng.choice(["DELETE", "WAL"])
        self.path_of = f"{self.dir}/{self.mode}.db"
        self.committed, self.next, self.db = set(), 0, None

    def connect(self):
        self.db = sqlite3.connect(self.path_of, isolation_level=None, timeout=60)
        self.db.execute(f"PRAGMA journal_mode={self.mode}")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, text TEXT)")

    def insert(self, number):
        self.db.execute("INSERT INTO t VALUES(?, ?)", (number, f"row {number} " * 20))

    def step(self):
        if self.db is None:
            self.connect()
        self.next += 1
        self.do(self.insert, self.next)
        self.committed.add(self.next)

    def verify(self):
        if self.db is None:
            self.connect()
        result = self.db.execute("PRAGMA integrity_check").fetchone()[0]
        if result != "ok":
            raise Broken(f"{self.path_of}: {result}")
        found = {row[0] for row in self.db.execute("SELECT id FROM t")}
        lost, alien = self.committed - found, found - self.committed - {self.next}
        if lost or alien:
            raise Broken(f"{self.path_of}: lost {sorted(lost)[:5]}, unknown {sorted(alien)[:5]}")
        self.committed = found

    def after_death(self):
        self.close()
        if self.mode == "WAL":
            # While the dead mount's locks are held SQLite takes its -shm file for a living one's,
            # whose mapped pages died with it. Who waits for them gets them within 5 s.
            with open(f"{self.path_of}-shm", "ab") as file:
                fcntl.lockf(file, fcntl.LOCK_EX, 1, 128)
        self.verify()

    def close(self):
        db, self.db = self.db, None
        try:
            if db is not None:
                db.close()
        except sqlite3.Error:
            pass


KINDS = {"writer": Writer, "names": Names, "append": Appender, "sqlite": Sqlite}
