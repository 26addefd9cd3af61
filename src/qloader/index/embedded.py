"""The embedded index: Qdrant's own engine (qdrant-edge) in this process, one folder a collection.

    <path>/<collection>/qloader.json    whose it is (index/marker.py)
    <path>/<collection>/lock            held by the one process that has it open (index/folder_lock.py)
    <path>/<collection>/shard/          the engine's files
    <path>/<collection>.target.json     which collection the name stands for, where it is another one

The engine appends each write to its log before it applies it, so that a write that returned survives
the death of the process; `flush` syncs the log, then the data, and so survives a power cut.
"""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qloader.errors import ForeignIndexError, IndexUnavailableError
from qloader.folders import make_private_folder
from qloader.index.batches import by_count, by_weight, weigh_payload, weigh_point
from qloader.index.collection_settings import (
    AS_THEY_ARE,
    FIELD,
    FIXED,
    CollectionSettings,
    Difference,
    find_differences,
    part,
)
from qloader.index.dense_size import odd_length, unlike
from qloader.index.embedded_settings import (
    FEW,
    MANY,
    index_field,
    is_cold,
    make_config,
    make_tidying_config,
    read_settings,
)
from qloader.index.folder_lock import FolderLock, held
from qloader.index.marker import (
    SHARD,
    Marker,
    collection_folder,
    find_target,
    load_anew,
    os_errors,
    read_marker,
    remove_target,
    sync_folder,
    write_marker,
    write_target,
)
from qloader.index.protocol import (
    DENSE_VECTOR,
    EVERYWHERE,
    PAYLOAD_INDEXES,
    RRF_K,
    SPARSE_VECTOR,
    TIES,
    CollectionInfo,
    Fusion,
    Guard,
    Hit,
    Lent,
    Point,
    SparseVector,
    StoredPoint,
    Vectors,
    Where,
    allow,
    in_order,
    is_relative,
    metadata_path,
    metadata_readings,
    owner_fields,
)

if TYPE_CHECKING:
    from qdrant_edge import EdgeShard, Filter, QueryRequest, UpdateOperation

LOCK_WAIT = 2.0
"""Seconds to wait for another process to let go: a search lasts a fraction of one, an apply may take minutes."""

RESERVE = 256 * 1024 * 1024
"""Bytes that must be free before a write. The engine maps its files into memory, and where the disk is
full a write to such a map kills the process (SIGBUS): there is no error to catch, so it must not come
so far. Its log and its pages grow in steps of 32 MB, some of them at the same time."""

_BYTES_A_CHARACTER = 8  # at most four in UTF-8, and everything is written to the log and to the data
_READ_AHEAD = 1 << 20
_TRIES = 100
_NEW = "shard.new"
_DROPPED = "shard.dropped"
_SPARSE = "sparse_vectors"
_APPENDABLE = "segments/*/mutable_id_tracker.mappings"


