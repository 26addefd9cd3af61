"""What only the search tells, of both editions: comments and attachments of many pages, and what changed since."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from qloader.documents.hashing import fingerprint
from qloader.sources.atlassian.answers import text_of
from qloader.sources.atlassian.moments import minute_in_zone, utc_text
from qloader.sources.atlassian.site import Site
from qloader.sources.confluence.content import Comment, File, as_file
from qloader.sources.confluence.settings import Kind

_LISTED = 250
_CONTAINERS = 100
"""Pages that one query names, so that an address stays short."""


def in_spaces(keys: Iterable[str]) -> str:
    """The part of a query that names spaces."""
    return f"space in ({', '.join(quoted(key) for key in keys)})"


def quoted(text: str) -> str:
    """A text as CQL writes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def comments_in(site: Site, restriction: str) -> dict[str, str]:
    """A fingerprint of the comments on each page that has any, by the page's id."""
    found: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for comment in _search(site, f"type = comment and {restriction}", "version,container,extensions.location"):
        if _is_on_a_page(comment):
            page = text_of(comment["container"]["id"])
            found[page].append((text_of(comment["id"]), int(comment["version"]["number"])))
    return {page: _print_of(comments) for page, comments in found.items()}


def comments_on(site: Site, pages: Sequence[str]) -> dict[str, list[Comment]]:
    """The comments on pages with their text, oldest first."""
    found: defaultdict[str, list[Comment]] = defaultdict(list)
    for restriction in _containers(pages):
        expand = "body.storage,history,version,container,extensions.location"
        for comment in _search(site, f"type = comment and {restriction}", expand):
            if _is_on_a_page(comment):
                page, history = text_of(comment["container"]["id"]), comment.get("history", {})
                found[page].append(
                    Comment(
                        id=text_of(comment["id"]),
                        page=page,
                        version=int(comment["version"]["number"]),
                        author=history.get("createdBy", {}).get("displayName"),
                        created=utc_text(history.get("createdDate")),
                        body=comment.get("body", {}).get("storage", {}).get("value", ""),
                    )
                )
    for comments in found.values():
        comments.sort(key=lambda comment: (comment.created or "", len(comment.id), comment.id))
    return found


def comments_print(comments: Iterable[Comment]) -> str:
    """What `comments_in` says of a page that has these."""
    return _print_of((comment.id, comment.version) for comment in comments)


def comment_prints(site: Site, pages: Sequence[str]) -> dict[str, str]:
    """What `comments_in` says, of some pages."""
    found: dict[str, str] = {}
    for restriction in _containers(pages):
        found |= comments_in(site, restriction)
    return found


def files_in(site: Site, restriction: str) -> Iterator[tuple[File, Kind]]:
    """The attachments that a restriction finds, with the kind of what each is attached to."""
    for content in _search(site, f"type = attachment and {restriction}", "version,container,metadata,extensions"):
        container = content.get("container", {})
        if container.get("type") in ("page", "blogpost"):
            yield as_file(content, text_of(container["id"])), container["type"]


def changed_since(
    site: Site, spaces: Sequence[str], since: datetime, zone: ZoneInfo | None
) -> Iterator[dict[str, Any]]:
    """Pages, blog posts, comments and attachments that were changed, as the search writes them."""
    minute = minute_in_zone(since, zone, "%Y-%m-%d %H:%M")
    kinds = "type in (page, blogpost, comment, attachment)"
    cql = f'{in_spaces(spaces)} and {kinds} and lastmodified >= "{minute}"'
    params = [("cql", cql), ("expand", "content.version,content.container,content.extensions"), ("limit", _LISTED)]
    for hit in site.results("/rest/api/search", params):
        yield hit["content"]


def count(site: Site, restriction: str) -> int:
    """How much a query finds."""
    return int(site.get("/rest/api/search", [("cql", restriction), ("limit", 1)]).get("totalSize") or 0)


def _print_of(comments: Iterable[tuple[str, int]]) -> str:
    """A fingerprint of ids and versions; empty where there are none."""
    known = sorted(comments)
    return fingerprint(known) if known else ""


def _containers(pages: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(pages), _CONTAINERS):
        yield f"container in ({','.join(pages[start : start + _CONTAINERS])})"


def _search(site: Site, cql: str, expand: str) -> Iterator[dict[str, Any]]:
    yield from site.results("/rest/api/content/search", [("cql", cql), ("expand", expand), ("limit", _LISTED)])


def _is_on_a_page(comment: dict[str, Any]) -> bool:
    """Whether it stands below a page or post, and not beside a piece of its text."""
    is_inline = comment.get("extensions", {}).get("location") == "inline"
    return not is_inline and comment.get("container", {}).get("type") in ("page", "blogpost")
