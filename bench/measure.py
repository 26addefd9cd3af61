"""Whole processes and functions timed in turn with their floor, so that a slow moment of the machine hits both."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# What is measured has its bytecode, as it has in a user's installation.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@dataclass(frozen=True, slots=True)
class Run:
    """One run: wall-clock seconds, peak memory in MB, what it printed, and the part of the memory that is no file's."""

    seconds: float
    memory: float
    output: str = ""
    own: float = 0.0

    def numbers(self) -> list[float]:
        """The numbers that it printed last."""
        return [float(part) for part in self.output.splitlines()[-1].split()]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `met` is None where there is no target, and the floor stands there to compare."""

    what: str
    ours: str
    floor: str
    ratio: float
    target: str
    met: bool | None
    memory: str = ""


def run_process(command: Sequence[str], *, env: dict[str, str] | None = None, cwd: str | None = None) -> Run:
    """Runs a command to its end; raises with its output where it fails."""
    read, write = os.pipe()
    # A small process in between, since the peak of all children so far is all that the system tells.
    script = (
        "import os,re,resource,subprocess,sys,threading,time\n"
        "def look():\n"
        "    global own\n"
        "    while True:\n"
        "        try: own=max(own,int(re.search(r'RssAnon:\\s+(\\d+)',open(f'/proc/{p.pid}/status').read())[1]))\n"
        "        except (OSError,TypeError): pass\n"
        "        time.sleep(0.02)\n"
        "t=time.perf_counter(); p=subprocess.Popen(sys.argv[2:]); own=0\n"
        "threading.Thread(target=look,daemon=True).start(); p.wait()\n"
        "d=time.perf_counter()-t; m=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
        "os.write(int(sys.argv[1]),f'{d} {m} {own}'.encode()); sys.exit(p.returncode)"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-S", "-c", script, str(write), *command],
            pass_fds=(write,),
            env=env,
            cwd=cwd,
            capture_output=True,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr.decode()}")
        seconds, kilobytes, own = os.read(read, 100).decode().split()
    finally:
        os.close(read)
        os.close(write)
    unit = 1024 if sys.platform != "darwin" else 1024**2
    return Run(float(seconds), float(kilobytes) / unit, done.stdout.decode(), float(own) / unit)


def in_turn(ours: Callable[[], Run], floor: Callable[[], Run], times: int) -> tuple[Run, Run, float]:
    """Runs both in turn after one warm-up each.

    Returns:
        The median run of each, and the median of the ratios pair by pair.
    """
    ours(), floor()
    pairs = [(ours(), floor()) for _ in range(times)]
    ratio = statistics.median(a.seconds / b.seconds for a, b in pairs)
    return _median([a for a, _ in pairs]), _median([b for _, b in pairs]), ratio


def timed(work: Callable[[], object]) -> Run:
    """Times a function of this process; the memory is this process's peak so far."""
    start = time.perf_counter()
    work()
    return Run(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _median(runs: Sequence[Run]) -> Run:
    own = max(r.own for r in runs)
    return Run(statistics.median(r.seconds for r in runs), max(r.memory for r in runs), own=own)


def row(what: str, ours: Run, floor: Run, ratio: float, limit: float, *, memory_limit: float | None = None) -> Row:
    """A line for the table, with its target."""
    target = f"<= {limit:g}x" + (f", < {memory_limit:g} MB" if memory_limit else "")
    met = ratio <= limit and (memory_limit is None or ours.memory < memory_limit)
    return Row(what, f"{ours.seconds:.3f} s", f"{floor.seconds:.3f} s", ratio, target, met, f"{ours.memory:.0f} MB")
