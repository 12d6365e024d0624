"""What is run on every system, and the rows that come out of it.

A workload is a function of a Bench; it returns {row: sample}, a sample being {"value", "cpu",
"amount"}: the rate or the seconds, the CPU seconds of the system's daemons, and what these were
spent on (GiB, or operations). Streaming passes are preceded by an identical one that is not
measured, for every system alike: memory is slow when it is touched the first time.
"""
import dataclasses
import json
import os
import re
import statistics
import time

from measure.systems import Failed, cpu_seconds, run


@dataclasses.dataclass(frozen=True)
class Row:
    key: str
    label: str  # a format string over Sizes
    workload: str
    per: str = "ops"  # of CPU seconds: "ops" (1,000 operations) or "gib"
    seconds: bool = False  # the value is a duration: less is better


@dataclasses.dataclass(frozen=True)
class Sizes:
    files: int = 4000  # of the name phases, all processes together
    mib: int = 256  # of streams, all processes together
    seconds: float = 2.0  # of the random phases
    random_mib: int = 64
    small_mib: int = 64
    record_mib: int = 32  # a process
    listing: int = 10000
    git_files: int = 10000
    tree_files: int = 2000
    mdtest_files: int = 1000  # a process


QUICK = Sizes(files=400, mib=32, seconds=0.3, random_mib=16, small_mib=8, record_mib=4,
              listing=1000, git_files=1000, tree_files=300, mdtest_files=100)
NAME_PHASES = {"create": "create", "stat_fresh": "stat, just after",
               "stat": "stat, 2 s later", "open_read_close": "open-read-close",
               "unlink": "unlink", "create_fsync": "create and fsync"}
# Longer than the kernel keeps what a filesystem lets it keep for a fixed time (1 s in all here).
NAMES_PAUSE_SECONDS = 2
MDTEST = {"create": ("-C", "File creation"), "stat": ("-T", "File stat"),
          "read": ("-E", "File read"), "remove": ("-r", "File removal")}


class Bench:
    """One system with what the workloads need of it."""

    def __init__(self, system, sizes, tools, inputs):
        self.system, self.sizes, self.tools, self.inputs = system, sizes, tools, inputs

    def directory(self, name, mount=0):
        path = self.system.mounts[mount] / name
        path.mkdir(exist_ok=True)
        return path

    def cpu(self):
        return cpu_seconds(self.system.pids())

    def cpu_since(self, before):
        return self.cpu() - before

    def fsbench(self, directories, phases, *options):
        pids = ",".join(str(pid) for pid in self.system.pids())
        output = run(self.tools / "fsbench", "--dir", ",".join(str(d) for d in directories),
                     "--phases", ",".join(phases), *(["--pid", pids] if pids else []), *options,
                     timeout=180)
        return {name: {"value": phase["rate"], "cpu": phase["server_cpu_seconds"],
                       "application_cpu": phase["cpu_seconds"],
                       "amount": phase["rate"] * phase["seconds"]}
                for name, phase in json.loads(output)["phases"].items()}

    def stream(self, directories, phase, *options):
        """One phase in MiB/s, with the unmeasured pass before it."""
        sample = {}
        for measured in (False, True):
            if phase.endswith("read"):
                self.system.remount()
            elif measured:
                self.inputs.touch(2 * int(sample["amount"]))
            sample = self.fsbench(directories, [phase], "--keep", *options)[phase]
        sample["amount"] /= 1024
        return sample

    def timed(self, *command, amount, **options):
        """A command's seconds."""
        before = self.cpu()
        begin = time.monotonic()
        run(*command, **options)
        seconds = time.monotonic() - begin
        return {"value": seconds, "cpu": self.cpu_since(before), "amount": amount}

    def clean(self, *directories):
        run("rm", "-rf", *directories)


