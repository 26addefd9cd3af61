"""Plans that do not fit any more, collections that are not ours, points of others: refused, or never touched."""

from __future__ import annotations

import contextlib
import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from qloader import Workspace
from qloader.embedding.bm25 import Bm25Embedder
from qloader.errors import ForeignIndexError, InterruptedRunError, StalePlanError
from qloader.index.protocol import Point
from qloader.planning.planfile import FilePlan
from support.qdrant_loopback import StandIn, serving
from support.workspaces import assert_index_is_a_fresh_load, dump, make_workspace, plan_and_apply, write

FILES = {f"{name}.md": f"# {name}\n\nwords of {name}" for name in "abcd"}


@pytest.fixture(params=["embedded", "server"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workspace]:
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(serving(StandIn().respond)) if request.param == "server" else None
        workspace = make_workspace(tmp_path / "here", url=url)
        write(docs(workspace), FILES)
        plan_and_apply(workspace)
        yield workspace


def docs(workspace: Workspace) -> Path:
    return workspace.settings.config.base / "docs"


def planned(workspace: Workspace, name: str = "plan.json") -> FilePlan:
    return workspace.plan(workspace.settings.config.base / name).plan


def reconfigured(workspace: Workspace, old: str, new: str) -> Workspace:
    file = workspace.settings.config.file
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.with_name("other.yaml").write_text(text.replace(old, new), encoding="utf-8")
    return Workspace.open(file.with_name("other.yaml"))


def assert_stale(workspace: Workspace, plan: FilePlan, says: str) -> None:
    before = workspace.status()
    with pytest.raises(StalePlanError, match=says) as error:
        workspace.apply(plan)
    assert error.value.exit_code == 4
    assert error.value.remedy
    assert workspace.status() == before


# Stale plans


def test_a_plan_of_an_older_serial_is_refused_and_says_what_changed_since(workspace: Workspace) -> None:
    write(docs(workspace), {"a.md": "# a\n\nchanged"})
    old = planned(workspace, "old.json")
    write(docs(workspace), {"b.md": "# b\n\nchanged"})
    plan_and_apply(workspace)
    run = workspace.history(1)[0]
    assert_stale(
        workspace,
        old,
        rf"rests on serial \d+ of the state, which is at \d+ now: run {run.id} \(complete\) of the plan "
        rf"{run.plan[:12]} changed 2 documents",
    )
    assert_index_is_a_fresh_load(workspace)


def test_a_plan_of_another_lineage_is_refused_with_both(workspace: Workspace, tmp_path: Path) -> None:
    other = make_workspace(tmp_path / "there")
    write(docs(other), FILES)
    plan_and_apply(other)
    write(docs(workspace), {"a.md": "# a\n\nchanged"})
    data = planned(workspace)
    lineages = workspace.status().header.lineage, other.status().header.lineage
    if workspace.settings.embedded_path is not None:
        assert_stale(other, data, f"another state: {lineages[0]}, this one is {lineages[1]}")
    else:
        assert_stale(other, data, "another config: its index is server:")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("name: test", "name: other", "its name is test, the config's is other"),
        ("collection: test", "collection: other", "its collection is test, the config's is other"),
        ("max_chars: 200", "max_chars: 300", "its pipeline is [0-9a-f]+, the config's is [0-9a-f]+"),
        ("index: {collection: test, ", "index: {collection: elsewhere, ", "its collection is test"),
        ("docs: {type: files, path: docs}", "docs: {type: git, url: .}", "docs is of type files in the plan, and git"),
    ],
)
def test_a_plan_of_another_config_is_refused_with_what_differs(
    workspace: Workspace, old: str, new: str, says: str
) -> None:
    write(docs(workspace), {"a.md": "# a\n\nchanged"})
    plan = planned(workspace)
    before = dump(workspace)
    with pytest.raises(StalePlanError, match=says):
        reconfigured(workspace, old, new).apply(plan)
    assert dump(workspace) == before
    assert workspace.apply(plan).updated == 1


def test_a_plan_that_was_half_applied_goes_on(workspace: Workspace) -> None:
    write(docs(workspace), {name: text + " changed" for name, text in FILES.items()})
    plan = planned(workspace)
    asked = iter([False, True])
    with pytest.raises(InterruptedRunError):
        workspace.apply(plan, should_stop=lambda: next(asked))
    result = workspace.apply(plan)
    assert (result.already, result.updated) == (2, 2)
    assert_index_is_a_fresh_load(workspace)
    assert workspace.apply(plan).already == 4  # and once more it is done