class EmbeddedIndex:
    """One collection in a folder. The engine is opened by the first call that needs it.

    Args:
        path: The folder of the index; collections are folders in it.
        collection: The collection's name.
        create_dirs: Whether `create` may make `path` itself.
        lock_wait: Seconds to wait where another process has the collection open.
        guard: Called before each batch that changes something; raises where this process may change nothing any more.
        is_itself: Whether the name is the collection's own, which stands for no other.
        is_lent: Whether the folder's lock was inherited by this process.
        state: How errors name the state that belongs to the collection.
    """

    def __init__(
        self,
        path: Path,
        collection: str,
        *,
        create_dirs: bool = True,
        lock_wait: float = LOCK_WAIT,
        guard: Guard = allow,
        is_itself: bool = False,
        is_lent: bool = False,
        state: str = "its state",
    ) -> None:
        self._path = path
        self._state = state
        self._name = collection
        self._is_itself = is_itself
        self._collection = self._find_target()
        self._folder = collection_folder(path, self._collection)
        self._create_dirs = create_dirs
        self._lock_wait = lock_wait
        self._guard = guard
        self._shard: EdgeShard | None = None
        self._vectors: frozenset[str] | None = None
        self._dense: int | None = None
        self._all_own: dict[str, bool | None] = {}
        self._opening = threading.RLock()
        self._is_closed = False
        # Last, so that it is let go of last where nobody closes the index.
        self._lock = FolderLock(self._folder, is_inherited=is_lent)

    def describe(self) -> CollectionInfo | None:
        """What is there, or None where the collection does not exist."""
        self._check_open()
        marker = read_marker(self._path, self._collection, is_itself=True)
        if not (self._folder / SHARD).is_dir():
            return None
        points = int(self._load().info().points_count)
        if marker is None and not points:
            return None  # an empty shard without a marker is a creation that was cut short: nobody's
        stored = self._stored_vectors()
        lineage, pipeline = (marker.lineage, marker.pipeline) if marker else (None, None)
        return CollectionInfo(lineage, pipeline, frozenset(stored), points, _dense_size(stored))

    def create(
        self, *, lineage: str, pipeline: str, dense: int | None = None, settings: CollectionSettings = AS_THEY_ARE
    ) -> None:
        """Creates the collection, or completes a creation that was cut short.

        Raises:
            ForeignIndexError: A collection of that name exists, and belongs to another lineage or has other vectors.
        """
        found = self.describe()
        if found is not None and found.lineage != lineage:
            raise ForeignIndexError(
                f"the collection {self._collection} in {self._path} belongs to "
                + (f"the state {found.lineage}" if found.lineage else "no qloader state"),
                remedy="Choose another name in index.collection, or find the state that it belongs to.",
            )
        is_there = (self._folder / SHARD).is_dir()
        if is_there and found is None and self._is_other(dense, settings):
            self.drop()  # cut short before the config asked for other vectors
            is_there = False
        if not is_there:
            self._guard()
            self._build(dense, settings)
        self._check_vectors()
        if self._dense != dense:
            raise self._wrong_vectors(unlike(self._dense, dense))
        self._change(settings)
        self.mark(lineage=lineage, pipeline=pipeline)

    def _is_other(self, dense: int | None, settings: CollectionSettings) -> bool:
        """Whether the vectors that are there can never be what is wanted."""
        differing = find_differences(self._kept(), settings)
        return _dense_size(self._stored_vectors()) != dense or any(one.is_fixed for one in differing)

    def settings(self) -> CollectionSettings:
        """How the collection is kept, as the engine keeps it."""
        self._opened()
        return self._kept()

    def _kept(self) -> CollectionSettings:
        with self._engine_errors("read"):
            fields = self._load().info().payload_schema
        return read_settings(self._stored(), fields)

    def change_settings(self, settings: CollectionSettings) -> list[Difference]:
        """Brings the collection in line with what is wanted of it, but for what never changes.

        It is worked into what is there by `optimize`, or by `seal`.
        """
        self._opened()
        return self._change(settings)

    def _change(self, settings: CollectionSettings) -> list[Difference]:
        from qdrant_edge import EdgeShard

        kept = self._kept()
        differing = [one for one in find_differences(kept, settings) if not one.is_fixed]
        if differing:
            self._guard()
            self._check_space(0)
        if any(not one.key.startswith(FIELD) for one in differing):
            # The engine takes the vectors and the graph whole, and forgets what it is not told of them. Quantization
            # that was not asked for is left out: so it stays.
            whole = {key: value for key, value in kept.items() if key.startswith(("on_disk.vectors", "hnsw."))}
            fixed = {key: value for key, value in kept.items() if key in FIXED}
            config = make_config(self._dense, {**whole, **settings, **fixed}, is_kept_cold=is_cold(self._stored()))
            self._close_shard()
            with self._engine_errors("changed"):
                self._shard = EdgeShard.load(str(self._folder / SHARD), config)
            self._check_vectors()
        for name, kind in part({one.key: one.wanted for one in differing}, FIELD).items():
            with self._engine_errors("changed"):
                self._load().update(index_field(name, kind))
        if differing:
            self.flush()
        return differing

    def postpone_indexing(self) -> None:
        """Does nothing: the engine builds no graph before it is told to tidy up."""
        self._check_open()

    def resume_indexing(self) -> None:
        """Does nothing: nothing was postponed."""
        self._check_open()

    def mark(self, *, lineage: str, pipeline: str) -> None:
        """Records the lineage and the pipeline fingerprint."""
        self._check_open()
        if not (self._folder / SHARD).is_dir():
            raise self._gone()
        self._guard()
        write_marker(self._folder, Marker(self._collection, lineage, pipeline))

    def mark_again(self, *, lineage: str, pipeline: str) -> bool:
        """Records both where nothing is recorded any more: if there are points, and each says that the lineage owns it.

        Returns:
            Whether that is so; where not, nothing is written.
        """
        self._check_open()
        points = int(self._load().info().points_count)
        self._check_vectors()
        if not points or self._count(_others(lineage)):
            return False
        self.mark(lineage=lineage, pipeline=pipeline)
        return True

    def upsert(self, points: Sequence[Point]) -> None:
        """Writes points, whole: an existing point of the same id is replaced."""
        from qdrant_edge import Point as EdgePoint
        from qdrant_edge import UpdateOperation

        known = self._opened_vectors()
        self._all_own.clear()
        for batch, weight in by_weight(points, weigh_point):
            unknown = {name for point in batch for name in point.vectors if name not in known}
            if unknown:
                raise self._wrong_vectors(f"it has no {', '.join(sorted(unknown))}")
            if odd := odd_length(batch, self._dense):
                raise self._wrong_vectors(unlike(self._dense, odd))
            edge = [EdgePoint(p.id, _to_edge(p.vectors), _plain(p.payload)) for p in batch]
            self._guard()
            self._update(UpdateOperation.upsert_points(edge), weight)

    def set_payloads(self, payloads: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Replaces the payload of existing points, keeping their vectors; unknown ids are ignored."""
        from qdrant_edge import UpdateOperation

        self._opened()
        self._all_own.clear()
        # The engine takes one payload an operation. 17,000 a second: no slower than an upsert.
        for batch, weight in by_weight(payloads, lambda item: weigh_payload(item[1])):
            self._check_space(weight)
            self._guard()
            for point, payload in batch:
                operation = UpdateOperation.overwrite_payload([point], _plain(payload))
                with contextlib.suppress(_NoPointError):
                    self._update(operation, 0)

    def delete(self, ids: Sequence[str]) -> None:
        """Deletes points; unknown ids are ignored."""
        from qdrant_edge import UpdateOperation

        # No look at the space: a delete writes next to nothing, and is the way out of a full disk.
        for batch in by_count(ids):
            self._guard()
            self._update(UpdateOperation.delete_points(list(batch)))

    def retrieve(
        self, ids: Sequence[str], *, with_payload: bool = False, with_vectors: bool = False
    ) -> list[StoredPoint]:
        """Reads points by id, in no particular order; missing ones are left out."""
        shard = self._opened()
        found: list[StoredPoint] = []
        for batch in by_count(ids):
            with self._engine_errors("read"):
                records = shard.retrieve(list(batch), with_payload=with_payload, with_vector=with_vectors)
            found.extend(_from_edge(record) for record in records)
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
        if document is None and with_payload:
            self._opened()
            _read_ahead(self._folder / SHARD)
        yield from self._scroll(_owned_by(lineage, document), with_payload, with_vectors, page)

    def foreign(self, *, lineage: str, page: int = 1000) -> Iterator[StoredPoint]:
        """Every point that the lineage does not own, with payload and vectors, page by page, in id order."""
        yield from self._scroll(_others(lineage), True, True, page)

    def _scroll(self, chosen: Filter, with_payload: bool, with_vectors: bool, page: int) -> Iterator[StoredPoint]:
        from qdrant_edge import ScrollRequest

        offset: Any = None
        while True:
            request = ScrollRequest(
                offset=offset, limit=page, filter=chosen, with_payload=with_payload, with_vector=with_vectors
            )
            shard = self._opened()
            with self._engine_errors("read"):
                records, offset = shard.scroll(request)
            for record in records:
                yield _from_edge(record)
            if offset is None:
                return

    def count(self, *, lineage: str) -> int:
        """How many points the lineage owns."""
        return self._count(_owned_by(lineage))

    def _count(self, chosen: Filter) -> int:
        from qdrant_edge import CountRequest

        shard = self._opened()
        with self._engine_errors("read"):
            return int(shard.count(CountRequest(exact=True, filter=chosen)))

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
        from qdrant_edge import Query, QueryRequest

        self._check_known({using: vector})
        request = QueryRequest(
            limit=limit,
            query=Query.Nearest(_vector_to_edge(vector), using=using),
            filter=_filter(self._narrowed(lineage), where),
            with_payload=True,
        )
        return self._query(request)

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
        from qdrant_edge import Fusion as Fusions
        from qdrant_edge import Prefetch, Query, QueryRequest

        self._check_known(vectors)
        chosen = _filter(self._narrowed(lineage), where)
        # A Fusion, which the engine's own types do not know.
        fused: Any = Fusions.Rrf(k=RRF_K) if fusion == "rrf" else Fusions.Dbsf()
        request = QueryRequest(
            limit=limit * TIES,
            prefetches=[
                Prefetch(limit=depth, query=Query.Nearest(_vector_to_edge(vector), using=name), filter=chosen)
                for name, vector in vectors.items()
            ],
            query=fused,
            with_payload=True,
        )
        return in_order(self._query(request), limit)

    def _narrowed(self, lineage: str | None) -> str | None:
        """Whose points a question has to be narrowed to; None where there are no others.

        To look at the owner of each point takes half as long again as the question itself. So the second question of
        an open collection has the points of others counted: nobody else writes while it is open, and what this
        process writes has them counted anew.
        """
        if lineage is None:
            return None
        if lineage not in self._all_own:
            self._all_own[lineage] = None
        elif self._all_own[lineage] is None:
            self._all_own[lineage] = not self._count(_others(lineage))
        return None if self._all_own[lineage] else lineage

    def _check_known(self, vectors: Vectors) -> None:
        """Refuses a question that the collection's vectors cannot be compared with."""
        if unknown := sorted(vectors.keys() - self._opened_vectors()):
            raise self._wrong_vectors(f"it has no {', '.join(unknown)}")
        if odd := odd_length([Point("", vectors, {})], self._dense):
            raise self._wrong_vectors(unlike(self._dense, odd))

    def _query(self, request: QueryRequest) -> list[Hit]:
        shard = self._opened()
        with self._engine_errors("searched"):
            return [Hit(str(point.id), point.score, point.payload or {}) for point in shard.query(request)]

    def drop(self) -> None:
        """Deletes the collection and all that is in it; does nothing where it does not exist.

        Raises:
            IndexUnavailableError: Another process has it open, or a file cannot be deleted.
        """
        self._check_open()
        self._guard()
        if not self._folder.is_dir():
            return
        self._lock.take(self._lock_wait)
        shard = self._folder / SHARD
        try:
            self._close_shard()
            with os_errors(f"the collection {self._folder} cannot be deleted"):
                # Renamed first: a drop that is cut short leaves no half-deleted shard under the engine's name.
                if shard.is_dir():
                    _remove(self._folder / _DROPPED)
                    shard.rename(self._folder / _DROPPED)
                    sync_folder(self._folder)
                _remove_with_lock(self._folder)
        finally:
            self._lock.give_back()
        if self._collection != self._name and not (self._path / self._name).exists():
            remove_target(self._path, self._name)
            self._collection, self._folder = self._name, collection_folder(self._path, self._name)
            self._lock = FolderLock(self._folder)

    def target(self) -> str | None:
        """The collection that this name stands for; None where there is none."""
        self._check_open()
        target = self._find_target()
        return target if read_marker(self._path, target, is_itself=True) is not None else None

    def filled_by(self) -> str | None:
        """The fingerprint of the pipeline that the collection was filled with."""
        self._check_open()
        marker = read_marker(self._path, self._collection, is_itself=True)
        return marker.pipeline if marker else None

    def _find_target(self) -> str:
        return self._name if self._is_itself else find_target(self._path, self._name)

    def relatives(self) -> list[str]:
        """All collections that this name may stand for."""
        self._check_open()
        with os_errors(f"the embedded index {self._path} cannot be read"):
            folders = [folder.name for folder in self._path.iterdir()] if self._path.is_dir() else []
        return sorted(n for n in folders if is_relative(n, self._name) and (self._path / n / SHARD).is_dir())

    def switch(self, to: str) -> None:
        """Lets this name stand for another collection: its pointer file is replaced, whole.

        Raises:
            ForeignIndexError: There is no such collection.
            IndexUnavailableError: The file cannot be written.
        """
        self._check_open()
        if read_marker(self._path, to, is_itself=True) is None or not is_relative(to, self._name):
            raise ForeignIndexError(
                f"there is no collection {to} in {self._path} that {self._name} can stand for",
                remedy="Check index.path and index.collection.",
            )
        self._guard()
        self._release()
        if self._find_target() != to:
            write_target(self._path, self._name, to)
        self._collection, self._folder = to, collection_folder(self._path, to)
        self._lock = FolderLock(self._folder)

    def flush(self) -> None:
        """Makes all earlier writes survive a power cut: the engine syncs its log, then its data."""
        self._check_open()
        if self._shard is not None:
            with self._engine_errors("written"):
                self._shard.flush()

    def optimize(self) -> None:
        """Tidies up after many changes: large segments become few compact ones that open faster.

        Costs nothing where there is nothing to do. Measured on a million short points: 54 s and 3.5 GB, once, after
        which they open in 0.2 s and 180 MB, not in 2 s and 940 MB. The engine holds Python's lock until it is done, so
        that no lease is renewed meanwhile: it belongs into a process of its own.

        A process that is killed meanwhile leaves all points in place.
        """
        self._opened()
        self._check_space(0, copies=_size(self._folder / SHARD))
        self._optimize(FEW)

    def seal(self) -> None:
        """Makes compact what was appended lately and is large enough (`index.settings.indexing_threshold`).

        The engine holds the words' index, the ids and the payload indexes of a segment that it appends to in memory.
        Once sealed, next to nothing of it is held. What is compact already stays as it is unless the settings have
        changed, so that all seals of a load together cost as much as each point once. As for `optimize`: in a process
        of its own, which may be killed.
        """
        self._opened()
        self._check_space(0, copies=self.unsealed())
        self._optimize(MANY)

    def _optimize(self, segments: int) -> None:
        from qdrant_edge import EdgeShard

        config = make_tidying_config(self._stored(), segments)
        self._close_shard()
        with self._engine_errors("tidied up"):
            self._shard = EdgeShard.load(str(self._folder / SHARD), config)
            self._shard.optimize()

    def unsealed(self) -> int:
        """Bytes on the disk of the segments that are appended to: what is held of them in memory is less."""
        self._check_open()
        with os_errors(f"the embedded index {self._folder} cannot be read"):
            return sum(_size(file.parent) for file in (self._folder / SHARD).glob(_APPENDABLE))

    def lend(self) -> Lent:
        """Closes the engine and keeps the folder's lock, so that nobody comes in between.

        The next call opens the engine again: there may be none before the process that the collection is lent to has
        ended, or two engines would be in one folder.
        """
        self._check_open()
        self._lock.take(self._lock_wait)
        self._close_shard()
        descriptor = self._lock.descriptor()
        assert descriptor is not None
        return Lent(self._path, self._collection, descriptor)

    def size(self) -> int:
        """Bytes on the disk."""
        self._check_open()
        return _size(self._folder / SHARD)

    def close(self) -> None:
        """Lets go of the index; further calls are errors."""
        self._release()
        self._is_closed = True

    def _release(self) -> None:
        try:
            self._close_shard()
        finally:
            self._lock.give_back()

    def _close_shard(self) -> None:
        shard, self._shard, self._vectors = self._shard, None, None
        self._all_own.clear()
        if shard is not None:
            with self._engine_errors("closed"):
                shard.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise IndexUnavailableError(f"the index {self._folder} was closed", remedy="Open it again.")

    def _opened(self) -> EdgeShard:
        """The engine of a collection that exists, with the vectors it must have."""
        self._check_open()
        with self._opening:  # searches share an index
            if self._shard is None or self._vectors is None:
                if read_marker(self._path, self._collection, is_itself=True) is None:
                    raise self._gone()
                self._load()
                self._check_vectors()
            assert self._shard is not None
            return self._shard

    def _opened_vectors(self) -> frozenset[str]:
        self._opened()
        return self._vectors or frozenset()

    def _load(self) -> EdgeShard:
        with self._opening:
            if self._shard is None:
                self._lock.take(self._lock_wait)
                try:
                    self._shard = self._load_engine()
                except BaseException:
                    self._lock.give_back()
                    raise
            return self._shard

    def _load_engine(self) -> EdgeShard:
        from qdrant_edge import EdgeShard

        with self._engine_errors("opened"):
            return EdgeShard.load(str(self._folder / SHARD))

    def _build(self, dense: int | None, settings: CollectionSettings) -> None:
        """Makes an empty shard under another name, so that `shard` is always a whole one."""
        from qdrant_edge import EdgeShard

        with os_errors(f"the collection {self._folder} cannot be created"):
            if self._create_dirs:
                make_private_folder(self._path)
            # The engine's own files follow the umask; this folder keeps others from all of them.
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._folder.chmod(0o700)
            self._lock.take(self._lock_wait)
            new = self._folder / _NEW
            for leftover in (new, self._folder / _DROPPED):
                _remove(leftover)
            self._check_space(0)
            with self._engine_errors("created"):
                shard = EdgeShard.create(str(new), make_config(dense, settings))
                for name in PAYLOAD_INDEXES:
                    shard.update(index_field(name, "keyword"))
                shard.flush()
                shard.close()
            new.rename(self._folder / SHARD)
            sync_folder(self._folder)
            sync_folder(self._path)

    def _update(self, operation: UpdateOperation, weight: int = 0) -> None:
        shard = self._opened()
        if weight:
            self._check_space(weight)
        with self._engine_errors("written"):
            shard.update(operation)

    def _check_space(self, weight: int, *, copies: int = 0) -> None:
        with os_errors(f"the embedded index {self._folder} cannot be written"):
            free = shutil.disk_usage(self._folder).free
        needed = RESERVE + weight * _BYTES_A_CHARACTER + copies
        if free < needed:
            raise IndexUnavailableError(
                f"the disk of {self._folder} is nearly full: {free / 1e6:,.0f} MB are left, "
                f"and the next write wants {needed / 1e6:,.0f} MB",
                remedy="Free some space; what was applied stays, and the same plan goes on from there.",
            )

    def _stored(self) -> dict[str, Any]:
        """What the engine keeps in its own file."""
        file = self._folder / SHARD / "edge_config.json"
        with os_errors(f"the embedded index {self._folder} cannot be read"):
            text = file.read_text(encoding="utf-8")
        try:
            config = json.loads(text)
            # Whether they are mappings is seen here, once.
            return {**config, "vectors": {**(config.get("vectors") or {})}, _SPARSE: {**(config.get(_SPARSE) or {})}}
        except (ValueError, TypeError, AttributeError) as error:
            raise IndexUnavailableError(f"{file} is damaged", remedy=load_anew(self._folder, self._state)) from error

    def _stored_vectors(self) -> dict[str, Any]:
        stored = self._stored()
        return {**stored["vectors"], **stored[_SPARSE]}

    def _check_vectors(self) -> None:
        vectors = self._stored_vectors()
        if SPARSE_VECTOR not in vectors:
            raise self._wrong_vectors(f"it has {', '.join(sorted(vectors)) or 'no vectors'}, not {SPARSE_VECTOR}")
        if (vectors[SPARSE_VECTOR] or {}).get("modifier") != "idf":
            raise self._wrong_vectors(f"its {SPARSE_VECTOR} is without the IDF modifier")
        self._vectors, self._dense = frozenset(vectors), _dense_size(vectors)

    def _wrong_vectors(self, what: str) -> ForeignIndexError:
        return ForeignIndexError(
            f"the collection {self._collection} in {self._path} has other vectors than qloader makes: {what}",
            remedy="Choose another name in index.collection, or move "
            f"{self._folder} and {self._state} away and load it anew.",
        )

    def _gone(self) -> ForeignIndexError:
        return ForeignIndexError(
            f"there is no collection {self._collection} in {self._path}",
            remedy="Check index.path and index.collection; `qloader apply` makes it.",
        )

    @contextlib.contextmanager
    def _engine_errors(self, what: str) -> Iterator[None]:
        with _engine_errors(f"the embedded index {self._folder} cannot be {what}", self._folder, self._state):
            yield


class _NoPointError(Exception):
    """The engine knows no such point."""


@contextlib.contextmanager
def _engine_errors(what: str, folder: Path, state: str) -> Iterator[None]:
    """Turns what the engine raises (plain `Exception`, or a Rust panic) into errors with a remedy."""
    try:
        yield
    except BaseException as error:
        is_panic = type(error).__name__ == "PanicException"
        if type(error) is not Exception and not is_panic:
            raise
        text = str(error).strip().partition("\n")[0]
        if text.startswith("No point with id"):
            raise _NoPointError(text) from error
        if "WouldBlock" in text:
            raise held(what) from error  # some other program
        full = "No space left" in text or "StorageFull" in text
        raise IndexUnavailableError(
            f"{what}: {text}",
            remedy="Free some space, then run the same command again." if full else load_anew(folder, state),
        ) from error


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _remove_with_lock(folder: Path) -> None:
    """Removes a collection's folder, into which those who wait for its lock may put the lock's file once more."""
    for _ in range(_TRIES):
        try:
            return shutil.rmtree(folder)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
    return shutil.rmtree(folder)


def _size(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def _dense_size(stored: Mapping[str, Any]) -> int | None:
    """How long the `dense` vectors are, by what the engine keeps of the collection's vectors."""
    return int(stored[DENSE_VECTOR]["size"]) if DENSE_VECTOR in stored else None


def _owned_by(lineage: str, document: tuple[str, str] | None = None) -> Filter:
    from qdrant_edge import FieldCondition, Filter, MatchValue

    fields = owner_fields(lineage, document)
    return Filter(must=[FieldCondition(key=key, match=MatchValue(value)) for key, value in fields.items()])


def _others(lineage: str) -> Filter:
    from qdrant_edge import Filter

    return Filter(must_not=[_owned_by(lineage)])


def _filter(lineage: str | None, where: Where) -> Filter | None:
    from qdrant_edge import FieldCondition, Filter, MatchAny, MatchValue, RangeDateTime

    must: list[Any] = [] if lineage is None else [_owned_by(lineage)]
    if where.sources:
        must.append(FieldCondition("source", match=MatchAny(list(where.sources))))
    if where.documents is not None:
        ids: list[Any] = [
            Filter(
                must=[
                    FieldCondition("source", match=MatchValue(source)),
                    FieldCondition("document_id", match=MatchAny(list(documents))),
                ]
            )
            for source, documents in where.documents.items()
        ]
        must.append(Filter(should=ids))
    for key, value in where.metadata:
        path = metadata_path(key)
        readings: list[Any] = [FieldCondition(path, match=MatchValue(one)) for one in metadata_readings(value)]
        must.append(Filter(should=readings))
    if where.since is not None:
        must.append(FieldCondition("updated_at", range=RangeDateTime(gte=where.since.isoformat())))
    return Filter(must=must) if must else None


def _plain(payload: Mapping[str, Any]) -> dict[str, Any]:
    return payload if isinstance(payload, dict) else dict(payload)


def _to_edge(vectors: Vectors) -> dict[str, Any]:
    return {name: _vector_to_edge(vector) for name, vector in vectors.items()}


def _vector_to_edge(vector: SparseVector | Sequence[float]) -> Any:
    if not isinstance(vector, SparseVector):
        return list(vector)
    import qdrant_edge

    return qdrant_edge.SparseVector(list(vector.indices), list(vector.values))


def _read_ahead(shard: Path) -> None:
    """Has the system read all payloads in the order of the disk, before they are asked for in the order of ids.

    The engine drops them from the system's cache when it opens a collection, and each would be a read of its
    own: reading 240,000 payloads takes 2.2 s this way, of which this is 0.1 s, and 4.3 s without it.
    """
    import psutil

    files = [file for file in shard.glob("segments/*/payload_storage/*.dat") if file.is_file()]
    with contextlib.suppress(OSError):
        if sum(file.stat().st_blocks * 512 for file in files) > psutil.virtual_memory().available // 2:
            return  # it would push itself out again
        for file in files:
            with file.open("rb", buffering=0) as opened:
                while opened.read(_READ_AHEAD):
                    pass


def _from_edge(record: Any) -> StoredPoint:
    if not (found := record.vector):
        return StoredPoint(str(record.id), record.payload or {})
    vectors: dict[str, SparseVector | Sequence[float]] = {}
    for name, vector in found.items():
        vectors[name] = SparseVector(vector.indices, vector.values) if hasattr(vector, "indices") else vector
    return StoredPoint(str(record.id), record.payload or {}, vectors)
