"""Keeps what an embedded index holds in memory within bounds, however much is loaded into it.

The engine holds what is appended to a collection in memory: about three bytes a byte of text. Where that has grown to
its share, it is sealed (`EmbeddedIndex.seal`), between two batches, by a process of its own: the engine lets nothing
else of a process run meanwhile, and a process that ends gives all its memory back. This one lends it the collection, so
that nobody else comes in between. Where it fails, all points are as they were, and the load goes on.
"""

from __future__ import annotations

from collections.abc import Callable

from qloader.index.protocol import Lent, Sealable
from qloader.telemetry.recorder import NOBODY, Recorder
from qloader.workspace.processes import ask

SHARE = 0.25
"""Of what this process may use. The process that seals holds the same once more, and what it makes of it."""

LEAST = 40_000_000
"""Bytes below which nothing is sealed: the engine leaves small segments alone, and its files grow by 32 MB."""

MOST = 256_000_000
"""Bytes above which a collection without dense vectors is sealed however much memory there is. It costs a quarter of a
load's time, and saves every later apply and search the time and the memory that it takes to open what is not sealed.
With dense vectors it builds their graph, which takes longer than the load: there nobody pays for it whose memory
suffices."""

_OWN_PART = 0.25
"""Above `MOST`, a load seals what is there where so much of it is its own: nobody waits for what others left."""

_TIMES = 2
"""So many times what is to be sealed has to fit into memory; otherwise nothing is tried."""

_GROWN = 1.5
"""So many times what could not be sealed has to be there before it is tried again."""


class Sealing:
    """Seals an index from time to time.

    Args:
        index: The index, of which nothing is written while this is called.
        allowed: Bytes of memory that this process may use; None where nobody knows.
        is_dense: Whether it has dense vectors.
        should_stop: Asked before it is sealed and meanwhile; True ends it, and leaves the index as it was.
        recorder: Told how long it takes, and how often.
        tell: Told why nothing could be sealed.
    """

    def __init__(
        self,
        index: Sealable,
        allowed: Callable[[], int | None],
        *,
        is_dense: bool = False,
        should_stop: Callable[[], bool] = lambda: False,
        recorder: Recorder = NOBODY,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._index = index
        self._allowed = allowed
        self._is_dense = is_dense
        self._should_stop = should_stop
        self._recorder = recorder
        self._tell = tell
        self._found = index.unsealed()
        self._next = LEAST

    def __call__(self) -> None:
        """Seals the index where it holds too much."""
        held = self._index.unsealed()
        if held < self._next:
            return
        allowed = self._allowed()
        bound = self._bound(held, allowed)
        if bound is None or held < bound:
            return
        if allowed is not None and held * _TIMES > allowed:
            self._give_up(held, "there is too little memory for it")
            return
        if self._should_stop():
            return
        with self._recorder.span("write"):
            left = seal(self._index.lend(), self._should_stop)
        if isinstance(left, str):
            if not self._should_stop():
                self._give_up(held, left)
        elif left > held / 2:
            self._give_up(held, "the engine leaves it as it is (index.settings.indexing_threshold is 0, or too high)")
        else:
            self._recorder.count("seals")
            self._found, self._next = 0, LEAST

    def _bound(self, held: int, allowed: int | None) -> float | None:
        bounds = [] if allowed is None else [max(LEAST, allowed * SHARE)]
        if not self._is_dense and held - self._found >= held * _OWN_PART:
            bounds.append(MOST)
        return min(bounds, default=None)

    def _give_up(self, held: int, why: str) -> None:
        size = f"{held / 1e6:,.0f} MB"
        self._tell(f"The index holds up to {size} in memory and cannot be made to hold less: {why}. The load goes on.")
        self._next = round(held * _GROWN)


def seal(lent: Lent, should_stop: Callable[[], bool] = lambda: False) -> int | str:
    """Has a process seal a collection.

    Args:
        lent: The collection.
        should_stop: Asked meanwhile; True kills the process.

    Returns:
        Bytes that are not sealed now, or why it failed.
    """
    task = {"seal": True, "path": str(lent.path), "collection": lent.collection}
    try:
        found = ask(
            "qloader.workspace.optimizer",
            task,
            descriptors=[lent.descriptor],
            is_quiet=True,
            should_stop=should_stop,
        )
    except OSError as error:
        return f"no process could be started for it ({error.strerror})"
    if isinstance(found, int):
        how = f"signal {-found}: out of memory?" if found < 0 else f"exit code {found}"
        return f"the process that did it ended before it was done ({how})"
    return str(found["error"]) if "error" in found else int(found["unsealed"])
