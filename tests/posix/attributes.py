"""Modes, owners, times; what changes which time; statx, statfs."""
import os
import time

from calls import AT_SYMLINK_NOFOLLOW, UTIME_NOW, UTIME_OMIT
from harness import KINDS, P, case

OLD = 1_000_000_000


def moved(w, name, before):
    """Which times have changed since `before`, as (access, modification, status change)."""
    status = os.lstat(w.path(name))
    now = (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
    return now, [a != b for a, b in zip(now, before)]


def await_access_time(w, name, before, patience=10):
    """The access time comes with the close, which close(2) does not wait for."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if os.lstat(w.path(name)).st_atime_ns != before:
            return
        time.sleep(0.001)


@case()
def modes(w):
    for kind in KINDS:
        for owner in (w.user, w.other):
            name = w.make(f"{kind}-{owner}", kind, owner=owner)
            for mode in (0o000, 0o644, 0o777, 0o4755, 0o2755, 0o2644, 0o6755, 0o1777, 0o7777):
                w.do("chmod", name, mode)
    w.make("f")
    fd = w.do("open", P("f"), os.O_RDONLY)
    for mode in (0o600, 0o6777, 0o1000):
        w.do("fchmod", fd, mode)
    w.close(fd)
    w.make("others", owner=w.other)
    fd = w.do("open", P("others"), os.O_RDONLY)
    w.do("fchmod", fd, 0o600)
    w.close(fd)
    w.make("foreign-group")
    with w.as_("root"):
        w.do("chown", P("foreign-group"), -1, 4000)
    w.do("chmod", P("foreign-group"), 0o2755)
    w.do("chmod", P("foreign-group"), 0o2644)
    w.do("chmod", P("foreign-group"), 0o6777)
    w.make("gd", "dir")
    with w.as_("root"):
        w.do("chown", P("gd"), -1, 4000)
    w.do("chmod", P("gd"), 0o2755)


@case()
def owners(w):
    for kind in ("reg", "dir", "symlink", "fifo"):
        for owner in (w.user, w.other):
            for number, (uid, gid) in enumerate(((0, 0), (1001, -1), (1002, -1), (-1, 1001),
                                                 (-1, 1002), (-1, 3000), (-1, 4000), (-1, -1),
                                                 (1001, 3000), (2000, 2000))):
                name = w.make(f"{kind}-{owner}-{number}", kind, owner=owner)
                if kind == "symlink":
                    w.do("lchown", name, uid, gid)
                else:
                    w.do("chown", name, uid, gid)
    w.make("f")
    fd = w.do("open", P("f"), os.O_RDONLY)
    w.do("fchown", fd, -1, 3000)
    w.do("fchown", fd, 1001, -1)
    w.close(fd)


@case()
def set_ids_after_chown(w):
    for kind in ("reg", "dir", "fifo"):
        for mode in (0o4755, 0o2755, 0o2745, 0o6711, 0o6644, 0o7777):
            for number, (uid, gid) in enumerate(((-1, -1), (-1, 3000), (w_uid(w), -1), (5, 5))):
                name = w.make(f"{kind}{mode:o}{number}", kind, mode=mode)
                with w.as_("root"):
                    w.do("chmod", name, mode)
                w.do("chown", name, uid, gid)
    with w.as_("root"):
        w.make("roots", mode=0o6755, owner="root")
        w.do("chown", P("roots"), 0, 0)
        w.do("chown", P("roots"), 1001, 1001)


def w_uid(w):
    return {"root": 0, "alice": 1001, "bob": 1002}[w.user]


@case()
def set_ids_after_change(w):
    """Writing, truncating and allocating take set-id bits away from who is not privileged."""
    for mode in (0o4777, 0o2777, 0o2767, 0o6777, 0o6767, 0o1777):
        for call in ("write", "pwrite", "ftruncate", "fallocate", "truncate", "open", "grow",
                     "copy_file_range", "mmap_shared", "none", "append", "direct_write"):
            name = w.make(f"{call}{mode:o}", data=b"0123456789" * 1000)
            w.make("source", data=b"s" * 5000)
            with w.as_("root"):
                w.do("chmod", name, mode)
            if call == "truncate":
                w.do("truncate", name, 5)
                continue
            flags = os.O_RDWR
            flags |= {"append": os.O_APPEND, "open": os.O_TRUNC,
                      "direct_write": os.O_DIRECT}.get(call, 0)
            fd = w.do("open", name, flags)
            if call in ("write", "append"):
                w.do("write", fd, b"x")
            elif call == "pwrite":
                w.do("pwrite", fd, b"xyz" * 3000, 5)
            elif call == "direct_write":
                w.do("direct_write", fd, b"d" * 4096, 0)
            elif call in ("ftruncate", "grow"):
                w.do("ftruncate", fd, 5 if call == "ftruncate" else 50000)
            elif call == "fallocate":
                w.do("fallocate", fd, 0, 0, 100000)
            elif call == "copy_file_range":
                source = w.do("open", P("source"), os.O_RDONLY)
                w.do("copy_file_range", source, fd, 100, 0, 0)
                w.close(source)
            elif call == "mmap_shared":
                w.do("mmap_shared", fd, 100, 0, b"m")
            w.close(fd)
            w.do("stat", name)


NOW, OMIT = (0, UTIME_NOW), (0, UTIME_OMIT)


@case()
def set_times(w):
    for kind in ("reg", "dir", "symlink", "fifo"):
        for owner in (w.user, w.other):
            for mode in (0o644, 0o666, 0o600):
                name = w.make(f"{kind}-{owner}-{mode:o}", kind, owner=owner, mode=mode)
                flags = AT_SYMLINK_NOFOLLOW
                for atime, mtime in (((1, 2), (3, 4)), ((OLD, 999_999_999), (-5, 7)),
                                     (OMIT, (8, 9)), ((10, 11), OMIT), ((0, 0), (0, 0)),
                                     ((-1, 5), (2**33, 1))):
                    w.do("utimensat", name, atime, mtime, flags)
                    if owner == w.user or w.user == "root":
                        w.do("times", name)
                for atime, mtime in ((NOW, NOW), (NOW, OMIT), (OMIT, NOW), (OMIT, OMIT),
                                     (NOW, (1, 1)), ((1, 1), NOW)):
                    w.do("utimensat", name, atime, mtime, flags)
    w.make("f")
    for bad in ((0, 1_000_000_000), (0, -1), (0, (1 << 30) - 3)):
        w.do("utimensat", P("f"), bad, (1, 1))
        w.do("utimensat", P("f"), (1, 1), bad)
    fd = w.do("open", P("f"), os.O_RDONLY)
    w.do("utimensat", fd, (21, 22), (23, 24))
    w.do("times", P("f"))
    w.close(fd)
    fd = w.do("open", P("f"), os.O_WRONLY)
    w.do("write", fd, b"later")
    w.do("utimensat", fd, (31, 32), (33, 34))
    w.do("times", P("f"))
    w.close(fd)
    w.do("times", P("f"))


@case()
def access_times(w):
    """relatime: a read moves the access time when it is older than the others, or than a day."""
    for kind in ("old", "newer", "today"):
        w.make(kind, data=b"r" * 10000)
        before = {"old": ((OLD, 0), (OLD + 5, 0)), "newer": (NOW, (OLD, 0)),
                  "today": ((OLD, 0), (OLD - 5, 0))}[kind]
        w.do("utimensat", P(kind), *before)
        status = os.lstat(w.path(kind))
        last = (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
        fd = w.do("open", P(kind), os.O_RDONLY)
        last, what = moved(w, kind, last)
        w.note(f"{kind}: open moved", what)
        w.do("pread", fd, 100, 0)
        w.close(fd)
        # One that is not to move is watched for a while.
        await_access_time(w, kind, last[0], 2 if kind == "newer" else 10)
        last, what = moved(w, kind, last)
        w.note(f"{kind}: read moved", what)
        w.do("contents", P(kind))
        time.sleep(0.02)
        last, what = moved(w, kind, last)
        w.note(f"{kind}: second read moved", what)
    w.make("quiet", data=b"q" * 100)
    w.do("utimensat", P("quiet"), (OLD, 0), (OLD + 5, 0))
    fd = w.do("open", P("quiet"), os.O_RDONLY | os.O_NOATIME)
    w.do("pread", fd, 10, 0)
    w.close(fd)
    w.do("times", P("quiet"))


@case()
def access_times_of_others(w):
    w.make("d", "dir")
    w.make("d/e")
    w.make("s", "symlink")
    w.make("m", data=b"m" * 100)
    for name, call in (("d", "readdir"), ("s", "readlink"), ("m", "mmap")):
        w.do("utimensat", P(name), (OLD, 0), (OLD + 5, 0), AT_SYMLINK_NOFOLLOW)
        if call == "mmap":
            fd = w.do("open", P(name), os.O_RDONLY)
            w.do("mmap_read", fd, 100)
            w.close(fd)
            await_access_time(w, name, OLD * 1_000_000_000)
        else:
            w.do(call, P(name))
        status = os.lstat(w.path(name))
        w.note(f"{call} moved the access time", status.st_atime != OLD)
        w.note("and not the modification time", status.st_mtime == OLD + 5)


@case()
def what_moves_times(w):
    """Effects in the trace say which of mtime and ctime moved; here those of quieter calls."""
    w.make("f", data=b"0123456789")
    w.do("truncate", P("f"), 10)
    w.do("truncate", P("f"), 5)
    w.do("chown", P("f"), -1, -1)
    w.do("chmod", P("f"), 0o644)
    w.do("access", P("f"), os.R_OK)
    w.do("setxattr", P("f"), "user.a", b"1")
    w.do("removexattr", P("f"), "user.a")
    w.do("removexattr", P("f"), "user.a")
    fd = w.do("open", P("f"), os.O_RDWR)
    w.do("pwrite", fd, b"", 0)
    w.do("pwrite", fd, b"x", 0)
    w.do("pread", fd, 5, 0)
    w.do("fsync", fd)
    w.do("ftruncate", fd, 5)
    w.do("ftruncate", fd, 100)
    w.do("fallocate", fd, 0, 0, 50)
    w.do("fallocate", fd, 1, 0, 500)
    w.do("fallocate", fd, 3, 0, 10)
    w.do("fallocate", fd, 16, 0, 10)
    w.do("fallocate", fd, 0, 0, 5000)
    w.do("mmap_shared", fd, 100, 3, b"m")
    w.close(fd)
    w.close(w.do("open", P("f"), os.O_RDWR))
    w.close(w.do("open", P("f"), os.O_RDWR | os.O_CREAT))
    w.make("d", "dir")
    w.do("mkdir", P("d/e"), 0o755)
    w.do("rename", P("d/e"), P("d/g"))
    w.do("rename", P("f"), P("d/f"))
    w.do("link", P("d/f"), P("d/h"))
    w.do("unlink", P("d/h"))
    w.do("mkdir", P("d/g"), 0o755)
    w.do("rmdir", P("d"))
    w.do("unlink", P("none"))
    w.do("chmod", P("d"), 0o700)
    w.do("readdir", P("d"))
    w.do("stat", P("d/f"))


@case()
def time_order(w):
    """No change takes a time back or leaves it, however fast one follows another."""
    w.make("f")
    last = os.lstat(w.path("f")).st_ctime_ns
    for i in range(20):
        os.chmod(w.path("f", i % len(w.roots)), 0o600 + i % 2 * 0o44)
        now = os.lstat(w.path("f", (i + 1) % len(w.roots))).st_ctime_ns
        w.note("later", now > last)
        last = now


@case()
def statx_(w):
    for kind in KINDS:
        name = w.make(kind, kind)
        for flags in (0, AT_SYMLINK_NOFOLLOW, 0x2000, 0x4000, 0x6000, 1 << 20):
            w.do("statx", name, flags, 0x7ff)
        w.do("statx", name, AT_SYMLINK_NOFOLLOW, 0)
        w.do("statx", name, AT_SYMLINK_NOFOLLOW, 0x80000000)
    fd = w.do("open", P("reg"), os.O_RDONLY)
    w.do("statx", fd, 0x1000, 0x7ff)
    w.close(fd)


@case()
def space(w):
    for kind in ("reg", "dir", "fifo"):
        w.do("statfs", w.make(kind, kind))
    fd = w.do("open", P("reg"), os.O_RDONLY)
    w.do("fstatfs", fd)
    w.close(fd)


@case()
def blocks(w):
    """st_blocks: nothing for a hole, something for data."""
    w.make("f", data=b"")
    w.do("truncate", P("f"), 1 << 20)
    w.note("hole has no blocks", os.lstat(w.path("f")).st_blocks == 0)
    fd = w.do("open", P("f"), os.O_RDWR)
    w.do("pwrite", fd, b"d" * 65536, 0)
    w.do("fsync", fd)
    w.note("data has blocks", os.lstat(w.path("f")).st_blocks == 128)
    w.close(fd)
