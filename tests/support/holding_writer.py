"""Runs a qloader command in a process that holds where it is told to, until a signal ends it.

    python holding_writer.py qloader.state.store:StateStore.commit_batch 1 -- -c qloader.yaml ingest

writes a line to stdout right before the first call of that method, and waits there for a minute at most: whatever a
machine is doing beside it, signals that are sent after that line come in the middle of a batch.
"""

from __future__ import annotations

import sys
import time

from at_a_call import at_a_call


def hold() -> None:
    print("holding", flush=True)
    time.sleep(60)


if __name__ == "__main__":
    from qloader.cli import main

    at_a_call(sys.argv[1], int(sys.argv[2]), before=hold)
    main(sys.argv[4:])
