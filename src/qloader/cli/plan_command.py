"""`qloader plan`: what an apply would do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qloader.cli import common


def plan(
    context: typer.Context,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the plan here.")] = None,
    source: common.SourceOption = None,
    since: common.SinceOption = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Compare the index with the state first, and plan repairs.")
    ] = False,
    no_cache: common.NoCacheOption = False,
    allow_deletes: common.AllowDeletesOption = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 2 when there are changes, 0 when there are none.")
    ] = False,
    show_all: common.AllOption = False,
    output_format: common.PlanFormatOption = common.PlanFormat.text,
    config: common.ConfigOption = None,
) -> int:
    """Compare the sources with the index and write down what would change. Changes nothing."""
    workspace = common.open_workspace(context, config)
    request = common.request_of(source, no_cache, allow_deletes, refresh=refresh, since=since)
    with workspace.temporary_plan(request, progress=common.make_progress()) as result:
        if output is not None and result.refusal is None:
            result.plan.copy_to(output)
        # Not from `output`: what is written to a pipe cannot be read again.
        common.show_plan(result.plan, output_format, show_all=show_all, path=result.plan.path)
        common.conclude(result)
        return 2 if detailed_exitcode and not result.plan.header.is_empty else 0
