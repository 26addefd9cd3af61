"""Times as people and programs read them: ISO 8601 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(milliseconds: int | None) -> str | None:
    """Milliseconds since 1970 as `2026-11-01T10:00:00Z`; None stays None."""
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
