"""The hashes that plans, state and points rest on. A change here re-reads or re-embeds everything.

All are xxh3-128 (fast, not cryptographic: they detect change, they do not authenticate), written as
32 hex digits in plans and payloads and as 16 bytes in the databases. docs/plan-file.md states them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from xxhash import xxh3_128_digest, xxh3_128_hexdigest, xxh3_128_intdigest

ROOT_MODULUS = 1 << 128
"""Entry hashes are added modulo this number to give the root hash."""

EMPTY_ROOT = bytes(16)
"""The root hash of a manifest without entries."""


def content_hash(text: str) -> bytes:
    """The hash of a document's normalised text: 16 bytes."""
    return xxh3_128_digest(text.encode())


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: the same bytes for the same value, whatever the insertion order.

    Raises:
        TypeError: A value that JSON has no form for.
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def metadata_hash(title: str, uri: str, metadata: Mapping[str, Any]) -> bytes:
    """The hash of what a point's payload says beside the text: 16 bytes."""
    return xxh3_128_digest(canonical_json({"title": title, "uri": uri, "metadata": dict(metadata)}))


def chunk_hash(text: str) -> bytes:
    """The hash of one chunk's text: 16 bytes. Equal hashes share a vector."""
    return xxh3_128_digest(text.encode())


def blob_id(data: bytes) -> str:
    """Git's own id of these bytes (SHA-1 of `blob <size>`, a NUL and the bytes), 40 hex digits.

    The revision of a file in a plan: the same on every machine, and equal to what a git source says.
    """
    digest = hashlib.sha1(b"blob %d\x00" % len(data), usedforsecurity=False)
    digest.update(data)
    return digest.hexdigest()


def entry_hash(document_id: str, content: bytes, metadata: bytes) -> int:
    """The hash of one manifest entry as a number below `ROOT_MODULUS`; the root is the sum of these."""
    return xxh3_128_intdigest(document_id.encode() + b"\x00" + content + metadata)


def add_to_root(root: bytes, *entries: int) -> bytes:
    """A root hash with entry hashes added (or, negated, taken away).

    A sum does not depend on the order, and an entry can be replaced without looking at the others:
    that is what lets the state keep its root with each batch (ADR 4). It follows AdHash of Bellare and
    Micciancio, "A New Paradigm for Collision-Free Hashing" (1997), here against accidents only.
    """
    total = int.from_bytes(root, "big")
    for entry in entries:
        total += entry
    return (total % ROOT_MODULUS).to_bytes(16, "big")


def point_key(source: str, document_id: str, chunk: bytes, occurrence: int, *, tenant: str = "") -> bytes:
    """The id, as 16 bytes, of the point for the n-th chunk of a document with this hash (counting from 0).

    A UUID of version 8 (RFC 9562: custom), so that the same chunk always has the same point and a
    repeated write is never a duplicate. In a shared collection each tenant has points of its own.
    """
    parts = (source.encode(), document_id.encode(), chunk, b"%d" % occurrence)
    name = b"\x00".join((tenant.encode(), *parts) if tenant else parts)
    digest = bytearray(xxh3_128_digest(name))
    digest[6] = (digest[6] & 0x0F) | 0x80
    digest[8] = (digest[8] & 0x3F) | 0x80
    return bytes(digest)


def point_keys(source: str, document_id: str, chunks: Iterable[bytes], *, tenant: str = "") -> list[bytes]:
    """The point ids of a document's chunks, in their order, as 16 bytes each.

    Args:
        source: The source's name.
        document_id: The document.
        chunks: The hashes of its chunks.
        tenant: Whose points they are in a shared collection; empty in any other.
    """
    seen: dict[bytes, int] = {}
    keys = []
    for chunk in chunks:
        occurrence = seen.get(chunk, 0)
        keys.append(point_key(source, document_id, chunk, occurrence, tenant=tenant))
        seen[chunk] = occurrence + 1
    return keys


def point_ids(source: str, document_id: str, chunks: Iterable[bytes], *, tenant: str = "") -> list[str]:
    """The same as Qdrant writes them."""
    return [point_text(key) for key in point_keys(source, document_id, chunks, tenant=tenant)]


def point_text(key: bytes) -> str:
    """A point's id as Qdrant writes it: a UUID's canonical text form."""
    digits = key.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def point_bytes(text: str) -> bytes:
    """The 16 bytes of a point's id."""
    return bytes.fromhex(text.replace("-", ""))


def fingerprint(value: Any) -> str:
    """A short name for a setting: 16 hex digits of the xxh3-128 of its canonical JSON."""
    return xxh3_128_hexdigest(canonical_json(value))[:16]
