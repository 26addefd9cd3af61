"""Searching by words, by vectors and by both: fused by the engine, narrowed by the engine, explained."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from qloader.errors import ConfigError, EmbeddingError, ForeignIndexError
from qloader.index.protocol import DENSE_VECTOR, RRF_K, SPARSE_VECTOR
from support.dense_places import dense_place
from support.workspaces import plan_and_apply, write

PAGES = {
    "guide/lamps.md": "---\nteam: light\nlevel: 3\ntags: [oil]\n---\n# Lamps\n\nA lamp gives light and wants oil.",
    "guide/gardens.md": "---\nteam: green\nlevel: 4\n---\n# Gardens\n\nA garden wants light and water.",
    "guide/deep/rivers.md": "---\nteam: green\n---\n# Rivers\n\nA river is water that goes to the sea.",
    "notes/bridges.md": "# Bridges\n\nA bridge leads over a river, from stone to stone.",
    "notes/[odd].md": "# Odd\n\nWater in an odd place.",
}
NEW, OLD = 1_780_000_000, 1_700_000_000


@pytest.fixture(scope="module", params=["embedded", "server"])
def place(request, tmp_path_factory):
    with dense_place(tmp_path_factory.mktemp("hybrid"), request.param) as place:
        write(place.folder / "docs", PAGES)
        for name in PAGES:
            time = NEW if name.startswith("guide") else OLD
            os.utime(place.folder / "docs" / name, (time, time))
        plan_and_apply(place.configure())
        yield place


@pytest.fixture
def workspace(place):
    return place.configure()


def ids(hits):
    return [hit.payload["document_id"] for hit in hits]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse"])
def test_every_mode_finds_what_has_the_words(workspace, mode):
    assert ids(workspace.search("lamp oil", mode=mode))[0] == "guide/lamps.md"
    assert len(workspace.search("water", mode=mode, limit=2)) == 2


def test_hybrid_is_usual_and_is_the_fusion_of_both(workspace):
    hits = workspace.search("water of the river", explain=True)
    assert hits == workspace.search("water of the river", mode="hybrid", explain=True)
    alone = {name: workspace.search("water of the river", mode=mode, limit=50)
             for name, mode in ((SPARSE_VECTOR, "sparse"), (DENSE_VECTOR, "dense"))}  # fmt: skip
    for hit in hits:
        assert hit.score == pytest.approx(sum(1 / (one.rank - 1 + RRF_K) for one in hit.found_by), abs=1e-5)
        for one in hit.found_by:
            assert alone[one.vector][one.rank - 1].score == pytest.approx(one.score, abs=1e-5)
    assert {one.vector for hit in hits for one in hit.found_by} == {SPARSE_VECTOR, DENSE_VECTOR}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse"])
@pytest.mark.parametrize(
    ("narrowed", "found"),
    [
        ({"paths": ["guide/"]}, {"guide/lamps.md", "guide/gardens.md", "guide/deep/rivers.md"}),
        ({"paths": ["guide/*"]}, {"guide/lamps.md", "guide/gardens.md", "guide/deep/rivers.md"}),
        ({"paths": ["rivers.md", "docs/notes/[odd].md"]}, {"guide/deep/rivers.md", "notes/[odd].md"}),
        ({"paths": ["nothing/"]}, set()),
        ({"metadata": {"team": "green"}}, {"guide/gardens.md", "guide/deep/rivers.md"}),
        ({"metadata": {"team": "green", "level": "4"}}, {"guide/gardens.md"}),
        ({"metadata": {"tags": "oil"}}, {"guide/lamps.md"}),
        ({"since": datetime.fromtimestamp(NEW, UTC)}, {"guide/lamps.md", "guide/gardens.md", "guide/deep/rivers.md"}),
        ({"since": datetime.fromtimestamp(NEW + 1, UTC)}, set()),
        ({"sources": ["docs"], "paths": ["notes/"]}, {"notes/bridges.md", "notes/[odd].md"}),
    ],
)
def test_a_search_can_be_narrowed(workspace, mode, narrowed, found):
    everything = "lamp light oil garden water river sea bridge stone odd place"
    assert set(ids(workspace.search(everything, mode=mode, limit=50, **narrowed))) == found


def test_what_there_is_not_cannot_be_searched(workspace):
    with pytest.raises(ConfigError, match="holds no such source"):
        workspace.search("water", sources=["docz"])
    with pytest.raises(ConfigError, match="pattern"):
        workspace.search("water", paths=["/"])


def test_a_question_is_paid_for_once(place, workspace):
    place.paid()
    for _ in range(2):
        workspace.search("how much oil")
    assert place.paid() == ["how much oil"]
    workspace.search("how much water", mode="sparse")
    assert place.paid() == []


def test_a_provider_that_is_down_names_the_search_by_words(place):
    with pytest.raises(EmbeddingError) as caught:
        place.configure(url="http://127.0.0.1:9/v1", retry_attempts=0).search("never asked before")
    assert "--mode sparse" in caught.value.remedy


def test_vectors_of_another_model_are_not_compared(place):
    other = place.configure(model="words-b")
    with pytest.raises(ForeignIndexError, match="made by another model") as caught:
        other.search("water")
    assert "--mode sparse" in caught.value.remedy
    assert other.search("water", mode="sparse")


def test_without_dense_vectors_a_search_is_by_words(place):
    workspace = place.configure(dense=False)
    assert workspace.search("water")[0] == workspace.search("water", mode="sparse")[0]
    with pytest.raises(ConfigError, match="needs dense vectors"):
        workspace.search("water", mode="hybrid")
