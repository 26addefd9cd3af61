"""What is written is its owner's alone."""

from __future__ import annotations

import os
import stat
import subprocess

import pytest

from support.command_line import some_documents
from support.workspaces import make_workspace, plan_and_apply, write


@pytest.fixture
def applied(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    before = os.umask(0o022)
    try:
        workspace = make_workspace(tmp_path)
        write(tmp_path / "docs", some_documents(3))
        plan_and_apply(workspace)
        workspace.backup_state()
        yield workspace
    finally:
        os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_state_its_side_files_and_its_backups_are_0600(applied):
    state = applied.settings.state
    with applied.settings.write_state() as opened:
        opened.lock()
        files = sorted(state.parent.glob(f"{state.name}*"))
        assert {mode(path) for path in files} == {0o600}, [(p.name, oct(mode(p))) for p in files]
    assert [path for path in files if ".backup-" in path.name]


def test_the_cache_is_0600_and_the_folders_of_all_are_0700(applied):
    cache, index = applied.settings.cache, applied.settings.embedded_path
    assert mode(cache) == 0o600
    assert {mode(folder) for folder in (cache.parent, index, applied.settings.state.parent)} == {0o700}


def test_git_ignores_what_qloader_keeps_beside_a_config(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    workspace = make_workspace(tmp_path)
    write(tmp_path / "docs", {"a.md": "# A"})
    workspace.apply(workspace.plan())
    assert workspace.settings.state.exists()
    status = ["git", "-C", str(tmp_path), "status", "--porcelain", "--untracked-files=all"]
    seen = subprocess.run(status, check=True, capture_output=True, text=True).stdout
    assert "docs/a.md" in seen
    assert ".qloader" not in seen
