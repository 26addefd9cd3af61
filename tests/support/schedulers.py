"""Two schedulers that start the same command in the same instant, in processes that start in no time.

A process with everything imported is forked twice a round; both children wait for one pipe to be closed and then
run the command. Speaks JSON, a line a message: `{"arguments": [...], "meet": false}` in; a list of two
`{"pid": N, "code": N, "said": "..."}` out. Where they meet, whoever has the lease waits until the other one tried to
take it. It has no threads and never opens an engine or a state itself, so that
a fork of it is as good as a new process.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil  # noqa: F401 - these are imported once, here, and not in each child
import qdrant_edge  # noqa: F401
import semantic_text_splitter  # noqa: F401

import qloader.workspace.applying  # noqa: F401
from qloader.cli import main
from qloader.cli.app import make_app
from qloader.state.records import Lease
from qloader.state.store import StateStore

make_app()  # with the modules of all commands


def run_two(arguments: list[str], meet: bool) -> list[dict[str, Any]]:
    start, gate = os.pipe()
    tried = [os.pipe(), os.pipe()]  # each child closes its own when it has tried to take the lease
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("one", "two")]
        pipes = (tried, tried[::-1]) if meet else ((), ())
        children = [_fork(arguments, start, gate, output, *pair) for output, pair in zip(outputs, pipes, strict=True)]
        for end in (*tried[0], *tried[1]):
            os.close(end)
        os.close(start)
        os.close(gate)  # now
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        return [
            {"pid": child, "code": code, "said": output.read_text(encoding="utf-8")}
            for child, code, output in zip(children, codes, outputs, strict=True)
        ]


def _fork(arguments: list[str], start: int, gate: int, output: Path, *tried: tuple[int, int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code: Any = 70
    try:
        os.close(gate)
        file = os.open(output, os.O_CREAT | os.O_WRONLY)
        os.dup2(file, 1)
        os.dup2(file, 2)
        if tried:
            _meet(*tried)
        os.read(start, 1)
        main(arguments)
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _meet(own: tuple[int, int], other: tuple[int, int]) -> None:
    """Whoever has taken the lease goes on when the other one has tried to."""
    os.close(other[1])
    take = StateStore.lock
    own_end = [own[1]]

    def lock(self: StateStore, *given: Any) -> Lease:
        try:
            lease = take(self, *given)
        finally:
            if own_end:
                os.close(own_end.pop())
        os.read(other[0], 1)
        return lease

    StateStore.lock = lock  # type: ignore[method-assign]


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run_two(**json.loads(line))), flush=True)
