"""What a Jira site holds, in memory, with the ways in which people change it. Bulk issues are made when asked for."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from servers.atlassian import Account, Traffic

SYSTEM_FIELDS = (
    ("summary", "Summary", {"type": "string", "system": "summary"}),
    ("description", "Description", {"type": "string", "system": "description"}),
    ("environment", "Environment", {"type": "string", "system": "environment"}),
    ("status", "Status", {"type": "status", "system": "status"}),
    ("comment", "Comment", {"type": "comments-page", "system": "comment"}),
    ("updated", "Updated", {"type": "datetime", "system": "updated"}),
)


@dataclass
class Comment:
    """A comment; its body is text (wiki markup) or an ADF document."""

    id: str
    body: Any
    author: str
    created: datetime


@dataclass
class Issue:
    """An issue.

    Attributes:
        id: Its number, which it keeps.
        key: What people call it; changes with its project.
        description: Text (wiki markup; plain paragraphs on Cloud) or an ADF document.
        fields: All other fields that hold something, as the API writes them; ADF or text in fields of text.
        history: Changelog entries: (when, who, field, from, to).
    """

    id: int
    key: str
    summary: str
    description: Any
    created: datetime
    updated: datetime
    fields: dict[str, Any] = field(default_factory=dict)
    comments: list[Comment] = field(default_factory=list)
    history: list[tuple[datetime, str, str, str, str]] = field(default_factory=list)
    restricted: bool = False

    @property
    def project(self) -> str:
        """The key of its project."""
        return self.key.rpartition("-")[0]


class Jira:
    """A site's issues.

    Attributes:
        account: Who may ask.
        projects: Names by key.
        now: The site's clock; each edit moves it on by a minute.
        cloud_id: The id of the site or server.
        max_results: What `maxResults` is lowered to where more fields are asked for than `light_fields`.
        max_ids: What it is lowered to else.
        light_fields: The fields that keep the large page.
        comments_inline: How many comments an issue in a list brings along.
        custom: Custom fields: (id, name, schema).
        old_keys: Where a key leads that an issue once had.
        is_eventual: Whether the search answers from `indexed` until `settle`.
    """

    def __init__(self, *, max_results: int = 100, max_ids: int = 5000, account: Account | None = None) -> None:
        self.account = account or Account()
        self.projects: dict[str, str] = {}
        self.now = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)
        self.cloud_id = "99887766-a1b2-3b33-c444-def123456789"
        self.max_results = max_results
        self.max_ids = max_ids
        self.light_fields = frozenset({"id", "key", "updated"})
        self.comments_inline = 20
        self.custom: list[tuple[str, str, dict[str, str]]] = []
        self.old_keys: dict[str, int] = {}
        self.traffic = Traffic()
        self.is_eventual = False
        self._indexed: dict[int, Issue | None] = {}
        self._issues: dict[int, Issue | None] = {}
        self._keys: dict[str, int] = {}
        self._bulk: list[tuple[str, range, int]] = []
        self._next_id = 10_000
        self._numbers: dict[str, int] = {}

    def add(self, project: str, summary: str, description: Any = "", **fields: Any) -> str:
        """A new issue; returns its key."""
        self._next_id += 1
        key = self._new_key(project)
        issue = Issue(self._next_id, key, summary, description, self.now, self.now, fields)
        if self.is_eventual:
            self._indexed.setdefault(issue.id, None)
        self._issues[issue.id] = issue
        self._keys[key] = issue.id
        return key

    def add_many(self, project: str, count: int) -> None:
        """So many issues that are all different and cost no memory until they are changed."""
        first, number = self._next_id + 1, self._numbers.get(project, 0) + 1
        self.projects.setdefault(project, project.title())
        self._bulk.append((project, range(first, first + count), number))
        self._next_id += count
        self._numbers[project] = number + count - 1

    def issue(self, key: str) -> Issue:
        """The issue with a key, to look at or to change."""
        number = self._number(key)
        found = None if number is None else self.by_id(number)
        assert found is not None, key
        self._issues[found.id] = found
        return found

    def edit(self, key: str, *, summary: str | None = None, description: Any = None, **fields: Any) -> None:
        """Changes fields."""
        issue = self._touch(key)
        issue.summary = issue.summary if summary is None else summary
        issue.description = issue.description if description is None else description
        issue.fields |= fields

    def comment(self, key: str, body: Any, author: str = "Ada Author") -> None:
        """A new comment."""
        issue = self._touch(key)
        issue.comments.append(Comment(f"{issue.id}{len(issue.comments):05}", body, author, self.now))

    def change_status(self, key: str, status: str) -> None:
        """Another status, with an entry in the changelog."""
        issue = self._touch(key)
        before = issue.fields.get("status", {"name": "To Do"})["name"]
        issue.fields["status"] = {"name": status}
        issue.history.append((self.now, "Ada Author", "status", before, status))

    def move(self, key: str, project: str) -> str:
        """Puts an issue into another project; returns its new key."""
        issue = self._touch(key)
        issue.key = self._new_key(project)
        self._keys[issue.key] = issue.id
        self.old_keys[key] = issue.id
        self._keys.pop(key, None)
        issue.history.append((self.now, "Ada Author", "Key", key, issue.key))
        return issue.key

    def delete(self, key: str) -> Issue:
        """Deletes an issue without a trace; returns it, for `restore`."""
        issue = self._touch(key)
        self._issues[issue.id] = None
        self._keys.pop(key, None)
        return issue

    def restore(self, issue: Issue) -> None:
        """Brings back a deleted issue."""
        self._issues[issue.id] = issue
        self._keys[issue.key] = issue.id

    def restrict(self, key: str, restricted: bool = True) -> None:
        """Takes the account's permission to see an issue, or gives it back."""
        number = self._number(key)
        hidden = None if number is None else self._issues.get(number)
        (hidden or self.issue(key)).restricted = restricted

    def settle(self) -> None:
        """The search catches up."""
        self._indexed.clear()

    def tick(self) -> datetime:
        """Moves the clock on by a minute."""
        self.now += timedelta(minutes=1)
        return self.now

    def by_id(self, number: int) -> Issue | None:
        """An issue by its number, as the database has it; None where there is none that can be seen."""
        found = self._issues.get(number)
        if number not in self._issues:
            found = next(
                (_make(p, number, first + number - r.start) for p, r, first in self._bulk if number in r), None
            )
        return None if found is None or found.restricted else found

    def by_key(self, key: str) -> Issue | None:
        """An issue by its key, or a key that it once had."""
        number = self._number(key)
        return None if number is None else self.by_id(number)

    def searched(self, number: int, reconciled: frozenset[int]) -> Issue | None:
        """An issue as the search has it."""
        if number in self._indexed and number not in reconciled:
            return self._indexed[number]
        return self.by_id(number)

    def ids(self, after: int = 0) -> Iterator[int]:
        """All numbers that are or were issues, in order."""
        bulk = [number for _, numbers, _ in self._bulk for number in numbers if number > after]
        singles = [number for number in self._issues if number > after]
        yield from sorted({*bulk, *singles}) if singles else sorted(bulk)

    def _touch(self, key: str) -> Issue:
        issue = self.issue(key)
        if self.is_eventual and issue.id not in self._indexed:
            self._indexed[issue.id] = deepcopy(issue)
        issue.updated = self.tick()
        return issue

    def _number(self, key: str) -> int | None:
        found = self._keys.get(key) or self.old_keys.get(key)
        if found is None:
            project, _, digits = key.rpartition("-")
            for name, numbers, first in self._bulk:
                if name == project and digits.isdigit() and first <= int(digits) < first + len(numbers):
                    return numbers[int(digits) - first]
        return found

    def _new_key(self, project: str) -> str:
        self.projects.setdefault(project, project.title())
        self._numbers[project] = self._numbers.get(project, 0) + 1
        return f"{project}-{self._numbers[project]}"


def _make(project: str, number: int, place: int) -> Issue:
    when = datetime(2026, 10, 1, tzinfo=UTC) + timedelta(seconds=place)
    description = f"Issue {place} tells of lamp {place * 7} and its garden."
    return Issue(number, f"{project}-{place}", f"Issue {place}", description, when, when)
