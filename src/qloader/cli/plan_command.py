"""`qloader plan`: what an apply would do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qloader.cli import common
from qloader.cli.reviewing import commenting


def plan(
    context: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", parser=common.read_path, help="Write the plan here."),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="FOLDER",
            parser=common.read_path,
            help="Keep the plan in a folder, e.g. plans/, under a name that says which it is.",
        ),
    ] = None,
    source: common.SourceOption = None,
    only: common.OnlyOption = None,
    exclude: common.ExcludeOption = None,
    target: common.TargetOption = None,
    since: common.SinceOption = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Compare the index with the state first, and plan repairs.")
    ] = False,
    no_cache: common.NoCacheOption = False,
    allow_deletes: common.AllowDeletesOption = None,
    allow: common.AllowOption = None,
    comment: Annotated[
        bool,
        typer.Option("--comment", help="Post the review on the pull request of this CI job, in place of the last one."),
    ] = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 2 when there are changes, 0 when there are none.")
    ] = False,
    show_all: common.AllOption = False,
    profile: common.ProfileOption = None,
    output_format: common.PlanFormatOption = common.PlanFormat.text,
    config: common.ConfigOption = None,
) -> int:
    """Compare the sources with the index and write down what would change. Changes nothing."""
    with commenting(context, config, is_wanted=comment) as post:
        workspace = common.open_workspace(context, config)
        request = common.request_of(
            source,
            no_cache,
            allow_deletes,
            allow=allow,
            refresh=refresh,
            since=since,
            only=only,
            exclude=exclude,
            target=target,
        )
        with (
            common.measured(workspace, profile, is_apply=False),
            workspace.temporary_plan(request, progress=common.make_progress()) as result,
        ):
            if output is not None and result.refusal is None:
                result.plan.copy_to(output)
            if save is not None and result.refusal is None:
                from qloader.workspace.saving import save_plan

                saved = save_plan(result.plan, save)
                common.say(f"Saved {saved}" if saved else "Nothing was saved: there are no changes.")
            # Not from `output`: what is written to a pipe cannot be read again.
            review = common.review_of(result)
            common.show_plan(result.plan, output_format, show_all=show_all, path=result.plan.path, review=review)
            post(result)
            common.conclude(result)
            return 2 if detailed_exitcode and not result.plan.header.is_empty else 0
