"""`qloader show`: a plan file for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qloader.cli import common


def show(
    context: typer.Context,
    plan: Annotated[Path, typer.Argument(metavar="PLAN", parser=common.read_path, help="A plan file.")],
    diff: Annotated[
        bool,
        typer.Option(
            "--diff", help="Show the changed texts too. Reads the config, the state, the index and the sources."
        ),
    ] = False,
    show_all: common.AllOption = False,
    output_format: common.PlanFormatOption = common.PlanFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Print a plan file. Needs no config, no state and no index, but for --diff."""
    from qloader.planning.planfile import read_plan

    found = read_plan(plan)
    if not diff:
        common.show_plan(found, output_format, show_all=show_all, path=plan)
        return
    if output_format is common.PlanFormat.json:
        raise typer.BadParameter("--diff is printed as text, markdown or html; json is the plan file alone")
    with common.open_workspace(context, config).texts(found) as texts:
        common.show_plan(found, output_format, show_all=show_all, texts=texts)
        texts.check()
