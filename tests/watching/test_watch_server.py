"""The HTTP server: what it answers, and whom it does not let have their way."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from qloader.config.sources import SourceConfig
from qloader.errors import QloaderError
from qloader.watching import server as server_module
from qloader.watching.moments import Moment
from qloader.watching.notices import Notices
from qloader.watching.routes import Routes
from qloader.watching.server import CONNECTIONS, MAX_BODY, MAX_HEAD, Request, Response, Server, address_of, listen
from qloader.watching.standing import CONFIG, StandingBoard
from support.command_line import wait_until

SECRET = "secret"
# One for all: to read the certificates of a system takes longer than most tests.
HTTP = httpx.Client(verify=False, timeout=120)
SOURCES: dict[str, Any] = {
    "docs": TypeAdapter(SourceConfig).validate_python({"type": "files", "path": "docs"}),  # type: ignore[arg-type]
    "code": TypeAdapter(SourceConfig).validate_python({"type": "git", "url": "https://github.com/a/b"}),  # type: ignore[arg-type]
}


@contextlib.contextmanager
def serving(answer: Any, **options: Any) -> Iterator[str]:
    listener = listen("127.0.0.1", 0)
    with contextlib.closing(Server(listener, answer, **{"deadline": 120, **options})):
        yield address_of(listener)


class Place:
    """The routes of a service with two sources, without the service."""

    def __init__(self) -> None:
        self.board = StandingBoard("handbook", SOURCES)
        self.notices = Notices()
        self.routes = Routes(self.board, self.notices, SOURCES, {"github": SECRET})


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def url(place: Place) -> Iterator[str]:
    with serving(place.routes.answer) as address:
        yield address


def hook(value: Any) -> dict[str, Any]:
    body = json.dumps(value).encode()
    signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {"content": body, "headers": {"X-Hub-Signature-256": signature, "X-GitHub-Event": "push"}}


def raw(url: str, data: bytes) -> bytes:
    """Sends bytes and reads the answer to its end."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        connection.sendall(data)
        answer = b""
        while block := connection.recv(65536):
            answer += block
    return answer


def test_alive_and_ready_are_two_things(place: Place, url: str) -> None:
    assert HTTP.get(f"{url}/healthz").json() == {"status": "alive", "name": "handbook"}
    assert HTTP.get(f"{url}/readyz").status_code == 503
    assert HTTP.get(f"{url}/readyz").json()["status"] == "starting"
    for name in SOURCES:
        place.board.record(name, success=Moment())
    place.board.count({"docs": 3}, 7)
    answer = HTTP.get(f"{url}/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert answer.json()["sources"]["docs"]["documents"] == 3
    assert 0 <= answer.json()["sources"]["docs"]["seconds_since_success"] < 600
    place.board.record("docs", trouble="the folder is gone")
    answer = HTTP.get(f"{url}/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "degraded")
    assert answer.headers["retry-after"]
    assert answer.json()["problems"] == ["the folder is gone"]
    assert HTTP.get(f"{url}/healthz").status_code == 200
    place.board.record("docs", success=Moment())
    place.board.record(CONFIG, trouble="refused by guards")
    assert HTTP.get(f"{url}/readyz").json()["problems"] == ["refused by guards"]


def test_metrics_are_openmetrics(place: Place, url: str) -> None:
    place.board.end("applied")
    place.board.record("docs", success=Moment())
    place.board.count({"docs": 3}, 7)
    place.notices.tell(["docs"], 'odd "name"\n')
    answer = HTTP.get(f"{url}/metrics")
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    lines = answer.text.splitlines()
    assert lines[-1] == "# EOF"
    assert answer.text.endswith("# EOF\n")
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
    samples = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    assert all(name.startswith(tuple(types)) for name in samples)
    assert samples['qloader_watch_looks_total{end="applied"}'] == 1
    assert samples['qloader_watch_notices_total{by="odd \\"name\\"\\n"}'] == 1
    assert samples['qloader_documents{source="docs"}'] == 3
    assert samples["qloader_points"] == 7
    assert samples['qloader_watch_source_success_timestamp_seconds{source="docs"}'] == pytest.approx(
        time.time(), abs=3600
    )


def test_wrong_paths_methods_and_hooks_are_told_what_is_wrong(place: Place, url: str) -> None:
    assert HTTP.get(f"{url}/").status_code == 404
    assert HTTP.get(f"{url}/hooks/github").status_code == 405
    assert HTTP.post(f"{url}/metrics").status_code == 405
    assert HTTP.post(f"{url}/hooks/jira", **hook({})).status_code == 404
    assert HTTP.post(f"{url}/hooks/", **hook({})).status_code == 404
    assert HTTP.post(f"{url}/hooks/github", content=b"{}").status_code == 401
    unknown = hook({"repository": {"clone_url": "https://github.com/x/y"}})
    assert HTTP.post(f"{url}/hooks/github", **unknown).status_code == 404
    assert place.notices.take() == {}
    head = HTTP.head(f"{url}/healthz")
    assert (head.status_code, head.content) == (200, b"")
    assert HTTP.get(f"{url}/readyz?full=1").status_code == 503


def test_ten_thousand_hooks_are_taken_and_become_one_notice(place: Place) -> None:
    # Straight at the routes: what a hook costs is not the test client's sockets.
    made = hook({"repository": {"clone_url": "https://github.com/a/b.git"}})
    request = Request("POST", "/hooks/github", {k.lower(): v for k, v in made["headers"].items()}, made["content"])
    assert {place.routes.answer(request).status for _ in range(10_000)} == {202}
    assert place.notices._bell.qsize() == 1  # nobody is woken ten thousand times
    assert list(place.notices.take()) == ["code"]
    assert place.notices.counts() == {"github hook": 10_000}


def test_a_flood_from_many_connections_is_answered_to_the_last(place: Place, url: str) -> None:
    made = hook({"repository": {"clone_url": "https://github.com/a/b.git"}})
    head = "".join(f"{name}: {value}\r\n" for name, value in made["headers"].items())
    data = f"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: {len(made['content'])}\r\n{head}\r\n".encode()
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: raw(url, data + made["content"]).split(b" ", 2)[1], range(1_000)))
    assert set(answers) == {b"202"}
    assert list(place.notices.take()) == ["code"]


