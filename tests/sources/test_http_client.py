import base64
import gzip
import json
import re
import socket
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from email.utils import formatdate
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from qloader import __version__
from qloader.errors import SourceError
from qloader.retrying import RetryPolicy
from qloader.sources.http import network, pace
from qloader.sources.http.client import HttpClient
from qloader.sources.http.errors import (
    AnswerTooLargeError,
    BrokenAnswerError,
    CertificateError,
    CredentialsError,
    LoginPageError,
    NotFoundError,
    PermissionDeniedError,
    RedirectError,
    RefusedRequestError,
    RequestError,
    SlowAnswerError,
    UnavailableError,
)
from qloader.sources.http.exchange import Exchange
from qloader.sources.http.exchange import Request as HttpRequest
from qloader.sources.http.inflate import BrokenDataError, TooMuchError, inflate
from qloader.sources.http.settings import HttpSettings
from qloader.sources.http.telling import PassingError
from servers.http2 import serve_http2
from servers.raw import raw_server
from servers.serving import serve

SECRET = "s3cr3t-t0ken"


class Server:
    """Answers by path; `seen` is what came in, in order."""

    def __init__(self):
        self.answers = {}
        self.seen = []
        self._lock = threading.Lock()
        methods = ["GET", "POST"]
        self.app = Starlette(routes=[Route("/{path:path}", self._answer, methods=methods)])

    async def _answer(self, request: Request):
        body = await request.body()
        with self._lock:
            self.seen.append((request.method, request.url.path, request.url.query, dict(request.headers), body))
            answer = self.answers.get(request.url.path, 404)
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer) and not isinstance(answer, Response):
            answer = answer(request)
        return Response(status_code=answer) if isinstance(answer, int) else answer

    def count(self, path):
        return sum(1 for one in self.seen if one[1] == path)


@pytest.fixture(scope="module")
def both():
    """Two servers, for what must not go from one to the other."""
    servers = Server(), Server()
    with ExitStack() as stack:
        yield [(server, stack.enter_context(serve(server.app))) for server in servers]


@pytest.fixture
def server(both):
    for one, base in both:
        one.answers.clear()
        one.seen.clear()
        pace._paces.pop(base.removeprefix("http://"), None)  # what an earlier test was told to wait
    return both[0][0]


@pytest.fixture
def still_clock(monkeypatch):
    """The clock by which requests are spaced out stands still, however long they take."""
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: 1000.0))


@pytest.fixture
def client(both, server):
    with make_client(both[0][1]) as client:
        yield client


def make_client(base, *, auth=None, naps=None, **settings):
    """A client that never really waits; `naps` gets what it would have waited."""
    attempts = settings.setdefault("attempts", 3)
    policy = RetryPolicy(attempts, 1.0, (naps if naps is not None else []).append, lambda: 1_700_000_000.0, lambda: 0.0)
    return HttpClient(base, HttpSettings(**settings), auth=auth, what="sources.wiki", policy=policy)


def test_it_says_who_asks_and_takes_gzip(client, server):
    server.answers["/a"] = JSONResponse({"x": 1})
    assert client.get_json("a") == {"x": 1}
    headers = server.seen[0][3]
    assert headers["user-agent"].startswith(f"qloader/{__version__} ")
    assert headers["accept-encoding"] == "gzip, deflate"
    assert "cookie" not in headers


def test_paths_lead_on_from_the_base_and_queries_are_joined(both, server):
    with make_client(both[0][1] + "/wiki") as client:
        for path in ("/wiki/api/x", "/other", "/wiki/list"):
            server.answers[path] = JSONResponse([])
        client.get_json("api/x", [("id", 1), ("id", 2)])
        client.get_json("/other?cursor=a%2Bb", {"limit": 5, "status": ["a", "b"]})
        client.get_json(f"{both[0][1]}/wiki/list")
    assert [(path, query) for _, path, query, _, _ in server.seen] == [
        ("/wiki/api/x", "id=1&id=2"),
        ("/other", "cursor=a%2Bb&limit=5&status=a&status=b"),
        ("/wiki/list", ""),
    ]


