"""What the Atlassian servers share: accounts, the counting of requests, faults on demand."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

ASGI = Callable[[MutableMapping[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Any]

LOGIN_PAGE = (
    "<!DOCTYPE html><html><head><title>Log in with single sign-on</title></head><body><form></form></body></html>"
)


@dataclass
class Account:
    """Who may ask. On Cloud by e-mail and API token, on Data Center by personal access token or password.

    Attributes:
        lets_in_anybody: Whether the site is public: all but what is about people is told to whoever asks.
    """

    name: str = "Rita Reader"
    id: str = "5b10a2844c20165700ede21g"
    email: str = "rita@example.com"
    token: str = "secret-token"
    time_zone: str | None = "UTC"
    lets_in_anybody: bool = False


@dataclass
class Traffic:
    """What was asked of a server.

    Attributes:
        requests: `METHOD path?query` of each request, in order.
        payloads: What was sent with each request, in order.
        bodies: How many documents were sent with their text.
    """

    requests: list[str] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    bodies: int = 0

    def clear(self) -> None:
        """Forgets all of it."""
        self.requests.clear()
        self.payloads.clear()
        self.bodies = 0

    def to(self, pattern: str) -> list[str]:
        """The requests that a regular expression finds something in."""
        return [request for request in self.requests if re.search(pattern, request)]


@dataclass
class Fault:
    """Something that goes wrong: with requests that `pattern` finds, after the first `after`, `times` times.

    Attributes:
        pattern: A regular expression for `METHOD path?query`.
        status: The status of the answer instead of the real one; 0: the real one.
        headers: Its headers.
        body: Its body.
        before: Called before the request is answered, to change the model meanwhile.
        cut: Send the real answer's first half only, as a whole answer.
        drop: Close the connection in the middle of the answer.
        rewrite: Changes the decoded JSON of the real answer.
    """

    pattern: str
    after: int = 0
    times: int | None = 1
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    before: Callable[[], None] | None = None
    cut: bool = False
    drop: bool = False
    rewrite: Callable[[Any], Any] | None = None
    seen: int = 0

    def strikes(self, request: str) -> bool:
        """Whether it is this request's turn."""
        if not re.search(self.pattern, request):
            return False
        self.seen += 1
        return self.seen > self.after and (self.times is None or self.seen <= self.after + self.times)


def refuse(pattern: str, status: int, *, retry_after: str = "", after: int = 0, times: int | None = 1) -> Fault:
    """An answer of another status, as an Atlassian server gives it."""
    headers = {"content-type": "application/json"} | ({"retry-after": retry_after} if retry_after else {})
    body = json.dumps({"message": f"status {status}", "errorMessages": [f"status {status}"]})
    return Fault(pattern, after, times, status, headers, body)


def login_page(pattern: str = "", *, after: int = 0, times: int | None = None) -> Fault:
    """Single sign-on caught the call: an HTML page, status 200."""
    return Fault(pattern, after, times, 200, {"content-type": "text/html; charset=utf-8"}, LOGIN_PAGE)


class Site:
    """An app behind its front door: it counts, checks who asks, and fails on demand.

    Attributes:
        account: The one account there is.
        traffic: What was asked.
        faults: What goes wrong; the first that strikes does.
        latency: Seconds that every answer takes longer.
    """

    def __init__(self, app: ASGI, *, is_cloud: bool, account: Account, traffic: Traffic) -> None:
        self._app = app
        self._is_cloud = is_cloud
        self.account = account
        self.traffic = traffic
        self.faults: list[Fault] = []
        self.latency = 0.0

    def fail(self, *faults: Fault) -> None:
        """Adds faults."""
        self.faults.extend(faults)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        query = scope["query_string"].decode()
        request = f"{scope['method']} {scope['path']}" + (f"?{query}" if query else "")
        self.traffic.requests.append(request)
        self.traffic.payloads.append(b"")
        receive = self._noting(receive, len(self.traffic.payloads) - 1)
        if self.latency:
            await asyncio.sleep(self.latency)
        striking = [fault for fault in self.faults if fault.strikes(request)]
        fault = striking[0] if striking else None
        if fault is not None and fault.before is not None:
            fault.before()
        if fault is not None and fault.status:
            await _answer(send, fault.status, fault.headers, fault.body.encode())
        elif not self._knows(dict(scope["headers"]), scope["path"]) and scope["path"] != "/_edge/tenant_info":
            await _answer(
                send, 401, {"content-type": "application/json"}, b'{"message": "Client must be authenticated"}'
            )
        elif fault is not None and (fault.cut or fault.drop or fault.rewrite):
            await self._spoil(fault, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _noting(self, receive: Any, number: int) -> Any:
        async def noting() -> Any:
            message = await receive()
            if number < len(self.traffic.payloads):
                self.traffic.payloads[number] += message.get("body", b"")
            return message

        return noting

    def _knows(self, headers: dict[bytes, bytes], path: str) -> bool:
        account, given = self.account, headers.get(b"authorization", b"").decode()
        if account.lets_in_anybody and not given:
            return not re.search("/myself|/user", path)
        basic = base64.b64encode(f"{account.email}:{account.token}".encode()).decode()
        return given == f"Basic {basic}" or (not self._is_cloud and given == f"Bearer {account.token}")

    async def _spoil(self, fault: Fault, scope: Any, receive: Any, send: Any) -> None:
        status, headers, body = 200, {}, b""

        async def keep(message: Any) -> None:
            nonlocal status, headers, body
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = {k.decode(): v.decode() for k, v in message["headers"]}
            else:
                body += message.get("body", b"")

        await self._app(scope, receive, keep)
        headers.pop("content-length", None)
        if fault.rewrite:
            await _answer(send, status, headers, json.dumps(fault.rewrite(json.loads(body))).encode())
        elif fault.cut:
            await _answer(send, status, headers, body[: len(body) // 2])
        else:
            raw = [(k.encode(), v.encode()) for k, v in headers.items()] + [(b"content-length", b"%d" % len(body))]
            await send({"type": "http.response.start", "status": status, "headers": raw})
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            raise ConnectionAbortedError  # the server closes a connection whose answer is not whole


async def _answer(send: Any, status: int, headers: dict[str, str], body: bytes) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    raw.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
