"""What can be set of the way to a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How a server is spoken to.

    Attributes:
        timeout: Seconds for a connection to come about, and for each wait for the next bytes.
        deadline: Seconds for one answer as a whole, redirects included, so that a server that sends a byte a second
            does not go on for ever.
        attempts: How often a request that failed for a passing reason is sent again, at most.
        delay: Seconds before the first time; each time after that waits twice as long. `Retry-After` can make it
            longer.
        parallel: Requests to one host at a time, at most.
        rate: Requests a second to one host, at most; None is no limit. All sources of a process that speak to the
            host share its limits.
        ca_file: A PEM file with the certificates of authorities that are trusted besides the usual ones.
        verify: Whether certificates are checked.
        max_bytes: An answer that is larger, after decompression, is refused.
        allowed_hosts: Other hosts that links and redirects may lead to, as patterns (`*.example.com`); credentials
            are never sent there. The host of the source itself is always allowed.
        allow_private: Whether these may have addresses that only this machine or its network knows (loopback,
            link-local, private). The source's own host may always.
    """

    timeout: float = 30.0
    deadline: float = 300.0
    attempts: int = 3
    delay: float = 1.0
    parallel: int = 4
    rate: float | None = None
    ca_file: Path | None = None
    verify: bool = True
    max_bytes: int = 50_000_000
    allowed_hosts: tuple[str, ...] = ()
    allow_private: bool = False
