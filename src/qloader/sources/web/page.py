"""A page as it came from the server, read: its text, what it says of itself, and where its links lead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from qloader.documents.document import Document, Syntax
from qloader.documents.html import bare_text, html_title, html_to_markdown_text
from qloader.documents.markdown import clean_title
from qloader.documents.normalise import normalise_text
from qloader.documents.reading import markdown_heading, read_document
from qloader.sources.web.charset import decode_page
from qloader.sources.web.content import find_content, is_too_deep, select, take_off

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

MARKDOWN_TYPES = frozenset({"text/markdown", "text/x-markdown", "text/x-gfm"})
TEXT_TYPES = frozenset({"text/plain", "text/x-rst"})
HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})

_REFRESH = re.compile(r"^\s*(\d{1,2})(?:\.\d*)?\s*[;,]\s*(?:url\s*=\s*)?['\"]?([^'\"]+)", re.IGNORECASE)
_SOONEST = 10
"""Seconds within which a `<meta http-equiv=refresh>` is a redirect."""

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*")
_LONGEST = 1_000
_MOST_LINKS = 20_000
_CRUMBS = "nav[aria-label*=breadcrumb i], .breadcrumbs, .breadcrumb, .wy-breadcrumbs, .theme-doc-breadcrumbs"


@dataclass(frozen=True, slots=True)
class Page:
    """What a page holds.

    Attributes:
        title: Its title; empty where it has none.
        text: Its content, normalised; empty where it has none.
        syntax: What the text is.
        metadata: What the page says of itself: language, description, breadcrumbs.
        links: The addresses of its links, absolute, in their order.
        canonical: The address that it names as its own, absolute; empty where it names none.
        redirect: Where a `refresh` leads; empty where there is none.
        language: Its language, e.g. `en` or `pt-br`; empty where it does not say.
        noindex: Whether it asks not to be in a search index.
    """

    title: str
    text: str
    syntax: Syntax = "markdown"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    canonical: str = ""
    redirect: str = ""
    language: str = ""
    noindex: bool = False


def read_page(
    data: bytes, headers: Mapping[str, str], url: str, *, selector: str | None = None, remove: tuple[str, ...] = ()
) -> Page | None:
    """Reads a page.

    Args:
        data: The content.
        headers: What the server said of it.
        url: Where it is.
        selector: CSS: what is content; None: it is found.
        remove: CSS: what of it is left out.

    Returns:
        The page, or None where it is none: neither HTML nor Markdown nor text.

    Raises:
        BadSelectorError: A selector is no CSS.
    """
    content_type = headers.get("content-type", "")
    media = content_type.partition(";")[0].strip().lower()
    noindex = forbids_index(headers)
    if media in MARKDOWN_TYPES or media in TEXT_TYPES:
        return _read_text(data, content_type, url, is_markdown=media in MARKDOWN_TYPES, noindex=noindex)
    if media not in HTML_TYPES and (media or not data[:512].lstrip().startswith(b"<")):
        return None
    html = decode_page(data, content_type)
    if is_too_deep(html):
        text = normalise_text(bare_text(html))
        return Page(clean_title(html_title(html)), text, "text", noindex=noindex)
    return _read_html(html, headers, url, selector, remove, noindex=noindex)


def _read_text(data: bytes, content_type: str, url: str, *, is_markdown: bool, noindex: bool) -> Page | None:
    name = url.partition("?")[0].rpartition("/")[2] or "page"
    if is_markdown or name.lower().endswith((".md", ".markdown", ".mdx")):
        name = "page.md"
    elif not name.lower().endswith(".rst"):
        name = "page.txt"
    document = read_document("", decode_page(data, content_type).encode(), path=name, revision="", uri="")
    if not isinstance(document, Document):
        return None
    title = "" if document.title == "page" else document.title
    return Page(title, document.text, document.syntax, dict(document.metadata), noindex=noindex)


def _read_html(
    html: str, headers: Mapping[str, str], url: str, selector: str | None, remove: tuple[str, ...], *, noindex: bool
) -> Page:
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(html)
    base = urljoin(url, _attribute(tree, "base[href]", "href"))
    links = tuple(
        dict.fromkeys(
            urljoin(base, href)
            for link in tree.css("a[href]")[:_MOST_LINKS]
            if _is_address(href := _value(link, "href"))
        )
    )
    canonical = _attribute(tree, "link[rel~=canonical i][href]", "href")
    language = _language(_attribute(tree, "html", "lang") or headers.get("content-language", ""))
    description = _attribute(tree, "meta[name=description i]", "content")
    breadcrumbs = _breadcrumbs(tree)
    noindex = noindex or any(_forbids(_value(meta, "content")) for meta in tree.css("meta[name=robots i]"))
    refresh = _REFRESH.match(_attribute(tree, "meta[http-equiv=refresh i]", "content"))
    page_title = html_title(html) or _attribute(tree, "meta[property='og:title']", "content")
    title, text = _content(tree, selector, remove)
    metadata: dict[str, Any] = {}
    if language:
        metadata["language"] = language
    if description:
        metadata["description"] = " ".join(description.split())[:_LONGEST]
    if breadcrumbs:
        metadata["breadcrumbs"] = breadcrumbs
    return Page(
        title=title or clean_title(page_title),
        text=text,
        metadata=metadata,
        links=links,
        canonical=urljoin(base, canonical) if _is_address(canonical) else "",
        redirect=urljoin(base, refresh[2].strip()) if refresh and int(refresh[1]) <= _SOONEST else "",
        language=language,
        noindex=noindex,
    )


def _content(tree: LexborHTMLParser, selector: str | None, remove: tuple[str, ...]) -> tuple[str, str]:
    """Title and text. The tree is taken apart by it."""
    nodes = select(tree, selector) if selector else find_content(tree)
    title, parts = "", []
    for node in nodes:
        take_off(node, remove)
        for image in node.css("img[src]"):
            # What stands behind `?` says which build it is of, not what it shows.
            image.attrs["src"] = _value(image, "src").partition("?")[0]
        if not title and (heading := node.css_first("h1")) is not None:
            title = clean_title(heading.text(strip=False))
        parts.append(html_to_markdown_text(node.html or "").strip("\n"))
    text = normalise_text("\n\n".join(parts))
    return title or markdown_heading(text), text if text.strip() else ""


def _breadcrumbs(tree: LexborHTMLParser) -> list[str]:
    for trail in tree.css(_CRUMBS):
        items = trail.css("li:not(.wy-breadcrumbs-aside)") or trail.css("a")
        found = [" ".join(item.text(strip=False).split()) for item in items]
        words = [word.strip("/»›> ") for word in found]
        named = [word for word in words if word and any(character.isalnum() for character in word)]
        if named:
            return [word[:_LONGEST] for word in named[:20]]
    return []


def forbids_index(headers: Mapping[str, str]) -> bool:
    """Whether the headers of an answer keep its page out of an index."""
    return _forbids(headers.get("x-robots-tag", ""))


def _forbids(rules: str) -> bool:
    """Whether rules for robots keep a page out of an index. `somebot:` before a rule makes it that robot's."""
    agent = ""
    for rule in rules.lower().split(","):
        before, colon, after = rule.rpartition(":")
        if colon:
            agent = before.strip()
        if agent in ("", "qloader", "*") and after.strip() in ("noindex", "none"):
            return True
    return False


def _language(value: str) -> str:
    found = _LANGUAGE.match(value.partition(",")[0].strip())
    return found[0].lower() if found else ""


def _is_address(href: str) -> bool:
    return bool(href.strip()) and not href.lstrip().lower().startswith(("#", "mailto:", "javascript:", "data:", "tel:"))


def _attribute(tree: LexborHTMLParser, selector: str, name: str) -> str:
    node = tree.css_first(selector)
    return _value(node, name) if node is not None else ""


def _value(node: LexborNode, name: str) -> str:
    return node.attributes.get(name) or ""
