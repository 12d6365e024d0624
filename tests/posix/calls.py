"""The system calls that cases make, by name; each raises OSError or gives something comparable."""
import ctypes
import fcntl
import mmap
import os
import socket
import stat
import struct
import subprocess

from harness import AT_FDCWD, LIBC, Fd, checked, kind_of

AT_SYMLINK_NOFOLLOW, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH = 0x100, 0x400, 0x1000
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
O_TMPFILE = 0o20200000
LIBC.pwritev2.restype = LIBC.preadv2.restype = LIBC.copy_file_range.restype = ctypes.c_ssize_t
LIBC.mmap.restype = ctypes.c_void_p


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def enc(path):
    return path.encode() if isinstance(path, str) else path


def open_(path, flags, mode=0o666):
    return Fd(os.open(path, flags, mode))


def openat(fd, path, flags, mode=0o666):
    return Fd(os.open(path, flags, mode, dir_fd=fd))


def attributes(status):
    size = "" if stat.S_ISDIR(status.st_mode) else status.st_size
    return [kind_of(status), oct(stat.S_IMODE(status.st_mode)), status.st_nlink, status.st_uid,
            status.st_gid, size]


def times(path):
    status = os.lstat(path)
    return [status.st_atime_ns, status.st_mtime_ns]


def renameat2(old, new, flags):
    checked(LIBC.renameat2(AT_FDCWD, enc(old), AT_FDCWD, enc(new), flags))


def linkat(old, new, flags):
    checked(LIBC.linkat(AT_FDCWD, enc(old), AT_FDCWD, enc(new), flags))


def link_fd(fd, new):
    checked(LIBC.linkat(fd, b"", AT_FDCWD, enc(new), AT_EMPTY_PATH))


def utimensat(path, atime, mtime, flags=0):
    both = struct.pack("qqqq", *atime, *mtime)
    if isinstance(path, int):
        checked(LIBC.futimens(int(path), both))
    else:
        checked(LIBC.utimensat(AT_FDCWD, enc(path), both, flags))


def statx(path, flags, mask):
    """Mask bits that were asked for and given, type, mode, links, owner, size."""
    out = ctypes.create_string_buffer(256)
    fd, name = (path, b"") if isinstance(path, int) else (AT_FDCWD, enc(path))
    checked(LIBC.statx(fd, name, flags, mask, out))
    got, _, _, nlink, uid, gid, mode = struct.unpack_from("IIQIIIH", out.raw)
    size = struct.unpack_from("Q", out.raw, 40)[0]
    return [hex(got & mask & 0x7ff), oct(mode), nlink, uid, gid,
            "" if stat.S_ISDIR(mode) else size]


def access(path, mode):
    checked(LIBC.faccessat(AT_FDCWD, enc(path), mode, 0x200))  # by the effective user


def utimensat_at(fd, name, atime, mtime, flags=0):
    both = struct.pack("qqqq", *atime, *mtime)
    checked(LIBC.utimensat(int(fd), enc(name), both, flags))


def statx_at(fd, name, flags, mask):
    out = ctypes.create_string_buffer(256)
    checked(LIBC.statx(int(fd), enc(name), flags, mask, out))
    return oct(struct.unpack_from("H", out.raw, 28)[0])


def renameat(old_fd, old, new_fd, new):
    os.rename(old, new, src_dir_fd=old_fd, dst_dir_fd=new_fd)


def linkat_at(old_fd, old, new_fd, new, flags=0):
    checked(LIBC.linkat(int(old_fd), enc(old), int(new_fd), enc(new), flags))


def lock_request(kind, start, length, whence=os.SEEK_SET):
    return struct.pack("hhqqi4x", kind, whence, start, length, 0)


def setlk(fd, kind, start=0, length=0, whence=os.SEEK_SET, command=fcntl.F_SETLK):
    fcntl.fcntl(fd, command, lock_request(kind, start, length, whence))


def getlk(fd, kind, start=0, length=0):
    """What is in the way; without the process, whose number is its node's."""
    found = fcntl.fcntl(fd, fcntl.F_GETLK, lock_request(kind, start, length))
    kind, _, start, length, _ = struct.unpack("hhqqi4x", found)
    return "free" if kind == fcntl.F_UNLCK else [kind, start, length]


def readv(fd, *lengths):
    buffers = [bytearray(length) for length in lengths]
    got = os.readv(fd, buffers)
    return b"".join(buffers)[:got]


def preadv(fd, offset, *lengths):
    buffers = [bytearray(length) for length in lengths]
    got = os.preadv(fd, buffers, offset)
    return b"".join(buffers)[:got]


