"""The client that every source of the network speaks through."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import orjson

from qloader.retrying import RetryPolicy
from qloader.sources.http.addresses import (
    is_loopback_name,
    is_private_literal,
    matches_host,
    same_host,
    shown,
    without_user,
)
from qloader.sources.http.errors import LoginPageError, RedirectError, RequestError
from qloader.sources.http.exchange import USER_AGENT, Answer, Exchange, Request
from qloader.sources.http.network import limits
from qloader.sources.http.pace import pace_of
from qloader.sources.http.settings import HttpSettings
from qloader.sources.http.telling import PassingError, not_an_address, private_address, raise_passing, raise_status
from qloader.stopping import Stop, current_stop, sleep, stopping

__all__ = ["PASSING", "REDIRECTS", "USER_AGENT", "Answer", "HttpClient", "Params"]

T = TypeVar("T")
R = TypeVar("R")
Params = Mapping[str, Any] | Sequence[tuple[str, Any]]
"""What is added to a query: values by name, a list for a name that comes several times."""

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be another a moment later."""

REDIRECTS = 10
"""How many redirects are followed one after the other, at most."""

_MOVED = frozenset({301, 302, 303, 307, 308})
_PERMANENT = frozenset({301, 308})
_KEEPS_METHOD = frozenset({307, 308})
_ORDINARY = frozenset({304, 404, 410})


