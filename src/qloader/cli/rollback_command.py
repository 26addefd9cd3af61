"""`qloader rollback` and `qloader prune`: the collection that was replaced comes back, or is removed."""

from __future__ import annotations

from typing import Annotated

import typer

from qloader.cli import common
from qloader.cli.apply_command import confirm
from qloader.counting import counted


def rollback(
    context: typer.Context,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Bring back the collection that the last change of the pipeline replaced. Takes a moment, and can be undone."""
    workspace = common.open_workspace(context, config)
    done = workspace.roll_back()
    facts = {
        "collection": workspace.settings.collection,
        "target": done.target,
        "replaced": done.replaced,
        "documents": done.documents,
        "serial": done.serial,
        "is_configured": done.is_configured,
    }
    then = (
        "The config says the same; `qloader plan` shows what changed in the sources since."
        if done.is_configured
        else "The config says otherwise: set chunking and embedding back, or the next plan replaces it again."
    )
    common.tell(
        output_format,
        facts,
        f"{workspace.settings.collection} stands for {done.target} again, with {counted(done.documents, 'document')}; "
        f"{done.replaced} is kept.",
        then,
    )


def prune(
    context: typer.Context,
    auto_approve: Annotated[bool, typer.Option("--auto-approve", help="Do not ask.")] = False,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Remove the collections beside the live one: kept for `rollback`, or begun and left. Nothing else is touched."""
    workspace = common.open_workspace(context, config)
    beside = workspace.status().beside
    if beside and not auto_approve:
        common.say(f"Beside the live collection there is: {', '.join(beside)}.")
        confirm("Remove it? Nothing can be rolled back then.", instead="Give --auto-approve.")
    removed = workspace.prune_collections().collections
    said = f"Removed {', '.join(removed)}." if removed else "There was nothing to remove."
    common.tell(output_format, {"collections": list(removed)}, said)
