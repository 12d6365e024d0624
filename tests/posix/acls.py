"""POSIX ACLs: setting and reading them, what they allow, how they and the mode follow each other,
and what new objects inherit."""
import os
import stat
import struct
import subprocess

from harness import KINDS, P, case

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NOBODY = 0xffffffff


def acl(*entries):
    """Entries (tag, permissions) or (tag, permissions, id)."""
    out = struct.pack("<I", 2)
    for tag, permissions, *who in entries:
        out += struct.pack("<HHI", tag, permissions, who[0] if who else NOBODY)
    return out


def simple(owner=7, group=5, other=4):
    return acl((USER_OBJ, owner), (GROUP_OBJ, group), (OTHER, other))


def named(users=(), groups=(), mask=7, owner=6, group=4, other=0):
    return acl((USER_OBJ, owner), *((USER, p, u) for u, p in users), (GROUP_OBJ, group),
               *((GROUP, p, g) for g, p in groups), (MASK, mask), (OTHER, other))


def own(w):
    return {"root": 0, "alice": 1001, "bob": 1002}[w.user]


BAD = {
    "empty": b"", "short": b"\2\0", "version": struct.pack("<I", 3), "half": simple()[:-3],
    "no-owner": acl((GROUP_OBJ, 5), (OTHER, 4)), "no-other": acl((USER_OBJ, 7), (GROUP_OBJ, 5)),
    "no-group": acl((USER_OBJ, 7), (OTHER, 4)),
    "no-mask": acl((USER_OBJ, 7), (USER, 7, 5), (GROUP_OBJ, 5), (OTHER, 4)),
    "order": acl((USER_OBJ, 7), (OTHER, 4), (GROUP_OBJ, 5)),
    "twice": acl((USER_OBJ, 7), (USER_OBJ, 7), (GROUP_OBJ, 5), (OTHER, 4)),
    "tag": acl((USER_OBJ, 7), (GROUP_OBJ, 5), (64, 1), (OTHER, 4)),
    "bits": acl((USER_OBJ, 8), (GROUP_OBJ, 5), (OTHER, 4)),
    "nobody": acl((USER_OBJ, 7), (USER, 7), (GROUP_OBJ, 5), (MASK, 7), (OTHER, 4)),
    "none": struct.pack("<I", 2)}


@case()
def setting(w):
    """On every type, own and another's; the mode follows."""
    for kind in KINDS:
        for owner in (w.user, w.other):
            name = w.make(f"{kind}-{owner}", kind, owner=owner)
            for value in (simple(6, 6, 0), named([(1002, 7)], [(3000, 5)], 5), simple()):
                w.do("lsetxattr", name, ACCESS, value)
                w.do("lgetxattr", name, ACCESS)
                w.do("lsetxattr", name, DEFAULT, value)
                w.do("lgetxattr", name, DEFAULT)
                w.do("listxattr", name, False)
            if kind != "symlink":
                w.do("removexattr", name, ACCESS)
                w.do("removexattr", name, DEFAULT)
                w.do("removexattr", name, DEFAULT)
            w.do("listxattr", name, False)


@case()
def malformed(w):
    w.make("f")
    w.make("d", "dir")
    for what, value in BAD.items():
        w.note("bytes", what)
        for name in ("f", "d"):
            w.do("setxattr", P(name), ACCESS, value)
            w.do("setxattr", P(name), DEFAULT, value)
            w.do("getxattr", P(name), ACCESS)
    for flag in (os.XATTR_CREATE, os.XATTR_REPLACE):
        w.do("setxattr", P("f"), ACCESS, named([(flag, 7)]), flag)
    w.do("getxattr_raw", P("f"), ACCESS, 0)
    w.do("getxattr_raw", P("f"), ACCESS, 5)


def try_all(w, name, kind):
    for access in (os.R_OK, os.W_OK, os.X_OK, os.R_OK | os.W_OK):
        w.do("access", name, access, quiet=True)
    if kind == "reg":
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            w.close(w.do("open", name, flags, quiet=True))
    else:
        w.do("readdir", name, quiet=True)
        w.do("stat", P(name + "/none"), quiet=True)
        w.do("mkdir", P(name + "/sub"), 0o755, quiet=True)
        w.do("rmdir", P(name + "/sub"), quiet=True)


@case()
def granting(w):
    """Users and groups that are named, through every mask."""
    number = 0
    for users in ((), ((own(w), 7),), ((own(w), 0),), ((own(w), 4), (2000, 7))):
        for groups in ((), ((own(w), 6),), ((3000, 5),), ((3000, 0), (own(w), 4))):
            for mask in (7, 5, 2, 0):
                for other in (0, 7):
                    for kind in ("reg", "dir"):
                        number += 1
                        name = w.make(f"{kind}{number}", kind, owner=w.other)
                        with w.as_("root"):
                            value = named(users, groups, mask, other=other)
                            w.do("setxattr", name, ACCESS, value, quiet=True)
                        try_all(w, name, kind)


@case()
def owners_and_owning_groups(w):
    for uid, gid in ((own(w), 0), (0, own(w)), (0, 3000), (5, 5)):
        for mask in (7, 4, 0):
            for group in (7, 0):
                name = w.make(f"f{uid}-{gid}-{mask}-{group}")
                with w.as_("root"):
                    w.do("chown", name, uid, gid, quiet=True)
                    w.do("setxattr", name, ACCESS,
                         named([(77, 7)], mask=mask, owner=4, group=group, other=6), quiet=True)
                try_all(w, name, "reg")


