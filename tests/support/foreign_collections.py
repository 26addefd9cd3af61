"""Collections as other tools fill them: their payloads, their vectors' names, and what they embed of a text.

Written down from what the tools themselves wrote: langchain-qdrant 1.1.0, llama-index-vector-stores-qdrant 0.10.4 with
llama-index-core 0.14.25, and qdrant-loader's `upsert_worker.py`.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models

from servers.embeddings import vector_of
from support.qdrant_loopback import StandIn, serving

Embed = Callable[[str], np.ndarray]


@dataclass
class Theirs:
    """A Qdrant server with collections of other tools.

    Attributes:
        url: Its address.
        server: What it was asked.
        client: The tools' own way to it.
    """

    url: str
    server: StandIn
    client: QdrantClient

    def create(self, name: str, vectors: Any, **options: Any) -> None:
        self.client.create_collection(name, vectors_config=vectors, **options)

    def add(self, name: str, points: list[models.PointStruct]) -> None:
        self.client.upsert(name, points=points, wait=True)

    def dump(self, name: str) -> list[Any]:
        """Everything that a collection holds."""
        return [
            (record.id, record.payload, record.vector)
            for record in self.server.client.scroll(name, limit=10_000, with_vectors=True)[0]
        ]


@contextlib.contextmanager
def theirs() -> Iterator[Theirs]:
    """A server of other tools on the loopback."""
    server = StandIn()
    with serving(server.respond) as url, contextlib.closing(QdrantClient(url=url, check_compatibility=False)) as client:
        yield Theirs(url, server, client)


def plain(dim: int = 32, distance: models.Distance = models.Distance.COSINE) -> models.VectorParams:
    """One dense vector, without a name where nothing gives it one."""
    return models.VectorParams(size=dim, distance=distance)


def point_id(*parts: Any) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(map(str, parts))))


def langchain_point(source: str, text: str, *, embed: Embed = vector_of, **metadata: Any) -> models.PointStruct:
    """A document of LangChain's QdrantVectorStore."""
    return models.PointStruct(
        id=point_id(source, text),
        vector=embed(text).tolist(),
        payload={"page_content": text, "metadata": {"source": source, **metadata}},
    )


def llamaindex_point(
    path: str, text: str, *, excluded: tuple[str, ...] = (), embed: Embed = vector_of
) -> models.PointStruct:
    """A node of LlamaIndex's QdrantVectorStore, of a file that SimpleDirectoryReader read.

    Args:
        path: The file.
        text: The node's.
        excluded: Keys of metadata that are not embedded beside those that the reader leaves out.
        embed: The model.
    """
    usual = ["file_name", "file_type", "file_size", "creation_date", "last_modified_date", "last_accessed_date"]
    metadata = {
        "file_path": path,
        "file_name": path.rpartition("/")[2],
        "file_type": "text/markdown",
        "file_size": 37,
        "creation_date": "2026-11-26",
        "last_modified_date": "2026-11-26",
    }
    node, document = point_id(path, text), point_id(path)
    content = {
        "id_": node,
        "embedding": None,
        "metadata": metadata,
        "excluded_embed_metadata_keys": [*usual, *excluded],
        "excluded_llm_metadata_keys": usual,
        "relationships": {"1": {"node_id": document, "node_type": "4", "metadata": metadata}},
        "metadata_template": "{key}: {value}",
        "metadata_separator": "\n",
        "text": text,
        "mimetype": "text/plain",
        "start_char_idx": 0,
        "end_char_idx": len(text),
        "text_template": "{metadata_str}\n\n{content}",
        "class_name": "TextNode",
    }
    embedded = text if "file_path" in excluded else f"file_path: {path}\n\n{text}"
    return models.PointStruct(
        id=node,
        vector=embed(embedded).tolist(),
        payload={
            **metadata,
            "_node_content": json.dumps(content),
            "_node_type": "TextNode",
            "document_id": document,
            "doc_id": document,
            "ref_doc_id": document,
        },
    )


def qdrant_loader_point(url: str, text: str, *, title: str = "", embed: Embed = vector_of) -> models.PointStruct:
    """A chunk of qdrant-loader, in a collection with named vectors."""
    return models.PointStruct(
        id=point_id(url, text),
        vector={"dense": embed(text).tolist(), "sparse": models.SparseVector(indices=[1, 7], values=[0.5, 0.5])},
        payload={
            "content": text,
            "contextual_content": f"[Source: {url}]",
            "metadata": {"chunk_index": 0, "total_chunks": 1, "parent_document_id": point_id(url), "url": url},
            "source": "my-docs",
            "source_type": "git",
            "created_at": "2026-11-26T10:00:00+00:00",
            "updated_at": "2026-11-26T10:00:00+00:00",
            "title": title,
            "url": url,
            "document_id": point_id(url),
        },
    )
