"""A point's payload: what Qdrant keeps of a chunk and its document, written in one place and read in one place.

The layout is part of the contract (docs/concepts.md). Everything that a lost state needs is in it: the state
can be rebuilt from the points alone, and a point can be checked against the state without its document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xxhash import xxh3_128_digest

from qloader.documents.document import Document
from qloader.documents.hashing import chunk_hash, metadata_hash

OWN = "qloader"
"""The key of a payload under which qloader keeps its own facts."""

TENANT = "tenant"
"""The key of a payload that says whose point it is in a shared collection."""


@dataclass(frozen=True, slots=True)
class PayloadFacts:
    """What all payloads of one document have in common; hashes are 16 bytes.

    Attributes:
        source: The source's name.
        source_type: Its type.
        lineage: The lineage of the state that owns the points.
        pipeline: The fingerprint of the pipeline that made them.
        content: The document's content hash.
        metadata: Its metadata hash.
        chunks: The hashes of its chunks, in their order.
        tenant: Whose points they are in a shared collection; empty in any other.
    """

    source: str
    source_type: str
    lineage: str
    pipeline: str
    content: bytes
    metadata: bytes
    chunks: tuple[bytes, ...]
    tenant: str = ""


def make_payload(
    facts: PayloadFacts, document: Document, text: str, headings: Sequence[str], number: int
) -> dict[str, Any]:
    """The payload of one chunk.

    Args:
        facts: What its document's payloads have in common.
        document: The document.
        text: The chunk.
        headings: The headings above it, outermost first.
        number: Its place among the document's chunks, from 0.
    """
    own: dict[str, Any] = {"lineage": facts.lineage, "chunk_hash": facts.chunks[number].hex()}
    if number == 0:
        # All that a lost state needs to be rebuilt from the points alone.
        own |= {
            "content": facts.content.hex(),
            "metadata": facts.metadata.hex(),
            "revision": document.revision,
            "bytes": document.bytes,
            "chunks": len(facts.chunks),
            "pipeline": facts.pipeline,
        }
    payload: dict[str, Any] = {
        "text": text,
        "title": document.title,
        "uri": document.uri,
        "source": facts.source,
        "source_type": facts.source_type,
        "document_id": document.id,
        "chunk": number,
        "updated_at": document.updated_at,
        "metadata": dict(document.metadata),
        OWN: own,
    }
    if headings:
        payload["headings"] = list(headings)
    if facts.tenant:
        payload[TENANT] = facts.tenant
    return payload


def payload_of_pipeline(payload: Mapping[str, Any], pipeline: str) -> dict[str, Any]:
    """The same payload for a point that another pipeline made."""
    own = dict(payload[OWN])
    if "pipeline" in own:
        own["pipeline"] = pipeline
    return {**payload, OWN: own}


def expected_check(source: str, document_id: str, number: int, chunk: bytes, metadata: bytes) -> bytes:
    """What `payload_check` gives for a point that is as the state says: 16 bytes.

    Args:
        source: The source's name.
        document_id: The document.
        number: The chunk's place.
        chunk: Its hash.
        metadata: The document's metadata hash.
    """
    return xxh3_128_digest(b"%b\0%b\0%d\0%b%b" % (source.encode(), document_id.encode(), number, chunk, metadata))


def payload_check(payload: Mapping[str, Any]) -> bytes:
    """A hash over what a payload says, worked out from the text and the metadata that are really there.

    Equal to `expected_check` unless somebody changed the text, the title, uri or metadata, the place or the
    owner; 16 bytes, or empty where the payload is none of qloader's.
    """
    try:
        own = payload[OWN]
        text = chunk_hash(payload["text"])
        if own["chunk_hash"] != text.hex():
            return b""
        metadata = metadata_hash(payload["title"], payload["uri"], payload["metadata"])
        return expected_check(payload["source"], payload["document_id"], int(payload["chunk"]), text, metadata)
    except (KeyError, TypeError, ValueError, AttributeError):
        return b""
