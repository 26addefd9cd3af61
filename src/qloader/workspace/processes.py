"""Processes of this program that work for another: plain ones, which speak JSON over their standard input and output.

Whoever starts one ends it too.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_LOOK = 0.2
"""Seconds between two looks at whether somebody still wants an answer."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def start(module: str, *, descriptors: Sequence[int] = (), is_quiet: bool = False) -> subprocess.Popen[bytes]:
    """Starts a module of this package as a process of its own.

    Args:
        module: As after `python -m`.
        descriptors: What of this process's open files it inherits.
        is_quiet: Whether nobody sees what it says to standard error.

    Raises:
        OSError: The system gives no more processes, or no memory for one.
    """
    import qloader

    package = str(Path(qloader.__file__).parent.parent)
    path = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH", "")) if part)
    return subprocess.Popen(
        # -P: a module of that name among the documents, where the command is run, is never taken for ours.
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if is_quiet else None,
        pass_fds=descriptors,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C is for this process, which ends the others itself
    )


def ask(
    module: str,
    task: Mapping[str, Any],
    *,
    descriptors: Sequence[int] = (),
    is_quiet: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any] | int:
    """Has a process do something, which ends when this function does; where this process is killed, see `end_with`.

    Args:
        module: As for `start`.
        task: What it reads: this, and `for`, the number of this process.
        descriptors: As for `start`.
        is_quiet: As for `start`.
        should_stop: Asked every so often; True kills it.

    Returns:
        What it answers; its exit status where it ended before it did.

    Raises:
        OSError: As for `start`.
    """
    process = start(module, descriptors=descriptors, is_quiet=is_quiet)
    said: bytes | None = json.dumps({**task, "for": os.getpid()}).encode() + b"\n"
    try:
        while True:
            try:
                answer, _ = process.communicate(said, timeout=_LOOK)
                break
            except subprocess.TimeoutExpired:
                said = None  # it has it, or will have it
                if should_stop():
                    process.kill()
    finally:
        process.kill()
        process.wait()
    if not answer.endswith(b"\n"):
        return int(process.returncode)
    found: dict[str, Any] = json.loads(answer)
    return found


def end_with(process: int) -> None:
    """Has the system kill this process when another ends, where it can (Linux): for work that listens to nobody.

    Args:
        process: The process that started this one, by its number; to be exact, it is the thread whose end counts.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(ImportError, OSError, AttributeError):  # a Python or a libc without it
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != process:  # it was gone by then
        os._exit(1)
