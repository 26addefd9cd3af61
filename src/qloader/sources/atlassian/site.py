"""One Atlassian site: its addresses, its lists that go on with a link, and answers that are not what they should be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from qloader.errors import SourceError
from qloader.sources.http.client import HttpClient
from qloader.sources.http.errors import (
    BrokenAnswerError,
    CredentialsError,
    NotFoundError,
    PermissionDeniedError,
    RefusedRequestError,
)
from qloader.sources.http.settings import HttpSettings

T = TypeVar("T")
R = TypeVar("R")
Params = Sequence[tuple[str, Any]]

_STRANGE = (KeyError, TypeError, ValueError, AttributeError, IndexError)


class Site:
    """Asks one site. May be used by several threads at once."""

    def __init__(self, client: HttpClient, url: str, *, is_anonymous: bool = False) -> None:
        """Connects to nothing yet.

        Args:
            client: Speaks to the site's host.
            url: The address that paths lead on from, with the context path and without a slash at the end.
            is_anonymous: Whether it is asked without credentials, which a public site allows for most things.
        """
        self.client = client
        self._is_anonymous = is_anonymous
        self.url = url
        parts = urlsplit(url)
        self._origin, self._context = f"{parts.scheme}://{parts.netloc}", parts.path
        self._names: dict[str, str] = {}
        self._lock = threading.Lock()

    def get(self, path: str, params: Params = ()) -> dict[str, Any]:
        """Gets a JSON object.

        Raises:
            RequestError: One of its subclasses.
        """
        return self._object(self.client.get_json(self._address(path, params)))

    def get_list(self, path: str, params: Params = ()) -> list[Any]:
        """Gets a JSON array.

        Raises:
            RequestError: One of its subclasses.
        """
        found = self.client.get_json(self._address(path, params))
        if not isinstance(found, list):
            raise self.strange(path)
        return found

    def get_at_origin(self, path: str) -> dict[str, Any]:
        """Gets a JSON object from a path that starts at the host's root.

        Raises:
            RequestError: One of its subclasses.
        """
        return self._object(self.client.get_json(self._origin + path))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Asks with a body; it may be asked more than once.

        Raises:
            RequestError: One of its subclasses.
        """
        return self._object(self.client.post_json(self._address(path), body))

    def download(self, link: str, max_bytes: int) -> bytes | None:
        """The bytes that a link of the site leads to, one more than `max_bytes` at most; None where it is gone.

        Raises:
            RequestError: One of its subclasses.
        """
        answer = self.client.get(self._follow(link), max_bytes=max_bytes + 1, truncate=True)
        return None if answer.status >= 300 else answer.body

    def results(self, path: str, params: Params = ()) -> Iterator[dict[str, Any]]:
        """All entries of a list: `results`, as long as `_links.next` leads on. A short page is not the end.

        Raises:
            RequestError: One of its subclasses; `BrokenAnswerError` where the links lead round in a circle.
        """
        address, seen = self._address(path, params), set[str]()
        while True:
            answer = self._object(self.client.get_json(address))
            results = answer.get("results")
            if not isinstance(results, list):
                raise self.strange(path)
            yield from results
            link = (answer.get("_links") or {}).get("next")
            if not link:
                return
            if link in seen:
                raise self.circle(path)
            seen.add(link)
            address = self._follow(link)

    def circle(self, path: str) -> BrokenAnswerError:
        """For a list that leads back to a part of it that was read."""
        return BrokenAnswerError(
            f"{self.client.what}: the list at {path} goes round in a circle: it names a page that was read.",
            remedy="This is an error of the server, or of a proxy that answers from its cache. Try again.",
        )

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Calls a function for every item, some at a time, and gives the results in order."""
        return self.client.map(function, items)

    def names(self, ids: Iterable[str], look_up: Callable[[Sequence[str]], Mapping[str, str]]) -> dict[str, str]:
        """Display names by user id; who was looked up before, or is known to be unknown, is not asked for again."""
        wanted = set(ids)
        with self._lock:
            missing = sorted(one for one in wanted if one not in self._names)
        if missing:
            found = dict.fromkeys(missing, "") | dict(look_up(missing))
            with self._lock:
                self._names.update(found)
        with self._lock:
            return {one: name for one in wanted if (name := self._names.get(one))}

    def hides(self, error: SourceError) -> bool:
        """Whether an error means that this account may not know: a thing that can be done without is then left out."""
        return is_missing(error) or (self._is_anonymous and isinstance(error, CredentialsError))

    def account(self, path: str) -> Mapping[str, Any]:
        """Who asks, as the site says; empty where it does not tell whoever asks without credentials.

        Raises:
            RequestError: One of its subclasses.
        """
        try:
            return self.get(path)
        except SourceError as error:
            if self._is_anonymous and self.hides(error):
                return {}
            raise

    def strange(self, where: str) -> BrokenAnswerError:
        """The error that an answer is JSON, but not what this product says."""
        return BrokenAnswerError(
            f"{self.client.what}: {where} answers with something else than expected.",
            remedy=f"Check {self.client.what}.url and {self.client.what}.deployment: cloud or data_center.",
        )

    @contextmanager
    def understanding(self, where: str) -> Iterator[None]:
        """Turns the stumbling over an answer of another shape into an error that says so.

        Raises:
            BrokenAnswerError: It was of another shape.
        """
        try:
            yield
        except _STRANGE as error:
            raise self.strange(where) from error

    def _address(self, path: str, params: Params = ()) -> str:
        return f"{self.url}{path}" + (f"?{urlencode(params)}" if params else "")

    def _follow(self, link: str) -> str:
        """The address that a link of an answer means: whole, from the host's root, or from the context path."""
        if "://" in link:
            return link
        if not self._context or link.startswith(f"{self._context}/"):
            return self._origin + link
        return self.url + link

    def _object(self, found: Any) -> dict[str, Any]:
        if not isinstance(found, dict):
            raise self.strange("the server")
        return found


def open_site(
    name: str,
    url: str,
    http: HttpSettings,
    *,
    email: str | None = None,
    username: str | None = None,
    token: str | None = None,
) -> Site:
    """A site of the config, not asked anything yet.

    Args:
        name: The source's name.
        url: Its address without a slash at the end.
        http: The manners.
        email: Who asks, on Cloud.
        username: Who asks with a password, on Data Center.
        token: An API token, a password, or alone: a personal access token.
    """
    user = email or username
    auth = None if token is None else (user, token) if user else token
    return Site(HttpClient(url, http, auth=auth, what=f"sources.{name}"), url, is_anonymous=token is None)


def is_missing(error: SourceError) -> bool:
    """Whether there is nothing at the address, or nothing that this account may see."""
    return isinstance(error, NotFoundError | PermissionDeniedError)


def is_refused(error: SourceError) -> bool:
    """Whether the server does not want the request as it is."""
    return isinstance(error, RefusedRequestError)
