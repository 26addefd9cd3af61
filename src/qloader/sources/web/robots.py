"""robots.txt, as RFC 9309 has it: which pages may be asked for, how often, and where the sitemaps are."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin

from qloader.sources.http.errors import AnswerTooLargeError, CredentialsError, PermissionDeniedError, RedirectError
from qloader.sources.http.errors import RefusedRequestError as OtherRefusal

if TYPE_CHECKING:
    from protego import Protego

    from qloader.sources.http.client import HttpClient

LONGEST = 500 * 1024
"""Bytes of robots.txt that are read; RFC 9309 asks for at least so many."""

SLOWEST = 60.0
"""Seconds between two requests that a `Crawl-delay` can bring about, at most."""

_AGENT = "qloader"


class Robots:
    """The rules of one host."""

    def __init__(self, text: str) -> None:
        from protego import Protego

        self._rules: Protego = Protego.parse(text)

    def allows(self, url: str) -> bool:
        """Whether an address may be asked for."""
        return bool(self._rules.can_fetch(url, _AGENT))

    @property
    def delay(self) -> float:
        """Seconds between two requests, 0 where nothing is said."""
        delay = self._rules.crawl_delay(_AGENT)
        return min(SLOWEST, max(0.0, float(delay))) if delay is not None else 0.0

    @property
    def sitemaps(self) -> list[str]:
        """The sitemaps that it names."""
        return list(self._rules.sitemaps)


def read_robots(client: HttpClient) -> Robots:
    """Reads the robots.txt of a client's host.

    None at all (any 4xx, or a redirect that is not followed) allows everything.

    Raises:
        RequestError: The server cannot be reached or fails: then nothing may be asked for.
    """
    address = urljoin(client.base_url, "/robots.txt")
    try:
        answer = client.get(address, max_bytes=LONGEST, truncate=True)
    except (CredentialsError, PermissionDeniedError, OtherRefusal, RedirectError, AnswerTooLargeError):
        return Robots("")
    if answer.status != 200 or answer.is_html:
        return Robots("")
    body = answer.body
    if answer.truncated:
        # A rule that is cut in two would be another rule.
        body = body[: body.rfind(b"\n") + 1]
    return Robots(body.decode("utf-8", "replace").removeprefix("\ufeff"))
