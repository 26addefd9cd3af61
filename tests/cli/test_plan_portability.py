"""A plan made in CI is the same, byte by byte, for a developer: another path, zone, locale, seed, umask and Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.command_line import Prompt, some_documents
from support.git_builder import Builder
from support.workspaces import write

CONFIG = """\
name: test
sources:
  code: {type: git, url: repo, include: ["*.md"]}
  docs: {type: files, path: docs}
"""
ODD = {"ü/水.md": "# Wasser\n\nÄöü", "Zebra.md": "# Z", "a b.md": "# a b", "page.html": "<h1>Tag</h1><p>Größe</p>"}
CI = {"TZ": "UTC", "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
DEVELOPER = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "LANG": "tr_TR.ISO-8859-9", "PYTHONHASHSEED": "4711"}
SOURCE = Path(__file__).parents[2] / "src"
CANDIDATES = ("python3.12", "python3.13", "python3.14", "python3.11")


def run(
    folder: Path, arguments: str, env: Mapping[str, str], *, umask: int = 0o022, python: str = sys.executable
) -> subprocess.CompletedProcess[bytes]:
    """A command in a process of its own, as one machine runs it."""
    line = f"umask {umask:04o} && exec {python} -m qloader {arguments}"
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, env={**os.environ, **env}, capture_output=True, timeout=300, check=False
    )


@pytest.fixture
def checkouts(prompt: Prompt, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same commit and the same state in two places, with creates, updates, moves and deletes to plan."""
    write(prompt.docs, {**ODD, **some_documents(12)})
    files: dict[str, str] = {name: text for name, text in some_documents(6).items() if text is not None}
    with Builder(prompt.folder / "repo") as repo:
        repo.commit(files)
    prompt.configure(CONFIG)
    prompt.load()
    write(prompt.docs, {"page-0001.md": "# One\n\nchanged", "page-0002.md": None, "new ü.md": "# New"})
    (prompt.docs / "page-0003.md").rename(prompt.docs / "ü" / "moved.md")
    (prompt.docs / "binary.md").write_bytes(b"\x00\x01")
    with Builder(prompt.folder / "repo") as repo:
        repo.commit({**files, "page-0004.md": "# Four\n\nchanged", "more.md": "# More"})
    elsewhere = tmp_path_factory.mktemp("home of ünal") / "deeper" / "clone"
    elsewhere.parent.mkdir()
    subprocess.run(["cp", "-R", str(prompt.folder), str(elsewhere)], check=True)
    shutil.rmtree(elsewhere / ".qloader" / "cache.db", ignore_errors=True)
    return prompt.folder, elsewhere


def test_a_plan_made_in_ci_verifies_on_the_machine_of_a_developer(checkouts: tuple[Path, Path]) -> None:
    ci, developer = checkouts
    made = run(ci, "plan -o plan.json", CI)
    assert made.returncode == 0, made.stderr.decode()
    shutil.copy(ci / "plan.json", developer / "plan.json")
    verified = run(developer, "verify plan.json", DEVELOPER, umask=0o077)
    assert (verified.returncode, verified.stderr) == (0, b"plan.json is what would be planned now.\n")
    again = run(developer, "plan --no-cache -o again.json", DEVELOPER, umask=0o077)
    assert again.returncode == 0, again.stderr.decode()
    assert (developer / "again.json").read_bytes() == (ci / "plan.json").read_bytes()


def another_python() -> str:
    """A Python of another version that has what qloader needs, named or on the path."""
    named = os.environ.get("QLOADER_TEST_PYTHON")
    for candidate in [named] if named else CANDIDATES:
        code = "import sys, qloader.cli.app; print(*sys.version_info[:2])"
        env = {**os.environ, "PYTHONPATH": str(SOURCE)}
        try:
            found = subprocess.run(
                [candidate, "-c", code], env=env, capture_output=True, text=True, timeout=300, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        if found.stdout.split() != [str(part) for part in sys.version_info[:2]]:
            return candidate
    pytest.skip("no Python of another version here has what qloader needs; QLOADER_TEST_PYTHON may name one")


def test_another_version_of_python_makes_the_same_bytes(checkouts: tuple[Path, Path]) -> None:
    python = another_python()
    ci, developer = checkouts
    env = {"PYTHONPATH": str(SOURCE)}
    made = run(ci, "plan -o plan.json", CI)
    assert made.returncode == 0, made.stderr.decode()
    again = run(developer, "plan --no-cache -o plan.json", {**DEVELOPER, **env}, python=python)
    assert again.returncode == 0, again.stderr.decode()
    assert (developer / "plan.json").read_bytes() == (ci / "plan.json").read_bytes()
    assert run(developer, "verify plan.json", {**DEVELOPER, **env}, python=python).returncode == 0
