"""`qloader ingest`: plan and apply in one, for cron."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from qloader.cli import common
from qloader.cli.apply_command import carry_out
from qloader.errors import ConfigError


def ingest(
    context: typer.Context,
    incremental: Annotated[
        bool, typer.Option("--incremental/--full", help="Read what changed, or everything again (as plan --no-cache).")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    source: common.SourceOption = None,
    only: common.OnlyOption = None,
    exclude: common.ExcludeOption = None,
    target: common.TargetOption = None,
    since: common.SinceOption = None,
    allow_deletes: common.AllowDeletesOption = None,
    allow: common.AllowOption = None,
    profile: common.ProfileOption = None,
    output_format: common.EventFormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> int:
    """Plan and apply in one step, without asking; the guards still hold."""
    # A dry run prints the plan alone: there is no apply whose events could be told.
    with common.telling_events(common.OutputFormat.text if dry_run else output_format) as listener:
        workspace = common.open_workspace(context, config)
        if since is not None and not incremental:
            raise ConfigError("--full and --since exclude each other", remedy="Leave one of them out.")
        if incremental and since is None:
            since = workspace.settings.config.ingestion.incremental.default_since
        request = common.request_of(
            source,
            not incremental,
            allow_deletes,
            allow=allow,
            since=since,
            only=only,
            exclude=exclude,
            target=target,
        )
        with (
            common.measured(workspace, profile, is_apply=not dry_run),
            contextlib.nullcontext() if dry_run else workspace.locked(),
            workspace.temporary_plan(request, progress=common.make_progress()) as result,
        ):
            if dry_run and output_format is common.OutputFormat.json:
                common.show_plan(result.plan, common.PlanFormat.json, path=result.plan.path)
            elif output_format is common.OutputFormat.text:
                common.show_plan(result.plan, common.PlanFormat.text, review=common.review_of(result))
            common.conclude(result)
            return 0 if dry_run else carry_out(workspace, result.plan, output_format, listener)
