#!/usr/bin/env python3
"""Reads and writes a file at random for some seconds, and compares every byte with a copy that gets
the same writes. Between writes it takes the mark "changed here" away, so that releases are tried in
earnest: what was written must stay all the same.

    release_exerciser.py FILE COPY SECONDS SEED
"""
import os
import random
import subprocess
import sys
import time


def main():
    path, copy_path, seconds, seed = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    choose = random.Random(seed)
    with open(copy_path, "rb") as file:
        copy = bytearray(file.read())
    end = time.monotonic() + seconds
    reads = writes = 0
    while time.monotonic() < end:
        offset = choose.randrange(len(copy))
        length = min(choose.choice([1, 4096, 47008, 300000, 2 << 20]), len(copy) - offset)
        if choose.random() < 0.8:
            file = os.open(path, os.O_RDONLY | choose.choice([0, os.O_DIRECT]))
            got = b""
            while len(got) < length:
                part = os.pread(file, length - len(got), offset + len(got))
                if not part:
                    break
                got += part
            os.close(file)
            if got != copy[offset:offset + length]:
                wrong = next(i for i in range(length) if i >= len(got) or got[i] != copy[offset + i])
                sys.exit(f"seed {seed}: byte {offset + wrong} differs ({len(got)} of {length} read)")
            reads += 1
        else:
            data = choose.randbytes(min(length, 100000))
            file = os.open(path, os.O_WRONLY)
            os.pwrite(file, data, offset)
            if choose.random() < 0.3:
                os.fsync(file)
            os.close(file)
            copy[offset:offset + len(data)] = data
            subprocess.run(["lfs", "hsm_clear", "--dirty", path], check=True)
            writes += 1
    with open(copy_path, "wb") as file:
        file.write(copy)
    print(f"{reads} reads, {writes} writes")


main()
