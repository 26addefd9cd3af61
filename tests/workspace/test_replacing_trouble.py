"""A new model, and what goes wrong on the way: the live one answers, the same apply goes on, nothing is paid twice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from qloader import Workspace
from qloader.applying.events import BatchDone
from qloader.errors import ConfigError, EmbeddingError, ForeignIndexError, IndexUnavailableError, QloaderError
from qloader.index import embedded
from servers.embeddings import KEY, count_tokens
from support.dense_places import DensePlace, dense_place, dense_vectors
from support.workspaces import assert_index_is_a_fresh_load, plan_and_apply, write

LONGER = "words-64"
PAGES = {f"page-{n}.md": f"# Page {n}\n\nThe {n}th of ten pages, with its own words: word{n}." for n in range(10)}


@pytest.fixture(params=["embedded", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DensePlace]:
    with dense_place(tmp_path, request.param) as place:
        place.model.others[LONGER] = 64
        write(tmp_path / "docs", PAGES)
        plan_and_apply(place.configure())
        place.paid()
        yield place


@pytest.fixture
def plan(place: DensePlace) -> Path:
    """The plan of another model, which the config names from here on."""
    file = place.folder / "plan.json"
    assert place.configure(model=LONGER).plan(file).plan.header.index.action == "replace"
    return file


def changed(place: DensePlace) -> Workspace:
    return place.configure(model=LONGER)


def telling(workspace: Workspace, told: list[str]) -> Workspace:
    """The same workspace, which says there what no result holds."""
    return Workspace.open(workspace.settings.config.file, tell=told.append)


def assert_the_live_one_answers(workspace: Workspace, *, pages: int = 10) -> None:
    """By words alone: the provider may be gone, and then nobody can ask by meaning."""
    for number in range(pages):
        hits = workspace.search(f"word{number}", mode="sparse", limit=1)
        assert [hit.payload["document_id"] for hit in hits] == [f"page-{number}.md"]


def assert_done_without_paying_twice(place: DensePlace, workspace: Workspace, paid: list[str]) -> None:
    texts = dense_vectors(workspace)
    assert sorted([*paid, *place.paid()]) == sorted(text for text, _ in texts.values())
    assert {len(vector) for _, vector in texts.values()} == {64}
    assert_index_is_a_fresh_load(workspace)


def test_a_key_that_is_withdrawn_in_the_middle(place: DensePlace, plan: Path) -> None:
    workspace = changed(place)
    place.model.revoked_after = place.model.requests + 3  # the length, and two batches of two documents
    with pytest.raises(EmbeddingError, match="does not accept the key") as caught:
        workspace.apply(plan)
    assert KEY not in f"{caught.value} {caught.value.remedy}"
    assert_the_live_one_answers(workspace)
    place.model.revoked_after = None
    paid = place.paid()
    assert 0 < len(paid) < len(PAGES)
    assert workspace.apply(plan).already
    assert_done_without_paying_twice(place, workspace, paid)


def test_a_quota_that_is_spent_at_forty_percent(place: DensePlace, plan: Path) -> None:
    workspace = changed(place)
    place.model.quota = place.model.tokens + count_tokens(PAGES["page-0.md"]) * len(PAGES) * 4 // 10
    with pytest.raises(EmbeddingError, match="quota"):
        workspace.apply(plan)
    assert_the_live_one_answers(workspace)
    paid = place.paid()
    assert len(paid) == 4
    place.model.quota = None
    workspace.apply(plan)
    assert_done_without_paying_twice(place, workspace, paid)


def test_a_text_that_the_new_model_does_not_take_keeps_the_live_collection_in_its_place(place: DensePlace) -> None:
    write(place.folder / "docs", {"page-3.md": "# Page 3\n\nword3 " + "many words in here " * 9})
    plan_and_apply(place.configure())
    before = place.configure().status().header
    assert before is not None
    place.paid()
    refusing = place.configure(model=LONGER, max_tokens=30, too_long="refuse")
    for _ in range(2):
        with pytest.raises(
            EmbeddingError, match="1 document of the live collection cannot be in the new one"
        ) as caught:
            plan_and_apply(refusing)
        assert "docs/page-3.md" in str(caught.value)
        assert_the_live_one_answers(refusing)
        assert place.configure().search("word3", limit=1)[0].payload["document_id"] == "page-3.md"
        after = refusing.status().header
        assert after is not None
        assert (after.target, after.pipeline) == (before.target, before.pipeline)
    paid = [text for text in place.paid() if text != "word3"]
    assert len(paid) == len(PAGES) - 1
    refusing = place.configure(model=LONGER, max_tokens=30, too_long="refuse")
    write(place.folder / "docs", {"page-3.md": "# Page 3\n\nFew: word3."})
    plan_and_apply(refusing)
    assert_the_live_one_answers(refusing)
    assert_done_without_paying_twice(place, refusing, paid)


@pytest.mark.parametrize("place", ["embedded"], indirect=True)
def test_a_disk_that_is_full_while_the_new_collection_is_made(
    place: DensePlace, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = changed(place)

    def fill(event: object) -> None:
        if isinstance(event, BatchDone) and event.number == 2:
            monkeypatch.setattr(embedded, "RESERVE", 1 << 60)

    with pytest.raises(IndexUnavailableError, match="nearly full") as caught:
        workspace.apply(plan, listener=fill)
    assert "Free some space" in caught.value.remedy
    assert_the_live_one_answers(workspace)
    monkeypatch.undo()
    paid = place.paid()
    assert workspace.apply(plan).already == 4
    assert_done_without_paying_twice(place, workspace, paid)


@pytest.mark.parametrize("place", ["server"], indirect=True)
def test_an_alias_that_a_stranger_took(place: DensePlace, plan: Path) -> None:
    workspace = changed(place)
    assert place.server is not None
    client = place.server.client
    with contextlib.closing(workspace.settings.open_index()) as index:
        live = index.target()
    assert live is not None
    theirs = client.get_collection(live).config.params
    client.create_collection("theirs", theirs.vectors, theirs.sparse_vectors)

    def take(to: str) -> None:
        from qdrant_client import models

        client.update_collection_aliases(
            [
                models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name="test")),
                models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=to, alias_name="test")),
            ]
        )

    # before the apply
    take("theirs")
    with pytest.raises(ForeignIndexError, match="qloader did not make it"):
        workspace.apply(plan)
    assert place.paid() == []
    take(live)

    # while the new collection is made
    def take_in_the_middle(event: object) -> None:
        if isinstance(event, BatchDone) and event.number == 2:
            take("theirs")

    with pytest.raises(ForeignIndexError, match="test stands for theirs now"):
        workspace.apply(plan, listener=take_in_the_middle)
    assert {one.alias_name: one.collection_name for one in client.get_aliases().aliases} == {"test": "theirs"}
    take(live)
    assert_the_live_one_answers(workspace)
    paid = place.paid()
    workspace.apply(plan)
    assert_done_without_paying_twice(place, workspace, paid)
    assert client.collection_exists("theirs")


def test_two_states_with_different_models_on_one_collection(place: DensePlace, plan: Path) -> None:
    text = (place.folder / "test.yaml").read_text(encoding="utf-8").replace("test.state.db", "second.state.db")
    (place.folder / "second.yaml").write_text(text, encoding="utf-8")
    second = Workspace.open(place.folder / "second.yaml")
    with pytest.raises(QloaderError, match="belongs to the state"):
        plan_and_apply(second)
    assert place.paid() == []
    workspace = changed(place)
    assert_the_live_one_answers(workspace)
    workspace.apply(plan)
    with pytest.raises(QloaderError, match="belongs to the state"):
        plan_and_apply(second)
    assert_done_without_paying_twice(place, workspace, [])


def test_an_index_that_was_emptied_by_the_config_of_another_model_is_loaded_by_that(place: DensePlace) -> None:
    workspace = changed(place)
    plan_and_apply(workspace, destroy=True)
    place.paid()
    plan_and_apply(workspace)
    assert_done_without_paying_twice(place, workspace, [])


def test_a_deep_refresh_asks_for_the_vectors_that_are_there(place: DensePlace, plan: Path) -> None:
    workspace = changed(place)
    place.model.quota = place.model.tokens + count_tokens(PAGES["page-0.md"]) * 4
    with pytest.raises(EmbeddingError, match="quota"):
        workspace.apply(plan)  # the cache knows some of the new model's vectors by now
    drift = workspace.refresh(deep=True)
    assert (drift.points, drift.uncompared) == ((), 0)
    told: list[str] = []
    elsewhere = telling(place.configure(provider="voyage", model=LONGER), told)
    assert elsewhere.refresh(deep=True).points == ()
    assert [sentence.partition(":")[0] for sentence in told] == ["Dense vectors are not compared"]
    assert place.configure(dense=False).refresh(deep=True).points == ()


def test_a_state_that_was_rebuilt_by_another_config_compares_no_vectors_of_two_models(place: DensePlace) -> None:
    place.model.others["as-long"] = place.model.dim
    workspace = place.configure(model="as-long")
    workspace.rebuild_state()  # the state that was there knows how the vectors were made
    assert workspace.search("word3", mode="dense", limit=1)[0].payload["document_id"] == "page-3.md"
    assert place.model.bodies[-1]["model"] == place.model.model
    workspace.settings.state.unlink()
    workspace.rebuild_state()
    told: list[str] = []
    workspace = telling(workspace, told)
    with pytest.raises(ConfigError, match="does not know how the dense vectors in the index were made"):
        workspace.search("word3", mode="dense")
    assert workspace.search("word3", limit=1)[0].payload["document_id"] == "page-3.md"
    assert told[0].startswith("Searched by words alone: the state was rebuilt")
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace)
    assert workspace.search("word3", mode="dense", limit=1)[0].payload["document_id"] == "page-3.md"


@pytest.mark.parametrize("place", ["embedded"], indirect=True)
@pytest.mark.parametrize("damage", ["engine", "marker"])
def test_a_damaged_collection_that_was_begun_is_given_up_and_begun_anew(
    place: DensePlace, plan: Path, damage: str
) -> None:
    workspace = changed(place)
    place.model.quota = place.model.tokens + count_tokens(PAGES["page-0.md"]) * 4
    with pytest.raises(EmbeddingError, match="quota"):
        workspace.apply(plan)
    place.model.quota = None
    header = workspace.status().header
    assert header is not None
    begun = place.folder / ".qloader" / "index" / header.replacement
    for file in begun.rglob("segment.json" if damage == "engine" else "qloader.json"):
        file.unlink()
    with pytest.raises(QloaderError) as caught:
        workspace.apply(plan)
    assert "qloader prune" in caught.value.remedy
    assert_the_live_one_answers(workspace)
    workspace.prune_collections()
    paid = place.paid()
    workspace.apply(plan)
    assert_done_without_paying_twice(place, workspace, paid)
