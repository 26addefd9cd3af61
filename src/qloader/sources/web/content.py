"""Which part of a page is its content: what the config says, what landmarks say, or where the text is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

_MAIN = (
    # Generators whose landmark holds more than the content, or that have none.
    ".theme-doc-markdown",  # Docusaurus
    ".md-content article",  # Material for MkDocs
    "#furo-main-content",
    "article.bd-article",  # PyData
    ".vp-doc",  # VitePress
    ".theme-default-content",  # VuePress
    ".sl-markdown-content",  # Starlight
    "article.markdown-section",  # docsify, rendered
    # Landmarks.
    "main article",
    "[role=main] article",
    "main",
    "[role=main]",
    "article",
    # Themes without landmarks.
    "div.body",  # Sphinx
    "#main-content",
    "#content",
    ".markdown-body",
)
"""Where content is looked for, in this order. One that stands several times beside itself is a list of teasers."""

_FURNITURE = (
    "script, style, noscript, template, iframe, object, embed, dialog, button, input, select, textarea, svg, "
    "nav, footer, "
    "[role=navigation], [role=search], [role=banner], [role=contentinfo], [role=complementary], [role=tooltip], "
    "[aria-hidden=true], .visually-hidden, .sr-only, .skip-link, .noprint, "
    # Where one is, where one could go next, tables of contents.
    ".breadcrumb, .breadcrumbs, .theme-doc-breadcrumbs, .wy-breadcrumbs, .pagination-nav, .prev-next-area, "
    ".prev-next, .prev-next-footer, .rst-footer-buttons, .pager, .page-nav, .related, .toc, .table-of-contents, "
    ".theme-doc-toc-mobile, .theme-doc-toc-desktop, .md-sidebar, .sphinxsidebar, .contents.local, "
    # Who wrote it when, with what, and whether it helped.
    ".theme-doc-footer, .theme-last-updated, .theme-edit-this-page, .theme-doc-version-badge, .edit-this-page, "
    ".edit-page-link, .last-updated, .lastupdated, .page-info, .meta-data, .md-source-file, .md-content__button, "
    ".md-feedback, .feedback, .viewcode-link, .viewcode-back, .copybtn, .linenos, td.gutter, "
    ".advertisement, .cookie-banner"
)
"""What is never content, wherever it stands."""

_BESIDE = (
    "header, aside, #header, #footer, #sidebar, #nav, #navigation, #menu, .header, .footer, .navbar, .nav, .menu, "
    ".navigation, .topbar, .sidebar, .site-header, .site-footer, .document-header"
)
"""What is not content where nothing says what is."""

_TEXT_BLOCKS = "p, pre, li, td, dd, blockquote, h1, h2, h3, h4"
_SHARE = 0.6
"""How much of a page's text a part must hold to be taken for all of it."""

_UNNESTED = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)")
_OPEN_ENDED = (
    "area base body br circle col colgroup dd dt embed head hr html img input li line link meta optgroup "
    "option p path polygon rect rp rt source stop tbody td tfoot th thead tr track use wbr "
)
_NEVER_CLOSED = frozenset(_OPEN_ENDED.split())
MOST_NESTED = 1_000
"""Elements within elements. Browsers stop at 512; a parser takes quadratic time."""


class BadSelectorError(Exception):
    """A selector of the config cannot be read."""


def is_too_deep(html: str) -> bool:
    """Whether a page has so many elements that are never closed that it must be nested beyond sense."""
    if len(html) < 3 * MOST_NESTED:
        return False
    open_now: dict[str, int] = {}
    deepest = total = 0
    for slash, written in _UNNESTED.findall(html):
        name = written.lower()
        if name in _NEVER_CLOSED:
            continue
        count = open_now.get(name, 0)
        if not slash:
            open_now[name] = count + 1
            total += 1
            deepest = max(deepest, total)
        elif count:
            open_now[name] = count - 1
            total -= 1
    return deepest > MOST_NESTED


def select(tree: LexborHTMLParser, selector: str) -> list[LexborNode]:
    """All that a selector of the config matches, without what lies within another match.

    Raises:
        BadSelectorError: It is no CSS selector.
    """
    return _outermost(_css(tree, selector))


def take_off(node: LexborNode, selectors: tuple[str, ...]) -> None:
    """Removes furniture, and what the config removes besides.

    Raises:
        BadSelectorError: One is no CSS selector.
    """
    for selector in (*selectors, _FURNITURE):
        for inner in _css(node, selector):
            if inner.mem_id != node.mem_id:
                inner.decompose()
    for link in node.css("a[href*='#']"):
        # The mark beside a heading: ¶, #, § or nothing at all. A heading that is a link keeps its words.
        if not any(map(str.isalnum, link.text())) and link.css_first("img") is None:
            link.decompose()


def find_content(tree: LexborHTMLParser) -> list[LexborNode]:
    """The part of a page that is its content; furniture may still be in it."""
    for selector in _MAIN:
        found = _outermost(tree.css(selector))
        if len(found) == 1 and found[0].text(strip=True):
            return found
    body = tree.body
    if body is None:
        return []
    for inner in body.css(f"{_FURNITURE}, {_BESIDE}"):
        if inner.mem_id != body.mem_id:
            inner.decompose()
    return [_densest(body)]


def _css(node: LexborHTMLParser | LexborNode, selector: str) -> list[LexborNode]:
    from selectolax.lexbor import SelectolaxError

    try:
        return node.css(selector)
    except (SelectolaxError, ValueError) as error:
        raise BadSelectorError(selector) from error


def _outermost(nodes: list[LexborNode]) -> list[LexborNode]:
    if len(nodes) < 2:
        return nodes
    found = {node.mem_id for node in nodes}
    kept = []
    for node in nodes:
        above = node.parent
        while above is not None and above.mem_id not in found:
            above = above.parent
        if above is None:
            kept.append(node)
    return kept


def _densest(body: LexborNode) -> LexborNode:
    """The element with most text that is no link, if it holds most of the page's."""
    scores: dict[int, float] = {}
    nodes: dict[int, LexborNode] = {}
    total = 0
    for block in body.css(_TEXT_BLOCKS):
        if any(inner.mem_id != block.mem_id for inner in block.css(_TEXT_BLOCKS)):
            continue  # a cell or item that holds blocks is no text itself
        own = len(block.text(strip=True)) - sum(len(link.text(strip=True)) for link in block.css("a"))
        if own <= 0:
            continue
        total += own
        share, above = 1.0, block.parent
        while above is not None and share > 0.2 and above.mem_id != body.mem_id:
            nodes[above.mem_id] = above
            scores[above.mem_id] = scores.get(above.mem_id, 0.0) + own * share
            share, above = share * 0.9, above.parent
    if not scores:
        return body
    best = max(scores, key=lambda found: scores[found])
    return nodes[best] if scores[best] >= total * _SHARE else body