@pytest.mark.parametrize(
    ("auth", "expected"),
    [(("me", SECRET), "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()), (SECRET, f"Bearer {SECRET}")],
)
def test_credentials_go_to_the_source_s_own_host_alone(both, server, auth, expected):
    (server, base), (other, other_base) = both
    server.answers["/away"] = RedirectResponse(f"{other_base}/there")
    other.answers["/there"] = JSONResponse({"ok": True})
    with make_client(base, auth=auth, allowed_hosts=("127.0.0.1",), allow_private=True) as client:
        assert client.get_json("away") == {"ok": True}
    assert server.seen[0][3]["authorization"] == expected
    assert "authorization" not in other.seen[0][3]
    assert SECRET not in str(other.seen)


def test_a_question_by_post_is_asked_again(client, server):
    server.answers["/search"] = [503, JSONResponse({"n": 1})]
    assert client.post_json("search", {"jql": "x"}) == {"n": 1}
    assert [(one[0], one[4]) for one in server.seen] == [("POST", b'{"jql":"x"}')] * 2


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again_with_longer_and_longer_waits(both, server, status):
    naps = []
    server.answers["/a"] = [status, status, JSONResponse(1)]
    with make_client(both[0][1], naps=naps) as client:
        assert client.get_json("a") == 1
    assert naps == [1.0, 2.0]


@pytest.mark.parametrize(
    "retry_after", ["7", formatdate(1_700_000_007, usegmt=True), "Tue, 14 Nov 2023 22:13:27 -0000"]
)
def test_retry_after_is_kept_in_seconds_or_as_a_date_and_holds_for_all_who_ask_the_host(
    both, server, still_clock, retry_after
):
    naps, others = [], []
    server.answers["/a"] = [Response(status_code=429, headers={"retry-after": retry_after}), JSONResponse(1)]
    server.answers["/b"] = JSONResponse(2)
    with make_client(both[0][1], naps=naps) as client, make_client(both[0][1], naps=others) as other:
        assert client.get_json("a") == 1
        assert other.get_json("b") == 2
    assert naps == [7]
    assert others == [7]


def test_a_refusal_is_not_tried_again(client, server):
    server.answers["/a"] = 400
    with pytest.raises(RefusedRequestError, match=r"refuses the request \(400\)"):
        client.get_json("a")
    assert server.count("/a") == 1


def problem(client, path="a"):
    with pytest.raises(SourceError) as caught:
        client.get_json(path)
    assert caught.value.remedy
    assert SECRET not in str(caught.value) + caught.value.remedy + repr(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (401, CredentialsError, "does not accept the credentials"),
        (403, PermissionDeniedError, "may not be read with these credentials"),
        (
            Response(status_code=403, headers={"x-authentication-denied-reason": "CAPTCHA_CHALLENGE; login-url=x"}),
            PermissionDeniedError,
            "CAPTCHA",
        ),
        (404, NotFoundError, "there is nothing at"),
        (410, NotFoundError, r"\(410\)"),
        (429, UnavailableError, "asked too often"),
        (503, UnavailableError, "maintenance"),
        (500, UnavailableError, "it answers 500"),
        (HTMLResponse("<html>Log in</html>"), LoginPageError, "login page"),
        (Response("<!doctype html>", media_type=""), LoginPageError, "login page"),
        (Response('{"a": [1, 2', media_type="application/json"), BrokenAnswerError, "cut off"),
        (Response(b'\xff\xfe{"a"', media_type="application/json"), BrokenAnswerError, "no JSON"),
        (Response('{"a": 1}', 206, media_type="application/json"), BrokenAnswerError, "a part only"),
        (Response("x" * 3_000_000, media_type="application/json"), AnswerTooLargeError, "over 1 MB"),
        (
            Response(gzip.compress(b"[" + b" " * 20_000_000), headers={"content-encoding": "gzip"}),
            AnswerTooLargeError,
            "over 1 MB",
        ),
        (Response(b"no gzip", headers={"content-encoding": "gzip"}), UnavailableError, "broken compressed data"),
        (Response(b"x", headers={"content-encoding": "br"}), UnavailableError, "nobody asked for"),
    ],
)
def test_each_failure_has_its_error_and_its_remedy_and_no_secret(both, server, answer, error, words):
    server.answers["/a"] = answer
    with make_client(both[0][1], auth=("me", SECRET), max_bytes=1_000_000, attempts=1) as client:
        found = problem(client, "a?token=" + SECRET)
    assert type(found) is error
    assert re.search(words, str(found))


def test_without_credentials_a_401_says_so(both, server):
    server.answers["/a"] = 401
    with make_client(both[0][1]) as client:
        assert "there are none" in str(problem(client))


def test_an_ordinary_get_tells_304_and_404_from_errors(client, server):
    server.answers["/same"] = lambda request: 304 if request.headers.get("if-none-match") == '"1"' else 200
    assert client.get("same", headers={"if-none-match": '"1"'}).status == 304
    assert client.get("missing").status == 404
    server.answers["/gone"] = 410
    assert client.get("gone").status == 410


def test_a_longer_answer_can_be_cut(client, server):
    server.answers["/a"] = Response(b"x" * 1000)
    answer = client.get("a", max_bytes=10, truncate=True)
    assert (answer.body, answer.truncated) == (b"x" * 10, True)


def test_a_large_answer_can_be_read_piece_by_piece(client, server):
    server.answers["/a"] = Response(b"x" * 1_000_000)
    sizes = []
    assert client.read("a", lambda pieces: sizes.extend(map(len, pieces)), max_bytes=2_000_000).body == b""
    assert sum(sizes) == 1_000_000
    assert len(sizes) > 1
    client.read("a", next, max_bytes=2_000_000)  # a reader that has enough
    assert client.get("a").status == 200


# Redirects


def test_redirects_within_the_host_are_followed(client, server):
    server.answers |= {
        "/a": RedirectResponse("/b", 301),
        "/b": RedirectResponse("c#part", 308),
        "/c": JSONResponse({"at": "c"}),
    }
    answer = client.get("a")
    assert answer.url.endswith("/c")
    assert answer.moved
    assert answer.permanent
    server.answers["/b"] = RedirectResponse("/c", 302)
    assert not client.get("a").permanent


def test_a_redirect_loop_ends(client, server):
    server.answers |= {"/a": RedirectResponse("/b"), "/b": RedirectResponse("/a")}
    error = problem(client)
    assert type(error) is RedirectError
    assert "never ends" in str(error)
    assert len(server.seen) == 2


def test_a_chain_of_ever_new_redirects_ends(client, server):
    for number in range(30):
        server.answers[f"/{number}"] = RedirectResponse(f"/{number + 1}")
    assert "never ends" in str(problem(client, "0"))
    assert len(server.seen) == 11


def test_a_cookie_is_told_in_a_chain_of_redirects_and_then_forgotten(client, server):
    def check(request):
        if request.cookies.get("seen") == "yes":
            return JSONResponse("page")
        answer = RedirectResponse("/a")
        answer.set_cookie("seen", "yes")
        return answer

    server.answers["/a"] = check
    assert client.get_json("a") == "page"
    assert client.get_json("a") == "page"
    assert ["cookie" in one[3] for one in server.seen] == [False, True, False, True]


def test_a_cookie_of_a_page_is_not_kept(client, server):
    server.answers["/a"] = Response("1", headers={"set-cookie": "session=1; Path=/"})
    client.get("a")
    client.get("a")
    assert all("cookie" not in one[3] for one in server.seen)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("http://169.254.169.254/latest/meta-data/", "another host"),
        ("http://docs.example.com/", "another host"),
        ("//evil.example/", "another host"),
        ("file:///etc/passwd", "no address of the web"),
        ("gopher://127.0.0.1/", "no address of the web"),
        ("http://[::1", "no address of the web"),
        ("http://127.0.0.1:99999/", "no address of the web"),
    ],
)
def test_redirects_to_other_places_are_refused(client, server, target, words):
    server.answers["/a"] = Response(status_code=302, headers={"location": target})
    error = problem(client)
    assert type(error) is RedirectError
    assert words in str(error)


