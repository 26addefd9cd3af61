"""What a provider may say of a batch beside `EmbeddingError`."""

from __future__ import annotations

from qloader.errors import EmbeddingError

__all__ = ["EmbeddingError", "RefusedTextsError", "TextError", "TryAgainError"]


class TryAgainError(Exception):
    """A request failed, and may succeed if it is sent again.

    Attributes:
        reason: What happened, as the end of a sentence, e.g. `it answers 503`.
        retry_after: What the provider said of when to come back: seconds or a date, as in the header of that name.
        is_rate: Whether it is asked too often, so that every other request has to wait, too.
    """

    def __init__(self, reason: str, *, retry_after: str | None = None, is_rate: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        self.is_rate = is_rate


class RefusedTextsError(EmbeddingError):
    """The provider does not take these texts; fewer of them, or shorter ones, it may.

    Attributes:
        is_too_much: Whether it says that they are too many or too long.
    """

    def __init__(self, message: str, *, remedy: str = "", is_too_much: bool = False) -> None:
        super().__init__(message, remedy=remedy)
        self.is_too_much = is_too_much


class TextError(EmbeddingError):
    """One text has no vector that could be used.

    Attributes:
        text: The text, as it was sent.
    """

    def __init__(self, message: str, text: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.text = text
