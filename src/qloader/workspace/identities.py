"""Which place a source is, against what the state remembers: one name may come to stand for another repository."""

from __future__ import annotations

from qloader.sources.protocol import Source
from qloader.state.records import SourceRecord


def is_stranger(source: Source, record: SourceRecord | None) -> bool:
    """Whether a source is certain to be another place than the one whose documents the state holds.

    Args:
        source: The source as the config names it now.
        record: What the state says of its name. Of another type, or without documents, it binds nobody.
    """
    if record is None or not record.documents or not record.identity or record.type != source.type:
        return False
    return not source.confirms(record.identity)


def find_identity(source: Source, record: SourceRecord | None) -> str:
    """What the state should remember: what it does as long as that is confirmed, since to find it anew is work."""
    if record is None or not record.identity or record.type != source.type:
        return source.identity()
    return record.identity if source.confirms(record.identity) else source.identity()
