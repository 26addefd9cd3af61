"""`qloader show`: a plan file for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qloader.cli import common


def show(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A plan file.")],
    show_all: common.AllOption = False,
    output_format: common.PlanFormatOption = common.PlanFormat.text,
) -> None:
    """Print a plan file. Needs no config, no state and no index."""
    from qloader.planning.planfile import read_plan

    common.show_plan(read_plan(plan), output_format, show_all=show_all, path=plan)
