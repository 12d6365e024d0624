#!/usr/bin/env python3
"""The same calls on Sheen and on a local filesystem beside it; every difference is a failure.

  posix.py --local DIR --mount A [--mount B] [--full] [--verbose] [--only GLOB] [--show]

A and B are one filesystem mounted twice. Every case runs on DIR, on A alone, and with its calls
alternating between A and B, as root and as two other users. What may differ stands in
known_differences, with its reason in docs/posix.md; a row that is not needed fails. expected_rows
lists what must have been tried: call, errno, type, user. Run as root by tests/integration/posix.sh.
"""
import argparse
import collections
import fnmatch
import functools
import multiprocessing
import os
import pathlib
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import calls  # noqa: E402
import harness  # noqa: E402
AREAS = ("names", "relative", "open_flags", "attributes", "data", "permissions", "locks", "xattrs",
         "acls", "readdir")
for area in AREAS:
    if (HERE / f"{area}.py").exists():
        __import__(area)


def run(case, user, roots, coverage, options):
    """Runs one case in a directory of its own; gives its trace."""
    place = f"{case.name}-{user}"
    directories = [os.path.join(root, place) for root in roots]
    os.mkdir(directories[0])
    os.chmod(directories[0], 0o777)
    world = harness.World(directories, user, coverage)
    world.calls = calls.TABLE
    world.links_max = 64998 if options.full else 200
    before = set(os.listdir("/proc/self/fd"))
    os.umask(0o022)
    harness.become(user)
    try:
        case.function(world)
    except Exception as error:  # the trace says how far it came; the others still run
        lines = [at.lineno for at in traceback.extract_tb(error.__traceback__)]
        world.trace.append(harness.Step(f"line {lines[1:]} raised", repr(error).replace(
            directories[0], "").replace(directories[-1], ""), []))
    finally:
        harness.become("root")
        os.umask(0o022)
        for fd in set(os.listdir("/proc/self/fd")) - before:
            try:
                os.close(int(fd))
            except OSError:
                pass
    return world.trace


def differences(case, user, where, local, sheen, known):
    """Sentences about every step that differs and is not known to."""
    name = f"{case.name}-{user}-{where}"
    if local and local[-1].call.startswith("line "):
        yield f"{name}: {local[-1].call} {local[-1].result}"
    for number in range(max(len(local), len(sheen))):
        a = local[number] if number < len(local) else harness.Step("nothing", "", [])
        b = sheen[number] if number < len(sheen) else harness.Step("nothing", "", [])
        if a.call != b.call:
            yield f"{name}: step {number}: {a.call} = {a.result} there, {b.call} = {b.result} here"
            return
        if a.result != b.result and not known.covers(name, a.call, a.result, b.result):
            yield f"{name}: {a.call}: {a.result}; on Sheen: {b.result}"
        for left, right in zip(a.effects, b.effects):
            if left != right and not known.covers(name, a.call, left, right):
                yield f"{name}: {a.call} -> {left}; on Sheen: {right}"


def expected_rows(full):
    """(call, errno, type, user) of the table."""
    rows = set()
    for line in (HERE / "expected_rows").read_text().splitlines():
        words = line.split("#")[0].split()
        if words and words[0] == "full:":
            words = words[1:] if full else []
        if words:
            call, code, kinds, users = words
            users = harness.ALL if users == "all" else users.split(",")
            rows.update((call, code, kind, user) for kind in kinds.split(",") for user in users)
    return rows


def lines_of(coverage):
    """As the lines of expected_rows: types that the same users have tried are in one."""
    users_of = collections.defaultdict(lambda: collections.defaultdict(set))
    for call, code, kind, user in coverage:
        users_of[call, code][kind].add(user)
    for (call, code), by_kind in sorted(users_of.items()):
        kinds_of = collections.defaultdict(list)
        for kind in sorted(by_kind, key=(*harness.KINDS, "none").index):
            kinds_of[tuple(u for u in harness.ALL if u in by_kind[kind])].append(kind)
        for users, kinds in kinds_of.items():
            yield f"{call} {code} {','.join(kinds)} " + (
                "all" if users == harness.ALL else ",".join(users))


