"""Runs a program where nothing that it starts can outlive it.

The program is started anew as the only child of process 1 of its own PID, mount and network
namespace. When it ends, however it ends, the kernel kills what is left in the PID namespace, and
with the last process go the mounts and the network. Directories where daemons leave files (/run,
/var/lib, /var/log) are a tmpfs there, so the host's stay as they are; the scratch directory is on
another. Only what is global is put back outside: the switch of FUSE over io_uring.
"""
import contextlib
import ctypes
import os
import pathlib
import resource
import signal
import subprocess
import sys

INSIDE = "SHEEN_BENCH_INSIDE"
SCRATCH = pathlib.Path("/run/bench")
ADDRESS = "10.77.0.1"  # of the namespace alone: MooseFS refuses loopback addresses
URING_SWITCH = pathlib.Path("/sys/module/fuse/parameters/enable_uring")
PR_SET_PDEATHSIG = 1
# A descriptor for each file that a kernel knows (fuse_ceiling), or has open, at a system's liking.
OPEN_FILES_MAX = 1 << 20


def inside():
    return os.environ.get(INSIDE) == "1"


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill_namespace(outer):
    """Process 1 of the namespace is the only child of unshare(1), which reaps it."""
    children = pathlib.Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    with contextlib.suppress(OSError):
        for pid in children.read_text().split():
            os.kill(int(pid), signal.SIGKILL)
    try:
        outer.wait(30)
    except subprocess.TimeoutExpired:
        outer.kill()
        outer.wait()


@contextlib.contextmanager
def uring_switched_on():
    """FUSE over io_uring is allowed in here; afterwards it is as it was."""
    before = URING_SWITCH.read_text().strip() if URING_SWITCH.exists() else None
    if before == "N":
        URING_SWITCH.write_text("Y")
        print("FUSE over io_uring is switched on for this run", file=sys.stderr)
    try:
        yield before is not None
    finally:
        if before == "N":
            URING_SWITCH.write_text("N")


def run_inside(arguments):
    """The calling program again, in namespaces of its own. Returns its exit status."""
    if os.geteuid() != 0:
        sys.exit("needs root: it mounts, and makes namespaces")
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
               "--", sys.executable, "-B", *arguments]

    def ended(signal_number, _frame):
        raise SystemExit(128 + signal_number)

    signal.signal(signal.SIGTERM, ended)
    signal.signal(signal.SIGHUP, ended)
    with uring_switched_on():
        outer = subprocess.Popen(command, env={**os.environ, INSIDE: "1"},
                                 preexec_fn=_die_with_parent)
        try:
            return outer.wait()
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        finally:
            _kill_namespace(outer)


def _raise_open_files():
    limit = OPEN_FILES_MAX
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    except ValueError:  # not ours to raise
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def enter(size):
    """Called first inside. Process 1 reaps whatever is left to it; only its child returns."""
    child = os.fork()
    if child != 0:
        while True:
            try:
                pid, status = os.wait()
            except KeyboardInterrupt:
                continue  # the child has it too, and ends
            if pid == child:
                os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    _raise_open_files()
    for directory in ("/var/lib", "/var/log", "/run"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", directory], check=True)
    SCRATCH.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=755,size={size}", "tmpfs", str(SCRATCH)],
                   check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"], check=True)
    for directory in ("/run/lock", "/var/log/glusterfs", "/var/lib/glusterd"):
        os.makedirs(directory, exist_ok=True)
