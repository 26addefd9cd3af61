"""One page, without a listing before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qloader.documents.document import Document, Skipped
from qloader.sources.http.addresses import shown
from qloader.sources.web.addresses import Scope
from qloader.sources.web.documents import make_document, why_none
from qloader.sources.web.fetching import SKIPS, Job, ask
from qloader.sources.web.settings import WebSettings

if TYPE_CHECKING:
    from qloader.sources.http.client import HttpClient
    from qloader.sources.web.robots import Robots


def read_single(
    client: HttpClient, robots: Robots | None, settings: WebSettings, scope: Scope, document_id: str
) -> Document | Skipped:
    """Asks for a page under each address that it may have."""
    found = Skipped(document_id, "vanished", "there is nothing at its address")
    for url in scope.candidates(document_id):
        if robots is not None and not robots.allows(url):
            return Skipped(document_id, "robots", "robots.txt disallows it")
        outcome = ask(client, settings, scope, Job(document_id, url, None))
        if outcome.kind in SKIPS:
            found = Skipped(document_id, SKIPS[outcome.kind], outcome.why)
        if outcome.kind in ("failed", "forbidden"):
            return found
        final = scope.page(outcome.url) if outcome.url else None
        if outcome.page is None or final is None or scope.key(final) != document_id:
            continue
        if (why := why_none(settings, outcome.page)) is not None:
            return Skipped(document_id, *why)
        return Document(**make_document(scope, settings, document_id, final, outcome))
    return found


def look_at(client: HttpClient, settings: WebSettings, scope: Scope, page: str) -> Skipped | None:
    """Asks for a page, to see why it is no document; None where it is one, or gone."""
    key = scope.key(page)
    outcome = ask(client, settings, scope, Job(key, page, None))
    if outcome.page is None:
        return Skipped(key, SKIPS[outcome.kind], outcome.why) if outcome.kind in SKIPS else None
    if scope.page(outcome.url) is None:
        return None if outcome.permanent else Skipped(key, "elsewhere", f"to {shown(outcome.url)}")
    why = why_none(settings, outcome.page)
    return None if why is None else Skipped(key, *why)
