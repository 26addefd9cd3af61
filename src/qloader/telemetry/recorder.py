"""What a run is measured by: whoever works says what goes on, and need not know who listens.

`plan` imports this module, so that it imports next to nothing.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from qloader.telemetry.helpers import Report
    from qloader.telemetry.measured import Measured

Stage = Literal[
    "snapshot", "compare", "fetch", "chunk", "embed", "write", "commit",
    "limit", "retry", "wait",
]  # fmt: skip
"""What time goes to. The last three are time in which nothing is done: `limit`, until the embedder may be asked again;
`retry`, before a request is sent again; `wait`, for another stage of the pipeline."""

WAITS: frozenset[str] = frozenset({"limit", "retry", "wait"})

Count = Literal[
    "documents", "bytes", "chunks", "embeds", "requests", "cache_hits", "retries", "failures",
    "pauses", "seals", "helper_documents", "helper_bytes",
]  # fmt: skip
"""What is added up. `documents`, `bytes`, `failures`: of changes that are over; `chunks`: cut from texts; `embeds`:
vectors that were made or taken from the embedding cache; `requests`, `cache_hits`, `retries`: of the embedder of dense
vectors; `pauses`: how often nothing more was prepared, since memory was used up; `seals`: how often an embedded index
was made to hold less in memory; `helper_documents`, `helper_bytes`: what processes that help have read."""

Level = Literal["queue", "memory", "helper_memory", "pace"]
"""What goes up and down: `queue`, batches that wait in the pipeline; `memory`, bytes of this process in RAM;
`helper_memory`, those of all processes that help; `pace`, the share of the usual batch and of what usually runs ahead
that memory allows: 1 is all of it, 0 is a pause."""


class Recorder(Protocol):
    """Who is told what a run costs. Any thread may call any of these, at any time; none of them raises or waits."""

    def span(self, stage: Stage, source: str = "") -> AbstractContextManager[object]:
        """A stretch of work, as long as the `with` block. Spans of one thread lie within each other or apart.

        Args:
            stage: What is done.
            source: For which source, where it is for one.
        """
        ...

    def count(self, name: Count, number: int = 1, source: str = "") -> None:
        """Adds to a count.

        Args:
            name: What is counted.
            number: How many more.
            source: Of which source, where it is of one.
        """
        ...

    def level(self, name: Level, value: float) -> None:
        """Says how high something stands now."""
        ...

    def helped(self, report: Report) -> None:
        """Takes what a process that helps says of itself."""
        ...

    def helper_ended(self, process: int) -> None:
        """Says that a process that helped is over."""
        ...

    def name_run(self, run: int) -> None:
        """Says under which number the state knows the run."""
        ...

    def measured(self) -> Measured | None:
        """What was told so far; None where nobody listens."""
        ...


class _Nobody:
    """Forgets everything."""

    def span(self, stage: Stage, source: str = "") -> AbstractContextManager[object]:
        return _NOTHING

    def count(self, name: Count, number: int = 1, source: str = "") -> None:
        pass

    def level(self, name: Level, value: float) -> None:
        pass

    def helped(self, report: Report) -> None:
        pass

    def helper_ended(self, process: int) -> None:
        pass

    def name_run(self, run: int) -> None:
        pass

    def measured(self) -> Measured | None:
        return None


_NOTHING: AbstractContextManager[object] = nullcontext()
"""One for all: it may be entered by any thread, any number of times."""

NOBODY: Recorder = _Nobody()
"""For a run that nobody measures."""
