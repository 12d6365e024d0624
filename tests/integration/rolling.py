"""The load of rolling.sh: rolling.py MOUNT OTHER NAME FILE, until FILE.stop is there.

Makes, renames, appends to, syncs, reads and removes files, looks at what its twin on the other mount
makes, and appends to a file of both. Each call that took 0.2 s or longer is a line of FILE: when it
ended (CLOCK_MONOTONIC), how long, what. At the end it verifies all that it wrote, on both mounts."""
import os
import sys
import time

RECORD = 64


def record(name, number):
    return f"{name} {number} ".ljust(RECORD - 1, ".").encode() + b"\n"


def main(mount, other, name, path):
    out = open(path, "w", encoding="utf-8", buffering=1)
    counted = 0

    def do(what, function, *arguments):
        nonlocal counted
        began = time.monotonic()
        result = function(*arguments)  # any error ends it
        ended = time.monotonic()
        counted += 1
        if ended - began >= 0.2:
            out.write(f"{ended} {ended - began:.3f} {what}\n")
        return result

    def wait_for_twin():
        while not os.path.isdir(f"{mount}/{'b' if name == 'a' else 'a'}"):
            time.sleep(0.01)

    os.mkdir(f"{mount}/{name}")
    wait_for_twin()
    twin = f"{mount}/{'b' if name == 'a' else 'a'}"
    shared = os.open(f"{mount}/shared", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    number = 0
    while not os.path.exists(f"{path}.stop"):
        number += 1
        at = f"{mount}/{name}/{number % 50}"
        if number > 50:
            do("unlink", os.unlink, at)
        file = do("create", os.open, f"{at}.new", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        do("write", os.write, file, record(name, number) * 100)
        if number % 7 == 0:  # of all OSTs in turn
            do("fsync", os.fsync, file)
        do("close", os.close, file)
        do("rename", os.rename, f"{at}.new", at)
        do("append", os.write, shared, record(name, number))
        for seen in do("listdir", os.listdir, twin)[:3]:
            try:
                do("stat", os.stat, f"{twin}/{seen}")
            except FileNotFoundError:
                pass  # its twin was faster
        if os.path.getsize(at) != RECORD * 100:
            sys.exit(f"{at}: {os.path.getsize(at)} bytes")
        time.sleep(0.002)
    for top in (mount, other):
        with open(f"{top}/shared", "rb") as file:
            mine = [line for line in file.read().splitlines(True) if line.startswith(name.encode())]
        if mine != [record(name, n) for n in range(1, number + 1)]:
            sys.exit(f"{top}/shared: {len(mine)} records of {name}, not {number} in order")
        for n in range(max(1, number - 49), number + 1):
            with open(f"{top}/{name}/{n % 50}", "rb") as file:
                if file.read() != record(name, n) * 100:
                    sys.exit(f"{top}/{name}/{n % 50}: other bytes")
    out.write(f"end {counted}\n")


main(*sys.argv[1:])
