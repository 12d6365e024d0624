"""Calls on a name in a directory that is open: *at(2)."""
import os
import stat

from harness import KINDS, At, Fd, P, case

FILE = stat.S_IFREG | 0o644
# The arguments after directory and name.
ONE_NAME = {
    "openat": (os.O_RDONLY | os.O_NONBLOCK,), "mkdirat": (0o755,), "mkfifoat": (0o644,),
    "mknodat": (FILE,), "unlinkat": (), "rmdirat": (), "readlinkat": (), "fchmodat": (0o640,),
    "fchownat": (-1, -1), "utimensat_at": ((1, 2), (3, 4)), "statx_at": (0x100, 0x7ff),
    "fstatat": (), "faccessat": (os.R_OK,)}
MAKES = ("mkdirat", "mkfifoat", "mknodat")


def each(w, fd, name_of):
    for call, arguments in ONE_NAME.items():
        w.close(w.do(call, fd, At(name_of(call)), *arguments)) if call == "openat" else w.do(
            call, fd, At(name_of(call)), *arguments)


def directory(w, name, **options):
    w.make(name, "dir", **options)
    return w.do("open", P(name), os.O_RDONLY)


def two(w):
    """Two open directories on one mount."""
    a, _ = directory(w, "a"), w.make("b", "dir")
    w.beside(a)
    return a, w.do("open", P("b"), os.O_RDONLY)


@case()
def every_type(w):
    fd = directory(w, "d")
    for kind in KINDS:
        for call, arguments in ONE_NAME.items():
            name = f"{kind}-{call}"
            w.make(f"d/{name}", kind)
            if call == "openat" and kind == "blk":
                continue
            got = w.do(call, fd, At(name), *arguments)
            w.close(got if call == "openat" else None)
    w.close(fd)


@case()
def renaming_and_linking(w):
    a, b = two(w)
    for kind in KINDS:
        w.make(f"a/{kind}", kind)
        w.do("linkat_at", a, At(kind), b, At(f"{kind}-linked"))
        w.do("renameat", a, At(kind), b, At(f"{kind}-moved"))
        w.do("renameat", a, At(kind), b, At(f"{kind}-moved"))
        w.do("linkat_at", a, At("none"), b, At(f"{kind}-none"))
    w.do("symlinkat", "reg-moved", b, At("s"))
    w.do("symlinkat", "reg-moved", b, At("s"))
    w.do("linkat_at", b, At("s"), a, At("followed"), 0x400)
    w.do("linkat_at", b, At("s"), a, At("not-followed"))
    w.do("linkat_at", b, At("s"), a, At("odd"), 0x8)
    w.do("renameat", b, At("dir-moved"), b, At("reg-moved"))
    w.do("renameat", b, At("reg-moved"), b, At("dir-moved"))
    w.make("b/dir-moved/full")
    w.make("b/other", "dir")
    w.do("renameat", b, At("other"), b, At("dir-moved"))
    w.do("renameat", b, At("dir-moved"), b, At("dir-moved/below"))
    for call in ("renameat", "linkat_at"):
        w.do(call, b, At("reg-moved"), a, At("n" * 256))
        w.do(call, b, At("n" * 256), a, At("new"))
    w.do("readdir", P("a"))
    w.do("readdir", P("b"))
    w.close(a)
    w.close(b)


@case()
def names(w):
    fd = directory(w, "d")
    each(w, fd, lambda call: "none" if call not in MAKES else "no/n")
    each(w, fd, lambda call: "n" * 256)
    w.make("d/f")
    each(w, fd, lambda call: "f/x")
    w.do("symlinkat", "loop", fd, At("loop"))
    each(w, fd, lambda call: "loop/x")
    w.do("symlinkat", "t", fd, At("loop/x"))
    w.do("symlinkat", "t", fd, At("f/x"))
    w.do("symlinkat", "t", fd, At("n" * 256))
    w.do("symlinkat", "t", fd, At("no/n"))
    for name in (".", ".."):
        for call in ("fstatat", "rmdirat", "unlinkat", "mkdirat", "faccessat"):
            w.do(call, fd, At(name), *ONE_NAME[call])
    w.close(fd)


@case()
def what_is_no_directory(w):
    w.make("f")
    fd = w.do("open", P("f"), os.O_RDONLY)
    each(w, fd, lambda call: "x")
    w.do("symlinkat", "t", fd, At("x"))
    w.do("renameat", fd, At("x"), fd, At("y"))
    w.do("linkat_at", fd, At("x"), fd, At("y"))
    w.close(fd)
    none = Fd(9999)
    each(w, none, lambda call: "x")
    w.do("symlinkat", "t", none, At("x"))
    w.do("renameat", none, At("x"), none, At("y"))
    w.do("linkat_at", none, At("x"), none, At("y"))


@case()
def removed_directory(w):
    fd = directory(w, "d")
    w.beside(fd)  # elsewhere it would be stale: a directory's descriptor is the node's
    w.do("rmdir", P("d"))
    w.beside(fd)
    for call in (*MAKES, "fstatat", "unlinkat"):
        w.beside(fd)
        w.do(call, fd, At("x"), *ONE_NAME[call])
    w.close(fd)


@case()
def rights(w):
    """Those of the directory now, not when it was opened."""
    fd = directory(w, "d", owner=w.other, mode=0o777)
    for call in ONE_NAME:
        w.make(f"d/{call}", "dir" if call == "rmdirat" else "reg", owner=w.other)
    w.make("d/s", "symlink", owner=w.other)
    for mode in (0o755, 0o744, 0o700):
        with w.as_("root"):
            w.do("chmod", P("d"), mode)
        each(w, fd, lambda call: call if call not in MAKES else f"{call}{mode:o}")
        w.do("symlinkat", "t", fd, At(f"s{mode:o}"))
        w.do("renameat", fd, At("openat"), fd, At(f"r{mode:o}"))
        w.do("linkat_at", fd, At("fstatat"), fd, At(f"l{mode:o}"))
        w.do("readlinkat", fd, At("s"))
    w.close(fd)
