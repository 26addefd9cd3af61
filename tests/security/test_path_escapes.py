"""Nothing outside a source's root is read, whatever names, links and trees say."""

from __future__ import annotations

import pytest

from support.git_builder import Builder, Link
from support.workspaces import make_workspace, plan_and_apply

SECRET = "canary-outside-the-root"


def written(folder):
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def assert_secret_is_nowhere(folder):
    assert not [path for path in written(folder / ".qloader") if SECRET.encode() in path.read_bytes()]


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.md").write_text(f"# Secret\n\n{SECRET}\n")
    workspace = make_workspace(tmp_path)
    (tmp_path / "docs" / "page.md").write_text("# Page\n")
    return workspace


def test_links_of_files_and_folders_that_lead_out_are_not_followed(workspace, tmp_path):
    docs = tmp_path / "docs"
    (docs / "absolute.md").symlink_to(tmp_path / "outside" / "secret.md")
    (docs / "relative.md").symlink_to("../outside/secret.md")
    (docs / "folder").symlink_to(tmp_path / "outside", target_is_directory=True)
    (docs / "in-two-steps.md").symlink_to("relative.md")
    plan_and_apply(workspace)
    assert [d.id for d in workspace.documents()] == ["page.md"]
    assert_secret_is_nowhere(tmp_path)


@pytest.mark.parametrize(
    "name", ["../outside/secret.md", "../../secret.md", "/etc/hostname", "a/../../outside/secret.md"]
)
def test_a_plan_that_names_a_path_outside_is_not_obeyed(workspace, tmp_path, name):
    source = workspace.settings.open_source("docs")
    found = list(source.fetch([name]))
    assert all(not hasattr(item, "text") for item in found)


def test_entries_of_a_git_tree_that_lead_out_are_no_documents(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.md").write_text(f"# Secret\n\n{SECRET}\n")
    with Builder(tmp_path / "repo") as repo:
        repo.commit(
            {
                "page.md": "# Page\n",
                b"../outside/secret.md": "# From the tree itself\n",
                b"folder/../../outside/secret.md": "# From the tree itself\n",
                ".git/config.md": "# From the tree itself\n",
                "link.md": Link("../outside/secret.md"),
                "absolute.md": Link(str(tmp_path / "outside" / "secret.md")),
            }
        )
    workspace = make_workspace(tmp_path)
    config = workspace.settings.config.file
    config.write_text(config.read_text().replace("type: files, path: docs", "type: git, url: ./repo"))
    workspace = type(workspace).open(config)
    plan_and_apply(workspace)
    ids = [d.id for d in workspace.documents()]
    assert "page.md" in ids
    assert not [name for name in ids if ".." in name.split("/") or name.startswith("/")]
    assert_secret_is_nowhere(tmp_path)
