"""What a plan may know of the embedding cache: how many of its chunks are there, without opening it for good."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

from qloader.documents.hashing import chunk_hash
from qloader.embedding.cache import EmbeddingCache
from qloader.embedding.dense.embedder import DenseEmbedder
from qloader.embedding.known import KnownTexts
from support.embedders import Words, openai

TEXTS = [f"text {number}" for number in range(2_000)]
CHUNKS = [(chunk_hash(text), len(text)) for text in TEXTS]
SECTION = openai("http://127.0.0.1:9")


def known(path, section=SECTION):
    with KnownTexts(path, section) as texts:
        texts.add(CHUNKS[:3])
        texts.add(CHUNKS)
        return texts.count, texts.dim


def test_what_was_embedded_is_known_by_its_chunk_hash(tmp_path):
    path = tmp_path / "embeddings.db"
    assert known(path) == (0, None)
    assert not path.exists()
    with EmbeddingCache.open(path) as cache:
        embedder = DenseEmbedder(Words(), SECTION, cache=cache)
        embedder.embed(TEXTS[1:1_500])
        embedder.embed([TEXTS[0]], "query")  # a question is no document
        assert known(path) == (2 + 1_499, 32)  # while it is open, too
    assert known(path) == (2 + 1_499, 32)
    assert known(path, openai("http://127.0.0.1:9", model="another")) == (0, None)
    assert known(path, openai("http://127.0.0.1:9", document_prefix="passage: ")) == (None, 32)
    assert known(path, openai("http://127.0.0.1:9", dimensions=8)) == (0, 8)


def test_what_repeats_is_sent_once_and_what_is_cached_not_at_all(tmp_path):
    path = tmp_path / "embeddings.db"
    with KnownTexts(path, SECTION) as texts:
        texts.add([*CHUNKS[:4], CHUNKS[0]])  # within a document
        texts.add(CHUNKS)  # and across
        assert (texts.count, texts.repeated) == (0, 1 + 4)
        assert texts.characters == sum(length for _, length in [CHUNKS[0], *CHUNKS[:4]])
    with EmbeddingCache.open(path) as cache:
        DenseEmbedder(Words(), SECTION, cache=cache).embed(TEXTS[:10])
    with KnownTexts(path, SECTION) as texts:
        texts.add([CHUNKS[0], CHUNKS[11], CHUNKS[0], CHUNKS[11]])
        assert (texts.count, texts.repeated) == (2, 1)
        assert texts.characters == 2 * CHUNKS[0][1] + CHUNKS[11][1]
    prefixed = openai("http://127.0.0.1:9", document_prefix="passage: ")
    with KnownTexts(path, prefixed) as texts:
        texts.add([CHUNKS[0], CHUNKS[0]])
        assert (texts.count, texts.repeated, texts.characters) == (None, 1, CHUNKS[0][1])


def test_whatever_stands_in_the_way_means_that_nothing_is_known(tmp_path):
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"no database at all" * 100)
    assert known(garbage)[0] is None
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE entry (key BLOB)")
    assert known(other)[0] is None
    assert known(tmp_path)[0] is None
    with KnownTexts(garbage, SECTION) as texts:  # nor may it be there to spare what repeats
        texts.add([CHUNKS[0], CHUNKS[0]])
        assert (texts.repeated, texts.characters) == (0, 0)


def test_to_look_loads_no_numpy():
    code = "import qloader.embedding.known, sys; sys.exit('numpy' in sys.modules or 'httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
