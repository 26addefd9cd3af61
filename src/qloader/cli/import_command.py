"""`qloader import`: takes over the vectors of a collection that another tool filled."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qloader.cli import common

if TYPE_CHECKING:
    from qloader.workspace.importing import Adoption


class ImportFormat(StrEnum):
    """How an import is printed."""

    text = "text"
    markdown = "markdown"
    json = "json"


def import_collection(
    context: typer.Context,
    collection: Annotated[
        str,
        typer.Option(
            "--from", metavar="COLLECTION", help="The collection; where there is only one, it need not be said."
        ),
    ] = "",
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="The Qdrant server that it is on, its key in $QLOADER_IMPORT_API_KEY; without, that of index.url.",
        ),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option(
            "--path",
            metavar="FOLDER",
            parser=common.read_path,
            help="The folder that it is in: a shard of qdrant-edge.",
        ),
    ] = None,
    shape: Annotated[
        str,
        typer.Option(
            "--shape",
            metavar="auto|langchain|llamaindex|qdrant-loader|FILE",
            help="Which tool filled it, or a YAML file that says where its texts are: {text: page_content, document: "
            "metadata.source}.",
        ),
    ] = "auto",
    vector: Annotated[
        str | None, typer.Option("--vector", metavar="NAME", help="Which of its dense vectors, where it has several.")
    ] = None,
    trust_model: Annotated[
        bool,
        typer.Option(
            "--trust-model", help="Do not embed five texts anew to see that the config's model made the vectors."
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", parser=common.read_path, help="Write the plan here."),
    ] = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show every document; long lists are folded otherwise.")
    ] = False,
    output_format: Annotated[
        ImportFormat, typer.Option("--format", help="text for people, or markdown or json on stdout.")
    ] = ImportFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Take over the vectors of a collection that another tool filled, and plan what is left to embed. Only reads it."""
    from qloader.adopting.server import KEY_VARIABLE
    from qloader.workspace.foreign import ImportRequest

    workspace = common.open_workspace(context, config)
    request = ImportRequest(
        collection=collection,
        url=url,
        path=path,
        api_key=os.environ.get(KEY_VARIABLE),
        shape=shape,
        vector=vector,
        trust_model=trust_model,
    )
    with workspace.import_collection(request, progress=common.make_progress()) as found:
        if output is not None and found.result.refusal is None:
            found.result.plan.copy_to(output)
        _show(found, output_format, show_all=show_all)
        common.conclude(found.result)


def _show(found: Adoption, output: ImportFormat, *, show_all: bool) -> None:
    from qloader.render.wording import FOLD

    fold = sys.maxsize if show_all else FOLD
    match output:
        case ImportFormat.text:
            from qloader.render.adoption import render_adoption

            render_adoption(found, common.people(), fold)
        case ImportFormat.markdown:
            from qloader.render.adoption import adoption_as_markdown

            for line in adoption_as_markdown(found, fold):
                sys.stdout.write(f"{line}\n")
        case ImportFormat.json:
            _print_json(found)


def _print_json(found: Adoption) -> None:
    """Prints what came of it; the documents, which may be many, one a line and none of them kept."""
    matching = found.matching
    dropped, dropped_points = matching.count_dropped()
    head: dict[str, Any] = {
        "collection": {
            "name": found.collection.name,
            "location": found.collection.location,
            "points": found.points,
            "documents": matching.count_foreign_documents(),
            "shape": found.shape.name,
            "vector": found.vector,
            "dimensions": found.size,
        },
        "dense": None if found.dense is None else {**asdict(found.dense), "check": asdict(found.dense.check)},
        "summary": {
            **{fate: asdict(count) for fate, count in matching.count_fates().items()},
            "dropped": {"documents": dropped, "points": dropped_points},
        },
        "plan": found.result.plan.header.digest,
        "notes": list(found.notes),
    }
    write = sys.stdout.write
    write(f"{json.dumps(head, ensure_ascii=False, indent=2)[:-2]},\n")
    documents = (
        {
            "address": one.address,
            "fate": one.fate,
            "chunks": one.chunks,
            "embed": one.embed,
            "foreign": one.foreign or None,
        }
        for one in matching.documents()
    )
    for name, values in (
        ("documents", documents),
        ("dropped", ({"name": one.name, "title": one.title, "points": one.points} for one in matching.dropped())),
    ):
        write(f'  "{name}": [')
        mark = "\n"
        for value in values:
            write(f"{mark}    {json.dumps(value, ensure_ascii=False)}")
            mark = ",\n"
        write("\n  ]" + (",\n" if name == "documents" else "\n}\n"))
