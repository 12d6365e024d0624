"""The load of tests/fault/rounds that runs whole programs."""
import errno
import os
import shutil
import subprocess

from loads import Broken, Load


class Programs(Load):
    """fio with verification, tar, git and mdtest, in turn; each tells by its exit status."""

    def setup(self):
        super().setup()
        self.round = self.rng.randrange(4)
        self.source = os.environ["FAULT_TREE"]

    def run(self, *words, **keywords):
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", **keywords)
        if done.returncode != 0:
            # Of a mount that was killed, or an error that an application saw.
            raise OSError(errno.EIO, f"{' '.join(words[:4])} ended with {done.returncode}: "
                                     f"{done.stdout[-1500:]}{done.stderr[-1500:]}")
        return done.stdout

    def step(self):
        self.round += 1
        place = f"{self.dir}/p{self.round}"
        os.makedirs(place, exist_ok=True)
        self.do((self.fio, self.tar, self.git, self.mdtest)[self.round % 4], place)
        shutil.rmtree(place)

    def fio(self, place):
        engine = self.rng.choice(["psync", "mmap", "psync --direct=1"])
        self.run("fio", "--name=f", f"--directory={place}", "--size=6m", "--rw=randwrite",
                 "--bssplit=4k/40:47104/30:64k/30", "--verify=crc32c", "--verify_fatal=1",
                 "--do_verify=1", "--fallocate=none", "--verify_state_save=0", "--fsync=64",
                 f"--randseed={self.rng.randrange(10**6)}", *f"--ioengine={engine}".split(),
                 cwd="/tmp")

    def tar(self, place):
        self.run("tar", "-xf", self.source, "-C", place)
        self.run("tar", "-df", self.source, "-C", place)

    def git(self, place):
        git = ["git", "-C", place, "-c", "user.email=test@example.org", "-c", "user.name=test",
               "-c", "safe.directory=*", "-c", "core.fsync=all", "-c", "gc.auto=0"]
        self.run(*git, "init", "-q")
        self.run("tar", "-xf", self.source, "-C", place)
        for turn in range(3):
            with open(f"{place}/new", "a", encoding="utf-8") as file:
                file.write(f"{turn}\n")
            self.run(*git, "add", "-A")
            self.run(*git, "commit", "-qm", str(turn))
        self.run(*git, "fsck", "--full")
        if self.run(*git, "status", "--porcelain"):
            raise Broken(f"{place}: git status is not clean")

    def mdtest(self, place):
        """Compares all that it reads; with -N each task looks at what the other one made."""
        own = self.rng.choice([["-u"], []])
        self.run("sheen-bench", "mdtest", "--tasks", "2", "-n", "100", "-w", "4000", "-e", "4000",
                 "-N", "1", "-i", "2", *own, "-d", place)

    def verify(self):
        pass

    def after_death(self):
        shutil.rmtree(self.dir)
        os.makedirs(self.dir)
