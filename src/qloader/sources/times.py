"""Times as documents carry them."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_time(seconds: float) -> str | None:
    """Seconds since 1970 as ISO 8601 in UTC, e.g. `2024-05-06T07:08:09Z`; None outside the years 1 to 9999."""
    try:
        return datetime.fromtimestamp(seconds // 1, UTC).isoformat()[:-6] + "Z"
    except (ValueError, OverflowError, OSError):
        return None


def http_time(header: str) -> str | None:
    """A time as HTTP writes it, e.g. in `Last-Modified`, as ISO 8601 in UTC; None where it is none."""
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, TypeError):
        return None
    return utc_time((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
