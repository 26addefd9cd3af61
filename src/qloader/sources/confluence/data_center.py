"""Confluence Data Center and Server: REST v1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from qloader.errors import SourceError
from qloader.sources.atlassian.answers import text_of
from qloader.sources.atlassian.moments import utc_text
from qloader.sources.atlassian.paging import OffsetPage, by_offset
from qloader.sources.atlassian.site import Site, is_missing, is_refused
from qloader.sources.confluence.content import Above, Content, File, Row, Space, as_file, labels_of, stored_text
from qloader.sources.confluence.settings import ConfluenceSettings, Kind

_LISTED = 500
"""What a listing asks for at once; the server lowers it as it likes, 200 being usual."""

_BODIES = 100
"""What is asked for at once with bodies; the server lowers this too."""

_FACTS = "version,space,ancestors,metadata.labels"
_WHOLE = f"body.storage,history,{_FACTS}"


class DataCenterEdition:
    """Asks a server of one's own."""

    batch = _BODIES

    def __init__(self, site: Site, settings: ConfluenceSettings) -> None:
        self._site = site
        self._settings = settings
        self._has_scan: bool | None = None

    def identity(self) -> str:
        """The server's id, which its application links are known by."""
        return str(self._site.get("/rest/applinks/1.0/manifest").get("id", ""))

    def open_spaces(self, problems: list[str]) -> Sequence[Space]:
        """The spaces of the settings, or those of the roots. Whether they exist is seen when they are listed."""
        del problems
        keys = set(self._settings.spaces)
        if not keys:
            keys = {row.space for row in self.find_rows(self._settings.roots, "page")}
        return [Space(key, key) for key in sorted(keys)]

    def has(self, space: Space) -> bool:
        """Whether a page of the space can be asked for."""
        try:
            self._site.get("/rest/api/content", [("spaceKey", space.key), ("type", "page"), ("limit", 1)])
        except SourceError as error:
            if is_missing(error):
                return False
            raise
        return True

    def rows(self, space: Space, kind: Kind) -> Iterator[Row]:
        """Lists a space, by a cursor where the server has one (from 7.18 on)."""
        for status in self._settings.statuses:
            params = [("spaceKey", space.key), ("type", kind), ("status", status), ("expand", _FACTS)]
            for content in self._scan([*params, ("limit", _LISTED)]):
                yield _row(content, kind)

    def find_rows(self, ids: Sequence[str], kind: Kind) -> Iterable[Row]:
        """Looks up single pages, as a listing would show them."""
        return [_row(content, kind) for content in self._bulk(ids, kind, _FACTS)]

    def as_listed(self, row: Row) -> Row:
        """The row as it is: a listing tells of all labels."""
        return row

    def contents(self, ids: Sequence[str], kind: Kind) -> dict[str, Content]:
        """Bodies, labels and authors of many pages."""
        found = {}
        for content in self._bulk(ids, kind, _WHOLE):
            row = _row(content, kind)
            history = content.get("history", {})
            text = stored_text(content)
            found[row.id] = Content(
                row=row,
                body=text or "",
                author=history.get("createdBy", {}).get("displayName"),
                created=utc_text(history.get("createdDate")),
                updated_at=utc_text(content["version"].get("when")),
                link=content.get("_links", {}).get("webui") or f"/pages/viewpage.action?pageId={row.id}",
                has_body=text is not None,
            )
        return found

    def file(self, page: str, kind: Kind, name: str) -> File | None:
        """An attachment by its name."""
        del kind
        params = [("filename", name), ("expand", "version")]
        try:
            results = self._site.results(f"/rest/api/content/{page}/child/attachment", params)
            found = [one for one in results if one["title"] == name]
        except SourceError as error:
            if is_missing(error):
                return None
            raise
        return as_file(found[0], page) if found else None

    def user_names(self, ids: Sequence[str]) -> dict[str, str]:
        """Display names by user key, asked for once."""
        return self._site.names(ids, self._look_up_users)

    def _look_up_users(self, ids: Sequence[str]) -> dict[str, str]:
        names = self._site.map(self._look_up_user, ids)
        return {one: name for one, name in zip(ids, names, strict=True) if name}

    def _look_up_user(self, key: str) -> str:
        try:
            return str(self._site.get("/rest/api/user", [("key", key)]).get("displayName") or "")
        except SourceError as error:
            if self._site.hides(error):
                return ""
            raise

    def _scan(self, params: list[tuple[str, Any]]) -> Iterator[dict[str, Any]]:
        if self._has_scan is not False:
            results = self._site.results("/rest/api/content/scan", params)
            try:
                first = next(results, None)
            except SourceError as error:
                # A server that is too old refuses as it refuses a space that is not there.
                if self._has_scan or not (is_missing(error) or is_refused(error)):
                    raise
                self._has_scan = False
            else:
                self._has_scan = True
                if first is not None:
                    yield first
                    yield from results
                return
        yield from by_offset(lambda start: self._load(start, params))

    def _load(self, start: int, params: list[tuple[str, Any]]) -> OffsetPage[dict[str, Any]]:
        answer = self._site.get("/rest/api/content", [*params, ("start", start)])
        entries = [(int(content["id"]), content) for content in answer["results"]]
        following = answer.get("_links", {}).get("next")
        at = parse_qs(urlsplit(following).query).get("start", [""])[0] if following else ""
        # Only a missing link is the end: a server that lowers `limit`, or hides pages, sends short pages before it.
        if not following:
            return OffsetPage(entries, None)
        onward = int(at) if at.isdigit() else start + len(entries)
        if onward <= start:
            raise self._site.circle("/rest/api/content")
        return OffsetPage(entries, onward)

    def _bulk(self, ids: Sequence[str], kind: Kind, expand: str) -> list[dict[str, Any]]:
        """Many pages by the search, which does not know the newest nor archived ones; those one by one."""
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(ids), _BODIES):
            some = ids[start : start + _BODIES]
            params = [("cql", f"id in ({','.join(some)})"), ("expand", expand), ("limit", len(some))]
            found |= {text_of(one["id"]): one for one in self._site.results("/rest/api/content/search", params)}
        missing = [one for one in ids if one not in found]
        singles = self._site.map(lambda one: self._one(one, expand), missing)
        every = (*found.values(), *(content for content in singles if content is not None))
        return [one for one in every if one["type"] == kind and one["status"] in self._settings.statuses]

    def _one(self, one: str, expand: str) -> dict[str, Any] | None:
        params = [("expand", expand), *(("status", status) for status in self._settings.statuses)]
        try:
            return dict(self._site.get(f"/rest/api/content/{one}", params))
        except SourceError as error:
            if is_missing(error):
                return None
            raise


def _row(content: dict[str, Any], kind: Kind) -> Row:
    above = tuple(Above(text_of(one["id"]), one.get("title", "")) for one in content.get("ancestors", ()))
    version = int(content["version"]["number"])
    space = text_of(content["space"]["key"])
    return Row(
        text_of(content["id"]), kind, content["title"], version, content["status"], space, above, labels_of(content)
    )
