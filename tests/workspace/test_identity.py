"""Another repository behind the same name is refused before anything is written; another clone of the same is not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from qloader import Workspace
from qloader.cli.app import run
from qloader.sources.git import GitSource
from qloader.workspace.planning import PlanRequest
from support.git_builder import START, Builder, http_server
from support.workspaces import assert_index_is_a_fresh_load, plan_and_apply

PAGES = {f"page-{n:02}.md": f"# Page {n}\n\nwords of page {n}" for n in range(12)}
MORE = {**PAGES, "new.md": "# New\n\na new page"}


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Builder]:
    with Builder(tmp_path / "repo") as builder:
        builder.commit({"page-00.md": "# First\n\nthe first commit"})
        builder.commit(PAGES)
        yield builder


@pytest.fixture
def applied(repo: Builder) -> Workspace:
    workspace = configured(repo.path.parent, repo.path)
    plan_and_apply(workspace)
    return workspace


def configured(folder: Path, url: Path | str, more: str = "") -> Workspace:
    config = folder / "qloader.yaml"
    config.write_text(f"name: test\nsources:\n  docs: {{type: git, url: '{url}'{more}}}\n", encoding="utf-8")
    return Workspace.open(config)


def identity(workspace: Workspace) -> str:
    return workspace.status().sources[0].identity


def git(*arguments: str | Path) -> None:
    subprocess.run(["git", "-c", "protocol.file.allow=always", *map(str, arguments)], check=True, capture_output=True)


def refusal(workspace: Workspace, **request: object) -> str:
    with workspace.temporary_plan(PlanRequest(**request)) as result:
        return str(result.refusal or "")


def other_repository(folder: Path, files: dict[str, str]) -> Path:
    with Builder(folder / "other") as other:
        other.commit(files, at=START + 7)
    return other.path


def test_an_apply_remembers_the_first_commit(applied: Workspace, repo: Builder) -> None:
    (first,) = [w.commit.id.decode() for w in repo.repo.get_walker() if not w.commit.parents]
    assert identity(applied) == first


def test_another_repository_under_the_same_name_is_refused_with_numbers_and_the_flag(
    applied: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = applied.status()
    workspace = configured(tmp_path, other_repository(tmp_path, {**PAGES, "page-00.md": "changed", "more.md": "more"}))
    plan = tmp_path / "plan.json"
    for command in (["plan", "-o", str(plan)], ["apply", "--auto-approve"], ["ingest"], ["ingest", "--full"]):
        assert run([*command, "-c", str(tmp_path / "qloader.yaml")]) == 3
        said = capsys.readouterr().err
        assert (
            "0 of 12 documents of docs would be deleted, 1 updated, 1 created or moved: "
            "another source bears the name now" in said
        )
        assert "plan again with --allow-deletes docs" in said
    assert not plan.exists()
    assert workspace.status() == before


def test_an_apply_asks_again_of_a_plan_that_nobody_refused(applied: Workspace, tmp_path: Path) -> None:
    workspace = configured(tmp_path, other_repository(tmp_path, MORE))
    result = workspace.plan(tmp_path / "plan.json")  # the Python API writes what is refused, too
    before = workspace.status()
    with pytest.raises(type(result.refusal), match="another source bears the name now"):
        workspace.apply(result.plan)
    assert workspace.status() == before


@pytest.mark.parametrize("way", ["plan", "ingest"])
def test_allowed_it_takes_the_place_of_the_old_one_and_is_the_one_from_then_on(
    applied: Workspace, tmp_path: Path, way: str
) -> None:
    old = identity(applied)
    workspace = configured(tmp_path, other_repository(tmp_path, {"a.md": "# A\n\nanother"}))
    config, plan = str(tmp_path / "qloader.yaml"), str(tmp_path / "plan.json")
    if way == "plan":
        assert run(["plan", "-o", plan, "--allow-deletes", "docs", "-c", config]) == 0
        assert workspace.read_plan(plan).header.allowed_deletes == ("docs",)
        assert run(["apply", plan, "-c", config]) == 0
    else:
        assert run(["ingest", "--allow-deletes", "docs", "-c", config]) == 0
    assert identity(workspace) not in ("", old)
    assert refusal(workspace) == ""
    back = configured(tmp_path, tmp_path / "repo")
    assert "another source bears the name now" in refusal(back)


def test_a_repository_that_changes_nothing_is_not_refused(applied: Workspace, tmp_path: Path) -> None:
    assert refusal(configured(tmp_path, other_repository(tmp_path, PAGES))) == ""


def test_the_flag_for_one_source_does_not_allow_another(applied: Workspace, tmp_path: Path) -> None:
    config = configured(tmp_path, other_repository(tmp_path, MORE)).settings.config.file
    config.write_text(config.read_text() + "  more: {type: files, path: more}\n")
    (tmp_path / "more").mkdir()
    assert "another source bears the name now" in refusal(Workspace.open(config), allow_deletes=("more",))


def clone(repo: Builder, folder: Path) -> str:
    git("clone", repo.path, folder)
    return str(folder)


def bare_clone(repo: Builder, folder: Path) -> str:
    git("clone", "--bare", repo.path, folder)
    return str(folder)


def worktree(repo: Builder, folder: Path) -> str:
    git("-C", repo.path, "worktree", "add", "--detach", folder, "main")
    return str(folder)


def shallow_clone(repo: Builder, folder: Path) -> str:
    git("clone", "--depth", "1", repo.path.as_uri(), folder)
    return str(folder)


def address(repo: Builder, folder: Path) -> str:
    return repo.path.as_uri()


def moved(repo: Builder, folder: Path) -> str:
    shutil.copytree(repo.path, folder)
    return str(folder)


@pytest.mark.parametrize("elsewhere", [clone, bare_clone, worktree, shallow_clone, address, moved])
def test_the_same_repository_elsewhere_is_the_same_source(
    applied: Workspace, repo: Builder, tmp_path: Path, elsewhere
) -> None:
    known = identity(applied)
    repo.commit(MORE)
    workspace = configured(tmp_path, elsewhere(repo, tmp_path / "elsewhere"))
    assert plan_and_apply(workspace).created == 1
    assert identity(workspace) == known


def test_a_remote_and_a_local_clone_of_it_are_the_same_source(repo: Builder, tmp_path: Path) -> None:
    with http_server(repo.repo) as (url, _):
        remote = configured(tmp_path, url)
        plan_and_apply(remote)
    known = identity(remote)
    repo.commit(MORE)
    local = configured(tmp_path, repo.path)
    assert plan_and_apply(local).created == 1
    assert identity(local) == known != ""


def test_a_force_pushed_branch_is_the_same_source(applied: Workspace, repo: Builder, tmp_path: Path) -> None:
    first = identity(applied)
    repo.commit({**PAGES, "page-00.md": "# Page 0\n\nrewritten"}, parents=[first])
    clone(repo, tmp_path / "fresh")  # holds nothing but what the branch leads to now
    assert plan_and_apply(configured(tmp_path, tmp_path / "fresh")).updated == 1


def test_another_branch_without_a_common_commit_is_the_same_source(applied: Workspace, repo: Builder) -> None:
    repo.commit(MORE, branch="orphan", parents=[])
    assert refusal(configured(repo.path.parent, repo.path, ", ref: orphan")) == ""


def test_a_shallow_clone_tells_nothing_and_a_full_one_is_remembered_later(repo: Builder, tmp_path: Path) -> None:
    workspace = configured(tmp_path, shallow_clone(repo, tmp_path / "shallow"))
    plan_and_apply(workspace)
    assert identity(workspace) == ""
    repo.commit(MORE)
    full = configured(tmp_path, repo.path)
    plan_and_apply(full)
    assert identity(full) != ""


def test_a_plan_walks_no_history(applied: Workspace, repo: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    def walk(self: GitSource) -> str:
        raise AssertionError("a plan asked for the identity")

    monkeypatch.setattr(GitSource, "identity", walk)
    assert refusal(applied) == ""
    repo.commit(MORE)
    assert refusal(applied) == ""
    plan_and_apply(applied)  # nor does an apply once it is known


def test_a_history_that_is_too_long_to_walk_is_known_by_the_oldest_commit_reached(
    repo: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qloader.sources.git._LONGEST_WALK", 1)
    plan_and_apply(configured(tmp_path, repo.path))
    repo.commit(MORE)
    assert refusal(configured(tmp_path, clone(repo, tmp_path / "elsewhere"))) == ""
    assert refusal(configured(tmp_path, other_repository(tmp_path, MORE))) != ""


def test_a_source_that_is_of_another_type_now_is_asked_nothing(applied: Workspace, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "repo", tmp_path / "docs", ignore=lambda *_: [".git"])
    for name, text in PAGES.items():
        (tmp_path / "docs" / name).write_text(text, encoding="utf-8")
    config = tmp_path / "qloader.yaml"
    config.write_text("name: test\nsources:\n  docs: {type: files, path: docs}\n", encoding="utf-8")
    workspace = Workspace.open(config)
    assert refusal(workspace) == ""
    plan_and_apply(workspace)
    assert identity(workspace) == ""
    assert_index_is_a_fresh_load(workspace)
