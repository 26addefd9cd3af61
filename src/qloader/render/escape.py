r"""Makes text that others wrote safe to print: what a terminal or a reader would not see becomes visible.

Ids, titles and error messages hold names that anybody may choose. A name may recolour or clear a terminal
(controls), reverse what stands beside it (bidi overrides), pass for another name (zero-width characters) or
pose as a line of ours (newlines). A backslash stays as it is: `\x1b` may also be four plain characters.
"""

from __future__ import annotations

import re

_HIDDEN = (
    r"\x00-\x1f\x7f-\x9f"  # C0, DEL, C1: terminal escapes
    r"\u2028\u2029\u202a-\u202e\u2066-\u2069\u061c\u200e\u200f"  # line separators, bidi controls
    r"\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f"  # no width
    r"\u2800\u3164\uffa0"  # letters and patterns without a glyph
    r"\ufe00-\ufe0f\ufeff\ufff0-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff"  # tags and variation selectors: whole texts have been hidden in them
    r"\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"  # no characters at all
)
_PICTURE = r"[\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]"
_EMOJI_PART = (
    rf"(?<={_PICTURE})\ufe0f|(?<=[0-9#*])\ufe0f(?=\u20e3)"
    rf"|(?:(?<={_PICTURE})|(?<={_PICTURE}\ufe0f))\u200d(?={_PICTURE})"
)
"""Within an emoji, a joiner or selector shows in the picture, so it hides nothing."""

_SEARCH = re.compile(rf"{_EMOJI_PART}|([{_HIDDEN}])")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

_DROPPED = re.compile(r"[\xad\u034f\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f\ufe00-\ufe0e\ufeff]+")
_KEPT = re.compile(r"((?<=[^\x00-\x7f\u200c\u200d])[\u200c\u200d]|(?<=\S)\ufe0f)")


def escape_controls(text: str) -> str:
    r"""A name on one line, with nothing hidden: `\x1b`, `\u202e`, `\n` and the like in place of the character.

    Use it for ids, titles, addresses, and lines made of them.
    """
    if text.isascii() and text.isprintable():
        return text
    return _SEARCH.sub(_escape, text)


def escape_line(line: str) -> str:
    """One line of a text: its tabs stay, and joiners within words, all else is escaped as in a name."""
    if line.isascii() and line.replace("\t", "").isprintable():
        return line
    parts = _KEPT.split(line)
    return "".join(part if number % 2 else _escape_but_tabs(part) for number, part in enumerate(parts))


def escape_message(text: str) -> str:
    """A message of several lines: its line ends and tabs stay, all else is escaped as in a name.

    Lines after the first are indented, so that a newline in a name cannot pose as a line of ours.
    """
    first, *others = text.split("\n")
    lines = [_escape_but_tabs(first)]
    for line in others:
        is_free = line and not line.startswith("  ")
        lines.append(f"  {_escape_but_tabs(line)}" if is_free else _escape_but_tabs(line))
    return "\n".join(lines)


def escape_prose(text: str) -> str:
    """A document's text on one line: white space becomes one space, what hyphenates or marks invisibly goes.

    Joiners within words stay: Persian and the scripts of India are misspelt without them. Controls that act
    on a terminal or on the order of the letters are escaped as in a name.
    """
    flat = _DROPPED.sub("", " ".join(text.split()))
    if flat.isascii() and flat.isprintable():
        return flat
    # The pattern's group makes `split` return what is kept in between, at the odd places.
    parts = _KEPT.split(flat)
    return "".join(part if number % 2 else escape_controls(part) for number, part in enumerate(parts))


def _escape_but_tabs(line: str) -> str:
    return "\t".join(escape_controls(part) for part in line.split("\t"))


def _escape(match: re.Match[str]) -> str:
    character = match[1]
    if character is None:
        return match[0]
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
