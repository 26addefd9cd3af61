"""`qloader status`: what is applied, by source."""

from __future__ import annotations

import typer

from qloader.cli import common


def status(
    context: typer.Context,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Show what is applied, by source. Reads the state only and never waits."""
    from qloader.render.times import iso

    found = common.open_workspace(context, config).status()
    header = found.header
    if output_format is common.OutputFormat.json:
        common.print_json(
            {
                "name": found.name,
                "lineage": header.lineage if header else None,
                "serial": header.serial if header else 0,
                "tenant": (header.tenant or None) if header else None,
                "replacement": (header.replacement or None) if header else None,
                "replaced": (header.replaced or None) if header else None,
                "sources": [
                    {
                        "name": source.name,
                        "type": source.type,
                        "documents": source.documents,
                        "chunks": source.chunks,
                        "last_success": iso(source.last_success),
                    }
                    for source in found.sources
                ],
                "points": found.points,
                "failures": [
                    {"address": f"{f.source}/{f.document_id}", "reason": f.reason, "detail": f.detail, "run": f.run}
                    for f in found.failures
                ],
            }
        )
        return
    if header is None:
        common.say(f"{found.name}: nothing has been applied yet. Run `qloader plan`.")
        return
    from qloader.render.tables import render_status

    render_status(found, common.people())
