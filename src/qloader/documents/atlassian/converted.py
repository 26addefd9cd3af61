"""What a conversion needs to know from outside, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

CONVERSION = 1
"""The version of all conversions of this package: raised where one of them gives another text for the same input.

It is part of what the sources of Atlassian's sites say of how they read, so that a change reads everything again.
"""


def _no_page(title: str, space: str | None) -> str | None:
    return None


def _nothing(name: str) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Resolvers:
    """Questions that only the caller can answer; None means "not known", and the words are kept without a link.

    Attributes:
        page: The URL of a page from its title and the key of its space (None: the space of the text itself).
        user: The display name of a user from an account id (Cloud), a user key or a user name (Data Center).
        attachment: The URL of an attachment from its file name.
        issue: The URL of a Jira issue from its key.
    """

    page: Callable[[str, str | None], str | None] = _no_page
    user: Callable[[str], str | None] = _nothing
    attachment: Callable[[str], str | None] = _nothing
    issue: Callable[[str], str | None] = _nothing


@dataclass(frozen=True, slots=True)
class Converted:
    """A text as Markdown.

    Attributes:
        text: The Markdown; it ends with one line end, or is empty.
        unknown: The names of node types, marks and macros that were not understood, each once, sorted. The text
            inside them is kept.
        mentions: The ids of the users that are mentioned, each once, sorted: what a caller has to look up so that
            a second conversion shows names.
    """

    text: str
    unknown: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()


@dataclass(slots=True)
class Findings:
    """What is noted on the way through one text."""

    resolvers: Resolvers
    unknown: set[str] = field(default_factory=set)
    mentions: set[str] = field(default_factory=set)

    def name_of(self, user: str, fallback: str = "") -> str:
        """How a mentioned user is written, with the `@`; `fallback` is what the text itself calls the user."""
        self.mentions.add(user)
        return "@" + ((self.resolvers.user(user) or fallback or user).strip().removeprefix("@") or user)

    def converted(self, text: str) -> Converted:
        """The result."""
        return Converted(text, tuple(sorted(self.unknown)), tuple(sorted(self.mentions)))
