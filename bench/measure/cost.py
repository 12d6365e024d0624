"""What bench/recovery_cost runs: workloads that change something, and some controls.

CPU seconds of a row are those of the daemons until they are at rest again: commits, and what is
dropped after them, belong to the cost.
"""
from measure import rounds, workloads
from measure.workloads import Row, Sizes

SIZES = Sizes(files=16000, mib=512, seconds=4, random_mib=64, small_mib=256, record_mib=256,
              tree_files=2000, mdtest_files=4000)
QUICK = Sizes(files=160, mib=4, seconds=0.1, random_mib=4, small_mib=2, record_mib=2,
              tree_files=60, mdtest_files=20)
PROCS = 8  # of the name phases


class Metered(workloads.Bench):
    def cpu_since(self, before):
        rounds.settle([self.system])
        return super().cpu_since(before)

    def fsbench(self, directories, phases, *options):
        """One phase; what it writes stays."""
        before = self.cpu()
        out = super().fsbench(directories, phases, "--keep", *options)
        for sample in out.values():
            sample["cpu"] = self.cpu_since(before)
        return out

    def phase(self, directories, phase, *options):
        return self.fsbench(directories, [phase], *options)[phase]


def names(bench):
    directory = bench.directory("names")
    options = ["--procs", PROCS, "--files", bench.sizes.files // PROCS]
    half = ["--procs", PROCS, "--files", bench.sizes.files // PROCS // 2]
    out = {"create": bench.phase([directory], "create", *options)}
    bench.system.remount()
    out["cold_stat"] = bench.phase([directory], "stat", *options)
    out["unlink"] = bench.phase([directory], "unlink", *options)
    out["create_fsync"] = bench.phase([directory], "create_fsync", *half)
    bench.clean(directory)
    return out


def random(bench):
    directory = bench.directory("random")
    options = ["--mib", bench.sizes.random_mib, "--seconds", bench.sizes.seconds]
    bench.phase([directory], "seq_write", "--fsync", *options)
    out = {phase: bench.phase([directory], phase, *options)
           for phase in ("rand_read", "rand_write", "write_fsync")}
    out["rand_write16"] = bench.phase([directory], "rand_write", "--depth", 16, *options)
    bench.clean(directory)
    return out


def records(bench):
    bench.system.mount(1)
    directories = [bench.directory("records", mount) for mount in (0, 1)]
    out = bench.stream(directories, "record_write", "--procs", 2, "--mib", bench.sizes.record_mib,
                       "--fsync")
    bench.clean(directories[0])
    bench.system.unmount(1)
    return {"record_write": out}


WORKLOADS = {"names": names, "stream": workloads.stream, "small-writes": workloads.small_writes,
             "random": random, "records": records, "tree": workloads.tree,
             "mdtest": lambda bench: workloads.mdtest(bench, ("create", "remove"))}
ROWS = (
    Row("create", "create, 8 processes, per s", "names"),
    Row("create_fsync", "create and fsync, 8 processes, per s", "names"),
    Row("unlink", "unlink, 8 processes, per s", "names"),
    Row("seq_write", "1 MiB sequential write, MiB/s", "stream", "gib"),
    Row("small_write", "sequential 4 KiB writes, MiB/s", "small-writes", "gib"),
    Row("rand_write", "4 KiB random write, direct, depth 1, IOPS", "random"),
    Row("rand_write16", "4 KiB random write, direct, depth 16, IOPS", "random"),
    Row("write_fsync", "4 KiB write + fsync, IOPS", "random"),
    Row("record_write", "47,008-byte records, 2 mounts, a file each, write, MiB/s", "records",
        "gib"),
    Row("untar", "untar of a tree of {tree_files:,} sources, s", "tree", seconds=True),
    Row("rm_rf", "rm -rf of that tree, s", "tree", seconds=True),
    Row("mdtest_create", "mdtest, 4 KiB files, 2 tasks, create, per s", "mdtest"),
    Row("mdtest_remove", "mdtest, 4 KiB files, 2 tasks, remove, per s", "mdtest"),
    Row("cold_stat", "stat, 8 processes, cold, per s", "names"),
    Row("rand_read", "4 KiB random read, direct, depth 1, IOPS", "random"),
    Row("cold_read", "1 MiB sequential cold read, MiB/s", "stream", "gib"),
)
# They change nothing, so that the option cannot make a difference.
CONTROLS = ("cold_stat", "rand_read", "cold_read")
