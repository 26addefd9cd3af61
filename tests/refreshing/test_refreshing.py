"""Drift is seen, named and repaired; a lost state comes back from the points."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from qloader import Workspace
from qloader.documents.hashing import point_text
from qloader.errors import ForeignIndexError, LockedError, StateError
from qloader.index.protocol import Point, SparseVector
from qloader.refreshing.drift import Drift
from qloader.state.store import StateStore
from qloader.workspace.planning import PlanRequest
from support.faults import Killed
from support.workspaces import (
    assert_index_is_a_fresh_load,
    dump,
    make_workspace,
    plan_and_apply,
    write,
)

LONG = "\n\n".join(f"Paragraph {n} has words about {w} that fill a line or two." for n, w in enumerate("abcdef"))
DOCS = {
    "docs/long.md": f"---\ntags: [x, 1.5, null]\nnumber: 12345678901\n---\n# Long\n\n{LONG}",
    "docs/short.md": "# Short\n\nA few words.",
    "docs/ünï.md": "# Ünï\n\n日本語のテキスト。",
    "docs/twice.md": "# Twice\n\nThe same line.\n\n# Twice\n\nThe same line.",
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path)
    write(tmp_path, dict(DOCS))
    plan_and_apply(workspace)
    return workspace


@contextlib.contextmanager
def opened(workspace: Workspace):
    with contextlib.closing(workspace.settings.open_index()) as index:
        yield index
        index.flush()


def points_of(workspace: Workspace, document_id: str) -> list[str]:
    return [point for point, content in dump(workspace).items() if content["payload"]["document_id"] == document_id]


def kinds(drift: Drift) -> dict[str, int]:
    return {kind: len(drift.of(kind)) for kind in ("missing", "altered", "orphaned")}


def planned(workspace: Workspace, **request) -> list[tuple[str, str, int]]:
    with workspace.temporary_plan(PlanRequest(**request)) as result:
        return [(change.action, change.id, change.chunks.add) for change in result.plan.changes()]


def spoil(workspace: Workspace) -> None:
    """One point gone, one altered, one that belongs to no document."""
    lineage = workspace.status().header.lineage
    gone, altered, *_ = sorted(points_of(workspace, "long.md"))
    with opened(workspace) as index:
        payload = dict(index.retrieve([altered], with_payload=True)[0].payload)
        index.delete([gone])
        index.set_payloads([(altered, {**payload, "text": payload["text"] + " And more."})])
        stray = {"source": "docs", "document_id": "never.md", "qloader": {"lineage": lineage}}
        index.upsert([Point("0" * 8 + "-0000-8000-8000-" + "0" * 12, {"bm25": SparseVector([1], [1.0])}, stray)])


def test_an_index_as_the_state_says_has_no_drift(workspace: Workspace) -> None:
    for deep in (False, True):
        drift = workspace.refresh(deep=deep)
        assert drift == Drift(len(dump(workspace)), ())
    assert planned(workspace) == []


def test_missing_altered_and_orphaned_points_are_told_apart(workspace: Workspace) -> None:
    spoil(workspace)
    drift = workspace.refresh()
    assert kinds(drift) == {"missing": 1, "altered": 1, "orphaned": 1}
    assert {(p.source, p.document_id) for p in drift.points} == {("docs", "long.md"), ("docs", "never.md")}
    assert drift.checked == workspace.status().points + 1


def test_the_next_plan_repairs_what_refresh_found_and_embeds_only_that(workspace: Workspace) -> None:
    spoil(workspace)
    workspace.refresh()
    assert planned(workspace) == [("repair", "long.md", 2), ("repair", "never.md", 0)]
    result = plan_and_apply(workspace)
    assert (result.repaired, result.embedded) == (2, 2)
    assert_index_is_a_fresh_load(workspace)
    assert workspace.refresh().points == ()


@pytest.mark.parametrize("is_noted", [True, False], ids=["refresh", "plan --refresh"])
@pytest.mark.parametrize("step", ["record_intents", "commit_batch"])
def test_a_repair_that_is_cut_short_is_finished_by_the_same_plan(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_noted: bool, step: str
) -> None:
    spoil(workspace)
    if is_noted:
        workspace.refresh()
    plan = workspace.plan(tmp_path / "plan.json", PlanRequest(refresh=not is_noted)).plan
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(StateStore, step, killed)
        workspace.apply(plan)
    workspace.apply(plan)
    assert_index_is_a_fresh_load(workspace)
    assert workspace.refresh(deep=True).points == ()


def killed(*_, **__):
    raise Killed


def test_plan_with_refresh_finds_the_same_without_writing_the_state(workspace: Workspace) -> None:
    spoil(workspace)
    before = workspace.settings.state.read_bytes()
    assert planned(workspace, refresh=True) == [("repair", "long.md", 2), ("repair", "never.md", 0)]
    assert workspace.settings.state.read_bytes() == before
    assert planned(workspace) == []
    result = plan_and_apply(workspace, refresh=True)
    assert (result.repaired, result.embedded) == (2, 2)
    assert_index_is_a_fresh_load(workspace)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("text", "Other words."),
        ("title", "Another title"),
        ("uri", "elsewhere"),
        ("metadata", {"tags": ["y"]}),
        ("chunk", 7),
        ("document_id", "other.md"),
        ("qloader", None),
    ],
)
def test_every_part_of_a_payload_that_is_changed_by_hand_is_seen(workspace: Workspace, key: str, value) -> None:
    point = points_of(workspace, "short.md")[0]
    with opened(workspace) as index:
        payload = dict(index.retrieve([point], with_payload=True)[0].payload)
        own = {**payload["qloader"], "chunk_hash": "0" * 32}
        index.set_payloads([(point, {**payload, key: own if key == "qloader" else value})])
    drift = workspace.refresh()
    assert [(p.kind, point_text(p.point), p.document_id) for p in drift.points] == [("altered", point, "short.md")]
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace)


def test_a_point_that_lost_its_lineage_is_missing_and_comes_back(workspace: Workspace) -> None:
    point = points_of(workspace, "short.md")[0]
    with opened(workspace) as index:
        index.set_payloads([(point, {"text": "not ours any more"})])
    assert kinds(workspace.refresh()) == {"missing": 1, "altered": 0, "orphaned": 0}
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace)


def test_only_a_deep_refresh_compares_vectors(workspace: Workspace) -> None:
    point = points_of(workspace, "short.md")[0]
    with opened(workspace) as index:
        stored = index.retrieve([point], with_payload=True)[0]
        index.upsert([Point(point, {"bm25": SparseVector([5, 9], [1.0, 2.0])}, stored.payload)])
    assert workspace.refresh().points == ()
    assert kinds(workspace.refresh(deep=True)) == {"missing": 0, "altered": 1, "orphaned": 0}
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace)


def test_an_orphan_that_names_nobody_is_removed_too(workspace: Workspace) -> None:
    lineage = workspace.status().header.lineage
    point = Point(
        "0" * 8 + "-0000-8000-8000-" + "1" * 12, {"bm25": SparseVector([1], [1.0])}, {"qloader": {"lineage": lineage}}
    )
    with opened(workspace) as index:
        index.upsert([point])
    assert kinds(workspace.refresh()) == {"missing": 0, "altered": 0, "orphaned": 1}
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace)


def test_a_second_refresh_forgets_what_is_no_longer_so(workspace: Workspace) -> None:
    point = points_of(workspace, "short.md")[0]
    with opened(workspace) as index:
        stored = index.retrieve([point], with_payload=True, with_vectors=True)[0]
        index.delete([point])
    assert len(workspace.refresh().points) == 1
    with opened(workspace) as index:
        index.upsert([Point(point, stored.vectors, stored.payload)])
    assert workspace.refresh().points == ()
    assert planned(workspace) == []


def test_refresh_waits_for_no_writer(workspace: Workspace) -> None:
    with workspace.settings.write_state() as state:
        state.lock()
        with pytest.raises(LockedError):
            workspace.refresh()


def test_refresh_before_the_first_apply_says_so(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="nothing has been applied yet"):
        make_workspace(tmp_path).refresh()


def documents(workspace: Workspace) -> list[tuple]:
    return [
        (d.source, d.id, d.content, d.metadata, d.revision, d.size, d.chunks, d.pipeline, d.last_updated)
        for d in workspace.documents()
    ]


def remove_state(workspace: Workspace) -> None:
    for suffix in ("", "-wal", "-shm"):
        workspace.settings.state.with_name(workspace.settings.state.name + suffix).unlink(missing_ok=True)


def test_a_lost_state_comes_back_from_the_points_and_the_next_plan_is_empty(workspace: Workspace) -> None:
    before, header = documents(workspace), workspace.status().header
    points = workspace.status().points
    remove_state(workspace)
    rebuilt = workspace.rebuild_state()
    assert (rebuilt.lineage, rebuilt.documents, rebuilt.backup) == (header.lineage, len(DOCS), None)
    assert documents(workspace) == before
    assert workspace.status().points == points
    assert workspace.status().sources[0].type == "files"
    assert planned(workspace) == []


def test_a_rebuild_over_a_state_that_is_there_keeps_a_copy_and_makes_older_plans_stale(
    workspace: Workspace, tmp_path: Path
) -> None:
    from qloader.errors import StalePlanError

    write(tmp_path, {"docs/new.md": "# New"})
    plan = workspace.plan(tmp_path / "plan.json").plan
    serial = workspace.status().header.serial
    rebuilt = workspace.rebuild_state()
    assert Path(rebuilt.backup).exists()
    assert workspace.status().header.serial > serial
    with pytest.raises(StalePlanError):
        workspace.apply(plan)
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace)


def test_a_rebuild_of_a_spoilt_index_believes_only_what_adds_up(workspace: Workspace) -> None:
    spoil(workspace)
    remove_state(workspace)
    assert workspace.rebuild_state().documents == len(DOCS) - 1
    assert [(action, i) for action, i, _ in planned(workspace)] == [("create", "long.md"), ("repair", "never.md")]
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace)
    assert workspace.refresh().points == ()


def test_a_rebuild_notes_an_altered_point_of_a_whole_document(workspace: Workspace) -> None:
    point = points_of(workspace, "short.md")[0]
    with opened(workspace) as index:
        payload = dict(index.retrieve([point], with_payload=True)[0].payload)
        index.set_payloads([(point, {**payload, "text": "Other."})])
    remove_state(workspace)
    assert workspace.rebuild_state().documents == len(DOCS)
    assert planned(workspace) == [("repair", "short.md", 1)]
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace)


def test_documents_deleted_while_the_state_was_lost_are_deleted_by_the_next_plan(
    workspace: Workspace, tmp_path: Path
) -> None:
    remove_state(workspace)
    write(tmp_path, {"docs/short.md": None})
    workspace.rebuild_state()
    assert planned(workspace) == [("delete", "short.md", 0)]
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace)


def test_nothing_can_be_rebuilt_from_no_collection(tmp_path: Path) -> None:
    with pytest.raises(ForeignIndexError, match="there is no collection"):
        make_workspace(tmp_path).rebuild_state()


def test_a_rebuild_does_not_overwrite_the_state_of_another_lineage(workspace: Workspace, tmp_path: Path) -> None:
    other = make_workspace(tmp_path / "other")
    write(tmp_path / "other", {"docs/a.md": "# A"})
    plan_and_apply(other)
    remove_state(workspace)
    workspace.settings.state.write_bytes(other.settings.state.read_bytes())
    with pytest.raises(StateError, match="holds 1 document;"):
        workspace.rebuild_state()


def test_a_document_taken_out_of_the_state_is_made_anew_over_its_points(workspace: Workspace) -> None:
    removed = workspace.remove_from_state(["docs/short.md"])
    assert removed.backup.exists()
    assert planned(workspace) == [("create", "short.md", 1)]
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace)


def test_a_document_taken_out_of_the_state_and_gone_from_the_source_leaves_no_point(
    workspace: Workspace, tmp_path: Path
) -> None:
    workspace.remove_from_state(["docs/short.md"])
    write(tmp_path, {"docs/short.md": None})
    assert planned(workspace) == [("repair", "short.md", 0)]
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace)


def test_taking_out_an_unknown_document_removes_nothing(workspace: Workspace) -> None:
    before = documents(workspace)
    with pytest.raises(StateError, match=r"has no document docs/none\.md"):
        workspace.remove_from_state(["docs/short.md", "docs/none.md"])
    assert documents(workspace) == before