def test_a_body_that_is_too_large_is_refused_whether_or_not_it_says_so(url: str) -> None:
    head = b"POST /hooks/github HTTP/1.1\r\nHost: x\r\n"
    assert b" 413 " in raw(url, head + f"Content-Length: {MAX_BODY + 1}\r\n\r\n".encode())
    assert HTTP.post(f"{url}/hooks/github", content=b"x" * (MAX_BODY + 1)).status_code == 413
    blocks = (b"x" * 65536 for _ in range(MAX_BODY // 65536 + 1))
    with contextlib.suppress(httpx.WriteError, httpx.ReadError):  # it may be cut off while it still sends
        assert HTTP.post(f"{url}/hooks/github", content=blocks).status_code == 413
    assert HTTP.get(f"{url}/healthz").status_code == 200


def test_all_bodies_together_have_a_limit(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_HELD", 1000)
    with serving(place.routes.answer) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n" + b"x" * 900)
            statuses = set()
            while 503 not in statuses:  # the first bytes may not have been read yet
                statuses.add(HTTP.post(f"{url}/hooks/github", content=b"x" * 200).status_code)
            assert statuses <= {401, 503}
        while HTTP.post(f"{url}/hooks/github", content=b"x" * 200).status_code != 401:
            pass  # it hung up, and its bytes are free again


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # somebody speaks TLS
        b"GET /healthz HTTP/1.1\r\n\r\n",  # no host
        b"GET /" + b"a" * (MAX_HEAD + 70_000) + b" HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(9_000)) + b"\r\n",
        b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_refused_and_harms_nobody(url: str, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        assert raw(url, data).split(b" ")[1][:1] in (b"4", b"5")
    assert HTTP.get(f"{url}/healthz").status_code == 200


def test_a_client_that_waits_to_be_told_to_go_on_is_told() -> None:
    def answer(request: Request) -> Response:
        return Response(200, request.body)

    with serving(answer) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=120) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
            connection.sendall(b"hello")
            answered = b""
            while block := connection.recv(100):
                answered += block
            assert answered.endswith(b"hello")


def test_clients_that_say_nothing_cost_their_place_for_the_deadline_and_no_longer(place: Place) -> None:
    with serving(place.routes.answer, deadline=0.5) as url, contextlib.ExitStack() as stack:
        host, port = url.removeprefix("http://").split(":")
        for number in range(CONNECTIONS + 20):
            connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=120))
            if number % 2:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost:")
        wait_until(lambda: is_answered(f"{url}/healthz"))
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) == b""  # cut off


def is_answered(url: str) -> bool:
    """Whether a server answers; where this machine is slow, its deadline holds for us too."""
    try:
        return HTTP.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_a_mistake_in_an_answer_is_an_answer_too() -> None:
    def answer(request: Request) -> Response:
        raise RuntimeError(request.path)

    with serving(answer) as url:
        assert HTTP.get(url).status_code == 500
        assert HTTP.get(url).status_code == 500


def test_a_port_in_use_is_an_error_that_says_what_to_do() -> None:
    with contextlib.closing(listen("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(QloaderError, match=f"nothing can listen at 127.0.0.1:{port}: Address already in use"):
            listen("127.0.0.1", port)
    with pytest.raises(QloaderError, match=r"nothing can listen at host\.invalid:1"):
        listen("host.invalid", 1)


def test_nothing_is_left_when_it_is_closed(place: Place) -> None:
    with serving(place.routes.answer) as url:
        host, port = url.removeprefix("http://").split(":")
        open_one = socket.create_connection((host, int(port)), timeout=120)
        assert HTTP.get(f"{url}/healthz").status_code == 200
    with open_one:
        assert open_one.recv(1) == b""
    assert [thread.name for thread in threading.enumerate() if thread.name == "watch-http"] == []
    with pytest.raises(httpx.ConnectError):
        HTTP.get(f"{url}/healthz")
