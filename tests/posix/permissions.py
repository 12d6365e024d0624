"""Who may do what: by class and mode, on the object and on its directory."""
import os

from harness import P, case


@case()
def classes(w):
    """Owner, group, others: the first class that fits decides, whatever a later one allows."""
    for mode in (0o700, 0o070, 0o007, 0o770, 0o707, 0o077, 0o000, 0o444, 0o222, 0o111, 0o555):
        for uid, gid in ((0, 0), (1001, 0), (0, 1001), (0, 3000), (1001, 1002), (1002, 1001)):
            for kind in ("reg", "dir"):
                name = w.make(f"{kind}{mode:o}-{uid}-{gid}", kind)
                with w.as_("root"):
                    w.do("chown", name, uid, gid, quiet=True)
                    w.do("chmod", name, mode, quiet=True)
                for access in (os.R_OK, os.W_OK, os.X_OK):
                    w.do("access", name, access, quiet=True)
                if kind == "reg":
                    w.close(w.do("open", name, os.O_RDONLY, quiet=True))
                    w.close(w.do("open", name, os.O_WRONLY, quiet=True))
                else:
                    w.close(w.do("open", name, os.O_RDONLY, quiet=True))
                    w.do("readdir", name, quiet=True)
                    w.do("stat", P(name + "/none"), quiet=True)
                    w.do("mkdir", P(name + "/d"), 0o755, quiet=True)


@case()
def only_owners(w):
    for owner in sorted({w.user, w.other, "root"}):
        for kind in ("reg", "dir"):
            name = w.make(f"{kind}-{owner}", kind, owner=owner, mode=0o777)
            w.do("chmod", name, 0o755)
            w.do("chown", name, w_uid(w), -1)
            w.do("chown", name, -1, w_uid(w))
            w.do("utimensat", name, (1, 0), (1, 0))
            w.do("setxattr", name, "user.a", b"1")
            w.do("setxattr", name, "trusted.a", b"1")
            w.do("setxattr", name, "security.a", b"1")
            w.close(w.do("open", name, os.O_RDONLY | os.O_NOATIME))


def w_uid(w):
    return {"root": 0, "alice": 1001, "bob": 1002}[w.user]


@case()
def right_taken_away(w):
    """What is open stays open; the next open is refused, on every mount."""
    w.make("f", owner=w.other, mode=0o666)
    fd = w.do("open", P("f"), os.O_RDWR)
    with w.as_("root"):
        w.do("chmod", P("f"), 0o600)
    w.do("open", P("f"), os.O_RDONLY)
    w.do("pread", fd, 100, 0)
    w.do("pwrite", fd, b"still", 0)
    w.do("ftruncate", fd, 3)
    w.close(fd)
    w.make("d", "dir", owner=w.other, mode=0o777)
    w.make("d/f", mode=0o666)
    w.do("stat", P("d/f"))
    with w.as_("root"):
        w.do("chmod", P("d"), 0o600)
    w.do("stat", P("d/f"))
    w.do("open", P("d/f"), os.O_RDONLY)
    w.do("readdir", P("d"))
    with w.as_("root"):
        w.do("chmod", P("d"), 0o711)
    w.do("stat", P("d/f"))
    w.do("readdir", P("d"))


@case()
def moving_directories(w):
    """A directory of another that one may not write may not get another parent."""
    for mode in (0o777, 0o755, 0o700):
        w.make(f"p{mode:o}", "dir", mode=0o777)
        w.make(f"q{mode:o}", "dir", mode=0o777)
        w.make(f"p{mode:o}/d", "dir", owner=w.other, mode=mode)
        w.do("rename", P(f"p{mode:o}/d"), P(f"p{mode:o}/e"))
        w.do("rename", P(f"p{mode:o}/e"), P(f"q{mode:o}/e"))
        w.do("rename", P(f"q{mode:o}/e"), P(f"p{mode:o}/e"))


@case()
def path_components(w):
    w.make("a", "dir")
    w.make("a/b", "dir")
    w.make("a/b/c", "dir")
    w.make("a/b/c/f")
    for name in ("a", "a/b", "a/b/c"):
        for mode in (0o666, 0o111, 0o311):
            with w.as_("root"):
                w.do("chmod", P(name), mode, quiet=True)
            w.do("stat", P("a/b/c/f"), quiet=True)
            w.close(w.do("open", P("a/b/c/f"), os.O_RDONLY, quiet=True))
            w.do("readdir", P("a/b/c"), quiet=True)
            w.do("mkdir", P("a/b/c/n"), 0o755, quiet=True)
            w.do("rmdir", P("a/b/c/n"), quiet=True)
            w.do("rename", P("a/b/c/f"), P("a/b/c/g"), quiet=True)
            w.do("rename", P("a/b/c/g"), P("a/b/c/f"), quiet=True)
        with w.as_("root"):
            w.do("chmod", P(name), 0o755, quiet=True)


@case()
def set_id_programs(w):
    """A set-user-ID program runs as its owner."""
    with open("/usr/bin/id", "rb") as file:
        program = file.read()
    w.make("id", data=program, owner=w.other)
    with w.as_("root"):
        w.do("chmod", P("id"), 0o4755)
    import subprocess
    out = subprocess.run([w.path("id"), "-u"], capture_output=True, text=True, check=False)
    w.note("id -u says", out.stdout.strip())
