"""Directory streams: positions, and listings while others create and remove."""
import ctypes
import os
import stat

from harness import LIBC, P, case

LIBC.opendir.restype = ctypes.c_void_p
LIBC.readdir.restype = ctypes.c_void_p
LIBC.telldir.restype = ctypes.c_long


class Stream:
    """A libc directory stream, for telldir and seekdir."""

    def __init__(self, path):
        self.at = ctypes.c_void_p(LIBC.opendir(path.encode()))
        assert self.at.value

    def next(self):
        entry = LIBC.readdir(self.at)
        if not entry:
            return None
        return ctypes.string_at(entry + 19).decode()

    def rest(self):
        names = []
        while (name := self.next()) is not None:
            names.append(name)
        return names

    def tell(self):
        return LIBC.telldir(self.at)

    def seek(self, place):
        LIBC.seekdir(self.at, ctypes.c_long(place))

    def rewind(self):
        LIBC.rewinddir(self.at)

    def close(self):
        LIBC.closedir(self.at)


def fill(w, directory, count):
    w.make(directory, "dir", mode=0o777)
    for i in range(count):
        path = w.path(f"{directory}/n{i:04}", i % len(w.roots))
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))


@case()
def positions(w):
    fill(w, "d", 300)
    stream = Stream(w.path("d"))
    order, places = [], []
    while True:
        places.append(stream.tell())
        name = stream.next()
        if name is None:
            break
        order.append(name)
    w.note("names", sorted(order))
    w.note("dots", [order.count("."), order.count("..")])
    for index in (0, 1, 2, 3, 150, 299, 301, 7):
        stream.seek(places[index])
        w.note(f"from {index}", stream.rest() == order[index:])
    stream.rewind()
    w.note("again", stream.rest() == order)
    stream.seek(places[100])
    w.note("tell after seek", stream.tell() == places[100])
    stream.close()


@case()
def removed_meanwhile(w):
    fill(w, "d", 500)
    stream = Stream(w.path("d", 0))
    first = [stream.next() for _ in range(20)]
    gone = [f"n{i:04}" for i in range(0, 500, 3)]
    for name in gone:
        os.unlink(w.path(f"d/{name}", 1 % len(w.roots)))
    seen = first + stream.rest()
    stream.close()
    kept = {f"n{i:04}" for i in range(500)} - set(gone)
    w.note("none twice", len(seen) == len(set(seen)))
    w.note("all that stayed", kept <= set(seen))
    w.note("nothing else", set(seen) - {".", ".."} <= kept | set(gone))
    w.note("afterwards", sorted(os.listdir(w.path("d"))) == sorted(kept))


@case()
def added_meanwhile(w):
    fill(w, "d", 400)
    stream = Stream(w.path("d", 0))
    seen = [stream.next() for _ in range(30)]
    for i in range(300):
        turn = i % len(w.roots)
        path = w.path(f"d/m{i:04}", turn)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        if i % 2:
            os.rename(path, w.path(f"d/r{i:04}", turn))
    seen += stream.rest()
    w.note("none twice", len(seen) == len(set(seen)))
    w.note("all that were there", {f"n{i:04}" for i in range(400)} <= set(seen))
    stream.rewind()
    w.note("all after rewinddir", len(stream.rest()))
    stream.close()


@case()
def remove_while_listing(w):
    """As rm -r does: each name removed as it is read."""
    fill(w, "d", 700)
    stream = Stream(w.path("d", 0))
    count = 0
    while (name := stream.next()) is not None:
        if name not in (".", ".."):
            os.unlink(w.path(f"d/{name}", count % len(w.roots)))
            count += 1
    stream.close()
    w.note("removed", count)
    w.do("rmdir", P("d"))


@case()
def types(w):
    for kind in ("reg", "dir", "symlink", "fifo", "sock", "chr", "blk"):
        w.make(kind, kind)
    with os.scandir(w.path(".")) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            mode = os.lstat(w.path(entry.name)).st_mode
            w.note(entry.name, [entry.is_dir(follow_symlinks=False), entry.is_symlink(),
                                entry.is_file(follow_symlinks=False),
                                entry.inode() == os.lstat(w.path(entry.name)).st_ino,
                                stat.S_ISFIFO(mode)])


@case()
def rights(w):
    for mode in (0o755, 0o333, 0o444, 0o000):
        name = w.make(f"d{mode:o}", "dir", mode=mode, owner=w.other)
        w.do("readdir", name)
        w.close(w.do("open", name, os.O_RDONLY | os.O_DIRECTORY))
    w.make("empty", "dir")
    w.do("readdir", P("empty"))
    stream = Stream(w.path("empty"))
    w.note("only dots", sorted(stream.rest()))
    stream.close()
    w.make("f")
    w.do("readdir", P("f"))
