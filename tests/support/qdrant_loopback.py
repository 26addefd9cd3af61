"""Servers on this machine's loopback: one that answers whatever it is told, and one that speaks Qdrant's REST.

The second is no Qdrant: it hands requests to the local mode of qdrant-client. It is here for what the local
mode alone cannot show: that requests survive the way through HTTP and JSON, and what comes of refusals. What the local
mode takes and forgets, how a collection is kept, is kept and told here, with a server's defaults.
"""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import BaseModel, ValidationError
from qdrant_client import QdrantClient, models


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def serving(respond: Callable[[Request], Answer]) -> Iterator[str]:
    """Runs an HTTP server on a free port; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            url = urllib.parse.urlsplit(self.path)
            length = int(self.headers.get("content-length") or 0)
            query = dict(urllib.parse.parse_qsl(url.query))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = respond(Request(self.command, url.path, query, headers, self.rfile.read(length)))
            self.send_response(answer.status)
            for name, value in {"content-type": answer.content_type, **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Kept:
    """How one collection is kept: what a server says where nobody said anything, and what it was told since."""

    params: dict[str, Any]
    on_disk: dict[str, bool | None]
    datatypes: dict[str, models.Datatype | None]
    hnsw: dict[str, Any]
    indexing_threshold: int
    quantization: Any
    fields: dict[str, models.PayloadSchemaType] = field(default_factory=dict)
    tenant_fields: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, wanted: models.CreateCollection) -> Kept:
        dense = wanted.vectors if isinstance(wanted.vectors, dict) else {}
        kept = cls(
            params={
                "shard_number": wanted.shard_number or 1,
                "replication_factor": wanted.replication_factor or 1,
                "write_consistency_factor": wanted.write_consistency_factor or 1,
                "on_disk_payload": wanted.on_disk_payload is not False,
            },
            on_disk={name: vector.on_disk for name, vector in dense.items()},
            datatypes={name: vector.datatype for name, vector in dense.items()},
            hnsw={"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000, "on_disk": False},
            indexing_threshold=10_000,
            quantization=wanted.quantization_config,
        )
        kept._merge(wanted.hnsw_config, wanted.optimizers_config)
        return kept

    def change(self, wanted: models.UpdateCollection) -> None:
        for name, vector in (wanted.vectors or {}).items():
            if name not in self.on_disk:
                raise ValueError(f"Wrong input: Not existing vector name error: {name}")
            if vector.on_disk is not None:
                self.on_disk[name] = vector.on_disk
        if wanted.params is not None:
            self.params |= wanted.params.model_dump(exclude_none=True)
        if wanted.quantization_config is not None:
            is_off = wanted.quantization_config == models.Disabled.DISABLED
            self.quantization = None if is_off else wanted.quantization_config
        self._merge(wanted.hnsw_config, wanted.optimizers_config)

    def add_field(self, wanted: models.CreateFieldIndex) -> None:
        kind = wanted.field_schema
        if isinstance(kind, BaseModel):
            if getattr(kind, "is_tenant", False):
                self.tenant_fields.add(wanted.field_name)
            kind = kind.type
        self.fields[wanted.field_name] = models.PayloadSchemaType(kind)

    def check_fields(self, condition: Any) -> None:
        """Refuses a filter by a field without an index of the values' type."""
        if isinstance(condition, models.Filter):
            for one in (*(condition.must or ()), *(condition.should or ())):
                self.check_fields(one)
        elif isinstance(condition, models.FieldCondition):
            value = getattr(condition.match, "value", None)
            needed = "datetime" if condition.range else "integer" if isinstance(value, int) else "keyword"
            if self.fields.get(condition.key) != needed:
                raise ValueError(
                    f'Index required but not found for "{condition.key}" of one of the following types: [{needed}]'
                )

    def _merge(self, hnsw: models.HnswConfigDiff | None, optimizers: models.OptimizersConfigDiff | None) -> None:
        self.hnsw |= hnsw.model_dump(exclude_none=True) if hnsw else {}
        if optimizers is not None and optimizers.indexing_threshold is not None:
            self.indexing_threshold = optimizers.indexing_threshold

    def tell(self, info: models.CollectionInfo) -> models.CollectionInfo:
        """The local mode's description, with what it forgets."""
        told = info.model_copy(deep=True)
        for name, value in self.params.items():
            setattr(told.config.params, name, value)
        if isinstance(told.config.params.vectors, dict):
            for name, vector in told.config.params.vectors.items():
                vector.on_disk = self.on_disk[name]
                vector.datatype = self.datatypes[name]
        told.config.hnsw_config = models.HnswConfig(**self.hnsw)
        told.config.optimizer_config.indexing_threshold = self.indexing_threshold
        told.config.quantization_config = self.quantization
        told.payload_schema = {
            name: models.PayloadIndexInfo(data_type=kind, points=0) for name, kind in self.fields.items()
        }
        return told


