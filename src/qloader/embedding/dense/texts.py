"""What is sent for a text: prefixes, stand-ins for what is blank, parts of what is too long, and its size in tokens."""

from __future__ import annotations

from collections.abc import Callable

STAND_IN = "."
"""What is embedded for a text without anything to read: an empty one, which every API refuses, and one of signs alone
for which the model has no vector."""

SHORTEST = 64
"""A text of fewer characters is never cut into parts: what refuses it does not do so for its length."""


def prepared(text: str, prefix: str) -> str:
    """A text as it is sent. Bytes that are no text, as a terminal may pass, count as question marks."""
    if not is_text(text):
        text = STAND_IN
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "replace").decode()
    return prefix + text


def is_text(text: str) -> bool:
    """Whether anything of a text can be seen."""
    return any(char.isprintable() and not char.isspace() for char in text)


def has_words(text: str) -> bool:
    """Whether there is a letter or a digit in a text: emoji and signs alone have none."""
    return any(char.isalnum() for char in text)


def likely_tokens(text: str) -> int:
    """About how many tokens a text has, where nobody counts them.

    English has about four characters a token, other alphabets two, Chinese and Japanese one: a character costs the
    more the more bytes it has. Limits correct this by what the provider counts.
    """
    characters = len(text)
    more = 0 if text.isascii() else len(text.encode()) - characters
    return int((characters + 1.6 * more) / 4) + 1


def halves(text: str) -> tuple[str, str]:
    """Two parts of a text, cut at a space near its middle, where there is one."""
    middle = len(text) // 2
    space = text.find(" ", middle, middle + middle // 2)
    cut = space if space > 0 else middle
    return text[:cut], text[cut:]


def parts(text: str, limit: int, count: Callable[[str], int]) -> list[str]:
    """The parts of a text, none of them over the limit, which together are the text.

    Args:
        text: The text.
        limit: How many tokens a part may have.
        count: Counts them.
    """
    whole = count(text)
    if whole <= limit or len(text) <= SHORTEST:
        return [text]
    found: list[str] = []
    size = max(len(text) * limit // whole, SHORTEST // 2)
    while text:
        part = text[:size]
        if len(text) > size and (space := part.rfind(" ", size // 2)) > 0:
            part = part[:space]
        while len(part) > SHORTEST and count(part) > limit:
            part = halves(part)[0]
        found.append(part)
        text = text[len(part) :]
    return found


def excerpt(text: str) -> str:
    """The beginning of a text, for a message that has to name it."""
    short = " ".join(text[:200].split())[:40]
    shown = "".join(char if char.isprintable() else "?" for char in short)
    return f'"{shown}…"' if len(text) > len(short) else f'"{shown}"'
