"""One page by its id, without a listing before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qloader.documents.document import Document, Skipped
from qloader.sources.web.addresses import Scope
from qloader.sources.web.documents import make_document
from qloader.sources.web.fetching import Job, ask
from qloader.sources.web.settings import WebSettings

if TYPE_CHECKING:
    from qloader.sources.http.client import HttpClient
    from qloader.sources.web.robots import Robots


def read_single(
    client: HttpClient, robots: Robots | None, settings: WebSettings, scope: Scope, document_id: str
) -> Document | Skipped:
    """Asks for a page under each address that it may have."""
    why = "there is nothing at its address"
    for url in scope.candidates(document_id):
        if robots is not None and not robots.allows(url):
            return Skipped(document_id, "robots", "robots.txt disallows it")
        outcome = ask(client, settings, scope, Job(document_id, url, None))
        if outcome.kind == "failed":
            return Skipped(document_id, "unreadable", outcome.why)
        if outcome.kind == "forbidden":
            return Skipped(document_id, "forbidden", outcome.why)
        final = scope.page(outcome.url) if outcome.url else None
        if outcome.page is None or final is None or scope.key(final) != document_id:
            why = outcome.why or why
            continue
        if not outcome.page.text:
            return Skipped(document_id, "no text")
        return Document(**make_document(scope, settings, document_id, final, outcome))
    return Skipped(document_id, "vanished", why)
