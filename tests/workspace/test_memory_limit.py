"""A limit on memory that usual batches, and what runs ahead of them, would not fit into: the corpus is loaded."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from qloader import Workspace
from support.workspaces import make_workspace

DOCUMENTS, SIZE = 16, 1_000_000
"""One batch, if batches are as usual: it ends at 16 MB of text."""

ROOM = {1: 58_000_000, 4: 78_000_000}
"""By workers: bytes that the apply may have beside what one document takes, a fifth of them to spare. Measured: it
adapts itself and comes along with 48 and 66 MB, most of them the engine's. One of four that does not adapt dies with 84
MB; of one alone only what it says shows that it adapts."""

APPLY = """\
import resource, sys
import psutil
from qloader import Workspace
from qloader.applying.events import Adapted
small, large, room = sys.argv[1:]
taken, adapted = [], []
def take_down():
    taken.append(psutil.Process().memory_info().data)
    return False
workspace = Workspace.open(small + "/qloader.yaml")
workspace.apply(workspace.read_plan(small + "/plan.json"), should_stop=take_down)
limit = max(taken) + int(room)  # the engine, once open, and its threads' stacks are in it
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
workspace = Workspace.open(large + "/qloader.yaml")
plan = workspace.read_plan(large + "/plan.json")
result = workspace.apply(plan, listener=lambda event: isinstance(event, Adapted) and adapted.append(event))
print(result.created, min(event.batch_size for event in adapted))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts what a process writes to on Linux alone")
@pytest.mark.parametrize("workers", ROOM)
def test_a_corpus_is_loaded_in_less_memory_than_usual_batches_take(tmp_path: Path, workers: int) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    words = random.Random(1).choices(range(10_000), k=SIZE // 50)
    paragraph = " ".join(f"w{word}" for word in words)[: SIZE // 10]
    for folder, documents in ((small, 1), (large, DOCUMENTS)):
        workspace = make_workspace(folder, max_chars=100_000, batch=256, workers=workers)
        config = workspace.settings.config.file
        config.write_text(config.read_text() + "resources: {check_interval: 10ms}\n")
        for number in range(documents):
            text = "\n\n".join(f"# {number} {part}\n\n{paragraph}" for part in range(10))
            (folder / "docs" / f"{number}.md").write_text(text)
        Workspace.open(config).plan(folder / "plan.json")
    done = subprocess.run(
        [sys.executable, "-c", APPLY, str(small), str(large), str(ROOM[workers])], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    created, smallest = done.stdout.split()
    assert int(created) == DOCUMENTS
    assert int(smallest) < 256
