"""The server index: what it says when a server does not, over real sockets; and whose it lets a collection be."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest
from qdrant_client import QdrantClient, models

from qloader.errors import ForeignIndexError, IndexUnavailableError, QloaderError
from qloader.index.open import open_index
from qloader.index.protocol import PAYLOAD_INDEXES, SPARSE_VECTOR, Point, SparseVector
from qloader.index.server import METADATA, ServerIndex, connect
from support.qdrant_loopback import Answer, Request, StandIn, serving

KEY = "a-very-secret-key-0123"
OURS = "6f0c2f4e-0000-4000-8000-000000000001"
POINT = str(uuid.UUID(int=5))

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


def describe(url: str, **options: Any) -> object:
    with contextlib.closing(connect(url, "docs", **options)) as index:
        return index.describe()


def failure(url: str, **options: Any) -> QloaderError:
    """The error of a call; the key is nowhere in it, nor in what a traceback would print."""
    with pytest.raises(QloaderError) as raised:
        describe(url, **{"api_key": KEY, "timeout": 20, **options})
    assert KEY not in "".join(traceback.format_exception(raised.value))
    assert KEY not in raised.value.remedy
    assert "\n" not in str(raised.value)
    assert raised.value.remedy
    return raised.value


def answering(status: int, body: str, content_type: str = "text/html") -> contextlib.AbstractContextManager[str]:
    """A server that gives every request one answer, in which KEY is the key that the request brought."""

    def respond(request: Request) -> Answer:
        text = body.replace("KEY", request.headers.get("api-key", "none"))
        return Answer(status, text.encode(), content_type)

    return serving(respond)


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port that nobody listens on, and that nobody else is given."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


@pytest.fixture
def mute_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def stand_in() -> Iterator[tuple[StandIn, str]]:
    server = StandIn()
    with serving(server.respond) as url:
        yield server, url


# Servers that do not answer, or something else


@pytest.mark.parametrize(
    ("status", "body", "message", "remedy"),
    [
        (401, "Invalid API key or JWT", r"refused the API key \(Invalid API key or JWT\)", "index.api_key"),
        (401, "<html>KEY</html>", r"refused the API key \(HTTP 401 Unauthorized\)", "index.api_key"),
        (401, "no such key: KEY", r"refused the API key \(no such key: \*\*\*\)", "index.api_key"),
        (
            403,
            '{"status": {"error": "Forbidden: KEY"}}',
            r"refused the API key \(Forbidden: \*\*\*\)",
            "read and write",
        ),
        (404, "<html>404</html>", r"no Qdrant server \(HTTP 404 Not Found\)", "index.url"),
        (404, "404 page not found", r"no Qdrant server \(HTTP 404 Not Found\)", "index.url"),
        (301, "", r"no Qdrant server \(HTTP 301 Moved Permanently\)", "index.url"),
        (200, "<html>KEY</html>", "no Qdrant server", "index.url"),
        (200, "{}", "no Qdrant server", "index.url"),
        (200, '{"result": {"KEY": 1}}', "no Qdrant server", "index.url"),
        (400, '{"status": {"error": "Bad\\nrequest"}}', r"refused the request \(Bad request\)", "1.16"),
        (400, '{"status": {"error": "40 bytes is larger than allowed"}}', "larger than the server takes", "max_chars"),
        (413, "<html>KEY</html>", "larger than the server takes", "max_request_size_mb"),
        (429, '{"status": {"error": "Too many"}}', r"overloaded \(Too many\)", "Wait"),
        (500, '{"status": {"error": "No space left"}}', r"the server failed \(No space left\)", "log"),
        (503, "<html>\nKEY</html>", r"the server failed \(HTTP 503 Service Unavailable\)", "log"),
        (504, "", "did not answer in time", "index.timeout"),
    ],
)
def test_an_answer_becomes_an_error_with_a_remedy(status: int, body: str, message: str, remedy: str) -> None:
    with answering(status, body) as url:
        error = failure(url)
    assert isinstance(error, IndexUnavailableError)
    assert re.search(message, str(error))
    assert url in str(error)
    assert remedy in error.remedy


def test_a_server_that_asks_to_wait_is_overloaded() -> None:
    class Busy(StandIn):
        def respond(self, request: Request) -> Answer:
            return Answer(429, b'{"status": {"error": "Slow down"}}', headers={"Retry-After": "7"})

    with serving(Busy().respond) as url:
        assert "overloaded (Slow down)" in str(failure(url))


def test_a_server_that_wants_a_key_and_got_none_says_so() -> None:
    with answering(401, "Must provide an API key") as url:
        error = failure(url, api_key=None)
    assert "the server wants an API key" in str(error)
    assert "Set index.api_key" in error.remedy


@pytest.mark.parametrize("prefer_grpc", [False, True])
def test_a_port_that_nobody_listens_on_is_named(prefer_grpc: bool, free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}"
    error = failure_by_grpc(url, free_port) if prefer_grpc else failure(url)
    assert isinstance(error, IndexUnavailableError)
    assert "cannot be reached" in str(error)
    assert "efused" in str(error)
    assert url in str(error)
    assert "index.url" in error.remedy


def failure_by_grpc(url: str, port: int, **options: Any) -> QloaderError:
    """As `failure`, by gRPC on a port of our own: `connect` knows only 6334."""

    def make_client() -> QdrantClient:
        options.setdefault("timeout", 20)
        return QdrantClient(url=url, grpc_port=port, prefer_grpc=True, check_compatibility=False, **options)

    with contextlib.closing(ServerIndex(make_client, "docs", server=url)) as index:
        with pytest.raises(QloaderError) as raised:
            index.describe()
        return raised.value


@pytest.mark.parametrize("prefer_grpc", [False, True])
def test_a_server_that_says_nothing_is_given_up(prefer_grpc: bool, mute_port: int) -> None:
    url = f"http://127.0.0.1:{mute_port}"
    error = failure_by_grpc(url, mute_port, timeout=1) if prefer_grpc else failure(url, timeout=1)
    assert isinstance(error, IndexUnavailableError)
    assert "did not answer in time" in str(error)
    assert "index.timeout" in error.remedy


def test_a_server_that_hangs_up_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        error = failure(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert "cannot be reached" in str(error)


@pytest.mark.parametrize("prefer_grpc", [False, True])
def test_https_to_a_server_without_it_is_named(prefer_grpc: bool) -> None:
    with answering(200, "") as url:
        secure = url.replace("http:", "https:")
        error = failure_by_grpc(secure, int(url.rpartition(":")[2])) if prefer_grpc else failure(secure)
    assert isinstance(error, IndexUnavailableError)
    assert "no secure connection" in str(error)
    assert "https://" in error.remedy


def test_grpc_to_a_rest_port_is_named() -> None:
    with answering(200, "") as url:
        error = failure_by_grpc(url, int(url.rpartition(":")[2]))
    assert "no Qdrant server" in str(error)
    assert "6334" in error.remedy


def test_a_host_that_does_not_exist_is_named() -> None:
    error = failure("http://no-such-host.invalid:6333")
    assert isinstance(error, IndexUnavailableError)
    assert "no-such-host.invalid" in str(error)


def test_a_collection_that_vanished_is_named(stand_in: tuple[StandIn, str]) -> None:
    server, url = stand_in
    with contextlib.closing(connect(url, "docs")) as index:
        index.create(lineage=OURS, pipeline="p")
        assert index.count(lineage=OURS) == 0
        server.remove("docs")
        with pytest.raises(ForeignIndexError, match="there is no collection docs"):
            index.count(lineage=OURS)


def test_a_mistake_of_ours_is_not_blamed_on_the_server() -> None:
    def make_client() -> Any:
        raise KeyError("a mistake")

    with pytest.raises(KeyError):
        ServerIndex(make_client, "docs", server="nowhere").describe()


# What is refused before anything is sent


@pytest.mark.parametrize(
    "url",
    ["", "localhost:6333", "ftp://host", "http://", "http://host:0", "http://host:99999", "http://[::1", "http://a b"],
)
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(IndexUnavailableError, match=r"index\.url") as raised:
        open_index(collection="docs", embedded_path=None, url=url)
    assert "http://HOST:PORT" in raised.value.remedy


def test_a_password_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(IndexUnavailableError, match=r"index\.url") as raised:
        connect("https://user:hunter2@host:6333", "docs")
    assert "hunter2" not in str(raised.value) + raised.value.remedy


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a:b", 'a"b', "a\0b", "x" * 256])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(IndexUnavailableError, match="cannot be the name") as raised:
        open_index(collection=name, embedded_path=None, url="http://localhost:6333")
    assert "index.collection" in raised.value.remedy


@pytest.mark.parametrize("key", ["two words", "hunter2\n", "ключ", "hunter2\x7f"])
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(IndexUnavailableError, match=r"index\.api_key") as raised:
        connect("http://localhost:6333", "docs", api_key=key)
    assert key.strip() not in str(raised.value)


# What goes over the wire


def test_the_key_is_sent_with_every_request(stand_in: tuple[StandIn, str]) -> None:
    server, url = stand_in
    with contextlib.closing(connect(url, "docs", api_key=KEY)) as index:
        index.create(lineage=OURS, pipeline="p")
        index.count(lineage=OURS)
    assert {request.headers.get("api-key") for request in server.requests} == {KEY}


def test_an_empty_key_is_none(stand_in: tuple[StandIn, str]) -> None:
    server, url = stand_in
    describe(url, api_key="")
    assert {request.headers.get("api-key") for request in server.requests} == {None}


def test_a_path_in_the_address_is_kept() -> None:
    paths = []

    def respond(request: Request) -> Answer:
        paths.append(request.path)
        return Answer(200, b'{"result": {"exists": false, "aliases": []}}')

    with serving(respond) as url:
        assert describe(f"{url}/behind/a/proxy/") is None
    assert paths == ["/behind/a/proxy/aliases", "/behind/a/proxy/collections/docs/exists"]


def test_every_write_waits_until_the_server_has_it(stand_in: tuple[StandIn, str]) -> None:
    server, url = stand_in
    with contextlib.closing(connect(url, "docs")) as index:
        index.create(lineage=OURS, pipeline="p")
        index.upsert([Point(POINT, {SPARSE_VECTOR: SparseVector([1], [1.0])}, {"qloader": {"lineage": OURS}})])
        index.set_payloads([(POINT, {"qloader": {"lineage": OURS}})])
        index.delete([POINT])
    writes = [r for r in server.requests if re.search("/(index|points|points/batch|points/delete)$", r.path)]
    assert len(writes) == len(PAYLOAD_INDEXES) + 3
    assert {request.query.get("wait") for request in writes} == {"true"}


def test_nothing_is_printed_or_warned_about(free_port: int) -> None:
    script = f"""
