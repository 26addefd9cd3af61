"""Documents with dense vectors from plan to search: what is announced is what is paid, and nothing is paid twice."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from qloader.errors import ForeignIndexError
from qloader.index.protocol import Point
from servers.embeddings import vector_of
from support.dense_places import dense_place, dense_vectors
from support.workspaces import plan_and_apply, write

PAGES = {f"page-{n}.md": f"# Page {n}\n\nAbout the {word} and its {word}ing." for n, word in enumerate(
    ["lamp", "garden", "river", "stone", "bridge"])}  # fmt: skip


@pytest.fixture(params=["embedded", "server"])
def place(request, tmp_path):
    with dense_place(tmp_path, request.param) as place:
        yield place


def announce_and_apply(workspace):
    """What a plan announces (chunks to embed, of these cached), and what the apply then did."""
    with workspace.temporary_plan() as result:
        estimate = result.estimate
        announced = (estimate.points, estimate.cached) if estimate else (0, None)
        return announced, workspace.apply(result.plan)


def assert_vectors_are_the_texts(workspace):
    for text, vector in dense_vectors(workspace).values():
        assert np.allclose(vector, vector_of(text), atol=1e-3), text  # kept in 16 bits


def test_what_a_plan_announces_is_what_is_paid_for(place):
    workspace = place.configure()
    write(place.folder / "docs", PAGES)
    announced, done = announce_and_apply(workspace)
    assert announced == (5, 0)
    assert len(place.paid()) == done.dense.texts == 5
    assert (done.dense.cached, done.dense.tokens) == (0, place.model.tokens)
    assert_vectors_are_the_texts(workspace)
    # edited
    write(place.folder / "docs", {"page-0.md": "# Page 0\n\nAbout the lamp, and now about oil."})
    announced, done = announce_and_apply(workspace)
    assert announced == (1, 0)
    assert [text for text in place.paid() if "oil" in text]
    assert done.updated == 1
    # moved and deleted: no text is sent
    (place.folder / "docs" / "page-1.md").rename(place.folder / "docs" / "moved.md")
    write(place.folder / "docs", {"page-2.md": None})
    announced, done = announce_and_apply(workspace)
    assert announced == (0, None)
    assert (done.moved, done.deleted, done.dense) == (1, 1, None)
    # brought back: announced as cached, and not paid for again
    write(place.folder / "docs", {"page-0.md": PAGES["page-0.md"], "page-2.md": PAGES["page-2.md"]})
    announced, done = announce_and_apply(workspace)
    assert announced == (2, 2)
    assert (done.created, done.updated, done.dense.cached) == (1, 1, 2)
    assert place.paid() == []
    assert_vectors_are_the_texts(workspace)
    with workspace.temporary_plan() as result:
        assert result.plan.header.is_empty
    assert workspace.refresh(deep=True).points == ()
    assert place.paid() == []


def test_a_paragraph_in_many_pages_is_announced_and_paid_once(place):
    workspace = place.configure(more="prices: {per_million_tokens: {openai/words-32: 1000}}\n")
    notice = "The same notice stands in every page, and is as long as a paragraph of a page has to be, if not longer."
    own = "Page {n} alone says this, and says so much that a chunk is full of it: " + "word{n} " * 12
    write(
        place.folder / "docs", {f"page-{n}.md": f"# Notice\n\n{notice}\n\n# Own\n\n{own.format(n=n)}" for n in range(6)}
    )
    with workspace.temporary_plan() as result:
        estimate = result.estimate
        workspace.apply(result.plan)
    paid = place.paid()
    assert (estimate.points, estimate.cached, estimate.repeated) == (12, 0, 5)
    assert sorted(paid) == sorted({text for text, _ in dense_vectors(workspace).values()})
    assert estimate.cost == pytest.approx(round(sum(map(len, paid)) / 4) * 1000 / 1e6)
    assert estimate.full_cost > estimate.cost
    # another page with the same notice: cached, and not repeated
    write(place.folder / "docs", {"page-6.md": f"# Notice\n\n{notice}\n\n# Own\n\n{own.format(n=6)}"})
    with workspace.temporary_plan() as result:
        estimate = result.estimate
        workspace.apply(result.plan)
    paid = place.paid()
    assert (estimate.points, estimate.cached, estimate.repeated, len(paid)) == (2, 1, 0, 1)
    assert estimate.cost == pytest.approx(round(len(paid[0]) / 4) * 1000 / 1e6)


def test_max_cost_is_of_all_chunks_whatever_this_machine_has_cached(place):
    write(place.folder / "docs", PAGES)
    prices = "prices: {per_million_tokens: {openai/words-32: 1000}}\n"
    plan_and_apply(place.configure(more=prices))
    with place.configure(
        name="other", more=f"{prices}policies: {{budget: {{max_cost: 0.01}}}}\n"
    ).temporary_plan() as found:
        assert (found.estimate.cached, found.estimate.cost) == (5, 0)
        assert found.estimate.full_cost > 0.01
        assert "max_cost is 0.01 USD" in str(found.refusal)


def test_the_plan_file_does_not_depend_on_the_cache(place):
    workspace = place.configure()
    write(place.folder / "docs", PAGES)
    first = workspace.plan(place.folder / "one.json")
    other = place.configure(name="other")
    plan_and_apply(other)
    second = workspace.plan(place.folder / "two.json")
    assert (first.estimate.cached, second.estimate.cached) == (0, 5)
    assert (place.folder / "one.json").read_bytes() == (place.folder / "two.json").read_bytes()


def test_with_a_prefix_nothing_is_said_of_the_cache(place):
    workspace = place.configure(document_prefix="passage: ")
    write(place.folder / "docs", PAGES)
    plan_and_apply(workspace)
    assert all(text.startswith("passage: ") for text in place.paid())
    with place.configure(name="other", document_prefix="passage: ").temporary_plan() as result:
        assert result.estimate.cached is None
        assert result.estimate.points == 5


def test_a_collection_has_both_vectors_and_says_so(place):
    workspace = place.configure(dimensions=16)
    write(place.folder / "docs", PAGES)
    plan_and_apply(workspace)
    assert "." not in place.model.texts  # the config tells the length
    with contextlib.closing(workspace.settings.open_index()) as index:
        info = index.describe()
    assert (info.vectors, info.dense) == ({"bm25", "dense"}, 16)


@pytest.mark.parametrize(
    ("other", "length", "cost"), [({"dense": False}, None, 0), ({"dimensions": 16}, 16, 5)], ids=["removed", "shorter"]
)
def test_a_collection_with_other_vectors_takes_the_place_of_one_that_cannot_hold_them(place, other, length, cost):
    write(place.folder / "docs", PAGES)
    plan_and_apply(place.configure(dimensions=32))
    place.paid()
    changed = place.configure(**other)
    with changed.temporary_plan() as result:
        assert result.plan.header.index.action == "replace"
        changed.apply(result.plan)
    assert len(place.paid()) == cost
    with contextlib.closing(changed.settings.open_index()) as index:
        assert index.describe().dense == length
    assert changed.status().points == len(PAGES)
    assert changed.search("lamp", limit=1)[0].payload["document_id"] == "page-0.md"


def test_a_model_whose_length_nobody_tells_beforehand_replaces_another(place):
    write(place.folder / "docs", PAGES)
    plan_and_apply(place.configure())
    place.paid()
    place.model.model, place.model.dim = "words-16", 16
    changed = place.configure(model="words-16")
    plan_and_apply(changed)
    assert len(place.paid()) == 5  # the first told the length too
    assert {len(vector) for _, vector in dense_vectors(changed).values()} == {16}


def test_a_model_that_is_another_one_behind_its_name_is_noticed_by_its_length_and_replaced_once_that_is_said(place):
    write(place.folder / "docs", PAGES)
    workspace = place.configure()
    plan_and_apply(workspace)
    before = dense_vectors(workspace)
    place.model.dim = 16
    write(place.folder / "docs", {"page-0.md": "# Page 0\n\nAbout the lamp, and now about oil."})
    with pytest.raises(ForeignIndexError, match="32 numbers"):
        plan_and_apply(workspace)
    assert {key: text for key, (text, _) in dense_vectors(workspace).items()} == {k: t for k, (t, _) in before.items()}
    changed = place.configure(dimensions=16)
    plan_and_apply(changed)
    assert {len(vector) for _, vector in dense_vectors(changed).values()} == {16}


def test_another_model_of_the_same_length_replaces_all(place):
    write(place.folder / "docs", PAGES)
    plan_and_apply(place.configure())
    place.paid()
    place.model.model = "words-b"
    changed = place.configure(model="words-b")
    with changed.temporary_plan() as result:
        assert result.plan.header.index.action == "replace"
        assert (result.estimate.points, result.estimate.cached) == (5, 0)
        assert changed.apply(result.plan).updated == 5
    assert len(place.paid()) == 5


def test_an_emptied_collection_is_made_anew_with_other_vectors(place):
    write(place.folder / "docs", PAGES)
    sparse = place.configure(dense=False)
    plan_and_apply(sparse)
    plan_and_apply(sparse, destroy=True)
    workspace = place.configure()
    plan_and_apply(workspace)
    assert len(dense_vectors(workspace)) == 5


def test_a_lost_state_is_rebuilt_and_nothing_is_paid_for(place):
    write(place.folder / "docs", PAGES)
    workspace = place.configure()
    plan_and_apply(workspace)
    place.paid()
    workspace.settings.state.unlink()
    assert workspace.rebuild_state().documents == 5
    with workspace.temporary_plan() as result:
        assert result.plan.header.is_empty
    assert place.paid() == []


def test_a_deep_refresh_finds_an_altered_vector_and_says_what_it_did_not_compare(place):
    write(place.folder / "docs", PAGES)
    workspace = place.configure()
    plan_and_apply(workspace)
    place.paid()
    point, (_, vector) = next(iter(dense_vectors(workspace).items()))
    header = workspace.status().header
    with contextlib.closing(workspace.settings.open_index(guard=lambda: None)) as index:
        (stored,) = index.retrieve([point], with_payload=True, with_vectors=True)
        index.upsert([Point(point, {**stored.vectors, "dense": (-vector).tolist()}, stored.payload)])
        index.flush()
    assert header is not None
    assert workspace.refresh().points == ()
    drift = workspace.refresh(deep=True)
    assert [(p.kind, drift.uncompared) for p in drift.points] == [("altered", 0)]
    plan_and_apply(workspace)
    assert workspace.refresh(deep=True).points == ()
    with workspace.embedding_cache() as cache:
        cache.prune(model="openai/words-32")
    drift = workspace.refresh(deep=True)
    assert (drift.points, drift.uncompared) == ((), 5)
    assert place.paid() == []
