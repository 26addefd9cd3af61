"""Blocks as Markdown: CommonMark with GitHub's tables, task lists and strikethrough."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from qloader.documents.atlassian.blocks import (
    STRONG,
    Block,
    Cell,
    Code,
    Heading,
    Item,
    ItemList,
    Paragraph,
    Quote,
    Rule,
    Run,
    Table,
)
from qloader.documents.atlassian.escaping import escape_closing_hashes
from qloader.documents.atlassian.inline import code_span, inline, paragraphs

MAX_QUOTES = 6
MAX_LISTS = 12
"""Levels of quotations and lists that are drawn. Each level lengthens every line in it, so without a limit a small
hostile text would make a huge one; deeper levels are written like the level above."""

_SPARE_CELLS = 1000
_FENCES = re.compile(r"`{3,}")
_LANGUAGE = re.compile(r"[^A-Za-z0-9+#._-]")
_LANGUAGES = {"none": "", "html/xml": "xml", "plain text": "text", "plain": "text", "c#": "csharp"}


def write_markdown(blocks: Sequence[Block]) -> str:
    """Blocks as a text that ends with one line end, or is empty."""
    text = "\n".join(_lines(blocks, 0, 0))
    if not text:
        return ""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # lone surrogates, which JSON can carry and no file can
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text + "\n"


def _lines(blocks: Sequence[Block], quotes: int, lists: int) -> list[str]:
    """Blocks as lines, a blank line between two blocks."""
    lines: list[str] = []
    before: Block | None = None
    other_marks = False
    for block in blocks:
        # Two numbered lists in a row would read as one, did the second not look different.
        other_marks = _is_numbered(before) and _is_numbered(block) and not other_marks
        more = _block_lines(block, quotes, lists, ")" if other_marks else ".")
        if not more:
            continue
        if lines:
            lines.append("")
        lines += more
        before = block
    return lines


def _is_numbered(block: Block | None) -> bool:
    return isinstance(block, ItemList) and block.start is not None


def _block_lines(block: Block, quotes: int, lists: int, point: str) -> list[str]:  # noqa: PLR0911
    match block:
        case Paragraph(runs):
            texts = [text for part in paragraphs(runs) if (text := inline(part))]
            return "\n\n".join(texts).split("\n") if texts else []
        case Heading(level, runs):
            text = escape_closing_hashes(inline(_unless_all_bold(runs), one_line=True))
            return [f"{'#' * min(max(level, 1), 6)} {text}"] if text else []
        case Code(text, language):
            return fenced(text, language)
        case Rule():
            return ["---"]
        case Quote(inner):
            lines = _lines(inner, quotes + 1, lists)
            return [f"> {line}" if line else ">" for line in lines] if quotes < MAX_QUOTES else lines
        case ItemList():
            return _list_lines(block, quotes, lists, point)
        case Table(rows):
            return _table_lines(rows)


def _unless_all_bold(runs: list[Run]) -> list[Run]:
    """A heading is bold anyway; bold in it says something only where some of it is not."""
    if all(run.marks & STRONG or not run.text.strip() for run in runs):
        return [run._replace(marks=run.marks & ~STRONG) for run in runs]
    return runs


def fenced(text: str, language: str) -> list[str]:
    """Code between fences longer than any fence in it."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
    if not text.strip():
        return []
    fence = "`" * max([3, *(len(run) + 1 for run in _FENCES.findall(text))])
    name = language.strip().lower()
    name = _LANGUAGES.get(name, _LANGUAGE.sub("", name))
    return [fence + name, *text.split("\n"), fence]


def _list_lines(block: ItemList, quotes: int, lists: int, point: str) -> list[str]:
    lines: list[str] = []
    number = block.start if block.start is not None and 0 <= block.start < 900_000_000 else 1
    for item in block.items:
        inner = _item_lines(item, quotes, lists)
        if not inner:
            continue
        mark = "- " if block.start is None else f"{number}{point} "
        number += 1
        indent = " " * len(mark) if lists + 1 < MAX_LISTS else ""
        if item.done is not None:
            mark += "[x] " if item.done else "[ ] "
        if item.done is not None and not isinstance(item.blocks[0], Paragraph):
            inner = ["", *inner]
        lines.append((mark + inner[0]).rstrip(" "))
        lines += [indent + line if line else "" for line in inner[1:]]
    return lines


