"""How good answers are: the measures by hand-made numbers, and this project's docs asked by every way of searching."""

from __future__ import annotations

import shutil
from math import log2
from pathlib import Path

import pytest

from qloader import Workspace
from qloader.errors import ConfigError
from qloader.workspace.evaluating import Question, read_questions, score
from support.dense_places import dense_place
from support.workspaces import plan_and_apply

ROOT = Path(__file__).parents[2]
QUESTIONS = ROOT / "tests" / "support" / "questions.yaml"


def test_the_measures_are_those_of_the_books():
    wanted = frozenset({"s/a", "s/b"})
    assert score([["s/a", "s/b"]], [wanted], 10) == score([["s/b", "s/a", "s/x"]], [wanted], 10)
    found = score([["s/x", "s/a", "s/y", "s/b"], []], [wanted, wanted], 10)
    assert (found.recall, found.mrr) == (0.5, 0.25)
    best = 1 + 1 / log2(3)
    assert found.ndcg == pytest.approx((1 / log2(3) + 1 / log2(5)) / best / 2)
    perfect = score([["s/a"]], [wanted], 1)
    assert (perfect.recall, perfect.mrr, perfect.ndcg) == (0.5, 1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("query: x", "no list of questions"),
        ("[]", "no list of questions"),
        ("[{query: x}]", "entry 1 is no question"),
        ("[{query: x, relevant: []}]", "entry 1 is no question"),
        ("[{query: x, relevant: [a/b], more: 1}]", "entry 1 is no question"),
        ("[{query: x, relevant: [a/b]}, {query: [y], relevant: [a/b]}]", "entry 2 is no question"),
        ("[{query: x, relevant: [no-address]}]", "entry 1 is no question"),
        ("[{query: x", "no YAML"),
        ("[" * 20_000, "no YAML"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, text, says):
    file = tmp_path / "questions.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=says) as caught:
        read_questions(file)
    assert caught.value.remedy


def test_every_scalar_of_a_question_is_text(tmp_path):
    file = tmp_path / "questions.yaml"
    file.write_text("[{query: no, relevant: [docs/1.5]}]", encoding="utf-8")
    assert read_questions(file) == [Question("no", frozenset({"docs/1.5"}))]


def test_fusion_with_the_weakest_vectors_costs_little_over_our_own_docs(tmp_path):
    """The loopback's vectors are sums of random directions, one a word, without weights, stems or meaning. Hybrid is
    then a little worse than words alone (recall 0.78 against 0.83 in November 2026), and better than those vectors.
    What a real model does is in docs/embedding.md; it takes minutes, and a model, so that no test measures it.
    """
    with dense_place(tmp_path) as place:
        shutil.copytree(ROOT / "docs", tmp_path / "docs", dirs_exist_ok=True)
        place.model.dim = 128
        file = place.configure(batch={"texts": 500}).settings.config.file
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("max_chars: 200", "max_chars: 1200").replace("size: 2,", "size: 64,"))
        workspace = Workspace.open(file)
        plan_and_apply(workspace)
        found = workspace.evaluate(QUESTIONS)
    assert found.unknown == ()
    hybrid, dense, sparse = (found.scores[mode] for mode in ("hybrid", "dense", "sparse"))
    for measure in ("recall", "mrr", "ndcg"):
        assert getattr(hybrid, measure) > getattr(dense, measure)
        assert getattr(hybrid, measure) > getattr(sparse, measure) - 0.1
