"""open(2) with every flag, on every type; what the descriptors may then do."""
import os
import subprocess

from calls import O_TMPFILE
from harness import KINDS, Fd, P, case

FLAGS = {"O_APPEND": os.O_APPEND, "O_TRUNC": os.O_TRUNC, "O_DIRECTORY": os.O_DIRECTORY,
         "O_NOFOLLOW": os.O_NOFOLLOW, "O_SYNC": os.O_SYNC, "O_DSYNC": os.O_DSYNC,
         "O_DIRECT": os.O_DIRECT, "O_NOATIME": os.O_NOATIME, "O_PATH": os.O_PATH,
         "O_CREAT": os.O_CREAT, "O_EXCL": os.O_CREAT | os.O_EXCL,
         "O_CREAT|O_DIRECTORY": os.O_CREAT | os.O_DIRECTORY,
         "O_CREAT|O_TRUNC": os.O_CREAT | os.O_TRUNC,
         "O_PATH|O_NOFOLLOW": os.O_PATH | os.O_NOFOLLOW}
MODES = (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, 3)


@case()
def flags_on_types(w):
    for kind in (*KINDS, None):
        if kind == "blk":
            continue
        for flag, bits in FLAGS.items():
            for mode in MODES:
                name = P(f"{kind}-{flag.replace('|', '+')}-{mode}")
                if kind:
                    w.make(name, kind)
                w.close(w.do("open", name, bits | mode | os.O_NONBLOCK, 0o644))


@case()
def others_files(w):
    for mode in (0o000, 0o400, 0o200, 0o444, 0o604, 0o640, 0o646, 0o060, 0o006):
        for owner in (w.user, w.other):
            for kind in ("reg", "dir", "fifo"):
                name = w.make(f"{kind}{mode:o}{owner}", kind, mode=mode, owner=owner)
                for flags in MODES[:3]:
                    w.close(w.do("open", name, flags | os.O_NONBLOCK))
            name = P(f"reg{mode:o}{owner}")
            w.close(w.do("open", name, os.O_RDONLY | os.O_TRUNC))
            w.close(w.do("open", name, os.O_RDONLY | os.O_NOATIME))
            w.close(w.do("open", name, os.O_PATH))
            for access in (os.R_OK, os.W_OK, os.X_OK, os.R_OK | os.W_OK):
                w.do("access", name, access)
                w.do("access", P(f"dir{mode:o}{owner}"), access)


@case()
def creation(w):
    for mask in (0, 0o027):
        w.do("umask", mask)
        for mode in (0o000, 0o444, 0o666, 0o777, 0o6755, 0o7777):
            fd = w.do("open", P(f"n{mask:o}-{mode:o}"), os.O_CREAT | os.O_RDWR | os.O_EXCL, mode)
            w.do("write", fd, b"x")
            w.do("fstat", fd)
            w.close(fd)
    w.make("d", "dir")
    w.do("symlink", "d/through", P("s"))
    w.do("open", P("s"), os.O_CREAT | os.O_EXCL | os.O_RDWR)
    w.close(w.do("open", P("s"), os.O_CREAT | os.O_RDWR))
    w.do("lstat", P("d/through"))
    w.do("open", P("s"), os.O_CREAT | os.O_NOFOLLOW | os.O_RDWR)
    w.do("symlink", "/nowhere/at/all", P("away"))
    w.do("open", P("away"), os.O_CREAT | os.O_RDWR)
    w.do("open", P("d/"), os.O_CREAT | os.O_RDWR)
    w.do("open", P("new/"), os.O_CREAT | os.O_RDWR)


@case()
def wrong_direction(w):
    w.make("f", data=b"0123456789")
    fd = w.do("open", P("f"), os.O_RDONLY)
    for call in (("write", b"x"), ("pwrite", b"x", 0), ("ftruncate", 1), ("fallocate", 0, 0, 10),
                 ("pwritev2", b"x", 0, 0)):
        w.do(call[0], fd, *call[1:])
    w.close(fd)
    fd = w.do("open", P("f"), os.O_WRONLY)
    for call in (("read", 1), ("pread", 1, 0), ("preadv2", 1, 0, 0), ("mmap_read", 10)):
        w.do(call[0], fd, *call[1:])
    w.close(fd)
    w.make("d", "dir")
    fd = w.do("open", P("d"), os.O_RDONLY)
    for call in (("read", 1), ("pread", 1, 0), ("write", b"x"), ("ftruncate", 0), ("fdatasync",),
                 ("fallocate", 0, 0, 1), ("mmap_read", 10)):
        w.do(call[0], fd, *call[1:])
    w.close(fd)


