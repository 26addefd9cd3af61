"""`qloader optimize`: tidies an embedded index up."""

from __future__ import annotations

import typer

from qloader.cli import common
from qloader.counting import counted


def optimize(
    context: typer.Context,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Tidy up an embedded index, once it was loaded: searches get faster. Until it is done, none is answered."""
    from qloader.documents.reading import human_size

    done = common.open_workspace(context, config).optimize(progress=common.make_progress())
    facts = {
        "collection": done.collection,
        "points": done.points,
        "bytes_before": done.bytes_before,
        "bytes": done.bytes,
        "seconds": round(done.seconds, 3),
    }
    common.tell(
        output_format,
        facts,
        f"Tidied up {done.collection}, {counted(done.points, 'point')}, in {done.seconds:,.1f} s: "
        f"{human_size(done.bytes_before)} before, {human_size(done.bytes)} now.",
    )
