"""Runs a qloader command in a process that holds where it is told to, until it is let go or a signal ends it.

    python holding_writer.py qloader.state.store:StateStore.commit_batch 1,9 -- -c qloader.yaml ingest

writes a line to stdout right before the first and the ninth call of that method, and waits there for a line on stdin,
or for its end: however busy a machine is, signals that are sent meanwhile come in the middle of a batch.
"""

from __future__ import annotations

import sys

from at_a_call import at_a_call


def hold() -> None:
    sys.stdout.write("holding\n")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    from qloader.cli import main

    for call in sys.argv[2].split(","):
        at_a_call(sys.argv[1], int(call), before=hold)
    main(sys.argv[4:])
