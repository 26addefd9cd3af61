"""The examples of docs/policies.md: the config that its outputs rest on, and the policy, installed by a stranger."""

import tomllib

import pytest
from docs_pages import DOCS, blocks
from docs_stage import POLICIES

from support.command_line import Prompt
from support.packages import install
from support.workspaces import write

PAGE = DOCS / "policies.md"


def block(language):
    return next(one.text for one in blocks(PAGE) if one.language == language)


@pytest.fixture
def prompt(tmp_path, capsys, monkeypatch):
    project = tomllib.loads(block("toml"))["project"]
    install(tmp_path / "packages", project["name"], {"house_policies": block("python")}, project["entry-points"])
    monkeypatch.syspath_prepend(tmp_path / "packages")
    (tmp_path / "qloader.yaml").write_text(block("yml"), encoding="utf-8")
    return Prompt(tmp_path, capsys, monkeypatch)


def test_the_config_of_the_page_is_the_one_that_its_outputs_rest_on():
    assert block("yaml") == POLICIES


def test_the_policy_of_the_page_refuses_and_lets_pass(prompt):
    write(prompt.docs, {f"guide/{number}.md": f"# {number}\n\npage {number}\n" for number in range(4)})
    refused = prompt("plan", "-o", "plan.json")
    assert (refused.code, (prompt.folder / "plan.json").exists()) == (3, False)
    assert "  folders: 4 documents of docs/guide would change; 3 may\n" in refused.err
    (prompt.docs / "guide" / "3.md").unlink()
    prompt.load()
    assert prompt.workspace.status().points == 3