def msync(fd, length, flags):
    """Of a mapping with a stored byte."""
    at = LIBC.mmap(None, ctypes.c_size_t(length), 3, 1, int(fd), ctypes.c_long(0))
    if at in (None, ctypes.c_void_p(-1).value):
        checked(-1)
    ctypes.memset(at, 0x5a, 1)
    try:
        checked(LIBC.msync(ctypes.c_void_p(at), ctypes.c_size_t(length), flags))
    finally:
        LIBC.munmap(ctypes.c_void_p(at), ctypes.c_size_t(length))


def fallocate(fd, mode, offset, length):
    checked(LIBC.fallocate(int(fd), mode, ctypes.c_long(offset), ctypes.c_long(length)))


def copy_file_range(source, target, length, source_at, target_at, flags=0):
    a, b = ctypes.c_long(source_at), ctypes.c_long(target_at)
    return checked(LIBC.copy_file_range(int(source), ctypes.byref(a), int(target), ctypes.byref(b),
                                        ctypes.c_size_t(length), flags))


def pwritev2(fd, data, offset, flags):
    buffer = ctypes.create_string_buffer(data, len(data))
    vector = Iovec(ctypes.addressof(buffer), len(data))
    return checked(LIBC.pwritev2(int(fd), ctypes.byref(vector), 1, ctypes.c_long(offset), flags))


def preadv2(fd, length, offset, flags):
    buffer = ctypes.create_string_buffer(length)
    vector = Iovec(ctypes.addressof(buffer), length)
    got = checked(LIBC.preadv2(int(fd), ctypes.byref(vector), 1, ctypes.c_long(offset), flags))
    return buffer.raw[:got]


def aligned_write(fd, data, offset, shift=0):
    """From a page-aligned buffer, as O_DIRECT wants it; `shift` makes it unaligned."""
    with mmap.mmap(-1, len(data) + 8192) as buffer:
        buffer[shift:shift + len(data)] = data
        view = memoryview(buffer)
        part = view[shift:shift + len(data)]
        try:
            return os.pwrite(fd, part, offset)
        finally:
            part.release()
            view.release()


def aligned_read(fd, length, offset):
    with mmap.mmap(-1, length) as buffer:
        got = os.preadv(fd, [buffer], offset)
        return buffer[:got]


def statfs(path):
    out = os.statvfs(path)
    return [out.f_namemax, out.f_bavail <= out.f_bfree <= out.f_blocks, out.f_blocks > 0,
            out.f_ffree <= out.f_files, out.f_files > 0]


