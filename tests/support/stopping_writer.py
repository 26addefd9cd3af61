"""Runs a qloader command in a process that stops itself (SIGSTOP) where it is told to, as a laptop that goes to sleep.

    python stopping_writer.py qloader.state.store:StateStore.commit_batch 2 -- -c qloader.yaml ingest

stops right before the second call of that method, and goes on with it when somebody sends SIGCONT.
"""

from __future__ import annotations

import os
import signal
import sys

from at_a_call import at_a_call


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    from qloader.cli import main

    at_a_call(sys.argv[1], int(sys.argv[2]), before=stop)
    main(sys.argv[4:])
