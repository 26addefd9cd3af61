"""The text between reading and writing: runs of words with marks, in blocks. All three readers make these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

STRONG, EM, STRIKE, CODE = 1, 2, 4, 8
RAW, BREAK, LINE, IMAGE = 16, 32, 64, 128
EMPHASIS = STRONG | EM | STRIKE
"""Marks of a run, as bits: how words look, or that a run is written as it stands (RAW), or is a line break
(BREAK: the author's own; LINE: where a line of the source ends), or stands for a picture (IMAGE)."""

MAX_DEPTH = 100
"""Levels of nesting that a reader follows; what lies deeper is kept as words. No real page comes near it, and no
input can exhaust the stack."""


class Run(NamedTuple):
    """Words that look alike.

    Attributes:
        text: The words; code is kept as it is, other white space is one space.
        marks: Bits from above.
        href: Where the words lead; None for no link.
    """

    text: str
    marks: int = 0
    href: str | None = None


HARD_BREAK = Run("", BREAK)
SOFT_BREAK = Run("", LINE)


@dataclass(slots=True)
class Paragraph:
    """Words."""

    runs: list[Run]


@dataclass(slots=True)
class Heading:
    """A heading of level 1 to 6."""

    level: int
    runs: list[Run]


@dataclass(slots=True)
class Code:
    """A block of code, verbatim."""

    text: str
    language: str = ""


@dataclass(slots=True)
class Rule:
    """A line across the page."""


@dataclass(slots=True)
class Quote:
    """Blocks set apart: a quotation, a panel."""

    blocks: list[Block]


@dataclass(slots=True)
class Item:
    """An item of a list; `done` is None where it is no task."""

    blocks: list[Block]
    done: bool | None = None


@dataclass(slots=True)
class ItemList:
    """A list; `start` is the first number of an ordered one, None for bullets."""

    items: list[Item]
    start: int | None = None


@dataclass(slots=True)
class Cell:
    """A cell of a table."""

    blocks: list[Block]
    header: bool = False
    columns: int = 1
    rows: int = 1


@dataclass(slots=True)
class Table:
    """Rows of cells."""

    rows: list[list[Cell]]


Block = Paragraph | Heading | Code | Rule | Quote | ItemList | Table


@dataclass(slots=True)
class Flow:
    """Collects runs and blocks as they come; runs between blocks become paragraphs."""

    blocks: list[Block] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    def text(self, text: str, marks: int = 0, href: str | None = None) -> None:
        """Adds words."""
        self.runs.append(Run(text, marks, href))

    def add(self, block: Block) -> None:
        """Adds a block; the words before it are a paragraph."""
        self.end_paragraph()
        self.blocks.append(block)

    def extend(self, blocks: Iterable[Block]) -> None:
        """Adds blocks."""
        self.end_paragraph()
        self.blocks.extend(blocks)

    def end_paragraph(self) -> None:
        """Makes a paragraph of the words since the last block."""
        if self.runs:
            self.blocks.append(Paragraph(self.runs))
            self.runs = []

    def finish(self) -> list[Block]:
        """All blocks."""
        self.end_paragraph()
        return self.blocks


def titled(title: str, blocks: Sequence[Block]) -> list[Block]:
    """Blocks under a bold title; the blocks alone where there is none."""
    return [Paragraph([Run(title, STRONG)]), *blocks] if title.strip() else list(blocks)


def panel(kind: str, title: str, blocks: Sequence[Block]) -> Quote:
    """A panel: a quotation with a bold title, `Warning: Backup first`, or as much of it as there is."""
    return Quote(titled(": ".join(part for part in (kind, title.strip()) if part), blocks))


def image(label: str, url: str | None) -> Run:
    """A picture; without an address its label alone."""
    return Run(label, IMAGE, url) if url else Run(label)


def plain(runs: Iterable[Run]) -> str:
    """The words of runs, without marks."""
    return "".join(" " if run.marks & (BREAK | LINE) else "" if run.marks & RAW else run.text for run in runs)