from qloader.errors import IndexUnavailableError
from qloader.index.server import connect
for url in ("http://127.0.0.1:{free_port}", "https://127.0.0.1:{free_port}"):
    for prefer_grpc in (False, True):
        index = connect(url, "docs", api_key="key", prefer_grpc=prefer_grpc, timeout=5)
        try:
            index.describe()
        except IndexUnavailableError:
            pass
        index.close()
"""
    command = [sys.executable, "-W", "always", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_opening_an_index_imports_no_engine() -> None:
    script = """
import sys
from pathlib import Path
from qloader.index.open import open_index, read_marker
read_marker(Path("nowhere"), "docs")
assert "qloader.index.server" not in sys.modules
open_index(collection="docs", embedded_path=Path("nowhere"), url=None)
open_index(collection="docs", embedded_path=None, url="http://localhost:6333")
print(sorted({"qdrant_client", "qdrant_edge", "grpc", "httpx", "numpy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "[]"


# Whose a collection is


@pytest.fixture
def client() -> QdrantClient:
    return QdrantClient(":memory:")


@pytest.fixture
def index(client: QdrantClient) -> ServerIndex:
    return ServerIndex(lambda: client, "docs", server="local")


def test_a_server_that_forgets_metadata_is_refused_and_nothing_stays_behind() -> None:
    server = StandIn(keeps_metadata=False)
    with serving(server.respond) as url, contextlib.closing(connect(url, "docs")) as index:
        with pytest.raises(IndexUnavailableError, match="too old") as raised:
            index.create(lineage=OURS, pipeline="p")
        assert "1.16" in raised.value.remedy
        assert index.describe() is None
    assert not server.client.collection_exists("docs")


def test_other_metadata_of_the_collection_is_left_alone(client: QdrantClient, index: ServerIndex) -> None:
    index.create(lineage=OURS, pipeline="p")
    client.update_collection("docs", metadata={"team": "search"})
    index.mark(lineage=OURS, pipeline="q")
    metadata = client.get_collection("docs").config.metadata
    assert metadata is not None
    assert metadata["team"] == "search"
    assert metadata[METADATA]["pipeline"] == "q"


def test_marking_what_is_marked_needs_no_right_to_change_the_collection(stand_in: tuple[StandIn, str]) -> None:
    server, url = stand_in
    with contextlib.closing(connect(url, "docs")) as index:
        index.create(lineage=OURS, pipeline="p")
        server.requests.clear()
        index.mark(lineage=OURS, pipeline="p")
    assert {request.method for request in server.requests} == {"GET"}


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"format": "qloader.index/2", "lineage": OURS}, "qloader.index/2"),
        ({"format": "qloader.index/1"}, "damaged"),
        ({}, "damaged"),
        ("mine", "damaged"),
        (None, "damaged"),
    ],
)
def test_metadata_that_is_not_understood_is_refused(
    client: QdrantClient, index: ServerIndex, facts: Any, message: str
) -> None:
    make_collection(client, metadata={METADATA: facts})
    for call in (index.describe, lambda: index.count(lineage=OURS), lambda: index.create(lineage=OURS, pipeline="p")):
        with pytest.raises(ForeignIndexError, match=message):
            call()


