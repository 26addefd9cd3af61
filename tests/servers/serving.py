"""Runs an ASGI application as a real HTTP server on this machine's loopback, in a thread with a loop of its own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn


@contextlib.contextmanager
def serve(
    app: Any, *, host: str = "127.0.0.1", port: int = 0, certificate: tuple[Path, Path] | None = None
) -> Iterator[str]:
    """Serves an application; yields its address without a slash at the end, e.g. `http://127.0.0.1:40321`.

    Args:
        app: The application. State that a test looks at is its own; what a handler changes and a test reads should
            be plain assignments, or stand under a lock.
        host: `127.0.0.1`, or `::1` for IPv6.
        port: 0 is a free one.
        certificate: A certificate and its key, in PEM files, for HTTPS.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio switches Nagle's algorithm off, which would cost 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    # From here on connections queue, so that nobody has to wait for the thread to begin.
    listener.listen(512)
    config = uvicorn.Config(
        app,
        log_level="critical",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        ssl_certfile=certificate[0] if certificate else None,
        ssl_keyfile=certificate[1] if certificate else None,
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    scheme = "https" if certificate else "http"
    try:
        yield f"{scheme}://{shown}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(60)
        listener.close()
