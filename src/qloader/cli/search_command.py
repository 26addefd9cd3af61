"""`qloader search`: asks the index."""

from __future__ import annotations

from typing import Annotated

import typer

from qloader.cli import common


def search(
    context: typer.Context,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Words, as you would type them into a search box.")],
    limit: Annotated[int, typer.Option("-k", "--limit", min=1, max=10_000, help="How many hits.")] = 5,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Ask the index, and print the hits with their address and score."""
    workspace = common.open_workspace(context, config)
    hits = workspace.search(query, limit=limit)
    if output_format is common.OutputFormat.json:
        common.print_json(
            {
                "hits": [
                    {
                        "address": f"{hit.payload['source']}/{hit.payload['document_id']}",
                        "score": hit.score,
                        "title": hit.payload["title"],
                        "uri": hit.payload["uri"],
                        "text": hit.payload["text"],
                    }
                    for hit in hits
                ]
            }
        )
        return
    from qloader.render.hits import render_hits

    render_hits(hits, common.people())
