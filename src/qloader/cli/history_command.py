"""`qloader history`: past runs."""

from __future__ import annotations

from typing import Annotated

import typer

from qloader.cli import common


def history(
    context: typer.Context,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="How many runs.")] = 20,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Show past runs, the latest first."""
    from qloader.render.times import iso

    runs = common.open_workspace(context, config).history(limit)
    if output_format is common.OutputFormat.json:
        common.print_json(
            {
                "runs": [
                    {
                        "id": run.id,
                        "plan": run.plan,
                        "status": run.status,
                        "started_at": iso(run.started_at),
                        "finished_at": iso(run.finished_at),
                        "summary": dict(run.summary),
                        "error": run.error,
                    }
                    for run in runs
                ]
            }
        )
        return
    if not runs:
        common.say("No runs yet.")
        return
    from qloader.render.tables import render_history

    render_history(runs, common.people())
