"""The pages of the docs as values: blocks, notes, headings, links.

A note is an HTML comment, which no reader sees:

    <!-- scene: a git clone -->                 a new folder, in which the examples below are run, one after the other
    <!-- step: a page is edited -->             something happens in that folder
    <!-- output -->                             the block below is what the block above printed
    <!-- output of: qloader plan -->            the block below is what this command prints
    <!-- not run: why -->                       the block below is no example that a test could run
    <!-- abridged -->                           the JSON block below has `…` where something is left out
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_NOTE = re.compile(r"<!--\s*(scene|step|output of|output|not run|abridged|file)(?::\s*(.*?))?\s*-->", re.DOTALL)
_INLINE = re.compile(r"[*_`]|!?\[([^\]]*)\]\([^)]*\)")


@dataclass(frozen=True)
class Note:
    """A comment for the tests: its word, and what it says."""

    word: str
    text: str


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: Where it stands.
        line: In which line it begins.
        language: What the fence says.
        text: What is in it.
        notes: What was noted since the block before.
    """

    page: Path
    line: int
    language: str
    text: str
    notes: tuple[Note, ...]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def note(self, word: str) -> str | None:
        return next((note.text for note in self.notes if note.word == word), None)


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its Markdown, and each `code` in it."""

    text: str
    codes: tuple[str, ...]


def pages() -> list[Path]:
    """Every page that people read."""
    return [*sorted(DOCS.rglob("*.md")), *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"))]


def named(page: Path) -> str:
    """A page's name in the list of tests."""
    return page.relative_to(ROOT).as_posix()


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@cache
def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page with their notes."""
    found, notes = [], []
    for token in _tokens(page):
        if token.type == "html_block":
            notes += [Note(word, text or "") for word, text in _NOTE.findall(token.content)]
        elif token.type == "fence":
            assert token.map is not None
            found.append(Block(page, token.map[0] + 1, token.info.strip(), token.content, tuple(notes)))
            notes = []
    return found


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    result = set()
    tokens = _tokens(page)
    for number, token in enumerate(tokens):
        if token.type != "heading_open":
            continue
        words = _INLINE.sub(lambda match: match[1] or "", tokens[number + 1].content)
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        count = found.setdefault(slug, 0)
        found[slug] += 1
        result.add(f"{slug}-{count}" if count else slug)
    return frozenset(result)


def links(page: Path) -> Iterator[tuple[int, str]]:
    """Every link and picture of a page: its line and where it leads."""
    for token in _tokens(page):
        for child in token.children or ():
            target = child.attrGet("href") or child.attrGet("src")
            if target is not None:
                assert token.map is not None
                yield token.map[0] + 1, str(target)


def code_spans(page: Path) -> Iterator[str]:
    """Every `code` in the prose and tables of a page."""
    for token in _tokens(page):
        yield from _codes(token)


def table_rows(page: Path) -> Iterator[list[Cell]]:
    """The rows of all tables of a page, headings left out."""
    row: list[Cell] | None = None
    for token in _tokens(page):
        if token.type == "tr_open":
            row = []
        elif token.type == "th_open":
            row = None
        elif token.type == "inline" and row is not None:
            row.append(Cell(token.content, tuple(_codes(token))))
        elif token.type == "tr_close" and row:
            yield row
            row = None


def _codes(token: Token) -> Iterator[str]:
    return (child.content for child in token.children or () if child.type == "code_inline")


@cache
def _tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))
