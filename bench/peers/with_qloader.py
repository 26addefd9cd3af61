"""qloader itself: the embedder for its `provider: python`, and an apply that can be killed on time.

Timed is the `qloader` command, not this script.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import common
import numpy as np


def embed(texts: list[str], *, kind: str) -> np.ndarray:
    """The vectors of texts; counted."""
    return np.array(common.vectors(texts), dtype=np.float32)


def configure(docs: Path, store: Path) -> None:
    """Writes the workspace's config: defaults, but for the embedder and where things lie."""
    config = {
        "name": "bench",
        "state": {"path": "state.db"},
        "index": {"path": "index"},
        "sources": {"docs": {"type": "files", "path": str(docs)}},
        "embedding": {
            "cache": {"path": "embeddings.db"},
            "dense": {"provider": "python", "model": "hash", "function": "with_qloader:embed"},
        },
    }
    store.mkdir(parents=True, exist_ok=True)
    (store / "qloader.yaml").write_text(json.dumps(config))


def update(docs: Path, store: Path) -> None:
    from qloader.cli import main
    from qloader.index.embedded import EmbeddedIndex

    upsert = EmbeddedIndex.upsert

    def counted(self, points):
        upsert(self, points)
        common.wrote(len(points))

    EmbeddedIndex.upsert = counted
    main(["-c", str(store / "qloader.yaml"), "apply", "--auto-approve"])


def dump(docs: Path, store: Path) -> Iterator[tuple[str, str]]:
    import contextlib

    from qloader import Workspace

    workspace = Workspace.open(str(store / "qloader.yaml"))
    header = workspace.status().header
    assert header is not None
    with contextlib.closing(workspace.settings.open_index()) as index:
        for point in index.scroll(lineage=header.lineage):
            yield point.payload["document_id"], point.payload["text"]


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parent))
    common.main(update, dump)
