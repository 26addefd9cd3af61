"""The server index: one collection of a Qdrant server or cluster, over qdrant-client (REST or gRPC).

Whose the collection is stands in its own metadata, which Qdrant keeps since 1.16:

    {"qloader": {"format": "qloader.index/1", "lineage": "...", "pipeline": "...", "complete": true}}

An older server drops metadata without a word. `create` therefore reads back what it wrote, and refuses such
a server; a collection that exists without our metadata is nobody's, and every call refuses it.

A collection that several states share has `"shared": true` in the place of a lineage, and keeps its pipeline for good:
the lineage stands in its points alone, each of which has its tenant in the field `tenant`. It has its name itself.

`complete` is false until the payload indexes are made, and such a collection is described as none, so that
whoever was cut short creates it again. During a bulk load `indexing_threshold` stands there too: what the collection's
own is, and is to be again. Every write waits until the server has applied it and has it in its
log, so that `flush` has nothing to do; whether that log survives a power cut is the server's affair.

What has the collection's name is an alias, so that it can stand for another collection in one step: the collection
itself is `<name>__<pipeline>`. One that an older qloader made has the name itself. Who asks looks once which
collection that is, and asks the collection.

A request that failed in passing is sent again (`retrying.py`), and one that the server finds too large in two
halves. Nothing tells a write that was done from one whose answer was lost, and nothing has to: each may be repeated.

Importing qdrant-client takes two seconds, so that only a call that talks to the server does it.
"""

from __future__ import annotations

import math
import os
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.request import getproxies

from qloader.documents.payload import OWN, TENANT
from qloader.errors import ForeignIndexError, IndexUnavailableError
from qloader.index.address import check_key, check_name, check_url
from qloader.index.asking import ask
from qloader.index.batches import RequestTooLargeError, by_count, by_weight, weigh_payload, weigh_point
from qloader.index.collection_settings import (
    AS_THEY_ARE,
    FIELD,
    POSTPONED,
    CollectionSettings,
    Difference,
    Setting,
    find_differences,
    part,
)
from qloader.index.dense_size import odd_length, unlike
from qloader.index.marker import FORMAT
from qloader.index.protocol import (
    DENSE_VECTOR,
    EVERYWHERE,
    LINEAGE,
    PAYLOAD_INDEXES,
    SPARSE_VECTOR,
    TIES,
    CollectionInfo,
    Fusion,
    Guard,
    Hit,
    Point,
    SparseVector,
    StoredPoint,
    Vectors,
    Where,
    allow,
    beside,
    in_order,
    is_relative,
    metadata_path,
    metadata_readings,
    owner_fields,
)
from qloader.retrying import NO_RETRIES, RetryPolicy

if TYPE_CHECKING:
    import httpx
    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter

METADATA = "qloader"
"""The key of a collection's metadata that is ours; other keys are left alone."""

_THRESHOLD = "indexing_threshold"
_SHARED = "shared"

T = TypeVar("T")

_LOOKS = frozenset({"read", "searched"})
"""What a request can be for that changes nothing."""


