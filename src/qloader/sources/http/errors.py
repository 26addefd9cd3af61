"""What can go wrong between a source and its server: one class per remedy.

No message holds a password, a token, a query string or anything of an answer's body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qloader.errors import SourceError

if TYPE_CHECKING:
    from qloader.sources.http.exchange import Answer


class RequestError(SourceError):
    """A request got no usable answer.

    Attributes:
        answer: What the server said, where it said anything; its body is cut at 64 KiB.
    """

    def __init__(self, message: str, *, remedy: str = "", answer: Answer | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.answer = answer

    @property
    def status(self) -> int | None:
        """The status of the answer, or None where there was none."""
        return self.answer.status if self.answer else None


class CredentialsError(RequestError):
    """The server does not accept the credentials (401), or wants some."""


class PermissionDeniedError(RequestError):
    """The server knows who asks, and refuses (403)."""


class NotFoundError(RequestError):
    """There is nothing at this address (404), or no longer (410)."""


class RefusedRequestError(RequestError):
    """The server refuses the request itself (any other 4xx)."""


class UnavailableError(RequestError):
    """The server cannot be reached, or fails again and again: no connection, no answer in time, 429, 5xx."""


class LoginPageError(RequestError):
    """A web page came where data should: most often the login page of a single sign-on."""


class BrokenAnswerError(RequestError):
    """The answer cannot be read: JSON that is cut off, a broken compression, another protocol than HTTP."""


class AnswerTooLargeError(RequestError):
    """The answer is larger than what is allowed, as sent or after decompression."""


class SlowAnswerError(RequestError):
    """The answer was not complete within the deadline, though the server kept sending."""


class RedirectError(RequestError):
    """A redirect that is not followed: a loop, another host, an address of this machine or network.

    Attributes:
        target: Where it led, without its query; empty for a loop, which leads nowhere.
    """

    def __init__(self, message: str, *, remedy: str = "", answer: Answer | None = None, target: str = "") -> None:
        super().__init__(message, remedy=remedy, answer=answer)
        self.target = target


class CertificateError(RequestError):
    """The server's certificate is not trusted."""
