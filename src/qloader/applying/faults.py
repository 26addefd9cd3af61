"""What is wrong with one document's points in the index."""

from __future__ import annotations

from qloader.documents.hashing import point_bytes
from qloader.documents.payload import expected_check, payload_check
from qloader.index.protocol import Index
from qloader.state.records import DocumentRecord


def find_faults(
    index: Index, lineage: str, document: tuple[str, str], record: DocumentRecord | None
) -> tuple[bytes, ...]:
    """The points of a document that are missing from the index, altered there, or not the state's.

    Args:
        index: The index, opened.
        lineage: The state's lineage.
        document: Its source and id.
        record: What the state holds of it, or None.

    Returns:
        Point ids of 16 bytes; empty where all is well.
    """
    expected = {}
    if record is not None:
        for number, (key, chunk) in enumerate(zip(record.point_keys(), record.chunks, strict=True)):
            expected[key] = expected_check(*document, number, chunk, record.metadata)
    found = {
        point_bytes(point.id): payload_check(point.payload)
        for point in index.scroll(lineage=lineage, document=document)
    }
    return tuple(key for key in (expected | found) if expected.get(key) != found.get(key))
