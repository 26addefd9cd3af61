"""What stands in the index between two writes of one batch, and in the state before each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qloader import Workspace
from qloader.documents.hashing import point_bytes, point_ids
from qloader.index.embedded import EmbeddedIndex
from support.workspaces import assert_index_is_a_fresh_load, make_workspace, plan_and_apply, replace_all

LONG = "\n\n".join(f"Paragraph {n} says something at some length. {'So that it counts. ' * 6}" for n in range(3))
BEFORE = {
    "edited.md": f"# Edited\n\n{LONG}\n\nThe old end.",
    "gone.md": "# Gone\n\nThis one will be deleted.",
    "moved.md": f"# Moved\n\n{LONG}",
    "rewritten.md": "# Rewritten\n\nOne chunk that will be another.",
}
AFTER = {
    "edited.md": f"# Edited\n\n{LONG}\n\nA new end.",
    "elsewhere/moved.md": f"# Moved\n\n{LONG}",
    "rewritten.md": "# Rewritten\n\nOne chunk that is another.",
    "new.md": "# New\n\nThis one is new.",
}
STAYING = [{"edited.md"}, {"moved.md", "elsewhere/moved.md"}, {"rewritten.md"}]
"""Documents that search must always find, under one of their ids."""

Look = Callable[[EmbeddedIndex, str, list[str]], None]


@pytest.fixture
def due(tmp_path: Path) -> Workspace:
    """A workspace whose next apply edits, rewrites, moves, creates and deletes, all in one batch."""
    workspace = make_workspace(tmp_path, batch=50)
    replace_all(tmp_path / "docs", BEFORE)
    plan_and_apply(workspace)
    replace_all(tmp_path / "docs", AFTER)
    return workspace


def watch(monkeypatch: pytest.MonkeyPatch, *, before: Look | None = None, after: Look | None = None) -> list[str]:
    """Looks at the index before or after each write; the names of the writes, as they happen."""
    seen: list[str] = []

    def watched(name: str, original: Callable[..., None]) -> Callable[..., None]:
        def method(self: EmbeddedIndex, items: Any) -> None:
            ids = [item if isinstance(item, str) else getattr(item, "id", None) or item[0] for item in items]
            if before:
                before(self, name, ids)
            original(self, items)
            if after:
                after(self, name, ids)
            seen.append(name)

        return method

    for name in ("upsert", "set_payloads", "delete"):
        monkeypatch.setattr(EmbeddedIndex, name, watched(name, getattr(EmbeddedIndex, name)))
    return seen


def test_no_document_is_missing_from_the_index_while_it_is_updated_or_moved(
    due: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    lineage = due.status().header.lineage

    def look(index: EmbeddedIndex, write: str, _: list[str]) -> None:
        found = {point.payload["document_id"] for point in index.scroll(lineage=lineage)}
        assert [ids for ids in STAYING if not ids & found] == [], f"missing after {write}"

    with monkeypatch.context() as patch:
        seen = watch(patch, after=look)
        plan_and_apply(due)
    assert {"upsert", "delete"} <= set(seen)
    assert_index_is_a_fresh_load(due)


def test_every_point_has_an_owner_before_it_is_written_changed_or_deleted(
    due: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An intent names it; one whose payload alone is written may also be the state's."""

    def look(_: EmbeddedIndex, write: str, ids: list[str]) -> None:
        with due.settings.read_state() as state:
            owned = {p for d in state.documents() for p in point_ids(d.source, d.id, d.chunks)}
            named = {point for intent in state.intents() for point in intent.points}
        for point in ids:
            assert point_bytes(point) in named or (write == "set_payloads" and point in owned), f"{write} of {point}"

    with monkeypatch.context() as patch:
        seen = watch(patch, before=look)
        plan_and_apply(due)
    assert {"upsert", "delete"} <= set(seen)
    assert_index_is_a_fresh_load(due)
