"""One document's change made concrete: which points are written, re-labelled, deleted. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qloader.applying.reading import ReadDocument
from qloader.documents.hashing import point_bytes, point_text
from qloader.documents.payload import PayloadFacts, make_payload, payload_of_pipeline
from qloader.documents.times import seconds
from qloader.index.protocol import SparseVector
from qloader.planning.plan import Change
from qloader.state.records import DocumentRecord, IntentRecord


@dataclass(frozen=True, slots=True)
class NewPoint:
    """A point of the document as it will be: its id, its chunk's hash and text, its payload, `bm25` if it is made."""

    id: str
    chunk: bytes
    text: str
    payload: Mapping[str, Any]
    sparse: SparseVector | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What one change does to the index and the state.

    Attributes:
        change: The change.
        record: The document as the state will hold it; None for a delete.
        points: The document's points as they will be, in the order of its chunks.
        kept: Ids of points that are there already with the right vector; only their payload is written.
        donors: Ids of points whose vector serves a chunk of this document, by chunk hash.
        stale: Ids of points to delete.
        forget: (source, id) that leave the state: the document of a delete, the old id of a move.
        intents: What must be written down before the index is touched: every point that is written or deleted,
            each under the document that its id was made of. A move has two, so that whoever recovers from a crash
            can bring back the old document without knowing of the new one.
        is_carried: Whether the change cannot be made, and its document is kept as it is in another collection.
    """

    change: Change
    record: DocumentRecord | None
    points: tuple[NewPoint, ...] = ()
    kept: frozenset[str] = frozenset()
    donors: Mapping[bytes, str] = field(default_factory=dict)
    stale: tuple[str, ...] = ()
    forget: tuple[tuple[str, str], ...] = ()
    intents: tuple[IntentRecord, ...] = ()
    is_carried: bool = False

    @property
    def settled(self) -> tuple[tuple[str, str], ...]:
        """Documents whose intents end when this is committed."""
        if self.is_carried and self.record is not None:
            return ((self.record.source, self.record.id),)
        return ((self.change.source, self.change.id), *self.forget)

    def new_points(self) -> Iterator[NewPoint]:
        """The points that need a vector."""
        return (point for point in self.points if point.id not in self.kept)


@dataclass(frozen=True, slots=True)
class Applied:
    """What the state knows about a change's document.

    Attributes:
        before: The record before; of a move, that of the old id.
        intent: Ids of the document's points that an interrupted batch may have touched.
        old_intent: The same for the old id of a move.
    """

    before: DocumentRecord | None
    intent: tuple[bytes, ...] = ()
    old_intent: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class PointLabels:
    """What every payload of one source and run says.

    Attributes:
        source_type: The source's type.
        lineage: The state's lineage.
        pipeline: The pipeline's fingerprint.
        reusable: Fingerprints of pipelines whose vectors may be kept.
        is_retyped: Whether the points in the index may bear another type, which no record of a document tells.
        tenant: Whose points they are in a shared collection; empty in any other.
    """

    source_type: str
    lineage: str
    pipeline: str
    reusable: frozenset[str]
    is_retyped: bool = False
    tenant: str = ""


def plan_write(change: Change, read: ReadDocument, applied: Applied, labels: PointLabels) -> Work:
    """The work for a document that exists afterwards."""
    document = read.document
    record = DocumentRecord(
        source=change.source,
        id=change.id,
        content=read.content,
        metadata=read.metadata,
        revision=document.revision,
        size=document.bytes,
        chunks=read.hashes,
        pipeline=labels.pipeline,
        last_updated=seconds(document.updated_at),
        title=document.title,
        tenant=labels.tenant,
    )
    keys = record.point_keys()
    ids = [point_text(key) for key in keys]
    facts = PayloadFacts(
        source=change.source,
        source_type=labels.source_type,
        lineage=labels.lineage,
        pipeline=labels.pipeline,
        content=record.content,
        metadata=record.metadata,
        chunks=record.chunks,
        tenant=labels.tenant,
    )
    points = tuple(
        NewPoint(point, digest, chunk.text, make_payload(facts, document, chunk.text, chunk.headings, number), sparse)
        for number, (point, digest, chunk, sparse) in enumerate(
            zip(ids, read.hashes, read.chunks, read.sparse or (None,) * len(ids), strict=True)
        )
    )
    old = _old_points(applied)
    touched = {point_text(point) for point in (*applied.intent, *applied.old_intent)}
    new_ids = set(ids)
    stale = tuple(dict.fromkeys(i for i in (*old, *sorted(touched)) if i not in new_ids))
    is_reusable = applied.before is not None and applied.before.pipeline in labels.reusable
    kept = frozenset(i for i in ids if i in old and i not in touched) if is_reusable else frozenset()
    written = [key for key, point in zip(keys, ids, strict=True) if point not in kept]
    removed = [point_bytes(point) for point in old if point not in new_ids]
    if change.from_id is None:
        intents = [IntentRecord(change.source, change.id, _unique(*written, *removed, *applied.intent))]
        return Work(change, record, points, kept, stale=stale, intents=tuple(intents))
    # A touched point may hold a vector of another pipeline by now, so it gives none.
    donors = {digest: point for point, digest in old.items() if point not in touched} if is_reusable else {}
    intents = [
        IntentRecord(change.source, change.id, _unique(*written, *applied.intent)),
        IntentRecord(change.source, change.from_id, _unique(*removed, *applied.old_intent)),
    ]
    forget = ((change.source, change.from_id),)
    return Work(change, record, points, kept, donors, stale, forget, tuple(intents))


def plan_carry(
    change: Change, record: DocumentRecord, points: Sequence[tuple[str, Mapping[str, Any]]], applied: Applied
) -> Work:
    """The work for a document that is kept as it is, in a collection that is made beside its own.

    Args:
        change: The change that cannot be made.
        record: The document as it is, with the pipeline that it will have.
        points: Its points' ids and payloads, in the order of its chunks.
        applied: What the state of the other collection knows of it.
    """
    new = tuple(
        NewPoint(point, chunk, str(payload["text"]), payload_of_pipeline(payload, record.pipeline))
        for (point, payload), chunk in zip(points, record.chunks, strict=True)
    )
    ids = {point.id for point in new}
    old = dict.fromkeys((*_old_points(applied), *(point_text(point) for point in applied.intent)))
    stale = tuple(point for point in old if point not in ids)
    touched = _unique(*(point_bytes(point) for point in (*ids, *stale)))
    intent = IntentRecord(record.source, record.id, touched)
    return Work(change, record, new, stale=stale, intents=(intent,), is_carried=True)


def plan_removal(change: Change, applied: Applied) -> Work:
    """The work for a document that is gone afterwards, or of which only an intent is left."""
    points = _unique(*(point_bytes(point) for point in _old_points(applied)), *applied.intent)
    return Work(
        change,
        None,
        stale=tuple(point_text(point) for point in points),
        forget=((change.source, change.id),),
        intents=(IntentRecord(change.source, change.id, points),),
    )


def _old_points(applied: Applied) -> dict[str, bytes]:
    """The state's points of the document: id -> chunk hash."""
    if applied.before is None:
        return {}
    return dict(zip(applied.before.point_ids(), applied.before.chunks, strict=True))


def _unique(*points: bytes) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(points))
