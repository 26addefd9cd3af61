"""`qloader verify`: whether a plan is still what would be planned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qloader.cli import common


def verify(
    context: typer.Context,
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A plan file.")],
    config: common.ConfigOption = None,
) -> int:
    """Plan again and compare with a plan file. Exit 4 where they differ."""
    from qloader.errors import StalePlanError
    from qloader.planning.compare import compare_plans
    from qloader.planning.planfile import read_plan

    workspace = common.open_workspace(context, config)
    theirs = read_plan(plan)
    names = {source.name for source in theirs.header.sources}
    chosen = sorted(names & set(workspace.settings.config.sources))
    is_partial = not set(workspace.settings.config.sources) <= names
    request = common.request_of(chosen if is_partial else None, False, list(theirs.header.allowed_deletes))
    with workspace.temporary_plan(request, progress=common.make_progress()) as result:
        differences = list(compare_plans(theirs, result.plan))
        if not differences:
            common.say(f"{plan} is what would be planned now.")
            return 0
        for line in differences[:50]:
            common.say(f"  {line}")
        if len(differences) > 50:
            common.say(f"  … and {len(differences) - 50:,} more")
        raise StalePlanError(
            f"{plan} is not what would be planned now ({len(differences):,} differences)",
            remedy=f"Plan again with `qloader plan -o {plan}`.",
        )
