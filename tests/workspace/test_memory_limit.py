"""A corpus that is larger than the memory that a process may have, in one piece and in all its forms: it is loaded."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from support.workspaces import make_workspace

DOCUMENTS, SIZE = 24, 1_000_000
ROOM = 40_000_000
"""Bytes that the apply may have beside what the process has when the index is open; a batch of usual size takes more."""

APPLY = """\
import resource, sys
from qloader import Workspace
from qloader.applying.events import Adapted
import psutil
workspace = Workspace.open(sys.argv[1])
plan = workspace.read_plan(sys.argv[2])
adapted, edges = [], []
def limit():  # at the first batch edge: the engine takes a good deal when it is opened, and no limit well
    if not edges:
        edges.append(psutil.Process().memory_info().data + int(sys.argv[3]))
        resource.setrlimit(resource.RLIMIT_DATA, (edges[0], edges[0]))
    return False
result = workspace.apply(
    plan, should_stop=limit, listener=lambda event: isinstance(event, Adapted) and adapted.append(event)
)
print(result.created, min(event.batch_size for event in adapted))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts what a process writes to on Linux alone")
def test_a_corpus_larger_than_the_memory_is_loaded(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, max_chars=100_000, batch=256)
    config = workspace.settings.config.file
    config.write_text(config.read_text() + "resources: {check_interval: 10ms}\n")
    words = random.Random(1).choices(range(10_000), k=50_000)
    paragraph = " ".join(f"w{word}" for word in words)[: SIZE // 10]
    for number in range(DOCUMENTS):
        text = "\n\n".join(f"# {number} {part}\n\n{paragraph}" for part in range(10))
        (tmp_path / "docs" / f"{number}.md").write_text(text)
    plan = workspace.plan(tmp_path / "plan.json").plan
    done = subprocess.run(
        [sys.executable, "-c", APPLY, str(config), str(plan.path), str(ROOM)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[0] == str(DOCUMENTS)
    assert int(done.stdout.split()[1]) < 256
