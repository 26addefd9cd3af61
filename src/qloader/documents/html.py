"""HTML read as Markdown, so that one chunker serves both."""

from __future__ import annotations

import re
from functools import lru_cache
from html import unescape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from html_to_markdown import ConversionOptions

_FURNITURE = ["script", "style", "nav", "footer", "noscript", "template", "svg", "iframe", "a.headerlink"]
_TITLE_WINDOW = 64 * 1024
_TITLE = re.compile(r"<title(?:\s[^<>]*)?>", re.IGNORECASE)
_BODY = re.compile(r"<body\b", re.IGNORECASE)
_TAG = re.compile(r"<(/?[a-zA-Z][a-zA-Z0-9]*|[!?])")
_SILENT = {
    name: re.compile(rf"</{name}\s*>", re.IGNORECASE)
    for name in ("script", "style", "noscript", "template", "nav", "footer", "head", "svg")
}
_INLINE = frozenset({"a", "b", "i", "em", "strong", "code", "span", "sub", "sup", "small", "kbd", "q", "u"})
_SPACES = re.compile(r"\s+")


def html_to_markdown_text(source: str) -> str:
    """Converts a page to Markdown: headings, lists, tables, code and links stay, furniture goes.

    Scripts, styles, navigation, footers, inline images (`data:`) and heading anchors are dropped. No
    entity is expanded beyond HTML's own names, so a document type cannot blow a page up. A page nested so
    deeply that the converter gives up is read as bare text instead: nothing is lost quietly.
    """
    from html_to_markdown import convert

    try:
        result = convert(source, _options())
    except (ValueError, RuntimeError):
        return bare_text(source)
    content = result.content or ""
    if result.warnings or not content.strip():
        bare = bare_text(source)
        # The converter's own text is better where both found the same amount of it.
        if len(bare) > 2 * len(content):
            return bare
    return content


def html_title(source: str) -> str:
    """The text of `<title>`, or an empty string; only the first 64 KiB are searched."""
    head = source[:_TITLE_WINDOW]
    opened = _TITLE.search(head)
    body = _BODY.search(head)
    # A <title> within the body belongs to a drawing.
    if opened is None or (body is not None and body.start() < opened.start()):
        return ""
    closed = head.find("<", opened.end())
    return _SPACES.sub(" ", unescape(head[opened.end() : closed])).strip() if closed >= 0 else ""


def bare_text(source: str) -> str:
    """The text of a page without any structure but line ends, in one pass over it.

    Not by `html.parser`: on unclosed tags that takes quadratic time before Python 3.13.4.
    """
    parts: list[str] = []
    at = 0
    while (start := source.find("<", at)) >= 0:
        parts.append(source[at:start])
        at = _skip_tag(source, start, parts)
    parts.append(source[at:])
    lines = (_SPACES.sub(" ", unescape(line)).strip() for line in "".join(parts).split("\n"))
    return "\n".join(line for line in lines if line)


def _skip_tag(source: str, start: int, parts: list[str]) -> int:
    """The index after the markup that begins at `start`; an unclosed one ends the page."""
    if source.startswith("<!--", start):
        end = source.find("-->", start + 4)
        return end + 3 if end >= 0 else len(source)
    tag = _TAG.match(source, start)
    if tag is None:
        parts.append("<")
        return start + 1
    end = source.find(">", tag.end())
    if end < 0:
        return len(source)
    name = tag[1].lower()
    if name in _SILENT:
        close = _SILENT[name].search(source, end)
        return close.end() if close else len(source)
    if name.lstrip("/") not in _INLINE:
        parts.append("\n")
    return end + 1


@lru_cache(maxsize=1)
def _options() -> ConversionOptions:
    from html_to_markdown import ConversionOptions, PreprocessingOptions

    return ConversionOptions(
        extract_metadata=False,
        autolinks=False,
        exclude_selectors=_FURNITURE,
        inline_data_media="alt_text_only",
        # Tab panels and folded sections are content, whatever a browser shows first.
        hidden_content="reachable",
        # Its navigation filter also drops <header>, which often holds the page's only <h1>.
        preprocessing=PreprocessingOptions(enabled=False),
    )
