"""The document: one item of a source, read and normalised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Syntax = Literal["markdown", "text"]
"""How the chunker reads the text: Markdown has headings and fences, text has only paragraphs."""


@dataclass(frozen=True, slots=True)
class Document:
    """One item of a source, ready to be hashed and chunked.

    Attributes:
        id: Stable within its source, e.g. a path or a page number.
        title: What a person calls it; never empty (the id where nothing better is known).
        uri: Where a person opens it. Never an absolute path of this machine.
        text: Normalised by `documents.normalise.normalise_text`.
        metadata: JSON values by name; part of the metadata hash.
        revision: The source's change token as a plan may show it: the same on every machine.
        bytes: The size of what the source holds, before normalisation.
        updated_at: When the source last changed it, ISO 8601 in UTC, or None where the source cannot tell.
            Not part of any hash: a touched document is not a changed one.
        syntax: How the chunker reads the text.
    """

    id: str
    title: str
    uri: str
    text: str
    revision: str
    bytes: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    updated_at: str | None = None
    syntax: Syntax = "text"


@dataclass(frozen=True, slots=True)
class Skipped:
    """An item that a source lists but that is no document, or that could not be read.

    Attributes:
        id: The id it would have had.
        reason: One of `SKIP_REASONS`, the same words in plans, docs and tests.
        detail: What a person needs to see why, e.g. `12.3 MB, max_bytes is 10 MB`.
    """

    id: str
    reason: str
    detail: str = ""

    @property
    def is_failure(self) -> bool:
        """True where the item may well be a document, but could not be read just now.

        Its absence from a manifest proves nothing, so such a listing is not complete.
        """
        return self.reason in FAILURES


SKIP_REASONS = {
    "binary": "holds NUL bytes or a known binary format",
    "too large": "is over max_bytes",
    "undecodable": "is not text in UTF-8, UTF-16 or the encoding its BOM names",
    "link outside": "is a symbolic link that leads out of the root",
    "pointer": "is a Git LFS pointer, not the file itself",
    "submodule": "is a submodule, which is a source of its own",
    "bad name": "has a name that is not valid Unicode, or is another's but for its Unicode form",
    "unreadable": "could not be read: permission denied, an I/O error, or a server that failed",
    "vanished": "was listed but gone when it was read",
    "forbidden": "may not be read: the server wants a login, or other rights (401, 403); set or check `token`",
    "robots": "may not be read: robots.txt or the page itself says so",
    "elsewhere": "leads to a page that is none of this site",
    "no page": "answers with something else than a page",
    "no text": "holds no text that could be found",
    "other language": "is in a language that was not chosen",
}
"""Why an item is not in the manifest, each with the sentence that the docs and the review use."""

FAILURES = frozenset({"unreadable", "vanished"})
"""The reasons that say nothing about the item itself; they make a listing incomplete."""

OUT_OF_SIGHT = frozenset({"unreadable", "forbidden", "robots", "elsewhere", "no text", "no page"})
"""The reasons for which a listed item is no document just now, though it may be one again: of one that was applied they
do not prove that it is gone."""
