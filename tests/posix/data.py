"""Bytes: read, write, truncate, holes, allocation, copying, mapping."""
import os
import resource
import signal

from harness import P, case

KEEP, PUNCH, COLLAPSE, ZERO, INSERT, UNSHARE = 1, 2, 8, 16, 32, 64
RWF = {"HIPRI": 1, "DSYNC": 2, "SYNC": 4, "NOWAIT": 8, "APPEND": 16, "NOAPPEND": 32,
       "ATOMIC": 64, "unknown": 1 << 20}
PATTERN = bytes(range(256)) * 64
RDWR = os.O_CREAT | os.O_RDWR


def look_into(w, fd, *places):
    for offset, length in places:
        w.do("pread", fd, length, offset)


@case()
def reading(w):
    w.make("f", data=PATTERN)
    fd = w.do("open", P("f"), os.O_RDONLY)
    w.do("read", fd, 10)
    w.do("lseek", fd, 100, os.SEEK_SET)
    w.do("lseek", fd, 5, os.SEEK_CUR)
    w.do("read", fd, 5000)
    w.do("lseek", fd, -1, os.SEEK_SET)
    w.do("lseek", fd, -5, os.SEEK_END)
    w.do("read", fd, 100)
    w.do("read", fd, 100)
    w.do("lseek", fd, 0, 9)
    w.do("lseek", fd, 1 << 40, os.SEEK_SET)
    w.do("read", fd, 1)
    w.do("pread", fd, 10, -1)
    w.do("pread", fd, 0, 0)
    for flags in (0, *RWF.values()):
        w.do("preadv2", fd, 50, 7, flags) if flags != RWF["NOWAIT"] else None
    w.close(fd)


@case()
def writing(w):
    fd = w.do("open", P("f"), RDWR)
    w.do("write", fd, b"abc")
    w.do("pwrite", fd, b"X" * 100000, 65530)
    look_into(w, fd, (0, 10), (65525, 12), (165528, 10), (165530, 10))
    w.do("pwrite", fd, b"y", -1)
    w.do("pwrite", fd, b"", 1 << 50)
    w.do("pwrite", fd, b"far", (1 << 63) - 2)
    for offset in (1, 4095, 4096, 4097, 65535, 1 << 20, (1 << 20) - 3, 3 << 20):
        w.do("pwrite", fd, b"<%d>" % offset, offset)
        look_into(w, fd, (offset - 1, 20))
    w.close(fd)
    w.do("stat", P("f"))
    w.do("contents", P("f"))


@case()
def vectors(w):
    w.make("f", data=b"0123456789" * 1000)
    fd = w.do("open", P("f"), os.O_RDWR)
    w.do("readv", fd, 10, 1, 5000)
    w.do("readv", fd, 10000)
    w.do("readv", fd, 10)
    w.do("preadv", fd, 9995, 3, 10)
    w.do("preadv", fd, -1, 3)
    w.do("pwritev", fd, 9990, [b"a" * 5, b"", b"b" * 5000])
    w.do("pwritev", fd, -1, [b"x"])
    w.do("lseek", fd, 20000, os.SEEK_SET)
    w.do("writev", fd, [b"c" * 4096, b"d", b"e" * 70000])
    w.do("contents", P("f"))
    w.do("preadv2", fd, 10, -1, 0)
    w.close(fd)


@case()
def sending(w):
    """sendfile(2), from and to files."""
    w.make("from", data=b"0123456789" * 2000)
    w.make("to", data=b"")
    source = w.do("open", P("from"), os.O_RDONLY)
    target = w.do("open", P("to"), os.O_WRONLY)
    for offset, count in ((0, 100), (15000, 100000), (30000, 5), (0, 0), (-1, 5)):
        w.do("sendfile", target, source, offset, count)
    w.do("sendfile", source, target, 0, 5)
    w.close(target)
    w.do("contents", P("to"))
    w.make("d", "dir")
    d = w.do("open", P("d"), os.O_RDONLY)
    w.do("sendfile", source, d, 0, 5)
    w.close(d)
    w.close(source)