def print_coverage(coverage, verbose):
    kinds = {kind for _, _, kind, _ in coverage}
    rows = {(call, code) for call, code, _, _ in coverage}
    print(f"coverage: {len(rows)} rows of call x errno, {len(coverage)} of call x errno x type x "
          f"user, {sum(coverage.values())} calls, {len(kinds)} types, {len(harness.USERS)} users")
    if verbose:
        print(*lines_of(coverage), sep="\n")


def check_tables(coverage, known, options):
    """What the tables demand beyond equal traces."""
    failed = []
    if not options.only:
        for line in lines_of(expected_rows(options.full) - coverage.keys()):
            failed.append(f"expected_rows: {line} has no test")
        for number, row in enumerate(known.rows):
            wanted = options.full or number not in known.full_only
            if wanted and not known.used[number] and options.mounts > 1:
                failed.append(f"known_differences: not needed any more: {' | '.join(row)}")
    text = (HERE.parents[1] / "docs/posix.md").read_text()
    for name in sorted({row[0] for row in known.rows}):
        if f"`{name}`" not in text:
            failed.append(f"known_differences: docs/posix.md does not name `{name}`")
    return failed


class Part:
    """What some cases gave."""

    def __init__(self):
        self.coverage, self.spent = collections.Counter(), collections.Counter()
        self.used, self.found = collections.Counter(), []
        self.count = self.steps = 0

    def add(self, other):
        for name in ("coverage", "spent", "used"):
            getattr(self, name).update(getattr(other, name))
        self.found += other.found
        self.count += other.count
        self.steps += other.steps


def run_everywhere(name, options, places, stamp):
    """One case as each of its users, on every filesystem."""
    case, part = harness.CASES[name], Part()
    known = harness.KnownDifferences(HERE / "known_differences")
    for user in case.users:
        part.count += 1
        begin = time.monotonic()
        roots = [os.path.join(options.local, f"{stamp}-local")]
        local = run(case, user, roots, part.coverage, options)
        part.spent["local"] += time.monotonic() - begin
        part.steps += len(local)
        if options.show:
            print(*(f"{case.name}-{user}: {step}" for step in local), sep="\n", flush=True)
        for where, mounts in places.items():
            begin = time.monotonic()
            roots = [os.path.join(mount, f"{stamp}-{where}") for mount in mounts]
            sheen = run(case, user, roots, collections.Counter(), options)
            part.found += differences(case, user, where, local, sheen, known)
            part.spent[where] += time.monotonic() - begin
    part.used = known.used
    return part


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--local", required=True)
    parser.add_argument("--mount", action="append", required=True)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--only", help="cases whose name fits this pattern")
    parser.add_argument("--show", action="store_true", help="every step of the local run")
    options = parser.parse_args()
    options.mounts = len(options.mount)
    places = {"one": options.mount[:1]}
    if options.mounts > 1:
        places["two"] = options.mount
    stamp = f"posix-{os.getpid()}"
    for top in (options.local, options.mount[0]):
        os.chmod(top, 0o755)
        for where in ("local", *places):
            os.makedirs(os.path.join(top, f"{stamp}-{where}"), exist_ok=True)
    known = harness.KnownDifferences(HERE / "known_differences")
    chosen = [name for name in harness.CASES
              if not options.only or fnmatch.fnmatchcase(name, options.only)]
    work = functools.partial(run_everywhere, options=options, places=places, stamp=stamp)
    total = Part()
    # Two processes: each case has a directory of its own, and users are a matter of the process.
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for part in pool.imap(work, chosen):
            total.add(part)
    known.used, found = total.used, total.found
    print_coverage(total.coverage, options.verbose)
    failed = check_tables(total.coverage, known, options)
    print(*found, *failed, sep="\n")
    seconds = ", ".join(f"{where} {value:.1f} s" for where, value in total.spent.items())
    print(f"posix: {len(harness.CASES)} cases, {total.count} with users, {total.steps} steps, "
          f"{seconds}; "
          f"{sum(known.used.values())} known differences by {len(known.rows)} rows, "
          f"{len(found) + len(failed)} failures")
    return 1 if found or failed else 0


if __name__ == "__main__":
    sys.exit(main())
