"""The name of a collection, an alias or a pointer file, is removed or led elsewhere: nothing is lost, and a way leads
back."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import models

from qloader import Workspace
from qloader.applying.events import BatchDone
from qloader.errors import ForeignIndexError, InterruptedRunError, StateError
from support.replacing_places import Place, assert_all_is_well, replacing_place
from support.workspaces import plan_and_apply

PAGES = {f"page-{n}.md": f"# Page {n}\n\nOf the lamp, {n}.\n\n" + f"And of river {n}. " * 15 for n in range(4)}


class NamedPlace(Place):
    """A place whose name may be led elsewhere."""

    def replaced(self) -> Workspace:
        self.loaded()
        workspace = self.configure(max_chars=400)
        plan_and_apply(workspace)
        return workspace

    def remove_name(self) -> None:
        if self.server is None:
            (self.folder / ".qloader" / "index" / "test.target.json").unlink()
        else:
            self._send(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name="test")))

    def lead_to(self, collection: str) -> None:
        self.remove_name()  # of an embedded one, whose first collection has the name itself, that is all
        if self.server is not None:
            alias = models.CreateAlias(collection_name=collection, alias_name="test")
            self._send(models.CreateAliasOperation(create_alias=alias))

    def _send(self, step: models.AliasOperations) -> None:
        assert self.server is not None
        self.server.client.update_collection_aliases([step])


@pytest.fixture(params=["embedded", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with replacing_place(request.param, tmp_path, PAGES, NamedPlace) as place:
        yield place


@pytest.mark.parametrize("place", ["server"], indirect=True)
def test_prune_never_takes_the_one_collection_for_a_stranger(place: NamedPlace) -> None:
    workspace = place.loaded()
    before = place.collections()
    place.remove_name()
    with pytest.raises(ForeignIndexError, match=rf"test stands for nothing; the collection {before[0]} .* is there"):
        workspace.refresh()
    assert workspace.prune_collections().collections == ()
    assert place.collections() == before
    assert_all_is_well(workspace)


def test_a_name_that_stands_for_nothing_stands_for_what_it_stood_for_again(place: NamedPlace) -> None:
    workspace = place.replaced()
    workspace.prune_collections()
    before = place.collections()
    told: list[str] = []
    workspace = Workspace.open(workspace.settings.config.file, tell=told.append)
    place.remove_name()
    plan_and_apply(workspace)
    assert told == [f"test stood for nothing; it stands for {before[0]} again."]
    assert place.collections() == before
    assert_all_is_well(workspace)
    place.remove_name()
    with pytest.raises(StateError, match="no collection to go back to"):
        workspace.roll_back()
    assert place.collections() == before


def test_a_name_that_was_led_to_the_former_collection_is_taken_over_or_led_back(place: NamedPlace) -> None:
    workspace = place.replaced()
    header = workspace.status().header
    assert header is not None
    there = place.collections()[1]
    with workspace.temporary_plan() as result:
        place.lead_to(header.replaced)
        message = f"test stands for the collection {header.replaced}, and the state describes {header.target}"
        for refused in (lambda: workspace.apply(result.plan), workspace.refresh, workspace.prune_collections):
            with pytest.raises(ForeignIndexError, match=message) as caught:
                refused()
            assert "`qloader rollback` takes over" in caught.value.remedy
    if place.server is None:  # a plan asks no server
        with pytest.raises(ForeignIndexError, match=message):
            plan_and_apply(workspace)
    assert place.collections() == (header.replaced, there)
    done = workspace.roll_back()
    assert (done.target, done.replaced) == (header.replaced, header.target)
    assert_all_is_well(place.configure())
    workspace = place.configure(max_chars=400)
    assert workspace.roll_back().target == header.target
    assert place.collections() == (header.target, there)
    assert_all_is_well(workspace)


@pytest.mark.parametrize("place", ["server"], indirect=True)
def test_a_name_that_was_led_to_a_collection_that_nobody_knows_any_more_is_taken_over_by_a_rebuild(
    place: NamedPlace,
) -> None:
    workspace = place.replaced()
    header = workspace.status().header
    assert header is not None
    workspace.rebuild_state()  # which knows nothing of the former collection
    place.lead_to(header.replaced)
    with pytest.raises(ForeignIndexError, match=f"test stands for the collection {header.replaced}") as caught:
        plan_and_apply(workspace)
    assert "`qloader state rebuild`" in caught.value.remedy
    first = place.configure()
    first.rebuild_state()
    plan_and_apply(first)
    assert_all_is_well(first)


def test_a_state_that_came_back_from_a_backup_before_the_switch_has_nothing_removed(
    place: NamedPlace, tmp_path: Path
) -> None:
    workspace = place.loaded()
    changed = place.configure(max_chars=400)
    changed.plan(tmp_path / "plan.json")
    done: list[object] = []
    with pytest.raises(InterruptedRunError):
        changed.apply(
            tmp_path / "plan.json",
            should_stop=lambda: bool(done),
            listener=lambda event: done.append(event) if isinstance(event, BatchDone) else None,
        )
    backup = changed.backup_state(tmp_path / "backup.db")
    changed.apply(tmp_path / "plan.json")
    there = place.collections()
    for file in workspace.settings.state.parent.glob("*state.db*"):
        file.unlink()
    shutil.copy(backup, workspace.settings.state)
    for older in (False, True):
        if older:  # which did not note what the state describes
            with contextlib.closing(sqlite3.connect(workspace.settings.state)) as state, state:
                state.execute("DELETE FROM meta WHERE key = 'target'")
        with pytest.raises(ForeignIndexError, match="came back from a backup") as caught:
            changed.prune_collections()
        assert "`qloader state rebuild`" in caught.value.remedy
        assert place.collections() == there
    changed.rebuild_state()
    plan_and_apply(changed)
    assert_all_is_well(changed)
