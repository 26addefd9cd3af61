"""What a Confluence site holds, in memory, with the ways in which people change it."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from servers.atlassian import Account, Traffic


@dataclass
class Comment:
    """A footer comment; `parent` is the comment that it answers."""

    id: str
    body: str
    author: str
    version: int
    created: datetime
    modified: datetime
    parent: str | None = None


@dataclass
class Attachment:
    """A file on a page."""

    id: str
    name: str
    data: bytes
    media_type: str
    version: int
    modified: datetime


@dataclass
class Page:
    """A page or blog post (`type`) in a space, or a folder."""

    id: str
    space: str
    title: str
    body: str
    author: str
    created: datetime
    modified: datetime
    type: str = "page"
    parent: str | None = None
    version: int = 1
    status: str = "current"
    labels: list[str] = field(default_factory=list)
    restricted: bool = False
    comments: list[Comment] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)


@dataclass
class Space:
    """A space; `hidden` where the account has no permission to see it."""

    id: str
    key: str
    name: str
    hidden: bool = False


class Confluence:
    """A site's content.

    Attributes:
        account: Who may ask.
        users: Display names by account id (Cloud) or user key (Data Center).
        now: The site's clock; each edit moves it on by a minute.
        cloud_id: The id of the site (Cloud), or of the server.
        max_limit: What `limit` is lowered to.
        unindexed: Ids that the search does not find yet.
        held: Pages by id as the body endpoints still answer them; the listings are ahead of these.
    """

    def __init__(self, *, max_limit: int = 250, account: Account | None = None) -> None:
        self.account = account or Account()
        self.users = {self.account.id: self.account.name, "auth-1": "Ada Author", "auth-2": "Ben Böhm"}
        self.now = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)
        self.cloud_id = "11223344-a1b2-3b33-c444-def123456789"
        self.max_limit = max_limit
        self.unindexed: set[str] = set()
        self.held: dict[str, Page] = {}
        self.spaces: dict[str, Space] = {}
        self.pages: dict[str, Page] = {}
        self.traffic = Traffic()
        self._next_id = 1000

    def add_space(self, key: str, name: str = "") -> Space:
        """A new space."""
        space = Space(self._new_id(), key, name or key.title())
        self.spaces[key] = space
        return space

    def add(self, space: str, title: str, body: str = "", *, parent: str | None = None, type: str = "page") -> str:
        """A new page; returns its id."""
        if space not in self.spaces:
            self.add_space(space)
        page = Page(
            self._new_id(), space, title, body or f"<p>About {title}.</p>", "auth-1", self.now, self.now, type, parent
        )
        self.pages[page.id] = page
        return page.id

    def add_many(self, space: str, count: int) -> list[str]:
        """So many pages that are all different, all below the first."""
        home = self.add(space, f"{space} home")
        return [home] + [
            self.add(space, f"Page {n}", f"<p>Page {n} tells of lamp {n * 7} and its garden.</p>", parent=home)
            for n in range(1, count)
        ]

    def edit(self, page_id: str, body: str | None = None, *, title: str | None = None, bump: bool = True) -> None:
        """A new version of a page."""
        page = self.pages[page_id]
        page.body = page.body if body is None else body
        page.title = title or page.title
        self._touch(page, bump=bump)

    def move(self, page_id: str, *, parent: str | None = None, space: str | None = None) -> None:
        """Puts a page elsewhere, with all below it; that raises no version."""
        page = self.pages[page_id]
        page.parent = parent
        if space is not None:
            for one in (page, *self.below(page_id)):
                one.space = space

    def label(self, page_id: str, *labels: str) -> None:
        """Sets a page's labels; that raises no version."""
        self.pages[page_id].labels = list(labels)

    def set_status(self, page_id: str, status: str) -> None:
        """Trashes, archives or restores a page."""
        self.pages[page_id].status = status

    def purge(self, page_id: str) -> None:
        """Deletes a page for good."""
        del self.pages[page_id]

    def restrict(self, page_id: str, restricted: bool = True) -> None:
        """Takes the account's permission to see a page, or gives it back."""
        self.pages[page_id].restricted = restricted

    def comment(self, page_id: str, body: str, *, parent: str | None = None) -> str:
        """A new footer comment; the page's version stays."""
        comment = Comment(self._new_id(), body, "auth-2", 1, self.tick(), self.now, parent)
        self.pages[page_id].comments.append(comment)
        return comment.id

    def edit_comment(self, page_id: str, comment_id: str, body: str) -> None:
        """A new version of a comment; the page's version stays."""
        comment = next(one for one in self.pages[page_id].comments if one.id == comment_id)
        comment.body, comment.version, comment.modified = body, comment.version + 1, self.tick()

    def attach(self, page_id: str, name: str, data: bytes, media_type: str = "text/plain") -> None:
        """A new file on a page, or a new version of it; the page's version stays."""
        page = self.pages[page_id]
        found = next((one for one in page.attachments if one.name == name), None)
        if found is None:
            page.attachments.append(Attachment(f"att{self._new_id()}", name, data, media_type, 1, self.tick()))
        else:
            found.data, found.version, found.modified = data, found.version + 1, self.tick()

    def hold_bodies(self) -> None:
        """From now on bodies are answered as they are now, whatever the listing says, until `held` is cleared."""
        self.held = deepcopy(self.pages)

    def tick(self) -> datetime:
        """Moves the clock on by a minute."""
        self.now += timedelta(minutes=1)
        return self.now

    def visible(self, *, type: str | None = None, space: str | None = None) -> Iterator[Page]:
        """What the account can see, in the order of ids."""
        for page in list(self.pages.values()):
            if page.restricted or self.spaces[page.space].hidden:
                continue
            if (type is None or page.type == type) and (space is None or page.space == space):
                yield page

    def read(self, page_id: str) -> Page | None:
        """A page as the body endpoints see it."""
        page = self.pages.get(page_id)
        if page is None or page.restricted or self.spaces[page.space].hidden:
            return None
        return self.held.get(page_id, page)

    def ancestors(self, page: Page) -> list[Page]:
        """The visible pages and folders above a page, outermost first."""
        found: list[Page] = []
        above = page.parent
        while above is not None and (parent := self.pages.get(above)) is not None:
            if not parent.restricted:
                found.insert(0, parent)
            above = parent.parent
        return found

    def below(self, page_id: str) -> list[Page]:
        """All pages below a page."""
        found = [page for page in self.pages.values() if page.parent == page_id]
        return found + [deeper for page in found for deeper in self.below(page.id)]

    def _touch(self, page: Page, *, bump: bool) -> None:
        page.version += bump
        page.modified = self.tick()

    def _new_id(self) -> str:
        self._next_id += 1
        return str(self._next_id)