@case()
def syncing_mappings(w):
    w.make("f", data=b"x" * 10000)
    fd = w.do("open", P("f"), os.O_RDWR)
    for flags in (4, 1, 2, 0, 5, 8):  # MS_SYNC, MS_ASYNC, MS_INVALIDATE, none, both, unknown
        w.do("msync", fd, 10000, flags)
    w.do("contents", P("f"))
    w.close(fd)


@case()
def two_descriptors(w):
    a = w.do("open", P("f"), RDWR)
    b = w.do("open", P("f"), os.O_RDWR)
    for i in range(10):
        w.do("pwrite", a, b"%d" % i * 3000, i * 2500)
        w.do("fstat", b)
        w.do("pread", b, 3000, i * 2500)
        w.do("pwrite", b, b"over", i * 2500 + 1)
        w.do("fstat", a)
        w.do("pread", a, 3000, i * 2500)
    w.do("ftruncate", b, 4000)
    w.do("fstat", a)
    w.do("pread", a, 10000, 0)
    w.do("ftruncate", a, 9000)
    w.do("fstat", b)
    w.do("pread", b, 10000, 0)
    w.close(a)
    w.close(b)
    w.do("contents", P("f"))


@case()
def truncation(w):
    w.make("f", data=b"0123456789")
    for length in (4, 8, 0, 5, 3 << 20, (3 << 20) - 1, 4096, 4097, 1, 10):
        w.do("truncate", P("f"), length)
        w.do("contents", P("f"))
    w.do("truncate", P("f"), -1)
    w.do("truncate", P("f"), 1 << 40)
    w.do("stat", P("f"))
    w.do("truncate", P("f"), 0)
    fd = w.do("open", P("f"), os.O_RDWR)
    w.do("ftruncate", fd, -1)
    w.do("pwrite", fd, PATTERN, 0)
    w.do("ftruncate", fd, 5000)
    w.do("ftruncate", fd, 10000)
    look_into(w, fd, (4990, 20), (9990, 20))
    w.close(fd)
    for mode, owner in ((0o444, w.user), (0o644, w.other), (0o666, w.other)):
        name = w.make(f"{mode:o}{owner}", mode=mode, owner=owner)
        w.do("truncate", name, 2)
    fd = w.do("open", P("made"), RDWR, 0o400)  # what is open for writing stays so
    w.do("ftruncate", fd, 100)
    w.do("write", fd, b"w")
    w.close(fd)


