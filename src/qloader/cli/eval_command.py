"""`qloader eval`: how well the index answers questions whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qloader.cli import common


def evaluate(
    context: typer.Context,
    questions: Annotated[
        Path,
        typer.Argument(
            metavar="QUESTIONS", parser=common.read_path, help="A YAML list of {query, relevant: [addresses]}."
        ),
    ],
    limit: Annotated[
        int, typer.Option("-k", "--limit", min=1, max=1_000, help="How many documents of an answer count.")
    ] = 10,
    mode: common.ModeOption = None,
    fusion: common.FusionOption = None,
    weights: common.WeightsOption = None,
    rerank: common.RerankOption = True,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> None:
    """Ask the index questions whose answers are known, and print recall, MRR and nDCG of each way of searching."""
    found = common.open_workspace(context, config).evaluate(
        questions,
        limit=limit,
        modes=(mode.value,) if mode else (),
        fusion=fusion.value if fusion else None,
        weights=common.read_weights(weights),
        rerank=rerank,
    )
    if output_format is common.OutputFormat.json:
        common.print_json(
            {
                "limit": found.limit,
                "questions": found.questions,
                "modes": {
                    mode: {
                        "recall": score.recall,
                        "mrr": score.mrr,
                        "ndcg": score.ndcg,
                        "missed": list(found.missed[mode]),
                    }
                    for mode, score in found.scores.items()
                },
                "unknown": list(found.unknown),
            }
        )
        return
    from qloader.render.tables import render_evaluation

    render_evaluation(found, common.people())
