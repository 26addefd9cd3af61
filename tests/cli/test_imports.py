"""What a plan that finds nothing to do may load: every heavy module that sneaks in is paid for at every start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.command_line import Prompt, settle, some_documents
from support.git_builder import Builder
from support.workspaces import CONFIG, make_workspace, plan_and_apply, write

HEAVY = {
    "qdrant_client",
    "qdrant_edge",
    "grpc",
    "httpx",
    "numpy",
    "duckdb",
    "dulwich",
    "semantic_text_splitter",
    "html_to_markdown",
    "psutil",
    "rich.live",
    "rich.progress",
    "rich.table",
    "rich.markdown",
    "pygments",
    "asyncio",
    "multiprocessing",
    "obstore",
    "qloader.config.embedders",
    "qloader.config.monitoring",
    "qloader.telemetry.measures",
    "opentelemetry",
    "prometheus_client",
}

LIGHT = {
    "annotated_doc", "annotated_types", "click", "orjson", "pathspec", "pydantic", "pydantic_core", "rich",
    "shellingham", "typer", "typing_extensions", "typing_inspection", "xxhash", "yaml",
}  # fmt: skip
"""The packages of others that a plan without changes may load. A new one is a decision: measure what it costs."""


def loaded_by(folder: Path, *arguments: str) -> set[str]:
    """The heavy modules that a command loads."""
    return HEAVY & all_loaded_by(folder, *arguments).keys()


def all_loaded_by(folder: Path, *arguments: str) -> dict[str, str]:
    """The modules that a command loads in a process of its own, each with its file; built-in ones have none."""
    code = (
        "import json, sys; from qloader.cli.app import run; code = run(sys.argv[1:]); "
        "print(json.dumps({name: getattr(m, '__file__', None) or '' for name, m in sys.modules.items()})); "
        "sys.exit(code)"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything applied, and every file old enough for its token to be trusted and in the cache."""
    folder = tmp_path_factory.mktemp("settled")
    workspace = make_workspace(folder, batch=20)
    write(folder / "docs", some_documents(12))
    plan_and_apply(workspace)
    settle(folder / "docs")
    with workspace.temporary_plan() as result:
        assert result.plan.header.is_empty
    return folder


def test_a_plan_of_files_without_changes_loads_nothing_heavy(settled: Path) -> None:
    assert loaded_by(settled, "plan") == set()
    assert loaded_by(settled, "plan", "--detailed-exitcode", "-o", "plan.json") == set()


def test_a_plan_without_changes_loads_no_package_that_nobody_has_weighed(settled: Path) -> None:
    loaded = all_loaded_by(settled, "plan")
    assert "qloader.workspace.planning" in loaded
    packages = {name.partition(".")[0] for name, file in loaded.items() if "site-packages" in file}
    assert {name for name in packages if not name.startswith("_")} <= LIGHT


def test_a_plan_measures_nothing_unless_it_is_asked_to(settled: Path) -> None:
    loaded = all_loaded_by(settled, "plan")
    assert {name for name in loaded if name.startswith("qloader.telemetry.")} == {"qloader.telemetry.recorder"}


def test_a_plan_of_a_repository_without_changes_loads_dulwich_alone(prompt: Prompt) -> None:
    with Builder(prompt.folder / "repo") as repo:
        repo.commit(some_documents(3))
    prompt.configure("name: test\nsources:\n  docs: {type: git, url: repo}\n")
    prompt.load()
    assert loaded_by(prompt.folder, "plan") == {"dulwich"}


def test_a_plan_for_a_server_never_loads_its_client(prompt: Prompt) -> None:
    prompt.configure(CONFIG.format(path="docs", max_chars=200, batch=5, place="url: 'http://127.0.0.1:9'"))
    assert loaded_by(prompt.folder, "plan") <= {"semantic_text_splitter"}


def test_a_plan_with_changes_loads_no_engine_and_no_client(applied: Prompt) -> None:
    write(applied.docs, {"new.md": "# New\n\nnew"})
    found = loaded_by(applied.folder, "plan")
    assert found.isdisjoint({"qdrant_client", "qdrant_edge", "grpc", "httpx", "dulwich", "asyncio"})


@pytest.mark.parametrize("command", ["status", "history", "show plan.json", "state list", "--help"])
def test_looking_at_things_loads_nothing_heavy(applied: Prompt, command: str) -> None:
    assert loaded_by(applied.folder, *command.split()) <= {"psutil", "rich.table"}


def test_a_search_loads_the_engine_and_nothing_of_a_server(applied: Prompt) -> None:
    found = loaded_by(applied.folder, "search", "gardens")
    assert "qdrant_edge" in found
    assert found.isdisjoint({"qdrant_client", "grpc", "httpx", "dulwich", "semantic_text_splitter"})
