#!/usr/bin/python3
"""Files of a bucket, through everything that can happen to them: imported, read, changed here,
changed in S3 and imported again, released, restored, while agents, OSSs and the MDS are killed; in
the end every byte is what the bucket and the changes here say.

    cycle.py --url URL --bucket B --name INSTANCE --mount M [--mount M2] --copies DIR
             [--files N] [--large N] [--steps N] [--seed S]

Sizes are log-uniform from 0 to 2 MiB; large files have 64 MiB. DIR gets a copy of every file as it
must be. Each of four workers has files of its own, and uses the mounts in turn; any error that a
program would see is a failure. Keys are AWS's environment variables.
"""
import argparse
import math
import os
import random
import subprocess
import sys
import threading
import time

import boto3
from botocore.config import Config

WORKERS = 4
LARGE = 64 << 20
SMALL_MAX = 2 << 20
DAEMONS = ["agent0", "mds0", "oss0", "oss1"]


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--mount", required=True, action="append")
    parser.add_argument("--copies", required=True)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--large", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    return parser.parse_args()


class Bucket:
    def __init__(self, options):
        self.bucket = options.bucket
        self.client = boto3.client(
            "s3", endpoint_url=options.url, region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5}))

    def put(self, name, data):
        self.client.put_object(Bucket=self.bucket, Key="data/" + name, Body=data)


class File:
    def __init__(self, name, copy):
        self.name = name
        self.copy = copy
        self.changed = False  # here, since its import

    def bytes(self):
        with open(self.copy, "rb") as file:
            return file.read()

    def size(self):
        return os.path.getsize(self.copy)


