"""The filesystems that are compared: how each is started, mounted and counted.

All keep their stores on the scratch tmpfs. A system has up to three mounts; mount 0 is always
there.
Nothing here is stopped in the end: isolation.py sees to that. bench/README.md names every setting.
"""
import json
import os
import pathlib
import re
import subprocess
import time

from measure.isolation import ADDRESS

CPUCLOCK_SCHED = 2  # of the clocks that clock_getcpuclockid(3) makes of a process id
START_SECONDS = 60


class Failed(Exception):
    """A system or a workload did not do what it should; the message says which and why."""


def run(*command, timeout=300, **options):
    """The command's stdout. Raises Failed with the last lines of its stderr."""
    command = [str(c) for c in command]
    try:
        done = subprocess.run(command, text=True, capture_output=True, timeout=timeout,
                              check=False, **options)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{command[0]}: not done after {timeout} s") from error
    if done.returncode != 0:
        tail = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise Failed(f"{' '.join(command[:3])}: status {done.returncode}: {tail}")
    return done.stdout


def wait_for(condition, what, seconds=START_SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds} s in vain for {what}")
        time.sleep(0.02)


def processes_called(*names):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "comm").read_text().strip() in names:
                    found.append(int(entry.name))
            except OSError:
                pass  # it has just ended
    return found


def cpu_seconds(pids):
    """User and system time of processes, their ended threads included, to the nanosecond."""
    total = 0
    for pid in pids:
        try:
            total += time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)
        except OSError:
            pass  # it has ended
    return total


def resident_kib(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS:")).split()[1])


class System:
    key = label = ""
    daemons = ()
    packages = ()
    version_command = ()

    @classmethod
    def version(cls):
        """As the program tells it: inside, there is no package database."""
        found = re.search(r"\d+(\.\d+)+", run(*cls.version_command))
        return found.group(0) if found else "of unknown version"

    def __init__(self, programs, work):
        self.programs, self.work = programs, work / self.key
        self.mounts = [self.work / f"mnt{index}" for index in range(3)]
        self.mounted = []
        self.running = {}  # mount path to its process, where it is ours
        self.log = None

    def start(self):
        for mount in self.mounts:
            mount.mkdir(parents=True)
        self.log = open(self.work / "log", "a", encoding="utf-8")
        self.start_servers()
        self.mount(0)

    def background(self, *command):
        return subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL,
                                stdout=self.log, stderr=self.log, start_new_session=True)

    def mount(self, index):
        if index not in self.mounted:
            self.start_mount(self.mounts[index])
            self.mounted.append(index)

    def unmount(self, index):
        if index in self.mounted:
            self.end_mount(self.mounts[index])
            self.mounted.remove(index)

    def remount(self):
        """Cold clients: every mount's process and the kernel's pages and names of it are new."""
        mounted = list(self.mounted)
        for index in mounted:
            self.unmount(index)
        for index in mounted:
            self.mount(index)

    def pids(self):
        return processes_called(*self.daemons)

    def start_servers(self):
        """For systems that have servers."""

    def start_mount(self, path):
        raise NotImplementedError

    def end_mount(self, path):
        run("umount", path)
        try:
            self.running.pop(path).wait(30)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{self.label}: the daemon of {path} outlives its mount") from error

    def serve(self, path, *command):
        """Starts the command that mounts and serves; returns when it is mounted."""
        process = self.running[path] = self.background(*command)

        def ready():
            if process.poll() is not None:
                raise Failed(f"{self.label}: {process.args[0]} ended, see {self.work}/log")
            return os.path.ismount(path)
        wait_for(ready, f"{self.label} at {path}")


class Sheen(System):
    key, label = "sheen", "Sheen"
    daemons = ("sheen-mds", "sheen-oss", "sheen-client")
    name = "bench"
    client_options = ()  # as ("recovery=off",)
    server_options = ()  # of `sheen dev up`, as ("--size", "4G")

    def dev(self, *arguments):
        return run(self.programs / "sheen", "dev", *arguments, "--name", self.name)

    def mount_options(self):
        return ["--client-opt", ",".join(self.client_options)] if self.client_options else []

    def start_servers(self):
        self.dev("up", "--dir", self.work / "cluster", "--mount", self.mounts[0],
                 *self.mount_options(), *self.server_options)

    def start_mount(self, path):
        self.dev("mount", path, *self.mount_options())

    def end_mount(self, path):
        self.dev("umount", path)

    def daemons_running(self):
        """As `sheen dev status` knows them: name, pid, ports of servers, and more."""
        return json.loads(self.dev("status", "--json"))["daemons"]

    def memory_mib(self):
        """Resident memory of each daemon."""
        return {daemon["name"]: resident_kib(daemon["pid"]) // 1024
                for daemon in self.daemons_running()}


class SheenBeside(Sheen):
    """One of several instances, whose daemons have the same names."""

    def __init__(self, programs, work):
        super().__init__(programs, work)
        self.known = None

    def start_mount(self, path):
        super().start_mount(path)
        self.known = None

    def end_mount(self, path):
        super().end_mount(path)
        self.known = None

    def pids(self):
        if self.known is None:
            self.known = [daemon["pid"] for daemon in self.daemons_running()]
        return self.known


class SheenOn(SheenBeside):
    key = label = name = "on"


class SheenOff(SheenBeside):
    key = label = name = "off"
    client_options = ("recovery=off",)


class SheenAgain(SheenBeside):
    """As SheenOn: how much the two differ is noise."""
    key = label = name = "again"


