"""The texts that a plan changes: old as the index holds them, new as planned, marked as an apply embeds them."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from qloader import Workspace
from qloader.errors import (
    ForeignIndexError,
    IndexUnavailableError,
    InterruptedRunError,
    PlanError,
    SourceError,
    StalePlanError,
)
from qloader.planning.plan import Plan
from qloader.workspace.planning import PlanRequest
from qloader.workspace.showing import TextChange
from support.git_builder import Builder
from support.workspaces import make_workspace, plan_and_apply, write

PAGE = "\n\n".join(f"Paragraph {n} tells of {word}, and then of it again and again. {'More. ' * 12}" for n, word in
                   enumerate(("violins", "harbours", "glaciers", "bakeries", "lanterns")))  # fmt: skip


@pytest.fixture
def applied(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path)
    write(tmp_path / "docs", {"page.md": f"# Page\n\n{PAGE}", "old.md": "# Old\n\nold", "name.md": "# Name\n\nname"})
    plan_and_apply(workspace)
    return workspace


def docs(workspace: Workspace) -> Path:
    return workspace.settings.config.base / "docs"


@contextlib.contextmanager
def planned(workspace: Workspace, **request: object) -> Iterator[Plan]:
    with workspace.temporary_plan(PlanRequest(**request)) as result:  # type: ignore[arg-type]
        yield result.plan


def found(workspace: Workspace, plan: Plan) -> dict[str, TextChange]:
    with workspace.texts(plan) as texts:
        return {one.change.id: one for one in texts.of(plan.changes())}


def assert_marked_as_planned(all_of_them: dict[str, TextChange]) -> None:
    for one in all_of_them.values():
        assert len(one.after.embedded) == one.change.chunks.add, one.change.address
        assert not one.note


def test_each_kind_of_change_has_its_texts(applied: Workspace) -> None:
    write(
        docs(applied),
        {
            "page.md": f"# Page\n\n{PAGE.replace('glaciers', 'icebergs')}",
            "old.md": None,
            "new.md": "# New\n\nnew",
            "name.md": None,
            "renamed.md": "# Name\n\nname",
        },
    )
    with planned(applied) as plan:
        texts = found(applied, plan)
    assert_marked_as_planned(texts)
    page = texts["page.md"]
    (number,) = page.after.embedded
    assert "glaciers" in (page.before.chunks[number] or "")
    assert "icebergs" in (page.after.chunks[number] or "")
    assert [c for n, c in enumerate(page.before.chunks) if n != number] == [
        c for n, c in enumerate(page.after.chunks) if n != number
    ]
    assert texts["old.md"].before.chunks == ("# Old\n\nold",)
    assert texts["old.md"].after.chunks == ()
    assert (texts["new.md"].before.chunks, texts["new.md"].after.chunks) == ((), ("# New\n\nnew",))
    moved = texts["renamed.md"]
    assert moved.change.from_id == "name.md"
    assert moved.before.chunks == moved.after.chunks == ("# Name\n\nname",)
    assert moved.before.labels is not None
    assert moved.after.labels is not None
    assert (moved.before.labels["uri"], moved.after.labels["uri"]) == ("name.md", "renamed.md")


def test_a_first_plan_needs_no_index_and_makes_none(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    write(tmp_path / "docs", {"a.md": f"# A\n\n{PAGE}"})
    with planned(workspace) as plan:
        texts = found(workspace, plan)
    assert_marked_as_planned(texts)
    assert texts["a.md"].before.chunks == ()
    assert len(texts["a.md"].after.chunks) > 3
    assert not (tmp_path / ".qloader" / "state.db").exists()
    assert not (tmp_path / ".qloader" / "index").exists()


def test_what_is_marked_is_what_an_apply_embeds_over_many_edits(tmp_path: Path) -> None:
    dice = random.Random(7)
    workspace = make_workspace(tmp_path, batch=50)
    paragraphs = [f"Paragraph {n} of {dice.random()}. {'It goes on. ' * dice.randrange(12)}" for n in range(60)]

    def text() -> str:
        return "# Title\n\n" + "\n\n".join(dice.sample(paragraphs, dice.randrange(1, 12)))

    for _ in range(4):
        for number in range(40):
            path = tmp_path / "docs" / f"{number}.md"
            if dice.random() < 0.4:
                path.write_text(text())
            elif path.exists() and dice.random() < 0.2:
                path.rename(tmp_path / "docs" / f"{number}-{dice.randrange(10**6)}.md")
        with planned(workspace, allow_deletes=("docs",)) as plan:
            texts = found(workspace, plan)
            assert_marked_as_planned(texts)
            assert sum(len(t.after.embedded) for t in texts.values()) == plan.header.summary.chunks_embed
            workspace.apply(plan)
    assert any(text.change.action == "move" for text in texts.values())


def test_another_pipeline_embeds_the_same_text_again(applied: Workspace) -> None:
    config = applied.settings.config.file
    config.write_text(config.read_text().replace("chunking:", "embedding: {k: 1.9}\nchunking:"))
    workspace = Workspace.open(config)
    with planned(workspace) as plan:
        assert plan.header.index.action == "replace"
        texts = found(workspace, plan)
    assert_marked_as_planned(texts)
    assert texts["page.md"].before.chunks == texts["page.md"].after.chunks


def test_a_point_that_is_gone_is_told(applied: Workspace) -> None:
    header = applied.status().header
    assert header is not None
    with contextlib.closing(applied.settings.open_index()) as index:
        points = list(index.scroll(lineage=header.lineage, document=("docs", "page.md")))
        (lost,) = (point.id for point in points if point.payload["chunk"] == 2)
        index.delete([lost])
        index.flush()
    with planned(applied, refresh=True) as plan:
        texts = found(applied, plan)
    assert texts["page.md"].change.action == "repair"
    assert [n for n, chunk in enumerate(texts["page.md"].before.chunks) if chunk is None] == [2]
    assert texts["page.md"].after.embedded == {2}


def test_the_text_is_that_of_the_planned_commit(tmp_path: Path) -> None:
    with Builder(tmp_path / "repo") as repo:
        repo.commit({"a.md": "# A\n\nplanned"})
        config = tmp_path / "qloader.yaml"
        config.write_text("name: test\nsources:\n  docs: {type: git, url: repo}\n")
        workspace = Workspace.open(config)
        with planned(workspace) as plan:
            repo.commit({"a.md": "# A\n\nlater"})
            assert found(workspace, plan)["a.md"].after.chunks == ("# A\n\nplanned",)


def test_a_document_that_moved_on_is_named_and_the_others_are_shown(applied: Workspace) -> None:
    write(docs(applied), {"a.md": "# A\n\na", "b.md": "# B\n\nb", "c.md": "# C\n\nc"})
    with planned(applied) as plan:
        write(docs(applied), {"a.md": "# A\n\nother", "b.md": None})
        with applied.texts(plan) as texts:
            notes = {one.change.id: one.note for one in texts.of(plan.changes())}
            with pytest.raises(StalePlanError, match=r"2 documents are no longer as planned, the first: docs/a\.md"):
                texts.check()
    assert notes["a.md"] == "its text changed in the source since the plan was made"
    assert notes["b.md"].startswith("cannot be shown: it was listed but gone when it was read")
    assert notes["c.md"] == ""


def test_an_index_that_is_held_is_told_at_once(applied: Workspace) -> None:
    write(docs(applied), {"a.md": "# A\n\na"})
    with (
        planned(applied) as plan,
        applied.settings.write_state() as state,
        contextlib.closing(applied.settings.open_index()) as index,
    ):
        state.lock()
        index.describe()
        with pytest.raises(IndexUnavailableError, match="another process has it open") as refused, applied.texts(plan):
            pass
    assert "wait for the other to end" in refused.value.remedy


def test_a_plan_that_was_applied_or_rests_on_another_state_is_refused(applied: Workspace) -> None:
    write(docs(applied), {"a.md": "# A\n\na"})
    with planned(applied) as earlier, planned(applied) as plan:
        applied.apply(plan)
        with pytest.raises(StalePlanError, match="the plan was applied already"), applied.texts(plan):
            pass
        write(docs(applied), {"b.md": "# B\n\nb"})
        plan_and_apply(applied)
        with pytest.raises(StalePlanError, match="the plan rests on serial"), applied.texts(earlier):
            pass
        with contextlib.closing(sqlite3.connect(applied.settings.state)) as state:
            state.execute("UPDATE meta SET value = 'other' WHERE key = 'lineage'")
            state.commit()
        with pytest.raises(PlanError, match="another state"), applied.texts(earlier):
            pass


def test_a_state_that_is_gone_an_index_that_is_gone_and_another_config_are_refused(applied: Workspace) -> None:
    base = applied.settings.config.base
    write(docs(applied), {"a.md": "# A\n\na"})
    with planned(applied) as plan:
        (base / ".qloader" / "index").rename(base / "away")
        with pytest.raises(ForeignIndexError, match="is gone"), applied.texts(plan):
            pass
        (base / "away").rename(base / ".qloader" / "index")
        for path in (base / ".qloader").glob("state.db*"):
            path.unlink()
        with pytest.raises(StalePlanError, match="there is none here"), applied.texts(plan):
            pass
        config = applied.settings.config.file
        config.write_text(config.read_text().replace("max_chars: 200", "max_chars: 300"))
        with pytest.raises(StalePlanError, match="made for another config"), Workspace.open(config).texts(plan):
            pass


def test_what_an_interrupted_apply_did_is_told_and_the_rest_is_shown(applied: Workspace) -> None:
    write(
        docs(applied),
        {"a.md": "# A\n\na", "b.md": "# B\n\nb", "old.md": None, "page.md": f"# Page\n\n{PAGE} And so on."},
    )
    with planned(applied) as plan:
        edges = iter([False, True])
        with pytest.raises(InterruptedRunError):
            applied.apply(plan, should_stop=lambda: next(edges))
        texts = found(applied, plan)
        assert [(one.change.id, bool(one.note)) for one in texts.values()] == [
            ("a.md", True),
            ("b.md", True),
            ("old.md", False),
            ("page.md", False),
        ]
        assert texts["a.md"].note == "applied already, by the run of this plan that was interrupted"
        assert texts["old.md"].before.chunks == ("# Old\n\nold",)


def test_a_plan_to_destroy_shows_what_goes_and_asks_no_source(applied: Workspace) -> None:
    for path in docs(applied).iterdir():
        path.unlink()
    docs(applied).rmdir()
    with planned(applied, destroy=True) as plan:
        texts = found(applied, plan)
    assert {name: one.before.chunks[0] for name, one in texts.items() if name != "page.md"} == {
        "name.md": "# Name\n\nname",
        "old.md": "# Old\n\nold",
    }


def test_a_source_that_is_gone_is_an_error(applied: Workspace) -> None:
    write(docs(applied), {"a.md": "# A\n\na"})
    with planned(applied) as plan:
        docs(applied).rename(docs(applied).with_name("away"))
        with pytest.raises(SourceError):
            found(applied, plan)
