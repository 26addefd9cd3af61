"""Plain words as Markdown: a backslash only where a character would otherwise change the meaning."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.entities import html5

_SPECIAL = re.compile(r"[\\*_~`<&\]]")
_PUNCTUATION = r"[!-/:-@\[-`{-~]"
_URL = r"https?://[^\s<>\[\]|*`\\]+"
_ENTITY = r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{0,31});"

_LINE_START = re.compile(
    r"(?:#{1,6}(?=\s|$)|>|[-+*](?=\s|$)|[=-]++\s*+$|[-*_](?:\s*+[-*_]){2,}+\s*+$|```|~~~|<(?=[A-Za-z/!?])"
    r"|(?=[ :|]*+-)[ :|-]++$|\[[ xX]\](?=\s|$)|\[[^\[\]]*+\]:)"
)
_NUMBER_START = re.compile(r"(\d{1,9})([.)])(?=\s|$)")
_CLOSING_HASHES = re.compile(r"(?:^|(?<=\s))#++$")

# Possessive, and each begins where a run begins: on a long run of one sign the time stays linear.
_STAR_OPENS, _STAR_CLOSES = re.compile(r"(?<!\*)\*++(?=\S)"), re.compile(r"(?<=[^\s*])\*++")
_TILDE_OPENS, _TILDE_CLOSES = re.compile(r"(?<!~)~++(?=\S)"), re.compile(r"(?<=[^\s~])~++")
_LOW_OPENS, _LOW_CLOSES = re.compile(r"(?<!\w)_++(?=\S)"), re.compile(r"(?<=[^\s_])_++(?!\w)")
_TICKS = re.compile("`++")


@dataclass(frozen=True, slots=True)
class Escaper:
    """Which characters mean something in one paragraph.

    A lone star or backtick means nothing: whether one has to be escaped depends on the others.
    """

    pattern: re.Pattern[str] | None

    def words(self, text: str) -> str:
        """Words with backslashes where they are needed."""
        if self.pattern is None or not _SPECIAL.search(text):
            return text
        return self.pattern.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    words = found[0]
    if found["url"] or (words[0] == "&" and words[1] != "#" and words[1:] not in html5):
        return words
    return "\\" + words if words[0] == "&" else "".join("\\" + char for char in words)


def escaper(text: str, *, emphasis: bool, ticks: bool) -> Escaper:
    """The escaper for a paragraph.

    Args:
        text: All plain words of the paragraph, in order; what is no plain word stands as U+FFFC.
        emphasis: Whether the paragraph has emphasis of its own, so that a single sign could begin or end some.
        ticks: The same for code and backticks.
    """
    if not _SPECIAL.search(text):
        return Escaper(None)
    parts = [rf"(?P<url>{_URL})", rf"\\(?={_PUNCTUATION}|$)", _ENTITY]
    if "*" in text and (emphasis or _pairs(text, _STAR_OPENS, _STAR_CLOSES)):
        parts.append(r"\*(?!(?<=\s\*)\s)")
    if "_" in text and (emphasis or _pairs(text, _LOW_OPENS, _LOW_CLOSES)):
        parts.append(r"(?<!\w)_++|_++(?!\w)")
    if "~" in text and (emphasis or _pairs(text, _TILDE_OPENS, _TILDE_CLOSES)):
        parts.append("~")
    if "`" in text and (ticks or len(_TICKS.findall(text)) > 1):
        parts.append("`")
    if "](" in text or "][" in text:
        parts.append(r"\](?=[(\[]|$)")
    if "<" in text and ">" in text:
        parts.append(r"<(?=[A-Za-z/!?])")
    return Escaper(re.compile("|".join(parts)))


def _pairs(text: str, opens: re.Pattern[str], closes: re.Pattern[str]) -> bool:
    """Whether a delimiter that can open stands before one that can close."""
    first = opens.search(text)
    return first is not None and closes.search(text, first.end()) is not None


def escape_line_start(text: str) -> str:
    """A line that would begin a heading, a list, a rule, a quotation, a table or a fence, made plain words."""
    if not text or text[0].isalpha():
        return text
    if _LINE_START.match(text):
        return "\\" + text
    return _NUMBER_START.sub(r"\1\\\2", text, count=1) if _NUMBER_START.match(text) else text


def escape_closing_hashes(text: str) -> str:
    """A heading's last words, where Markdown would take hashes at the end for decoration."""
    return _CLOSING_HASHES.sub(lambda found: "\\" + found[0], text) if text.endswith("#") else text
