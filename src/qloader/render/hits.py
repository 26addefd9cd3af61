"""Search hits as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len, chop_cells
from rich.text import Text

from qloader.render.escape import escape_controls, escape_prose

if TYPE_CHECKING:
    from rich.console import Console

    from qloader.index.protocol import Hit

EXCERPT_CELLS = 320
"""Columns of a hit's text that are shown, over four lines or so."""

_INDENT = " " * 8
_WIDEST = 96
"""Columns that an excerpt is wrapped to at most: longer lines read badly."""


def render_hits(hits: Sequence[Hit], console: Console) -> None:
    """Prints hits, best first: score, address, headings, the beginning of the text."""
    if not hits:
        console.print(Text("Nothing found."))
        return
    for number, hit in enumerate(hits):
        if number:
            console.print()
        _print_hit(hit, console)


def shorten(text: str, cells: int) -> str:
    """The beginning of a text, cut between words where there are any near the end.

    Not `textwrap.shorten`: that leaves nothing of a text without spaces, as Japanese has none.

    Args:
        text: One line.
        cells: Columns that it may take; a Chinese character takes two.
    """
    if cell_len(text) <= cells:
        return text
    cut = chop_cells(text, cells)[0]
    at = cut.rfind(" ", len(cut) * 4 // 5)
    return f"{cut[:at] if at > 0 else cut} …"


def _print_hit(hit: Hit, console: Console) -> None:
    payload = hit.payload
    address = escape_controls(f"{payload['source']}/{payload['document_id']}")
    console.print(Text.assemble((f"{hit.score:6.2f}", "cyan"), "  ", (address, "bold")), soft_wrap=True)
    if hit.found_by:
        parts = (f"{one.vector} rank {one.rank:,}, score {one.score:.3f}" for one in hit.found_by)
        console.print(Text(_INDENT + "found by " + "; ".join(parts), "cyan"), soft_wrap=True)
    if hit.rank_before is not None:
        console.print(Text(f"{_INDENT}rank {hit.rank_before:,} before it was reranked", "cyan"), soft_wrap=True)
    trail = " > ".join(escape_prose(heading) for heading in payload.get("headings") or [payload["title"]])
    console.print(Text(_INDENT + trail, "dim"), soft_wrap=True)
    excerpt = Text(shorten(escape_prose(payload["text"]), EXCERPT_CELLS))
    for line in excerpt.wrap(console, max(min(console.width, _WIDEST) - len(_INDENT), 20)):
        line.rstrip()
        console.print(Text(_INDENT).append_text(line), soft_wrap=True)
