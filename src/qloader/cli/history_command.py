"""`qloader history`: past runs."""

from __future__ import annotations

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
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Show past runs, the latest first; or one of them, with the documents that it left as they were, and why."""
    workspace = common.open_workspace(context, config)
    if run is not None:
        _show_run(workspace.run(run), output_format)
        return
    runs = workspace.history(limit)
    if output_format is common.OutputFormat.json:
        common.print_json({"runs": [_facts(run) for run in runs]})
        return
    if not runs:
        common.say("No runs yet.")
        return
    from qloader.render.tables import render_history

    render_history(runs, common.people())


def _show_run(details: RunDetails, output_format: common.OutputFormat) -> None:
    if output_format is common.OutputFormat.json:
        failures = [
            {"address": f"{f.source}/{f.document_id}", "reason": f.reason, "detail": f.detail} for f in details.failures
        ]
        common.print_json({**_facts(details.run), "documents": details.run.document_count, "failures": failures})
        return
    from qloader.render.tables import render_run

    render_run(details, common.people())


def _facts(run: RunRecord) -> dict[str, Any]:
    from qloader.render.times import iso

    return {
        "id": run.id,
        "plan": run.plan,
        "status": run.status,
        "started_at": iso(run.started_at),
        "finished_at": iso(run.finished_at),
        "summary": dict(run.summary),
        "error": run.error,
    }
