"""Workspaces with dense vectors: a config, a folder of documents, and a provider on the loopback that counts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qloader import Workspace
from servers.embeddings import KEY, MODEL, EmbeddingsModel, make_app
from servers.serving import serve
from support.qdrant_loopback import StandIn, serving


@dataclass
class DensePlace:
    """A folder with a config, and the provider that it names.

    Attributes:
        folder: The folder; documents are in `docs`.
        model: What the provider does, and what it was asked for.
        url: Its address.
        index: What `index` says beside the collection.
        server: The stand-in that the index is on; None where it is embedded.
    """

    folder: Path
    model: EmbeddingsModel
    url: str
    index: str = "path: .qloader/index"
    server: StandIn | None = None

    def configure(
        self, *, dense: bool = True, name: str = "test", more: str = "", max_chars: int = 200, **keys: Any
    ) -> Workspace:
        """Writes the config and opens it; `keys` are those of `embedding.dense`."""
        section = {
            "provider": "openai", "model": MODEL, "url": f"{self.url}/v1", "api_key": KEY, "retry_delay": 0, **keys,
        }  # fmt: skip
        file = self.folder / f"{name}.yaml"
        file.write_text(
            f"name: {name}\nindex: {{collection: {name}, {self.index}}}\n"
            f"state: {{path: .qloader/{name}.state.db}}\n"
            "sources: {docs: {type: files, path: docs}}\n"
            "guards: {max_delete_percent: null}\n"
            f"chunking: {{max_chars: {max_chars}}}\n"
            "ingestion: {batch: {size: 2, retry_attempts: 0}}\n"
            "embedding:\n  cache: {path: .qloader/embeddings.db}\n"
            + (f"  dense: {_flow(section)}\n" if dense else "")
            + more,
            encoding="utf-8",
        )
        return Workspace.open(file)

    def paid(self) -> list[str]:
        """The texts that the provider embedded since the last time."""
        texts, self.model.texts = self.model.texts, []
        return texts


@contextlib.contextmanager
def dense_place(folder: Path, engine: str = "embedded") -> Iterator[DensePlace]:
    """A place whose index is embedded, or on a stand-in for a server."""
    model = EmbeddingsModel()
    (folder / "docs").mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        place = DensePlace(folder, model, stack.enter_context(serve(make_app(model))))
        if engine == "server":
            place.server = StandIn()
            place.index = f"url: '{stack.enter_context(serving(place.server.respond))}'"
        yield place


def dense_vectors(workspace: Workspace) -> dict[str, tuple[str, np.ndarray]]:
    """Every point of the index with its text and its dense vector."""
    header = workspace.status().header
    assert header is not None
    with contextlib.closing(workspace.settings.open_index()) as index:
        points = list(index.scroll(lineage=header.lineage, with_vectors=True))
    assert all(point.vectors.keys() == {"bm25", "dense"} for point in points)
    return {point.id: (point.payload["text"], np.array(point.vectors["dense"])) for point in points}


def _flow(section: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {value!r}" for key, value in section.items()) + "}"
