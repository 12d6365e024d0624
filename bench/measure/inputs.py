"""Trees that workloads copy or unpack, made from a fixed seed once a run on the scratch tmpfs."""
import os
import pathlib
import random
import tarfile

from measure.systems import run

MIB_OF_ZEROS = bytes(1 << 20)
FILES_PER_DIRECTORY = 20
# Sizes like those of source files: log-normal, median 4 KiB, mean 9 KiB, some of hundreds of KiB.
SIZE_MEDIAN, SIZE_SIGMA, SIZE_MAX = 4096, 1.25, 512 << 10


class Inputs:
    git_environment = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
                       "GIT_AUTHOR_NAME": "bench", "GIT_AUTHOR_EMAIL": "bench@localhost",
                       "GIT_COMMITTER_NAME": "bench", "GIT_COMMITTER_EMAIL": "bench@localhost"}

    def __init__(self, work, sizes):
        self.work, self.sizes = pathlib.Path(work), sizes
        self.work.mkdir()

    def touch(self, mib):
        """The kernel has so much free memory that was in use just now.

        What a system frees on truncation is what it gets for the next file; but MooseFS removes
        chunks minutes later, and would write each pass to memory never touched before.
        """
        path = self.work / "touched"
        with open(path, "wb", buffering=0) as file:
            for _ in range(mib):
                file.write(MIB_OF_ZEROS)
        path.unlink()

    @staticmethod
    def _fill(top, count, seed):
        chance = random.Random(seed)
        letters = bytes(chance.choice(b"abcdefghijklmnopqrstuvwxyz  ;(){}=\n")
                        for _ in range(64 << 10)) * (SIZE_MAX // (64 << 10) + 1)
        for index in range(count):
            group = index // FILES_PER_DIRECTORY
            directory = top / f"part{group // 16}" / f"module{group}"
            if index % FILES_PER_DIRECTORY == 0:
                directory.mkdir(parents=True)
            size = min(SIZE_MAX, int(chance.lognormvariate(0, SIZE_SIGMA) * SIZE_MEDIAN))
            start = chance.randrange(64 << 10)
            (directory / f"source{index}.c").write_bytes(letters[start:start + size])

    @staticmethod
    def _whole_seconds(member):
        member.mtime = int(member.mtime)  # MooseFS keeps no finer times
        return member

    def git_tree(self):
        top = self.work / "git"
        if not top.exists():
            part = self.work / "git.part"
            part.mkdir()
            self._fill(part, self.sizes.git_files, seed=2)
            for command in (["init", "-q"], ["config", "gc.auto", "0"], ["add", "."],
                            ["commit", "-q", "-m", "all"], ["gc", "-q"]):
                run("git", "-C", part, *command, env=self.git_environment)
            part.rename(top)
        return top

    def archive(self):
        path = self.work / "tree.tar"
        if not path.exists():
            top = self.work / "tree"
            top.mkdir()
            self._fill(top, self.sizes.tree_files, seed=3)
            with tarfile.open(path, "w") as archive:
                archive.add(top, "tree", filter=self._whole_seconds)
            run("rm", "-rf", top)
        return path
