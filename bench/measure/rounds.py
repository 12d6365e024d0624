"""Rounds of workloads on systems that run side by side; samples are kept as they come."""
import json
import os
import platform
import subprocess
import sys
import time

from measure import isolation, report, systems, workloads
from measure.inputs import Inputs

SETTLE_SECONDS = 10
REST_SECONDS, REST_CPU_SECONDS = 0.2, 0.011


def say(text):
    print(text, file=sys.stderr, flush=True)


def commit_of(directory):
    git = subprocess.run(["git", "-C", str(directory), "rev-parse", "--short", "HEAD"], text=True,
                         capture_output=True, check=False)
    return git.stdout.strip() or "of unknown commit"


def machine():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return f"{os.cpu_count()} cores, {memory} GiB, Linux {platform.release()}"


def settle(running):
    """What a system does after its turn (it removes chunks, say) is over before the next begins."""
    pids = [pid for system in running for pid in system.pids()]
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        before = systems.cpu_seconds(pids)
        time.sleep(REST_SECONDS)
        if systems.cpu_seconds(pids) - before <= REST_CPU_SECONDS:
            return


class Run:
    """`known` are the systems' classes by key, `plan` the workloads (functions of a Bench) by name.

    Of `args` it uses bin, tools, systems, workloads, rounds, budget, json and resume.
    """
    bench = workloads.Bench

    def __init__(self, args, known, plan, rows, sizes, meta):
        self.args, self.known, self.plan, self.rows, self.sizes = args, known, plan, rows, sizes
        self.results = report.Results(meta)
        if args.resume and args.json.exists():
            kept = json.loads(args.json.read_text())
            if kept["meta"]["sizes"] != meta["sizes"]:
                sys.exit(f"--resume: {args.json} was measured with other sizes")
            self.results.rounds = kept["rounds"]
        self.running = {}
        self.broken = {}
        self.inputs = None

    def start(self):
        self.inputs = Inputs(isolation.SCRATCH / "inputs", self.sizes)
        for key in self.args.systems:
            system = self.known[key](self.args.bin, isolation.SCRATCH)
            begin = time.monotonic()
            try:
                system.start()
            except systems.Failed as error:
                self.broken[key] = str(error)
                say(f"{system.label} does not start: {error}")
                continue
            self.running[key] = system
            say(f"{system.label} runs ({time.monotonic() - begin:.1f} s)")

    def measured_with(self, key, workload):  # pylint: disable=unused-argument
        return True

    def order(self, number):
        keys = list(self.running)
        turn = number % len(keys)
        return keys[turn:] + keys[:turn]

    def save(self):
        if self.args.json:
            part = self.args.json.with_suffix(".part")
            part.write_text(json.dumps({"meta": self.results.meta, "rounds": self.results.rounds},
                                       indent=1))
            part.replace(self.args.json)

    def measure(self, system, workload, into):
        rows = [row.key for row in self.rows if row.workload == workload]
        if all(row in into for row in rows):
            return  # resumed
        settle(self.running.values())
        bench = self.bench(system, self.sizes, self.args.tools, self.inputs)
        begin = time.monotonic()
        try:
            samples = self.plan[workload](bench)
        except (systems.Failed, OSError) as error:
            samples = {row: {"failed": str(error)} for row in rows}
            say(f"  {system.label}, {workload}: FAILED: {error}")
        into.update(samples)
        shown = ", ".join(f"{row} {report.number(s['value'])}" for row, s in samples.items()
                          if "value" in s)
        say(f"  {system.label:18} {workload:12} {time.monotonic() - begin:5.1f} s  {shown}")

    def one_round(self, number, into):
        # Workload by workload, so that what is compared is near in time.
        for workload in self.args.workloads:
            for key in self.order(number):
                if self.measured_with(key, workload):
                    self.measure(self.running[key], workload, into.setdefault(key, {}))
                    self.save()

    def all_rounds(self):
        begin = time.monotonic()
        longest = 0
        for number in range(self.args.rounds):
            now = time.monotonic()
            if self.args.budget and now + longest > begin + self.args.budget * 60:
                say(f"the budget of {self.args.budget:g} minutes ends after {number} rounds")
                break
            say(f"round {number + 1} of {self.args.rounds}")
            while len(self.results.rounds) <= number:
                self.results.rounds.append({})
            self.one_round(number, self.results.rounds[number])
            longest = max(longest, time.monotonic() - now)
            scratch = os.statvfs(isolation.SCRATCH)
            used = (scratch.f_blocks - scratch.f_bfree) * scratch.f_frsize >> 20
            say(f"round {number + 1}: {(time.monotonic() - now) / 60:.1f} min, "
                f"{used:,} MiB of the tmpfs in use")

    def rounds(self):
        """False when interrupted."""
        try:
            self.all_rounds()
        except KeyboardInterrupt:
            say("interrupted; --resume goes on" if self.args.json else "interrupted")
            return False
        finally:
            self.save()
        return True
