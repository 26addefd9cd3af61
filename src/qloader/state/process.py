"""Which process this is, in words that let another one find out whether it still lives."""

from __future__ import annotations

from pathlib import Path

_CLOCK_SLACK = 10.0
"""Seconds. Where only the system's clock tells when a process started, the clock may have been set since."""


def machine() -> str:
    """This start of this machine, and this space of process numbers: only in there does a number name a process.

    Two containers may bear one host name and have a process 7 each. Empty where the system (macOS) tells neither.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def boot_of(name: str) -> str:
    """The start of the machine, of what `machine` said."""
    return name.partition(" ")[0]


def start_of(pid: int) -> str:
    """When a process started, in ticks since the machine did; empty where there is none, or nobody says."""
    try:
        state, *fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except (OSError, ValueError):
        return ""
    return "" if state in "ZX" else fields[18]


def is_running(pid: int, started: str) -> bool:
    """Whether the process that started then, on this very `machine`, is still there: numbers are given out again."""
    import psutil

    found = start_of(pid)
    if not found and psutil.pid_exists(pid):
        # A zombie is dead; a process that /proc hides from this user is not.
        return not _is_zombie(pid)
    return found == started


def is_older(pid: int, since: float) -> bool:
    """Whether a process of this number was there at a time (seconds since 1970) and is: by the system's clock."""
    import psutil

    try:
        return psutil.Process(pid).create_time() <= since + _CLOCK_SLACK and not _is_zombie(pid)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _is_zombie(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
