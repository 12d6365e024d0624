"""Extended attributes: name spaces, sizes, flags, lists; file capabilities."""
import os
import struct

from harness import KINDS, P, case

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service, version 2


@case()
def name_spaces(w):
    for kind in KINDS:
        for owner in (w.user, w.other):
            name = w.make(f"{kind}-{owner}", kind, owner=owner)
            for attribute in ("user.a", "trusted.a", "security.a", "system.a", "odd.a", "noprefix",
                              "user.", "trusted.", "user", "", ".x", "lustre2.x"):
                w.do("lsetxattr", name, attribute, b"value")
                w.do("lgetxattr", name, attribute)
            w.do("listxattr", name, False)
            for attribute in ("user.a", "trusted.a", "security.a", "system.a", "odd.a", "user.none"):
                w.do("lremovexattr", name, attribute)
            w.do("llistxattr", name)


@case()
def modes(w):
    for mode in (0o644, 0o444, 0o222, 0o000, 0o640, 0o604, 0o666):
        for owner in (w.user, w.other):
            for kind in ("reg", "dir"):
                name = w.make(f"{kind}{mode:o}{owner}", kind, mode=mode, owner=owner)
                w.do("setxattr", name, "user.a", b"1")
                w.do("getxattr", name, "user.a")
                w.do("getxattr", name, "user.none")
                w.do("listxattr", name)
                w.do("removexattr", name, "user.a")
    for owner in (w.user, w.other):
        w.make(f"sticky{owner}", "dir", owner=owner, mode=0o1777)
        w.do("setxattr", P(f"sticky{owner}"), "user.a", b"1")


@case()
def flags(w):
    w.make("f")
    w.do("setxattr", P("f"), "user.none", b"1", os.XATTR_REPLACE)
    for flag in (os.XATTR_CREATE, os.XATTR_REPLACE, 0, 3, 4, 8):
        for attribute in ("user.a", "user.b"):
            w.do("setxattr", P("f"), attribute, b"%d" % flag, flag)
            w.do("getxattr", P("f"), attribute)
    w.do("removexattr", P("f"), "user.a")
    w.do("removexattr", P("f"), "user.a")
    w.do("listxattr", P("f"))
    fd = w.do("open", P("f"), os.O_RDONLY)
    w.do("fsetxattr", fd, "user.c", b"through a descriptor")
    w.do("fgetxattr", fd, "user.c")
    w.do("flistxattr", fd)
    w.do("fremovexattr", fd, "user.c")
    w.do("fremovexattr", fd, "user.c")
    w.do("fgetxattr", fd, "user.c")
    w.close(fd)
    w.do("symlink", "f", P("s"))
    w.do("setxattr", P("s"), "user.d", b"followed")
    w.do("getxattr", P("f"), "user.d")


@case()
def sizes(w):
    w.make("f")
    for length in (0, 1, 100, 4000, 5000, 65535, 65536, 65537):
        w.do("setxattr", P("f"), "user.v", b"v" * length)
        w.do("getxattr_raw", P("f"), "user.v", 0)
        w.do("getxattr_raw", P("f"), "user.v", max(1, length - 1))
        w.do("getxattr_raw", P("f"), "user.v", 65536)
    for length in (249, 250, 251, 300):
        w.do("setxattr", P("f"), "user." + "n" * length, b"1")
        w.do("getxattr", P("f"), "user." + "n" * length)
    w.do("listxattr_raw", P("f"), 0)
    w.do("listxattr_raw", P("f"), 3)
    w.do("listxattr_raw", P("f"), 65536)
    w.do("setxattr", P("f"), "user.bin", bytes(range(256)))
    w.do("getxattr", P("f"), "user.bin")
    for i in range(20):
        w.do("setxattr", P("f"), f"user.many{i:02}", b"%d" % i * 50)
    w.do("listxattr", P("f"))


@case()
def hidden_names(w):
    w.make("f", mode=0o666)
    with w.as_("root"):
        w.do("setxattr", P("f"), "trusted.secret", b"1")
        w.do("setxattr", P("f"), "security.label", b"2")
        w.do("setxattr", P("f"), "user.open", b"3")
    w.do("listxattr", P("f"))
    for attribute in ("trusted.secret", "security.label", "user.open"):
        w.do("getxattr", P("f"), attribute)
        w.do("removexattr", P("f"), attribute)


def with_capability(w, name):
    name = w.make(name, data=b"program" * 100, mode=0o755)
    with w.as_("root"):
        w.do("setxattr", name, "security.capability", CAPABILITY)
        w.do("getxattr", name, "security.capability")
    return name


@case()
def capabilities(w):
    """Writing, truncating and changing owners drop them; reading, renaming and linking do not."""
    uid = {"root": 0, "alice": 1001, "bob": 1002}[w.user]
    for what in ("write", "truncate", "ftruncate", "chown", "lchown-same", "open", "fallocate",
                 "chmod", "utimensat", "rename", "link", "read", "setxattr", "direct_write",
                 "mmap_shared"):
        name = with_capability(w, what)
        if what == "chown":
            w.do("chown", name, uid, -1)
        elif what == "lchown-same":
            w.do("lchown", name, -1, -1)
        elif what == "truncate":
            w.do("truncate", name, 3)
        elif what in ("chmod", "utimensat", "rename", "link", "setxattr"):
            rest = {"chmod": (0o700,), "utimensat": ((1, 1), (1, 1)), "rename": (P("renamed"),),
                    "link": (P("linked"),), "setxattr": ("user.a", b"1")}[what]
            w.do(what, name, *rest)
            name = rest[0] if what == "rename" else name
        else:
            flags = os.O_RDWR | {"open": os.O_TRUNC, "direct_write": os.O_DIRECT}.get(what, 0)
            fd = w.do("open", name, flags)
            if what == "write":
                w.do("write", fd, b"x")
            elif what == "direct_write":
                w.do("direct_write", fd, b"x" * 4096, 0)
            elif what == "ftruncate":
                w.do("ftruncate", fd, 2)
            elif what == "fallocate":
                w.do("fallocate", fd, 0, 0, 10000)
            elif what == "read":
                w.do("read", fd, 10)
            elif what == "mmap_shared":
                w.do("mmap_shared", fd, 100, 0, b"m")
            w.close(fd)
        w.do("getxattr", name, "security.capability")


@case()
def capability_rules(w):
    w.make("f")
    # Not an empty one: Linux forgets to ask who may.
    for value in (CAPABILITY, b"short", CAPABILITY + b"x", b"\0" * 20):
        w.do("setxattr", P("f"), "security.capability", value)
        w.do("getxattr", P("f"), "security.capability")
    w.do("removexattr", P("f"), "security.capability")
