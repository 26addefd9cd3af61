"""Processes of this program that work for this one: plain ones, which speak JSON over their standard input and output.

Whoever starts one ends it too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


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
