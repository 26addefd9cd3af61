"""When a request to a server is sent again, and after how long.

Only a request that may be sent twice is: sources only read, and a write to an index names its points, payloads and
ids itself, so that doing it once more changes nothing, whatever became of the first. What may pass is tried again
(no connection, one that broke, no answer in time, a server that is overloaded or failing: `Failure.may_pass` of
`index/server_errors.py`, `PASSING` of `sources/http/client.py`), what will not pass by itself never is (a wrong key,
a missing collection, a refused request).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

LONGEST_WAIT = 60.0
"""Seconds between two tries, at most, also where a server asks for more: it is asked again then, and may say so again.
A longer `retry_delay` counts all the same, since somebody chose it."""

JITTER = 0.25
"""How much longer than planned a wait may be, as a share: runs that failed together do not come back together."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request that failed is sent again.

    Attributes:
        attempts: How often, at most; 0 is never.
        delay: Seconds to wait before the first time; each time after that waits twice as long.
        sleep: Waits so many seconds.
        clock: Seconds since 1970, for a server that names a date.
        chance: A number from 0 up to 1.
    """

    attempts: int = 0
    delay: float = 1.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random

    def wait(self, failures: int, retry_after: str | None = None) -> float:
        """Seconds to wait before the next try.

        Args:
            failures: How often the request has failed, from 1.
            retry_after: What the server said in `Retry-After`, if anything: seconds or a date. It can make the wait
                longer, not shorter; what is neither is overlooked.
        """
        grown = self.delay * 2.0 ** (failures - 1) * (1 + JITTER * self.chance())
        wanted = _seconds(retry_after, self.clock()) if retry_after else 0.0
        return min(max(grown, wanted), max(LONGEST_WAIT, self.delay))


NO_RETRIES = RetryPolicy()


def _seconds(retry_after: str, now: float) -> float:
    from datetime import UTC
    from email.utils import parsedate_to_datetime  # 7 ms that a plan need not pay

    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    # A date of HTTP is in GMT; one that ends in -0000 is parsed as one without a time zone.
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