class HttpClient:
    """Speaks to one server. May be used by several threads at once."""

    def __init__(
        self,
        base_url: str,
        settings: HttpSettings | None = None,
        *,
        auth: tuple[str, str] | str | None = None,
        what: str,
        policy: RetryPolicy | None = None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            base_url: The server's address; relative paths lead on from it.
            settings: The manners.
            auth: User and password or token (Basic), or a bearer token alone. Sent to the host of `base_url` only.
            what: The source's place in the config, for messages, e.g. `sources.wiki`.
            policy: When requests are sent again, if not as the settings say.
        """
        self.base_url = without_user(base_url if base_url.endswith("/") else base_url + "/")
        self.what = what
        self.settings = settings = settings or HttpSettings()
        self._policy = policy or RetryPolicy(attempts=settings.attempts, delay=settings.delay, sleep=sleep)
        self._exchange = Exchange(self.base_url, settings, auth=auth, what=what, sleep=self._policy.sleep)

    def get(
        self,
        url: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
        truncate: bool = False,
    ) -> Answer:
        """Gets an address; 304, 404 and 410 are answers like any other.

        Args:
            url: An address, or a path: `a/b` lies below `base_url`, `/a/b` below the root of its host.
            params: Added to the query.
            headers: Added to the usual ones.
            max_bytes: How much content is read, at most; `HttpSettings.max_bytes` where it is None.
            truncate: Whether longer content is cut there, instead of refused.

        Raises:
            RequestError: One of its subclasses, by remedy.
        """
        limit = self.settings.max_bytes if max_bytes is None else max_bytes
        return self._checked(
            self._send(Request("GET", self._address(url, params), headers or {}, None, limit, truncate))
        )

    def read(self, url: str, reader: Callable[[Iterator[bytes]], object], *, max_bytes: int) -> Answer:
        """Gets an address whose content may be too large for the memory; 304, 404 and 410 are no errors.

        Args:
            url: As for `get`.
            reader: Gets the content of an answer 200 piece by piece. It is called again, from the start, where the
                connection breaks; it may stop early.
            max_bytes: How much it gets, at most.

        Raises:
            RequestError: As `get`.
        """
        request = Request("GET", self._address(url, None), {}, None, max_bytes, reader=reader)
        return self._checked(self._send(request))

    def get_json(self, url: str, params: Params | None = None) -> Any:
        """Gets JSON.

        Raises:
            RequestError: One of its subclasses; `NotFoundError` for 404 and 410, `LoginPageError` for a web page.
        """
        return self._json("GET", url, params, None)

    def post_json(self, url: str, body: Any, params: Params | None = None) -> Any:
        """Sends JSON and gets JSON. Only for questions: the request may be sent more than once.

        Raises:
            RequestError: As `get_json`.
        """
        return self._json("POST", url, params, orjson.dumps(body))

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
        """Calls a function for every item, some at a time (`HttpSettings.parallel`), and gives the results in order.

        What runs ahead of the reader is bounded. On an error, or when the reader stops, what has not begun is
        dropped, and requests under way end within a second.
        """
        parallel = self.settings.parallel
        stop = Stop(current_stop())

        def call(item: T) -> R:
            with stopping(stop):
                return function(item)

        pool = ThreadPoolExecutor(parallel, thread_name_prefix="qloader-http")
        source = iter(items)
        waiting: deque[Future[R]] = deque()
        try:
            for item in islice(source, parallel * 2):
                waiting.append(pool.submit(call, item))
            while waiting:
                yield waiting.popleft().result()
                for item in islice(source, 1):
                    waiting.append(pool.submit(call, item))
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        """Closes all connections; the client opens them again when it is used again."""
        self._exchange.close()

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _checked(self, answer: Answer) -> Answer:
        if answer.status >= 400 and answer.status not in _ORDINARY:
            raise_status(self.what, answer, has_credentials=self._exchange.has_credentials)
        return answer

    def _json(self, method: str, url: str, params: Params | None, content: bytes | None) -> Any:
        headers = {"accept": "application/json"}
        if content is not None:
            headers["content-type"] = "application/json"
        found: list[Any] = []

        def parse(answer: Answer) -> None:
            if answer.status < 300:
                found[:] = [self._parse_json(answer)]

        request = Request(method, self._address(url, params), headers, content, self.settings.max_bytes)
        answer = self._send(request, parse)
        if answer.status >= 300:
            raise_status(self.what, answer, has_credentials=self._exchange.has_credentials)
        return found[0]

    def _parse_json(self, answer: Answer) -> Any:
        if answer.is_html or answer.body[:1] == b"<":
            raise LoginPageError(
                f"{self.what}: {shown(answer.url)} answers with a web page where data should be: most often the login "
                "page of a single sign-on.",
                remedy=f"Check {self.what}.url, and that the token is one for the API and may be used without the "
                "sign-on.",
                answer=answer,
            )
        try:
            return orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            # Cut off on the way, most likely: the next one may be whole.
            raise PassingError("no JSON, or is cut off", answer=answer) from None

    def _send(self, request: Request, check: Callable[[Answer], None] = lambda _: None) -> Answer:
        """Sends a request until it gets an answer that will not pass by itself."""
        self._check_target(request.url, None)
        failures = 0
        while True:
            try:
                return self._try(request, check)
            except PassingError as failure:
                failures += 1
                if failures > self._policy.attempts:
                    raise_passing(self.what, request.url, failure, failures)
                wait = self._policy.wait(failures, failure.retry_after)
                if failure.answer is not None and failure.retry_after is not None:
                    # It holds for all who ask this host; this request waits with them.
                    pace_of(urlsplit(failure.answer.url).netloc).hold(wait)
                else:
                    self._policy.sleep(wait)

    def _try(self, request: Request, check: Callable[[Answer], None]) -> Answer:
        answer = self._follow(request)
        if answer.status in PASSING:
            retry_after = answer.headers.get("retry-after")
            raise PassingError(f"it answers {answer.status}", retry_after=retry_after, answer=answer)
        if answer.status == 206:
            raise PassingError("a part only, though all was asked for (206)", answer=answer)
        check(answer)
        return answer

    def _follow(self, request: Request) -> Answer:
        """The request and the redirects behind it, all before one deadline."""
        url, seen, cookies, permanent = request.url, {request.url}, dict[str, str](), True
        with limits(time.monotonic() + self.settings.deadline):
            for _ in range(REDIRECTS + 1):
                answer = self._exchange.send(
                    request, url, moved=url != request.url, cookies=tuple(f"{k}={v}" for k, v in cookies.items())
                )
                location = answer.headers.get("location")
                if answer.status not in _MOVED or not location:
                    return replace(answer, permanent=permanent)
                permanent = permanent and answer.status in _PERMANENT
                target = _join(url, location).partition("#")[0]
                if request.method != "GET" and answer.status not in _KEEPS_METHOD:
                    raise LoginPageError(
                        f"{self.what}: {shown(url)} answers a question with a redirect to {shown(target)}: most often "
                        "the login page of a single sign-on.",
                        remedy=f"Check {self.what}.url: it must be the address behind all redirects.",
                        answer=answer,
                    )
                self._check_target(target, answer)
                if same_host(url, self.base_url) and (
                    told := dict(c.split("=", 1) for c in answer.cookies if "=" in c)
                ):
                    # A site may want to see its cookie once before it shows the page.
                    if told.items() <= cookies.items() and target in seen:
                        break
                    cookies |= told
                elif target in seen:
                    break
                seen.add(target)
                url = target
        raise RedirectError(
            f"{self.what}: {shown(request.url)} leads from redirect to redirect and never ends.",
            remedy="Open the address in a browser: the server has to be set right, or wants a login.",
            answer=answer,
        )

    def _check_target(self, url: str, via: Answer | None) -> None:
        """Refuses addresses that nobody allowed."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            raise not_an_address(self.what, url) from None
        if parts.scheme not in ("http", "https") or not host:
            raise not_an_address(self.what, url)
        if same_host(url, self.base_url):
            is_open = parts.scheme == "http" and self._exchange.has_credentials
            if is_open and self.base_url.startswith("http:") and self.settings.verify and not is_loopback_name(host):
                raise RequestError(
                    f"{self.what}: {shown(url)} is without encryption, and would be sent the credentials.",
                    remedy=f"Write {self.what}.url with https. In a network that you trust, {self.what}.verify: false "
                    "sends them all the same.",
                )
            if is_open and self.base_url.startswith("https:"):
                raise RedirectError(
                    f"{self.what}: {shown(url)} is without encryption, and credentials are not sent that way.",
                    remedy=f"Set {self.what}.url to the address behind all redirects, with https.",
                    answer=via,
                    target=shown(url),
                )
            return
        if not matches_host(host, self.settings.allowed_hosts):
            raise RedirectError(
                f"{self.what}: {shown(via.url) if via else self.base_url} leads to another host, {shown(url)}.",
                remedy=f"Nothing was sent there. If it is the right place, set {self.what}.url to it or add it to "
                f"{self.what}.allowed_hosts; a login page there means that the credentials are not accepted.",
                answer=via,
                target=shown(url),
            )
        if not self.settings.allow_private and is_private_literal(host):
            raise private_address(self.what, via.url if via else url, host)

    def _address(self, url: str, params: Params | None) -> str:
        whole = _join(self.base_url, url)
        if not params:
            return whole
        pairs = list(params.items() if isinstance(params, Mapping) else params)
        return f"{whole}{'&' if '?' in whole else '?'}{urlencode(pairs, doseq=True)}"


def _join(base: str, url: str) -> str:
    try:
        return without_user(urljoin(base, url))
    except ValueError:
        return url  # no address at all, which is for `_check_target` to say
