"""flock(2) and fcntl(2): who excludes whom, ranges, what may be locked at all.

Locks of fcntl(2) are of a process, and two mounts are two nodes: others are other processes here. That
waiting, deadlocks and dead holders are as they should be tests/integration/file_locks.sh shows.
"""
import contextlib
import fcntl
import os

from harness import Fd, P, case

READ, WRITE, NONE = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
SHARED, EXCLUSIVE = fcntl.LOCK_SH | fcntl.LOCK_NB, fcntl.LOCK_EX | fcntl.LOCK_NB


@contextlib.contextmanager
def held_by_another(w, name, kind, start, length):
    """Another process has that lock of fcntl(2)."""
    ready, tell = os.pipe()
    wait, end = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(end)
            fd = os.open(w.path(name), os.O_RDWR)
            w.calls["setlk"](fd, kind, start, length)
            os.write(tell, b"x")
            os.read(wait, 1)
            code = 0
        finally:
            os._exit(code)
    os.close(tell)
    os.close(wait)
    w.turn = (w.turn + 1) % len(w.roots)
    w.note("another process has it", os.read(ready, 1))
    try:
        yield
    finally:
        os.close(end)
        os.close(ready)
        w.note("it ends", os.waitpid(child, 0)[1])


@case()
def flock_excludes(w):
    for kind in ("reg", "dir"):
        w.make(kind, kind)
        for first in (SHARED, EXCLUSIVE):
            for second in (SHARED, EXCLUSIVE):
                a = w.do("open", P(kind), os.O_RDONLY)
                # A directory's lock is of its node.
                if kind == "dir":
                    w.beside(a)
                b = w.do("open", P(kind), os.O_RDONLY)
                w.do("flock", a, first)
                w.do("flock", b, second)
                w.do("flock", b, fcntl.LOCK_UN)
                w.do("flock", a, fcntl.LOCK_UN)
                w.do("flock", b, EXCLUSIVE)
                w.do("flock", b, SHARED)
                w.do("flock", a, SHARED)
                # A close lets go a moment after it has returned.
                w.do("flock", b, fcntl.LOCK_UN)
                w.do("flock", a, fcntl.LOCK_UN)
                w.close(a)
                w.close(b)
    w.make("closed")
    a, b = (w.do("open", P("closed"), os.O_RDWR) for _ in range(2))
    w.do("flock", a, EXCLUSIVE)
    w.close(a)
    w.do("flock", b, fcntl.LOCK_EX)
    w.close(b)


@case()
def flock_refused(w):
    w.make("f", owner=w.other, mode=0o666)
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_PATH):
        fd = w.do("open", P("f"), flags)
        for operation in (SHARED, EXCLUSIVE, fcntl.LOCK_UN, 0, 3, 16, fcntl.LOCK_NB):
            w.do("flock", fd, operation)
        w.close(fd)
    w.do("flock", Fd(9999), SHARED)
    for kind in ("fifo", "chr"):
        w.make(kind, kind)
        with w.as_("root"):
            fd = w.do("open", P(kind), os.O_RDONLY | os.O_NONBLOCK)
        w.do("flock", fd, SHARED)
        w.do("setlk", fd, READ)
        w.close(fd)


@case()
def record_locks_exclude(w):
    w.make("f", data=b"0" * 100)
    fd = w.do("open", P("f"), os.O_RDWR)
    for kind in (READ, WRITE):
        for start, length in ((10, 10), (0, 0), (50, 0)):
            with held_by_another(w, P("f"), kind, start, length):
                for mine in (READ, WRITE):
                    for at, count in ((0, 10), (0, 11), (19, 1), (20, 5), (1000, 0)):
                        w.do("getlk", fd, mine, at, count)
                        w.do("setlk", fd, mine, at, count)
                        w.do("setlk", fd, NONE, at, count)
            w.do("setlkw", fd, WRITE)  # the other has gone
            w.do("setlk", fd, NONE)
    w.close(fd)


@case()
def record_locks_refused(w):
    w.make("f", owner=w.other, mode=0o666)
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_PATH):
        fd = w.do("open", P("f"), flags)
        for kind in (READ, WRITE, NONE, 77):
            w.do("setlk", fd, kind)
            w.do("ofd_setlk", fd, kind)
        w.do("getlk", fd, WRITE)
        for start, length, whence in ((-1, 1, os.SEEK_SET), (5, -5, os.SEEK_SET),
                                      (5, -6, os.SEEK_SET), (-3, 0, os.SEEK_END), (0, 1, 9),
                                      (2**63 - 1, 1, os.SEEK_SET), (2**63 - 1, 2, os.SEEK_SET)):
            w.do("setlk", fd, READ, start, length, whence)
        w.close(fd)
    for call in ("setlk", "setlkw", "ofd_setlk", "getlk"):
        w.do(call, Fd(9999), READ)
    w.make("d", "dir")
    fd = w.do("open", P("d"), os.O_RDONLY)
    w.do("setlk", fd, READ)
    w.do("setlk", fd, WRITE)
    w.do("getlk", fd, WRITE)
    w.close(fd)


@case()
def locks_of_descriptors(w):
    """F_OFD_SETLK: two openings exclude each other, in one process too."""
    w.make("f")
    a, b = (w.do("open", P("f"), os.O_RDWR) for _ in range(2))
    w.do("ofd_setlk", a, WRITE, 0, 10)
    w.do("ofd_setlk", b, READ, 5, 1)
    w.do("ofd_setlk", b, WRITE, 10, 10)
    w.do("ofd_setlk", a, READ, 0, 10)
    w.do("ofd_setlk", b, READ, 5, 1)
    w.do("ofd_setlk", b, WRITE, 5, 1)
    w.do("ofd_setlk", a, NONE)
    w.do("ofd_setlk", b, WRITE, 5, 1)
    w.close(a)
    w.close(b)
