"""Searching by words, by vectors and by both: fused by the engine, narrowed by the engine, explained."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from statistics import fmean, stdev

import pytest

from qloader import Workspace
from qloader.errors import ConfigError, EmbeddingError
from qloader.index.protocol import DENSE_VECTOR, RRF_K, SPARSE_VECTOR
from qloader.workspace.settings import Settings
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
    alone = rankings(workspace, "water of the river")
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


def rankings(workspace, query):
    """What each vector alone finds, best first."""
    return {name: workspace.search(query, mode=mode, limit=50)
            for name, mode in ((SPARSE_VECTOR, "sparse"), (DENSE_VECTOR, "dense"))}  # fmt: skip


def test_weights_move_the_fusion_towards_a_ranking(place, workspace):
    query = "water of the river"
    alone = rankings(workspace, query)
    weighted = {}
    for dense in (1000, 3, 1, 1 / 3, 1 / 1000):
        hits = weighted[dense] = workspace.search(query, weights={"dense": dense}, limit=50)
        w = {DENSE_VECTOR: 2 * dense / (1 + dense), SPARSE_VECTOR: 2 / (1 + dense)}
        for hit in hits:
            ranks = {name: [one.id for one in found].index(hit.id) + 1 for name, found in alone.items()
                     if hit.id in {one.id for one in found}}  # fmt: skip
            assert hit.score == pytest.approx(sum(1 / (r / w[name] + RRF_K - 1) for name, r in ranks.items()), abs=1e-5)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert ids(weighted[1000]) == ids(alone[DENSE_VECTOR])
    found = ids(alone[SPARSE_VECTOR])
    assert ids(weighted[1 / 1000])[: len(found)] == found
    usual = workspace.search(query, limit=50)  # of the engine
    assert [(hit.id, round(hit.score, 5)) for hit in weighted[1]] == [(hit.id, round(hit.score, 5)) for hit in usual]
    configured = place.configure(more="search: {weights: {bm25: 0.2, dense: 0.6}}\n")
    assert ids(configured.search(query, limit=50)) == ids(weighted[3])
    assert configured.search(query, limit=50, weights={}) == usual
    assert {one.vector for hit in configured.search(query, explain=True) for one in hit.found_by} == {*alone}


def test_dbsf_adds_scores_each_against_the_spread_of_its_ranking(place, workspace):
    query = "water of the river"
    scores = {}
    for found in rankings(workspace, query).values():
        mean, spread = fmean(hit.score for hit in found), stdev(hit.score for hit in found)
        for hit in found:
            scores[hit.id] = scores.get(hit.id, 0.0) + (hit.score - mean + 3 * spread) / (6 * spread)
    hits = workspace.search(query, fusion="dbsf", limit=50)
    assert {hit.id: hit.score for hit in hits} == pytest.approx(scores, abs=1e-3)
    assert hits == place.configure(more="search: {fusion: dbsf}\n").search(query, limit=50)
    assert place.configure(more="search: {weights: {dense: 2}}\n").search(query, fusion="dbsf", limit=50) == hits


def test_weights_and_fusions_that_are_none_are_refused(workspace):
    with pytest.raises(ConfigError, match="the fusion dbsf takes no weights"):
        workspace.search("water", fusion="dbsf", weights={"dense": 2})
    for weights in ({"dens": 1}, {"dense": 0}, {"dense": float("nan")}, {"bm25": 1e9}):
        with pytest.raises(ConfigError, match="is no weight"):
            workspace.search("water", weights=weights)
    with pytest.raises(ConfigError, match="are of a hybrid search, and this one is by --mode dense"):
        workspace.search("water", mode="dense", fusion="rrf")


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


def test_a_question_is_embedded_by_the_model_that_made_the_vectors(place):
    before = place.configure().search("water", mode="dense")
    place.paid()
    # The config is ahead of the index: the same provider is asked for the model that it had.
    other = place.configure(model="words-b", document_prefix="passage: ")
    assert other.search("water", mode="dense") == before
    assert other.search("water") == place.configure().search("water")


def test_vectors_of_another_provider_are_not_compared(place):
    said = []
    config = place.configure(provider="voyage").settings.config.file
    other = Workspace.open(config)
    other.settings = Settings.of(other.settings.config, tell=said.append)
    with pytest.raises(ConfigError, match="made by openai/words-32, and the config names voyage/words-32") as caught:
        other.search("water", mode="hybrid")
    assert "--mode sparse" in caught.value.remedy
    assert other.search("water") == other.search("water", mode="sparse")
    assert said == [
        "Searched by words alone: the dense vectors in the index are made by openai/words-32, and the config names "
        "voyage/words-32."
    ]


def test_without_dense_vectors_a_search_is_by_words(place):
    workspace = place.configure(dense=False)
    assert workspace.search("water")[0] == workspace.search("water", mode="sparse")[0]
    with pytest.raises(ConfigError, match="needs dense vectors"):
        workspace.search("water", mode="hybrid")
