"""Samples to tables: medians with spread, ratios, CPU seconds; Markdown and JSON."""
import statistics

from measure.systems import COMPARED, PEERS
from measure.workloads import ROWS

CEILING = "uring"


class Results:
    """rounds[i][system][row] is a sample, or {"failed": why}."""

    def __init__(self, meta, rounds=None):
        self.meta, self.rounds = meta, rounds if rounds is not None else []

    def samples(self, system, row):
        found = [one[system][row] for one in self.rounds if row in one.get(system, {})]
        return [sample for sample in found if "failed" not in sample]

    def label(self, row):
        return row.label.format(**self.meta["sizes"])

    def failures(self):
        for number, one in enumerate(self.rounds, 1):
            for system, rows in one.items():
                for row, sample in rows.items():
                    if "failed" in sample:
                        yield number, system, row, sample["failed"]

    def median(self, system, row):
        samples = self.samples(system, row)
        return statistics.median(s["value"] for s in samples) if samples else None

    def spread(self, system, row):
        values = [s["value"] for s in self.samples(system, row)]
        return (min(values), max(values)) if values else None

    def speed_ratio(self, row, system, other):
        """How many times as fast; of durations the inverse is taken."""
        mine, theirs = self.median(system, row.key), self.median(other, row.key)
        if not mine or not theirs:
            return None
        return theirs / mine if row.seconds else mine / theirs

    def best_peer(self, row):
        known = [(self.median(peer, row.key), peer) for peer in PEERS]
        known = [pair for pair in known if pair[0] is not None]
        if not known:
            return None
        return (min(known) if row.seconds else max(known))[1]

    def cpu(self, system, row):
        """CPU seconds per GiB or per 1,000 operations, over all rounds together."""
        samples = self.samples(system, row.key)
        amount = sum(s["amount"] for s in samples)
        if not amount:
            return None
        return sum(s["cpu"] for s in samples) / amount * (1 if row.per == "gib" else 1000)


def number(value):
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cell(results, system, row):
    median = results.median(system, row)
    if median is None:
        return ""
    if len(results.samples(system, row)) == 1:
        return number(median)
    least, most = results.spread(system, row)
    return f"{number(median)} ({number(least)}-{number(most)})"


def ratio(value):
    return "" if value is None else f"{value:.2f}"


def table(head, lines):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for line in lines:
        yield "| " + " | ".join(line) + " |"


def systems_of(results):
    return [key for key in COMPARED if any(key in one for one in results.rounds)]


def rows_of(results, known=ROWS):
    keys = {row for one in results.rounds for rows in one.values() for row in rows}
    return [row for row in known if row.key in keys]


def speed_lines(results, systems):
    for row in rows_of(results):
        best = results.best_peer(row)
        yield [results.label(row), *(cell(results, system, row.key) for system in systems),
               ratio(best and results.speed_ratio(row, "sheen", best)),
               ratio(results.speed_ratio(row, "sheen", CEILING))]


def cpu_lines(results, systems):
    for row in rows_of(results):
        per = "GiB" if row.per == "gib" else "1,000 operations"
        values = [results.cpu(system, row) for system in systems]
        yield [results.label(row), per, *("" if v is None else f"{v:.3f}" for v in values)]


def beside(results):
    """What has no column: local ext4, and shared against own files."""
    local = cell(results, "ext4", "git_status")
    if local:
        yield f"git status on local ext4 (a loop device on a file of the tmpfs): {local} s."
    parts = []
    for system in systems_of(results):
        for phase in ("write", "read"):
            one, own = (results.median(system, f"{kind}_record_{phase}")
                        for kind in ("shared", "own"))
            if one and own:
                parts.append(f"{COMPARED[system].label} {phase} {one / own:.2f}")
    if parts:
        yield "Records in one file as a part of a file each: " + ", ".join(parts) + "."


def markdown(results):
    systems = systems_of(results)
    labels = [COMPARED[key].label for key in systems]
    yield "Machine: " + results.meta["machine"] + "."
    yield (f"{len(results.rounds)} interleaved rounds; median (lowest-highest). Ratios are of "
           "speed, so that more than 1 is better for Sheen.")
    sizes = ", ".join(f"{name} {value:,}" for name, value in results.meta["sizes"].items())
    yield f"Versions: {results.meta['versions']}. Sizes: {sizes}."
    yield ""
    yield from table(["", *labels, "Sheen : best peer", "Sheen : ceiling, io_uring"],
                     speed_lines(results, systems))
    yield ""
    for line in beside(results):
        yield line
        yield ""
    yield "CPU seconds of the daemons, the client's among them:"
    yield ""
    yield from table(["", "per", *labels], cpu_lines(results, systems))
    failures = list(results.failures())
    if failures:
        yield ""
        yield "Failed:"
        yield ""
        for count, system, row, why in failures:
            yield f"- round {count}, {system}, {row}: {why}"
