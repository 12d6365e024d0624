"""What a case sees: a World of one or two mounts of one filesystem, on which it makes calls.

A case is a function of a World; it is run on a local filesystem, on one mount of Sheen and on two
alternating ones, and must leave the same trace everywhere. A trace has, for every call, its result
or errno and what it did to the attributes of the paths that it named and of their directories. With
two mounts call N goes to one of them and the look at its effects to the other.
"""
import collections
import ctypes
import errno
import fnmatch
import hashlib
import os
import stat

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100

# name: (uid, gid, further groups)
USERS = {"root": (0, 0, []), "alice": (1001, 1001, [3000]), "bob": (1002, 1002, [])}
ALL = ("root", "alice", "bob")
KINDS = ("reg", "dir", "symlink", "fifo", "sock", "chr", "blk")
FORMATS = {stat.S_IFREG: "reg", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink",
           stat.S_IFIFO: "fifo", stat.S_IFSOCK: "sock", stat.S_IFCHR: "chr", stat.S_IFBLK: "blk"}

CASES = {}
Case = collections.namedtuple("Case", "name function users")
Step = collections.namedtuple("Step", "call result effects")


class P(str):
    """A path below the case's directory, to be made absolute on the mount whose turn it is."""


class At(str):
    """A name relative to the directory whose descriptor is the argument before it."""


class Fd(int):
    """A file descriptor; it stays with the mount that it was opened on."""


def case(users=ALL):
    def add(function):
        area = function.__module__.split(".")[-1]
        name = f"{area}.{function.__name__}"
        assert name not in CASES, name
        CASES[name] = Case(name, function, users)
        return function
    return add


def name_of(code):
    return errno.errorcode.get(code, str(code))


def checked(result):
    """The result of a libc function, or its errno as an OSError."""
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def become(user):
    uid, gid, groups = USERS[user]
    if os.geteuid() != 0:
        os.seteuid(0)
    os.setgroups([gid, *groups] if uid else [])
    os.setegid(gid)
    if uid:
        os.seteuid(uid)


def kind_of(status):
    return FORMATS[stat.S_IFMT(status.st_mode)]


def shown(value):
    """A result in a form that can be compared: long bytes by their hash."""
    if isinstance(value, Fd):
        return "fd"
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value)
        if len(value) > 40:
            return f"{len(value)} bytes {hashlib.sha1(value).hexdigest()[:10]}"
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    return str(value)


