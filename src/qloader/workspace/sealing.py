"""Keeps what an embedded index holds in memory within bounds, however much is loaded into it.

The engine holds what is appended to a collection in memory: about three bytes a byte of text. Where that has grown to
its share, it is sealed (`EmbeddedIndex.seal`), between two batches, by a process of its own: the engine lets nothing
else of a process run meanwhile, and a process that ends gives all its memory back. This one lets go of the collection
until that is done. Where it fails, for want of memory perhaps, all points are as they were, and the load goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from qloader.index.protocol import Sealable
from qloader.telemetry.recorder import NOBODY, Recorder
from qloader.workspace.processes import start

SHARE = 0.25
"""Of what this process may use. The process that seals holds the same once more, and what it makes of it."""

LEAST = 40_000_000
"""Bytes below which nothing is sealed: the engine leaves small segments alone, and its files grow by 32 MB."""

MOST = 256_000_000
"""Bytes above which a collection without dense vectors is always sealed. It costs a quarter of a load's time, and saves
every later apply and search the time and the memory that it takes to open what is not. With dense vectors it builds
their graph, which takes longer than the load: there nobody pays for it whose memory suffices."""

_GROWN = 1.5
"""So many times what could not be sealed has to be there before it is tried again."""


class Sealing:
    """Seals an index from time to time.

    Args:
        index: The index, of which nothing is written meanwhile.
        allowed: Bytes of memory that this process may use; None where nobody knows.
        is_dense: Whether it has dense vectors.
        recorder: Told how long it takes, and how often.
    """

    def __init__(
        self,
        index: Sealable,
        allowed: Callable[[], int | None],
        *,
        is_dense: bool = False,
        recorder: Recorder = NOBODY,
    ) -> None:
        self._index = index
        self._allowed = allowed
        self._is_dense = is_dense
        self._recorder = recorder
        self._due = LEAST

    def __call__(self) -> None:
        """Seals the index where it holds too much."""
        held = self._index.unsealed()
        if held < self._due:
            return
        self._due = max(self._due, self._bound())
        if held < self._due:
            return
        with self._recorder.span("write"):
            has_ended_well = seal(*self._index.let_go())
        left = self._index.unsealed()
        if has_ended_well and left < held / 2:
            self._recorder.count("seals")
            self._due = LEAST
        else:
            self._due = round(held * _GROWN)

    def _bound(self) -> int:
        most = None if self._is_dense else MOST
        allowed = self._allowed()
        share = None if allowed is None else round(allowed * SHARE)
        return min((one for one in (most, share) if one is not None), default=self._due * 2)


def seal(path: Path, collection: str) -> bool:
    """Has a process seal a collection that nobody holds.

    Args:
        path: The folder of the embedded index.
        collection: The collection's own name.

    Returns:
        Whether it ended well.
    """
    process = start("qloader.workspace.optimizer")
    task = {"seal": True, "path": str(path), "collection": collection, "for": os.getpid()}
    try:
        answer, _ = process.communicate(json.dumps(task).encode() + b"\n")
    finally:
        process.kill()
        process.wait()
    return answer.endswith(b"\n") and "error" not in json.loads(answer)