@dataclass
class StandIn:
    """Qdrant's REST, as far as an index uses it.

    Attributes:
        client: The local mode behind it.
        keeps_metadata: False makes it as forgetful as a server before 1.16.
        requests: What came in.
        kept: How its collections are kept, by name.
        is_strict: Whether it refuses searches that narrow by a field without an index, as a strict mode does.
    """

    client: QdrantClient = field(default_factory=lambda: QdrantClient(":memory:"))
    keeps_metadata: bool = True
    requests: list[Request] = field(default_factory=list)
    kept: dict[str, Kept] = field(default_factory=dict)
    is_strict: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keeping(self, name: str) -> Kept:
        """How the collection is kept that a name stands for."""
        return self.kept[self.client._client.aliases.get(name, name)]

    def remove(self, name: str) -> None:
        """Deletes the collection that a name stands for, behind everybody's back."""
        self.client.delete_collection(self.client._client.aliases.get(name, name))

    def respond(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            parts = [urllib.parse.unquote(part) for part in request.path.strip("/").split("/")]
            if parts in (["aliases"], ["collections"], ["collections", "aliases"]):
                return self._answer_of_names(request, parts)
            name, rest = parts[1], "/".join(parts[2:])
            is_there = self.client.collection_exists(name)
            if rest == "exists":
                return _result({"exists": is_there})
            # What is kept of a collection is kept by its own name.
            name = self.client._client.aliases.get(name, name) if request.method != "DELETE" or rest else name
            if not is_there and not (request.method == "PUT" and rest == ""):
                if request.method == "DELETE":
                    return _result(False)
                return _error(404, f"Not found: Collection `{name}` doesn't exist!")
            try:
                return _result(self._ask(name, request.method, rest, request.body))
            except KeyError as error:
                return _error(404, f"Not found: No point with id {error.args[0]} found")
            except (ValueError, ValidationError) as error:
                return _error(400, f"Bad request: {error}")

    def _answer_of_names(self, request: Request, parts: list[str]) -> Answer:
        if parts == ["aliases"]:
            return _result(self.client.get_aliases())
        if parts == ["collections"]:
            return _result(self.client.get_collections())
        steps = models.ChangeAliasesOperation.model_validate_json(request.body).actions
        try:
            return _result(self.client.update_collection_aliases(steps))
        except ValueError as error:
            return _error(400, f"Bad request: {error}")

    def _ask(self, name: str, method: str, rest: str, body: bytes) -> Any:
        client = self.client
        match method, rest:
            case "GET", "":
                info = client.get_collection(name)
                return self.kept[name].tell(info) if name in self.kept else info
            case "PUT", "":
                wanted = models.CreateCollection.model_validate_json(body)
                metadata = wanted.metadata if self.keeps_metadata else None
                client.create_collection(name, wanted.vectors, wanted.sparse_vectors, metadata=metadata)
                self.kept[name] = Kept.of(wanted)
                return True
            case "PATCH", "":
                wanted = models.UpdateCollection.model_validate_json(body)
                if name in self.kept:
                    self.kept[name].change(wanted)
                return client.update_collection(name, metadata=wanted.metadata if self.keeps_metadata else None)
            case "DELETE", "":
                self.kept.pop(name, None)
                return client.delete_collection(name)
            case "PUT", "index":
                index = models.CreateFieldIndex.model_validate_json(body)
                if name in self.kept:
                    self.kept[name].add_field(index)
                return client.create_payload_index(name, index.field_name, index.field_schema)
            case "DELETE", str() if rest.startswith("index/"):
                if name in self.kept:
                    self.kept[name].fields.pop(rest.removeprefix("index/"), None)
                return client.delete_payload_index(name, rest.removeprefix("index/"))
            case "PUT", "points":
                return client.upsert(name, models.PointsList.model_validate_json(body).points)
            case "POST", "points":
                wanted = models.PointRequest.model_validate_json(body)
                return client.retrieve(name, wanted.ids, bool(wanted.with_payload), bool(wanted.with_vector))
            case "POST", "points/batch":
                operations = models.UpdateOperations.model_validate_json(body).operations
                return client.batch_update_points(name, operations)
            case "POST", "points/delete":
                chosen = models.FilterSelector if "filter" in json.loads(body) else models.PointIdsList
                return client.delete(name, chosen.model_validate_json(body))
            case "POST", "points/count":
                wanted = models.CountRequest.model_validate_json(body)
                return client.count(name, wanted.filter, exact=bool(wanted.exact))
            case "POST", "points/scroll":
                wanted = models.ScrollRequest.model_validate_json(body)
                points, following = client.scroll(
                    name,
                    wanted.filter,
                    limit=wanted.limit or 10,
                    offset=wanted.offset,
                    with_payload=bool(wanted.with_payload),
                    with_vectors=bool(wanted.with_vector),
                )
                return models.ScrollResult(points=points, next_page_offset=following)
            case "POST", "points/query":
                wanted = models.QueryRequest.model_validate_json(body)
                if self.is_strict:
                    self.kept[name].check_fields(wanted.filter)
                return client.query_points(
                    name,
                    wanted.query,
                    using=wanted.using,
                    prefetch=wanted.prefetch,
                    query_filter=wanted.filter,
                    limit=wanted.limit or 10,
                    with_payload=bool(wanted.with_payload),
                )
        raise ValueError(f"no such request: {method} {rest}")


def _result(value: Any) -> Answer:
    return Answer(200, json.dumps({"result": _plain(value), "status": "ok", "time": 0.0}).encode())


def _error(status: int, text: str) -> Answer:
    return Answer(status, json.dumps({"status": {"error": text}, "time": 0.0}).encode())


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [_plain(item) for item in value] if isinstance(value, list) else value
