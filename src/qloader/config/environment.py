"""`${VAR}` in a config: which variables a text names, and what they put in.

A text is substituted after YAML was parsed, so no variable can add a key, a list or a quote. YAML itself
would stop at the brace of `{token: ${TOKEN}}`; so `hide` covers references before the parsing, and `reveal`
uncovers them after it. Both keep every character in its column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_COVERED = re.compile(rf"\$?\$\{{{_NAME}(?::-[^{{}}\n\"'\\]*)?\}}")
_REFERENCE = re.compile(rf"\$(\$\{{)|\$\{{({_NAME})(?::-([^}}]*))?\}}|\$\{{")
_HIDDEN = 0x10F800
"""Where the covered ASCII characters lie meanwhile: the end of the last private use plane, which no text uses."""

_HIDDEN_CHARS = re.compile(f"[{chr(_HIDDEN)}-{chr(_HIDDEN + 0x7F)}]")
_COVERED_WHOLE = re.compile("{0}{0}?{1}[^{2}]*{2}".format(*(chr(_HIDDEN + ord(c)) for c in "${}")))


class EnvironmentProblem(Exception):
    """A reference that cannot be resolved; the message names the variable, never a value."""


def hide(text: str) -> str:
    """Covers `${…}` from YAML, whose syntax it would break in `[…]` and `{…}`. The length stays.

    Raises:
        ValueError: The text holds a character that is used for covering.
    """
    if found := _HIDDEN_CHARS.search(text):
        raise ValueError(
            f"line {text.count(chr(10), 0, found.start()) + 1} holds the private character U+{ord(found[0]):X}"
        )
    if "${" not in text:
        return text
    return _COVERED.sub(
        lambda match: "".join(chr(_HIDDEN + ord(c)) if c < "\x80" else c for c in match[0]),
        text,
    )


def reveal(text: str) -> str:
    r"""Uncovers the references that `hide` covered, whole ones only: `"\U0010F801"` in a file is that character."""
    if text.isascii():
        return text
    return _COVERED_WHOLE.sub(lambda match: reveal_pieces(match[0]), text)


def reveal_pieces(text: str) -> str:
    """Uncovers pieces of references too, as an error message of YAML may quote them."""
    return _HIDDEN_CHARS.sub(lambda match: chr(ord(match[0]) - _HIDDEN), text)


def substitute(text: str, environment: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Puts variables into a text: `${VAR}`, `${VAR:-default}` (also where VAR is empty), `$${` for a literal `${`.

    Args:
        text: The text.
        environment: Variables by name.

    Returns:
        The text, and the names of the variables whose value is in it (a default that was used is no secret).

    Raises:
        EnvironmentProblem: A variable is not set and has no default, or no UTF-8, or a reference is malformed.
    """
    names: list[str] = []

    def put(match: re.Match[str]) -> str:
        literal, name, default = match.groups()
        if literal:
            return "${"
        if name is None or (default is not None and "${" in default):
            raise EnvironmentProblem(
                "`${` begins no variable; expected ${NAME} or ${NAME:-default}, or $${ for the characters themselves"
            )
        value = environment.get(name)
        if default is not None and not value:
            return str(default)
        if value is None:
            raise EnvironmentProblem(
                f"the environment variable {name} is not set; set it, or give a default: ${{{name}:-…}}"
            )
        try:
            value.encode()
        except UnicodeEncodeError:  # what is no UTF-8 arrives as lone surrogates
            raise EnvironmentProblem(f"the environment variable {name} is not valid UTF-8") from None
        names.append(name)
        return value

    return _REFERENCE.sub(put, text), tuple(dict.fromkeys(names))
