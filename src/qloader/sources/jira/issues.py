"""What a Jira site says, in the same words whichever edition it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from qloader.sources.atlassian.answers import text_of
from qloader.sources.atlassian.moments import parse_moment

_FEW_HISTORIES = 40
"""Entries of the changelog that come with an issue on Cloud, at most."""


class Row(NamedTuple):
    """One line of a listing.

    Attributes:
        number: The issue's own id, which it keeps.
        key: Its key, which changes with its project.
        updated: When it was last changed, in milliseconds since 1970.
    """

    number: int
    key: str
    updated: int


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue with its fields.

    Attributes:
        row: What a listing says of it.
        fields: As the API writes them.
        comments: All of them, oldest first, as the API writes them.
        histories: Entries of the changelog, as the API writes them; empty unless asked for.
        is_history_cut: Whether there may be more of these.
    """

    row: Row
    fields: dict[str, Any]
    comments: Sequence[dict[str, Any]] = ()
    histories: Sequence[dict[str, Any]] = ()
    is_history_cut: bool = False


@dataclass(slots=True)
class Found:
    """Issues by key, and keys that the server could not give just now, with the reason."""

    issues: dict[str, Issue] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class Edition(Protocol):
    """How one edition of Jira is asked. Every call may raise a `SourceError`."""

    api: str
    """What all paths begin with."""

    batch: int
    """How many issues are asked for at once, with all their fields."""

    def rows(self, jql: str, problems: list[str]) -> Iterator[Row]:
        """What a query finds, in the order of ids; what makes it incomplete is added to `problems`."""
        ...

    def issues(self, keys: Sequence[str], numbers: Sequence[int], expand: Sequence[str]) -> Found:
        """Issues with all their fields. Who is missing is gone.

        Args:
            keys: Their keys.
            numbers: Their own ids, as far as they are known.
            expand: What else.
        """
        ...

    def histories(self, number: int) -> Sequence[dict[str, Any]]:
        """The whole changelog of an issue."""
        ...

    def count(self, jql: str) -> int:
        """About how many issues a query finds."""
        ...

    def identity(self) -> str:
        """The id of the site or server, or empty."""
        ...


def row_of(issue: dict[str, Any]) -> Row:
    """The line of a listing in an issue as the API writes it."""
    updated = parse_moment(issue["fields"]["updated"])
    return Row(int(issue["id"]), text_of(issue["key"]), round(updated.timestamp() * 1000))


def issue_of(issue: dict[str, Any]) -> Issue:
    """An issue as the API writes it."""
    changelog = issue.get("changelog") or {}
    histories = changelog.get("histories") or ()
    is_cut = int(changelog.get("total") or 0) > len(histories) or len(histories) >= _FEW_HISTORIES
    return Issue(row_of(issue), issue["fields"], histories=histories, is_history_cut=is_cut)


def issues_of(answer: Mapping[str, Any]) -> dict[str, Issue]:
    """The issues of an answer, by key."""
    return {issue.row.key: issue for issue in map(issue_of, answer["issues"])}
