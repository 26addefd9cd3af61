"""The least that a step over many documents can cost, each a small program: `bench/scale_floors.py NAME ARGUMENTS`."""

from __future__ import annotations

import subprocess
import sys

from floors import imports


def tree(repository: str, names: str) -> None:
    """git's own walk of one commit's tree, in a process that imports modules first."""
    imports(names)
    subprocess.run(["git", "-C", repository, "ls-tree", "-r", "HEAD"], check=True, stdout=subprocess.DEVNULL)


def read(plan: str) -> None:
    """Opens a plan file, which checks its digest, and reads every change of it; prints how many."""
    from pathlib import Path

    from qloader.planning.planfile import read_plan

    print(sum(1 for _ in read_plan(Path(plan)).changes()))


def lines(plan: str) -> None:
    """Parses every line of a plan file as JSON, and nothing else."""
    import orjson

    with open(plan, "rb") as file:
        for line in file:
            if line.startswith(b'{"action"'):
                orjson.loads(line.rstrip(b",\n"))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
