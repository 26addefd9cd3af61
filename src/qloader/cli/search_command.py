"""`qloader search`: asks the index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from qloader.cli import common

if TYPE_CHECKING:
    from datetime import datetime

    from qloader.index.protocol import Hit


def _read_query(text: str) -> str:
    if not text.strip():
        raise typer.BadParameter("there is nothing to look for: write some words")
    return text


def search(
    context: typer.Context,
    query: Annotated[
        str,
        typer.Argument(metavar="QUERY", parser=_read_query, help="Words, as you would type them into a search box."),
    ],
    limit: Annotated[int, typer.Option("-k", "--limit", min=1, max=10_000, help="How many hits.")] = 5,
    mode: common.ModeOption = None,
    fusion: common.FusionOption = None,
    weights: common.WeightsOption = None,
    rerank: common.RerankOption = True,
    source: common.SourceOption = None,
    path: Annotated[
        list[str] | None,
        typer.Option(
            "--path",
            metavar="PATTERN",
            help="Only documents whose id or address matches, as in .gitignore: docs/guide/**; may be given several "
            "times.",
        ),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            "--metadata",
            metavar="KEY=VALUE",
            help="Only documents whose metadata says this: team=docs; of several, all.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="TIME", help="Only documents updated since: 24h, 2026-11-01, 2026-11-01T10:00+02:00."
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Say which vector found each hit, at which rank and score, and its rank before reranking."
        ),
    ] = False,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Ask the index, and print the hits with their address and score."""
    workspace = common.open_workspace(context, config)
    hits = workspace.search(
        query,
        limit=limit,
        mode=mode.value if mode else None,
        fusion=fusion.value if fusion else None,
        weights=common.read_weights(weights),
        rerank=rerank,
        sources=source or (),
        paths=path or (),
        metadata=dict(map(_read_pair, metadata or ())),
        since=_read_since(since),
        explain=explain,
    )
    if output_format is common.OutputFormat.json:
        common.print_json({"hits": [_as_dict(hit, explain=explain) for hit in hits]})
        return
    from qloader.render.hits import render_hits

    render_hits(hits, common.people())


def _read_pair(text: str) -> tuple[str, str]:
    from qloader.errors import ConfigError

    key, separator, value = text.partition("=")
    if not key or not separator:
        raise ConfigError(f"--metadata {text!r} is no key and value", remedy="Write --metadata team=docs.")
    return key, value


def _read_since(text: str | None) -> datetime | None:
    from qloader.errors import ConfigError

    if text is None:
        return None
    from qloader.workspace.since import parse_since

    moment = parse_since(text).moment
    if moment is None:
        raise ConfigError(f"--since {text}: a search knows times, not commits", remedy="Write 24h, 7d or 2026-11-01.")
    return moment


def _as_dict(hit: Hit, *, explain: bool) -> dict[str, Any]:
    shown = {
        "address": f"{hit.payload['source']}/{hit.payload['document_id']}",
        "score": hit.score,
        "title": hit.payload["title"],
        "uri": hit.payload["uri"],
        "text": hit.payload["text"],
    }
    if explain:
        shown["found_by"] = [{"vector": one.vector, "rank": one.rank, "score": one.score} for one in hit.found_by]
        if hit.rank_before is not None:
            shown["rank_before"] = hit.rank_before
    return shown
