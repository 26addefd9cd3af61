"""One page, asked for and read: what came of it, as a value. Runs in threads, and touches nothing that they share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from qloader.sources.http.errors import (
    AnswerTooLargeError,
    CredentialsError,
    PermissionDeniedError,
    RedirectError,
    RefusedRequestError,
    RequestError,
)
from qloader.sources.http.telling import PassingError
from qloader.sources.web.addresses import Scope
from qloader.sources.web.page import Page, read_page
from qloader.sources.web.settings import WebSettings
from qloader.sources.web.store import Row

if TYPE_CHECKING:
    from qloader.sources.http.client import Answer, HttpClient

_ACCEPT = "text/html,application/xhtml+xml,text/markdown;q=0.9,text/plain;q=0.8,*/*;q=0.1"
_LOGIN = re.compile(r"(?:^|[/_.-])(?:log-?in|sign-?in|sso|oauth2?|auth|saml)(?:[/_.-]|$)", re.IGNORECASE)

Kind = Literal["page", "unchanged", "no page", "gone", "too large", "forbidden", "refused", "elsewhere", "failed"]


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
        if answer.status == 304 and job.row is not None and scope.page(answer.url) != job.row.url:
            # A page elsewhere has the same validators: what is known is not known of this one.
            answer = client.get(job.url, headers=headers)
    except AnswerTooLargeError as error:
        return Outcome(job, "too large", error=error)
    except (CredentialsError, PermissionDeniedError) as error:
        return Outcome(job, "forbidden", error=error, why=f"it answers {error.status}")
    except RefusedRequestError as error:
        return Outcome(job, "refused", error=error, why=f"it answers {error.status}")
    except RedirectError as error:
        return Outcome(job, "elsewhere", error=error, why=f"to {error.target}")
    except RequestError as error:
        return Outcome(job, "failed", error=error, why=_why(error))
    return _read(settings, job, answer)


def _why(error: RequestError) -> str:
    """Why a page could not be read, in few words: the page itself is named beside them."""
    if isinstance(error.__cause__, PassingError):
        return error.__cause__.reason
    return str(error).partition(": ")[2].rstrip(".")


def _read(settings: WebSettings, job: Job, answer: Answer) -> Outcome:
    def outcome(kind: Kind, page: Page | None = None, why: str = "") -> Outcome:
        return Outcome(
            job,
            kind,
            url=answer.url,
            permanent=answer.permanent,
            etag=answer.headers.get("etag", ""),
            modified=answer.headers.get("last-modified", ""),
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
    if answer.moved and not answer.permanent and _LOGIN.search(urlsplit(answer.url).path):
        return outcome("elsewhere", why="to a login")
    page = read_page(answer.body, answer.headers, answer.url, selector=settings.selector, remove=settings.remove)
    if page is None:
        return outcome("no page", why=answer.content_type or "no HTML")
    return outcome("page", page)
