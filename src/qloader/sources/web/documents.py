"""A page that was read, as a document."""

from __future__ import annotations

from typing import Any

from qloader.documents.hashing import content_hash, metadata_hash
from qloader.sources.times import http_time
from qloader.sources.web.addresses import Scope
from qloader.sources.web.fetching import Outcome
from qloader.sources.web.page import Page
from qloader.sources.web.settings import WebSettings


def why_none(settings: WebSettings, page: Page) -> tuple[str, str] | None:
    """Why a page that was read is no document: one of `SKIP_REASONS`, and what a person needs to see why.

    Args:
        settings: The source's.
        page: The page.

    Returns:
        None where it is one.
    """
    if settings.robots and page.noindex:
        return "robots", "noindex"
    if settings.languages and page.language and not _speaks(page.language, settings.languages):
        return "other language", page.language
    if not page.text and settings.selector:
        return "no text", f"nothing in it matches {settings.selector}"
    if not page.text:
        return "no text", "it may be made by a script"
    return None


def make_document(scope: Scope, settings: WebSettings, key: str, url: str, outcome: Outcome) -> dict[str, Any]:
    """The values of a `Document` as JSON; its revision is its change token.

    Neither a validator of HTTP nor the size of the HTML is among them: both change with every build of a site.

    Args:
        scope: What the source covers.
        settings: The source's.
        key: The page's id.
        url: Its address, in its normal form.
        outcome: What came of asking for it.
    """
    page = outcome.page
    assert page is not None
    canonical = scope.page(page.canonical) if page.canonical else None
    uri = canonical if canonical is not None and scope.key(canonical) == key else url
    title = page.title or key
    metadata = {**page.metadata, **settings.metadata}
    revision = content_hash(page.text).hex() + metadata_hash(title, uri, metadata).hex()[:16]
    return {
        "id": key,
        "title": title,
        "uri": uri,
        "text": page.text,
        "metadata": metadata,
        "syntax": page.syntax,
        "revision": revision,
        "bytes": len(page.text.encode()),
        "updated_at": http_time(outcome.modified),
    }


def _speaks(language: str, wanted: tuple[str, ...]) -> bool:
    """Whether a language is one of those wanted; `en` takes `en-us` too."""
    return any(language == one.lower() or language.startswith(f"{one.lower()}-") for one in wanted)