@case()
def size_limit(w):
    """RLIMIT_FSIZE: EFBIG, and a signal that is ignored here."""
    w.make("f", data=b"0" * 100)
    fd = w.do("open", P("f"), os.O_RDWR)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        w.do("pwrite", fd, b"x" * 200, 4900)
        w.do("pwrite", fd, b"x", 5000)
        w.do("ftruncate", fd, 6000)
        w.do("truncate", P("f"), 6000)
        w.do("fallocate", fd, 0, 0, 6000, quiet=True)
        w.do("ftruncate", fd, 10, quiet=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    w.close(fd)


@case()
def holes(w):
    fd = w.do("open", P("f"), RDWR)
    w.do("lseek", fd, 0, os.SEEK_DATA)
    w.do("lseek", fd, 0, os.SEEK_HOLE)
    w.do("ftruncate", fd, 4 << 20)
    w.do("lseek", fd, 0, os.SEEK_DATA)
    w.do("lseek", fd, 5, os.SEEK_HOLE)
    w.do("pwrite", fd, b"d" * 65536, 1 << 20)
    w.do("pwrite", fd, b"d" * 65536, 3 << 20)
    for offset in (0, 1 << 20, (1 << 20) + 5, (1 << 20) + 65536, 2 << 20, 3 << 20, (4 << 20) - 1,
                   4 << 20, 5 << 20):
        w.do("lseek", fd, offset, os.SEEK_DATA)
        w.do("lseek", fd, offset, os.SEEK_HOLE)
    w.do("lseek", fd, -1, os.SEEK_DATA)
    w.do("fallocate", fd, PUNCH | KEEP, 1 << 20, 65536)
    w.do("lseek", fd, 0, os.SEEK_DATA)
    w.do("lseek", fd, 3 << 20, os.SEEK_HOLE)
    w.close(fd)
    w.make("full", data=b"x" * 10000)
    fd = w.do("open", P("full"), os.O_RDONLY)
    w.do("lseek", fd, 0, os.SEEK_DATA)
    w.do("lseek", fd, 0, os.SEEK_HOLE)
    w.do("lseek", fd, 9999, os.SEEK_HOLE)
    w.close(fd)


@case()
def allocation(w):
    for mode in (COLLAPSE, INSERT):
        fd = w.do("open", w.make(f"f{mode}", data=PATTERN), os.O_RDWR)
        w.do("fallocate", fd, mode, 4096, 4096, quiet=True)
        w.close(fd)
    for mode in (0, KEEP, PUNCH | KEEP, ZERO, ZERO | KEEP, PUNCH, UNSHARE, COLLAPSE | KEEP,
                 PUNCH | ZERO | KEEP, 128, 1 << 20):
        name = w.make(f"f{mode}", data=PATTERN)
        fd = w.do("open", name, os.O_RDWR)
        for offset, length in ((100, 50), (4096, 4096), (5000, 3000), (16000, 5000),
                               (100000, 5000), (0, 0), (-1, 5), (0, -1)):
            w.do("fallocate", fd, mode, offset, length)
            w.do("fstat", fd)
        look_into(w, fd, (0, 16384), (16000, 10000))
        w.close(fd)
        w.do("contents", name)
    w.make("d", "dir")
    w.make("fifo", "fifo", mode=0o666)
    fd = w.do("open", P("fifo"), os.O_RDWR | os.O_NONBLOCK)
    w.do("fallocate", fd, 0, 0, 10)
    w.do("ftruncate", fd, 0)
    w.do("lseek", fd, 0, os.SEEK_SET)
    w.do("fsync", fd)
    w.close(fd)


@case()
def copying(w):
    w.make("a", data=PATTERN)
    w.make("b", data=b"b" * 1000)
    w.make("d", "dir")
    a = w.do("open", P("a"), os.O_RDWR)
    w.turn = 0
    b = w.do("open", P("b"), os.O_RDWR)
    w.do("copy_file_range", a, b, 500, 10, 100)
    w.do("copy_file_range", a, b, 100000, 16000, 5000)
    w.do("copy_file_range", a, b, 10, 1 << 30, 0)
    w.do("copy_file_range", a, b, 0, 0, 0)
    w.do("contents", P("b"))
    w.do("copy_file_range", a, a, 1000, 0, 8000)
    w.do("copy_file_range", a, a, 1000, 0, 500)
    w.do("copy_file_range", a, b, 10, 0, 0, 1)
    w.do("contents", P("a"))
    w.turn = 0
    read_only = w.do("open", P("b"), os.O_RDONLY)
    w.do("copy_file_range", a, read_only, 10, 0, 0)
    w.turn = 0
    write_only = w.do("open", P("b"), os.O_WRONLY)
    w.do("copy_file_range", write_only, a, 10, 0, 0)
    w.turn = 0
    appending = w.do("open", P("b"), os.O_WRONLY | os.O_APPEND)
    w.do("copy_file_range", a, appending, 10, 0, 0)
    w.turn = 0
    directory = w.do("open", P("d"), os.O_RDONLY)
    w.do("copy_file_range", directory, a, 10, 0, 0)
    for fd in (a, b, read_only, write_only, appending, directory):
        w.close(fd)


@case()
def write_flags(w):
    for name, flags in RWF.items():
        if name == "NOWAIT":
            continue
        w.make(name, data=b"0123456789")
        fd = w.do("open", P(name), os.O_RDWR)
        w.do("pwritev2", fd, b"abc", 2, flags)
        w.do("pwritev2", fd, b"def", -1, flags)
        w.do("contents", P(name))
        w.close(fd)
        fd = w.do("open", P(name), os.O_WRONLY | os.O_APPEND)
        w.do("pwritev2", fd, b"ghi", 2, flags)
        w.do("contents", P(name))
        w.close(fd)


@case()
def advice(w):
    w.make("f", data=PATTERN)
    w.make("fifo", "fifo", mode=0o666)
    fd = w.do("open", P("f"), os.O_RDONLY)
    for what in range(7):
        w.do("fadvise", fd, 0, 0, what)
    w.do("fadvise", fd, 0, -1, 0)
    w.do("pread", fd, 5000, 0)
    w.close(fd)
    fd = w.do("open", P("fifo"), os.O_RDONLY | os.O_NONBLOCK)
    w.do("fadvise", fd, 0, 0, 0)
    w.close(fd)


@case()
def durability(w):
    w.make("d", "dir")
    fd = w.do("open", P("d/f"), RDWR)
    w.do("write", fd, b"durable")
    for call in ("fsync", "fdatasync", "syncfs"):
        w.do(call, fd)
    w.close(fd)
    fd = w.do("open", P("d"), os.O_RDONLY)
    for call in ("fsync", "fdatasync", "syncfs"):
        w.do(call, fd)
    w.close(fd)
    if w.user == "root":
        w.do("sync")


@case()
def mapping(w):
    w.make("f", data=b"m" * 10000)
    fd = w.do("open", P("f"), os.O_RDWR)
    w.do("mmap_private", fd, 10000, 5000, b"PRIVATE")
    w.do("pread", fd, 20, 4995)
    w.do("mmap_shared", fd, 10000, 5000, b"SHARED")
    w.do("pread", fd, 20, 4995)
    w.do("contents", P("f"))
    w.do("pwrite", fd, b"written", 6000)
    w.do("mmap_read", fd, 10000)
    w.do("mmap_shared", fd, 10000, 0, b"again")
    w.do("contents", P("f"))
    w.do("mmap_read", fd, 0)
    w.close(fd)
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
        fd = w.do("open", P("f"), flags)
        for prot in (0, 1, 2, 3, 4, 5, 7):
            for share in (1, 2, 3):
                w.do("mmap", fd, 4096, prot, share)
        w.close(fd)
    w.make("d", "dir")
    fd = w.do("open", P("d"), os.O_RDONLY)
    w.do("mmap", fd, 4096, 1, 1)
    w.close(fd)
    fd = w.do("open", P("f"), os.O_RDWR | os.O_DIRECT)
    w.do("mmap_shared", fd, 10000, 7, b"direct")
    w.close(fd)
    w.do("contents", P("f"))
    fd = w.do("open", P("f"), os.O_RDWR | os.O_APPEND)
    w.do("mmap_shared", fd, 10000, 9, b"append")
    w.close(fd)
    w.do("contents", P("f"))


@case()
def mapped_and_read(w):
    """A shared mapping and read and write on one node see each other at once."""
    import mmap
    w.make("f", data=b"0" * 20000)
    fd = os.open(w.path("f", 0), os.O_RDWR)
    with mmap.mmap(fd, 20000) as m:
        for i in range(10):
            m[i * 1500:i * 1500 + 5] = b"store"
            w.note("read sees the store", os.pread(fd, 5, i * 1500))
            os.pwrite(fd, b"WRITE", i * 1500 + 100)
            w.note("the mapping sees the write", m[i * 1500 + 100:i * 1500 + 105])
        m.flush()
        w.note("elsewhere after msync", open(w.path("f", 1 % len(w.roots)), "rb").read())
    os.close(fd)
    w.do("stat", P("f"))