def test_a_plan_that_was_half_applied_is_stale_once_another_was_applied(workspace: Workspace) -> None:
    write(docs(workspace), {name: text + " changed" for name, text in FILES.items()})
    plan = planned(workspace)
    asked = iter([False, True])
    with pytest.raises(InterruptedRunError):
        workspace.apply(plan, should_stop=lambda: next(asked))
    write(docs(workspace), {"e.md": "e"})
    plan_and_apply(workspace)
    assert_stale(workspace, plan, r"\(complete\) of the plan")
    assert_index_is_a_fresh_load(workspace)


# Collections of others


def test_a_collection_of_another_lineage_is_refused_with_the_ways_out(tmp_path: Path) -> None:
    theirs, ours = (make_workspace(tmp_path / name) for name in ("theirs", "ours"))
    for workspace in (theirs, ours):
        write(docs(workspace), FILES)
    plan_and_apply(theirs)
    plan = planned(ours)
    ours.settings.embedded_path.parent.mkdir(exist_ok=True)
    subprocess.run(["cp", "-a", str(theirs.settings.embedded_path), str(ours.settings.embedded_path)], check=True)
    for use in (lambda: planned(ours, "new.json"), lambda: ours.apply(plan)):
        with pytest.raises(ForeignIndexError, match=theirs.status().header.lineage) as error:
            use()
        for way in ("state.path", "backup", "`qloader state rebuild`", "index.collection"):
            assert way in error.value.remedy
    assert ours.status().header is None


def test_a_servers_collection_of_another_lineage_is_refused_with_the_ways_out(tmp_path: Path) -> None:
    with serving(StandIn().respond) as url:
        theirs, ours = (make_workspace(tmp_path / name, url=url) for name in ("theirs", "ours"))
        for workspace in (theirs, ours):
            write(docs(workspace), FILES)
        plan_and_apply(theirs)
        before = dump(theirs)
        with pytest.raises(ForeignIndexError, match=theirs.status().header.lineage) as error:
            plan_and_apply(ours)
        for way in ("state.path", "backup", "`qloader state rebuild`", "index.collection"):
            assert way in error.value.remedy
        assert dump(theirs) == before
        assert ours.status().header is None


# Points of others


def foreign_points(workspace: Workspace) -> list[Point]:
    """Points that look like ours as far as they can, of another lineage, and of none."""
    (vector,) = Bm25Embedder().embed_documents(["words of a foreigner"])
    payload = {"text": "words of a foreigner", "source": "docs", "document_id": "a.md", "chunk": 0, "title": "a"}
    owners = ({"lineage": str(uuid.uuid4()), "chunk_hash": "00" * 16}, None, "not even a mapping")
    return [
        Point(str(uuid.uuid4()), vector, {**payload, **({} if owner is None else {"qloader": owner})})
        for owner in owners
    ]


def stored(workspace: Workspace, points: list[Point]) -> list[tuple[str, str]]:
    with contextlib.closing(workspace.settings.open_index()) as index:
        found = index.retrieve([point.id for point in points], with_payload=True, with_vectors=True)
        return sorted((p.id, json.dumps([p.payload, repr(p.vectors)], sort_keys=True)) for p in found)


def test_points_of_others_are_never_read_touched_or_counted(workspace: Workspace) -> None:
    ours, status = dump(workspace), workspace.status()
    points = foreign_points(workspace)
    with contextlib.closing(workspace.settings.open_index()) as index:
        index.upsert(points)
        index.flush()
    before = stored(workspace, points)
    assert len(before) == 3

    assert dump(workspace) == ours
    assert workspace.status() == status
    assert all(hit.payload["text"] != "words of a foreigner" for hit in workspace.search("foreigner", limit=50))
    drift = workspace.refresh(deep=True)
    assert (drift.checked, drift.points) == (4, ())
    assert planned(workspace).header.is_empty

    write(docs(workspace), {"a.md": "# a\n\nchanged", "b.md": None, "e.md": "# e\n\nnew"})
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace)
    workspace = reconfigured(workspace, "max_chars: 200", "max_chars: 300")
    plan_and_apply(workspace)  # replaces the collection
    assert stored(workspace, points) == before
    workspace.settings.state.unlink()
    assert workspace.rebuild_state().documents == 4
    plan_and_apply(workspace, destroy=True)
    assert workspace.status().points == 0
    assert stored(workspace, points) == before