def names(bench, procs):
    directory = bench.directory(f"names{procs}")
    options = ["--procs", procs, "--files", bench.sizes.files // procs]
    out = bench.fsbench([directory], ["create", "stat"], "--keep", *options)
    out["stat_fresh"] = out.pop("stat")
    time.sleep(NAMES_PAUSE_SECONDS)
    out |= bench.fsbench([directory], ["stat", "open_read_close", "unlink", "create_fsync"],
                         *options)
    bench.clean(directory)
    return {f"{phase}{procs}": sample for phase, sample in out.items()}


def stream(bench):
    directory = bench.directory("stream")
    options = ["--mib", bench.sizes.mib, "--fsync"]
    out = {"seq_write": bench.stream([directory], "seq_write", *options),
           "cold_read": bench.stream([directory], "seq_read", *options)}
    bench.clean(directory)
    return out


def shared(bench):
    directory = bench.directory("shared")
    options = ["--mib", bench.sizes.mib // 2, "--procs", 2, "--shared-file", "--fsync"]
    out = {"shared_write": bench.stream([directory], "seq_write", *options),
           "shared_read": bench.stream([directory], "seq_read", *options)}
    bench.clean(directory)
    return out


def random(bench):
    directory = bench.directory("random")
    options = ["--mib", bench.sizes.random_mib, "--seconds", bench.sizes.seconds, "--keep"]
    bench.fsbench([directory], ["seq_write"], "--fsync", *options)
    out = bench.fsbench([directory], ["rand_read", "rand_write", "write_fsync"], *options)
    deep = bench.fsbench([directory], ["rand_read", "rand_write"], "--depth", 16, *options)
    bench.clean(directory)
    return out | {f"{phase}16": sample for phase, sample in deep.items()}


def small_writes(bench):
    directory = bench.directory("small")
    out = bench.stream([directory], "small_write", "--mib", bench.sizes.small_mib, "--fsync")
    bench.clean(directory)
    return {"small_write": out}


def records(bench):
    bench.system.mount(1)
    out = {}
    for kind, more in (("shared", ["--shared-file"]), ("own", [])):
        directories = [bench.directory("records", mount) for mount in (0, 1)]
        options = ["--procs", 2, "--mib", bench.sizes.record_mib, "--fsync", *more]
        for phase in ("record_write", "record_read"):
            out[f"{kind}_{phase}"] = bench.stream(directories, phase, *options)
        bench.clean(directories[0])
    bench.system.unmount(1)
    return out


def listing(bench):
    directory = bench.system.mounts[0] / "listing"
    count = bench.sizes.listing
    if not directory.exists():
        directory.mkdir()
        bench.fsbench([directory], ["create"], "--files", count, "--keep")
    bench.system.remount()
    environment = {**os.environ, "LC_ALL": "C"}
    return {"listing": bench.timed("ls", "-l", directory / "fsbench.p0", amount=count,
                                   env=environment)}


def git(bench):
    directory = bench.system.mounts[0] / "git"
    if not directory.exists():
        bench.system.remount()
        run("cp", "-a", bench.inputs.git_tree(), directory)
    # The ceiling has a file open for each that its kernel knows: not those of other workloads too.
    bench.system.remount()
    command = ["git", "-C", directory, "status", "--porcelain"]
    options = {"amount": bench.sizes.git_files, "env": bench.inputs.git_environment}
    for _ in range(2):  # the very first brings the index up to date, after both the caches are warm
        bench.timed(*command, **options)
    samples = [bench.timed(*command, **options) for _ in range(3)]
    return {"git_status": {"value": statistics.median(s["value"] for s in samples),
                           "cpu": sum(s["cpu"] for s in samples),
                           "amount": 3 * bench.sizes.git_files}}


def tree(bench):
    directory = bench.directory("tree")
    archive = bench.inputs.archive()
    count = bench.sizes.tree_files
    out = {"untar": bench.timed("tar", "-xf", archive, "-C", directory, amount=count)}
    run("tar", "-df", archive, "-C", directory)  # every byte and mode
    out["rm_rf"] = bench.timed("rm", "-rf", directory, amount=count)
    return out


def mdtest(bench, phases=tuple(MDTEST)):
    directory = bench.directory("mdtest")
    count = 2 * bench.sizes.mdtest_files
    out = {}
    for phase in phases:
        switch, label = MDTEST[phase]
        before = bench.cpu()
        report = run(bench.tools / "sheen-bench", "mdtest", "--tasks", 2, "-d", directory, "-F",
                     "-u", "-n", bench.sizes.mdtest_files, "-w", 4096, "-e", 4096, "-N", 1, switch)
        rates = report[:report.find("SUMMARY time")]
        found = re.search(rf"{label}\s+[\d.]+\s+[\d.]+\s+([\d.]+)", rates)
        if not found:
            raise Failed(f"sheen-bench mdtest reports no '{label}'")
        out[f"mdtest_{phase}"] = {"value": float(found.group(1)), "amount": count,
                                  "cpu": bench.cpu_since(before)}
    bench.clean(directory)
    return out


WORKLOADS = {"names1": lambda bench: names(bench, 1), "names8": lambda bench: names(bench, 8),
             "stream": stream, "shared": shared, "random": random, "small-writes": small_writes,
             "records": records, "listing": listing, "git": git, "tree": tree, "mdtest": mdtest}


def _rows():
    for procs in (1, 8):
        for phase, label in NAME_PHASES.items():
            many = f"{procs} process" + ("es" if procs > 1 else "")
            yield Row(f"{phase}{procs}", f"{label}, {many}, per s", f"names{procs}")
    yield Row("seq_write", "1 MiB sequential write, MiB/s", "stream", "gib")
    yield Row("cold_read", "1 MiB sequential cold read, MiB/s", "stream", "gib")
    yield Row("shared_write", "one file, 2 processes, write, MiB/s", "shared", "gib")
    yield Row("shared_read", "one file, 2 processes, cold read, MiB/s", "shared", "gib")
    yield Row("rand_read", "4 KiB random read, direct, depth 1, IOPS", "random")
    yield Row("rand_write", "4 KiB random write, direct, depth 1, IOPS", "random")
    yield Row("rand_read16", "4 KiB random read, direct, depth 16, IOPS", "random")
    yield Row("rand_write16", "4 KiB random write, direct, depth 16, IOPS", "random")
    yield Row("write_fsync", "4 KiB write + fsync, IOPS", "random")
    yield Row("small_write", "sequential 4 KiB writes, MiB/s", "small-writes", "gib")
    for kind, where in (("shared", "one file"), ("own", "a file each")):
        for phase in ("write", "read"):
            yield Row(f"{kind}_record_{phase}",
                      f"47,008-byte records, 2 mounts, {where}, {phase}, MiB/s", "records", "gib")
    yield Row("listing", "ls -l of {listing:,} files, cold, s", "listing", seconds=True)
    yield Row("git_status", "git status, {git_files:,} files, warm, s", "git", seconds=True)
    yield Row("untar", "untar of a tree of {tree_files:,} sources, s", "tree", seconds=True)
    yield Row("rm_rf", "rm -rf of that tree, s", "tree", seconds=True)
    for phase in MDTEST:
        yield Row(f"mdtest_{phase}", f"mdtest, 4 KiB files, 2 tasks, {phase}, per s", "mdtest")


ROWS = tuple(_rows())
