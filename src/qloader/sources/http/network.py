"""The way to a server: sockets that keep a deadline and avoid addresses that nobody allowed, pools, proxies."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from qloader.sources.http.addresses import is_loopback_name, is_public
from qloader.stopping import SLICE, StoppedError, current_stop

_KEEP_SECONDS = 30.0


class ForbiddenAddressError(Exception):
    """A host's name leads to an address that is not allowed."""


class DeadlineError(Exception):
    """The time for this answer is over."""


class _Limits(threading.local):
    """What holds for the request that the current thread is at."""

    deadline: float | None = None
    check_address: bool = False


_limits = _Limits()


@contextmanager
def limits(deadline: float) -> Iterator[None]:
    """Gives the current thread's requests an end.

    Args:
        deadline: When, on the clock of `time.monotonic`.
    """
    before, _limits.deadline = _limits.deadline, deadline
    try:
        yield
    finally:
        _limits.deadline = before


@contextmanager
def checked_address(is_checked: bool) -> Iterator[None]:
    """Whether connections that the current thread makes must lead to public addresses."""
    before, _limits.check_address = _limits.check_address, is_checked
    try:
        yield
    finally:
        _limits.check_address = before


def is_over() -> bool:
    """Whether the time of the current thread's request is over."""
    return _limits.deadline is not None and time.monotonic() >= _limits.deadline


def _in_time(timeout: float | None) -> float | None:
    """Seconds that may be waited, at most."""
    stop = current_stop()
    if stop is not None:
        if stop.is_set():
            raise StoppedError
        stop.beat()
    if _limits.deadline is None:
        return timeout
    left = _limits.deadline - time.monotonic()
    if left <= 0:
        raise DeadlineError
    return left if timeout is None else min(timeout, left)


class _Stream(httpcore.NetworkStream):
    """A connection whose every wait ends at the deadline, or when nobody wants the answer any more."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if end is None else end - time.monotonic()
            wait = _in_time(left)
            try:
                return self._inner.read(max_bytes, SLICE if wait is None else max(0.001, min(wait, SLICE)))
            except httpcore.ReadTimeout:
                if end is not None and time.monotonic() >= end:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _in_time(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _in_time(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Connects, to public addresses only where `checked_address` says so.

    A name is looked up once and its address is connected to, so that it cannot be another one a moment later.
    """

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._public_addresses(host, port) if _limits.check_address else [host]
        failure: Exception | None = None
        for address in addresses:
            try:
                stream = self._inner.connect_tcp(address, port, _in_time(timeout), local_address, socket_options)
                return _Stream(stream)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError("the name has no address")

    def _public_addresses(self, host: str, port: int) -> list[str]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if not is_public(address):
                raise ForbiddenAddressError(address)
        return addresses


class Transport(httpx.BaseTransport):
    """Pools of connections, one for each proxy and one without."""

    def __init__(self, ssl_context: Callable[[], ssl.SSLContext], connections: int) -> None:
        self._ssl_context = ssl_context
        self._connections = connections
        self._pools: dict[tuple[str, bool], httpcore.ConnectionPool] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request; its errors are those of httpcore and of this module."""
        url = request.url
        answer = self._pool(url).handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        """Closes all connections."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.close()

    def _pool(self, url: httpx.URL) -> httpcore.ConnectionPool:
        proxy = proxy_for(str(url.scheme), url.host, url.port) or ""
        is_secure = "https" in (url.scheme, proxy.partition(":")[0])
        with self._lock:
            if (proxy, is_secure) not in self._pools:
                self._pools[proxy, is_secure] = self._open_pool(proxy, is_secure=is_secure)
            return self._pools[proxy, is_secure]

    def _open_pool(self, proxy: str, *, is_secure: bool) -> httpcore.ConnectionPool:
        options: dict[str, Any] = {
            # Reading the certificates takes as long as many requests.
            "ssl_context": self._ssl_context() if is_secure else None,
            "max_connections": self._connections,
            "max_keepalive_connections": self._connections,
            "keepalive_expiry": _KEEP_SECONDS,
            "http2": True,
            "network_backend": _Backend(),
        }
        if not proxy:
            return httpcore.ConnectionPool(**options)
        place = httpx.URL(proxy)
        credentials = (place.username.encode(), place.password.encode()) if place.username else None
        bare = place.copy_with(userinfo=b"")
        return httpcore.HTTPProxy(proxy_url=str(bare), proxy_auth=credentials, **options)


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


def proxy_for(scheme: str, host: str, port: int | None) -> str | None:
    """The proxy that the environment names for an address (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY), if any.

    A server of this machine is never reached through one: the proxy's loopback is another.
    """
    if is_loopback_name(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or proxy_bypass(f"{host}:{port}" if port else host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
