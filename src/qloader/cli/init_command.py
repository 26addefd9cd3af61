"""`qloader init`: a first config, from what is in the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qloader.cli import common


def init(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", parser=common.read_path, help="Where the documents are.")
    ] = Path(),
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Write a commented qloader.yaml from what is found in the folder. Never overwrites one."""
    from qloader.config.starter import inspect_folder, write_starter

    shared: common.Shared = context.obj
    target = config or shared.config or folder / "qloader.yaml"
    findings = inspect_folder(folder)
    write_starter(target, findings)
    common.tell(
        output_format,
        {"config": str(target), "found": findings.describe()},
        f"Wrote {target}: {findings.describe()}.",
        "Next: qloader plan -o plan.json && qloader apply plan.json",
    )
