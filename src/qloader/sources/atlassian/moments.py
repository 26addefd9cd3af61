"""Times as Atlassian's servers write and read them, brought to UTC at this edge and nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

OVERLAP = timedelta(minutes=5)
"""How much earlier than asked a query for changes begins: a change seen twice costs nothing, a missed one is lost."""

_WESTERNMOST = timedelta(hours=12)
_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""No site is older, and servers refuse some earlier dates."""


def begin_earlier(since: datetime) -> datetime:
    """Where a query for changes begins, in UTC: `OVERLAP` earlier than asked."""
    return max(since.astimezone(UTC), _EARLIEST) - OVERLAP


def parse_moment(text: str) -> datetime:
    """A time such as `2026-11-25T10:00:00.000+0545` or `…Z`, in UTC.

    Raises:
        ValueError: It is no such time.
    """
    return datetime.fromisoformat(text).astimezone(UTC)


def utc_text(text: str | None) -> str | None:
    """The same as ISO 8601 in UTC, to the second, as documents carry it; None where there is none."""
    if not text:
        return None
    try:
        return parse_moment(text).strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return None


def find_zone(name: str | None) -> ZoneInfo | None:
    """A time zone by its name, e.g. `Asia/Kathmandu`; None where it is unknown."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def minute_in_zone(since: datetime, zone: ZoneInfo | None, form: str) -> str:
    """The latest minute on an account's clock that is certain not to lie after a moment.

    Queries name a minute without an offset, and the server reads it on the account's clock. In the hour that
    occurs twice when summer time ends, such a minute means two moments; then an earlier one is taken.

    Args:
        since: The moment, with an offset.
        zone: The account's zone. None: unknown, so that the minute is taken where clocks are latest.
        form: How the query writes it, as for `strftime`.
    """
    if zone is None:
        return (since.astimezone(UTC) - _WESTERNMOST).strftime(form)
    moment = since.astimezone(UTC)
    while True:
        minute = moment.astimezone(zone).replace(tzinfo=None, second=0, microsecond=0)
        latest = max(minute.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if latest <= since:
            return minute.strftime(form)
        moment -= timedelta(minutes=30)