def test_another_port_is_another_host(both, client, server):
    (_, _), (other, other_base) = both
    server.answers["/a"] = RedirectResponse(f"{other_base}/x")
    assert "another host" in str(problem(client))
    assert other.seen == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.8", "192.168.1.1", "[fd00::1]", "[fe80::1]",
     "[::ffff:127.0.0.1]", "0.0.0.0", "100.64.0.1", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"],
)  # fmt: skip
def test_an_allowed_host_may_still_not_be_private(both, server, host):
    server.answers["/a"] = RedirectResponse(f"http://{host}:1/x")
    with make_client(both[0][1], allowed_hosts=("*",)) as client:
        error = problem(client)
    assert type(error) is RedirectError
    assert "of this machine or its network" in str(error)


def test_a_name_that_leads_to_a_private_address_is_refused(both, server, monkeypatch):
    (server, base), (other, other_base) = both
    port = int(other_base.rpartition(":")[2])
    looked_up = []
    really = socket.getaddrinfo

    def resolve(host, *args, **options):
        looked_up.append(host)
        return really("127.0.0.1" if host == "docs.evil.example" else host, *args, **options)

    monkeypatch.setattr(network.socket, "getaddrinfo", resolve)
    server.answers["/a"] = RedirectResponse(f"http://docs.evil.example:{port}/x")
    with make_client(base, allowed_hosts=("docs.evil.example",)) as client:
        error = problem(client)
    assert type(error) is RedirectError
    assert "127.0.0.1" in str(error)
    assert looked_up[-1] == "docs.evil.example"
    assert other.seen == []


