"""The `jira` source: issues by their keys.

A document's id is the issue's key, so that a key that changes with its project is one document gone and another one
come, with the same text: a move. The token holds the issue's own number too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from qloader.documents.document import Document, Skipped
from qloader.documents.hashing import fingerprint
from qloader.errors import SourceError
from qloader.sources.atlassian.moments import begin_earlier, find_zone, minute_in_zone, utc_text
from qloader.sources.atlassian.site import Site, is_missing, is_refused, messages
from qloader.sources.http.errors import AnswerTooLargeError, BrokenAnswerError
from qloader.sources.jira.cloud import CloudEdition
from qloader.sources.jira.data_center import DataCenterEdition
from qloader.sources.jira.fields import CustomField, custom_fields
from qloader.sources.jira.issues import Edition, Found, Issue, Row
from qloader.sources.jira.reading import READER, Reader
from qloader.sources.jira.settings import JiraSettings
from qloader.sources.protocol import Item, Listing, only_since

_COMMENTS = 1000
_Result = Document | Skipped | Callable[[], Document | Skipped]
"""What was read: a document, why there is none, or what makes one of the answers."""

_BROKEN = 20
"""Documents whose answer may be broken; if there are more, it is the server that is broken, and not they."""

_OUTDATED = "the server still answers with an older version than it lists"


class JiraSource:
    """Reads a site's issues as they are now."""

    type = "jira"

    def __init__(self, name: str, settings: JiraSettings, site: Site) -> None:
        self.name = name
        self.settings = settings
        self._site = site
        self._edition: Edition = (
            CloudEdition(site, settings) if settings.deployment == "cloud" else DataCenterEdition(site, settings)
        )
        self._reader = Reader(settings)
        self._listed: dict[str, Row] = {}
        self._custom: Sequence[CustomField] | None = None
        self._broken = 0
        self._lock = threading.Lock()

    @property
    def unknown(self) -> set[str]:
        """What was met in texts and is not known how to read (node types, macros); its text was kept."""
        return self._reader.unknown

    def identity(self) -> str:
        """The site's address and the id that it gives itself; empty where it cannot be asked."""
        try:
            own = self._edition.identity()
        except SourceError:
            own = ""
        return f"{self.settings.url} {own}" if own else ""

    def confirms(self, identity: str) -> bool:
        """Whether this is the site of that id. Asked of the site only where its address is another than it was."""
        url, _, own = identity.rpartition(" ")
        if url == self.settings.url:
            return True
        try:
            return self._edition.identity() in (own, "")
        except SourceError:
            return True

    def selection(self) -> str:
        """A fingerprint of all settings that shape the documents; which issues are listed, and who asks, do not."""
        settings = self.settings
        return fingerprint(
            {
                "reader": READER,
                "url": settings.url,
                "comments": settings.comments,
                "changelog": settings.changelog,
                "exclude_fields": settings.exclude_fields,
                "max_bytes": settings.max_bytes,
                "metadata": dict(settings.metadata),
            }
        )

    def proof(self) -> None:
        """None: a site has no token for all that it holds."""

    def list(self) -> Listing:
        """Lists keys with change tokens, without a text.

        Raises:
            SourceError: Nothing can be listed: the site cannot be reached, or refuses the query.
        """
        listing = Listing()
        self._listed.clear()
        return self._start(listing, self.settings.restriction)

    def changed_since(self, since: datetime) -> Listing:
        """Lists what was changed since a moment, and a little more; never complete.

        Args:
            since: The moment, with an offset.

        Raises:
            SourceError: As `list`.
        """
        with self._site.understanding("the account"):
            minute = minute_in_zone(begin_earlier(since), self._zone(), "%Y/%m/%d %H:%M")
        listing = Listing(problems=[only_since(since)])
        return self._start(listing, f'{self.settings.restriction} AND updated >= "{minute}"')

    def fetch(self, ids: Iterable[str], *, revision: str | None = None) -> Iterator[Document | Skipped]:
        """Reads issues as they are now, many at a time; a site keeps no state of the whole.

        Raises:
            SourceError: The site cannot be reached, or refuses.
        """
        # What is asked of the server is asked side by side; what is made of the answers, here: threads that wait for
        # answers leave the processor to whoever makes documents.
        for results in self._site.map(self._read, _batches(ids, self._edition.batch)):
            for document_id, result in results:
                yield result if isinstance(result, Document | Skipped) else self._make(document_id, result)

    def check(self) -> str:
        """Looks whether the settings work: who asks, how many issues there are. One line.

        Raises:
            SourceError: They do not.
        """
        with self._site.understanding("the site"):
            account = self._site.account(f"{self._edition.api}/myself").get("displayName") or "anonymous"
            if missing := self._missing_projects():
                raise self._no_project(missing)
            try:
                count = self._edition.count(self.settings.restriction)
            except SourceError as error:
                raise (self._bad_query(error) if is_refused(error) else error) from error
        where = f" in {', '.join(self.settings.projects)}" if self.settings.projects else ""
        return f"jira, {count:,} issue{'' if count == 1 else 's'}{where}, as {account}"

    def _start(self, listing: Listing, jql: str) -> Listing:
        """Gives a listing its items; what is wrong from the start is an error and no problem of the listing."""
        items = self._items(jql, listing)
        try:
            first = next(items, None)
        except SourceError as error:
            if not is_refused(error):
                raise
            missing = self._missing_projects()
            left = tuple(key for key in self.settings.projects if key not in missing)
            if not missing:
                raise self._bad_query(error) from error
            if not left:
                raise self._no_project(missing) from error
            for key in missing:
                listing.problems.append(f"the project {key} does not exist, or this account may not see it")
            whole, rest = self.settings.restriction, replace(self.settings, projects=left).restriction
            items = self._items(jql.replace(whole, rest, 1), listing)
            first = next(items, None)
        listing.items = _with_first(first, items)
        return listing

    def _items(self, jql: str, listing: Listing) -> Iterator[Item]:
        any_listed = False
        try:
            with self._site.understanding("the search"):
                for row in self._edition.rows(jql, listing.problems):
                    any_listed = True
                    self._listed[row.key] = row
                    yield Item(row.key, f"{row.number}-{row.updated}")
        except SourceError as error:
            if not any_listed:
                raise
            listing.problems.append(f"the issues were not listed to their end: {error}")

    def _make(self, document_id: str, make: Callable[[], Document | Skipped]) -> Document | Skipped:
        try:
            with self._site.understanding(document_id):
                return make()
        except BrokenAnswerError as error:
            return Skipped(document_id, "unreadable", str(error))

    def _read(self, keys: Sequence[str]) -> Sequence[tuple[str, _Result]]:
        """Reads a batch, in its order."""
        try:
            with self._site.understanding("the server"):
                return self._read_together(keys)
        except (BrokenAnswerError, AnswerTooLargeError) as error:
            if len(keys) == 1:
                self._broken += 1
                if self._broken > _BROKEN:
                    raise
                return [(keys[0], Skipped(keys[0], "unreadable", str(error)))]
        # One issue that the server cannot write, or a very large one, must not hide the others.
        middle = len(keys) // 2
        return [*self._read(keys[:middle]), *self._read(keys[middle:])]

    def _read_together(self, keys: Sequence[str]) -> Sequence[tuple[str, _Result]]:
        custom = self._custom_fields()
        found = self._load(keys)
        outdated = [key for key, issue in found.issues.items() if self._is_outdated(issue)]
        if outdated:
            found.issues |= self._load(outdated).issues
        results: list[tuple[str, _Result]] = []
        for key in keys:
            issue = found.issues.get(key)
            if issue is None:
                results.append((key, self._missing(key, found)))
            elif self._is_outdated(issue):
                results.append((key, Skipped(key, "unreadable", _OUTDATED)))
            else:
                try:
                    results.append((key, partial(self._reader.read, self._whole(issue), custom)))
                except SourceError as error:
                    if not is_missing(error):
                        raise
                    results.append((key, Skipped(key, "vanished")))
        return results

    def _load(self, keys: Sequence[str]) -> Found:
        numbers = [row.number for key in keys if (row := self._listed.get(key)) is not None]
        expand = ("changelog",) if self.settings.changelog else ()
        return self._edition.issues(keys, numbers if len(numbers) == len(keys) else (), expand)

    def _missing(self, key: str, found: Found) -> Skipped:
        """Why a key was not answered: it is gone, or was moved; or the server failed with it."""
        row = self._listed.get(key)
        if found.failed and row is None:
            return Skipped(key, "unreadable", next(iter(found.failed.values())))
        why = found.failed.get(key) or (found.failed.get(str(row.number)) if row else None)
        return Skipped(key, "unreadable", why) if why else Skipped(key, "vanished")

    def _is_outdated(self, issue: Issue) -> bool:
        row = self._listed.get(issue.row.key)
        return row is not None and issue.row.updated < row.updated

    def _whole(self, issue: Issue) -> Issue:
        """An issue with all its comments and its whole history: what comes with it may be the first few only."""
        comments: Sequence[dict[str, Any]] = ()
        if self.settings.comments:
            given = issue.fields.get("comment") or {}
            comments = given.get("comments") or ()
            if int(given.get("total") or 0) > len(comments):
                comments = self._comments(issue.row.number)
        histories = issue.histories
        if self.settings.changelog and issue.is_history_cut and self.settings.deployment == "cloud":
            histories = self._edition.histories(issue.row.number)
        ordered = sorted(comments, key=lambda one: (utc_text(one.get("created")) or "", int(one["id"])))
        return replace(issue, comments=ordered, histories=histories)

    def _comments(self, number: int) -> Sequence[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        start = 0
        while True:
            params = [("startAt", start), ("maxResults", _COMMENTS), ("orderBy", "created")]
            answer = self._site.get(f"{self._edition.api}/issue/{number}/comment", params)
            found |= {str(comment["id"]): comment for comment in answer["comments"]}
            start += len(answer["comments"])
            if not answer["comments"] or start >= int(answer["total"]):
                return list(found.values())

    def _custom_fields(self) -> Sequence[CustomField]:
        with self._lock:
            if self._custom is None:
                self._custom = self._ask_for_fields()
            return self._custom

    def _ask_for_fields(self) -> Sequence[CustomField]:
        return custom_fields(self._site.get_list(f"{self._edition.api}/field"), self.settings.exclude_fields)

    def _missing_projects(self) -> Sequence[str]:
        return [key for key in self.settings.projects if not self._has_project(key)]

    def _has_project(self, key: str) -> bool:
        try:
            self._site.get(f"{self._edition.api}/project/{key}")
        except SourceError as error:
            if is_missing(error):
                return False
            raise
        return True

    def _zone(self) -> ZoneInfo | None:
        if self.settings.time_zone is not None:
            return find_zone(self.settings.time_zone)
        return find_zone(self._site.account(f"{self._edition.api}/myself").get("timeZone"))

    def _no_project(self, missing: Sequence[str]) -> SourceError:
        return SourceError(
            f"Source {self.name}: there is no project {', '.join(missing)}, or this account may not see it.",
            remedy=f"Check sources.{self.name}.projects (keys, not names), and that the account may browse them.",
        )

    def _bad_query(self, error: SourceError) -> SourceError:
        said = messages(error)
        return SourceError(
            f"Source {self.name}: Jira refuses the query" + (f": {said}" if said else "."),
            remedy=f"Try sources.{self.name}.jql in Jira's own search, as the same user.",
        )


def _with_first(first: Item | None, items: Iterator[Item]) -> Iterator[Item]:
    if first is not None:
        yield first
    yield from items


def _batches(ids: Iterable[str], size: int) -> Iterator[list[str]]:
    source = iter(ids)
    while batch := list(islice(source, size)):
        yield batch
