"""LangChain: its indexing API with a record manager in SQLite, into langchain-qdrant.

As its docs say for speed: batches as large as possible. `CLEANUP` is `full`, the one mode that also deletes what
belongs to files that are gone, or `incremental`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import common
from langchain_classic.indexes import SQLRecordManager
from langchain_community.document_loaders import DirectoryLoader, TextLoader
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import index
from langchain_qdrant import QdrantVectorStore
from langchain_text_splitters import TextSplitter

BATCH = 1000


class HashEmbeddings(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return common.vectors(texts)

    def embed_query(self, text: str) -> list[float]:
        return common.vectors([text])[0]


class SameChunks(TextSplitter):
    def split_text(self, text: str) -> list[str]:
        return common.chunks(text)


class Pages(TextLoader):
    """Each page in its normal form."""

    def lazy_load(self) -> Iterator[Document]:
        path = str(self.file_path)
        yield Document(common.normal_text(Path(path).read_bytes(), path), metadata={"source": path})


def update(docs: Path, store: Path) -> None:
    client = common.local_client(store)
    common.make_collection(client)
    vector_store = QdrantVectorStore(client, common.COLLECTION, HashEmbeddings(), validate_embeddings=False)
    records = SQLRecordManager("qdrant/bench", db_url=f"sqlite:///{store / 'records.db'}")
    records.create_schema()
    splitter = SameChunks()
    loader = DirectoryLoader(str(docs), glob="**/*.md", loader_cls=Pages)
    pieces = (piece for page in loader.lazy_load() for piece in splitter.split_documents([page]))
    index(
        pieces, records, vector_store, batch_size=BATCH, cleanup=os.environ.get("CLEANUP", "full"),
        cleanup_batch_size=BATCH, source_id_key="source",
    )  # fmt: skip
    client.close()


def dump(docs: Path, store: Path) -> Iterator[tuple[str, str]]:
    for payload in common.local_points(store):
        yield str(Path(payload["metadata"]["source"]).relative_to(docs)), payload["page_content"]


if __name__ == "__main__":
    common.main(update, dump)