def test_a_post_that_is_redirected_is_a_login(client, server):
    server.answers["/a"] = RedirectResponse("/login", 302)
    with pytest.raises(LoginPageError):
        client.post_json("a", {})


def test_a_user_in_an_address_is_dropped(both, server):
    server.answers["/a"] = JSONResponse(1)
    with make_client(both[0][1].replace("http://", f"http://me:{SECRET}@")) as client:
        assert client.get_json("a") == 1
        assert "authorization" not in server.seen[0][3]
        assert SECRET not in str(problem(client, "missing"))


# Slow, broken and missing servers


def test_a_server_that_sends_a_byte_now_and_then_is_left_at_the_deadline():
    def drip(connection, _, over):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while not over.wait(0.02):
            connection.sendall(b"x")

    with raw_server(drip) as base, make_client(base, deadline=0.3) as client, pytest.raises(SlowAnswerError):
        client.get("a")


def test_so_is_one_that_drips_headers():
    def drip(connection, _, over):
        connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
        while not over.wait(0.02):
            connection.sendall(b"x")

    with raw_server(drip) as base, make_client(base, deadline=0.3) as client, pytest.raises(SlowAnswerError):
        client.get("a")


def test_a_server_that_says_nothing_is_asked_again_and_then_left():
    asked = []

    def silence(_, head, over):
        asked.append(head)
        over.wait(600)

    with (
        raw_server(silence) as base,
        make_client(base, timeout=0.1, attempts=2) as client,
        pytest.raises(UnavailableError, match=r"no answer within 0\.1 s \(tried 3 times\)"),
    ):
        client.get("a")
    assert len(asked) == 3  # the server has ended, and had read them all by then


