"""Search hits as a person reads them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from qloader.render.escape import escape_controls

if TYPE_CHECKING:
    from rich.console import Console

    from qloader.index.protocol import Hit

EXCERPT_CHARACTERS = 320


def render_hits(hits: Sequence[Hit], console: Console) -> None:
    """Prints hits, best first: score, address, headings, the beginning of the text."""
    if not hits:
        console.print(Text("Nothing found."))
        return
    for hit in hits:
        payload = hit.payload
        address = escape_controls(f"{payload['source']}/{payload['document_id']}")
        console.print(Text.assemble((f"{hit.score:6.2f}", "cyan"), "  ", (address, "bold")), soft_wrap=True)
        trail = " > ".join(payload.get("headings") or [payload["title"]])
        console.print(Text(f"        {escape_controls(trail)}", "dim"), soft_wrap=True)
        excerpt = textwrap.shorten(escape_controls(payload["text"]), EXCERPT_CHARACTERS, placeholder=" …")
        console.print(Text(textwrap.indent(textwrap.fill(excerpt, 88), "        ")), soft_wrap=True)
        console.print()
