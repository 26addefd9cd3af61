"""A process that tidies up an embedded collection: `python -m qloader.workspace.optimizer`. Started by `optimizing.py`.

Reads a line that says which collection, does it, and answers with a line. The engine lets nothing else of a process run
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


def main() -> None:
    """Does it, and says what came of it, or the error."""
    task = json.loads(sys.stdin.buffer.readline() or b"null")
    if task is None:
        return
    try:
        answer = tidy_up(Path(task["path"]), task["collection"], task["lineage"], task["state"])
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


if __name__ == "__main__":
    main()
