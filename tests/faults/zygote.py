"""Applies plans in child processes that start in no time: a process with everything imported, forked for each plan.

Speaks JSON, a line a message: `{"config": …, "plan": …}` in; `{"pid": N}` and then `{"status": N}` out. It has no
threads and never opens the engine itself, so that a fork of it is as good as a new process.
"""

from __future__ import annotations

import json
import os
import sys

import qdrant_edge  # noqa: F401 - imported once, here, and not in each child

from qloader import Workspace


def main() -> None:
    for line in sys.stdin:
        task = json.loads(line)
        pid = os.fork()
        if pid == 0:
            try:
                workspace = Workspace.open(task["config"])
                workspace.apply(workspace.read_plan(task["plan"]))
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        print(json.dumps({"pid": pid}), flush=True)
        print(json.dumps({"status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}), flush=True)


if __name__ == "__main__":
    main()
