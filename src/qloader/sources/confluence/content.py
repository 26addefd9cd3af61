"""What a Confluence site says, in the same words whichever edition it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from qloader.documents.hashing import fingerprint
from qloader.sources.atlassian.answers import text_of
from qloader.sources.atlassian.moments import utc_text
from qloader.sources.confluence.settings import Kind

BLOG = "blog/"
"""What the id of a blog post begins with, so that whoever has the id alone knows where to ask."""


class Above(NamedTuple):
    """A page or folder above another one."""

    id: str
    title: str


class Row(NamedTuple):
    """One line of a listing.

    Attributes:
        id: The content's own id.
        kind: What it is.
        title: Its title.
        version: Rises with each edit; not with a move, nor with a label.
        status: `current` or `archived`.
        space: The key of its space.
        above: What it is below, outermost first.
        labels: Sorted; None where the listing does not tell.
    """

    id: str
    kind: Kind
    title: str
    version: int
    status: str
    space: str
    above: tuple[Above, ...]
    labels: tuple[str, ...] | None

    @property
    def document_id(self) -> str:
        """Its document id."""
        return BLOG + self.id if self.kind == "blogpost" else self.id

    @property
    def place(self) -> str:
        """A fingerprint of what it is called and where it is, which may change without a new version."""
        return fingerprint([self.title, self.status, self.space, [title for _, title in self.above]])

    @property
    def details(self) -> str:
        """A fingerprint of all that may change without a new version and stands in the row."""
        return fingerprint([self.place, self.labels])

    def token(self, comments: str) -> str:
        """The change token: the version, and a hash of what may change without one.

        Args:
            comments: A fingerprint of the content's comments, or empty.
        """
        return f"{self.version}-{fingerprint([self.place, self.labels, comments])}"


@dataclass(frozen=True, slots=True)
class Content:
    """A page or blog post with its body.

    Attributes:
        row: What a listing says of it; its labels are known here.
        body: Storage format.
        author: The name of who created it, or None.
        created: When, ISO 8601 in UTC.
        updated_at: When its version was made, likewise.
        link: Its address below the site's.
        has_body: False where the answer is without its text, which is not the same as an empty one.
    """

    row: Row
    body: str
    author: str | None
    created: str | None
    updated_at: str | None
    link: str
    has_body: bool


@dataclass(frozen=True, slots=True)
class Comment:
    """A footer comment; `page` is the id of the content that it stands below, `version` rises with each edit."""

    id: str
    page: str
    version: int
    author: str | None
    created: str | None
    body: str


@dataclass(frozen=True, slots=True)
class File:
    """An attachment.

    Attributes:
        page: The id of the content that it is attached to.
        name: Its file name.
        version: Rises with each upload.
        media_type: What the server says that it is.
        size: In bytes; 0 where the server does not tell.
        updated_at: When this version was uploaded, ISO 8601 in UTC.
        link: Where its bytes are, below the site.
    """

    page: str
    name: str
    version: int
    media_type: str
    size: int
    updated_at: str | None
    link: str


class Space(NamedTuple):
    """A space."""

    key: str
    id: str


class Edition(Protocol):
    """How one edition of Confluence is asked. Every call may raise a `SourceError`."""

    batch: int
    """How many bodies are asked for at once."""

    def open_spaces(self, problems: list[str]) -> Sequence[Space]:
        """The spaces to list; what is wrong with single ones is added to `problems`."""
        ...

    def has(self, space: Space) -> bool:
        """Whether a space is there, cheaply."""
        ...

    def rows(self, space: Space, kind: Kind) -> Iterator[Row]:
        """All content of a kind in a space."""
        ...

    def contents(self, ids: Sequence[str], kind: Kind) -> dict[str, Content]:
        """Content with bodies, by id; what is missing there is gone."""
        ...

    def find_rows(self, ids: Sequence[str], kind: Kind) -> Iterable[Row]:
        """What a listing would say of these."""
        ...

    def as_listed(self, row: Row) -> Row:
        """A row of `contents`, which has all labels, with those alone that a listing tells of."""
        ...

    def file(self, page: str, kind: Kind, name: str) -> File | None:
        """An attachment by its name."""
        ...

    def user_names(self, ids: Sequence[str]) -> dict[str, str]:
        """Display names by account id or user key; who is unknown is missing."""
        ...

    def identity(self) -> str:
        """The id of the site or server, or empty."""
        ...


def labels_of(content: dict[str, Any]) -> tuple[str, ...] | None:
    """The labels in a piece of content as `/rest/api` writes it; None where they were not expanded."""
    found = content.get("metadata", {}).get("labels", {}).get("results")
    return None if found is None else tuple(sorted(str(label["name"]) for label in found))


def miss(problems: list[str], space: str) -> None:
    """Notes that a space is not there."""
    problems.append(f"the space {space} does not exist, or this account may not see it")


def as_file(content: dict[str, Any], page: str) -> File:
    """An attachment as `/rest/api` writes it."""
    extensions = content.get("extensions", {})
    return File(
        page=page,
        name=text_of(content["title"]),
        version=int(content["version"]["number"]),
        media_type=extensions.get("mediaType") or content.get("metadata", {}).get("mediaType") or "",
        size=int(extensions.get("fileSize") or 0),
        updated_at=utc_text(content["version"].get("when")),
        link=content["_links"]["download"],
    )


def stored_text(content: Mapping[str, Any]) -> str | None:
    """The storage format that an answer brings along; None where it brings none."""
    body = (content.get("body") or {}).get("storage") or {}
    text = body.get("value")
    return text if isinstance(text, str) else None
