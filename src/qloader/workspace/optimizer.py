"""A process that tidies an embedded collection up: `python -m qloader.workspace.optimizer`.

Started by `optimizing.py`, and by `sealing.py` in the midst of a load. Reads a line that says what to do with which
collection, does it, and answers with a line. The engine lets nothing else of a process run
meanwhile: not what renews a lease, and no Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from qloader.errors import QloaderError
from qloader.index.embedded import EmbeddedIndex
from qloader.workspace.processes import end_with


def main() -> None:
    """Does it, and says what came of it, or the error."""
    task = json.loads(sys.stdin.buffer.readline() or b"null")
    if task is None:
        return
    end_with(task["for"])
    try:
        path, collection = Path(task["path"]), task["collection"]
        if task.get("seal"):
            answer = seal(path, collection)
        else:
            answer = tidy_up(path, collection, task["lineage"], task["state"])
    except QloaderError as error:
        answer = {"error": str(error), "remedy": error.remedy}
    with contextlib.suppress(BrokenPipeError):  # whoever asked was killed
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def tidy_up(path: Path, collection: str, lineage: str, state: str) -> dict[str, Any]:
    """Tidies a collection up.

    Args:
        path: The folder of the embedded index.
        collection: The collection's own name.
        lineage: Whose points are counted before and after.
        state: How errors name the state that belongs to the collection.

    Returns:
        The points and the bytes on the disk, before and after.
    """
    with contextlib.closing(EmbeddedIndex(path, collection, is_itself=True, state=state)) as index:
        points, size = index.count(lineage=lineage), index.size()
        index.optimize()
        index.flush()
        return {
            "points_before": points,
            "points": index.count(lineage=lineage),
            "bytes_before": size,
            "bytes": index.size(),
        }


def seal(path: Path, collection: str) -> dict[str, Any]:
    """Makes compact what was appended lately to a collection that this process was lent.

    Args:
        path: The folder of the embedded index.
        collection: The collection's own name.

    Returns:
        What of it is not compact, in bytes.
    """
    with contextlib.closing(EmbeddedIndex(path, collection, is_itself=True, is_lent=True)) as index:
        index.seal()
        index.flush()
        return {"unsealed": index.unsealed()}


if __name__ == "__main__":
    main()