def make_collection(
    client: QdrantClient, *, modifier: models.Modifier | None = models.Modifier.IDF, metadata: dict[str, Any]
) -> None:
    client.create_collection(
        "docs", {}, {SPARSE_VECTOR: models.SparseVectorParams(modifier=modifier)}, metadata=metadata
    )


def test_a_sparse_vector_without_idf_is_refused(client: QdrantClient, index: ServerIndex) -> None:
    facts = {"format": "qloader.index/1", "lineage": OURS, "pipeline": "p", "complete": True}
    make_collection(client, modifier=None, metadata={METADATA: facts})
    with pytest.raises(ForeignIndexError, match="IDF"):
        index.count(lineage=OURS)


def test_a_vector_without_a_name_is_refused(client: QdrantClient, index: ServerIndex) -> None:
    facts = {"format": "qloader.index/1", "lineage": OURS, "pipeline": "p", "complete": True}
    unnamed = models.VectorParams(size=2, distance=models.Distance.COSINE)
    client.create_collection("docs", unnamed, metadata={METADATA: facts})
    with pytest.raises(ForeignIndexError, match="one without a name, not bm25"):
        index.count(lineage=OURS)


def test_dense_vectors_are_written_and_searched_beside_the_sparse_one(client: QdrantClient, index: ServerIndex) -> None:
    facts = {"format": "qloader.index/1", "lineage": OURS, "pipeline": "p", "complete": True}
    dense = {"dense": models.VectorParams(size=2, distance=models.Distance.DOT)}
    sparse = {SPARSE_VECTOR: models.SparseVectorParams(modifier=models.Modifier.IDF)}
    client.create_collection("docs", dense, sparse, metadata={METADATA: facts})
    payload = {"qloader": {"lineage": OURS}}
    index.upsert(
        [Point(POINT, {"dense": numpy.array([1, 2], "float32"), SPARSE_VECTOR: SparseVector([1], [1.0])}, payload)]
    )
    assert index.describe().vectors == {"dense", SPARSE_VECTOR}  # type: ignore[union-attr]
    assert index.search([2.0, 1.0], using="dense", limit=1, lineage=OURS)[0].score == pytest.approx(4)
    assert index.retrieve([POINT], with_vectors=True)[0].vectors["dense"] == [1.0, 2.0]


