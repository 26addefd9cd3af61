"""`qloader cache …`: the embedding cache, which serves all configs of a user."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from qloader.cli import common
from qloader.counting import counted

app = typer.Typer(help="The embedding cache, of all configs.", no_args_is_help=True, rich_markup_mode=None)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@app.command("stats")
def stats(
    context: typer.Context,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Show how many vectors the cache holds of which model, and when they were last used."""
    with common.open_workspace(context, config).embedding_cache() as cache:
        found = cache.stats()
    if output_format is common.OutputFormat.json:
        common.print_json(
            {
                "path": str(found.path),
                "bytes": found.bytes,
                "max_bytes": found.max_bytes,
                "vectors": found.vectors,
                "models": [
                    {
                        "name": model.name,
                        "dimensions": model.dim,
                        "vectors": model.vectors,
                        "first_used": _day(model.first_used),
                        "last_used": _day(model.last_used),
                    }
                    for model in found.models
                ],
            }
        )
        return
    from qloader.render.tables import render_cache

    rows = [
        (model.name, str(model.dim), f"{model.vectors:,}", _day(model.first_used), _day(model.last_used))
        for model in found.models
    ]
    render_cache(str(found.path), found.bytes, found.max_bytes, rows, common.people())


@app.command("prune")
def prune(
    context: typer.Context,
    max_size: Annotated[
        str | None,
        typer.Option("--max-size", metavar="SIZE", help="What it may take afterwards, e.g. 500MB; the oldest go."),
    ] = None,
    unused: Annotated[
        str | None, typer.Option("--unused", metavar="TIME", help="What was not used for so long goes, e.g. 90d.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="All of this model go, as `cache stats` names it.")
    ] = None,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Throw vectors away: what is needed again is embedded again, and paid for."""
    from qloader.config.units import parse_duration, parse_size
    from qloader.documents.reading import human_size
    from qloader.errors import ConfigError

    if max_size is None and unused is None and model is None:
        raise ConfigError("nothing says what may go", remedy="Give --max-size, --unused or --model.")
    size = None if max_size is None else _read("--max-size", max_size, parse_size)
    days = None if unused is None else int(_read("--unused", unused, parse_duration) // 86_400)
    with common.open_workspace(context, config).embedding_cache() as cache:
        gone = cache.prune(max_bytes=size, unused_days=days, model=model)
        left = cache.stats().bytes
    sentence = f"Removed {counted(gone, 'vector')}; {human_size(left)} are left."
    common.tell(output_format, {"removed": gone, "bytes": left}, sentence)


@app.command("export")
def export(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", parser=common.read_path, help="Where to; a file that is there is replaced."),
    ],
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Write all vectors to a file that another machine's cache imports."""
    with common.open_workspace(context, config).embedding_cache() as cache:
        count = cache.export(file)
    facts = {"written": str(file), "vectors": count}
    common.tell(output_format, facts, f"Wrote {counted(count, 'vector')} to {file}")


@app.command("import")
def import_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", parser=common.read_path, help="What `cache export` wrote.")],
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Take over the vectors of an exported cache; what is here already stays as it is."""
    with common.open_workspace(context, config).embedding_cache() as cache:
        found = cache.import_from(file)
    damaged = f", {found.damaged:,} damaged and left out" if found.damaged else ""
    common.tell(
        output_format,
        {"added": found.added, "known": found.known, "damaged": found.damaged},
        f"Added {counted(found.added, 'vector')}; {found.known:,} were here already{damaged}.",
    )


def _read(option: str, text: str, parse: Any) -> Any:
    from qloader.errors import ConfigError

    try:
        return parse(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text}: {error}", remedy="See `qloader cache prune --help`.") from None


def _day(number: int) -> str:
    return (_EPOCH + timedelta(days=number)).date().isoformat()
