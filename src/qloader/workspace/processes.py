"""Processes of this program that work for another: plain ones, which speak JSON over their standard input and output.

Whoever starts one ends it too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def start(module: str) -> subprocess.Popen[bytes]:
    """Starts a module of this package as a process of its own.

    Args:
        module: As after `python -m`.
    """
    import qloader

    package = str(Path(qloader.__file__).parent.parent)
    path = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH", "")) if part)
    return subprocess.Popen(
        # -P: a module of that name among the documents, where the command is run, is never taken for ours.
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C is for this process, which ends the others itself
    )


def end_with(process: int) -> None:
    """Has the system kill this process when another ends, where it can (Linux): for work that listens to nobody.

    Args:
        process: The process that started this one, by its number.
    """
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):  # a libc without it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != process:  # it was gone by then
        os._exit(1)