class Worker(threading.Thread):
    def __init__(self, cycle, number, files):
        super().__init__()
        self.cycle = cycle
        self.files = files
        self.choose = random.Random(cycle.options.seed * 100 + number)
        self.error = None
        self.counts = {}

    def run(self):
        try:
            for _ in range(self.cycle.options.steps // WORKERS):
                if self.cycle.failed.is_set():
                    return
                self.step()
        except Exception as error:  # told by the main thread
            self.error = error
            self.cycle.failed.set()

    def step(self):
        file = self.choose.choice(self.files)
        mount = self.choose.choice(self.cycle.options.mount)
        path = os.path.join(mount, "data", file.name)
        what, weight = zip(*[(self.read_part, 30), (self.read_all, 10), (self.write, 20),
                             (self.append, 5), (self.truncate, 5), (self.release, 20),
                             (self.restore, 8), (self.change_in_s3, 2)])
        action = self.choose.choices(what, weight)[0]
        self.counts[action.__name__] = self.counts.get(action.__name__, 0) + 1
        try:
            action(file, path)
        except OSError as error:
            raise RuntimeError(f"{action.__name__} of {path}: {error}") from error

    def compare(self, file, path, offset, got):
        with open(file.copy, "rb") as copy:
            copy.seek(offset)
            wanted = copy.read(len(got))
        if got != wanted:
            at = next(i for i in range(len(got)) if i >= len(wanted) or got[i] != wanted[i])
            raise RuntimeError(f"{path}: byte {offset + at} differs")

    def read_part(self, file, path):
        size = file.size()
        offset = self.choose.randrange(size + 1)
        length = min(self.choose.choice([1, 4096, 47008, 300000]), size - offset)
        fd = os.open(path, os.O_RDONLY | self.choose.choice([0, 0, os.O_DIRECT]))
        try:
            got = os.pread(fd, length, offset)
        finally:
            os.close(fd)
        if len(got) != length:
            raise RuntimeError(f"{path}: {len(got)} of {length} bytes at {offset} of {size}")
        self.compare(file, path, offset, got)

    def read_all(self, file, path):
        if file.size() > SMALL_MAX and self.choose.random() < 0.7:
            return
        with open(path, "rb") as opened:
            offset = 0
            while True:
                got = opened.read(1 << 20)
                self.compare(file, path, offset, got)
                offset += len(got)
                if not got:
                    break
        if offset != file.size():
            raise RuntimeError(f"{path}: {offset} bytes, not {file.size()}")

    def put(self, file, path, offset, data):
        fd = os.open(path, os.O_WRONLY)
        try:
            os.pwrite(fd, data, offset)
            if self.choose.random() < 0.3:
                os.fsync(fd)
        finally:
            os.close(fd)
        with open(file.copy, "r+b") as copy:
            copy.seek(offset)
            copy.write(data)
        file.changed = True

    def write(self, file, path):
        offset = self.choose.randrange(file.size() + 1)
        length = min(self.choose.choice([1, 4096, 47008, 1 << 20]), max(1, file.size() - offset))
        self.put(file, path, offset, self.choose.randbytes(length))

    def append(self, file, path):
        data = self.choose.randbytes(self.choose.randrange(1, 100000))
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        with open(file.copy, "ab") as copy:
            copy.write(data)
        file.changed = True

    def truncate(self, file, path):
        size = self.choose.randrange(2 * file.size() + 2) if file.size() <= SMALL_MAX else LARGE // 3
        os.truncate(path, size)
        os.truncate(file.copy, size)
        file.changed = True

    def command(self, words):
        return subprocess.run(words, capture_output=True, text=True, timeout=120)

    def release(self, file, path):
        done = self.command(["lfs", "hsm_release", path])
        if file.changed and done.returncode == 0:
            raise RuntimeError(f"{path}: released, though it was changed here")
        if not file.changed and done.returncode != 0 and "unchanged" not in done.stderr:
            self.cycle.note("release: " + done.stderr.strip().replace(path, "FILE"))

    def restore(self, file, path):
        done = self.command(["lfs", "hsm_restore", path])
        if done.returncode != 0:
            self.cycle.note("restore: " + done.stderr.strip().replace(path, "FILE"))

    def change_in_s3(self, file, path):
        if file.changed or file.size() > SMALL_MAX:
            return
        data = self.choose.randbytes(size_of(self.choose))
        self.cycle.bucket.put(file.name, data)
        with open(file.copy, "wb") as copy:
            copy.write(data)
        self.cycle.import_again()


def size_of(choose):
    return int(math.exp(choose.random() * math.log(SMALL_MAX + 1))) - 1


class Cycle:
    def __init__(self, options):
        self.options = options
        self.choose = random.Random(options.seed)
        self.bucket = Bucket(options)
        self.failed = threading.Event()
        self.over = threading.Event()
        self.mutex = threading.Lock()
        self.importing = threading.Lock()
        self.notes = {}
        self.files = []
        self.kills = 0

    def note(self, text):
        with self.mutex:
            self.notes[text] = self.notes.get(text, 0) + 1

    def fill(self):
        for number in range(self.options.files + self.options.large):
            large = number >= self.options.files
            name = f"d{number % 17}/{'large' if large else 'f'}{number}"
            copy = os.path.join(self.options.copies, name)
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            with open(copy, "wb") as file:
                file.write(self.choose.randbytes(LARGE if large else size_of(self.choose)))
            self.files.append(File(name, copy))
        threads = [threading.Thread(target=self.put_all, args=(self.files[i::8],)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def put_all(self, files):
        for file in files:
            self.bucket.put(file.name, file.bytes())

    def repo(self, *words):
        return subprocess.run(["sheen", "repo", *words, "--dev", self.options.name],
                              capture_output=True, text=True, timeout=600)

    def import_again(self):
        """Until it is done: daemons die meanwhile. What was changed here is kept, and told."""
        with self.importing:
            for _ in range(60):
                done = self.repo("import", "/data")
                if done.returncode == 0 or "kept" in done.stdout + done.stderr:
                    return
                time.sleep(0.5)
        raise RuntimeError(f"import: {done.stdout}{done.stderr}")

    def kill_now_and_then(self):
        choose = random.Random(self.options.seed + 1)
        while not self.over.wait(choose.uniform(0.5, 2.5)):
            daemon = choose.choice(DAEMONS)
            for verb in ("kill", "start"):
                try:
                    done = subprocess.run(["sheen", "dev", verb, daemon, "--name", self.options.name],
                                          capture_output=True, text=True, timeout=300)
                    wrong = done.stderr.strip() if done.returncode != 0 else ""
                except subprocess.TimeoutExpired as late:
                    wrong = str(late)
                if wrong or done.returncode != 0:
                    self.note(f"sheen dev {verb} {daemon}: {wrong}")
                    self.failed.set()
                self.over.wait(choose.uniform(0, 0.5))
            self.kills += 1

    def check_all(self):
        for mount in self.options.mount:
            names = []
            for directory, _, files in os.walk(os.path.join(mount, "data")):
                names += [os.path.join(directory, name) for name in files]
            if len(names) != len(self.files):
                sys.exit(f"{mount}: {len(names)} files, not {len(self.files)}")
        for file in self.files:
            path = os.path.join(self.choose.choice(self.options.mount), "data", file.name)
            with open(path, "rb") as opened:
                if opened.read() != file.bytes():
                    sys.exit(f"seed {self.options.seed}: {path} differs in the end")

    def run(self):
        self.fill()
        added = self.repo("add", "/data", f"s3://{self.options.bucket}/data", "--endpoint",
                          self.options.url, "--imported-file-chunk-size", "16M")
        if added.returncode != 0:
            sys.exit(added.stdout + added.stderr)
        workers = [Worker(self, i, self.files[i::WORKERS]) for i in range(WORKERS)]
        killer = threading.Thread(target=self.kill_now_and_then)
        for thread in [killer, *workers]:
            thread.start()
        for worker in workers:
            worker.join()
        self.over.set()
        killer.join()
        for worker in workers:
            if worker.error:
                sys.exit(f"seed {self.options.seed}: {worker.error}")
        if self.failed.is_set():
            sys.exit(f"seed {self.options.seed}: {self.notes}")
        self.check_all()
        counts = {}
        for worker in workers:
            for name, count in worker.counts.items():
                counts[name] = counts.get(name, 0) + count
        for text, count in sorted(self.notes.items()):
            print(f"{count} x {text}")
        print(f"seed {self.options.seed}: {len(self.files)} files, {self.kills} kills, {counts}")


Cycle(parse()).run()
