"""`qloader apply`: makes the index match a plan."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qloader.cli import common
from qloader.cli.reviewing import check_still_planned, reviewed_plan

if TYPE_CHECKING:
    from qloader.applying.events import Listener
    from qloader.planning.plan import Plan
    from qloader.workspace import Workspace


def apply(
    context: typer.Context,
    plan: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PLAN]", parser=common.read_path, help="A plan file; without one: plan, show, ask, apply."
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Plan again first, and refuse a plan file that is not what would be planned now."
        ),
    ] = False,
    reviewed: Annotated[
        bool,
        typer.Option(
            "--reviewed",
            help="Apply the plan that was reviewed on the merged pull request of this CI job, verified as by --verify.",
        ),
    ] = False,
    auto_approve: Annotated[bool, typer.Option("--auto-approve", help="Do not ask.")] = False,
    source: common.SourceOption = None,
    only: common.OnlyOption = None,
    exclude: common.ExcludeOption = None,
    target: common.TargetOption = None,
    allow_deletes: common.AllowDeletesOption = None,
    allow: common.AllowOption = None,
    profile: common.ProfileOption = None,
    output_format: common.EventFormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> int:
    """Make the index match: exactly the plan given, or what is planned now. Safe to kill and to repeat."""
    from qloader.errors import QloaderError

    with common.telling_events(output_format) as listener, contextlib.ExitStack() as stack:
        workspace = common.open_workspace(context, config)
        stack.enter_context(common.measured(workspace, profile, is_apply=True))
        if reviewed:
            if plan is not None or source or only or exclude or target or allow_deletes or allow:
                raise QloaderError(
                    "--reviewed applies the plan of the pull request, exactly as it is",
                    remedy="Leave out the plan file and the options that belong to planning.",
                )
            with reviewed_plan(workspace) as (merged, tell):
                check_still_planned(workspace, merged)
                return carry_out(workspace, merged, output_format, listener, at_present=True, tell=tell)
        if plan is not None:
            if source or only or exclude or target or allow_deletes or allow:
                raise QloaderError(
                    "--source, --only, --exclude, --target, --allow-deletes and --allow belong to planning, and a plan "
                    "file was given",
                    remedy="Give them to `qloader plan`; a plan file is applied exactly as it is.",
                )
            found = workspace.read_plan(plan)
            if verify:
                check_still_planned(workspace, found)
            return carry_out(workspace, found, output_format, listener, at_present=verify)
        if verify:
            raise QloaderError(
                "--verify needs a plan file", remedy="Without one, what is applied is planned in the same moment."
            )
        request = common.request_of(
            source, False, allow_deletes, allow=allow, only=only, exclude=exclude, target=target
        )
        with workspace.temporary_plan(request, progress=common.make_progress()) as result:
            if output_format is common.OutputFormat.text:
                common.show_plan(result.plan, common.PlanFormat.text, review=common.review_of(result))
            common.conclude(result)
            if not (result.plan.header.is_empty or auto_approve):
                confirm("Apply this plan?")
            return carry_out(workspace, result.plan, output_format, listener)


def confirm(question: str, *, instead: str = "Give a plan file, or --auto-approve.") -> None:
    """Asks on the terminal.

    Args:
        question: What.
        instead: What is the remedy where nobody can be asked.

    Raises:
        QloaderError: Nobody is there to answer, or the answer is no.
    """
    from qloader.errors import QloaderError

    if not sys.stdin.isatty():
        raise QloaderError(
            "nobody can be asked: standard input is no terminal",
            remedy=f"{instead} Nothing was changed.",
        )
    if not typer.confirm(question, err=True):
        raise QloaderError("not applied", remedy="Nothing was changed.")


def carry_out(
    workspace: Workspace,
    plan: Plan,
    output_format: common.OutputFormat,
    listener: Listener | None,
    *,
    at_present: bool = False,
    tell: Callable[[str], None] | None = None,
) -> int:
    """Applies a plan and tells what was done.

    Args:
        workspace: Where.
        plan: The plan.
        output_format: For people, or for programs, which the listener tells.
        listener: Told of each event.
        at_present: See `Workspace.apply`.
        tell: Told the outcome as Markdown, where somebody else wants to know it too.

    Returns:
        The exit code.
    """
    with common.stopping_at_batch_edges() as should_stop:
        result = workspace.apply(
            plan, progress=common.make_progress(), should_stop=should_stop, listener=listener, at_present=at_present
        )
    if tell is not None:
        from qloader.render.markdown import render_outcome

        tell("".join(render_outcome(result)))
    code = common.report_apply(result, output_format)
    if output_format is common.OutputFormat.text:
        for sentence in workspace.advice():
            common.say(sentence)
    return code