class CutShort:
    """A client that dies before its n-th request."""

    def __init__(self, client: QdrantClient, after: int) -> None:
        self._client = client
        self._left = after

    def __getattr__(self, name: str) -> Any:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left -= 1
        return getattr(self._client, name)


def creations(client: QdrantClient, limit: int = 30) -> Iterator[tuple[Callable[[], QdrantClient], int]]:
    for after in range(limit):
        for collection in client.get_collections().collections:
            client.delete_collection(collection.name)
        yield lambda after=after: CutShort(client, after), after  # type: ignore[misc,return-value]


def test_a_creation_cut_short_before_any_of_its_requests_is_completed_by_the_next(
    client: QdrantClient, index: ServerIndex
) -> None:
    """`describe` says None, as whoever looks before creating must be told, until all of it is there."""
    cuts = 0
    for make_client, after in creations(client):
        dying = ServerIndex(make_client, "docs", server="local")
        try:
            dying.create(lineage=OURS, pipeline="p")
        except KeyboardInterrupt:
            cuts += 1
        else:
            break
        assert index.describe() is None, f"after {after} requests"
        index.create(lineage=OURS, pipeline="p")
        assert index.describe() is not None
    assert cuts > len(PAYLOAD_INDEXES) + 2


CUT_SHORT = {METADATA: {"format": "qloader.index/1", "lineage": "another", "pipeline": "p", "complete": False}}


def test_a_creation_cut_short_by_another_lineage_is_nobodys_while_it_is_empty(
    client: QdrantClient, index: ServerIndex
) -> None:
    # Its state was lost before it had written a point: nothing is taken from anybody.
    make_collection(client, metadata=CUT_SHORT)
    index.create(lineage=OURS, pipeline="p")
    info = index.describe()
    assert info is not None
    assert info.lineage == OURS


def test_a_creation_cut_short_by_another_lineage_is_refused_once_it_holds_a_point(
    client: QdrantClient, index: ServerIndex
) -> None:
    make_collection(client, metadata=CUT_SHORT)
    vector = {"bm25": models.SparseVector(indices=[1], values=[1.0])}
    client.upsert("docs", [models.PointStruct(id=1, vector=vector, payload={})])
    with pytest.raises(ForeignIndexError, match="belongs to the state another"):
        index.create(lineage=OURS, pipeline="p")


def test_a_name_and_its_collection_are_dropped_together(client: QdrantClient, index: ServerIndex) -> None:
    index.create(lineage=OURS, pipeline="p")
    assert [one.name for one in client.get_collections().collections] == ["docs__p"]
    index.drop()
    assert (client.get_collections().collections, client.get_aliases().aliases) == ([], [])
    assert index.describe() is None
    index.create(lineage=OURS, pipeline="q")
    assert index.target() == "docs__q"
