"""Jira Cloud: REST v3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from qloader.errors import SourceError
from qloader.sources.atlassian.answers import shown
from qloader.sources.atlassian.site import Site, is_missing, is_refused
from qloader.sources.jira.issues import Found, Issue, Row, issues_of, row_of
from qloader.sources.jira.settings import JiraSettings, quoted

_BULK = 100
"""Issues that are given at once with all their fields."""

_RECONCILED = 50
"""Issues that one search can be made to look up anew."""

_HISTORIES = 100


class CloudEdition:
    """Asks a Cloud site."""

    api = "/rest/api/3"
    batch = _BULK

    def __init__(self, site: Site, settings: JiraSettings) -> None:
        self._site = site
        self._settings = settings
        self._has_bulk = True

    def identity(self) -> str:
        """The cloud id."""
        return str(self._site.get_at_origin("/_edge/tenant_info").get("cloudId", ""))

    def rows(self, jql: str, problems: list[str]) -> Iterator[Row]:
        """Lists by tokens until the server says that this was the last page; how long one is says nothing."""
        seen: set[int] = set()
        tokens: set[str] = set()
        token = ""
        while True:
            asked = {"jql": f"{jql} ORDER BY id ASC", "fields": ["updated"], "maxResults": self._settings.page_size}
            answer = self._search(asked | ({"nextPageToken": token} if token else {}))
            for issue in answer["issues"]:
                row = row_of(issue)
                if row.number not in seen:
                    seen.add(row.number)
                    yield row
            token = answer.get("nextPageToken") or ""
            if answer.get("isLast") is True or not token:
                if answer.get("isLast") is False:
                    problems.append("the server broke the list off: it says that more follows, but not where")
                return
            if token in tokens:
                raise self._site.circle(f"{self.api}/search/jql")
            tokens.add(token)

    def issues(self, keys: Sequence[str], numbers: Sequence[int], expand: Sequence[str]) -> Found:
        """Issues from the database, not from the search, which lags behind it."""
        if self._has_bulk:
            asked = {"issueIdsOrKeys": list(keys), "fields": ["*all"], "expand": list(expand)}
            try:
                answer = self._site.post(f"{self.api}/issue/bulkfetch", asked)
            except SourceError as error:
                if not is_missing(error):
                    raise
                self._has_bulk = False
            else:
                found = Found(issues_of(answer))
                for failure in answer.get("issueErrors") or ():
                    found.failed[str(failure.get("id"))] = shown([failure.get("errorMessage")]) or "the server failed"
                return found
        found = Found()
        for start in range(0, len(keys), _RECONCILED):
            some = keys[start : start + _RECONCILED]
            found.issues |= self._searched(some, numbers[start : start + _RECONCILED], expand)
        return found

    def histories(self, number: int) -> Sequence[dict[str, Any]]:
        """The whole changelog, oldest first."""
        found: list[dict[str, Any]] = []
        while True:
            params = [("startAt", len(found)), ("maxResults", _HISTORIES)]
            answer = self._site.get(f"{self.api}/issue/{number}/changelog", params)
            found.extend(answer["values"])
            if answer.get("isLast") is True or not answer["values"] or len(found) >= int(answer["total"]):
                return found

    def count(self, jql: str) -> int:
        """About how many issues a query finds."""
        return int(self._site.post(f"{self.api}/search/approximate-count", {"jql": jql})["count"])

    def _search(self, asked: dict[str, Any]) -> dict[str, Any]:
        return self._site.post(f"{self.api}/search/jql", asked)

    def _searched(self, keys: Sequence[str], numbers: Sequence[int], expand: Sequence[str]) -> dict[str, Issue]:
        """Issues by the search, brought up to date. It refuses a query that names an issue that is gone."""
        asked: dict[str, Any] = {
            "jql": f"key in ({', '.join(quoted(key) for key in keys)}) ORDER BY id ASC",
            "fields": ["*all"],
            "maxResults": _BULK,
        }
        if expand:
            asked["expand"] = ",".join(expand)
        if numbers:
            asked["reconcileIssues"] = list(numbers)
        found: dict[str, Issue] = {}
        tokens: set[str] = set()
        try:
            while True:
                answer = self._search(asked)
                found |= issues_of(answer)
                token = answer.get("nextPageToken")
                if answer.get("isLast") is True or not token:
                    return found
                if token in tokens:
                    raise self._site.circle(f"{self.api}/search/jql")
                tokens.add(token)
                asked["nextPageToken"] = token
        except SourceError as error:
            if not is_refused(error):
                raise
            if len(keys) == 1:
                return {}
        middle = len(keys) // 2
        halves = (keys[:middle], numbers[:middle]), (keys[middle:], numbers[middle:])
        return {key: issue for half in halves for key, issue in self._searched(*half, expand).items()}
