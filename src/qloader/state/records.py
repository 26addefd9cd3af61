"""The rows of the state as frozen values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from qloader.documents.hashing import point_keys, point_text

RunStatus = Literal["running", "complete", "partial", "failed"]

IntentReason = Literal["interrupted", "announced", "drift"]

HASH_BYTES = 16

REMOTE_NOTES = "remote_"
"""How the keys in `meta` begin that say of which version of a remote state a file is the copy; they stay there."""


def pack_hashes(hashes: list[bytes]) -> bytes:
    """Chunk hashes as one blob, in their order."""
    return b"".join(hashes)


def unpack_hashes(blob: bytes) -> list[bytes]:
    """The chunk hashes of a blob, in their order."""
    return [blob[i : i + HASH_BYTES] for i in range(0, len(blob), HASH_BYTES)]


@dataclass(frozen=True, slots=True)
class StateHeader:
    """What the state says of itself.

    Attributes:
        name: The config's name.
        lineage: A UUID given at birth; it never changes.
        serial: Counts committed batches and runs; two equal serials of one lineage are the same state.
        collection: The collection that this state belongs to.
        location: Where that collection is, as in a plan.
        pipeline: The fingerprint of the pipeline last applied.
        mixed: True while some documents still have another pipeline: they could not be read when all others were
            replaced.
        target: The collection that this state describes, where `collection` has stood for another one; empty before.
        replacement: The collection that is being made in its place; empty where none is.
        is_switching: Whether that is complete, and `collection` is about to stand for it.
        replaced: The collection that was replaced and is kept; empty where none is.
        replacement_token: Names the last run that worked on the replacement. A file that knows of the replacement and
            has another token is out of date: another machine went on.
        replaced_token: Names the switch that replaced it, for the file that knows of the replaced collection.
        tenant: Whose points are this state's in a collection that is shared; empty where it has one of its own.
    """

    name: str
    lineage: str
    serial: int
    collection: str
    location: str
    pipeline: str
    mixed: bool
    target: str = ""
    replacement: str = ""
    is_switching: bool = False
    replaced: str = ""
    replacement_token: str = ""
    replaced_token: str = ""
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class StateIdentity:
    """Whose a state is that is written anew.

    Attributes:
        name: The config's name.
        lineage: Its lineage.
        collection: The collection that it belongs to.
        location: Where that is, as in a plan.
        pipeline: The fingerprint of the pipeline that its documents should have.
        settings: What fingerprints stand for, as far as is known.
        tenant: Whose points are its own in a shared collection; empty in any other.
    """

    name: str
    lineage: str
    collection: str
    location: str
    pipeline: str
    settings: Mapping[str, Mapping[str, Any]]
    tenant: str = ""

    def as_meta(self) -> dict[str, str]:
        """The same as rows of the table `meta`; an empty one is none."""
        keys = ("name", "lineage", "collection", "location", "pipeline", "tenant")
        return {key: getattr(self, key) for key in keys}


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One source as last applied; times are milliseconds since 1970 in UTC."""

    name: str
    type: str
    identity: str
    revision: str | None
    root: bytes
    documents: int
    chunks: int
    last_success: int | None

    def is_retyped(self, kind: str) -> bool:
        """Whether its documents were applied from a source of another type than this one."""
        return self.documents > 0 and self.type != kind


def count_held(sources: Iterable[SourceRecord]) -> int:
    """How many documents the index holds points of, as far as sources tell: of one without a chunk none."""
    return sum(source.documents for source in sources if source.chunks)


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """One document as last applied.

    Attributes:
        source: The source's name.
        id: The document id.
        content: Content hash, 16 bytes.
        metadata: Metadata hash, 16 bytes.
        revision: The revision that a plan showed.
        size: Bytes in the source.
        chunks: The chunk hashes in their order.
        pipeline: Fingerprint of the pipeline that made its points.
        last_updated: When the source last changed it, in seconds since 1970, or None.
        is_deleted: True for a tombstone.
        last_ingested: When it was last written or deleted by us, milliseconds since 1970.
        title: What a person calls it; empty where an older qloader wrote it.
        tenant: Whose points it has in a shared collection; empty in any other.
    """

    source: str
    id: str
    content: bytes
    metadata: bytes
    revision: str
    size: int
    chunks: tuple[bytes, ...]
    pipeline: str
    last_updated: int | None = None
    is_deleted: bool = False
    last_ingested: int = 0
    title: str = ""
    tenant: str = ""

    def point_keys(self) -> list[bytes]:
        """The ids of its points, in the order of its chunks, as 16 bytes each."""
        return point_keys(self.source, self.id, self.chunks, tenant=self.tenant)

    def point_ids(self) -> list[str]:
        """The same as Qdrant writes them."""
        return [point_text(key) for key in self.point_keys()]


@dataclass(frozen=True, slots=True)
class IntentRecord:
    """Points of one document that may not be in the index as the state says.

    Attributes:
        source: The source's name.
        document_id: The document that the points' ids were made of.
        points: Their ids, 16 bytes each.
        reason: Whether a batch was interrupted while it worked on them; or a run announced that it would, and nobody
            knows whether it did, nor on which others; or `refresh` found them drifted.
    """

    source: str
    document_id: str
    points: tuple[bytes, ...]
    reason: IntentReason = "interrupted"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One apply, from its first write to its end; times are milliseconds since 1970 in UTC."""

    id: int
    plan: str
    status: RunStatus
    base_serial: int
    last_serial: int
    started_at: int
    finished_at: int | None
    document_count: int
    summary: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the last runs were: the chunks that they embedded, and their seconds from first write to last."""

    runs: int
    chunks: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FailureRecord:
    """A document that a run left as it was, and why."""

    source: str
    document_id: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RunFailure:
    """One time that a run left a document as it was; `at` is when that run ended, milliseconds since 1970 in UTC."""

    source: str
    document_id: str
    reason: str
    detail: str
    run: int
    at: int


@dataclass(frozen=True, slots=True)
class RunDetails:
    """What one run did: its record, and the documents that it left as they were."""

    run: RunRecord
    failures: tuple[FailureRecord, ...]


@dataclass(frozen=True, slots=True)
class IngestionRecord:
    """How the last run of a source ended; times are milliseconds since 1970 in UTC.

    Attributes:
        source_type: The source's type.
        source_name: Its name.
        status: How it ended.
        document_count: Documents of the source then.
        error: One sentence, where it did not end well.
        last_success: When a run of the source last ended well; None where none did.
        finished_at: When this one ended.
    """

    source_type: str
    source_name: str
    status: RunStatus
    document_count: int
    error: str | None
    last_success: int | None
    finished_at: int


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds the state; times are milliseconds since 1970 in UTC.

    Attributes:
        id: Names it, for `state unlock`.
        holder: The user.
        host: The host's name.
        pid: The process.
        since: When it was taken.
        expires_at: When it runs out, unless it is renewed.
        machine: Where `pid` is the number of a process, as `process.machine` says; empty where nobody knows.
        started: When that process started, as `process.start_of` says; empty where nobody knows.
        seen_at: When another process first wanted it since it was last renewed; None where none did.
    """

    id: str
    holder: str
    host: str
    pid: int
    since: int
    expires_at: int
    machine: str = ""
    started: str = ""
    seen_at: int | None = None
