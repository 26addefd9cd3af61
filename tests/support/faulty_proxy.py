"""A proxy on this machine's loopback that passes requests on to a server, and does to some of them what networks do.

It speaks HTTP over real sockets, so that the client meets what it would meet: a connection that is reset before or
after the server had the request, half an answer, an answer that never comes, a refusal by whoever stands between.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import struct
import threading
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Fault:
    """What happens to one request.

    Attributes:
        reaches: Whether the server gets it.
        answer: `all` of the server's answer goes back, `half` of it, `none`; or this status instead.
        headers: Headers of such a status.
        body: Its body.
        ends: How the connection ends where there is no whole answer: `closed` or `reset`.
        delay: Seconds before anything happens.
    """

    reaches: bool = True
    answer: str | int = "all"
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    ends: str = "closed"
    delay: float = 0.0

    def __str__(self) -> str:
        where = "after" if self.reaches else "before"
        return f"{self.answer} {where} the server, {self.ends}" if self.answer != "all" else f"{self.delay} s late"


def refusal(status: int, text: str = "", *, reaches: bool = False, **headers: str) -> Fault:
    """An answer with a status, by default of somebody before the server; `retry_after="7"` is `Retry-After: 7`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps({"status": {"error": text}}) if text else "<html>a proxy's page</html>"
    return Fault(reaches, status, named, body)


DROPPED_BEFORE = Fault(reaches=False, answer="none")
RESET_BEFORE = Fault(reaches=False, answer="none", ends="reset")
DROPPED_AFTER = Fault(answer="none")
"""The server did what it was asked to do, and nobody hears of it."""
RESET_AFTER = Fault(answer="none", ends="reset")
HALF_ANSWERED = Fault(answer="half")


@dataclass
class Seen:
    """One request that came in, and what happened to it."""

    method: str
    path: str
    fault: Fault | None
    size: int

    @property
    def is_write(self) -> bool:
        """Whether it changes points."""
        return re.search(r"/points$|/points/(batch|delete)$", self.path) is not None and not (
            self.method == "POST" and self.path.endswith("/points")  # which reads points by id
        )


@dataclass
class FaultyProxy:
    """Faults to come, and the requests that were.

    Attributes:
        url: The proxy's own address.
        seen: Every request, in order.
        largest: Bodies of more bytes are refused with 413; None for no limit.
        busy: How many requests are on their way to the server.
    """

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    largest: int | None = None
    busy: int = 0
    _scripts: list[tuple[re.Pattern[str], list[Fault]]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def break_requests(self, pattern: str, faults: Iterable[Fault], *, passing: int = 0) -> None:
        """Makes requests go wrong.

        Args:
            pattern: Which: a regular expression for `METHOD /path`.
            faults: One for each of them, in order; those after pass through.
            passing: How many of them pass before the first fault.
        """
        self._scripts.append((re.compile(pattern), [Fault()] * passing + list(faults)))

    def mend(self) -> None:
        """Takes back all faults that have not happened yet."""
        self._scripts.clear()

    def writes(self) -> list[Seen]:
        """The requests that change points."""
        return [seen for seen in self.seen if seen.is_write]

    def wait_for_late_ones(self) -> None:
        """Returns when the server has every request, also those whose sender has given up."""
        deadline = time.monotonic() + 120
        while self.busy and time.monotonic() < deadline:
            time.sleep(0.005)
        assert not self.busy

    def count(self, more: int) -> None:
        with self._lock:
            self.busy += more

    def take(self, method: str, path: str, body: bytes) -> Fault:
        with self._lock:
            fault = Fault()
            for pattern, faults in self._scripts:
                if pattern.search(f"{method} {path}") and faults:
                    fault = faults.pop(0)
                    break
            else:
                if self.largest is not None and len(body) > self.largest:
                    fault = refusal(413)
            self.seen.append(Seen(method, path, None if fault == Fault() else fault, len(body)))
            return fault


@contextlib.contextmanager
def standing_before(server: str) -> Iterator[FaultyProxy]:
    """Runs a proxy before a server."""
    proxy = FaultyProxy()
    upstream = urllib.parse.urlsplit(server)
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            fault = proxy.take(self.command, urllib.parse.urlsplit(self.path).path, body)
            proxy.count(1)
            try:
                over.wait(fault.delay)
                answer = self.pass_on(body) if fault.reaches else (0, [], b"")
            finally:
                proxy.count(-1)
            if isinstance(fault.answer, int):
                answer = (fault.answer, list(fault.headers.items()), fault.body.encode())
            with contextlib.suppress(OSError):  # the client gave up meanwhile
                self.give(*answer, part=fault.answer)
            if fault.answer in ("half", "none"):
                self.hang_up(fault.ends)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_one

        def pass_on(self, body: bytes) -> tuple[int, Sequence[tuple[str, str]], bytes]:
            assert upstream.hostname
            with contextlib.closing(
                http.client.HTTPConnection(upstream.hostname, upstream.port, timeout=300)
            ) as server:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                server.request(self.command, self.path, body or None, headers)
                response = server.getresponse()
                return response.status, [("content-type", response.headers["content-type"])], response.read()

        def give(self, status: int, headers: Sequence[tuple[str, str]], body: bytes, *, part: str | int) -> None:
            if part == "none":
                return
            self.send_response(status)
            for name, value in (*headers, ("content-length", str(len(body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if part == "half" else body)

        def hang_up(self, how: str) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                if how == "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.rfile.close()  # it keeps the socket open
                self.connection.close()

        def log_message(self, *_: Any) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    proxy.url = f"http://127.0.0.1:{listener.server_port}"
    try:
        yield proxy
    finally:
        over.set()
        listener.shutdown()
        thread.join()
        listener.server_close()
