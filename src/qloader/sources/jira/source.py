"""The `jira` source: issues by their keys.

A document's id is the issue's key, so that a key that changes with its project is one document gone and another one
come, with the same text: a move. The token holds the issue's own number too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from qloader.counting import counted
from qloader.documents.document import Skipped
from qloader.documents.hashing import fingerprint
from qloader.errors import SourceError
from qloader.sources.atlassian.answers import why_refused
from qloader.sources.atlassian.moments import begin_earlier, find_zone, minute_in_zone, utc_text
from qloader.sources.atlassian.site import Site, is_missing, is_refused
from qloader.sources.atlassian.source import AtlassianSource, Result, with_first
from qloader.sources.jira.cloud import CloudEdition
from qloader.sources.jira.data_center import DataCenterEdition
from qloader.sources.jira.fields import CustomField, custom_fields
from qloader.sources.jira.issues import Edition, Found, Issue, Row
from qloader.sources.jira.reading import READER, Reader
from qloader.sources.jira.settings import JiraSettings
from qloader.sources.protocol import Item, Listing, only_since

_COMMENTS = 1000
_OUTDATED = "the server still answers with an older version than it lists"


class JiraSource(AtlassianSource):
    """Reads a site's issues as they are now."""

    type = "jira"

    def __init__(self, name: str, settings: JiraSettings, site: Site) -> None:
        self.name = name
        self.settings = settings
        self._edition: Edition = (
            CloudEdition(site, settings) if settings.deployment == "cloud" else DataCenterEdition(site, settings)
        )
        self._reader = Reader(settings)
        super().__init__(site, settings.url, self._edition, self._reader)
        self._listed: dict[str, Row] = {}
        self._custom: Sequence[CustomField] | None = None
        self._lock = threading.Lock()

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
        return f"jira, {counted(count, 'issue')}{where}, as {account}"

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
        listing.items = with_first(first, items)
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

    def _batches(self, ids: Iterable[str]) -> Iterator[Sequence[str]]:
        source = iter(ids)
        while batch := list(islice(source, self._edition.batch)):
            yield batch

    def _read_together(self, keys: Sequence[str]) -> Sequence[tuple[str, Result]]:
        custom = self._custom_fields()
        found = self._load(keys)
        outdated = [key for key, issue in found.issues.items() if self._is_outdated(issue)]
        if outdated:
            found.issues |= self._load(outdated).issues
        results: list[tuple[str, Result]] = []
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
        said = why_refused(error)
        return SourceError(
            f"Source {self.name}: Jira refuses the query" + (f": {said}" if said else "."),
            remedy=f"Try sources.{self.name}.jql in Jira's own search, as the same user.",
        )
