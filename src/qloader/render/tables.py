"""Tables for `status` and `history`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from qloader.render.escape import escape_controls
from qloader.render.times import iso

if TYPE_CHECKING:
    from rich.console import Console

    from qloader.state.records import RunRecord
    from qloader.workspace.workspace import Status


def render_status(status: Status, console: Console) -> None:
    """Prints what is applied, by source."""
    header = status.header
    assert header is not None
    console.print(Text(f"{status.name}: serial {header.serial}, lineage {header.lineage}"), soft_wrap=True)
    console.print(Text(f"collection {header.collection} at {header.location}"), soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, right in (("source", False), ("type", False), ("documents", True), ("chunks", True), ("last success", False)):
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for source in status.sources:
        success = iso(source.last_success) or "never"
        table.add_row(escape_controls(source.name), source.type, f"{source.documents:,}", f"{source.chunks:,}", success)
    console.print(table)
    if status.lease:
        console.print(Text(f"An apply is running: {status.lease}.", "yellow"), soft_wrap=True)
    elif status.interrupted:
        console.print(
            Text(f"An interrupted apply left {status.interrupted:,} documents unfinished; plan and apply to mend them.", "yellow"),
            soft_wrap=True,
        )


def render_history(runs: Sequence[RunRecord], console: Console) -> None:
    """Prints past runs, the latest first."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("run", "started", "status", "plan", "what"):
        table.add_column(name, no_wrap=name != "what")
    for run in runs:
        done = ", ".join(f"{count:,} {what}" for what, count in run.summary.items() if count)
        what = " - ".join(part for part in (done, escape_controls(run.error or "")) if part) or "no changes"
        style = "" if run.status == "complete" else "yellow"
        table.add_row(str(run.id), iso(run.started_at) or "", Text(run.status, style), run.plan[:12], Text(what))
    console.print(table)
