"""Runs a qloader command in a process that is killed (SIGKILL) at a call that it is told: a machine that is gone.

    python dying_writer.py qloader.state.store:StateStore.commit_batch after 2 -- -c qloader.yaml apply plan.json

dies when the second call of that method has returned, `before` right before it. With `eager` before the `--` a remote
state is put at each batch edge.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
from typing import Any


def die_at(where: str, when: str, call: int) -> None:
    module, _, path = where.partition(":")
    owner, _, name = path.rpartition(".")
    cls = functools.reduce(getattr, owner.split("."), importlib.import_module(module))
    original = getattr(cls, name)
    calls = 0

    def method(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        is_due = calls == call
        if is_due and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **options)
        if is_due:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(cls, name, method)


if __name__ == "__main__":
    from qloader.cli import main
    from qloader.state.remote import session

    if sys.argv[4] == "eager":
        session.CHECKPOINT_SECONDS = session.CHECKPOINT_SHARE = 0
    die_at(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    main(sys.argv[sys.argv.index("--") + 1 :])
