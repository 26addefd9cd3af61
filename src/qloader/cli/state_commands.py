"""`qloader state …`: looks at and mends the state."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qloader.cli import common
from qloader.counting import counted
from qloader.errors import StateError

app = typer.Typer(help="Look at the state and mend it.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_documents(
    context: typer.Context,
    source: Annotated[str | None, typer.Option("--source", metavar="NAME", help="Only this source.")] = None,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """List the documents that the index holds, with content hash and number of chunks."""
    workspace = common.open_workspace(context, config)
    documents = workspace.documents(source)
    if output_format is common.OutputFormat.json:
        common.print_json(
            {
                "documents": [
                    {"address": f"{d.source}/{d.id}", "content": d.content.hex(), "chunks": len(d.chunks)}
                    for d in documents
                ]
            }
        )
        return
    for document in documents:
        common.say(f"{document.content.hex()[:12]}  {len(document.chunks):>5}  {document.source}/{document.id}")


@app.command("show")
def show(
    context: typer.Context,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="source/id, as `state list` prints it.")],
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Show what the state says of one document."""
    from qloader.render.times import iso

    workspace = common.open_workspace(context, config)
    record = workspace.document(address)
    failures = workspace.failures_of(address)
    if record is None:
        why = f": run {failures[0].run} could not take it in ({failures[0].detail})" if failures else ""
        raise StateError(f"the state has no document {address}{why}", remedy="See `qloader state list`.")
    facts = {
        "address": f"{record.source}/{record.id}",
        "content": record.content.hex(),
        "metadata": record.metadata.hex(),
        "revision": record.revision,
        "bytes": record.size,
        "pipeline": record.pipeline,
        "deleted": record.is_deleted,
        "updated_at": iso(None if record.last_updated is None else record.last_updated * 1000),
        "ingested_at": iso(record.last_ingested),
        "deleted_at": iso(record.last_ingested) if record.is_deleted else None,
        "points": record.point_ids(),
        "failures": [{"run": f.run, "at": iso(f.at), "reason": f.reason, "detail": f.detail} for f in failures],
    }
    if output_format is common.OutputFormat.json:
        common.print_json(facts)
        return
    for key, value in facts.items():
        common.say(f"{key:12} {len(value) if isinstance(value, list) else value}")
    for failure in failures[:5]:
        common.say(f"! run {failure.run} at {iso(failure.at)}: {failure.detail or failure.reason}")


@app.command("backup")
def backup(
    context: typer.Context,
    target: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", parser=common.read_path, help="Else beside the state.")
    ] = None,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Copy the state to a file, consistently, even while it is in use."""
    written = common.open_workspace(context, config).backup_state(target)
    common.tell(output_format, {"backup": str(written)}, f"Wrote {written}")


@app.command("rm")
def remove(
    context: typer.Context,
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS...", help="source/id, as `state list` prints it.")],
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Take documents out of the state: the next apply makes them anew, or removes their points if they are gone."""
    done = common.open_workspace(context, config).remove_from_state(addresses)
    common.tell(
        output_format,
        {"removed": addresses, "backup": str(done.backup), "serial": done.serial},
        f"Copied the state to {done.backup}",
        f"Removed {len(addresses):,} of the state's documents. Run `qloader plan` to see what follows.",
    )


@app.command("rebuild")
def rebuild(
    context: typer.Context,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Restore a lost state from the points in the index. The index is only read; a state that is there is copied."""
    rebuilt = common.open_workspace(context, config).rebuild_state(progress=common.make_progress())
    common.tell(
        output_format,
        {"lineage": rebuilt.lineage, "documents": rebuilt.documents, "backup": rebuilt.backup},
        *([f"Copied the state that was there to {rebuilt.backup}"] if rebuilt.backup else ()),
        f"Rebuilt the state {rebuilt.lineage} with {counted(rebuilt.documents, 'document')}.",
        "Run `qloader plan` to see what differs from the sources.",
    )


@app.command("migrate")
def migrate(
    context: typer.Context,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Move this machine's state to state.url, if there is none there; bring an older qloader's state up to date."""
    workspace = common.open_workspace(context, config)
    kept = workspace.move_state()
    if kept is not None and output_format is common.OutputFormat.text:
        common.say(f"Moved the state to {workspace.settings.config.state.url}; the file is kept as {kept}")
    before, after = workspace.migrate_state()
    common.tell(
        output_format,
        {"before": before, "after": after, "kept": None if kept is None else str(kept)},
        f"Schema version {before} -> {after}." if before != after else f"Schema version {after}: up to date.",
    )


@app.command("pull")
def pull(
    context: typer.Context,
    target: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", parser=common.read_path, help="Else <name>.state.db here.")
    ] = None,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Write the remote state to a file, as a SQLite database like any other state."""
    workspace = common.open_workspace(context, config)
    written = workspace.pull_state(target or Path(f"{workspace.name}.state.db"))
    common.tell(output_format, {"written": str(written)}, f"Wrote {written}")


@app.command("push")
def push(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", parser=common.read_path, help="A state, as `state pull` or `state backup` wrote it."
        ),
    ],
    force: Annotated[bool, typer.Option("--force", help="Also one of another lineage, or an older one.")] = False,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Put the state of a file in the place of the remote one, of which a version is kept."""
    workspace = common.open_workspace(context, config)
    pushed = workspace.push_state(file, force=force)
    common.tell(
        output_format,
        {"lineage": pushed.lineage, "serial": pushed.serial},
        f"Put the state {pushed.lineage}, serial {pushed.serial}, at {workspace.settings.config.state.url}",
    )


@app.command("unlock")
def unlock(
    context: typer.Context,
    lock_id: Annotated[str, typer.Argument(metavar="LOCK_ID", help="As the error of the locked command says.")],
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Remove the lock of a writer that is certainly dead."""
    if not common.open_workspace(context, config).unlock(lock_id):
        raise StateError(f"the state is not locked under {lock_id}", remedy="See who holds it with `qloader status`.")
    common.tell(output_format, {"unlocked": lock_id}, "Unlocked.")
