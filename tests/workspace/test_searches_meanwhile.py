"""Searches of an embedded index, while others search and somebody writes the state."""

from __future__ import annotations

import contextlib
import fcntl
import threading
import time
from pathlib import Path

import pytest

from qloader.index import embedded
from qloader.index.folder_lock import NEXT
from qloader.index.protocol import Hit
from support.workspaces import make_workspace, plan_and_apply, write


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wants an index that others have waits for its turn, however long that takes on a busy machine."""
    monkeypatch.setattr(embedded, "LOCK_WAIT", 120.0)


def test_a_search_waits_for_another_one_also_while_somebody_writes(tmp_path: Path) -> None:
    """As in the moments of a replacement when it is not noted yet, or not any more."""
    workspace = make_workspace(tmp_path)
    write(tmp_path / "docs", {"one.md": "# One\n\nA lamp in a garden."})
    plan_and_apply(workspace)
    found: list[list[Hit]] = []
    searching = threading.Thread(target=lambda: found.append(workspace.search("lamp")))
    with workspace.settings.write_state() as state:
        state.lock()
        with contextlib.closing(workspace.settings.open_index()) as other:
            info = other.describe()
            assert info is not None
            searching.start()
            while _is_free(tmp_path / ".qloader" / "index" / "test" / NEXT):
                assert searching.is_alive()
                time.sleep(0.001)
        searching.join()
    assert [hit.payload["document_id"] for hit in found[0]] == ["one.md"]


def test_searches_of_many_threads_are_all_answered(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    write(tmp_path / "docs", {f"{n}.md": f"# {n}\n\nA lamp in garden {n}." for n in range(8)})
    plan_and_apply(workspace)
    found: list[int] = []

    def search() -> None:
        for _ in range(5):
            found.append(len(workspace.search("lamp", limit=8)))

    threads = [threading.Thread(target=search) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [8] * 40


def _is_free(file: Path) -> bool:
    with file.open("rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
