"""`qloader history`: past runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qloader.cli import common

if TYPE_CHECKING:
    from qloader.state.records import RunDetails, RunRecord
    from qloader.telemetry.comparing import StageLine
    from qloader.telemetry.measured import Measured
    from qloader.workspace import Workspace

    Figures = tuple[Measured | None, Sequence[StageLine]]

COMPARED = 20
"""Runs before one that it is put beside."""


def history(
    context: typer.Context,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1_000_000, help="How many runs.")] = 20,
    run: Annotated[
        int | None, typer.Option("--run", metavar="N", min=1, help="Only this run: totals, times, what failed and why.")
    ] = None,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="What runs cost, beside the runs before them: time by stage, memory.")
    ] = False,
    plans: Annotated[
        Path | None,
        typer.Option(
            "--plans",
            metavar="FOLDER",
            parser=common.read_path,
            help="Where `plan --save` keeps plans; else plans/ beside the config.",
        ),
    ] = None,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Show past runs, the latest first; or one of them, with the documents that it left as they were, and why."""
    workspace = common.open_workspace(context, config)
    if plans is not None and not plans.is_dir():
        from qloader.errors import ConfigError

        raise ConfigError(f"--plans {plans} is no folder", remedy="Name the folder that `qloader plan --save` keeps.")
    if run is not None:
        details = workspace.run(run)
        figures = _figures_of(workspace, details.run) if metrics else None
        _show_run(details, workspace.saved_plans([details.run], plans), output_format, figures)
        return
    runs = workspace.history(limit)
    files = workspace.saved_plans(runs, plans)
    if metrics and (runs or output_format is common.OutputFormat.json):
        _show_figures(workspace, runs, files, output_format)
        return
    if output_format is common.OutputFormat.json:
        common.print_json({"runs": [_facts(run, files) for run in runs]})
        return
    if not runs:
        common.say("No runs yet.")
        return
    from qloader.render.tables import render_history

    render_history(runs, common.people(), files={d: _name_file(path) or "" for d, path in files.items()})


def _show_figures(
    workspace: Workspace, runs: Sequence[RunRecord], files: Mapping[str, Path], output_format: common.OutputFormat
) -> None:
    """Shows what runs cost; the latest beside those before it."""
    from qloader.render.figures import figures_as_dict, render_figures, series_as_dict
    from qloader.telemetry.comparing import compare_runs, compare_stages

    measured = workspace.measurements(runs)
    series = compare_runs([measured.get(run.id) for run in reversed(runs)])
    if output_format is common.OutputFormat.text:
        render_figures(runs, measured, series, common.people())
        return
    found = []
    for place, run in enumerate(runs):
        one, earlier = measured.get(run.id), [measured[r.id] for r in runs[place + 1 :] if r.id in measured]
        lines = () if one is None else compare_stages(one, earlier)
        found.append({**_facts(run, files), "metrics": figures_as_dict(one, lines)})
    common.print_json({"runs": found, "compared": [series_as_dict(one) for one in series]})


def _figures_of(workspace: Workspace, run: RunRecord) -> Figures:
    """What one run cost, beside the runs before it."""
    from qloader.telemetry.comparing import compare_stages

    earlier = [other for other in workspace.history(-1) if other.id < run.id][:COMPARED]
    measured = workspace.measurements([run, *earlier])
    own = measured.pop(run.id, None)
    return own, () if own is None else compare_stages(own, list(measured.values()))


def _show_run(
    details: RunDetails, files: Mapping[str, Path], output_format: common.OutputFormat, figures: Figures | None
) -> None:
    if output_format is common.OutputFormat.json:
        failures = [
            {"address": f"{f.source}/{f.document_id}", "reason": f.reason, "detail": f.detail} for f in details.failures
        ]
        facts = {**_facts(details.run, files), "documents": details.run.document_count, "failures": failures}
        if figures is not None:
            from qloader.render.figures import figures_as_dict

            facts["metrics"] = figures_as_dict(*figures)
        common.print_json(facts)
        return
    from qloader.render.tables import render_run

    render_run(details, common.people(), file=_name_file(files.get(details.run.plan)))
    if figures is None:
        return
    measured, lines = figures
    if measured is None:
        common.say("Nothing was measured of this run, or it is kept no more: see monitoring.metrics.")
        return
    from qloader.render.figures import render_run_figures

    render_run_figures(measured, lines, common.people())


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
