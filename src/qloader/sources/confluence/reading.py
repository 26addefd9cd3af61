"""From storage format to documents: text, and what is said about it."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

from qloader.documents.atlassian.converted import CONVERSION, Converted, Resolvers
from qloader.documents.document import Document, Skipped
from qloader.documents.markdown import clean_title
from qloader.documents.normalise import NORMALISATION, normalise_text
from qloader.documents.reading import READER as FILES_READER
from qloader.documents.reading import too_large
from qloader.sources.confluence.content import Comment, Content, Edition
from qloader.sources.confluence.settings import ConfluenceSettings

READER = f"{NORMALISATION}.{CONVERSION}.1 {FILES_READER}"
"""What reads: part of the selection's fingerprint, so that a change reads everything again. The last number is that of
the documents that this module makes of the converted texts."""

_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/x-yaml", "application/yaml")
_TEXT_SUFFIXES = (".md", ".markdown", ".rst", ".txt", ".html", ".htm", ".csv", ".json", ".yaml", ".yml", ".xml", ".log")


def is_text(name: str, media_type: str) -> bool:
    """Whether an attachment can be read as text, by its name and by what the server calls it."""
    kind = media_type.partition(";")[0].strip().lower() or (mimetypes.guess_type(name)[0] or "")
    return kind.startswith(_TEXT_TYPES) or name.lower().endswith(_TEXT_SUFFIXES)


class Reader:
    """Makes documents of pages and blog posts.

    Attributes:
        unknown: What was met in pages and is not known how to read (macros, elements); its text was kept.
    """

    def __init__(self, settings: ConfluenceSettings, edition: Edition) -> None:
        self._settings = settings
        self._edition = edition
        self.unknown: set[str] = set()

    def names(self, contents: Iterable[Content], comments: Mapping[str, Sequence[Comment]]) -> dict[str, str]:
        """The display names of all users that are mentioned, looked up together."""
        mentioned: set[str] = set()
        for content in contents:
            bodies = [content.body, *(comment.body for comment in comments.get(content.row.id, ()))]
            for body in bodies:
                if "ri:user" in body:
                    mentioned.update(self._convert(body, content, {}).mentions)
        return self._edition.user_names(sorted(mentioned)) if mentioned else {}

    def read(self, content: Content, comments: Sequence[Comment], names: Mapping[str, str]) -> Document | Skipped:
        """The document of a page or blog post.

        Its title is not in its text: another title, or another place, is no new text.
        """
        settings, row = self._settings, content.row
        size = len(content.body.encode())
        if size > settings.max_bytes:
            return too_large(row.document_id, size, settings.max_bytes)
        parts = [self._text(content.body, content, names)]
        said = [(comment, self._text(comment.body, content, names)) for comment in comments]
        parts += ["## Comments"] if any(text for _, text in said) else []
        parts += [f"### {_who_and_when(comment)}\n\n{text}" for comment, text in said if text]
        return Document(
            id=row.document_id,
            title=clean_title(row.title) or row.document_id,
            uri=settings.url + content.link,
            text=normalise_text("\n\n".join(part for part in parts if part)),
            revision=str(row.version),
            bytes=size,
            metadata={**_metadata(content), **settings.metadata},
            updated_at=content.updated_at,
            syntax="markdown",
        )

    def _text(self, body: str, content: Content, names: Mapping[str, str]) -> str:
        converted = self._convert(body, content, names)
        self.unknown.update(converted.unknown)
        return converted.text.strip("\n")

    def _convert(self, body: str, content: Content, names: Mapping[str, str]) -> Converted:
        from qloader.documents.atlassian.storage import storage_to_markdown

        return storage_to_markdown(body, self._resolvers(content, names))

    def _resolvers(self, content: Content, names: Mapping[str, str]) -> Resolvers:
        """Addresses that follow from the words alone: what is looked up today may be answered otherwise tomorrow."""
        url, row = self._settings.url, content.row

        def page(title: str, space: str | None) -> str:
            return f"{url}/display/{quote(space or row.space)}/{quote_plus(title)}"

        def attachment(name: str) -> str:
            return f"{url}/download/attachments/{row.id}/{quote(name)}"

        return Resolvers(page=page, user=names.get, attachment=attachment)


def _metadata(content: Content) -> dict[str, Any]:
    row = content.row
    found: dict[str, Any] = {
        "type": row.kind,
        "space": row.space,
        "breadcrumb": [above.title for above in row.above],
        "labels": list(row.labels or ()),
        "author": content.author,
        "created": content.created,
        "status": row.status if row.status != "current" else None,
    }
    return {key: value for key, value in found.items() if value not in (None, "", [])}


def _who_and_when(comment: Comment) -> str:
    name = clean_title(comment.author or "") or "unknown"
    return f"{name}, {comment.created[:10]}" if comment.created else name
