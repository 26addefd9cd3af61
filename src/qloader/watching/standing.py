"""How things stand: what looks came to, for whoever asks while the service works. Any thread may ask."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from qloader.watching.moments import Moment

CONFIG = ""
"""Under this name stands what is wrong with all of the config and with no single source."""


@dataclass(frozen=True, slots=True)
class SourceStanding:
    """How a source stands.

    Attributes:
        success: When the last look began that went well; None where none did yet.
        trouble: Why the last look did not go well, one sentence; empty where it did.
        documents: How many documents of it the index holds.
    """

    success: Moment | None = None
    trouble: str = ""
    documents: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How the service stands at one moment.

    Attributes:
        name: The config's name.
        started: When the service began.
        sources: Each source by its name.
        trouble: What is wrong with the config as a whole; empty where nothing is.
        points: How many points the index holds.
        looks: How many looks ended how.
        busy: Since when a look goes on; None where none does.
        run: The figures of the last apply that changed something, as OpenMetrics text; empty where there are none.
    """

    name: str
    started: Moment
    sources: Mapping[str, SourceStanding]
    trouble: str = ""
    points: int = 0
    looks: Mapping[str, int] = field(default_factory=dict)
    busy: Moment | None = None
    run: str = ""

    @property
    def troubles(self) -> dict[str, str]:
        """What is wrong, by source; under `CONFIG` what is wrong with all of it."""
        found = {name: source.trouble for name, source in self.sources.items() if source.trouble}
        return found | ({CONFIG: self.trouble} if self.trouble else {})

    @property
    def word(self) -> str:
        """`ready`, `starting` until every source was looked at once, or `degraded`."""
        if self.troubles:
            return "degraded"
        return "ready" if all(source.success for source in self.sources.values()) else "starting"


class StandingBoard:
    """The standing as it changes."""

    def __init__(self, name: str, sources: Iterable[str]) -> None:
        self._lock = threading.Lock()
        self._looks: Counter[str] = Counter()
        self._now = Standing(name, Moment(), {source: SourceStanding() for source in sources})

    def read(self) -> Standing:
        """How things stand now."""
        with self._lock:
            return self._now

    def begin(self) -> None:
        """A look begins."""
        with self._lock:
            self._now = replace(self._now, busy=Moment())

    def end(self, end: str) -> None:
        """A look ended."""
        with self._lock:
            self._looks[end] += 1
            self._now = replace(self._now, busy=None, looks=dict(self._looks))

    def record(self, name: str, *, success: Moment | None = None, trouble: str = "") -> bool:
        """How a source, or with `CONFIG` the config, fared.

        Args:
            name: Which.
            success: When the look began that went well; None where it did not.
            trouble: Why it did not.

        Returns:
            Whether its trouble is another than before.
        """
        with self._lock:
            if name == CONFIG:
                before = self._now.trouble
                self._now = replace(self._now, trouble=trouble)
            else:
                source = self._now.sources[name]
                before = source.trouble
                changed = replace(source, trouble=trouble, success=success or source.success)
                self._now = replace(self._now, sources={**self._now.sources, name: changed})
        return trouble != before

    def measured(self, run: str) -> None:
        """The figures of an apply, as OpenMetrics text."""
        with self._lock:
            self._now = replace(self._now, run=run)

    def count(self, documents: Mapping[str, int], points: int) -> None:
        """What the index holds now, by source."""
        with self._lock:
            sources = {n: replace(s, documents=documents.get(n, 0)) for n, s in self._now.sources.items()}
            self._now = replace(self._now, sources=sources, points=points)
