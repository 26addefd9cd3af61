"""From a text to its sections and blocks: the smallest pieces that a chunk is made of.

A block is a paragraph, a fenced code, a list without blank lines, a table. One that is longer than a chunk
falls apart at its own joints: blank lines (within fences), lines, sentences, and at last wherever
semantic-text-splitter finds a word's or a letter's edge. Every joint depends on the text beside it only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from qloader.chunking.fences import Fences, has_nested_fences
from qloader.documents.document import Syntax
from qloader.documents.markdown import atx_heading, heading_words, is_block, setext_level

if TYPE_CHECKING:
    from semantic_text_splitter import TextSplitter

_BLANK = re.compile(r"\n\n+")
_LINE = re.compile(r"\n+")
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])")

_WINDOW = 16
"""Text without any joint is given to the splitter in windows of this many chunks: it takes quadratic time."""


class Span(NamedTuple):
    """A piece of the text: `text[start:end]`. A tuple, since a large load makes millions."""

    start: int
    end: int


@dataclass(slots=True)
class Section:
    """What stands under one heading, or several that follow each other at once.

    Attributes:
        headings: The headings above, outermost first, the section's own included.
        opening: The span of the section's own headings; None for what stands before the first.
        blocks: The spans of what follows, none longer than was asked for.
    """

    headings: tuple[str, ...]
    opening: Span | None
    blocks: list[Span] = field(default_factory=list)


def split_sections(text: str, syntax: Syntax, limit: int) -> list[Section]:
    """The sections of a normalised text, in order.

    Args:
        text: The text.
        syntax: Markdown has headings and fences; text is one section of paragraphs.
        limit: The length of a block at most, in characters.
    """
    section = Section((), None)
    sections = [section]
    trail: list[tuple[int, str]] = []
    for level, words, span in _markdown_pieces(text) if syntax == "markdown" else _paragraphs(text):
        if not level:
            if span[1] - span[0] <= limit:
                section.blocks.append(span)
            else:
                section.blocks.extend(_break_up(text, span, limit))
            continue
        while trail and trail[-1][0] >= level:
            trail.pop()
        trail.append((level, words))
        headings = tuple(words for _, words in trail if words)
        opening = span
        if section.opening is not None and not section.blocks:
            # A heading straight under another one: they open one section together.
            opening = Span(section.opening.start, span.end)
            sections.pop()
        section = Section(headings, opening)
        sections.append(section)
    return [found for found in sections if found.blocks or found.opening]


_Piece = tuple[int, str, Span]
"""A heading's level (0: a block, no heading), its words, and where it stands."""


def _paragraphs(text: str) -> Iterator[_Piece]:
    # In a normalised text a blank line is two line ends: no expression is needed on this, the hot path.
    at = 0
    for block in text.split("\n\n"):
        length = len(block)
        if length and not block.isspace():
            start = at
            if block[0] == "\n":
                start += length - len(block.lstrip("\n"))
            yield 0, "", Span(start, at + (length if block[-1] != "\n" else len(block.rstrip("\n"))))
        at += length + 2


def _markdown_pieces(text: str) -> Iterator[_Piece]:
    # One search over the whole text tells for most of them that no block has to be looked at line by line.
    has_fences = "```" in text or "~~~" in text
    has_underlines = "\n=" in text or "\n--" in text or "\n-\n" in text or "\n " in text or text.endswith("\n-")
    fences = Fences(looks_into_items=has_fences and has_nested_fences(text))
    fence_start, items = 0, fences.items
    for piece in _paragraphs(text):
        start, end = piece[2]
        if not fences.mark:
            block = text[start:end]
            if not (has_fences and ("```" in block or "~~~" in block)):
                if fences.looks_into_items:
                    _take(fences, block)
                if "#" in block or (has_underlines and "\n" in block):
                    yield from _with_headings(block, piece[2])
                else:
                    yield piece
                continue
            fence_start, items = start, fences.items
        _take(fences, text[start:end])
        if not fences.mark:
            # Blank lines within a fence are part of it: the whole is one block, headings before it are not.
            yield from _with_headings(
                text[fence_start:end],
                Span(fence_start, end),
                Fences(looks_into_items=fences.looks_into_items, items=items),
            )
    if fences.mark:
        whole = Span(fence_start, len(text.rstrip("\n")))
        yield from _with_headings(
            text[whole.start : whole.end], whole, Fences(looks_into_items=fences.looks_into_items, items=items)
        )


def _take(fences: Fences, block: str) -> None:
    for line in block.split("\n"):
        fences.take(line)


def _with_headings(block: str, span: Span, fences: Fences | None = None) -> Iterator[_Piece]:
    """The headings in a block, and what stands between them.

    Args:
        block: The block.
        span: Where it stands.
        fences: As they are before it; None where there is none in it.
    """
    if block[0] == "#" and "\n" not in block:  # a heading alone between blank lines, as nearly all are
        heading = atx_heading(block)
        yield (0, "", span) if heading is None else (*heading, span)
        return
    at = begun = span.start  # `begun` is where the piece under way began
    previous = ""
    for line in block.split("\n"):
        end = at + len(line)
        is_code = fences is not None and fences.take(line)
        heading = None if is_code else atx_heading(line)
        level = setext_level(line) if previous and not is_code else 0
        if heading is not None or level:
            start = at if heading is not None else at - len(previous) - 1
            if begun < start - 1:
                yield 0, "", Span(begun, start - 1)
            yield *(heading or (level, heading_words(previous))), Span(start, end)
            begun, previous = end + 1, ""
        else:
            previous = "" if is_code or is_block(line) else line
        at = end + 1
    if begun < span.end:
        yield 0, "", Span(begun, span.end)


def _break_up(text: str, span: Span, limit: int) -> Iterator[Span]:
    """A block as pieces no longer than the limit, at its strongest joints."""
    if span.end - span.start <= limit:
        yield span
        return
    for joint in (_BLANK, _LINE, _SENTENCE):
        pieces = list(_between(text, span, joint))
        if len(pieces) > 1:
            for piece in pieces:
                yield from _break_up(text, piece, limit)
            return
    yield from _cut(text, span, limit)


def _between(text: str, span: Span, joint: re.Pattern[str]) -> Iterator[Span]:
    """The pieces between joints; none is empty or white space alone."""
    start = span.start
    for found in joint.finditer(text, span.start, span.end):
        if found.start() > start and not text[start : found.start()].isspace():
            yield Span(start, found.start())
            start = found.end()
        elif found.start() <= start:
            start = found.end()
    if start < span.end and not text[start : span.end].isspace():
        yield Span(start, span.end)


def _cut(text: str, span: Span, limit: int) -> Iterator[Span]:
    """A piece without joints: the splitter's words, or letters."""
    splitter = _splitter(limit)
    for start in range(span.start, span.end, _WINDOW * limit):
        window = text[start : min(start + _WINDOW * limit, span.end)]
        for offset, chunk in splitter.chunk_indices(window):
            yield Span(start + offset, start + offset + len(chunk))


@lru_cache(maxsize=8)
def _splitter(limit: int) -> TextSplitter:
    from semantic_text_splitter import TextSplitter

    return TextSplitter(limit)
