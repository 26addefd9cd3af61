"""What an embedder did, in numbers, for whoever reports it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

EXAMPLES = 10
"""How many of the texts that were too long are named."""


@dataclass(slots=True)
class Tally:
    """Counts that grow.

    Attributes:
        requests: What was sent, each further try included.
        retries: How many of these were further tries.
        texts: Texts whose vectors came back.
        tokens: What the provider counted; 0 where it does not say.
        cached: Texts whose vectors the cache had.
        shortened: Texts that were over the model's limit, and were split or cut.
        examples: The beginnings of some of these.
    """

    requests: int = 0
    retries: int = 0
    texts: int = 0
    tokens: int = 0
    cached: int = 0
    shortened: int = 0
    examples: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def sent(self, *, again: bool) -> None:
        """Counts a request."""
        with self._lock:
            self.requests += 1
            self.retries += again

    def came_back(self, texts: int, tokens: int | None) -> None:
        """Counts what a request brought."""
        with self._lock:
            self.texts += texts
            self.tokens += tokens or 0

    def found(self, texts: int) -> None:
        """Counts what the cache had."""
        with self._lock:
            self.cached += texts

    def was_too_long(self, example: str) -> None:
        """Counts a text that was split or cut."""
        with self._lock:
            self.shortened += 1
            if len(self.examples) < EXAMPLES:
                self.examples.append(example)
