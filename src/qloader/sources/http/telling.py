"""Words for what a server's answer, or the lack of one, means to the user."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from qloader.sources.http.addresses import shown
from qloader.sources.http.errors import (
    BrokenAnswerError,
    CredentialsError,
    NotFoundError,
    PermissionDeniedError,
    RedirectError,
    RefusedRequestError,
    RequestError,
    UnavailableError,
)

if TYPE_CHECKING:
    from qloader.sources.http.exchange import Answer


class PassingError(Exception):
    """The request failed, and may succeed if it is sent again.

    Attributes:
        reason: What happened, as the end of a sentence; of an answer below 300, what it is instead of a whole one.
        retry_after: What the server said of when to come back.
        answer: What it said besides.
    """

    def __init__(self, reason: str, *, retry_after: str | None = None, answer: Answer | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        self.answer = answer


def few_words(error: RequestError) -> str:
    """Why a request failed, for a sentence that names its address already."""
    if isinstance(error.__cause__, PassingError):
        return error.__cause__.reason
    return str(error).partition(": ")[2].rstrip(".")


def raise_passing(what: str, url: str, failure: PassingError, times: int) -> NoReturn:
    """Gives up on a request.

    Args:
        what: The source's place in the config.
        url: What was asked for.
        failure: What went wrong the last time.
        times: How often it was tried.
    """
    place = shown(url)
    answer = failure.answer
    tried = f"tried {times} times" if times > 1 else "tried once"
    if answer is not None and answer.status < 300:
        raise BrokenAnswerError(
            f"{what}: the answer of {place} is {failure.reason} ({tried}).",
            remedy=f"Check {what}.url, and what stands between here and the server (a proxy, a gateway).",
            answer=answer,
        ) from failure
    if answer is not None and answer.status == 429:
        raise UnavailableError(
            f"{what}: {place} says that it is asked too often (429, {tried}).",
            remedy=f"Try again later, or set {what}.rate to fewer requests a second.",
            answer=answer,
        ) from failure
    if answer is not None and answer.status == 503:
        raise UnavailableError(
            f"{what}: {place} is not available just now: maintenance or overload (503, {tried}).",
            remedy="Try again later.",
            answer=answer,
        ) from failure
    raise UnavailableError(
        f"{what}: {place} cannot be read: {failure.reason} ({tried}).",
        remedy=f"Check {what}.url and the network, proxies included, and try again.",
        answer=answer,
    ) from failure


def raise_status(what: str, answer: Answer, *, has_credentials: bool) -> NoReturn:
    """Says what a status of 300 or more means.

    Args:
        what: The source's place in the config.
        answer: What came back.
        has_credentials: Whether any were sent.
    """
    place = shown(answer.url)
    if answer.status == 401:
        if not has_credentials:
            raise CredentialsError(
                f"{what}: {place} wants credentials (401), and there are none.",
                remedy=f"Set {what}.token, best as a variable of the environment.",
                answer=answer,
            )
        raise CredentialsError(
            f"{what}: {place} does not accept the credentials (401).",
            remedy=f"Check {what}.token: it may be mistyped, expired or revoked, or belong to another user.",
            answer=answer,
        )
    if answer.status == 403:
        if "captcha" in answer.headers.get("x-authentication-denied-reason", "").lower():
            raise PermissionDeniedError(
                f"{what}: {place} wants a CAPTCHA solved first (403), after too many failed logins.",
                remedy="Log in with a browser as that user, once, and check the token.",
                answer=answer,
            )
        raise PermissionDeniedError(
            f"{what}: {place} may not be read with these credentials (403).",
            remedy="Give the user or the token the right to read it.",
            answer=answer,
        )
    if answer.status in (404, 410):
        raise NotFoundError(
            f"{what}: there is nothing at {place} ({answer.status}).",
            remedy=f"Check {what}.url: it is the address under which the server itself answers.",
            answer=answer,
        )
    raise RefusedRequestError(
        f"{what}: {place} refuses the request ({answer.status}).",
        remedy=f"Check {what}.url and what is asked for there.",
        answer=answer,
    )


def not_an_address(what: str, url: str) -> RedirectError:
    """For what looks like an address and is none."""
    return RedirectError(
        f"{what}: {shown(url)[:200]!r} is no address of the web.",
        remedy=f"Check {what}.url, or the page that links to it.",
        target=shown(url),
    )


def private_address(what: str, url: str, address: str) -> RedirectError:
    """For an address that a stranger must not lead to."""
    return RedirectError(
        f"{what}: {shown(url)} leads to {address}, an address of this machine or its network.",
        remedy=f"Nothing was sent there. If it is meant, set {what}.allow_private: true.",
        target=address,
    )
