#!/usr/bin/env python3
"""House rules that a machine can check: sizes, columns, marks, the module graph, fakes, READMEs.

Prints one line a violation and ends with their number; exit status 1 when there is any.
Exceptions: tests/lint/allow.txt, one "rule path reason" a line; a line that allows nothing is itself
a violation, so that the list only shrinks.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FUNCTION_LINES_MAX, SOURCE_LINES_MAX, HEADER_LINES_MAX, COLUMNS_MAX = 70, 500, 250, 100

# A module may include itself and what stands left of or above it.
ROWS = [["base"], ["async"], ["fid", "layout", "lock"], ["io", "kv", "s3", "rpc", "blob"],
        ["ost", "mdt"], ["mds", "oss", "client", "agent", "hsm", "fuse"], ["apps"]]
ORDER = {name: (row, column) for row, names in enumerate(ROWS) for column, name in enumerate(names)}
FAKES = re.compile(r'#include "(kv/memory_|io/memory_|rpc/sim_|async/sim_|blob/memory_)')
GRPC = re.compile(r'#include [<"](grpc|grpcpp|.*\.grpc\.pb\.h)')
ROCKS = re.compile(r'#include [<"]rocksdb/')
MARKS = re.compile(r"\b(FIXME|TODO|XXX)\b")
# The same words, spelled so that this file does not match itself.
violations = []
allowed = {}
allow_file = ROOT / "tests/lint/allow.txt"
if allow_file.exists():
    for line in allow_file.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            rule, path, _reason = line.split(None, 2)
            allowed[(rule, path)] = False


def report(rule, path, line, text):
    key = (rule, str(path))
    if key in allowed:
        allowed[key] = True
        return
    violations.append(f"{path}:{line}: [{rule}] {text}")


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", *patterns], cwd=ROOT,
                         check=True, capture_output=True, text=True).stdout
    return sorted(pathlib.Path(p) for p in out.splitlines() if (ROOT / p).exists())


def check_functions(path, lines):
    """Definitions start at column 0 in this layout and end with a brace at column 0."""
    start, opener = None, ""
    for number, line in enumerate(lines, 1):
        if start is None and line and not line[0].isspace() and line[0] not in "#/}":
            start, opener = number, line
            if line.rstrip().endswith("}") and "{" in line:  # all in one line
                start, opener = None, ""
                continue
        elif start is not None and not line.startswith("}"):
            opener += line if len(opener) < 400 else ""
        if start is not None and (line.startswith("}") or (line.rstrip().endswith(";")
                                                           and not line[0:1].isspace()
                                                           and "{" not in opener)):
            kind = re.match(r"(inline |static |constexpr )*(namespace|class|struct|enum|union|extern)\b",
                            opener)
            if not kind and "(" in opener and number - start + 1 > FUNCTION_LINES_MAX:
                report("function-size", path, start,
                       f"function of {number - start + 1} lines, at most {FUNCTION_LINES_MAX}")
            start, opener = None, ""
        if re.match(r"(namespace|extern)\b.*\{", line):
            start, opener = None, ""


def check_text(path, text, lines):
    header = path.suffix == ".h"
    limit = HEADER_LINES_MAX if header else SOURCE_LINES_MAX
    if len(lines) > limit:
        report("file-size", path, 1, f"{len(lines)} lines, at most {limit}")
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX:
            report("columns", path, number, f"{len(line)} columns, at most {COLUMNS_MAX}")
        if MARKS.search(line):
            report("marks", path, number, "unfinished work is not marked, it is done or filed")
    if header and "#pragma once" not in text:
        report("header", path, 1, "no #pragma once")


def module_of(path):
    parts = path.parts
    return parts[1] if len(parts) > 2 and parts[0] == "src" else None


def check_includes(path, lines):
    module = module_of(path)
    for number, line in enumerate(lines, 1):
        match = re.match(r'#include "([a-z_]+)/', line)
        if match and match.group(1) in ORDER and module in ORDER:
            other = match.group(1)
            if other != module and ORDER[other] > ORDER[module]:
                report("module-graph", path, number, f"{module} must not include {other}")
        if module == "apps" and FAKES.match(line):
            report("fake-in-app", path, number, "a program includes a fake")
        if GRPC.match(line) and not (module == "apps" or str(path).startswith("src/rpc/grpc")):
            report("grpc-header", path, number, "gRPC headers belong to src/rpc/grpc* and src/apps")
        if ROCKS.match(line) and not str(path).startswith("src/kv/rocks"):
            report("rocksdb-header", path, number, "RocksDB headers belong to src/kv/rocks*")


def main():
    sources = tracked("src/*.cc", "src/*.h", "include/*.h", "tests/*.cc", "tests/*.h", "bench/*.cc",
                      "bench/*.h")
    for path in sources:
        text = (ROOT / path).read_text()
        lines = text.splitlines()
        check_text(path, text, lines)
        check_includes(path, lines)
        check_functions(path, lines)
    for module in ORDER:
        directory = ROOT / "src" / module
        if any(directory.glob("**/*.cc")) and not (directory / "README.md").exists():
            report("readme", directory.relative_to(ROOT), 1, "no README.md")
    for path in tracked("docs/*.md", "README.md", "src/*.md", "deploy/*", "tests/run", ".ci/run"):
        for number, line in enumerate((ROOT / path).read_text(errors="replace").splitlines(), 1):
            if MARKS.search(line):
                report("marks", path, number, "unfinished work is not marked")
    for (rule, path), used in allowed.items():
        if not used:
            violations.append(f"tests/lint/allow.txt: [{rule}] {path} is not needed any more")
    print("\n".join(violations))
    print(f"lint: {len(sources)} sources, {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
