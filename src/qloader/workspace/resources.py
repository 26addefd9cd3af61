"""What this process may use of the machine: the limits of its container or its own, not those of the host.

Read from control groups (version 2 and 1), from the limits of the process (`ulimit -v`, `-d`), and from the system.
"""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qloader.applying.pacing import Allowance

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")

_NO_LIMIT = 1 << 60
"""Version 1 writes a number near 2^63 where there is no limit."""


@dataclass(frozen=True, slots=True)
class Memory:
    """One limit on memory, in bytes.

    Attributes:
        used: What of it is in use by this process.
        available: What it could use beside that.
    """

    used: int
    available: int


@dataclass(frozen=True, slots=True)
class ControlGroups:
    """The control groups of this process.

    Attributes:
        root: Where they are mounted.
        membership: The file that names those of this process.
    """

    root: Path = CGROUPS
    membership: Path = MEMBERSHIP

    def memory(self, own: int) -> Iterator[Memory]:
        """Every limit on memory that holds for this process.

        Args:
            own: Bytes that it has in RAM.
        """
        for folder in self._folders("memory"):
            limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
            used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
            if limit is None or used is None or limit >= _NO_LIMIT:
                continue
            # Pages of files that nobody used for a while are given back before anybody is killed.
            used -= _field(folder / "memory.stat", "total_inactive_file", "inactive_file")
            yield Memory(own, max(limit - used, 0))

    def cores(self) -> float | None:
        """How many cores' time the groups give; None where they limit nothing."""
        found: list[float] = []
        for folder in self._folders("cpu"):
            with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
                quota, period = (folder / "cpu.max").read_text().split()
                found.append(int(quota) / int(period))
            quota_us, period_us = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
            if quota_us is not None and quota_us > 0 and period_us:
                found.append(quota_us / period_us)
        return min(found, default=None)

    def _folders(self, controller: str) -> Iterator[Path]:
        """The folders of a controller's groups, from this process's own upwards."""
        with contextlib.suppress(OSError, ValueError):
            for line in self.membership.read_text().splitlines():
                number, controllers, path = line.split(":", 2)
                if number != "0" and controller not in controllers.split(","):
                    continue
                base = self.root if number == "0" else self._mounted(controllers, controller)
                folder = base / path.lstrip("/")
                # In a container the path may be the host's, and what is mounted is the container's own group.
                yield from (one for one in (folder, *folder.parents) if one.is_relative_to(base) and one.is_dir())

    def _mounted(self, controllers: str, controller: str) -> Path:
        return next((self.root / one for one in (controllers, controller) if (self.root / one).is_dir()), self.root)


def limits(groups: ControlGroups | None = None) -> list[Memory]:
    """Every limit on the memory of this process; empty where the system tells nothing."""
    groups = groups or ControlGroups()
    found: list[Memory] = []
    with contextlib.suppress(Exception):  # a sandbox may forbid any of this, and then nothing is known
        import psutil

        memory = psutil.Process().memory_info()
        found += groups.memory(memory.rss)
        found.append(Memory(memory.rss, psutil.virtual_memory().available))
        found += _own_limits(memory)
    return found


def _own_limits(memory: Any) -> Iterator[Memory]:
    """Those that were set for this process: on its addresses, and on what it writes to."""
    try:
        import resource
    except ImportError:  # Windows has none
        return
    for kind, used in ((resource.RLIMIT_AS, memory.vms), (resource.RLIMIT_DATA, getattr(memory, "data", 0))):
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY:
            yield Memory(used, max(limit - used, 0))


class MemoryPace:
    """Looks at the memory every so often; see `applying.pacing`.

    Args:
        max_percentage: How much of the memory that there is for this process it may use.
        interval: Seconds between two looks.
        measure: Tells the limits.
        clock: Seconds from some start.
    """

    def __init__(
        self,
        max_percentage: float,
        interval: float,
        *,
        measure: Callable[[], list[Memory]] = limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._share = max_percentage / 100
        self._interval = interval
        self._measure = measure
        self._clock = clock
        self._looked_at: float | None = None
        self._allowance = Allowance()

    def look(self) -> Allowance:
        """What is allowed now; measured anew where the last look is long enough ago, or nothing was allowed."""
        now = self._clock()
        is_due = self._looked_at is None or now - self._looked_at >= self._interval
        if is_due or self._allowance.is_paused:
            self._allowance = self._next()
            if is_due:
                self._looked_at = now
                if self._allowance.is_paused:
                    gc.collect()
        return self._allowance

    def allowed(self) -> int | None:
        """Bytes that this process may use, by the tightest limit; None where no limit is known."""
        return min((round((one.used + one.available) * self._share) for one in self._measure()), default=None)

    def _next(self) -> Allowance:
        found = self._measure()
        if not found:
            return Allowance()
        limits = [(one.used, one.used + one.available) for one in found]
        allowed = [(used, round(limit * self._share), limit) for used, limit in limits]
        return self._allowance.after(*min(allowed, key=lambda one: one[1] - one[0]))


def count_processes(max_workers: int, max_percentage: float, groups: ControlGroups | None = None) -> int:
    """How many processes may be at work at a time.

    Args:
        max_workers: What the config allows.
        max_percentage: How much of the cores that this process may use; to the nearest whole number, and one at least.
        groups: The control groups.
    """
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    given = (groups or ControlGroups()).cores()
    cores = min(cores, given or cores)
    return max(1, min(max_workers, int(cores * max_percentage / 100 + 0.5)))


def _number(file: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(file.read_text())
    return None


def _field(file: Path, *names: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        fields = dict(line.split() for line in file.read_text().splitlines())
        return next((int(fields[name]) for name in names if name in fields), 0)
    return 0
