"""Runs a qloader command in a process that is killed (SIGKILL) at a call that it is told: a machine that is gone.

    python dying_writer.py qloader.state.store:StateStore.commit_batch after 2 -- -c qloader.yaml apply plan.json

dies when the second call of that method has returned, `before` right before it. With `eager` before the `--` a remote
state is put at each batch edge, without it none is put, and no lock renewed, because time passes.
"""

from __future__ import annotations

import math
import os
import signal
import sys

from at_a_call import at_a_call


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    from qloader.cli import main
    from qloader.state import lock
    from qloader.state.remote import session

    session.CHECKPOINT_SECONDS, lock.RENEW_MS = math.inf, 3_600_000
    if sys.argv[4] == "eager":
        session.CHECKPOINT_SECONDS = session.CHECKPOINT_SHARE = 0
    at_a_call(sys.argv[1], int(sys.argv[3]), **{sys.argv[2]: die})
    main(sys.argv[sys.argv.index("--") + 1 :])
