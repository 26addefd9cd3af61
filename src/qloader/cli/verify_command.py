"""`qloader verify`: whether a plan is still what would be planned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qloader.cli import common
from qloader.cli.reviewing import show_verification
from qloader.counting import counted

if TYPE_CHECKING:
    from qloader.workspace.verifying import Verification


def verify(
    context: typer.Context,
    plan: Annotated[Path, typer.Argument(metavar="PLAN", parser=common.read_path, help="A plan file.")],
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Plan again and say, document by document, where a plan file differs. Exit 4 where it does."""
    from qloader.errors import StalePlanError

    workspace = common.open_workspace(context, config)
    found = workspace.verify(workspace.read_plan(plan), progress=common.make_progress())
    if output_format is common.OutputFormat.json:
        _print_json(found)
    else:
        show_verification(found)
    if not found.is_same:
        raise StalePlanError(
            f"{plan} is not what would be planned now ({counted(found.count, 'difference')})",
            remedy=f"Plan again with `qloader plan -o {plan}`.",
        )
    if output_format is common.OutputFormat.text:
        common.say(f"{plan} is what would be planned now.")


def _print_json(found: Verification) -> None:
    common.print_json(
        {
            "same": found.is_same,
            "plan": found.plan,
            "now": found.now,
            "count": found.count,
            "differences": [
                {
                    "kind": difference.kind,
                    "subject": difference.subject,
                    "message": difference.message,
                    "planned": difference.planned,
                    "now": difference.now,
                }
                for difference in found.differences
            ],
            "notes": list(found.notes),
        }
    )