@case()
def path_descriptors(w):
    for kind in ("reg", "dir", "fifo", "sock"):
        w.make(kind, kind)
        fd = w.do("open", P(kind), os.O_PATH)
        for call in (("read", 1), ("write", b"x"), ("fstat",), ("fchmod", 0o600), ("ftruncate", 0),
                     ("fchown", -1, -1), ("fsync",), ("fgetxattr", "user.a"), ("fstatfs",),
                     ("lseek", 0, os.SEEK_SET), ("fallocate", 0, 0, 1)):
            w.do(call[0], fd, *call[1:])
        w.close(fd)
    w.make("s", "symlink")
    fd = w.do("open", P("s"), os.O_PATH | os.O_NOFOLLOW)
    w.do("fstat", fd)
    w.close(fd)
    fd = w.do("open", P("dir"), os.O_PATH)
    w.close(w.do("openat", fd, "new", os.O_CREAT | os.O_RDWR))
    w.do("lstat", P("dir/new"))
    w.close(fd)


# Calls on a descriptor, with the arguments after it.
ONE_DESCRIPTOR = {
    "read": (1,), "write": (b"x",), "pread": (1, 0), "pwrite": (b"x", 0), "readv": (1, 1),
    "writev": ([b"x", b"y"],), "preadv": (0, 1, 1), "pwritev": (0, [b"x"]), "preadv2": (1, 0, 0),
    "pwritev2": (b"x", 0, 0), "lseek": (0, os.SEEK_SET), "fstat": (), "fstatfs": (),
    "fchmod": (0o600,), "fchown": (-1, -1), "ftruncate": (1,), "fallocate": (0, 0, 1),
    "fadvise": (0, 0, 0), "fsync": (), "fdatasync": (), "syncfs": (), "mmap_read": (1,),
    "msync": (4096, 4), "utimensat": ((1, 2), (3, 4)), "fsetxattr": ("user.a", b"v"),
    "fgetxattr": ("user.a",), "flistxattr": (), "fremovexattr": ("user.a",)}


@case()
def every_call_on_descriptors(w):
    """Of each type, by each access mode, and on none."""
    for kind in ("reg", "dir", "fifo", "chr"):
        w.make(kind, kind, owner=w.user)
        for flags in (os.O_RDONLY, os.O_RDWR, os.O_PATH):
            with w.as_("root" if kind == "chr" else w.me):
                fd = w.do("open", P(kind), flags | os.O_NONBLOCK)
            for call, arguments in ONE_DESCRIPTOR.items():
                if fd is not None:
                    w.do(call, fd, *arguments)
            w.close(fd)
    for call, arguments in ONE_DESCRIPTOR.items():
        w.do(call, Fd(9999), *arguments)
    w.make("f")
    fd = w.do("open", P("f"), os.O_RDWR)
    w.do("sendfile", Fd(9999), fd, 0, 1)
    w.do("sendfile", fd, Fd(9999), 0, 1)
    w.do("copy_file_range", fd, Fd(9999), 1, 0, 0)
    w.close(fd)


@case()
def temporary_files(w):
    w.make("d", "dir")
    w.make("f")
    w.make("g", "dir", mode=0o2775)
    for name in ("d", "f", "none", "g"):
        fd = w.do("open", P(name), O_TMPFILE | os.O_RDWR, 0o640)
        if fd is not None:
            w.do("fstat", fd)
            w.do("readdir", P(name))
        w.close(fd)
    w.do("open", P("d"), O_TMPFILE | os.O_RDONLY, 0o640)
    # Given a name while it is open, by a second name too; then like any other.
    fd = w.do("open", P("d"), O_TMPFILE | os.O_RDWR, 0o600)
    w.do("write", fd, b"nameless")
    w.do("link_fd", fd, P("d/named"))
    w.do("fstat", fd)
    w.do("link", P("d/named"), P("d/second"))
    w.do("pwrite", fd, b"more", 8)
    w.close(fd)
    w.do("contents", P("d/second"))
    w.do("unlink", P("d/named"))
    w.do("unlink", P("d/second"))
    # Never to have a name; and one that has lost it again.
    fd = w.do("open", P("d"), O_TMPFILE | os.O_WRONLY | os.O_EXCL, 0o600)
    w.do("link_fd", fd, P("d/excl"))
    w.close(fd)
    fd = w.do("open", P("d"), O_TMPFILE | os.O_RDWR, 0o600)
    w.do("link_fd", fd, P("d/lost"))
    w.do("unlink", P("d/lost"))
    w.do("link_fd", fd, P("d/again"))
    w.do("fstat", fd)
    w.close(fd)
    w.do("readdir", P("d"))


@case()
def append(w):
    w.make("log", data=b"one\n")
    a = w.do("open", P("log"), os.O_WRONLY | os.O_APPEND)
    b = w.do("open", P("log"), os.O_RDWR | os.O_APPEND)
    # Who reads the end has its page, of the size before.
    reader = w.do("open", P("log"), os.O_RDONLY)
    size = 4
    w.do("pread", reader, 10, 0)
    for fd, text in ((a, b"two\n"), (b, b"three\n"), (a, b"four\n"), (b, b"x" * 5000)):
        w.do("write", fd, text)
        w.do("pread", reader, len(text) + 10, size - 2)
        size += len(text)
        w.do("mmap_read", reader, size)
    w.close(reader)
    w.do("contents", P("log"))
    w.do("lseek", b, 0, os.SEEK_SET)
    w.do("read", b, 4)
    w.do("write", b, b"end")
    w.do("lseek", b, 0, os.SEEK_CUR)
    w.do("pwrite", b, b"also at the end", 0)  # Linux appends, whatever POSIX says
    w.do("ftruncate", b, 2)
    w.do("write", a, b"three")
    w.do("contents", P("log"))
    w.close(a)
    w.close(b)


