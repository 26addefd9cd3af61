"""How fast a provider is asked: requests and tokens a minute, one account for all threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

Pause = Callable[[float], None]


class Limits:
    """Spaces requests out evenly: time that passes unused is not made up for with a burst.

    A request takes its place when it asks for it and sleeps until then, so that a thread which wakes up late costs
    nothing of the rate; as many requests as there are threads may so be late, and in another minute than meant. What a
    request will cost in tokens is estimated; what the provider then counts corrects the account, and the estimates of
    the requests to come.
    """

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._request = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._token = 60.0 / tokens_per_minute if tokens_per_minute else 0.0
        self._clock = clock
        self._lock = threading.Lock()
        self._next_request = self._next_tokens = self._held_until = 0.0
        self._estimated = self._counted = 0.0

    def turn(self, tokens: int, pause: Pause) -> None:
        """Waits until a request may be sent.

        Args:
            tokens: What it will cost, about.
            pause: Waits so many seconds. It may raise, and then the request is not sent.
        """
        with self._lock:
            at = max(self._clock(), self._next_request, self._next_tokens)
            self._next_request = at + self._request
            self._next_tokens = at + self._token * tokens * self._ratio
        while (wait := max(at, self._held_until) - self._clock()) > 0:
            pause(wait)

    def spent(self, estimated: int, counted: int | None) -> None:
        """Corrects the account by what the provider counted, where it says so."""
        if counted is None:
            return
        with self._lock:
            self._next_tokens += self._token * (counted - estimated * self._ratio)
            self._estimated += estimated
            self._counted += counted

    def hold(self, seconds: float) -> None:
        """Sends nothing for so long: the provider said that it is asked too often."""
        with self._lock:
            self._held_until = max(self._held_until, self._clock() + seconds)

    @property
    def _ratio(self) -> float:
        """Tokens that the provider counts for one that is estimated."""
        return self._counted / self._estimated if self._estimated and self._counted else 1.0