def connect(
    url: str,
    collection: str,
    *,
    api_key: str | None = None,
    prefer_grpc: bool = False,
    timeout: float = 30.0,
    retries: RetryPolicy = NO_RETRIES,
    guard: Guard = allow,
    is_itself: bool = False,
    tenant: str = "",
) -> ServerIndex:
    """A collection on a server. Nothing is imported or connected before the first call.

    Args:
        url: The server's address, with http or https. Without a port it means 6333; gRPC always uses 6334.
        collection: The collection's name.
        api_key: The server's key, if it wants one. It is sent to any address, as the key of a cluster
            behind plain http must be; use https where others can listen.
        prefer_grpc: Talk gRPC.
        timeout: How long one request may take, in seconds; for gRPC rounded up to whole ones.
        retries: How often a request that failed is sent again; by itself never.
        guard: See `ServerIndex`.
        is_itself: See `ServerIndex`.
        tenant: See `ServerIndex`.

    Raises:
        IndexUnavailableError: The name, the address or the key cannot be one.
    """
    check_name(collection)
    server = check_url(url)
    api_key = check_key(api_key)

    def limit(request: httpx.Request) -> None:
        # The client knows whole seconds alone, and tells the server too, which then answers "done" for what is not.
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), timeout)

    # To read all that the system trusts takes 30 ms, and plain http to the server itself has no use for it.
    authorities: dict[str, Any] = {}
    if url.startswith("http:") and not getproxies():
        authorities["verify"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def make_client() -> QdrantClient:
        # gRPC writes to stderr what it raises as well; it looks here once, when it is imported.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from qdrant_client import QdrantClient

        return QdrantClient(
            url=url,
            prefer_grpc=prefer_grpc,
            timeout=math.ceil(timeout),
            event_hooks={"request": [limit]},
            **authorities,
            # As a header, since the client prints a warning for a key over http each time it is made.
            headers={"api-key": api_key} if api_key else None,
            # The check is a thread of its own that asks the server once more, and prints what it thinks.
            check_compatibility=False,
        )

    return ServerIndex(
        make_client,
        collection,
        server=server,
        secret=api_key,
        retries=retries,
        guard=guard,
        is_itself=is_itself,
        tenant=tenant,
    )


@dataclass(frozen=True, slots=True)
class _Owner:
    """What our metadata in a collection says.

    Attributes:
        lineage: The lineage of its one owner; None where it is shared.
        pipeline: The fingerprint of what it is filled with.
        is_complete: Whether its payload indexes are made.
        threshold: What a bulk load has to put back.
    """

    lineage: str | None
    pipeline: str
    is_complete: bool
    threshold: int | None = None

    @property
    def is_shared(self) -> bool:
        """Whether several states write into the collection."""
        return self.lineage is None


@dataclass(frozen=True, slots=True)
class _Collection:
    """A collection as the server describes it.

    Attributes:
        owner: What our metadata says; None where there is none.
        vectors: The names of its vectors.
        has_idf: Whether its `bm25` has the IDF modifier.
        dense: How long its `dense` vectors are; None where it has none.
        settings: How it is kept, as if no bulk load were going on.
    """

    owner: _Owner | None
    vectors: frozenset[str]
    has_idf: bool
    dense: int | None
    settings: dict[str, Setting]


class ServerIndex:
    """One collection behind a Qdrant client. The client is made by the first call that needs it.

    Args:
        make_client: Makes the client: of a server, or (in tests) of qdrant-client's own local mode.
        collection: The collection's name.
        server: The address for messages, without credentials.
        secret: The API key, which is cut out of whatever the server says.
        retries: How often a request that failed is sent again.
        guard: Called before each request that changes something, also before it is sent again; raises where this
            process may change nothing any more.
        is_itself: Whether the name is the collection's own, which stands for no other.
        tenant: Whose points are meant in a collection that is shared; empty for one of one's own.
    """

    def __init__(
        self,
        make_client: Callable[[], QdrantClient],
        collection: str,
        *,
        server: str,
        secret: str | None = None,
        retries: RetryPolicy = NO_RETRIES,
        guard: Guard = allow,
        is_itself: bool = False,
        tenant: str = "",
    ) -> None:
        self._make_client = make_client
        self._tenant = tenant
        self._is_itself = is_itself
        self._collection = collection
        self._server = server
        self._secret = secret
        self._retries = retries
        self._guard = guard
        self._max_weight: int | None = None
        self._client: QdrantClient | None = None
        self._target: str | None = None
        self._known: _Collection | None = None
        self._opening = threading.RLock()
        self._is_closed = False

    def describe(self) -> CollectionInfo | None:
        """What is there, or None where the collection does not exist, or its creation was cut short."""
        found = self._look()
        if found is None or (found.owner is not None and not found.owner.is_complete):
            return None
        # The count that comes with the description is an estimate.
        points = int(self._ask("read", "count", exact=True).count)
        if found.owner is None:
            return CollectionInfo(None, None, found.vectors, points, found.dense)
        return CollectionInfo(
            lineage=self._find_lineage() if found.owner.is_shared else found.owner.lineage,
            pipeline=found.owner.pipeline,
            vectors=found.vectors,
            points=points,
            dense=found.dense,
            is_postponed=found.owner.threshold is not None,
            is_shared=found.owner.is_shared,
        )

    def _find_lineage(self) -> str | None:
        """The lineage of the state whose points are there under this tenant; None where none are.

        Raises:
            ForeignIndexError: Two states have points there.
        """
        lineages: list[str] = []
        while self._tenant and len(lineages) < 2:
            chosen = _of_tenant(self._tenant, lineages)
            records, _ = self._ask("read", "scroll", scroll_filter=chosen, limit=1, with_payload=True)
            if not records:
                break
            lineages.append(str(records[0].payload[OWN]["lineage"]))
        if len(lineages) == 2:
            raise ForeignIndexError(
                f"two states have points under the tenant {self._tenant} of the collection {self._collection} on the "
                f"Qdrant server {self._server}: {' and '.join(sorted(lineages))}",
                remedy="Give one of the two configs another name in index.tenant and a new state, and delete the "
                "points of its old one on the server, by their qloader.lineage.",
            )
        return lineages[0] if lineages else None

    def create(
        self, *, lineage: str, pipeline: str, dense: int | None = None, settings: CollectionSettings = AS_THEY_ARE
    ) -> None:
        """Creates the collection, or completes a creation that was cut short.

        Raises:
            ForeignIndexError: A collection of that name exists, and belongs to another lineage or has other vectors; or
                it is shared, and filled with another pipeline, or the tenant is another state's.
            IndexUnavailableError: The server is older than Qdrant 1.16.
        """
        from qdrant_client import models

        found = self._look()
        # A shared one has the name itself: it never stands for another, and of two who make it at once both find it.
        if found is None and not self._tenant:
            self._target = self._new_target(pipeline)
            found = self._describe()
        is_other = found is not None and (
            found.dense != dense or any(one.is_fixed for one in find_differences(found.settings, settings))
        )
        if found is not None and is_other and self._is_abandoned(found):
            self._ask("deleted", "delete_collection")  # cut short before the config asked for other vectors or shards
            found = None
        owner = _Owner(None if self._tenant else lineage, pipeline, is_complete=False)
        found = found or self._make_collection(owner, dense, settings)
        if not self._is_abandoned(found):
            self._check_owner(found, lineage, pipeline)
        self._check_vectors(found)
        if found.dense != dense:
            raise self._wrong_vectors(unlike(found.dense, dense))
        for name in PAYLOAD_INDEXES:
            # The server does nothing where the index is there already.
            schema = models.PayloadSchemaType.KEYWORD
            self._ask("created", "create_payload_index", field_name=name, field_schema=schema, wait=True)
        if self._tenant:  # the server keeps the points of a tenant together
            keyword = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
            self._ask("created", "create_payload_index", field_name=TENANT, field_schema=keyword, wait=True)
        self._change(found, settings)
        if not self._tenant:
            self._name_it()
        self.mark(lineage=lineage, pipeline=pipeline)

    def _check_owner(self, found: _Collection, lineage: str, pipeline: str) -> None:
        """Refuses a collection that is another's, and a shared one to who cannot join it.

        Raises:
            ForeignIndexError: It is one.
        """
        owner = found.owner
        if owner is None or owner.lineage != (None if self._tenant else lineage):
            belongs = "no qloader state" if owner is None else f"the state {owner.lineage}"
            if owner is not None and owner.is_shared:
                belongs = "several states, who share it"
            raise ForeignIndexError(
                f"the collection {self._collection} on the Qdrant server {self._server} belongs to {belongs}",
                remedy="Choose another name in index.collection, or find the state that it belongs to.",
            )
        if not self._tenant:
            return
        if owner.pipeline != pipeline:
            raise ForeignIndexError(
                f"the collection {self._collection} on the Qdrant server {self._server} is shared and filled with the "
                f"pipeline {owner.pipeline}, and this one is {pipeline}",
                remedy="Take over chunking and embedding of the configs that fill it, or choose another name in "
                "index.collection. If nobody fills it, delete it on the server.",
            )
        if (theirs := self._find_lineage()) not in (None, lineage):
            raise ForeignIndexError(
                f"the tenant {self._tenant} of the collection {self._collection} on the Qdrant server {self._server} "
                f"belongs to the state {theirs}",
                remedy="Give each config that shares the collection another name in index.tenant.",
            )

    def _new_target(self, pipeline: str) -> str:
        """What a collection is called that is made for this name: one whose creation was cut short, or a new one."""
        if self._is_itself:
            return self._collection
        taken = set()
        for name in self.relatives():
            self._target = name
            found = self._describe()
            if found is None or found.owner is None or found.owner.is_complete:
                taken.add(name)
        return beside(self._collection, pipeline, taken)

    def _name_it(self) -> None:
        """Lets the name stand for the collection that was just made."""
        target = self._target
        if target is not None and target != self._collection and self._aliases().get(self._collection) != target:
            self._set_alias(target)

    def settings(self) -> CollectionSettings:
        """How the collection is kept, as the server says; during a bulk load, as it will be afterwards."""
        return self._look_again().settings

    def change_settings(self, settings: CollectionSettings) -> list[Difference]:
        """Brings the collection in line with what is wanted of it, but for what never changes."""
        return self._change(self._look_again(), settings)

    def _change(self, found: _Collection, settings: CollectionSettings) -> list[Difference]:
        from qdrant_client import models

        from qloader.index.server_settings import change

        differing = [one for one in find_differences(found.settings, settings) if not one.is_fixed]
        if self._tenant:
            differing = [one for one in differing if one.is_addition]
        changed = frozenset(one.key for one in differing)
        if arguments := change(settings, changed):
            owner = found.owner
            if owner is not None and owner.threshold is not None and "indexing_threshold" in changed:
                # A bulk load puts it in force when it ends.
                del arguments["optimizers_config"]
                threshold: Any = settings["indexing_threshold"]
                arguments["metadata"] = _to_metadata(replace(owner, threshold=threshold))
            self._ask("written", "update_collection", **arguments)
        for name, kind in part({one.key: one.wanted for one in differing}, FIELD).items():
            if FIELD + name in found.settings:  # of another type
                self._ask("written", "delete_payload_index", field_name=name, wait=True)
            schema = models.PayloadSchemaType(kind)
            self._ask("written", "create_payload_index", field_name=name, field_schema=schema, wait=True)
        self._known = None
        return differing

    def postpone_indexing(self) -> None:
        """Raises the collection's `indexing_threshold`, and remembers the present one in its metadata.

        Both in one request: neither is ever there without the other.
        """
        found = self._look_again()
        assert found.owner is not None
        if found.owner.threshold is None:
            threshold: Any = found.settings["indexing_threshold"]
            self._set_threshold(POSTPONED, replace(found.owner, threshold=threshold))

    def resume_indexing(self) -> None:
        """Puts back what `postpone_indexing` remembered, in this process or another."""
        found = self._look_again()
        assert found.owner is not None
        if found.owner.threshold is not None:
            self._set_threshold(found.owner.threshold, replace(found.owner, threshold=None))

    def _set_threshold(self, threshold: int, owner: _Owner) -> None:
        from qdrant_client import models

        optimizers = models.OptimizersConfigDiff(indexing_threshold=threshold)
        self._ask("written", "update_collection", optimizers_config=optimizers, metadata=_to_metadata(owner))
        self._known = None

    def _look_again(self) -> _Collection:
        """The collection as it is now, which must be ours to the end."""
        self._known = None
        return self._opened()

    def _is_abandoned(self, found: _Collection) -> bool:
        """Whether somebody began to make the collection and never came to write a point: it is nobody's then.

        One that is shared never is: others may be about to join it.
        """
        if found.owner is None or found.owner.is_complete or found.owner.is_shared or self._tenant:
            return False
        return not self._ask("read", "count", exact=True).count

    def mark(self, *, lineage: str, pipeline: str) -> None:
        """Records the lineage and the pipeline fingerprint in the collection's metadata.

        Raises:
            ForeignIndexError: There is no such collection; or it is shared, and filled with another pipeline, or the
                tenant is another state's.
        """
        found = self._look()
        if found is None:
            raise self._gone()
        if self._tenant:
            self._check_owner(found, lineage, pipeline)
        threshold = found.owner.threshold if found.owner else None
        owner = _Owner(None if self._tenant else lineage, pipeline, is_complete=True, threshold=threshold)
        # Changing metadata takes a key that may manage collections. A run that changes none needs no such key.
        if found.owner != owner:
            self._ask("written", "update_collection", metadata=_to_metadata(owner))
            self._known = None

    def upsert(self, points: Sequence[Point]) -> None:
        """Writes points, whole: an existing point of the same id is replaced."""
        from qdrant_client import models

        opened = self._opened()
        known = opened.vectors

        def send(batch: Sequence[Point]) -> None:
            structs = [
                models.PointStruct(id=p.id, vector=_to_client(p.vectors), payload=dict(p.payload)) for p in batch
            ]
            self._ask("written", "upsert", points=structs, wait=True)

        for batch, weight in by_weight(points, weigh_point):
            unknown = {name for point in batch for name in point.vectors if name not in known}
            if unknown:
                raise self._wrong_vectors(f"it has no {', '.join(sorted(unknown))}")
            if odd := odd_length(batch, opened.dense):
                raise self._wrong_vectors(unlike(opened.dense, odd))
            self._send_in_parts(batch, weight, send)

    def set_payloads(self, payloads: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Replaces the payload of existing points, keeping their vectors; unknown ids are ignored."""
        from qdrant_client import models

        self._opened()

        def send(batch: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
            operations = [
                models.OverwritePayloadOperation(
                    overwrite_payload=models.SetPayload(
                        payload=dict(payload),
                        # By a filter: a list of ids with an unknown one is refused, and the rest of the batch too.
                        filter=models.Filter(must=[models.HasIdCondition(has_id=[point])]),
                    )
                )
                for point, payload in batch
            ]
            self._ask("written", "batch_update_points", update_operations=operations, wait=True)

        for batch, weight in by_weight(payloads, lambda item: weigh_payload(item[1])):
            self._send_in_parts(batch, weight, send)

    def delete(self, ids: Sequence[str]) -> None:
        """Deletes points; unknown ids are ignored."""
        self._opened()

        def send(batch: Sequence[str]) -> None:
            self._ask("written", "delete", points_selector=list(batch), wait=True)

        for batch in by_count(ids):
            self._send_in_parts(batch, 0, send)

    def retrieve(
        self, ids: Sequence[str], *, with_payload: bool = False, with_vectors: bool = False
    ) -> list[StoredPoint]:
        """Reads points by id, in no particular order; missing ones are left out."""
        self._opened()
        found: list[StoredPoint] = []
        for batch in by_count(ids):
            records = self._ask(
                "read", "retrieve", ids=list(batch), with_payload=with_payload, with_vectors=with_vectors
            )
            found.extend(_from_client(record) for record in records)
        return found

    def scroll(
        self,
        *,
        lineage: str,
        document: tuple[str, str] | None = None,
        with_payload: bool = True,
        with_vectors: bool = False,
        page: int = 1000,
    ) -> Iterator[StoredPoint]:
        """Every point that the lineage owns, or those of one document, page by page, in id order."""
        yield from self._scroll(_owned_by(lineage, document, self._tenant), with_payload, with_vectors, page)

    def foreign(self, *, lineage: str, page: int = 1000) -> Iterator[StoredPoint]:
        """Every point that the lineage does not own, with payload and vectors, page by page, in id order."""
        from qdrant_client import models

        ours = _owned_by(lineage, tenant=self._tenant)
        yield from self._scroll(models.Filter(must_not=[ours]), True, True, page)

    def _scroll(self, chosen: Filter, with_payload: bool, with_vectors: bool, page: int) -> Iterator[StoredPoint]:
        offset: Any = None
        while True:
            self._opened()
            records, offset = self._ask(
                "read",
                "scroll",
                scroll_filter=chosen,
                limit=page,
                offset=offset,
                with_payload=with_payload,
                with_vectors=with_vectors,
            )
            for record in records:
                yield _from_client(record)
            if offset is None:
                return

    def count(self, *, lineage: str) -> int:
        """How many points the lineage owns."""
        self._opened()
        return int(self._ask("read", "count", count_filter=_owned_by(lineage, tenant=self._tenant), exact=True).count)

    def search(
        self,
        vector: SparseVector | Sequence[float],
        *,
        using: str,
        limit: int,
        lineage: str | None = None,
        where: Where = EVERYWHERE,
    ) -> list[Hit]:
        """The nearest points by one named vector, best first."""
        self._check_known({using: vector})
        chosen = _filter(lineage, where, self._tenant)
        return self._query(query=_vector_to_client(vector), using=using, limit=limit, query_filter=chosen)

    def fuse(
        self,
        vectors: Vectors,
        *,
        limit: int,
        depth: int,
        fusion: Fusion = "rrf",
        lineage: str | None = None,
        where: Where = EVERYWHERE,
    ) -> list[Hit]:
        """The best points by several named vectors together, best first: their ranks or scores are fused."""
        from qdrant_client import models

        self._check_known(vectors)
        chosen = _filter(lineage, where, self._tenant)
        prefetch = [
            models.Prefetch(query=_vector_to_client(vector), using=name, limit=depth, filter=chosen)
            for name, vector in vectors.items()
        ]
        fused = models.FusionQuery(fusion=models.Fusion(fusion))
        return in_order(self._query(query=fused, prefetch=prefetch, limit=limit * TIES), limit)

    def _check_known(self, vectors: Vectors) -> None:
        """Refuses a question that the collection's vectors cannot be compared with."""
        opened = self._opened()
        if unknown := sorted(vectors.keys() - opened.vectors):
            raise self._wrong_vectors(f"it has no {', '.join(unknown)}")
        if odd := odd_length([Point("", vectors, {})], opened.dense):
            raise self._wrong_vectors(unlike(opened.dense, odd))

    def _query(self, **arguments: Any) -> list[Hit]:
        answer = self._ask("searched", "query_points", with_payload=True, **arguments)
        return [Hit(str(point.id), point.score, point.payload or {}) for point in answer.points]

    def drop(self) -> None:
        """Deletes the collection and all that is in it, or the tenant's points; does nothing where there is nothing.

        Raises:
            ForeignIndexError: The name is an alias of a collection, which the server does not delete.
        """
        if self._tenant:
            self._drop_points()
            return
        self._find_target()
        self._ask("deleted", "delete_collection")  # and with it the name, where that is an alias
        self._known = self._target = None

    def _drop_points(self) -> None:
        from qdrant_client import models

        found = self._look()
        if found is not None and found.owner is not None and found.owner.is_shared:
            chosen = models.FilterSelector(filter=_of_tenant(self._tenant))
            self._ask("deleted", "delete", points_selector=chosen, wait=True)

    def target(self) -> str | None:
        """The collection that this name stands for; None where there is none."""
        self._find_target()
        return self._target if self._ask("read", "collection_exists") else None

    def filled_by(self) -> str | None:
        """The fingerprint of the pipeline that the collection was filled with."""
        try:
            owner = self._opened().owner
        except ForeignIndexError:
            return None
        return owner.pipeline if owner else None

    def relatives(self) -> list[str]:
        """All collections that this name may stand for."""
        answer = self._send("read", lambda client: client.get_collections())
        return sorted(one.name for one in answer.collections if is_relative(one.name, self._collection))

    def switch(self, to: str) -> None:
        """Lets this name stand for another collection: an alias is moved, in one request.

        Where a collection itself has this name, it is deleted first; searches find nothing for a moment then.

        Raises:
            ForeignIndexError: There is no such collection.
        """
        relatives = self.relatives()
        if to not in relatives:
            raise ForeignIndexError(
                f"there is no collection {to} on the Qdrant server {self._server} that {self._collection} can "
                "stand for",
                remedy="Check index.url and index.collection.",
            )
        self._known = None
        if to != self._collection:
            if self._collection in relatives:
                self._target = self._collection
                self._ask("deleted", "delete_collection")
            if self._aliases().get(self._collection) != to:
                self._set_alias(to)
        self._target = to

    def _aliases(self) -> dict[str, str]:
        """The collections that names stand for on this server, by name."""
        answer = self._send("read", lambda client: client.get_aliases())
        return {one.alias_name: one.collection_name for one in answer.aliases}

    def _set_alias(self, target: str) -> None:
        from qdrant_client import models

        name = self._collection
        # In one request, which the server does whole or not at all.
        steps: list[Any] = [
            models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=target, alias_name=name))
        ]
        if name in self._aliases():
            steps.insert(0, models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=name)))
        self._send("written", lambda client: client.update_collection_aliases(steps))

    def _find_target(self) -> None:
        """Looks which collection the name stands for now, whoever moved it."""
        itself = self._collection
        self._target = itself if self._is_itself else self._aliases().get(itself, itself)

    def flush(self) -> None:
        """Does nothing: every write waited until the server had it."""
        self._check_open()

    def close(self) -> None:
        """Lets go of the connection; further calls are errors."""
        client, self._client = self._client, None
        self._is_closed = True
        if client is not None:
            client.close()

    def _ask(self, what: str, method: str, **arguments: Any) -> Any:
        """Sends one request about the collection: the one way to the client, where its errors become ours.

        Args:
            what: What the request is for, as in "the collection cannot be `read`".
            method: The client's method, whose first parameter is the collection's name.
            arguments: Its other parameters.
        """
        # Not the name, which may stand for another collection by now: what was looked at is what is asked.
        name = self._collection if self._target is None else self._target
        return self._send(what, lambda client: getattr(client, method)(name, **arguments))

    def _send(self, what: str, request: Callable[[QdrantClient], Any]) -> Any:
        client = self._connected()
        return ask(
            lambda: request(client),
            self._retries,
            what=what,
            server=self._server,
            collection=self._collection,
            secret=self._secret,
            before=allow if what in _LOOKS else self._guard,
        )

    def _send_in_parts(self, items: Sequence[T], weight: int, send: Callable[[Sequence[T]], None]) -> None:
        """Sends items in one request; where the server finds that too large, in two halves, and so on.

        Args:
            items: What one request is about.
            weight: About how many characters they are; 0 where that says nothing of other requests.
            send: Makes and sends the request.
        """
        if len(items) == 1 or self._max_weight is None or weight <= self._max_weight:
            try:
                return send(items)
            except RequestTooLargeError:
                if len(items) == 1:
                    raise
            if weight:  # so that the next one is not sent in vain
                self._max_weight = weight // 2
        middle = len(items) // 2
        for half in (items[:middle], items[middle:]):
            self._send_in_parts(half, weight // 2, send)
        return None

    def _connected(self) -> QdrantClient:
        self._check_open()
        if self._client is None:
            try:
                self._client = self._make_client()
            except (OSError, ValueError) as error:
                raise IndexUnavailableError(
                    f"no client can be made for the Qdrant server {self._server}: {error}",
                    remedy="Check index.url, and the certificates that SSL_CERT_FILE names, if it is set.",
                ) from error
        return self._client

    def _check_open(self) -> None:
        if self._is_closed:
            raise IndexUnavailableError(
                f"the collection {self._collection} on the Qdrant server {self._server} was closed",
                remedy="Open it again.",
            )

    def _look(self) -> _Collection | None:
        """The collection that the name stands for now, whoever made it."""
        self._find_target()
        return self._describe()

    def _describe(self) -> _Collection | None:
        if not self._ask("read", "collection_exists"):
            return None
        from qloader.index.server_settings import read_settings

        info = self._ask("read", "get_collection")
        config = info.config
        dense, sparse = config.params.vectors, config.params.sparse_vectors or {}
        # A collection may have one vector without a name, and is then described by its parameters alone.
        names = set(dense) if isinstance(dense, Mapping) else {""} if dense else set()
        modifier = getattr(sparse.get(SPARSE_VECTOR), "modifier", None)
        owner = self._owner_in(config.metadata or {})
        settings = read_settings(info)
        if owner is not None and owner.threshold is not None:
            settings["indexing_threshold"] = owner.threshold
        return _Collection(
            owner=owner,
            vectors=frozenset(names | set(sparse)),
            has_idf=modifier is not None and modifier.value == "idf",
            dense=int(dense[DENSE_VECTOR].size) if isinstance(dense, Mapping) and DENSE_VECTOR in dense else None,
            settings=settings,
        )

    def _owner_in(self, metadata: Mapping[str, Any]) -> _Owner | None:
        if METADATA not in metadata:
            return None
        facts = metadata[METADATA]
        try:
            found = facts["format"]
            if found == FORMAT:
                threshold = facts.get(_THRESHOLD)
                threshold = threshold if isinstance(threshold, int) else None
                lineage = None if facts.get(_SHARED) is True else str(facts["lineage"])
                return _Owner(lineage, str(facts["pipeline"]), facts["complete"] is True, threshold)
        except (KeyError, TypeError) as error:
            raise ForeignIndexError(
                f"the metadata of the collection {self._collection} on the Qdrant server {self._server} "
                "is damaged: it does not say whose index this is",
                remedy="Restore the collection from a snapshot, or choose another name in index.collection.",
            ) from error
        raise ForeignIndexError(
            f"the collection {self._collection} on the Qdrant server {self._server} has the format {found!r}, "
            f"and this qloader knows {FORMAT}",
            remedy="Use the qloader that wrote it, or a newer one.",
        )

    def _make_collection(self, owner: _Owner, dense: int | None, settings: CollectionSettings) -> _Collection:
        from qdrant_client import models

        from qloader.index.server_settings import creation

        on_disk: Any = settings.get("on_disk.vectors")
        datatype: Any = settings.get("datatype")
        cosine = models.Distance.COSINE
        vectors = {}
        if dense is not None:
            made = models.VectorParams(size=dense, distance=cosine, on_disk=on_disk, datatype=datatype)
            vectors[DENSE_VECTOR] = made
        try:
            self._ask(
                "created",
                "create_collection",
                vectors_config=vectors,
                sparse_vectors_config={SPARSE_VECTOR: models.SparseVectorParams(modifier=models.Modifier.IDF)},
                metadata=_to_metadata(owner),
                **creation(settings, has_dense=dense is not None),
            )
        except IndexUnavailableError as error:
            # The one request that is refused when it is sent again after its answer was lost.
            if "already exists" not in str(error):
                raise
        found = self._describe()
        if found is None:
            raise self._gone()
        if found.owner is None:
            # What was made a moment ago is empty, and would stay behind as nobody's.
            self._ask("deleted", "delete_collection")
            raise IndexUnavailableError(
                f"the Qdrant server {self._server} is too old: it does not keep a collection's metadata, "
                "which says whose the collection is",
                remedy="Update it to Qdrant 1.16 or newer, or use an embedded index (index.path).",
            )
        return found

    def _opened(self) -> _Collection:
        """A collection that exists, is ours to the end, and has the vectors it must have."""
        self._check_open()
        with self._opening:  # searches share an index
            if self._known is None:
                found = self._look()
                if found is None or found.owner is None or not found.owner.is_complete:
                    raise self._gone() if found is None or found.owner else self._nobodys()
                self._check_vectors(found)
                self._known = found
            return self._known

    def _check_vectors(self, found: _Collection) -> None:
        if SPARSE_VECTOR not in found.vectors:
            names = ", ".join(name or "one without a name" for name in sorted(found.vectors))
            raise self._wrong_vectors(f"it has {names or 'no vectors'}, not {SPARSE_VECTOR}")
        if not found.has_idf:
            raise self._wrong_vectors(f"its {SPARSE_VECTOR} is without the IDF modifier")

    def _wrong_vectors(self, what: str) -> ForeignIndexError:
        return ForeignIndexError(
            f"the collection {self._collection} on the Qdrant server {self._server} has other vectors than "
            f"qloader makes: {what}",
            remedy="Choose another name in index.collection, or delete the collection and load it anew.",
        )

    def _gone(self) -> ForeignIndexError:
        return ForeignIndexError(
            f"there is no collection {self._collection} on the Qdrant server {self._server}",
            remedy="Check index.url and index.collection; `qloader apply` makes it.",
        )

    def _nobodys(self) -> ForeignIndexError:
        return ForeignIndexError(
            f"the collection {self._collection} on the Qdrant server {self._server} belongs to no qloader state",
            remedy="Choose another name in index.collection; qloader works only on collections that it made.",
        )


def _to_metadata(owner: _Owner) -> dict[str, Any]:
    whose = {_SHARED: True} if owner.is_shared else {"lineage": owner.lineage}
    facts = {"format": FORMAT, **whose, "pipeline": owner.pipeline, "complete": owner.is_complete}
    return {METADATA: facts if owner.threshold is None else {**facts, _THRESHOLD: owner.threshold}}


def _owned_by(lineage: str | None, document: tuple[str, str] | None = None, tenant: str = "") -> Filter:
    from qdrant_client import models

    fields = owner_fields(lineage, document, tenant)
    return models.Filter(
        must=[models.FieldCondition(key=key, match=models.MatchValue(value=value)) for key, value in fields.items()]
    )


def _of_tenant(tenant: str, but: Sequence[str] = ()) -> Filter:
    """Points of a tenant that qloader wrote, for other lineages than these."""
    from qdrant_client import models

    excluded: list[Any] = [_owned_by(lineage) for lineage in but]
    nobodys = models.IsEmptyCondition(is_empty=models.PayloadField(key=LINEAGE))
    return models.Filter(must=[_owned_by(None, tenant=tenant)], must_not=[nobodys, *excluded])


def _filter(lineage: str | None, where: Where, tenant: str) -> Filter | None:
    from qdrant_client import models

    def field(key: str, value: str | int) -> models.FieldCondition:
        return models.FieldCondition(key=key, match=models.MatchValue(value=value))

    def any_of(key: str, values: Sequence[str]) -> models.FieldCondition:
        return models.FieldCondition(key=key, match=models.MatchAny(any=list(values)))

    must: list[Any] = list(_owned_by(lineage, tenant=tenant).must or [])
    if where.sources:
        must.append(any_of("source", where.sources))
    if where.documents is not None:
        ids: list[Any] = [
            models.Filter(must=[field("source", source), any_of("document_id", documents)])
            for source, documents in where.documents.items()
        ]
        must.append(models.Filter(should=ids))
    for key, value in where.metadata:
        path = metadata_path(key)
        readings: list[Any] = [field(path, one) for one in metadata_readings(value)]
        must.append(models.Filter(should=readings))
    if where.since is not None:
        must.append(models.FieldCondition(key="updated_at", range=models.DatetimeRange(gte=where.since)))
    return models.Filter(must=must) if must else None


def _to_client(vectors: Vectors) -> dict[str, Any]:
    return {name: _vector_to_client(vector) for name, vector in vectors.items()}


def _vector_to_client(vector: SparseVector | Sequence[float]) -> Any:
    if not isinstance(vector, SparseVector):
        return list(vector)
    from qdrant_client import models

    return models.SparseVector(indices=list(vector.indices), values=list(vector.values))


def _from_client(record: Any) -> StoredPoint:
    found = record.vector if isinstance(record.vector, Mapping) else {}
    vectors: dict[str, SparseVector | Sequence[float]] = {}
    for name, vector in found.items():
        vectors[name] = SparseVector(vector.indices, vector.values) if hasattr(vector, "indices") else vector
    return StoredPoint(str(record.id), record.payload or {}, vectors)