def test_a_connection_that_breaks_is_tried_again():
    calls = []

    def breaks(connection, _, __):
        calls.append(1)
        if len(calls) == 1:
            return  # closes at once
        if len(calls) == 2:
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[1,")
            return
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n[1]")

    with raw_server(breaks) as base, make_client(base) as client:
        assert client.get_json("a") == [1]
    assert len(calls) == 3


def test_what_is_no_http_is_said():
    with (
        raw_server(lambda connection, _, __: connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")) as base,
        make_client(base, attempts=0) as client,
        pytest.raises(UnavailableError, match="connection broke"),
    ):
        client.get("a")


def test_nobody_at_home_is_said():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with make_client(base, attempts=1) as client, pytest.raises(UnavailableError, match=r"refused.*tried 2 times"):
            client.get("a")


def test_ipv6(server):
    server.answers["/a"] = JSONResponse(6)
    with serve(server.app, host="::1") as base, make_client(base) as client:
        assert base.startswith("http://[::1]:")
        assert client.get_json("a") == 6


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    import subprocess

    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
         "2", "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=IP:127.0.0.1"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder / "cert.pem", folder / "key.pem"


def test_an_unknown_authority_is_refused_and_can_be_named(server, certificate, tmp_path):
    server.answers["/a"] = JSONResponse("safe")
    with serve(server.app, certificate=certificate) as base:
        with make_client(base) as client:
            error = problem(client)
            assert type(error) is CertificateError
            assert "ca_file" in error.remedy
        with make_client(base, ca_file=certificate[0]) as client:
            assert client.get_json("a") == "safe"
        with make_client(base, verify=False) as client:
            assert client.get_json("a") == "safe"
        (tmp_path / "bad.pem").write_text("no certificate")
        with make_client(base, ca_file=tmp_path / "bad.pem") as client:
            assert "no certificates that can be read" in str(problem(client))


def test_http_2_is_spoken_where_the_server_offers_it(certificate):
    numbers = list(range(100_000))  # more than a window of flow control, and many frames
    bodies = {f"/{name}": json.dumps([name, numbers]).encode() for name in range(8)}
    with serve_http2(bodies, certificate) as base, make_client(base, ca_file=certificate[0], attempts=0) as client:
        assert list(client.map(client.get_json, map(str, range(8)))) == [[name, numbers] for name in range(8)]
        assert type(problem(client, "none")) is NotFoundError


def test_an_answer_that_is_too_slow_spoils_no_other_on_its_connection(certificate):
    asked = threading.Event()
    bodies = {"/first": b"", "/slow": asked, "/held": threading.Event()}
    settings = HttpSettings(ca_file=certificate[0], timeout=2.0)
    with serve_http2(bodies, certificate) as base:
        exchange = Exchange(base, settings, auth=None, what="sources.site", sleep=time.sleep)

        def get(path, seconds):
            with network.limits(time.monotonic() + seconds):
                return exchange.send(HttpRequest("GET", base + path, {}, None, 1_000), base + path)

        def insist(path):
            while True:  # a busy machine may take longer than `timeout`; nothing else may go wrong
                try:
                    return get(path, 20)
                except PassingError as error:
                    if "no answer within" not in str(error):
                        raise

        insist("/first")  # opens the connection
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(get, "/slow", 0.5)
            slow.add_done_callback(lambda _: bodies.update({"/held": b"at last"}))
            asked.wait(10)
            with suppress(PassingError):  # it shares the connection that the other one's end tears down
                get("/held", 20)
            with pytest.raises((SlowAnswerError, PassingError)):  # whoever reads the connection when it ends
                slow.result()
        assert insist("/held").body == b"at last"
        exchange.close()


def test_credentials_are_not_sent_back_over_plain_http(server, certificate):
    with serve(server.app, certificate=certificate) as base:
        server.answers["/a"] = RedirectResponse(base.replace("https://", "http://") + "/b")
        with make_client(base, ca_file=certificate[0], auth=SECRET) as client:
            assert "without encryption" in str(problem(client))


# Proxies


@contextmanager
def proxy():
    """A proxy for plain HTTP that answers itself, and says what it was asked."""

    def answer(connection, head, _):
        line = head.split(b"\r\n")[0].decode()
        connection.sendall(f'HTTP/1.1 200 OK\r\ncontent-length: {len(line) + 2}\r\n\r\n"{line}"'.encode())

    with raw_server(answer) as base:
        yield base


def test_proxies_of_the_environment_are_used(monkeypatch):
    with proxy() as address:
        monkeypatch.setenv("HTTP_PROXY", "")
        monkeypatch.setenv("http_proxy", address)
        monkeypatch.setenv("no_proxy", "inside.example.com")
        with make_client("http://docs.example.com") as client:
            assert client.get_json("a") == "GET http://docs.example.com/a HTTP/1.1"
        assert network.proxy_for("http", "inside.example.com", None) is None
        assert network.proxy_for("http", "127.0.0.1", 80) is None


# Manners


def test_requests_to_a_host_are_spaced_out_for_all_its_clients(both, server, still_clock):
    naps = []
    server.answers["/a"] = JSONResponse(1)
    with make_client(both[0][1], naps=naps, rate=0.5) as one, make_client(both[0][1], naps=naps, rate=0.5) as two:
        for client in (one, two, one):
            client.get_json("a")
    assert naps == [2, 4]


def test_no_more_than_so_many_requests_are_under_way(both, server):
    lock, now, most = threading.Lock(), [0], [0]
    enough = threading.Barrier(3, timeout=120)

    def slow(_):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        enough.wait()
        with lock:
            now[0] -= 1
        return JSONResponse(1)

    app = Starlette(routes=[Route("/a", slow)])
    with serve(app) as base, make_client(base, parallel=3) as client:
        assert list(client.map(lambda _: client.get_json("a"), range(9))) == [1] * 9
    assert most[0] == 3


def test_map_keeps_the_order_and_does_not_run_far_ahead(client):
    begun = []

    def work(number):
        begun.append(number)
        return number * 2

    results = client.map(work, iter(range(1000)))
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    assert max(begun) < 20
    results.close()
    assert max(begun) < 20


def test_an_error_in_map_ends_what_is_under_way():
    def silence(_, head, over):
        if b"GET /bad" not in head:
            over.wait(600)

    with raw_server(silence) as base, make_client(base, attempts=0, timeout=600) as client:
        with pytest.raises(UnavailableError):
            list(client.map(client.get, ["bad", "slow", "slow", "slow"]))
        assert threading.active_count() < 50


# Decompression


def test_every_encoding_is_read_in_pieces_of_any_size():
    data = bytes(range(256)) * 1000
    raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    sent = {
        "gzip": gzip.compress(data[:1000]) + gzip.compress(data[1000:]) + b"\0\0",
        "deflate": zlib.compress(data),
        " Deflate": raw.compress(data) + raw.flush(),
        "": data,
        "identity": data,
    }
    for encoding, body in sent.items():
        for size in (1, 7, 1000, len(body)):
            pieces = [body[at : at + size] for at in range(0, len(body), size)]
            assert b"".join(inflate(pieces, encoding, len(data))) == data


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_is_stopped_at_its_bound_and_a_cut_is_noticed(encoding):
    body = (gzip.compress if encoding == "gzip" else zlib.compress)(b"0" * 5_000_000)
    out = bytearray()
    with pytest.raises(TooMuchError):
        for piece in inflate([body], encoding, 1_000_000):
            assert len(piece) <= 64 * 1024
            out += piece
    assert len(out) == 1_000_000
    with pytest.raises(BrokenDataError):
        list(inflate([body[:-4]], encoding, 10**9))


def test_credentials_are_not_sent_without_encryption_unless_that_is_said():
    for auth in ("token", ("user", "password")):
        with HttpClient("http://wiki.example.org/", HttpSettings(), auth=auth, what="sources.wiki") as client:
            with pytest.raises(RequestError, match="without encryption") as caught:
                client.get("rest/api")
            assert "https" in caught.value.remedy
            assert "password" not in str(caught.value)
    trusting = HttpSettings(verify=False, attempts=0)
    with (
        HttpClient("http://wiki.invalid/", trusting, auth="token", what="sources.wiki") as client,
        pytest.raises(RequestError) as caught,
    ):
        client.get("rest/api")
    assert "encryption" not in str(caught.value)  # it was tried