class Ceiling(System):
    """Our FUSE front end over a directory of the tmpfs: what FUSE itself allows."""
    transport = ""

    def __init__(self, programs, work):
        super().__init__(programs, work)
        self.store = self.work / "store"

    def start_servers(self):
        self.store.mkdir()

    def start_mount(self, path):
        self.serve(path, self.programs / "fuse_ceiling", "--io-uring", self.transport,
                   "--mount", path, "--dir", self.store)

    def pids(self):
        return [process.pid for process in self.running.values()]


class CeilingUring(Ceiling):
    key, label, transport = "uring", "ceiling, io_uring", "on"


class CeilingClassic(Ceiling):
    key, label, transport = "classic", "ceiling, classic", "off"


class LocalExt4(System):
    """ext4 on a loop device on a file of the tmpfs: what the kernel does without FUSE."""
    key, label = "ext4", "local ext4"

    def start_servers(self):
        image = self.work / "image"
        with open(image, "wb") as file:
            file.truncate(1 << 30)
        run("mkfs.ext4", "-q", "-F", image)

    def start_mount(self, path):
        run("mount", "-o", "loop,noatime", self.work / "image", path)

    def end_mount(self, path):
        run("umount", path)

    def pids(self):
        return []


class MooseFS(System):
    key, label = "moosefs", "MooseFS"
    daemons = ("mfsmaster", "mfschunkserver", "mfsmount")
    packages = ("moosefs-master", "moosefs-chunkserver", "moosefs-client")
    version_command = ("mfsmaster", "-v")
    chunkservers = 2

    def configuration(self, name, lines):
        path = self.work / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    def start_servers(self):
        exports = self.configuration("exports.cfg", ["* / rw,alldirs,admin,maproot=0:0", "* . rw"])
        data = self.work / "master"
        data.mkdir()
        (data / "metadata.mfs").write_bytes(b"MFSM NEW")
        settings = self.configuration("master.cfg", [
            "WORKING_USER = root", "WORKING_GROUP = root", f"DATA_PATH = {data}",
            f"EXPORTS_FILENAME = {exports}", "TOPOLOGY_FILENAME = /dev/null"])
        self.background("mfsmaster", "-f", "-c", settings, "start")
        wait_for(self.answers, "mfsmaster's port")
        for index in range(self.chunkservers):
            self.start_chunkserver(index)

    @staticmethod
    def answers():
        listening = run("ss", "-Hltn", "sport = :9421 or sport = :9420").splitlines()
        return len(listening) >= 2

    def start_chunkserver(self, index):
        home = self.work / f"chunks{index}"
        (home / "hdd").mkdir(parents=True)
        # One directory each: it warns of two on one device.
        hdd = self.configuration(f"hdd{index}.cfg", [home / "hdd"])
        settings = self.configuration(f"chunkserver{index}.cfg", [
            "WORKING_USER = root", "WORKING_GROUP = root", f"DATA_PATH = {home}",
            f"HDD_CONF_FILENAME = {hdd}", f"MASTER_HOST = {ADDRESS}", f"BIND_HOST = {ADDRESS}",
            f"CSSERV_LISTEN_HOST = {ADDRESS}", f"CSSERV_LISTEN_PORT = {9422 + index}"])
        self.background("mfschunkserver", "-f", "-c", settings, "start")

    def start(self):
        super().start()
        wait_for(self.has_space, "MooseFS's chunkservers")
        run("mfssetgoal", "-r", "1", self.mounts[0])
        run("mfssettrashtime", "-r", "0", self.mounts[0])

    def has_space(self):
        """Both chunkservers have told the master of their directories, and it takes writes."""
        listing = run("ss", "-Htn", "state", "established", "sport = :9420").splitlines()
        return len(listing) >= self.chunkservers and os.statvfs(self.mounts[0]).f_bavail > 0

    def start_mount(self, path):
        self.serve(path, "mfsmount", "-f", path, "-H", ADDRESS)


class GlusterFS(System):
    key, label = "glusterfs", "GlusterFS"
    daemons = ("glusterd", "glusterfsd", "glusterfs")
    packages = ("glusterfs-server", "glusterfs-client")
    version_command = ("glusterfs", "--version")
    volume, bricks = "bench", 2
    # Those of the groups metadata-cache and nl-cache that the packages bring in /etc/glusterfs.
    options = {"features.cache-invalidation": "on", "features.cache-invalidation-timeout": "600",
               "performance.stat-prefetch": "on", "performance.cache-invalidation": "on",
               "performance.md-cache-timeout": "600", "network.inode-lru-limit": "200000",
               "performance.nl-cache": "on", "performance.nl-cache-timeout": "600"}

    def gluster(self, *arguments):
        return run("gluster", "--mode=script", "volume", *arguments)

    def start_servers(self):
        self.background("glusterd", "-N", "-L", "WARNING")
        wait_for(lambda: os.path.exists("/run/glusterd.socket"), "glusterd")
        bricks = []
        for index in range(self.bricks):
            brick = self.work / f"brick{index}"
            brick.mkdir()
            bricks.append(f"{ADDRESS}:{brick}")
        self.gluster("create", self.volume, *bricks, "force")
        for option, value in self.options.items():
            self.gluster("set", self.volume, option, value)
        self.gluster("start", self.volume)

    def start_mount(self, path):
        self.serve(path, "glusterfs", "-N", "-L", "WARNING", "--process-name", "fuse",
                   "--volfile-server", ADDRESS, "--volfile-id", self.volume, path)


COMPARED = {cls.key: cls for cls in (Sheen, MooseFS, GlusterFS, CeilingUring, CeilingClassic)}
PEERS = ("moosefs", "glusterfs")
