"""`qloader history`: past runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qloader.cli import common

if TYPE_CHECKING:
    from qloader.state.records import RunDetails, RunRecord


def history(
    context: typer.Context,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="How many runs.")] = 20,
    run: Annotated[
        int | None, typer.Option("--run", metavar="N", min=1, help="Only this run: totals, times, what failed and why.")
    ] = None,
    plans: Annotated[
        Path | None,
        typer.Option(
            "--plans", metavar="FOLDER", help="Where `plan --save` keeps plans; else plans/ beside the config."
        ),
    ] = None,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Show past runs, the latest first; or one of them, with the documents that it left as they were, and why."""
    workspace = common.open_workspace(context, config)
    if run is not None:
        details = workspace.run(run)
        _show_run(details, workspace.saved_plans([details.run], plans), output_format)
        return
    runs = workspace.history(limit)
    files = workspace.saved_plans(runs, plans)
    if output_format is common.OutputFormat.json:
        common.print_json({"runs": [_facts(run, files) for run in runs]})
        return
    if not runs:
        common.say("No runs yet.")
        return
    from qloader.render.tables import render_history

    render_history(runs, common.people(), files={d: _name_file(path) or "" for d, path in files.items()})


def _show_run(details: RunDetails, files: Mapping[str, Path], output_format: common.OutputFormat) -> None:
    if output_format is common.OutputFormat.json:
        failures = [
            {"address": f"{f.source}/{f.document_id}", "reason": f.reason, "detail": f.detail} for f in details.failures
        ]
        common.print_json({**_facts(details.run, files), "documents": details.run.document_count, "failures": failures})
        return
    from qloader.render.tables import render_run

    render_run(details, common.people(), file=_name_file(files.get(details.run.plan)))


def _facts(run: RunRecord, files: Mapping[str, Path]) -> dict[str, Any]:
    from qloader.render.times import iso

    return {
        "id": run.id,
        "plan": run.plan,
        "status": run.status,
        "started_at": iso(run.started_at),
        "finished_at": iso(run.finished_at),
        "summary": dict(run.summary),
        "error": run.error,
        "plan_file": _name_file(files.get(run.plan)),
    }


def _name_file(path: Path | None) -> str | None:
    """A plan file as somebody here would type it."""
    if path is None:
        return None
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
