"""A changed pipeline: a new collection is made beside the live one and takes its place; searches go on."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from qloader import Workspace
from qloader.applying.events import BatchDone
from qloader.errors import (
    ConfigError,
    ForeignIndexError,
    IndexUnavailableError,
    InterruptedRunError,
    StateError,
)
from qloader.workspace.since import parse_since
from support.qdrant_loopback import StandIn, serving
from support.replacing_places import Place, assert_all_is_well, replacing_place
from support.workspaces import assert_index_is_a_fresh_load, plan_and_apply, write

WORDS = ("lamp", "garden", "river", "stone", "bridge", "harbour")


def page(number: int, word: str) -> str:
    paragraphs = (f"Paragraph {n} of it says how a {word} is looked after, at some length." for n in range(4))
    return f"# Page {number}\n\n" + "\n\n".join(paragraphs)


PAGES = {f"page-{n}.md": page(n, word) for n, word in enumerate(WORDS)}


@pytest.fixture(params=["embedded", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with replacing_place(request.param, tmp_path, PAGES) as place:
        yield place


def stop_after(batches: int):
    """Whom to ask and whom to tell, so that an apply stops after so many batches."""
    done: list[BatchDone] = []

    def listen(event):
        if isinstance(event, BatchDone):
            done.append(event)

    return {"should_stop": lambda: len(done) >= batches, "listener": listen}


def interrupt(workspace: Workspace, path: Path, batches: int = 2) -> None:
    workspace.plan(path)
    with pytest.raises(InterruptedRunError, match="beside the live one"):
        workspace.apply(path, **stop_after(batches))


def test_a_changed_pipeline_is_a_new_collection_in_the_place_of_the_old_one(place: Place) -> None:
    place.loaded()
    before, _ = place.collections()
    changed = place.configure(max_chars=400)
    with changed.temporary_plan() as result:
        header = result.plan.header
        assert (header.index.action, header.summary.update) == ("replace", len(PAGES))
        # a chunk whose text stays is not embedded again
        assert header.summary.chunks_keep
        done = changed.apply(result.plan)
    assert done.embedded == header.summary.chunks_embed
    after, relatives = place.collections()
    assert relatives == sorted([before or "", after or ""])
    assert after == f"test__{changed.settings.pipeline.fingerprint}"
    assert done.settings == (
        f"test stands for the new collection {after} now. {before} is kept: `qloader rollback` brings it back, "
        "`qloader prune` removes it.",
    )
    status = changed.status()
    assert status.header is not None
    assert (status.header.replaced, status.header.replacement, status.beside) == (before, "", (before,))
    assert done.serial == status.header.serial
    assert_all_is_well(changed)


def test_searches_are_answered_by_one_or_the_other_throughout(place: Place) -> None:
    live = place.loaded()
    changed = place.configure(max_chars=400)
    answers: list[str] = []

    def search(workspace: Workspace) -> None:
        for number, word in enumerate(WORDS):
            hits = workspace.search(f"how is a {word} looked after", limit=1)
            answers.append(hits[0].payload["text"])
            assert hits[0].payload["document_id"] == f"page-{number}.md"

    def listen(event: object) -> None:
        search(live)
        search(changed)  # whoever has the new config already

    with changed.temporary_plan() as result:
        changed.apply(result.plan, listener=listen)
    search(changed)
    assert len(answers) > 100
    assert len(answers[-1]) > len(answers[0])


def test_a_stopped_replacement_changes_nothing_and_goes_on(place: Place, tmp_path: Path) -> None:
    live = place.loaded()
    before = place.collections()[0]
    changed = place.configure(max_chars=400)
    plan = tmp_path / "plan.json"
    interrupt(changed, plan)
    assert place.collections()[0] == before
    assert live.search("lamp")
    assert_index_is_a_fresh_load(place.configure())
    assert changed.status().beside == (f"test__{place.configure(400).settings.pipeline.fingerprint}",)
    place.configure(max_chars=400)
    done = changed.apply(plan)
    assert done.already == 4  # two batches of two documents
    assert_all_is_well(changed)


def test_a_new_plan_goes_on_with_what_was_begun_and_removes_what_is_gone_since(place: Place, tmp_path: Path) -> None:
    place.loaded()
    changed = place.configure(max_chars=400)
    write(place.folder / "docs", {"aaa.md": "# New\n\nSomething that was not there before."})
    interrupt(changed, tmp_path / "plan.json", batches=3)
    # what the first two batches brought: one is gone, one was renamed, one is edited
    write(place.folder / "docs", {"aaa.md": None, "page-0.md": None, "page-1.md": page(1, "orchard")})
    (place.folder / "docs" / "page-2.md").rename(place.folder / "docs" / "moved.md")
    done = plan_and_apply(changed, allow_deletes=("docs",))
    assert done.already
    assert_all_is_well(changed)


def test_a_config_that_is_set_back_leaves_nothing_of_a_replacement(place: Place, tmp_path: Path) -> None:
    place.loaded()
    interrupt(place.configure(max_chars=400), tmp_path / "plan.json")
    workspace = place.configure()
    write(place.folder / "docs", {"page-0.md": page(0, "lantern")})
    plan_and_apply(workspace)
    target, relatives = place.collections()
    assert relatives == [target]
    assert not workspace.settings.replacement_state.exists()
    assert workspace.status().beside == ()
    assert_all_is_well(workspace)


def test_a_third_pipeline_takes_the_place_of_one_that_was_begun(place: Place, tmp_path: Path) -> None:
    place.loaded()
    interrupt(place.configure(max_chars=400), tmp_path / "plan.json")
    changed = place.configure(max_chars=300)
    plan_and_apply(changed)
    assert len(place.collections()[1]) == 2
    assert_all_is_well(changed)


def test_a_replacement_whose_state_was_lost_is_gone_on_with_from_its_points(place: Place, tmp_path: Path) -> None:
    place.loaded()
    changed = place.configure(max_chars=400)
    interrupt(changed, tmp_path / "plan.json")
    changed.settings.replacement_state.unlink()  # as on another machine
    done = changed.apply(tmp_path / "plan.json")
    assert done.already == 4
    assert_all_is_well(changed)


def test_what_is_known_of_a_replacement_that_another_machine_went_on_with_is_not_believed(
    place: Place, tmp_path: Path
) -> None:
    place.loaded()
    changed = place.configure(max_chars=400)
    interrupt(changed, tmp_path / "plan.json", batches=1)
    file = changed.settings.replacement_state
    shutil.copy(file, tmp_path / "stale")
    write(place.folder / "docs", {"page-5.md": None, "page-1.md": page(1, "orchard")})
    interrupt(changed, tmp_path / "next.json", batches=2)
    file.unlink()
    shutil.copy(tmp_path / "stale", file)
    # Points of the text that page-1 had in between are known to the collection alone.
    write(place.folder / "docs", {"page-1.md": page(1, "forest")})
    plan_and_apply(changed)
    assert_all_is_well(changed)


def test_what_is_known_of_a_replaced_collection_that_came_back_in_between_is_not_believed(
    place: Place, tmp_path: Path
) -> None:
    place.loaded()
    changed = place.configure(max_chars=400)
    plan_and_apply(changed)
    shutil.copy(changed.settings.replaced_state, tmp_path / "stale")
    place.configure().roll_back()
    write(place.folder / "docs", {"page-1.md": page(1, "orchard"), "new.md": "# New\n\nA page that is new."})
    plan_and_apply(place.configure())
    plan_and_apply(place.configure(max_chars=400))
    shutil.copy(tmp_path / "stale", changed.settings.replaced_state)
    first = place.configure()
    assert first.roll_back().documents == len(PAGES) + 1
    assert_all_is_well(first)


def test_a_document_that_moved_on_stays_as_it_was_in_the_new_collection(place: Place, tmp_path: Path) -> None:
    place.loaded()
    changed = place.configure(max_chars=400)
    changed.plan(tmp_path / "plan.json")
    write(place.folder / "docs", {"page-3.md": page(3, "pebble")})
    done = changed.apply(tmp_path / "plan.json")
    assert [failure.document_id for failure in done.failures] == ["page-3.md"]
    hits = changed.search("how is a stone looked after", limit=1)
    assert hits[0].payload["document_id"] == "page-3.md"
    assert changed.refresh().points == ()
    # It is cut as it was, and so the next plan has it, alone, and in place.
    with changed.temporary_plan() as result:
        header = result.plan.header
        assert (header.index.action, header.summary.update) == ("none", 1)
        changed.apply(result.plan)
    assert_all_is_well(changed)


def test_a_document_that_stayed_as_it_was_is_cut_anew_when_it_can_be_read(place: Place, tmp_path: Path) -> None:
    place.loaded()
    changed = place.configure(max_chars=400)
    changed.plan(tmp_path / "plan.json")
    aside = place.folder / "aside"
    (place.folder / "docs" / "page-3.md").rename(aside)
    assert len(changed.apply(tmp_path / "plan.json").failures) == 1
    aside.rename(place.folder / "docs" / "page-3.md")
    with changed.temporary_plan() as result:
        (change,) = result.plan.changes()
        assert (change.action, change.reason) == ("update", "pipeline changed")
        assert result.plan.header.index.action == "none"
        changed.apply(result.plan)
    assert_all_is_well(changed)


def test_a_rollback_brings_back_the_former_collection_and_can_be_undone(place: Place, tmp_path: Path) -> None:
    first = place.loaded()
    old = place.collections()[0]
    changed = place.configure(max_chars=400)
    plan_and_apply(changed)
    new = place.collections()[0]
    done = changed.roll_back()
    assert (done.target, done.replaced, done.documents, done.is_configured) == (old, new, len(PAGES), False)
    assert place.collections()[0] == old
    first = place.configure()
    assert first.history()[0].plan == "rollback"
    assert_all_is_well(first)
    again = place.configure(max_chars=400).roll_back()
    assert (again.target, again.replaced, again.is_configured) == (new, old, True)
    assert_all_is_well(place.configure(max_chars=400))


def test_what_was_rolled_back_comes_again_without_being_made_anew(place: Place) -> None:
    place.loaded()
    changed = place.configure(max_chars=400)
    plan_and_apply(changed)
    new = place.collections()[0]
    changed.roll_back()
    write(place.folder / "docs", {"page-0.md": page(0, "lantern")})
    done = plan_and_apply(changed)
    assert (done.already, done.updated) == (len(PAGES) - 1, 1)
    assert place.collections()[0] == new
    assert_all_is_well(changed)


def test_a_rollback_without_the_file_of_the_former_state_reads_the_points(place: Place) -> None:
    place.loaded()
    changed = place.configure(max_chars=400)
    plan_and_apply(changed)
    changed.settings.replaced_state.unlink()  # as on another machine
    assert changed.roll_back().documents == len(PAGES)
    assert_all_is_well(place.configure())


def test_changes_since_are_planned_after_a_rollback(place: Place) -> None:
    place.loaded()
    plan_and_apply(place.configure(max_chars=400))
    write(place.folder / "docs", {"page-0.md": page(0, "lantern")})
    plan_and_apply(place.configure(max_chars=400))
    first = place.configure()
    first.roll_back()
    with first.temporary_plan() as result:
        assert [change.id for change in result.plan.changes()] == ["page-0.md"]
        first.apply(result.plan)
    assert_all_is_well(first)


def test_there_is_nothing_to_roll_back_to_before_a_replacement_and_after_a_prune(place: Place) -> None:
    workspace = place.configure()
    with pytest.raises(StateError, match="nothing has been applied yet"):
        workspace.roll_back()
    with pytest.raises(StateError, match="nothing has been applied yet"):
        workspace.prune_collections()
    place.loaded()
    with pytest.raises(StateError, match="no collection to go back to"):
        workspace.roll_back()
    changed = place.configure(max_chars=400)
    old = place.collections()[0]
    plan_and_apply(changed)
    assert changed.prune_collections().collections == (old,)
    assert changed.prune_collections().collections == ()
    assert len(place.collections()[1]) == 1
    with pytest.raises(StateError, match="no collection to go back to"):
        changed.roll_back()
    assert_all_is_well(changed)


def test_the_one_before_the_last_is_removed_by_the_next_replacement(place: Place) -> None:
    place.loaded()
    first = place.collections()[0]
    plan_and_apply(place.configure(max_chars=400))
    second = place.collections()[0]
    last = place.configure(max_chars=300)
    plan_and_apply(last)
    target, relatives = place.collections()
    assert relatives == sorted([second or "", target or ""])
    assert first not in relatives
    assert_all_is_well(last)


def test_destroy_removes_all_of_them(place: Place) -> None:
    place.loaded()
    changed = place.configure(max_chars=400)
    plan_and_apply(changed)
    plan_and_apply(changed, destroy=True)
    target, relatives = place.collections()
    assert relatives == [target]
    assert not changed.settings.replaced_state.exists()
    plan_and_apply(changed)
    assert_all_is_well(changed)


def test_a_part_cannot_be_replaced(place: Place) -> None:
    place.loaded()
    changed = place.configure(max_chars=400)
    from qloader.planning.plan import PlanSelection
    from qloader.workspace.planning import PlanRequest

    for request in (
        PlanRequest(selection=PlanSelection(targets=("docs/page-0.md",))),
        PlanRequest(since=parse_since("24h")),
    ):
        with pytest.raises(ConfigError, match="the whole collection is replaced"), changed.temporary_plan(request):
            pass
    with changed.temporary_plan(PlanRequest(sources=("docs",))) as result:  # all there are
        changed.apply(result.plan)
    assert_all_is_well(changed)


def test_a_collection_that_lost_points_while_it_was_made_does_not_take_the_place(place: Place, tmp_path: Path) -> None:
    place.loaded()
    before = place.collections()[0]
    changed = place.configure(max_chars=400)
    interrupt(changed, tmp_path / "plan.json")
    name = changed.status().beside[0]
    header = changed.status().header
    assert header is not None
    with contextlib.closing(changed.settings.open_index(target=name, guard=lambda: None)) as index:
        index.delete([next(iter(index.scroll(lineage=header.lineage))).id])
        index.flush()
    with pytest.raises(IndexUnavailableError, match=r"holds \d+ points and should hold"):
        changed.apply(tmp_path / "plan.json")
    assert place.collections()[0] == before
    assert changed.prune_collections().collections == (name,)
    plan_and_apply(changed)
    assert_all_is_well(changed)


def test_a_stranger_in_the_place_of_the_new_collection_is_left_alone(place: Place) -> None:
    place.loaded()
    changed = place.configure(max_chars=400)
    name = f"test__{changed.settings.pipeline.fingerprint}"
    with contextlib.closing(changed.settings.open_index(target=name, guard=lambda: None)) as index:
        index.create(lineage="6f0c2f4e-0000-4000-8000-00000000000f", pipeline="abc")
    plan_and_apply(changed)
    target, relatives = place.collections()
    assert target == f"{name}-2"
    assert name in relatives
    assert_all_is_well(changed)


def test_a_collection_of_an_older_qloader_has_the_name_itself_and_is_replaced_all_the_same(tmp_path: Path) -> None:
    server = StandIn()
    with serving(server.respond) as url:
        place = Place(tmp_path, PAGES, url, server)
        workspace = place.configure()
        write(tmp_path / "docs", PAGES)
        with (
            contextlib.closing(workspace.settings.open_index(target="test", guard=lambda: None)) as index,
            workspace.settings.write_state() as state,
        ):
            state.lock()
            pipeline = workspace.settings.pipeline
            state.begin_run(
                plan="older", name="test", collection="test", location=workspace.settings.config.index.location,
                pipeline=pipeline.fingerprint,
                pipeline_settings={"chunking": dict(pipeline.chunking), "embedding": dict(pipeline.embedding)},
                sources={},
            )  # fmt: skip
            header = state.header()
            assert header is not None
            index.create(lineage=header.lineage, pipeline=pipeline.fingerprint)
        plan_and_apply(workspace)
        assert place.collections() == ("test", ["test"])
        changed = place.configure(max_chars=400)
        done = plan_and_apply(changed)
        target, relatives = place.collections()
        assert relatives == [target]  # a server has no two things of one name
        assert "rollback" not in done.settings[0]
        assert changed.status().beside == ()
        assert_all_is_well(changed)


def test_a_pointer_file_that_says_nothing_is_an_error(tmp_path: Path) -> None:
    place = Place(tmp_path, PAGES)
    place.loaded()
    changed = place.configure(max_chars=400)
    plan_and_apply(changed)
    pointer = tmp_path / ".qloader" / "index" / "test.target.json"
    for text in ("{}", "nonsense", '{"format": "qloader.pointer/1", "target": "../elsewhere"}'):
        pointer.write_text(text, encoding="utf-8")
        with pytest.raises(ForeignIndexError, match=r"test.target.json is damaged"):
            changed.search("lamp")
    pointer.unlink()
    with pytest.raises(ForeignIndexError), changed.temporary_plan():
        shutil.rmtree(tmp_path / ".qloader" / "index" / "test")
        changed.plan(tmp_path / "plan.json")
