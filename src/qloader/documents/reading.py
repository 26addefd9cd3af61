"""Reading: from the bytes a source holds to a document, or to the reason why it is none."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from posixpath import basename, splitext
from typing import Any
from urllib.parse import quote

from qloader.documents.document import Document, Skipped, Syntax
from qloader.documents.markdown import (
    atx_heading,
    clean_title,
    closes_fence,
    heading_words,
    is_block,
    opens_fence,
    setext_level,
)
from qloader.documents.normalise import NORMALISATION, normalise_text

CONVERTER = "html-to-markdown 3.21"
"""What turns HTML into Markdown. Its output shapes content hashes, so a test holds this to what is installed."""

READER = f"{NORMALISATION}.1 {CONVERTER}"
"""What reads: part of every selection's fingerprint, so that a change here reads everything again."""

MARKDOWN = frozenset({".md", ".markdown", ".mdx", ".mkd", ".mdown"})
HTML = frozenset({".html", ".htm", ".xhtml"})
REST = frozenset({".rst", ".rest"})
_PROSE = frozenset({".txt", ".text", ""})

_SNIFF = 8 * 1024
_HEADING_WINDOW = 64 * 1024
"""A title is looked for in this many characters; a first heading further down is no title."""

# The longer mark first: UTF-32 LE begins with UTF-16 LE's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MARKED = frozenset(mark[:1] for mark, _ in _MARKS)
_BINARY = {
    b"%PDF-": "a PDF",
    b"PK\x03\x04": "a ZIP or Office file",
    b"\x1f\x8b": "gzip data",
    b"\x89PNG": "an image",
    b"GIF8": "an image",
    b"\xff\xd8\xff": "an image",
}
_LFS = b"version https://git-lfs.github.com/spec/v1"

_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1+$")


def read_document(
    document_id: str,
    data: bytes,
    *,
    path: str,
    revision: str,
    uri: str,
    updated_at: str | None = None,
    extra_metadata: Mapping[str, Any] | None = None,
    max_bytes: int | None = None,
) -> Document | Skipped:
    """Reads one document from the bytes of its file.

    The suffix decides how: Markdown loses its front matter to the metadata, HTML becomes Markdown, all else
    is plain text. The title is the front matter's `title` (HTML: `<title>`), else the first heading, else
    the file's name (without its suffix for prose, with it for code).

    Args:
        document_id: The id that the result gets.
        data: What the source holds, undecoded.
        path: The name whose suffix decides how to read, with `/` between folders.
        revision: The source's revision of these bytes, the same on every machine.
        uri: Where a person opens the document.
        updated_at: When the source last changed it, ISO 8601 in UTC.
        extra_metadata: The source's own metadata. It wins over front matter, because an operator may
            filter by it and an author must not be able to say otherwise.
        max_bytes: More than this is `Skipped` as too large; None: no limit.

    Returns:
        The document, or `Skipped` with the reason `too large`, `binary`, `pointer` or `undecodable`.
    """
    if max_bytes is not None and len(data) > max_bytes:
        return too_large(document_id, len(data), max_bytes)
    raw = _decode(document_id, data)
    if isinstance(raw, Skipped):
        return raw
    title, text, metadata, syntax = _parse(raw, path)
    if extra_metadata:
        metadata.update(extra_metadata)
    return Document(
        id=document_id,
        title=title,
        uri=uri,
        text=text,
        revision=revision,
        bytes=len(data),
        metadata=metadata,
        updated_at=updated_at,
        syntax=syntax,
    )


def too_large(document_id: str, size: int, max_bytes: int) -> Skipped:
    """A `Skipped` that says both sizes."""
    return Skipped(document_id, "too large", f"{human_size(size)}, max_bytes is {human_size(max_bytes)}")