def _item_lines(item: Item, quotes: int, depth: int) -> list[str]:
    """An item's lines; a list within follows its words at once, all else after a blank line."""
    lines: list[str] = []
    for block in item.blocks:
        more = _block_lines(block, quotes, depth + 1, ".")
        # A numbered list ends the words before it only where it begins with 1.
        if lines and more and not (isinstance(block, ItemList) and block.start in (None, 1)):
            lines.append("")
        lines += more
    return lines


def _table_lines(rows: list[list[Cell]]) -> list[str]:
    grid = [row for row in _grid(rows) if row]
    if not any(text for row in grid for text, _ in row):
        return []
    width = max(len(row) for row in grid)
    has_head = all(cell is None or cell.header for _, cell in grid[0])
    head = [text for text, _ in grid[0]] if has_head else []
    lines = [_row(head + [""] * (width - len(head))), _row(["---"] * width)]
    lines += [_row([text for text, _ in row]) for row in (grid[1:] if has_head else grid)]
    return lines


def _row(texts: list[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def _grid(rows: list[list[Cell]]) -> Iterator[list[tuple[str, Cell | None]]]:
    """The rows with an empty text where a merged cell reaches; bold where a header stands in the body."""
    # A cell may claim to span a million others: what is filled in stays within the size of the table.
    spare = _SPARE_CELLS + 4 * sum(len(row) for row in rows)
    reaching: dict[int, int] = {}  # by column: how many rows more a cell from above reaches
    for number, row in enumerate(rows):
        head = number == 0 and all(cell.header for cell in row)
        line: list[tuple[str, Cell | None]] = []
        still: dict[int, int] = {column: left - 1 for column, left in reaching.items() if left > 1}
        for cell in row:
            while len(line) in reaching and spare > 0:
                line.append(("", None))
                spare -= 1
            columns = max(1, min(cell.columns, spare + 1, _SPARE_CELLS))
            spare -= columns - 1
            if cell.rows > 1 and spare > 0:
                spare -= columns
                still.update(dict.fromkeys(range(len(line), len(line) + columns), cell.rows - 1))
            line.append((_cell_text(cell, head=head), cell))
            line += [("", None)] * (columns - 1)
        reaching = still
        yield line


def _cell_text(cell: Cell, *, head: bool) -> str:
    """A cell's text; a header within the body is bold, one in the first row is so anyway."""
    blocks = cell.blocks
    if cell.header:
        look = _unless_all_bold if head else _all_bold
        blocks = [Paragraph(look(block.runs)) if isinstance(block, Paragraph) else block for block in blocks]
    return "<br>".join(_cell_lines(blocks, 0))


def _all_bold(runs: list[Run]) -> list[Run]:
    return [run._replace(marks=run.marks | STRONG) for run in runs]


def _cell_lines(blocks: Sequence[Block], lists: int) -> Iterator[str]:
    """Blocks as the lines of a cell, to be joined by `<br>`: a cell is one line of Markdown."""
    for block in blocks:
        match block:
            case Paragraph(runs):
                yield from (text for part in paragraphs(runs) if (text := inline(part, cell=True)))
            case Heading(_, runs):
                if text := inline(_all_bold(runs), cell=True, one_line=True):
                    yield text
            case Code(text):
                lines = text.replace("\r\n", "\n").strip("\n").split("\n")
                yield from (code_span(line.rstrip()).replace("|", "\\|") if line.strip() else "" for line in lines)
            case Quote(inner):
                yield from _cell_lines(inner, lists)
            case ItemList():
                yield from _cell_items(block, lists)
            case Table(rows):
                for row in rows:
                    texts = ["; ".join(_cell_lines(cell.blocks, lists)) for cell in row]
                    if any(texts):
                        yield " \\| ".join(texts)
            case Rule():
                pass


def _cell_items(block: ItemList, lists: int) -> Iterator[str]:
    for number, item in enumerate(block.items, block.start or 1):
        mark = "- " if block.start is None else f"{number}. "
        if item.done is not None:
            mark += "[x] " if item.done else "[ ] "
        first = True
        for line in _cell_lines(item.blocks, lists + 1):
            yield mark + line if first else line
            first = False
