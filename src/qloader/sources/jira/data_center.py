"""Jira Data Center and Server: REST v2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from qloader.counting import counted
from qloader.sources.atlassian.paging import OffsetPage, by_offset
from qloader.sources.atlassian.site import Site
from qloader.sources.jira.issues import Found, Row, issues_of, row_of
from qloader.sources.jira.settings import JiraSettings, quoted

_BULK = 100


class DataCenterEdition:
    """Asks a server of one's own."""

    api = "/rest/api/2"
    batch = _BULK

    def __init__(self, site: Site, settings: JiraSettings) -> None:
        self._site = site
        self._settings = settings

    def identity(self) -> str:
        """The server's id, which its application links are known by."""
        return str(self._site.get("/rest/applinks/1.0/manifest").get("id", ""))

    def rows(self, jql: str, problems: list[str]) -> Iterator[Row]:
        """Lists by offset, in the order of ids, until there are as many as the server says last.

        The list may be in the order of projects, so that a new issue comes to stand in front of the reader: where one
        is missing, it is gone through once more.
        """
        total = 0
        seen: set[int] = set()

        def load(start: int) -> OffsetPage[Row]:
            nonlocal total
            asked = {"jql": f"{jql} ORDER BY id ASC", "fields": ["updated"], "maxResults": self._settings.page_size}
            answer = self._search({**asked, "startAt": start})
            rows = [row_of(issue) for issue in answer["issues"]]
            total = int(answer["total"])
            following = start + len(rows)
            return OffsetPage([(row.number, row) for row in rows], following if rows and following < total else None)

        for _ in range(2):
            for row in by_offset(load):
                if row.number not in seen:
                    seen.add(row.number)
                    yield row
            if len(seen) >= total:
                return
        problems.append(f"the server counts {counted(total, 'issue')}, but listed {len(seen):,}")

    def issues(self, keys: Sequence[str], numbers: Sequence[int], expand: Sequence[str]) -> Found:
        """Issues by the search, told not to stumble over keys that are gone."""
        del numbers
        asked: dict[str, Any] = {
            "jql": f"key in ({', '.join(quoted(key) for key in keys)}) ORDER BY id ASC",
            "fields": ["*all"],
            "maxResults": len(keys),
            "validateQuery": False,
        }
        if expand:
            asked["expand"] = list(expand)
        found = Found()
        start = 0
        while True:
            answer = self._search({**asked, "startAt": start})
            found.issues |= issues_of(answer)
            start += len(answer["issues"])
            if not answer["issues"] or start >= int(answer["total"]):
                return found

    def histories(self, number: int) -> Sequence[dict[str, Any]]:
        """The whole changelog: here it comes with the issue."""
        answer = self._site.get(f"{self.api}/issue/{number}", [("fields", "updated"), ("expand", "changelog")])
        return list(answer.get("changelog", {}).get("histories", ()))

    def count(self, jql: str) -> int:
        """How many issues a query finds."""
        return int(self._search({"jql": jql, "fields": ["updated"], "maxResults": 1})["total"])

    def _search(self, asked: dict[str, Any]) -> dict[str, Any]:
        return self._site.post(f"{self.api}/search", asked)
