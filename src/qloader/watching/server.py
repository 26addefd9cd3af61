"""A small HTTP server for few routes, which nobody can fill up, hold or starve: h11 over plain sockets, in a thread.

Limits hold for each connection (time, head, body) and for all together (connections, bytes). Who comes when all
connections are taken waits in the system's own queue, so that a flood is answered one after the other, and a slow
client only costs its place, for a few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import h11

from qloader.errors import QloaderError

MAX_HEAD = 16 * 1024
"""Bytes that the lines and headers of a request may take."""

MAX_BODY = 4 * 1024 * 1024
"""Bytes of a body. Forges send up to 25 MB in theory; what is larger is seen at the next interval."""

MAX_HELD = 64 * 1024 * 1024
"""Bytes of all bodies that are being received at one time."""

CONNECTIONS = 128
DEADLINE = 10.0
"""Seconds for all of a connection, from its beginning to its end."""

BACKLOG = 4096
"""Connections that wait in the system's queue; the system may allow fewer."""

_BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A request; the names of headers are in small letters."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


class _Refused(Exception):
    """A request that is not read to its end."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def listen(host: str, port: int) -> socket.socket:
    """Takes a port. From here on connections wait until they are answered.

    Args:
        host: A name or address of this machine.
        port: The port; 0 is a free one.

    Raises:
        QloaderError: It is in use, or not for us.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from error
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> QloaderError:
    return QloaderError(
        f"nothing can listen at {host}:{port}: {error.strerror or error}",
        remedy="Choose another address with --listen or watch.listen, or stop what listens there. Nothing was started.",
    )


def address_of(listener: socket.socket) -> str:
    """Where a socket listens, e.g. `http://127.0.0.1:8080`."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server:
    """Answers what comes to a socket, in a thread of its own, until it is closed."""

    def __init__(
        self, listener: socket.socket, answer: Callable[[Request], Response], *, deadline: float = DEADLINE
    ) -> None:
        """Begins to answer.

        Args:
            listener: A socket that listens; closed at the end.
            answer: Makes the answer to a request; quick, since all others wait for it.
            deadline: Seconds for all of a connection.
        """
        self._listener = listener
        self._answer = answer
        self._deadline = deadline
        self._held = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="watch-http", daemon=True)
        self._accepting = self._loop.create_task(self._accept())
        self._thread.start()

    def close(self) -> None:
        """Ends; requests that are being answered are cut off."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._accepting.cancel)
            self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._accepting)
        self._loop.close()

    async def _accept(self) -> None:
        free = asyncio.Semaphore(CONNECTIONS)
        serving: set[asyncio.Task[None]] = set()

        def end(task: asyncio.Task[None]) -> None:
            serving.discard(task)
            free.release()

        try:
            while True:
                await free.acquire()
                try:
                    connection, _ = await self._loop.sock_accept(self._listener)
                except OSError:  # who called is gone already, or this process has no file left to open
                    free.release()
                    await asyncio.sleep(0.05)
                    continue
                task = self._loop.create_task(self._serve(connection))
                serving.add(task)
                task.add_done_callback(end)
        finally:
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._deadline):
                await self._converse(connection)

    async def _converse(self, connection: socket.socket) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        holding = [0]
        is_read = has_body = True
        try:
            request = await self._receive(connection, http, holding)
            if request is None:
                return
            has_body = request.method != "HEAD"
            response = self._answer(request)
        except _Refused as refusal:
            response, is_read = _plain(refusal.status), False
        except h11.RemoteProtocolError as error:
            response, is_read = _plain(error.error_status_hint), False
        except OSError:
            raise
        except Exception:  # a mistake in an answer must not take the service's health away
            response = _plain(HTTPStatus.INTERNAL_SERVER_ERROR)
        finally:
            self._held -= holding[0]
        await self._loop.sock_sendall(connection, _written(http, response, has_body=has_body))
        if not is_read:
            await self._see_off(connection)

    async def _receive(self, connection: socket.socket, http: h11.Connection, holding: list[int]) -> Request | None:
        """The next request, whole; None where nobody asks for anything."""
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                if http.they_are_waiting_for_100_continue:
                    go_on = http.send(h11.InformationalResponse(status_code=100, headers=[]))
                    await self._loop.sock_sendall(connection, go_on or b"")
                http.receive_data(await self._loop.sock_recv(connection, _BLOCK))
            elif isinstance(event, h11.Request):
                head = event
                if _length(head) > MAX_BODY:
                    raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            elif isinstance(event, h11.Data):
                body += event.data
                holding[0] += len(event.data)
                self._held += len(event.data)
                if len(body) > MAX_BODY:
                    raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                if self._held > MAX_HELD:
                    raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
                return Request(head.method.decode(), head.target.decode("latin-1"), headers, bytes(body))
            else:
                return None

    async def _see_off(self, connection: socket.socket) -> None:
        """Reads on for a moment what was still coming: a connection that is cut would take the answer with it."""
        connection.shutdown(socket.SHUT_WR)
        left = MAX_BODY
        while left > 0 and (data := await self._loop.sock_recv(connection, _BLOCK)):
            left -= len(data)


def _length(head: h11.Request) -> int:
    return next((int(value) for name, value in head.headers if name == b"content-length"), 0)


def _plain(status: int) -> Response:
    return Response(status, f"{HTTPStatus(status).phrase}\n".encode())


def _written(http: h11.Connection, response: Response, *, has_body: bool) -> bytes:
    """An answer as bytes; the connection ends with it."""
    headers = [
        ("content-type", response.content_type),
        ("content-length", str(len(response.body))),
        ("cache-control", "no-store"),
        ("connection", "close"),
    ]
    if response.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append(("retry-after", "5"))
    phrase = HTTPStatus(response.status).phrase.encode()
    parts = [http.send(h11.Response(status_code=response.status, reason=phrase, headers=headers))]
    if has_body:
        parts.append(http.send(h11.Data(data=response.body)))
    parts.append(http.send(h11.EndOfMessage()))
    return b"".join(part for part in parts if part)
