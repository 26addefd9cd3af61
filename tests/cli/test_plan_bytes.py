"""The same config, sources and state give the same plan, byte by byte, wherever and by whomever it is made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.command_line import QLOADER, Prompt, some_documents
from support.workspaces import write

ODD = {
    "ü/水.md": "# Wasser\n\nMit Umlauten äöü.",
    "Zebra.md": "# Z",
    "a b.md": "# a b",
    "empty.md": "",
    "same-1.md": "# Same\n\nequal",
    "same-2.md": "# Same\n\nequal",
    "-dash.md": "# Dash",
}
OTHERS: dict[str, dict[str, str]] = {
    "again": {},
    "another time zone": {"TZ": "Pacific/Kiritimati"},
    "another hash seed": {"PYTHONHASHSEED": "4711"},
    "the C locale": {"LC_ALL": "C"},
    "no UTF-8 at all": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "another terminal": {"COLUMNS": "20", "TERM": "dumb", "NO_COLOR": "1"},
    "optimised": {"PYTHONOPTIMIZE": "2"},
}


def plan(prompt: Prompt, folder: Path, env: dict[str, str] | None = None, *, umask: int = 0o022) -> bytes:
    """The bytes of a plan that a process of its own makes, without a cache that another one left."""
    line = f"umask {umask:04o} && exec {' '.join(QLOADER)} plan --no-cache -o plan.json"
    done = subprocess.run(
        ["sh", "-c", line], cwd=folder, env={**os.environ, **(env or {})}, capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return (folder / "plan.json").read_bytes()


@pytest.fixture
def changed(prompt: Prompt) -> Prompt:
    """A folder with creates, updates, moves, deletes and skipped files to plan."""
    write(prompt.docs, {**ODD, **some_documents(30)})
    prompt.load()
    write(prompt.docs, {"page-0001.md": "# One\n\nchanged", "page-0002.md": None, "new.md": "# New", "same-2.md": None})
    (prompt.docs / "page-0003.md").rename(prompt.docs / "ü" / "moved.md")
    (prompt.docs / "binary.md").write_bytes(b"\x00\x01")
    (prompt.docs / os.fsdecode(b"bad-\xff.md")).write_bytes(b"bad")
    return prompt


def test_a_plan_has_the_same_bytes_in_every_environment(changed: Prompt) -> None:
    first = plan(changed, changed.folder)
    assert [name for name, env in OTHERS.items() if plan(changed, changed.folder, env) != first] == []


def test_a_plan_has_the_same_bytes_from_another_path_and_under_another_umask(
    changed: Prompt, tmp_path_factory: pytest.TempPathFactory
) -> None:
    here = plan(changed, changed.folder)
    elsewhere = tmp_path_factory.mktemp("a folder with ünusual name") / "deeper" / "still"
    elsewhere.parent.mkdir()
    # `cp` keeps the holes of the engine's files; other inodes, and times if it likes.
    subprocess.run(["cp", "-R", str(changed.folder), str(elsewhere)], check=True)
    shard = elsewhere / ".qloader" / "index" / "test" / "shard"
    shutil.rmtree(shard)
    (shard / "segments" / "one").mkdir(parents=True)  # a plan looks at no more of it
    assert plan(changed, elsewhere, umask=0o077) == here
    assert plan(changed, elsewhere, umask=0) == here
    assert (elsewhere / "plan.json").stat().st_mode & 0o777 == 0o666


def test_a_plan_from_the_cache_has_the_bytes_of_one_that_hashes_everything(changed: Prompt) -> None:
    fresh = plan(changed, changed.folder)
    for _ in range(2):
        changed.ok("plan", "-o", "cached.json")
        assert (changed.folder / "cached.json").read_bytes() == fresh


def test_a_plan_read_by_several_processes_has_the_bytes_of_one_that_reads_alone(prompt: Prompt) -> None:
    write(prompt.docs, some_documents(2_100))
    prompt.ok("plan", "-o", "many.json")
    config = (prompt.folder / "qloader.yaml").read_text()
    prompt.configure(config.replace("ingestion: {", "ingestion: {parallel: {max_workers: 1}, "))
    prompt.ok("plan", "--no-cache", "-o", "one.json")
    assert (prompt.folder / "many.json").read_bytes() == (prompt.folder / "one.json").read_bytes()


def test_modules_in_the_folder_of_the_documents_are_never_run(prompt: Prompt) -> None:
    write(prompt.docs, some_documents(2_100))
    for name in ("orjson", "typing", "json", "qloader"):
        (prompt.folder / f"{name}.py").write_text("open('ran', 'w').close()\n")
    script = shutil.which("qloader", path=str(Path(sys.executable).parent)) or pytest.skip("not installed")
    subprocess.run([script, "plan"], cwd=prompt.folder, check=True, capture_output=True, timeout=300)
    assert not (prompt.folder / "ran").exists()
