"""Embedders of every provider against the loopback's, and a provider in this process that counts what it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from qloader.config.embedders import DenseConfig, DenseSection
from qloader.config.extensions import Opening
from qloader.embedding.cache import EmbeddingCache
from qloader.embedding.dense.embedder import DenseEmbedder
from qloader.embedding.dense.registry import open_provider
from servers.embeddings import KEY, MODEL, vector_of

_DENSE = TypeAdapter(DenseConfig)


def section_of(**keys: Any) -> DenseSection:
    """A section as a config would give it, with retries that do not wait."""
    return _DENSE.validate_python({"retry_delay": 0, **keys})


def openai(address: str, **keys: Any) -> DenseSection:
    """The section of a provider that speaks OpenAI's API."""
    return section_of(**{"provider": "openai", "model": MODEL, "url": f"{address}/v1", "api_key": KEY, **keys})


def embedder_of(section: DenseSection, *, cache: EmbeddingCache | None = None) -> DenseEmbedder:
    """An embedder of that section."""
    return DenseEmbedder(provider_of(section), section, cache=cache)


def provider_of(section: DenseSection) -> Any:
    """The provider alone."""
    return open_provider(Opening("dense", section, Path("/nowhere"), Path("/nowhere")))


def embed(texts: list[str], *, kind: str) -> list[list[float]]:
    """What the tests of `python` name as their function."""
    return [vector_of(text).tolist() for text in texts]


class Words:
    """A provider in this process: the loopback's vectors without HTTP, and every batch that it was given."""

    dim = None

    def __init__(self, dim: int = 32) -> None:
        self.length = dim
        self.batches: list[list[str]] = []

    def embed(self, texts, kind):
        self.batches.append(list(texts))
        return np.array([self.vector(text) for text in texts], dtype=np.float32)

    def vector(self, text):
        return vector_of(text, self.length)

    def close(self):
        pass
