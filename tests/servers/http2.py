"""A server that speaks HTTP/2 and nothing else, over TLS, so that an answer of it proves that HTTP/2 was spoken."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, WindowUpdated

PIECE = 16_000
"""Bytes in a frame; the protocol allows 16,384 where nobody agreed on more."""


class _Conversation:
    """One connection: answers each stream when its request is whole, as far as the client's window lets it."""

    def __init__(self, link: ssl.SSLSocket, bodies: dict[str, bytes | threading.Event]) -> None:
        self._link = link
        self._bodies = bodies
        self._paths: dict[int, str] = {}
        self._waiting: dict[int, bytes] = {}
        self._http = H2Connection(H2Configuration(client_side=False))
        self._http.initiate_connection()

    def run(self) -> None:
        self._link.sendall(self._http.data_to_send())
        while data := self._link.recv(65_536):
            for event in self._http.receive_data(data):
                if isinstance(event, RequestReceived):
                    self._paths[event.stream_id] = dict(event.headers)[b":path"].decode()
                elif isinstance(event, DataReceived):
                    self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    self._begin(event.stream_id)
                elif isinstance(event, WindowUpdated):
                    for stream in list(self._waiting):
                        self._go_on(stream)
            self._link.sendall(self._http.data_to_send())

    def _begin(self, stream: int) -> None:
        body = self._bodies.get(self._paths.pop(stream))
        if isinstance(body, threading.Event):
            body.set()
            return
        status = "404" if body is None else "200"
        self._http.send_headers(stream, [(":status", status), ("content-type", "application/json")])
        self._waiting[stream] = body or b""
        self._go_on(stream)

    def _go_on(self, stream: int) -> None:
        while stream in self._waiting:
            body = self._waiting[stream]
            size = min(PIECE, len(body), self._http.local_flow_control_window(stream))
            if body and not size:
                return
            is_last = size == len(body)
            self._http.send_data(stream, body[:size], end_stream=is_last)
            self._waiting[stream] = body[size:]
            if is_last:
                del self._waiting[stream]


@contextlib.contextmanager
def serve_http2(bodies: dict[str, bytes | threading.Event], certificate: tuple[Path, Path]) -> Iterator[str]:
    """Serves bodies by path; yields the address. A client that does not offer HTTP/2 is hung up on.

    An event in the place of a body is set when it is asked for, and never answered.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as link:
            if link.selected_alpn_protocol() == "h2":
                _Conversation(link, bodies).run()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(60)
