"""Names: making, linking, renaming, removing; path resolution; what lives on without a name."""
import os
import stat

from calls import AT_SYMLINK_FOLLOW
from harness import KINDS, P, case

NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
FILE = stat.S_IFREG | 0o644
# Calls with one path, with the arguments after it.
ONE_PATH = {
    "open": (os.O_RDONLY,), "mkdir": (0o755,), "rmdir": (), "unlink": (), "mkfifo": (0o644,),
    "mknod": (FILE,), "readlink": (), "truncate": (3,), "chmod": (0o640,), "chown": (-1, -1),
    "lchown": (-1, -1), "utimensat": ((1, 2), (3, 4)), "access": (os.R_OK,), "stat": (),
    "lstat": (), "statx": (0, 0x7ff), "statfs": (), "chdir": (), "getxattr": ("user.a",),
    "setxattr": ("user.a", b"v"), "removexattr": ("user.a",), "listxattr": (), "readdir": (),
    "execve": ()}
TWO_PATHS = ("rename", "link", "symlink")


def one_each(w, path_of):
    """Every call on a path that path_of(call) makes."""
    for call, arguments in ONE_PATH.items():
        w.do(call, path_of(call), *arguments)


@case()
def every_call_on_every_type(w):
    for kind in KINDS:
        for call, arguments in ONE_PATH.items():
            if call == "open":
                arguments = (os.O_RDONLY | os.O_NONBLOCK,)
            name = w.make(f"{kind}-{call}", kind)
            if call == "execve" and kind in ("chr", "blk", "fifo"):
                continue
            if call in ("open", "getxattr") and kind == "blk":
                continue
            w.close(w.do(call, name, *arguments)) if call == "open" else w.do(call, name,
                                                                             *arguments)


@case()
def missing_name(w):
    one_each(w, lambda call: P("none") if call not in ("mkdir", "mkfifo", "mknod") else P("no/n"))
    w.make("f")
    for call in ("rename", "link"):
        w.do(call, P("none"), P("new"))
        w.do(call, P("f"), P("no/new"))
    w.do("symlink", "t", P("no/new"))
    w.do("symlink", "", P("empty"))
    w.do("open", P(""), os.O_RDONLY, quiet=True)


@case()
def below_a_file(w):
    w.make("f")
    one_each(w, lambda call: P("f/x"))
    w.make("g")
    w.do("rename", P("g"), P("f/x"))
    w.do("rename", P("f/x"), P("g"))
    w.do("link", P("g"), P("f/x"))
    w.do("symlink", "t", P("f/x"))
    for call in ("open", "stat", "unlink", "rmdir", "mkdir"):
        w.do(call, P("f/"), *ONE_PATH[call])


@case()
def loops_of_links(w):
    w.make("d", "dir")
    w.do("symlink", "loop", P("loop"))
    w.do("symlink", "two", P("one"))
    w.do("symlink", "one", P("two"))
    one_each(w, lambda call: P("loop/x"))
    for call in ("open", "stat", "chmod", "truncate", "chdir", "access", "execve", "listxattr",
                 "chown", "getxattr", "setxattr", "removexattr", "statfs", "statx", "utimensat"):
        w.do(call, P("one"), *ONE_PATH[call])
    w.make("f")
    for call in TWO_PATHS:
        w.do(call, P("f") if call != "symlink" else "t", P("loop/new"))
    w.do("rename", P("loop/x"), P("y"))
    w.do("link", P("loop/x"), P("y"))
    for i in range(41):
        w.do("symlink", f"chain{i - 1}" if i else "f", P(f"chain{i}"), quiet=True)
    w.do("stat", P("chain39"))
    w.do("stat", P("chain40"))


@case()
def long_names(w):
    for length in (254, 255, 256, 1000):
        for call in ("mkdir", "mkfifo", "mknod"):
            w.do(call, P(call[-1] * length), *ONE_PATH[call])
        w.do("symlink", "t", P("s" * length))
        w.close(w.do("open", P("o" * length), os.O_CREAT | os.O_RDWR))
    one_each(w, lambda call: P("x" * 256))
    w.make("f")
    for call in TWO_PATHS:
        w.do(call, P("f") if call != "symlink" else "t", P("n" * 256))
    w.do("rename", P("n" * 256), P("new"))
    w.do("link", P("n" * 256), P("new"))
    w.do("rename", P("f"), P("r" * 255))
    w.do("stat", P("r" * 255))
    w.do("readdir", P("."))


