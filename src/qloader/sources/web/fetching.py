"""One page, asked for and read: what came of it, as a value. Runs in threads, and touches nothing that they share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from qloader.documents.reading import human_size
from qloader.sources.http.errors import (
    AnswerTooLargeError,
    CredentialsError,
    PermissionDeniedError,
    RedirectError,
    RefusedRequestError,
    RequestError,
)
from qloader.sources.http.telling import few_words
from qloader.sources.web.addresses import Scope
from qloader.sources.web.page import Page, forbids_index, read_page
from qloader.sources.web.settings import WebSettings
from qloader.sources.web.store import Row

if TYPE_CHECKING:
    from qloader.sources.http.client import Answer, HttpClient

_ACCEPT = "text/html,application/xhtml+xml,text/markdown;q=0.9,text/plain;q=0.8,*/*;q=0.1"
_LOGIN = re.compile(r"(?:^|[/_.-])(?:log-?in|sign-?in|sso|oauth2?|auth|saml)(?:[/_.-]|$)", re.IGNORECASE)

Kind = Literal["page", "unchanged", "no page", "gone", "too large", "forbidden", "refused", "elsewhere", "failed"]

SKIPS: dict[Kind, str] = {
    "no page": "no page",
    "too large": "too large",
    "forbidden": "forbidden",
    "refused": "unreadable",
    "elsewhere": "elsewhere",
    "failed": "unreadable",
}
"""Which of `SKIP_REASONS` an outcome without a page is, but for one that is `gone`."""


@dataclass(frozen=True, slots=True)
class Job:
    """A page to ask for.

    Attributes:
        key: Its id.
        url: Its address.
        row: What is known of it.
        depth: How many links away from the start it is.
    """

    key: str
    url: str
    row: Row | None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Attributes:
        job: What was asked for.
        kind: `page`; `unchanged` (304); `no page` (neither HTML nor text); `gone` (404, 410); `too large`;
            `forbidden` (401, 403); `refused` (other 4xx); `elsewhere` (a redirect that is not followed, or to a
            login); `failed` (5xx, a timeout, no connection).
        url: The address that answered.
        permanent: Whether all redirects that led there are for good.
        etag: Its `ETag`.
        modified: Its `Last-Modified`.
        noindex: Whether its headers keep it out of an index.
        page: The page.
        size: Bytes that were read.
        why: What a person needs to see why.
        error: The error behind it.
    """

    job: Job
    kind: Kind
    url: str = ""
    permanent: bool = True
    etag: str = ""
    modified: str = ""
    noindex: bool = False
    page: Page | None = None
    size: int = 0
    why: str = ""
    error: RequestError | None = None


def ask(client: HttpClient, settings: WebSettings, scope: Scope, job: Job) -> Outcome:
    """Asks for a page, on condition that it is another one than is known.

    Args:
        client: Where to ask.
        settings: How pages are read.
        scope: What the source covers.
        job: The page.

    Raises:
        BadSelectorError: A selector is no CSS.
    """
    headers = {"accept": _ACCEPT}
    if settings.languages:
        headers["accept-language"] = ", ".join(settings.languages)
    try:
        validators = job.row.validators if job.row is not None else {}
        answer = client.get(job.url, headers={**headers, **validators})
        if answer.status == 304 and job.row is not None and not _is_of(job.row, answer, settings, scope):
            answer = client.get(job.url, headers=headers)
    except AnswerTooLargeError as error:
        return Outcome(job, "too large", error=error, why=f"max_bytes is {human_size(settings.max_bytes)}")
    except (CredentialsError, PermissionDeniedError) as error:
        return Outcome(job, "forbidden", error=error, why=f"it answers {error.status}")
    except RefusedRequestError as error:
        return Outcome(job, "refused", error=error, why=f"it answers {error.status}")
    except RedirectError as error:
        return Outcome(
            job, "elsewhere", error=error, why=f"to {error.target}" if error.target else "its redirects never end"
        )
    except RequestError as error:
        return Outcome(job, "failed", error=error, why=few_words(error))
    return _read(settings, scope, job, answer)


def _is_of(row: Row, answer: Answer, settings: WebSettings, scope: Scope) -> bool:
    """Whether what did not change (304) is what is known: the same page, and no less free to be in an index.

    A page elsewhere may have the same validators; and what the headers say of robots changes without the page.
    """
    is_as_free = not settings.robots or forbids_index(answer.headers) == row.noindex
    return scope.page(answer.url) == row.url and is_as_free


def _leads_to_login(scope: Scope, answer: Answer) -> bool:
    """Whether a redirect ended at a login.

    A page may be about logins, and have moved within the site for good; but then it is not told where to come back to.
    """
    place = urlsplit(answer.url)
    if not answer.moved or not _LOGIN.search(place.path):
        return False
    return not answer.permanent or bool(place.query) or scope.page(answer.url) is None


def _read(settings: WebSettings, scope: Scope, job: Job, answer: Answer) -> Outcome:
    def outcome(kind: Kind, page: Page | None = None, why: str = "") -> Outcome:
        return Outcome(
            job,
            kind,
            url=answer.url,
            permanent=answer.permanent,
            etag=answer.headers.get("etag", ""),
            modified=answer.headers.get("last-modified", ""),
            noindex=forbids_index(answer.headers),
            page=page,
            size=len(answer.body),
            why=why,
        )

    if answer.status == 304:
        return outcome("unchanged")
    if answer.status in (404, 410):
        return outcome("gone")
    if answer.status >= 300:
        return outcome("failed", why=f"it answers {answer.status}")
    if _leads_to_login(scope, answer):
        return outcome("elsewhere", why="to a login")
    page = read_page(answer.body, answer.headers, answer.url, selector=settings.selector, remove=settings.remove)
    if page is None:
        return outcome("no page", why=answer.content_type or "no HTML")
    return outcome("page", page)