@case()
def following_chmod(w):
    for kind in ("reg", "dir", "fifo"):
        name = w.make(kind, kind)
        w.do("setxattr", name, ACCESS, named([(1002, 7)], [(3000, 6)], 7))
        for mode in (0o777, 0o640, 0o000, 0o2755, 0o705, 0o070):
            w.do("chmod", name, mode)
            w.do("getxattr", name, ACCESS)
        w.do("chown", name, -1, -1)
        w.do("getxattr", name, ACCESS)
        w.do("setxattr", name, ACCESS, simple(6, 4, 4))
        w.do("getxattr", name, ACCESS)
        w.do("chmod", name, 0o600)
        w.do("listxattr", name)
    w.make("away")
    w.do("setxattr", P("away"), ACCESS, named([(1002, 7)], mask=6))
    w.do("removexattr", P("away"), ACCESS)
    w.do("getxattr", P("away"), ACCESS)


@case()
def set_group_id(w):
    """Goes when who sets an ACL is not in the group."""
    for gid in (own(w), 3000, 4000):
        name = w.make(f"f{gid}")
        with w.as_("root"):
            w.do("chown", name, -1, gid)
            w.do("chmod", name, 0o6755)
        w.do("setxattr", name, ACCESS, named([(1002, 7)]))
        w.do("setxattr", name, ACCESS, simple())


@case()
def inheriting(w):
    values = {"none": None, "simple": simple(7, 5, 0), "narrow": simple(5, 0, 0),
              "named": named([(1002, 7)], [(3000, 6)], 7, owner=7, group=7, other=5),
              "masked": named([(1002, 7)], mask=4, owner=7, group=7, other=7)}
    for what, value in values.items():
        directory = w.make(what, "dir", mode=0o777)
        if value:
            w.do("setxattr", directory, DEFAULT, value)
        for mask in (0, 0o022, 0o077):
            w.do("umask", mask)
            for mode in (0o777, 0o666, 0o640, 0o2700):
                tag = f"{what}/{mask:o}-{mode:o}"
                w.do("mkdir", P(tag + "d"), mode)
                w.do("mkfifo", P(tag + "p"), mode)
                w.do("mknod", P(tag + "r"), stat.S_IFREG | mode)
                w.do("bind", P(tag + "s"))
                w.do("symlink", "x", P(tag + "l"))
                w.close(w.do("open", P(tag + "o"), os.O_CREAT | os.O_RDWR, mode))
                for kind in "dpros":
                    w.do("getxattr", P(tag + kind), ACCESS, quiet=True)
                w.do("getxattr", P(tag + "d"), DEFAULT, quiet=True)
                w.do("listxattr", P(tag + "l"), False, quiet=True)
        w.do("mkdir", P(f"{what}/deep"), 0o755)
        w.do("mkdir", P(f"{what}/deep/deeper"), 0o755)
        w.do("getxattr", P(f"{what}/deep/deeper"), DEFAULT)
        w.make("plain")
        w.do("rename", P("plain"), P(f"{what}/plain"))
        w.do("link", P(f"{what}/plain"), P(f"{what}/linked"))
        w.do("getxattr", P(f"{what}/linked"), ACCESS)
        w.do("umask", 0o022)


@case()
def changing_meanwhile(w):
    """What one mount allows or takes away holds on the other at once."""
    w.make("f", owner=w.other, mode=0o600)
    w.make("d", "dir", owner=w.other, mode=0o700)
    w.make("d/f", owner=w.other, mode=0o644)
    for turn in range(6):
        with w.as_("root"):
            for name, bits in (("f", 6), ("d", 5)):
                value = named([(own(w), bits if turn % 2 else 0)], owner=7)
                w.do("setxattr", P(name), ACCESS, value, quiet=True)
        w.turn = (w.turn + turn // 2) % len(w.roots)
        w.close(w.do("open", P("f"), os.O_RDWR, quiet=True))
        w.do("stat", P("d/f"), quiet=True)
        w.do("readdir", P("d"), quiet=True)
        with w.as_("root"):
            w.do("removexattr", P("f"), ACCESS, quiet=True)
        w.close(w.do("open", P("f"), os.O_RDWR, quiet=True))


@case()
def tools(w):
    """setfacl, getfacl, cp -a and rsync -A."""
    def shell(text):
        done = subprocess.run(["sh", "-c", text], cwd=w.path("."), capture_output=True, text=True,
                              check=False)
        w.turn = (w.turn + 1) % len(w.roots)
        w.note(text, [done.returncode, done.stdout])
    w.make("d", "dir")
    w.make("d/f")
    show = "find . | LC_ALL=C sort | xargs getfacl -np"
    for command in ("setfacl -m u:1002:rw d/f", "setfacl -d -m g:3000:rwx d", "mkdir d/sub",
                    "touch d/sub/new", "setfacl -R -m u:77:rx d", "setfacl -x u:1002 d/f",
                    "cp -a d copy", "rsync -aA d/ synced/", "rsync -aAn -i d/ synced/",
                    "setfacl -b d/f", "setfacl -k d", "chmod g-w d/sub/new", "ls -ld d/f d/sub"
                    " | cut -c1-11"):
        shell(command)
        shell(show)
