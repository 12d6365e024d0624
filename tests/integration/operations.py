"""Every ordinary operation once or more on the directory argv[1]; run as root by operations.sh."""
import errno
import fcntl
import mmap
import os
import stat
import sys
import time

TOP = sys.argv[1]


def path(name):
    return os.path.join(TOP, name)


def refused(code, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except OSError as error:
        assert error.errno == code, (function, args, errno.errorcode[error.errno])
        return
    raise AssertionError((function, args, "was not refused with", errno.errorcode[code]))


def put(name, data=b"data", mode=0o644):
    fd = os.open(path(name), os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode)
    assert os.write(fd, data) == len(data)
    os.close(fd)


def get(name):
    with open(path(name), "rb") as f:
        return f.read()


def test_open_flags():
    put("a", b"hello")
    refused(errno.EEXIST, os.open, path("a"), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    refused(errno.ENOENT, os.open, path("none"), os.O_RDONLY)
    refused(errno.ENOTDIR, os.open, path("a"), os.O_RDONLY | os.O_DIRECTORY)
    os.close(os.open(path("a"), os.O_WRONLY | os.O_TRUNC))
    assert os.stat(path("a")).st_size == 0
    fd = os.open(path("a"), os.O_RDONLY)
    refused(errno.EBADF, os.write, fd, b"x")
    os.close(fd)


def test_append():
    put("log", b"one\n")
    fd = os.open(path("log"), os.O_WRONLY | os.O_APPEND)
    other = os.open(path("log"), os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"two\n")
    os.write(other, b"three\n")
    os.write(fd, b"four\n")
    os.close(fd)
    os.close(other)
    assert get("log") == b"one\ntwo\nthree\nfour\n"


def test_read_write_seek():
    fd = os.open(path("rw"), os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"abc", 10)
    assert os.pread(fd, 100, 0) == b"\0" * 10 + b"abc"
    os.pwrite(fd, b"X" * 100000, 65530)
    assert os.fstat(fd).st_size == 165530
    assert os.pread(fd, 12, 65525) == b"\0" * 5 + b"X" * 7
    assert os.pread(fd, 10, 165528) == b"XX"
    assert os.pread(fd, 10, 165530) == b""
    os.fsync(fd)
    os.fdatasync(fd)
    os.close(fd)


def test_truncate():
    put("t", b"0123456789")
    os.truncate(path("t"), 4)
    assert get("t") == b"0123"
    os.truncate(path("t"), 8)
    assert get("t") == b"0123\0\0\0\0"
    os.truncate(path("t"), 3 << 20)
    assert os.stat(path("t")).st_size == 3 << 20
    assert get("t") == b"0123" + b"\0" * ((3 << 20) - 4)
    os.truncate(path("t"), 0)
    assert get("t") == b""
    os.truncate(path("t"), 5)
    assert get("t") == b"\0" * 5


def test_directories():
    os.mkdir(path("d"), 0o750)
    assert stat.S_IMODE(os.stat(path("d")).st_mode) == 0o750
    refused(errno.EEXIST, os.mkdir, path("d"))
    assert os.stat(path("d")).st_nlink == 2
    os.mkdir(path("d/e"))
    assert os.stat(path("d")).st_nlink == 3
    refused(errno.ENOTEMPTY, os.rmdir, path("d"))
    put("d/f")
    refused(errno.EISDIR, os.unlink, path("d/e"))
    refused(errno.ENOTDIR, os.rmdir, path("d/f"))
    os.unlink(path("d/f"))
    os.rmdir(path("d/e"))
    os.rmdir(path("d"))
    refused(errno.ENOENT, os.stat, path("d"))


def test_nodes():
    os.symlink("some/where", path("s"))
    assert os.readlink(path("s")) == "some/where"
    assert os.lstat(path("s")).st_size == 10
    os.mkfifo(path("fifo"), 0o600)
    assert stat.S_ISFIFO(os.stat(path("fifo")).st_mode)
    os.mknod(path("null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert os.stat(path("null")).st_rdev == os.makedev(1, 3)
    os.mknod(path("sock"), stat.S_IFSOCK | 0o600)
    assert stat.S_ISSOCK(os.stat(path("sock")).st_mode)
    os.mknod(path("plain"), stat.S_IFREG | 0o600)
    put("plain", b"through mknod")
    assert get("plain") == b"through mknod"
    for name in ("s", "fifo", "null", "sock", "plain"):
        os.unlink(path(name))


def test_links():
    put("l1", b"linked")
    os.link(path("l1"), path("l2"))
    assert os.stat(path("l1")).st_nlink == 2
    assert os.stat(path("l1")).st_ino == os.stat(path("l2")).st_ino
    os.unlink(path("l1"))
    assert get("l2") == b"linked" and os.stat(path("l2")).st_nlink == 1
    os.mkdir(path("ld"))
    refused(errno.EPERM, os.link, path("ld"), path("ld2"))
    refused(errno.EEXIST, os.link, path("l2"), path("ld"))


def test_rename():
    put("r1", b"1")
    put("r2", b"2")
    os.rename(path("r1"), path("r2"))
    assert get("r2") == b"1"
    refused(errno.ENOENT, os.stat, path("r1"))
    os.makedirs(path("ra/sub"))
    os.mkdir(path("rb"))
    refused(errno.EINVAL, os.rename, path("ra"), path("ra/sub/x"))
    refused(errno.ENOTEMPTY, os.rename, path("rb"), path("ra"))
    refused(errno.EISDIR, os.rename, path("r2"), path("rb"))
    refused(errno.ENOTDIR, os.rename, path("rb"), path("r2"))
    os.rename(path("ra/sub"), path("rb/moved"))
    assert os.stat(path("ra")).st_nlink == 2 and os.stat(path("rb")).st_nlink == 3
    assert os.listdir(path("rb")) == ["moved"]
    os.link(path("r2"), path("r3"))
    os.rename(path("r2"), path("r3"))  # the same file: nothing happens
    assert get("r2") == get("r3") == b"1"


def test_attributes():
    put("attr")
    os.chmod(path("attr"), 0o4711)
    assert stat.S_IMODE(os.stat(path("attr")).st_mode) == 0o4711
    os.chown(path("attr"), 1001, 1002)
    s = os.stat(path("attr"))
    assert (s.st_uid, s.st_gid) == (1001, 1002)
    os.utime(path("attr"), ns=(1_000_000_001, 2_000_000_002))
    s = os.stat(path("attr"))
    assert (s.st_atime_ns, s.st_mtime_ns) == (1_000_000_001, 2_000_000_002)
    fd = os.open(path("attr"), os.O_WRONLY)
    os.write(fd, b"later")
    os.close(fd)
    assert abs(os.stat(path("attr")).st_mtime - time.time()) < 5
    fd = os.open(path("attr"), os.O_WRONLY)
    os.write(fd, b"again")
    os.utime(fd, ns=(5, 7))
    assert os.fstat(fd).st_mtime_ns == 7
    os.close(fd)
    assert os.stat(path("attr")).st_mtime_ns == 7
    before = os.stat(path("attr")).st_ctime_ns
    os.chmod(path("attr"), 0o600)
    assert os.stat(path("attr")).st_ctime_ns > before


def test_xattrs():
    put("x")
    os.setxattr(path("x"), "user.one", b"1" * 1000)
    os.setxattr(path("x"), "trusted.two", b"")
    assert os.getxattr(path("x"), "user.one") == b"1" * 1000
    assert {"user.one", "trusted.two"} <= set(os.listxattr(path("x")))
    refused(errno.EEXIST, os.setxattr, path("x"), "user.one", b"2", os.XATTR_CREATE)
    refused(errno.ENODATA, os.setxattr, path("x"), "user.three", b"3", os.XATTR_REPLACE)
    os.removexattr(path("x"), "user.one")
    refused(errno.ENODATA, os.getxattr, path("x"), "user.one")
    os.setxattr(path("x"), "user.big", b"b" * 65536)
    assert len(os.getxattr(path("x"), "user.big")) == 65536


def test_open_unlinked():
    fd = os.open(path("gone"), os.O_CREAT | os.O_RDWR)
    os.write(fd, b"still here" * 1000)
    os.unlink(path("gone"))
    refused(errno.ENOENT, os.stat, path("gone"))
    assert os.fstat(fd).st_nlink == 0
    os.pwrite(fd, b"STILL", 0)
    assert os.pread(fd, 10, 0) == b"STILL here" and os.fstat(fd).st_size == 10000
    os.ftruncate(fd, 3)
    assert os.pread(fd, 10, 0) == b"STI"
    os.close(fd)


def test_mmap():
    put("map", b"m" * 10000)
    fd = os.open(path("map"), os.O_RDWR)
    with mmap.mmap(fd, 10000) as m:
        m[5000:5005] = b"MAPPD"
        m.flush()
        assert os.pread(fd, 5, 5000) == b"MAPPD"
        os.pwrite(fd, b"write", 6000)
        assert m[6000:6005] == b"write"
    os.close(fd)
    assert get("map")[5000:5005] == b"MAPPD"
    with open(path("map"), "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m:
        assert m[9999:] == b"m"


def test_readdir():
    os.mkdir(path("rd"))
    names = {"n%04d" % i for i in range(3000)}
    for name in names:
        put("rd/" + name, b"")
    assert set(os.listdir(path("rd"))) == names
    # A listing that runs while entries go: what stays is seen exactly once.
    seen = []
    with os.scandir(path("rd")) as entries:
        for number, entry in enumerate(entries):
            seen.append(entry.name)
            if number == 100:
                for name in sorted(names)[:1000]:
                    os.unlink(path("rd/" + name))
    assert len(seen) == len(set(seen))
    assert set(sorted(names)[1000:]) <= set(seen)


def test_exec_and_locks():
    put("script", b"#!/bin/sh\nexit 7\n", 0o755)
    os.chmod(path("script"), 0o755)
    assert os.waitstatus_to_exitcode(os.system(path("script"))) == 7
    fd = os.open(path("script"), os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    fcntl.lockf(fd, fcntl.LOCK_EX)
    os.close(fd)


def test_statfs():
    s = os.statvfs(TOP)
    assert s.f_blocks > 0 and 0 < s.f_bavail <= s.f_blocks and s.f_files > 0 and s.f_namemax == 255


def test_names():
    for name in ("\u00e4\u00f6\u00fc \u6587\u4ef6", "with\nnewline", "-dash", "...", "x" * 255):
        put(name, name.encode())
        assert get(name) == name.encode() and name in os.listdir(TOP)
        os.unlink(path(name))
    refused(errno.ENAMETOOLONG, put, "y" * 256)


def test_fallocate():
    fd = os.open(path("fa"), os.O_CREAT | os.O_RDWR)
    os.posix_fallocate(fd, 0, 1 << 20)
    assert os.fstat(fd).st_size == 1 << 20
    os.pwrite(fd, b"z" * 8192, 0)
    assert os.pread(fd, 8193, 0) == b"z" * 8192 + b"\0"
    os.close(fd)


def test_access():
    os.chmod(TOP, 0o755)
    put("private", b"p", 0o600)
    os.chmod(path("private"), 0o600)
    os.mkdir(path("closed"), 0o700)
    os.mkdir(path("open"), 0o777)
    os.chmod(path("open"), 0o1777)
    put("open/roots")
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(1234)
            os.setuid(1234)
            refused(errno.EACCES, os.open, path("private"), os.O_RDONLY)
            refused(errno.EACCES, os.open, path("closed/x"), os.O_CREAT | os.O_WRONLY)
            refused(errno.EACCES, os.open, path("x"), os.O_CREAT | os.O_WRONLY)
            refused(errno.EPERM, os.unlink, path("open/roots"))
            put("open/mine")
            assert os.stat(path("open/mine")).st_uid == 1234
            refused(errno.EPERM, os.chown, path("open/mine"), 0, 0)
            os._exit(0)
        except BaseException as error:
            print("as another user:", repr(error), flush=True)
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def main():
    tests = [(n, f) for n, f in sorted(globals().items()) if n.startswith("test_")]
    top, failed = TOP, 0
    for name, function in tests:
        globals()["TOP"] = os.path.join(top, name)
        os.mkdir(TOP)
        try:
            function()
        except Exception as error:  # every failure is shown, the rest still runs
            import traceback
            traceback.print_exc()
            print(f"FAILED {name}: {error!r}")
            failed += 1
    print(f"operations: {len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
