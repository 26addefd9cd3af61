"""`--since`: from what a person writes to a moment, or a commit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from qloader.config.units import is_ago, is_date, parse_duration
from qloader.errors import ConfigError, SourceError
from qloader.sources.protocol import Listing, ListsChanges, ListsChangesAfter, Source

_FORMS = "Write 24h, 7d, 2026-11-01, 2026-11-01T10:00+02:00, or a commit, branch or tag of a git source."
_WEEK = timedelta(weeks=1)
_FIRST = datetime.min.replace(tzinfo=UTC)
"""Before the year 1 there is nothing that could have changed."""


@dataclass(frozen=True, slots=True)
class Since:
    """From where on changes are looked for: exactly one of the two.

    Attributes:
        moment: A time in UTC.
        commit: A commit, branch or tag, for git sources.
    """

    moment: datetime | None = None
    commit: str | None = None

    def __str__(self) -> str:
        """As it can be written after `--since` again, at any time and in any zone."""
        return self.moment.isoformat() if self.moment is not None else self.commit or ""


def parse_since(text: str, now: datetime | None = None) -> Since:
    """Reads `24h`, `7d`, `2w`, `2026-11-01`, `2026-11-01T10:00+02:00`, or takes the text for a commit.

    Args:
        text: What was written. A date is its midnight, and a time without an offset is one, in the zone of `now`.
        now: The present, with an offset; the clock and zone of this machine where None.

    Raises:
        ConfigError: It is in the future, or no such date.
    """
    text = text.strip()
    local = now is None
    now = now or datetime.now().astimezone()
    if is_ago(text):
        moment = _go_back(text, now).astimezone(UTC)
    elif is_date(text):
        moment = _read_date(text, now, local=local)
    elif text and not text.startswith("-"):
        return Since(commit=text)
    else:
        raise ConfigError(f"--since {text!r} is no time", remedy=_FORMS)
    if moment > now:
        raise ConfigError(f"--since {text} lies in the future", remedy=_FORMS)
    return Since(moment=moment)


def list_since(source: Source, since: Since) -> Listing:
    """Lists a source from there on; a source that cannot tell what changed is listed whole.

    Raises:
        ConfigError: A commit, for a source that has none.
        SourceError: The source cannot be listed, or has no such commit.
    """
    if since.commit is not None:
        if not isinstance(source, ListsChangesAfter):
            raise ConfigError(
                f"--since {since.commit} is no time, and source {source.name} of type {source.type} has no commits",
                remedy=f"{_FORMS} For a commit, name the git sources with --source.",
            )
        try:
            return source.changed_after(since.commit)
        except SourceError as error:
            raise SourceError(f"--since {since.commit}: {error}", remedy=_FORMS) from error
    assert since.moment is not None
    return source.changed_since(since.moment) if isinstance(source, ListsChanges) else source.list()


def _go_back(text: str, now: datetime) -> datetime:
    try:
        ago = _WEEK * float(text[:-1]) if text[-1] in "wW" else timedelta(seconds=parse_duration(text))
    except OverflowError:
        return _FIRST
    return now - ago if ago < now - _FIRST else _FIRST


def _read_date(text: str, now: datetime, *, local: bool) -> datetime:
    try:
        moment = datetime.fromisoformat(text) if len(text) > 10 else datetime.combine(date.fromisoformat(text), time())
    except ValueError:
        raise ConfigError(f"--since {text} is no date or time that exists", remedy=_FORMS) from None
    # This machine's zone has other offsets in summer than in winter; a fixed offset is all that `now` can tell.
    if moment.tzinfo is None and not local and now.tzinfo is not None:
        moment = moment.replace(tzinfo=now.tzinfo)
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError):  # the first or the last day that there is, in a zone where it is another one
        return _FIRST if moment.year == 1 else datetime.max.replace(tzinfo=UTC)
