"""Runs a qloader command in a process that stops itself (SIGSTOP) where it is told to, as a laptop that goes to sleep.

    python stopping_writer.py qloader.state.store:StateStore.commit_batch 2 -- -c qloader.yaml ingest

stops right before the second call of that method, and goes on with it when somebody sends SIGCONT.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
from typing import Any


def stop_before(where: str, call: int) -> None:
    module, _, path = where.partition(":")
    owner, _, name = path.rpartition(".")
    cls = functools.reduce(getattr, owner.split("."), importlib.import_module(module))
    original = getattr(cls, name)
    calls = 0

    def method(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGSTOP)
        return original(*arguments, **options)

    setattr(cls, name, method)


if __name__ == "__main__":
    from qloader.cli import main

    stop_before(sys.argv[1], int(sys.argv[2]))
    main(sys.argv[4:])
