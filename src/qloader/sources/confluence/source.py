"""The `confluence` source: a site's pages, and what else is asked for, by id."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple
from zoneinfo import ZoneInfo

from qloader.counting import counted
from qloader.documents.document import Document, Skipped
from qloader.documents.hashing import fingerprint
from qloader.documents.reading import read_document, too_large
from qloader.errors import SourceError
from qloader.sources.atlassian.answers import text_of
from qloader.sources.atlassian.moments import begin_earlier, find_zone
from qloader.sources.atlassian.site import Site, is_missing
from qloader.sources.atlassian.source import AtlassianSource, Result, with_first
from qloader.sources.confluence import search
from qloader.sources.confluence.cloud import CloudEdition
from qloader.sources.confluence.content import BLOG, Comment, Content, Edition, Row, Space, miss
from qloader.sources.confluence.data_center import DataCenterEdition
from qloader.sources.confluence.reading import READER, Reader, is_text
from qloader.sources.confluence.settings import ConfluenceSettings, Kind
from qloader.sources.http.errors import CredentialsError, LoginPageError
from qloader.sources.protocol import Item, Listing, only_since

_FILE_WEIGHT = 25
"""An attachment costs requests of its own, so that few of them make a batch."""

_WITHOUT_TEXT = "the server answers without its text"
_OUTDATED = "the server still answers with an older version than it lists, or it was changed meanwhile"


class _Listed(NamedTuple):
    """What a listing said of a page or file, so that nothing else is taken for it.

    Attributes:
        version: Its version.
        details: What may change without a new one; empty for a file, of which that is nothing.
        comments: A fingerprint of its comments; empty where it has none, or none are read.
    """

    version: int
    details: str = ""
    comments: str = ""


class ConfluenceSource(AtlassianSource):
    """Reads a site as it is now."""

    type = "confluence"

    def __init__(self, name: str, settings: ConfluenceSettings, site: Site) -> None:
        self.name = name
        self.settings = settings
        self._edition: Edition = (
            CloudEdition(site, settings) if settings.deployment == "cloud" else DataCenterEdition(site, settings)
        )
        self._reader = Reader(settings, self._edition)
        super().__init__(site, settings.url, self._edition, self._reader)
        self._listed: dict[str, _Listed] = {}

    def selection(self) -> str:
        """A fingerprint of all settings that shape the documents; who asks does not."""
        settings = self.settings
        return fingerprint(
            {
                "reader": READER,
                "url": settings.url,
                "comments": settings.comments,
                "attachments": settings.attachments,
                "max_bytes": settings.max_bytes,
                "metadata": dict(settings.metadata),
            }
        )

    def list(self) -> Listing:
        """Lists ids with change tokens, without a body.

        Raises:
            SourceError: Nothing can be listed: the site cannot be reached, refuses, or has none of the spaces.
        """
        listing = Listing()
        self._listed.clear()
        with self._site.understanding("the list of spaces"):
            spaces = self._edition.open_spaces(listing.problems)
        if not spaces:
            raise self._no_spaces()
        items = self._items(spaces, listing)
        # The first item is waited for here, so that what is wrong from the start is an error and no problem.
        first = next(items, None)
        listing.items = with_first(first, items)
        return listing

    def changed_since(self, since: datetime) -> Listing:
        """Lists what was changed since a moment, and a little more; never complete.

        Args:
            since: The moment, with an offset.

        Raises:
            SourceError: As `list`.
        """
        moment = begin_earlier(since)
        listing = Listing(problems=[only_since(since)])
        with self._site.understanding("the search"):
            spaces = self._edition.open_spaces(listing.problems)
            if not spaces:
                raise self._no_spaces()
            changed = list(search.changed_since(self._site, [s.key for s in spaces], moment, self._zone()))
            items = list(self._changed_items(changed, listing))
        listing.items = iter(items)
        return listing

    def check(self) -> str:
        """Looks whether the settings work: who asks, which spaces there are, how much is in them. One line.

        Raises:
            SourceError: They do not.
        """
        problems: list[str] = []
        with self._site.understanding("the site"):
            account = self._site.account("/rest/api/user/current").get("displayName") or "anonymous"
            found = self._edition.open_spaces(problems)
            spaces = [space for space in found if self._edition.has(space)]
            for space in found:
                if space not in spaces:
                    miss(problems, space.key)
            if not spaces:
                raise self._no_spaces("; ".join(problems))
            if problems:
                raise SourceError(
                    f"Source {self.name}: some of its spaces cannot be read: {'; '.join(problems)}.",
                    remedy=self._check_the_spaces,
                )
            keys = [space.key for space in spaces]
            pages = search.count(self._site, f"{search.in_spaces(keys)} and type in ({', '.join(self.settings.kinds)})")
        return f"confluence, {counted(pages, 'page')} in {', '.join(keys)}, as {account}"

    def _items(self, spaces: Sequence[Space], listing: Listing) -> Iterator[Item]:
        any_listed = False
        for number, space in enumerate(spaces, 1):
            try:
                with self._site.understanding(f"the list of {space.key}"):
                    for item in self._items_of(space, listing):
                        any_listed = True
                        yield item
            except (CredentialsError, LoginPageError):
                if not any_listed:
                    raise
                listing.problems.append(f"the space {space.key} was not listed to its end: access was refused midway")
                return
            except SourceError as error:
                if is_missing(error):
                    if not any_listed and number == len(spaces):
                        raise self._no_spaces(str(error)) from error
                    miss(listing.problems, space.key)
                elif not any_listed and number == len(spaces):
                    raise
                else:
                    listing.problems.append(f"the space {space.key} was not listed to its end: {error}")

    def _items_of(self, space: Space, listing: Listing) -> Iterator[Item]:
        settings = self.settings
        comments = search.comments_in(self._site, search.in_spaces([space.key])) if settings.comments else {}
        selected: set[str] = set()
        for kind in settings.kinds:
            for row in self._edition.rows(space, kind):
                if self._selects(row):
                    selected.add(row.id)
                    yield self._item(row, comments.get(row.id, ""))
        if settings.attachments:
            yield from self._files(search.in_spaces([space.key]), selected, listing)

    def _changed_items(self, changed: Sequence[dict[str, object]], listing: Listing) -> Iterator[Item]:
        """The items of what a search found: a comment or attachment stands for the page that it is on."""
        ids: defaultdict[str, set[str]] = defaultdict(set)
        files: set[str] = set()
        for content in changed:
            its_type, its_id = str(content["type"]), text_of(content["id"])
            container = content.get("container")
            if its_type in ("page", "blogpost"):
                ids[its_type].add(its_id)
            elif isinstance(container, dict) and container.get("type") in ("page", "blogpost"):
                if its_type == "comment" and self.settings.comments:
                    ids[container["type"]].add(text_of(container["id"]))
                elif its_type == "attachment" and self.settings.attachments:
                    files.add(text_of(container["id"]))
                    ids[container["type"]].add(text_of(container["id"]))
        for kind in self.settings.kinds:
            wanted = sorted(ids[kind], key=int)
            prints = search.comment_prints(self._site, wanted) if self.settings.comments else {}
            selected = set()
            for row in self._edition.find_rows(wanted, kind):
                if self._selects(row):
                    selected.add(row.id)
                    yield self._item(row, prints.get(row.id, ""))
            on_pages = sorted(files & selected, key=int)
            if on_pages:
                yield from self._files(f"container in ({','.join(on_pages)})", selected, listing)

    def _files(self, restriction: str, selected: set[str], listing: Listing) -> Iterator[Item]:
        for file, kind in search.files_in(self._site, restriction):
            document_id = f"{BLOG if kind == 'blogpost' else ''}{file.page}/{file.name}"
            if file.page not in selected:
                continue
            if file.size > self.settings.max_bytes:
                listing.skipped.append(too_large(document_id, file.size, self.settings.max_bytes))
            elif not is_text(file.name, file.media_type):
                listing.skipped.append(Skipped(document_id, "binary", file.media_type))
            else:
                self._listed[document_id] = _Listed(file.version)
                yield Item(document_id, f"{file.version}-{fingerprint([file.media_type])}")

    def _item(self, row: Row, comments: str) -> Item:
        self._listed[row.document_id] = _Listed(row.version, row.details, comments)
        return Item(row.document_id, row.token(comments))

    def _selects(self, row: Row) -> bool:
        settings = self.settings
        if row.status not in settings.statuses:
            return False
        labels = {label.lower() for label in row.labels or ()}
        if settings.labels and not labels.intersection(label.lower() for label in settings.labels):
            return False
        if labels.intersection(label.lower() for label in settings.exclude_labels):
            return False
        if not settings.roots or row.kind == "blogpost":
            return True
        return row.id in settings.roots or any(above.id in settings.roots for above in row.above)

    def _batches(self, ids: Iterable[str]) -> Iterator[Sequence[str]]:
        return _batches(ids, self._edition.batch)

    def _read_together(self, ids: Sequence[str]) -> Sequence[tuple[str, Result]]:
        contents: dict[str, Content] = {}
        for kind in ("page", "blogpost"):
            asked = [
                one.removeprefix(BLOG) for one in ids if _kind_of(one) == kind and "/" not in one.removeprefix(BLOG)
            ]
            numbers = [one for one in asked if one.isascii() and one.isdigit()]
            if numbers:
                found = self._edition.contents(numbers, kind)
                outdated = [one for one, content in found.items() if self._is_outdated(content)]
                if outdated:
                    found |= self._edition.contents(outdated, kind)
                contents |= {content.row.document_id: content for content in found.values()}
        contents = {one: content for one, content in contents.items() if self._is_in_its_spaces(content)}
        usable = {
            one: content for one, content in contents.items() if content.has_body and not self._is_outdated(content)
        }
        comments = {}
        if self.settings.comments and usable:
            comments = search.comments_on(self._site, [content.row.id for content in usable.values()])
            usable = {one: its for one, its in usable.items() if not self._has_other_comments(its, comments)}
        names = self._reader.names(usable.values(), comments)
        results: list[tuple[str, Result]] = []
        for one in ids:
            if one in usable:
                content = usable[one]
                read = partial(self._reader.read, content, comments.get(content.row.id, ()), names)
                results.append((one, read))
            elif one in contents:
                why = _OUTDATED if contents[one].has_body else _WITHOUT_TEXT
                results.append((one, Skipped(one, "unreadable", why)))
            elif "/" in one.removeprefix(BLOG):
                results.append((one, self._read_file(one)))
            else:
                results.append((one, Skipped(one, "vanished")))
        return results

    def _is_outdated(self, content: Content) -> bool:
        """Whether this is not what was listed: an older version, or the same one in another place or with other labels.

        The latter may as well be newer. But what is read is kept under the token of what was listed: if all is changed
        back before the next listing, nothing would say that it was read in between.
        """
        row, listed = self._edition.as_listed(content.row), self._listed.get(content.row.document_id)
        if listed is None or row.version > listed.version:
            return False
        return row.version < listed.version or row.details != listed.details

    def _has_other_comments(self, content: Content, comments: Mapping[str, Sequence[Comment]]) -> bool:
        """Whether a page in the version that was listed has other comments now."""
        row, listed = content.row, self._listed.get(content.row.document_id)
        if listed is None or row.version > listed.version:
            return False
        return listed.comments != search.comments_print(comments.get(row.id, ()))

    def _is_in_its_spaces(self, content: Content) -> bool:
        return not self.settings.spaces or content.row.space in self.settings.spaces

    def _read_file(self, document_id: str) -> Document | Skipped:
        page, _, name = document_id.removeprefix(BLOG).partition("/")
        kind = _kind_of(document_id)
        file = self._edition.file(page, kind, name) if page.isascii() and page.isdigit() else None
        if file is None:
            return Skipped(document_id, "vanished")
        listed = self._listed.get(document_id)
        if listed is not None and file.version < listed.version:
            return Skipped(document_id, "unreadable", _OUTDATED)
        data = self._site.download(file.link, self.settings.max_bytes)
        if data is None:
            return Skipped(document_id, "vanished")
        return read_document(
            document_id,
            data,
            path=name,
            revision=str(file.version),
            uri=f"{self.settings.url}{file.link.partition('?')[0]}" if "://" not in file.link else file.link,
            updated_at=file.updated_at,
            extra_metadata={"type": "attachment", "page": page, **self.settings.metadata},
            max_bytes=self.settings.max_bytes,
        )

    def _zone(self) -> ZoneInfo | None:
        if self.settings.time_zone is not None:
            return find_zone(self.settings.time_zone)
        return find_zone(self._site.account("/rest/api/user/current").get("timeZone"))

    def _no_spaces(self, why: str = "") -> SourceError:
        spaces = ", ".join(self.settings.spaces) or "those of its roots"
        return SourceError(
            f"Source {self.name}: none of its spaces can be read ({spaces})"
            + (f": {why.rstrip('.')}." if why else "."),
            remedy=self._check_the_spaces,
        )

    @property
    def _check_the_spaces(self) -> str:
        return f"Check sources.{self.name}.spaces (keys, not names), and that the account sees them in a browser."


def _kind_of(document_id: str) -> Kind:
    return "blogpost" if document_id.startswith(BLOG) else "page"


def _batches(ids: Iterable[str], size: int) -> Iterator[list[str]]:
    batch: list[str] = []
    weight = 0
    for one in ids:
        its = _FILE_WEIGHT if "/" in one.removeprefix(BLOG) else 1
        if batch and weight + its > size:
            yield batch
            batch, weight = [], 0
        batch.append(one)
        weight += its
    if batch:
        yield batch
