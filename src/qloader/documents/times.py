"""Times of documents: ISO 8601 in payloads, whole seconds since 1970 in the state."""

from __future__ import annotations

from datetime import UTC, datetime


def seconds(timestamp: str | None) -> int | None:
    """Seconds since 1970 of an ISO 8601 time (UTC where it names no zone); None where it is none."""
    if timestamp is None:
        return None
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
