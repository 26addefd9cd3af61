"""`cohere`: `POST /v2/embed`, https://docs.cohere.com/reference/embed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qloader.config.embedders import CohereConfig
from qloader.embedding.dense.answers import tokens_of
from qloader.embedding.dense.api import Api, ApiSettings
from qloader.embedding.dense.checks import checked
from qloader.embedding.dense.protocol import Counted, Kind, Matrix

_KINDS = {"document": "search_document", "query": "search_query"}


class CohereProvider:
    """Speaks Cohere's API, whose answers are in the order of the texts."""

    def __init__(self, section: CohereConfig, base: Path) -> None:
        """Connects to nothing yet.

        Args:
            section: The section of the config.
            base: The folder that relative paths start from.

        Raises:
            EmbeddingError: A key would be sent without encryption.
        """
        self._api = Api(ApiSettings.of(section, f"{section.url.rstrip('/')}/v2/embed", base, parallel=section.parallel))
        self._section = section

    @property
    def dim(self) -> int | None:
        """What the config says; else only an answer can tell."""
        return self._section.dimensions

    def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """The vectors of texts, as `DenseProvider.embed`."""
        return self.embed_counted(texts, kind).vectors

    def embed_counted(self, texts: Sequence[str], kind: Kind) -> Counted:
        """The same, with what it cost."""
        body: dict[str, Any] = {
            "model": self._section.model,
            "texts": list(texts),
            "input_type": _KINDS[kind],
            "embedding_types": ["float"],
            "truncate": "NONE",  # else it would cut what is too long, and say nothing
        }
        if self._section.dimensions:
            body["output_dimension"] = self._section.dimensions
        answer = self._api.post(body)
        found = answer.get("embeddings") if isinstance(answer, dict) else None
        vectors = found.get("float") if isinstance(found, dict) else None
        if not isinstance(vectors, list):
            raise self._api.strange("list `embeddings.float`")
        return Counted(checked(vectors, texts, self.dim), tokens_of(answer, "meta.billed_units.input_tokens"))

    def close(self) -> None:
        """Closes all connections."""
        self._api.close()
