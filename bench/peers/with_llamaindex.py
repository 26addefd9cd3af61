"""LlamaIndex: an IngestionPipeline with a document store, into its Qdrant vector store.

The strategy is the one that also deletes. Its cache of transformations is off: its key is a whole run's input, so that
after a change it never hits, and it is written out with all vectors in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common
from llama_index.core import SimpleDirectoryReader
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import TextSplitter
from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.vector_stores.qdrant import QdrantVectorStore

BATCH = 1000


class HashEmbedding(BaseEmbedding):
    def _get_text_embedding(self, text: str) -> list[float]:
        return common.vectors([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return common.vectors(texts)

    def _get_query_embedding(self, query: str) -> list[float]:
        return common.vectors([query])[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return common.vectors([query])[0]


class SameChunks(TextSplitter):
    def split_text(self, text: str) -> list[str]:
        return common.chunks(text)


class Pages(BaseReader):
    """Each page in its normal form; only its text is embedded, as everywhere."""

    def load_data(self, file: Path, extra_info: dict[str, Any] | None = None, **_: Any) -> list[Document]:
        text = common.normal_text(file.read_bytes(), str(file))
        hidden = list(extra_info or {})
        return [Document(text=text, metadata=extra_info or {}, excluded_embed_metadata_keys=hidden)]


def update(docs: Path, store: Path) -> None:
    client = common.local_client(store)
    common.make_collection(client)
    kept = store / "pipeline" / "docstore.json"
    pipeline = IngestionPipeline(
        transformations=[SameChunks(include_prev_next_rel=False), HashEmbedding(embed_batch_size=BATCH)],
        docstore=SimpleDocumentStore.from_persist_path(str(kept)) if kept.exists() else SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
        vector_store=QdrantVectorStore(common.COLLECTION, client=client, batch_size=BATCH),
        disable_cache=True,
    )
    reader = SimpleDirectoryReader(
        str(docs), recursive=True, required_exts=[".md"], filename_as_id=True, file_extractor={".md": Pages()},
        file_metadata=lambda path: {"file_path": path}, exclude_hidden=False,
    )  # fmt: skip
    pipeline.run(documents=reader.load_data())
    pipeline.persist(str(store / "pipeline"))
    client.close()


def dump(docs: Path, store: Path) -> Iterator[tuple[str, str]]:
    import json

    for payload in common.local_points(store):
        node = json.loads(payload["_node_content"])
        text = payload.get("text") or node["text"]
        yield str(Path(payload["file_path"]).relative_to(docs)), text


if __name__ == "__main__":
    common.main(update, dump)
