"""The processes of partitions.sh. What was answered is noted outside of the filesystem.

  load MOUNT NAME NOTES     appends to a file of all, makes and renames names, until NOTES.stop is there;
                            a line of NOTES for each answered call, and the longest time of one
  verify MOUNT NOTES...     all that was answered is there once, whole and in order
  hold MOUNT STEPS AWAY BACK
                            locks MOUNT/held, writes to it, and has the shell command AWAY run before
                            that is stored (BACK undoes it); goes on as files of STEPS say
  lock PATH                 locks it, says so and waits
"""
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time

RECORD = 64
HELD = 64 << 10
HELD_FOR = 0.7  # seconds; after one they are sent


def record(name, number):
    return f"{name} {number} ".ljust(RECORD - 1, ".").encode() + b"\n"


def load(mount, name, notes):
    out = open(notes, "w", encoding="utf-8", buffering=1)
    longest = 0.0

    def do(what, function, *arguments, **keywords):
        nonlocal longest
        began = time.monotonic()
        try:
            result = function(*arguments, **keywords)
        except OSError as error:
            out.write(f"error {what}: {error}\n")
            sys.exit(f"{name}: {what}: {error}")
        longest = max(longest, time.monotonic() - began)
        out.write(f"{what}\n")
        return result

    def write_all(path, data):
        with open(path, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    os.makedirs(f"{mount}/{name}", exist_ok=True)
    shared = os.open(f"{mount}/shared", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    number = 0
    while not os.path.exists(f"{notes}.stop"):
        number += 1
        if do(f"append {number}", os.write, shared, record(name, number)) != RECORD:
            sys.exit(f"{name}: a part of a record was written")
        if number % 4 == 0:
            do(f"fsync {number}", os.fsync, shared)
        new, old = f"{mount}/{name}/new", f"{mount}/{name}/n{number}"
        do(f"create {number}", write_all, new, record(name, number))
        do(f"rename {number}", os.rename, new, old)
        do(f"link {number}", os.link, old, f"{old}.link")
        time.sleep(0.005)
    out.write(f"longest {longest:.2f}\n")


def verify(mount, *notes):
    with open(f"{mount}/shared", "rb") as file:
        data = file.read()
    found = [data[at:at + RECORD] for at in range(0, len(data), RECORD)]
    for path in notes:
        name = os.path.basename(path)
        with open(path, encoding="utf-8") as file:
            lines = [line.split() for line in file]
        if lines[-1][0] != "longest":
            sys.exit(f"{name} did not end well: {lines[-1]}")
        appended = [record(name, int(words[1])) for words in lines if words[0] == "append"]
        mine = [line for line in found if line.startswith(name.encode() + b" ")]
        if mine != appended:
            at = next((i for i, (a, b) in enumerate(zip(mine, appended)) if a != b),
                      min(len(mine), len(appended)))
            sys.exit(f"{mount}/shared: of {name} {len(mine)} records, owed are {len(appended)}; "
                     f"they differ from the one at {at} on: {mine[at:at + 2]}")
        found = [line for line in found if line not in set(mine)]
        numbers = [int(words[1]) for words in lines if words[0] == "link"]
        owed = {f"n{n}{end}" for n in numbers for end in ("", ".link")}
        there = set(os.listdir(f"{mount}/{name}"))
        if there != owed:
            sys.exit(f"{mount}/{name}: not owed {sorted(there - owed)[:5]}, "
                     f"missing {sorted(owed - there)[:5]}")
        for number in numbers:
            with open(f"{mount}/{name}/n{number}", "rb") as file:
                if file.read() != record(name, number):
                    sys.exit(f"{mount}/{name}/n{number}: other bytes")
        print(f"{name}: {len(appended)} records and {len(owed)} names are there, "
              f"the longest call took {lines[-1][1]} s")
    if found:
        sys.exit(f"{mount}/shared: records of nobody: {found[:3]}")


def outcome(function, *arguments):
    try:
        return function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]


def hold(mount, steps, away, back):
    def step(name):
        while not os.path.exists(f"{steps}/{name}"):
            time.sleep(0.01)

    def say(name, value):
        with open(f"{steps}/{name}.tmp", "w", encoding="utf-8") as file:
            json.dump(value, file)
        os.rename(f"{steps}/{name}.tmp", f"{steps}/{name}")

    file = os.open(f"{mount}/held", os.O_RDWR)
    fcntl.lockf(file, fcntl.LOCK_EX)
    while True:
        for _ in range(3):  # the first one gets the lock under which the next are held
            os.pwrite(file, b"s" * HELD, 0)
            os.fsync(file)
        began = time.monotonic()
        os.pwrite(file, b"h" * HELD, 0)
        subprocess.run(away, shell=True, check=True)
        if time.monotonic() - began < HELD_FOR:
            break
        subprocess.run(back, shell=True, check=True)
    say("away", True)
    step("back")
    say("fsync", outcome(os.fsync, file))
    say("lock", outcome(fcntl.lockf, file, fcntl.LOCK_EX | fcntl.LOCK_NB))
    step("again")
    os.pwrite(file, b"a", HELD)
    say("end", outcome(os.fsync, file))
    sys.exit(0 if outcome(os.fsync, file) is None else "the file does not work after the eviction")


def lock(path):
    file = os.open(path, os.O_RDWR)
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("locked", flush=True)
    signal.pause()


if __name__ == "__main__":
    {"load": load, "verify": verify, "hold": hold, "lock": lock}[sys.argv[1]](*sys.argv[2:])