def human_size(count: int) -> str:
    """Bytes for people, in powers of 1000: `999 B`, `12.3 MB`, `10 MB`."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.95 or unit == "TB":
            break
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def document_uri(template: str, path: str) -> str:
    """Fills `{path}` in a source's `uri` template; in a web address the path is percent-encoded."""
    return template.replace("{path}", quote(path) if "://" in template else path)


def _decode(document_id: str, data: bytes) -> str | Skipped:
    encoding = ""
    if data[:1] in _MARKED:
        encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "")
    if not encoding:
        if b"\x00" in data[:_SNIFF]:
            return Skipped(document_id, "binary", "NUL bytes")
        if data.startswith(tuple(_BINARY)):
            return Skipped(document_id, "binary", next(k for magic, k in _BINARY.items() if data.startswith(magic)))
        if data.startswith(_LFS) and len(data) < 1024 and b"\noid sha256:" in data:
            return Skipped(document_id, "pointer", "fetch the file itself with `git lfs pull`")
    try:
        return data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        detail = f"not {(encoding or 'utf-8').upper()} at byte {error.start}"
        return Skipped(document_id, "undecodable", detail)


def _parse(raw: str, path: str) -> tuple[str, str, dict[str, Any], Syntax]:
    """Title, text, metadata and syntax of a decoded file."""
    name = basename(path)
    stem, suffix = splitext(name)
    suffix = suffix.lower()
    if suffix in MARKDOWN:
        return _parse_markdown(raw, stem)
    if suffix in HTML:
        from qloader.documents.html import html_title, html_to_markdown_text

        text = normalise_text(html_to_markdown_text(raw))
        return clean_title(html_title(raw)) or markdown_heading(text) or stem, text, {}, "markdown"
    text = normalise_text(raw)
    if suffix in REST:
        return rest_heading(text) or stem, text, {}, "text"
    return (stem if suffix in _PROSE else name), text, {}, "text"


def _parse_markdown(raw: str, stem: str) -> tuple[str, str, dict[str, Any], Syntax]:
    text = normalise_text(raw)
    metadata: dict[str, Any] = {}
    if text.startswith(("---\n", "+++\n")):
        from qloader.documents.frontmatter import split_front_matter

        metadata, text = split_front_matter(text)
    title = ""
    if isinstance(metadata.get("title"), str):
        title = clean_title(metadata["title"])
        if title:
            del metadata["title"]
    return title or markdown_heading(text) or stem, text, metadata, "markdown"


def markdown_heading(text: str) -> str:
    """The first heading of a Markdown text (`# one` or underlined), as plain words; empty if there is none.

    Code fences, indented code and HTML comments are passed over. Only the first 64 KiB are searched.
    """
    fence = ""
    comment = False
    previous = ""
    for line in _first_lines(text):
        if fence:
            if closes_fence(line, fence):
                fence = ""
            continue
        if comment:
            comment = "-->" not in line
            continue
        if line.lstrip().startswith("<!--") and "-->" not in line:
            comment, previous = True, ""
            continue
        fence = opens_fence(line)
        if fence:
            previous = ""
            continue
        heading = atx_heading(line)
        if heading is not None:
            if heading[1]:
                return heading[1]
        elif previous and setext_level(line):
            return heading_words(previous)
        previous = "" if is_block(line) else line
    return ""


def _first_lines(text: str) -> Iterator[str]:
    """The lines of the heading window, one at a time: nearly always the first one is all that is needed."""
    at = 0
    while at < _HEADING_WINDOW and (end := text.find("\n", at)) >= 0:
        yield text[at:end]
        at = end + 1


def rest_heading(text: str) -> str:
    """The first section title of a reStructuredText: a line with punctuation at least as long under it."""
    lines = text[:_HEADING_WINDOW].split("\n")
    for line, below in pairwise(lines):
        words = line.strip()
        if (
            words
            and len(below) >= max(2, len(words))
            and _ADORNMENT.match(below)
            and not _ADORNMENT.match(words)
            and not words.startswith(("..", ":"))
        ):
            return clean_title(words)
    return ""
