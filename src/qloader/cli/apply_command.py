"""`qloader apply`: makes the index match a plan."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qloader.cli import common

if TYPE_CHECKING:
    from qloader.planning.plan import Plan
    from qloader.workspace import Workspace


def apply(
    context: typer.Context,
    plan: Annotated[
        Path | None, typer.Argument(metavar="[PLAN]", help="A plan file; without one: plan, show, ask, apply.")
    ] = None,
    auto_approve: Annotated[bool, typer.Option("--auto-approve", help="Do not ask.")] = False,
    source: common.SourceOption = None,
    allow_deletes: common.AllowDeletesOption = None,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> int:
    """Make the index match: exactly the plan given, or what is planned now. Safe to kill and to repeat."""
    from qloader.errors import QloaderError

    workspace = common.open_workspace(context, config)
    if plan is not None:
        if source or allow_deletes:
            raise QloaderError(
                "--source and --allow-deletes belong to planning, and a plan file was given",
                remedy="Give them to `qloader plan`; a plan file is applied exactly as it is.",
            )
        return _carry_out(workspace, workspace.read_plan(plan), output_format)
    request = common.request_of(source, False, allow_deletes)
    with workspace.temporary_plan(request, progress=common.make_progress()) as result:
        if output_format is common.OutputFormat.text:
            common.show_plan(result.plan, common.PlanFormat.text)
        common.conclude(result)
        if not (result.plan.header.is_empty or auto_approve):
            confirm("Apply this plan?")
        return _carry_out(workspace, result.plan, output_format)


def confirm(question: str) -> None:
    """Asks on the terminal.

    Raises:
        QloaderError: Nobody is there to answer, or the answer is no.
    """
    from qloader.errors import QloaderError

    if not sys.stdin.isatty():
        raise QloaderError(
            "nobody can be asked: standard input is no terminal",
            remedy="Give a plan file, or --auto-approve. Nothing was changed.",
        )
    if not typer.confirm(question, err=True):
        raise QloaderError("not applied", remedy="Nothing was changed.")


def _carry_out(workspace: Workspace, plan: Plan, output_format: common.OutputFormat) -> int:
    with common.stopping_at_batch_edges() as should_stop:
        result = workspace.apply(plan, progress=common.make_progress(), should_stop=should_stop)
    return common.report_apply(result, output_format)
