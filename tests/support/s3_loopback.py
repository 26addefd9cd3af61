"""S3 on this machine's loopback: moto's own server over real HTTP, and what networks and stores do to requests."""

from __future__ import annotations

import contextlib
import http.client
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import obstore
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from obstore.store import S3Store
from werkzeug.serving import make_server

BUCKET = "states"
KEYS = {"access_key_id": "AKIALOOPBACK", "secret_access_key": "loopback-secret-1f9e", "region": "us-east-1"}


@dataclass(frozen=True)
class Trouble:
    """What happens to one request.

    Attributes:
        status: The answer; None is the server's own.
        code: S3's word for it.
        reaches: Whether the server does what it was asked to do, all the same.
        delay: Seconds before the answer.
    """

    status: int | None = None
    code: str = "InternalError"
    reaches: bool = False
    delay: float = 0.0


LOST_ANSWER = Trouble(500, reaches=True)
DOWN = Trouble(503, "ServiceUnavailable")
FORBIDDEN = Trouble(403, "AccessDenied")


@dataclass
class Seen:
    """One request, its status, and the bytes of the answer."""

    method: str
    path: str
    status: int
    size: int


@dataclass
class S3:
    """A bucket, the requests that were, and the troubles to come.

    Attributes:
        url: The server's address.
        seen: Every request, in order.
        is_blind: Whether conditions of a put are overlooked, as some stores do.
    """

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    is_blind: bool = False
    _scripts: list[tuple[re.Pattern[str], list[Trouble]]] = field(default_factory=list)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def trouble(self, pattern: str, troubles: Iterable[Trouble], *, passing: int = 0) -> None:
        """Makes requests go wrong: those whose `METHOD /path` a regular expression finds, one for one."""
        self._scripts.append((re.compile(pattern), [Trouble()] * passing + list(troubles)))

    def mend(self) -> None:
        """Takes back all troubles that have not happened yet, and forgets the requests that were."""
        self._scripts.clear()
        self.seen.clear()

    def downloads(self, name: str) -> list[Seen]:
        """The requests that downloaded an object."""
        return [seen for seen in self.seen if seen.method == "GET" and seen.path.endswith(name) and seen.status == 200]

    @property
    def objects(self) -> dict[str, Any]:
        """What is in the bucket, by name, as moto keeps it."""
        return _keys()

    def read(self, name: str) -> bytes:
        """An object's bytes."""
        return bytes(_keys()[name].value)

    def write(self, name: str, data: bytes) -> None:
        """Writes an object as somebody would who knows nothing of qloader."""
        place = S3Store(BUCKET, endpoint=self.url, client_options={"allow_http": True}, **KEYS)
        obstore.put(place, name, data)

    def make_older(self, name: str, seconds: float) -> None:
        """Sets the time at which an object was written back, by the store's clock."""
        key = _keys()[name]
        key.last_modified -= timedelta(seconds=seconds)

    def empty(self) -> None:
        """Deletes all objects."""
        _keys().clear()

    def next_trouble(self, method: str, path: str) -> Trouble:
        with self._turn:
            for pattern, troubles in self._scripts:
                if troubles and pattern.search(f"{method} {path}"):
                    return troubles.pop(0)
        return Trouble()


def _keys() -> Any:
    return s3_backends["123456789012"]["aws"].buckets[BUCKET].keys


@contextlib.contextmanager
def serving_s3() -> Iterator[S3]:
    """Runs the server; the bucket is there and empty."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    store = S3()
    inner = DomainDispatcherApplication(create_backend_app)

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))  # before an answer may be given
        environ["wsgi.input"] = _Body(body)
        if store.is_blind and method == "PUT":
            for name in ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"):
                environ.pop(name, None)
        trouble = store.next_trouble(method, path)
        time.sleep(trouble.delay)
        given: list[Any] = []

        def note(status: str, headers: Any, *_: Any) -> None:
            given[:] = [status, headers]

        answer = b""
        if trouble.status is None or trouble.reaches:
            answer = b"".join(inner(environ, note))
        if trouble.status is not None:
            answer = f"<Error><Code>{trouble.code}</Code><Message>as the test wants it</Message></Error>".encode()
            given[:] = [
                f"{trouble.status} Trouble", [("Content-Type", "application/xml"), ("Content-Length", str(len(answer)))]
            ]  # fmt: skip
        start(*given)
        store.seen.append(Seen(method, path, int(given[0].split()[0]), len(answer)))
        return [answer]

    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    store.url = f"http://127.0.0.1:{server.server_port}"
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.server_port)) as connection:
        connection.request("PUT", f"/{BUCKET}")
        assert connection.getresponse().status == 200
    store.mend()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Body:
    """A request's body that was read already, as WSGI hands it on."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int = -1) -> bytes:
        size = len(self._data) if size < 0 else size
        part, self._data = self._data[:size], self._data[size:]
        return part

    def readline(self, size: int = -1) -> bytes:
        return self.read(size)