class World:
    """One case's run. Directories `roots` are the same directory on each mount."""

    def __init__(self, roots, user, coverage):
        self.roots = roots
        self.user = self.me = user
        self.other = "bob" if user == "alice" else "alice"
        self.coverage = coverage
        self.turn = 0
        self.trace = []
        self.seen = {}
        self.fds = {}  # descriptor -> (path it was opened by, its mount)
        self.calls = None  # set by calls.py: name -> function

    # ---- where ----
    def path(self, name, turn=None):
        return os.path.join(self.roots[self.turn if turn is None else turn], name)

    def place(self, argument):
        return self.path(argument) if isinstance(argument, P) else argument

    # ---- who ----
    def as_(self, user):
        return _As(self, user)

    # ---- what a call did ----
    def look(self, name):
        """Attributes of a path on the mount whose turn comes next, and which times moved."""
        try:
            status = os.lstat(self.path(name, (self.turn + 1) % len(self.roots)))
        except OSError as error:
            self.seen.pop(name, None)
            return name_of(error.errno)
        kind = kind_of(status)
        size = "" if kind == "dir" else f" size={status.st_size}"
        rdev = f" rdev={status.st_rdev}" if kind in ("chr", "blk") else ""
        now = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        before = self.seen.get(name)
        self.seen[name] = now
        if before is None or before[0] != now[0]:
            moved = "new"
        else:
            moved = ("m" if before[1] != now[1] else "") + ("c" if before[2] != now[2] else "")
        return (f"{kind} {stat.S_IMODE(status.st_mode):o} n={status.st_nlink} "
                f"{status.st_uid}:{status.st_gid}{size}{rdev} moved={moved or '-'}")

    def effects(self, names):
        wanted = []
        for name in names:
            for one in (name, os.path.dirname(name) or "."):
                if one not in wanted and len(one) < 1000 and not os.path.isabs(one):
                    wanted.append(one)
        user = self.me
        if user != "root":
            become("root")
        out = [f"{name}: {self.look(name)}" for name in wanted]
        if user != "root":
            become(user)
        return out

    def type_before(self, arguments):
        for argument, after in zip(arguments, (*arguments[1:], None)):
            try:
                if isinstance(argument, P):
                    return kind_of(os.lstat(self.place(argument)))
                if isinstance(argument, Fd) and isinstance(after, At):
                    return kind_of(os.lstat(after, dir_fd=argument))
                if isinstance(argument, Fd):
                    return kind_of(os.fstat(argument))
            except (OSError, ValueError):
                return "none"
        return "none"

    # ---- calls ----
    def do(self, call, *arguments, quiet=False):
        """Makes one call; its result, or None after an error. Everything goes into the trace."""
        names = [a for a in arguments if isinstance(a, P)]
        for number, after in zip(arguments, (*arguments[1:], None)):
            if isinstance(number, Fd) and number in self.fds:
                name, turn = self.fds[number]
                if names or isinstance(after, At):
                    self.turn = turn  # linkat(2) wants one mount
                names.append(P(os.path.join(name, after)) if isinstance(after, At) else name)
        kind = self.type_before(arguments)
        for name in names:
            if name not in self.seen and not quiet:
                self.effects([name])
        value, code = None, "OK"
        try:
            value = self.calls[call](*[self.place(a) for a in arguments])
        except OSError as error:
            code = name_of(error.errno)
        if isinstance(value, Fd):
            self.fds[value] = (P(names[0]) if names else P("."), self.turn)
        text = ", ".join(self.label(a) for a in arguments)
        effects = [] if quiet else self.effects(names)
        result = code if code != "OK" else f"OK {shown(value)}"
        self.trace.append(Step(f"{call}({text}) as {self.me}", result, effects))
        self.coverage[(call, code, kind, self.me)] += 1
        self.turn = (self.turn + 1) % len(self.roots)
        return value

    def label(self, argument):
        if isinstance(argument, Fd):
            return f"fd of {self.fds.get(argument, '?')[0][:60]}"
        if isinstance(argument, str):
            if any(argument.startswith(root) for root in self.roots):
                return f"a path of {len(argument)} bytes"
            return argument if len(argument) <= 60 else f"{argument[:20]}..({len(argument)})"
        return shown(argument)

    def note(self, what, value):
        """Something else that must be the same everywhere."""
        self.trace.append(Step(what, shown(value), []))

    def beside(self, fd):
        """The next call goes to the mount of `fd`."""
        self.turn = self.fds[fd][1]

    def close(self, fd):
        if fd is not None:
            os.close(fd)
            self.fds.pop(fd, None)
            self.turn = (self.turn + 1) % len(self.roots)

    # ---- preparations: not in the trace, as root ----
    def make(self, name, kind="reg", mode=None, owner=None, data=b"contents"):
        owner = owner or self.user
        mode = mode if mode is not None else 0o755 if kind == "dir" else 0o644
        before = self.me
        become("root")
        path = self.path(name)
        if kind == "reg":
            with open(path, "wb") as file:
                file.write(data)
        elif kind == "dir":
            os.mkdir(path)
        elif kind == "symlink":
            os.symlink("nowhere", path)
        else:
            format_ = {v: k for k, v in FORMATS.items()}[kind]
            os.mknod(path, format_ | 0o600, os.makedev(1, 3) if kind in ("chr", "blk") else 0)
        uid, gid, _ = USERS[owner]
        os.lchown(path, uid, gid)
        if kind != "symlink":
            os.chmod(path, mode)
        become(before)
        self.turn = (self.turn + 1) % len(self.roots)
        return P(name)


class _As:
    def __init__(self, world, user):
        self.world, self.user = world, user

    def __enter__(self):
        self.before = self.world.me
        self.world.me = self.user
        become(self.user)

    def __exit__(self, *_):
        self.world.me = self.before
        become(self.before)


class KnownDifferences:
    """Rows of tests/posix/known_differences: id, case, call, local result, Sheen's (globs).

    Those of `full_only` (an id that begins with full:) are needed with --full alone.
    """

    def __init__(self, path):
        self.rows, self.full_only, self.used = [], set(), collections.Counter()
        with open(path) as file:
            for line in file:
                if line.strip() and not line.startswith("#"):
                    row = [part.strip() for part in line.split("|")]
                    assert len(row) == 5, line
                    if row[0].startswith("full:"):
                        row[0] = row[0].removeprefix("full:").strip()
                        self.full_only.add(len(self.rows))
                    self.rows.append(row)

    def covers(self, name, call, local, sheen):
        for number, (_, case_, call_, local_, sheen_) in enumerate(self.rows):
            if (fnmatch.fnmatchcase(name, case_) and fnmatch.fnmatchcase(call, call_) and
                    fnmatch.fnmatchcase(local, local_) and fnmatch.fnmatchcase(sheen, sheen_)):
                self.used[number] += 1
                return True
        return False
