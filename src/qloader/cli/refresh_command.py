"""`qloader refresh`: whether the index is as the state says."""

from __future__ import annotations

from typing import Annotated

import typer

from qloader.cli import common


def refresh(
    context: typer.Context,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Compare vectors too: texts are embedded again, dense vectors taken from the embedding cache.",
        ),
    ] = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 2 when something drifted, 0 when nothing did.")
    ] = False,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> int:
    """Compare the index with the state, point by point. The next plan repairs what drifted."""
    from qloader.documents.hashing import point_text
    from qloader.refreshing.drift import KINDS

    workspace = common.open_workspace(context, config)
    drift = workspace.refresh(deep=deep, progress=common.make_progress())
    if output_format is common.OutputFormat.json:
        by_kind = {kind: [point_text(point.point) for point in drift.of(kind)] for kind in KINDS}
        documents = sorted({f"{point.source}/{point.document_id}" for point in drift.points})
        counts = {"checked": drift.checked, "uncompared": drift.uncompared}
        common.print_json({**by_kind, **counts, "documents": documents, "settings": drift.settings})
    else:
        from qloader.render.tables import render_drift

        render_drift(drift, common.people())
    return 2 if detailed_exitcode and drift.points else 0
