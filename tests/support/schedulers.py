"""Two schedulers that start the same command in the same instant, in processes that start in no time.

A process with everything imported is forked twice a round; both children wait for one pipe to be closed and then
run the command. Speaks JSON, a line a message: `{"arguments": [...]}` in; a list of two
`{"pid": N, "code": N, "said": "..."}` out. It has no threads and never opens an engine or a state itself, so that
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

make_app()  # with the modules of all commands


def run_two(arguments: list[str]) -> list[dict[str, Any]]:
    start, gate = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("one", "two")]
        children = [_fork(arguments, start, gate, output) for output in outputs]
        os.close(start)
        os.close(gate)  # now
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        return [
            {"pid": child, "code": code, "said": output.read_text(encoding="utf-8")}
            for child, code, output in zip(children, codes, outputs, strict=True)
        ]


def _fork(arguments: list[str], start: int, gate: int, output: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    code: Any = 70
    try:
        os.close(gate)
        file = os.open(output, os.O_CREAT | os.O_WRONLY)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.read(start, 1)
        main(arguments)
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run_two(json.loads(line)["arguments"])), flush=True)