def mmap_private(fd, length, offset, data):
    with mmap.mmap(fd, length, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as m:
        m[offset:offset + len(data)] = data
        return m[:]


def mmap_shared(fd, length, offset, data):
    with mmap.mmap(fd, length) as m:
        m[offset:offset + len(data)] = data
        m.flush()
        return m[:]


def mmap_read(fd, length):
    with mmap.mmap(fd, length, prot=mmap.PROT_READ) as m:
        return m[:]


def mmap_protect(fd, length, prot, flags):
    at = LIBC.mmap(None, ctypes.c_size_t(length), prot, flags, int(fd), ctypes.c_long(0))
    if at in (None, ctypes.c_void_p(-1).value):
        checked(-1)
    LIBC.munmap(ctypes.c_void_p(at), ctypes.c_size_t(length))


def getxattr_raw(path, name, size):
    """With a buffer of `size` bytes; 0 asks for the length."""
    buffer = ctypes.create_string_buffer(max(size, 1))
    got = checked(LIBC.getxattr(enc(path), enc(name), buffer if size else None, size))
    return buffer.raw[:got] if size else got


def listxattr_raw(path, size):
    buffer = ctypes.create_string_buffer(max(size, 1))
    got = checked(LIBC.listxattr(enc(path), buffer if size else None, size))
    return sorted(buffer.raw[:got].split(b"\0")[:-1]) if size else got


def listxattr(path, follow=True):
    return sorted(os.listxattr(path, follow_symlinks=follow))


def bind(path):
    with socket.socket(socket.AF_UNIX) as sock:
        if len(path) < 108:
            return sock.bind(path)
        fd = os.open(os.path.dirname(path), os.O_PATH)
        try:
            sock.bind(f"/proc/self/fd/{fd}/{os.path.basename(path)}")
        finally:
            os.close(fd)


def execute(path):
    return subprocess.run([path], stdin=subprocess.DEVNULL, capture_output=True,
                          check=False).returncode


def bad_pointer(call, *arguments):
    """A call whose path is an address that nothing is mapped at."""
    checked(getattr(LIBC, call)(ctypes.c_void_p(1), *arguments))


TABLE = {
    "open": open_, "openat": openat, "read": os.read, "pread": os.pread, "write": os.write,
    "pwrite": os.pwrite, "lseek": os.lseek, "truncate": os.truncate, "ftruncate": os.ftruncate,
    "mkdir": os.mkdir, "rmdir": os.rmdir, "unlink": os.unlink, "rename": os.rename,
    "renameat2": renameat2, "link": os.link, "linkat": linkat, "link_fd": link_fd,
    "symlink": os.symlink, "readlink": os.readlink, "mknod": os.mknod, "mkfifo": os.mkfifo,
    "bind": bind, "chmod": os.chmod, "fchmod": os.fchmod, "chown": os.chown, "lchown": os.lchown,
    "fchown": os.fchown, "utimensat": utimensat, "times": times, "access": access,
    "stat": lambda p: attributes(os.stat(p)), "lstat": lambda p: attributes(os.lstat(p)),
    "fstat": lambda f: attributes(os.fstat(f)), "statx": statx, "statfs": statfs,
    "fstatfs": statfs, "chdir": lambda p: (os.chdir(p), os.chdir("/"))[1],
    "fallocate": fallocate, "copy_file_range": copy_file_range, "fadvise": os.posix_fadvise,
    "pwritev2": pwritev2, "preadv2": preadv2, "direct_write": aligned_write,
    "direct_read": aligned_read, "fsync": os.fsync, "fdatasync": os.fdatasync,
    "syncfs": lambda f: checked(LIBC.syncfs(int(f))), "sync": os.sync,
    "mmap_private": mmap_private, "mmap_shared": mmap_shared, "mmap_read": mmap_read,
    "mmap": mmap_protect, "getxattr": os.getxattr, "setxattr": os.setxattr,
    "lgetxattr": lambda p, n: os.getxattr(p, n, follow_symlinks=False),
    "lsetxattr": lambda p, n, v: os.setxattr(p, n, v, follow_symlinks=False),
    "fsetxattr": os.setxattr, "fgetxattr": os.getxattr,
    "removexattr": os.removexattr, "listxattr": listxattr, "getxattr_raw": getxattr_raw,
    "listxattr_raw": listxattr_raw, "execve": execute, "umask": lambda m: os.umask(m) * 0,
    "readdir": lambda p: sorted(os.listdir(p)), "bad_pointer": bad_pointer,
    "mkdirat": lambda d, n, m: os.mkdir(n, m, dir_fd=d),
    "mknodat": lambda d, n, m, dev=0: os.mknod(n, m, dev, dir_fd=d),
    "mkfifoat": lambda d, n, m: os.mkfifo(n, m, dir_fd=d),
    "unlinkat": lambda d, n: os.unlink(n, dir_fd=d), "rmdirat": lambda d, n: os.rmdir(n, dir_fd=d),
    "symlinkat": lambda t, d, n: os.symlink(t, n, dir_fd=d),
    "readlinkat": lambda d, n: os.readlink(n, dir_fd=d), "renameat": renameat,
    "linkat_at": linkat_at, "fchmodat": lambda d, n, m: os.chmod(n, m, dir_fd=d),
    "fchownat": lambda d, n, u, g: os.chown(n, u, g, dir_fd=d, follow_symlinks=False),
    "utimensat_at": utimensat_at, "statx_at": statx_at,
    "fstatat": lambda d, n: attributes(os.stat(n, dir_fd=d, follow_symlinks=False)),
    "faccessat": lambda d, n, m: checked(LIBC.faccessat(int(d), enc(n), m, 0x200)),
    "flock": fcntl.flock, "setlk": setlk, "getlk": getlk,
    "setlkw": lambda *a: setlk(*a, command=fcntl.F_SETLKW),
    "ofd_setlk": lambda *a: setlk(*a, command=37),  # F_OFD_SETLK
    "readv": readv, "writev": os.writev, "preadv": preadv,
    "pwritev": lambda f, offset, parts: os.pwritev(f, parts, offset),
    "sendfile": os.sendfile, "msync": msync,
    "lremovexattr": lambda p, n: os.removexattr(p, n, follow_symlinks=False),
    "fremovexattr": os.removexattr, "flistxattr": listxattr,
    "llistxattr": lambda p: listxattr(p, False),
    "contents": lambda p: open(p, "rb").read(),  # pylint: disable=consider-using-with
}