@case()
def truncation_at_open(w):
    w.make("f", data=b"0123456789")
    reader = w.do("open", P("f"), os.O_RDONLY)
    w.close(w.do("open", P("f"), os.O_WRONLY | os.O_TRUNC))
    w.do("pread", reader, 10, 0)
    w.do("fstat", reader)
    w.close(reader)
    w.make("empty", data=b"")
    w.close(w.do("open", P("empty"), os.O_RDWR | os.O_TRUNC))
    w.close(w.do("open", P("empty"), os.O_RDWR | os.O_CREAT | os.O_TRUNC))
    with w.as_("root"):
        w.do("chmod", P("f"), 0o6755)
    w.close(w.do("open", P("f"), os.O_WRONLY | os.O_TRUNC))
    w.do("stat", P("f"))


@case()
def direct(w):
    fd = w.do("open", P("f"), os.O_CREAT | os.O_RDWR | os.O_DIRECT)
    w.do("direct_write", fd, b"d" * 8192, 0)
    w.do("direct_read", fd, 4096, 4096)
    w.do("direct_read", fd, 8192, 8192)
    w.do("direct_write", fd, b"e" * 4096, 4096)
    w.do("contents", P("f"))
    w.do("direct_write", fd, b"e" * 4095, 4096)
    w.do("direct_write", fd, b"e" * 4096, 1)
    w.do("direct_write", fd, b"e" * 4096, 0, 1)
    w.close(fd)


@case()
def synchronous(w):
    for flag in (os.O_SYNC, os.O_DSYNC):
        fd = w.do("open", P(f"s{flag}"), os.O_CREAT | os.O_RDWR | flag)
        w.do("write", fd, b"on disk")
        w.do("pwrite", fd, b"o" * 70000, 3)
        w.do("fsync", fd)
        w.do("fdatasync", fd)
        w.close(fd)
        w.do("contents", P(f"s{flag}"))


@case()
def special_files(w):
    w.make("fifo", "fifo", mode=0o666)
    w.do("open", P("fifo"), os.O_WRONLY | os.O_NONBLOCK)
    reader = w.do("open", P("fifo"), os.O_RDONLY | os.O_NONBLOCK)
    w.turn = w.fds[reader][1]  # a pipe does not reach from one mount to another
    writer = w.do("open", P("fifo"), os.O_WRONLY | os.O_NONBLOCK)
    w.do("write", writer, b"through")
    w.do("read", reader, 10, quiet=True)
    w.close(writer)
    w.close(reader)
    w.make("sock", "sock")
    w.do("open", P("sock"), os.O_RDONLY)
    w.make("null", "chr", mode=0o666)
    fd = w.do("open", P("null"), os.O_RDWR)
    w.do("write", fd, b"gone")
    w.do("read", fd, 10)
    w.close(fd)
    with w.as_("root"):
        w.do("mknod", P("none"), 0o20666, os.makedev(250, 250))
        w.do("chmod", P("none"), 0o666)
    w.do("open", P("none"), os.O_RDWR)


@case()
def execution(w):
    w.make("script", data=b"#!/bin/sh\nexit 7\n", mode=0o755)
    w.do("execve", P("script"))
    for mode in (0o644, 0o111, 0o100, 0o010, 0o001, 0o000):
        w.make(f"x{mode:o}", data=b"#!/bin/sh\nexit 8\n", mode=mode, owner=w.other)
        w.do("execve", P(f"x{mode:o}"))
        w.do("access", P(f"x{mode:o}"), os.X_OK)
    w.make("d", "dir")
    w.do("execve", P("d"))
    w.make("odd", data=b"\x7fELFnot", mode=0o755)
    w.do("execve", P("odd"))
    w.make("lost", data=b"#!/no/such/interpreter\n", mode=0o755)
    w.do("execve", P("lost"))


@case()
def running_programs(w):
    with open("/bin/sleep", "rb") as file:
        program = file.read()
    w.make("p", data=program, mode=0o777)
    running = subprocess.Popen([w.path("p"), "60"])  # pylint: disable=consider-using-with
    try:
        for turn in range(2):
            w.turn = turn % len(w.roots)
            w.close(w.do("open", P("p"), os.O_WRONLY))
            w.turn = turn % len(w.roots)
            w.do("truncate", P("p"), len(program))
            w.close(w.do("open", P("p"), os.O_RDONLY))
        w.make("new", data=b"replaced")
        w.do("rename", P("new"), P("p"))
        w.do("contents", P("p"))
        w.note("still running", running.poll() is None)
    finally:
        running.kill()
        running.wait()
    w.make("w", data=program, mode=0o777)
    for turn in range(2):
        w.turn = 0
        fd = w.do("open", P("w"), os.O_WRONLY)
        w.turn = turn % len(w.roots)
        w.do("execve", P("w"))
        w.close(fd)
    w.do("execve", P("w"))
