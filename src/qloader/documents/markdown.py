"""The lines of Markdown that have a meaning beyond their words: headings and fences. Pure.

Readers (for titles) and the chunker (for sections) share this grammar, so that they see the same headings.
"""

from __future__ import annotations

import re

from qloader.documents.normalise import normalise_text

MAX_TITLE = 300
"""Characters of a title or heading that are kept."""

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*)|)$")
_SETEXT = re.compile(r" {0,3}(=+|-+)$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)$")
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()\s]*(?:\s+\"[^\"]*\")?\)|\[[^\[\]]*\])")
_ANCHOR = re.compile(r"\s*\{#[^{}]*\}$")
_MARKUP = re.compile(r"[\[\]*_`#{}\\]")
_CLOSING = re.compile(r"(?:^|\s+)#+$")
_EMPHASIS = re.compile(r"(?<!\w)[*_](\S.*?\S|\S)[*_](?!\w)")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


def atx_heading(line: str) -> tuple[int, str] | None:
    """Level (1 to 6) and words of a heading written with hashes; None where the line is none."""
    found = _ATX.match(line)
    return (len(found[1]), heading_words(found[2] or "")) if found else None


def setext_level(line: str) -> int:
    """The level of the heading that this line underlines (1 for `===`, 2 for `---`); 0 where it underlines none."""
    found = _SETEXT.match(line)
    return 0 if found is None else 1 if found[1][0] == "=" else 2


def opens_fence(line: str) -> str:
    """The mark of a code fence that begins in this line, such as three backticks; empty where none does."""
    found = _FENCE.match(line)
    return "" if found is None or (found[1][0] == "`" and "`" in found[2]) else found[1]


def closes_fence(line: str, mark: str) -> bool:
    """Whether a line ends the fence that began with `mark`."""
    found = _FENCE.match(line)
    return found is not None and found[1].startswith(mark) and not found[2].strip()


def is_block(line: str) -> bool:
    """True where a line cannot be the words of an underlined heading."""
    return not line.strip() or line.startswith(("    ", "\t", ">", "|", "- ", "* ", "+ ", "<", "#"))


def heading_words(text: str) -> str:
    """A heading without its closing hashes, anchor, links, emphasis and escapes."""
    text = text.strip()[: 4 * MAX_TITLE]  # first, so that no expression below runs over a whole book
    if not _MARKUP.search(text):
        return clean_title(text)
    text = _CLOSING.sub("", text)
    text = _ANCHOR.sub("", text)
    text = _LINK.sub(r"\1", text)
    text = text.replace("**", "").replace("__", "").replace("`", "")
    text = _EMPHASIS.sub(r"\1", text)
    return clean_title(_ESCAPE.sub(r"\1", text))


def clean_title(title: str) -> str:
    """One line, no control characters, at most `MAX_TITLE` characters."""
    words = " ".join(title.split())
    if not words.isprintable():
        words = "".join(char for char in words if char.isprintable() or char == "\u200d")
    words = words[:MAX_TITLE].strip()
    return words if words.isascii() else normalise_text(words).rstrip("\n")