@case()
def long_paths(w):
    w.make("d", "dir")
    w.make("d/f")
    for total in (4095, 4096, 5000):
        for call in ONE_PATH:
            start = w.path("d/")
            name = "f" if call not in ("mkdir", "mkfifo", "mknod") else f"{call}{total}"
            pad = total - len(start) - len(name)
            w.do(call, start + "./" * (pad // 2) + "/" * (pad % 2) + name, *ONE_PATH[call])
            w.make("d/f")  # unlink has taken it
        for call in TWO_PATHS:
            w.make(f"s{call}{total}")
            start = w.path("d/")
            pad = total - len(start) - 10
            target = start + "./" * (pad // 2) + "/" * (pad % 2) + f"{call[:4]}{total:06}"
            w.do(call, P(f"s{call}{total}") if call != "symlink" else "t", target)


@case()
def symlink_lengths(w):
    for length in (1, 59, 60, 255, 1023, 4094, 4095, 4096):
        w.do("symlink", "a" * length, P(f"s{length}"))
        w.do("readlink", P(f"s{length}"))
    w.do("symlink", "t", P("s1"))
    w.make("d", "dir")
    w.do("symlink", "d", P("to-d"))
    w.do("mkdir", P("to-d/sub"), 0o755)
    w.do("rmdir", P("to-d"))
    w.do("unlink", P("to-d/"))
    w.do("stat", P("to-d/sub/.."))


@case()
def no_search_right(w):
    w.make("closed", "dir", owner="root")
    w.make("closed/f", owner="root", mode=0o666)
    w.make("closed/d", "dir", owner="root", mode=0o777)
    w.make("mine")
    w.make("inside", "dir", owner="root", mode=0o711)
    fd = w.do("open", P("inside"), os.O_PATH)
    with w.as_("root"):
        w.do("chmod", P("closed"), 0o600)
        w.do("chmod", P("inside"), 0o600)
    w.do("openat", fd, "none", os.O_RDONLY)
    w.close(fd)
    one_each(w, lambda call: P("closed/none"))
    for call in ("open", "stat", "truncate", "chdir", "access", "statfs", "readdir", "listxattr"):
        w.do(call, P("closed/f"), *ONE_PATH[call])
        w.do(call, P("closed/d/x"), *ONE_PATH[call])
    w.do("rename", P("mine"), P("closed/mine"))
    w.do("link", P("mine"), P("closed/mine"))
    w.do("symlink", "t", P("closed/s"))
    w.do("rename", P("closed/f"), P("stolen"))
    w.do("link", P("closed/f"), P("stolen"))


@case()
def no_write_right(w):
    w.make("ro", "dir", mode=0o755, owner="root")
    w.make("ro/f", owner=w.user)
    w.make("ro/d", "dir", owner=w.user)
    w.make("mine")
    for call in ("mkdir", "mkfifo", "mknod"):
        w.do(call, P("ro/new"), *ONE_PATH[call])
        w.do(call, P("ro/f"), *ONE_PATH[call])
    w.do("open", P("ro/new2"), os.O_CREAT | os.O_WRONLY)
    w.do("open", P("ro/f"), os.O_CREAT | os.O_WRONLY)
    w.do("rename", P("mine"), P("ro/mine"))
    w.do("rename", P("ro/f"), P("f"))
    w.do("link", P("mine"), P("ro/l"))
    w.do("symlink", "t", P("ro/s"))
    w.do("unlink", P("ro/f"))
    w.do("rmdir", P("ro/d"))
    w.do("renameat2", P("ro/d"), P("mine"), EXCHANGE)
    w.do("renameat2", P("mine"), P("ro/f"), NOREPLACE)


@case()
def existing_names(w):
    for kind in KINDS:
        name = w.make(kind, kind)
        for call in ("mkdir", "mkfifo", "mknod"):
            w.do(call, name, *ONE_PATH[call])
        w.do("symlink", "t", name)
        w.do("bind", name)
        w.make("l")
        w.do("link", P("l"), name)
        w.do("open", name, os.O_CREAT | os.O_EXCL | os.O_RDWR)
        w.do("renameat2", P("l"), name, NOREPLACE)
    for name in (".", "..", "dir/.", "dir/.."):
        for call in ("mkdir", "rmdir", "unlink"):
            w.do(call, P(name), *ONE_PATH[call], quiet=True)
        w.do("rename", P(name), P("new"), quiet=True)
        w.do("rename", P("dir"), P(name), quiet=True)


@case()
def removal(w):
    for kind in KINDS:
        w.make(kind, kind)
        w.do("rmdir", P(kind))
        w.do("unlink", P(kind))
        w.do("lstat", P(kind))
    w.make("full", "dir")
    w.make("full/f")
    w.make("full/d", "dir")
    w.do("rmdir", P("full"))
    w.do("unlink", P("full"))
    w.do("rmdir", P("full/d"))
    w.do("unlink", P("full/f"))
    w.do("rmdir", P("full"))
    w.do("mkdir", P("full/again"), 0o755)


@case()
def rename_over_types(w):
    for source in KINDS:
        for target in KINDS:
            a, b = f"{source}-{target}", f"to-{source}-{target}"
            w.make(a, source)
            w.make(b, target)
            w.do("rename", P(a), P(b))
    w.make("a", "dir")
    w.make("a/sub", "dir")
    w.make("b", "dir")
    w.make("b/f")
    w.do("rename", P("a"), P("b"))
    w.do("rename", P("b/f"), P("a"))
    w.do("rename", P("a"), P("b/f"))
    w.do("rename", P("a/sub"), P("b/moved"))
    w.make("x")
    w.do("rename", P("x"), P("x"))
    w.do("link", P("x"), P("y"))
    w.do("rename", P("x"), P("y"))
    w.do("rename", P("y"), P("b/y"))
    w.do("rename", P("b/y"), P("z"))


@case()
def rename_into_itself(w):
    w.make("a", "dir")
    w.make("a/b", "dir")
    w.make("a/b/c", "dir")
    w.make("z", "dir")
    for flags in (0, NOREPLACE, EXCHANGE):
        w.do("renameat2", P("a"), P("a/b/c/x"), flags)
        w.do("renameat2", P("a"), P("a/b"), flags)
        w.do("renameat2", P("a"), P("a/b/c"), flags)
        w.do("renameat2", P("a/b/c"), P("a"), flags)
        w.do("renameat2", P("a/b"), P("a"), flags)
    w.do("rename", P("a"), P("z/a"))
    w.do("rename", P("z"), P("z/a/b/new"))
    w.do("rename", P("z/a/b"), P("b"))


@case()
def rename_flags(w):
    for source in ("reg", "dir", "symlink", "fifo"):
        for target in ("reg", "dir", "symlink", "sock", None):
            a, b = P(f"{source}-{target}"), P(f"to-{source}-{target}")
            w.make(a, source)
            if target:
                w.make(b, target)
            w.do("renameat2", a, b, NOREPLACE)
            w.make(P(a + "e"), source)
            w.do("renameat2", P(a + "e"), b, EXCHANGE)
            w.do("lstat", a)
            w.do("lstat", b)
    w.make("d1", "dir")
    w.make("d2", "dir")
    w.make("d1/sub", "dir")
    w.make("d2/f")
    w.do("renameat2", P("d1/sub"), P("d2/f"), EXCHANGE)
    w.do("readdir", P("d1"))
    w.do("stat", P("d2/f/.."))
    w.do("renameat2", P("d1"), P("d2"), EXCHANGE)
    w.do("readdir", P("d1"))
    for flags in (NOREPLACE | EXCHANGE, 8, 1 << 30, EXCHANGE | WHITEOUT):
        w.do("renameat2", P("d1"), P("d9"), flags)
    w.do("renameat2", P("none"), P("d1"), EXCHANGE)
    w.do("renameat2", P("d1"), P("d1"), NOREPLACE)
    w.do("renameat2", P("d1"), P("d1"), EXCHANGE)
    w.make("h1")
    w.do("link", P("h1"), P("h2"))
    w.do("renameat2", P("h1"), P("h2"), NOREPLACE)
    w.do("renameat2", P("h1"), P("h2"), EXCHANGE)


@case(users=("root", "alice"))
def rename_whiteout(w):
    w.make("f")
    w.do("renameat2", P("f"), P("g"), WHITEOUT, quiet=True)


@case()
def across_filesystems(w):
    w.make("f")
    w.make("d", "dir")
    for name in ("f", "d"):
        w.do("rename", P(name), "/dev/shm/elsewhere-of-posix-test")
        w.do("link", P(name), "/dev/shm/elsewhere-of-posix-test")
        w.do("renameat2", P(name), "/dev/shm", EXCHANGE)


@case()
def hard_links(w):
    for kind in KINDS:
        w.make(kind, kind)
        w.do("link", P(kind), P(f"l-{kind}"))
        w.do("lstat", P(kind))
        w.do("linkat", P(kind), P(f"f-{kind}"), AT_SYMLINK_FOLLOW)
        w.do("unlink", P(kind))
        w.do("lstat", P(f"l-{kind}"))
    w.make("target")
    w.do("symlink", "target", P("s"))
    w.do("linkat", P("s"), P("followed"), AT_SYMLINK_FOLLOW)
    w.do("linkat", P("s"), P("not-followed"), 0)
    w.do("linkat", P("s"), P("bad"), 0x80000)


@case(users=("alice", "bob"))
def protected_links(w):
    """fs.protected_hardlinks: what one neither owns nor may write is not linked."""
    w.make("roots", owner="root", mode=0o644)
    w.make("suid", owner="root", mode=0o4777)
    w.make("open", owner="root", mode=0o666)
    for name in ("roots", "suid", "open"):
        w.do("link", P(name), P(f"l-{name}"))


@case(users=("root",))
def many_links(w):
    w.make("f")
    w.make("d", "dir")
    for i in range(w.links_max):
        turn = i % len(w.roots)
        os.link(w.path("f", turn), w.path(f"d/l{i}", turn))
    if w.links_max > 1000:
        w.do("link", P("f"), P("d/l"))
        w.do("link", P("f"), P("d/one-more"))
    w.do("stat", P("f"))
    w.note("entries", len(os.listdir(w.path("d"))))
    if w.links_max < 1000:
        for i in range(w.links_max):
            os.unlink(w.path(f"d/l{i}", (i + 1) % len(w.roots)))
        w.do("stat", P("f"))
        w.do("rmdir", P("d"))


@case(users=("root",))
def many_subdirectories(w):
    w.make("d", "dir")
    for i in range(100):
        os.mkdir(w.path(f"d/s{i}", i % len(w.roots)))
    w.do("stat", P("d"))
    for i in range(100):
        os.rmdir(w.path(f"d/s{i}", (i + 1) % len(w.roots)))
    w.do("stat", P("d"))


@case()
def nodes(w):
    for mask in (0, 0o022, 0o077):
        w.do("umask", mask)
        for mode in (0o644, 0o777, 0o4755, 0o2755, 0o1777, 0o7777):
            tag = f"{mask:o}-{mode:o}"
            w.do("mkdir", P(f"d-{tag}"), mode)
            w.do("mkfifo", P(f"f-{tag}"), mode)
            w.do("mknod", P(f"r-{tag}"), stat.S_IFREG | mode)
            w.do("mknod", P(f"s-{tag}"), stat.S_IFSOCK | mode)
            w.do("mknod", P(f"c-{tag}"), stat.S_IFCHR | mode, os.makedev(1, 3))
            w.do("mknod", P(f"b-{tag}"), stat.S_IFBLK | mode, os.makedev(7, 300))
            w.do("mknod", P(f"w-{tag}"), stat.S_IFCHR | mode, 0)
            w.do("symlink", "x", P(f"l-{tag}"))
            w.close(w.do("open", P(f"o-{tag}"), os.O_CREAT | os.O_RDWR, mode))
            w.do("bind", P(f"u-{tag}"))
    w.do("umask", 0)
    w.do("mknod", P("plain"), 0o644)
    w.do("mknod", P("dir"), stat.S_IFDIR | 0o755)
    w.do("mknod", P("link"), stat.S_IFLNK | 0o755)
    w.do("mknod", P("odd"), 0o170000)


@case()
def set_group_id_directories(w):
    w.make("g", "dir", owner="root", mode=0o777)
    with w.as_("root"):
        w.do("chown", P("g"), 0, 3000)
        w.do("chmod", P("g"), 0o2777)
    w.do("umask", 0)
    w.do("mkdir", P("g/d"), 0o755)
    w.do("mkdir", P("g/d/e"), 0o700)
    w.do("mknod", P("g/r"), FILE)
    w.do("mkfifo", P("g/f"), 0o644)
    w.do("symlink", "x", P("g/s"))
    for mode in (0o644, 0o2644, 0o2755, 0o2710, 0o6777):
        w.close(w.do("open", P(f"g/o{mode:o}"), os.O_CREAT | os.O_RDWR, mode))
        w.do("mknod", P(f"g/n{mode:o}"), stat.S_IFREG | mode)
    w.make("plain")
    w.do("rename", P("plain"), P("g/plain"))
    w.do("rename", P("g/d"), P("d"))


@case()
def sticky_directories(w):
    everyone = sorted({"root", w.user, w.other})
    for owner in everyone:
        w.make(f"t-{owner}", "dir", owner=owner, mode=0o1777)
        for holder in everyone:
            at = f"t-{owner}/{holder}"
            for kind in ("reg", "dir", "symlink"):
                w.make(f"{at}-{kind}", kind, owner=holder)
            w.make(f"{at}-over", owner=holder)
            w.make(f"{at}-xch", owner=holder)
            w.do("unlink", P(f"{at}-reg"))
            w.do("rmdir", P(f"{at}-dir"))
            w.do("rename", P(f"{at}-symlink"), P(f"{at}-renamed"))
            w.make(f"m-{owner}-{holder}")
            w.do("renameat2", P(f"m-{owner}-{holder}"), P(f"{at}-xch"), EXCHANGE)
            w.do("rename", P(f"m-{owner}-{holder}"), P(f"{at}-over"))


@case()
def nameless_files(w):
    fd = w.do("open", P("f"), os.O_CREAT | os.O_RDWR, 0o644)
    w.do("write", fd, b"still here")
    w.do("unlink", P("f"))
    w.do("fstat", fd)
    w.do("pwrite", fd, b"STILL", 0)
    w.do("pread", fd, 100, 0)
    w.do("ftruncate", fd, 3)
    w.do("fchmod", fd, 0o600)
    w.do("fsetxattr", fd, "user.a", b"1")
    w.do("fgetxattr", fd, "user.a")
    w.do("utimensat", fd, (5, 6), (7, 8))
    w.do("fstat", fd)
    w.do("fsync", fd)
    w.do("link_fd", fd, P("again"))
    w.close(fd)
    a = w.do("open", P("a"), os.O_CREAT | os.O_RDWR, 0o644)
    w.do("write", a, b"aaaa")
    w.make("b", data=b"bb")
    w.do("rename", P("b"), P("a"))
    w.do("pread", a, 100, 0)
    w.do("fstat", a)
    w.close(a)
    w.do("contents", P("a"))


@case()
def nameless_directories(w):
    w.make("d", "dir")
    fd = w.do("open", P("d"), os.O_RDONLY | os.O_DIRECTORY)
    w.do("rmdir", P("d"))
    w.do("fstat", fd)
    w.do("openat", fd, "x", os.O_CREAT | os.O_RDWR)
    w.do("openat", fd, ".", os.O_RDONLY)
    w.do("openat", fd, "..", os.O_PATH)
    w.do("readdir", fd)
    w.do("fchmod", fd, 0o700)
    w.do("fsync", fd)
    w.close(fd)
    w.make("e", "dir")
    w.make("r", "dir")
    fd = w.do("open", P("e"), os.O_RDONLY | os.O_DIRECTORY)
    w.do("rename", P("r"), P("e"))
    w.do("fstat", fd)
    w.do("readdir", fd)
    w.close(fd)


@case()
def bad_addresses(w):
    w.make("f")
    for call, rest in (("mkdir", (0o755,)), ("rmdir", ()), ("unlink", ()), ("open", (0,)),
                       ("chmod", (0o600,)), ("truncate", (0,)), ("stat", (0,)), ("chdir", ()),
                       ("chown", (0, 0)), ("mkfifo", (0o600,)), ("access", (0,)),
                       ("link", (b"/tmp/x",)), ("rename", (b"/tmp/x",))):
        w.do("bad_pointer", call, *rest)


@case()
def odd_names(w):
    for name in ("\u00e4\u00f6\u00fc \u6587", "with\nnewline", "-dash", "...", " ", "a\x7fb",
                 "\udcff\udcfe", "x" * 255):
        w.make(name, data=b"odd")
        w.do("stat", P(name))
        w.do("rename", P(name), P("n" + name[:200]))
    w.do("readdir", P("."))
