"""`qloader destroy`: removes all that qloader put into the index."""

from __future__ import annotations

from typing import Annotated

import typer

from qloader.cli import common
from qloader.cli.apply_command import carry_out, confirm


def destroy(
    context: typer.Context,
    auto_approve: Annotated[bool, typer.Option("--auto-approve", help="Do not ask.")] = False,
    output_format: common.EventFormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> int:
    """Plan the removal of every document, show it, ask, and apply it. Points of others stay."""
    with common.telling_events(output_format) as listener:
        workspace = common.open_workspace(context, config)
        with (
            common.measured(workspace, None, is_apply=True),
            workspace.temporary_plan(common.request_of(None, False, None, destroy=True)) as result,
        ):
            if output_format is common.OutputFormat.text and result.plan.header.is_empty:
                common.say("There is nothing to remove: the index holds no document of this state.")
            elif output_format is common.OutputFormat.text:
                common.show_plan(result.plan, common.PlanFormat.text, review=common.review_of(result))
            common.conclude(result)
            if not (result.plan.header.is_empty or auto_approve):
                confirm("Remove all of this from the index?", instead="Give --auto-approve.")
            return carry_out(workspace, result.plan, output_format, listener)
