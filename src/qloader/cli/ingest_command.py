"""`qloader ingest`: plan and apply in one, for cron."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from qloader.cli import common
from qloader.errors import ConfigError


def ingest(
    context: typer.Context,
    incremental: Annotated[
        bool, typer.Option("--incremental/--full", help="Read what changed, or everything again (as plan --no-cache).")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    source: common.SourceOption = None,
    since: common.SinceOption = None,
    allow_deletes: common.AllowDeletesOption = None,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> int:
    """Plan and apply in one step, without asking; the guards still hold."""
    workspace = common.open_workspace(context, config)
    if since is not None and not incremental:
        raise ConfigError("--full and --since exclude each other", remedy="Leave one of them out.")
    if incremental and since is None:
        since = workspace.settings.config.ingestion.incremental.default_since
    request = common.request_of(source, not incremental, allow_deletes, since=since)
    with (
        contextlib.nullcontext() if dry_run else workspace.locked(),
        workspace.temporary_plan(request, progress=common.make_progress()) as result,
    ):
        if dry_run and output_format is common.OutputFormat.json:
            common.show_plan(result.plan, common.PlanFormat.json, path=result.plan.path)
        elif output_format is common.OutputFormat.text:
            common.show_plan(result.plan, common.PlanFormat.text)
        common.conclude(result)
        if dry_run:
            return 0
        with common.stopping_at_batch_edges() as should_stop:
            applied = workspace.apply(result.plan, progress=common.make_progress(), should_stop=should_stop)
    return common.report_apply(applied, output_format)
