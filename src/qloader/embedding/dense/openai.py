"""`openai` and `voyage`: `POST /embeddings`, the API of OpenAI that most servers of models speak.

https://platform.openai.com/docs/api-reference/embeddings, https://docs.voyageai.com/reference/embeddings-api
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from qloader.config.embedders import OpenaiConfig, VoyageConfig
from qloader.embedding.dense.answers import in_order, tokens_of
from qloader.embedding.dense.api import Api, ApiSettings
from qloader.embedding.dense.checks import checked
from qloader.embedding.dense.protocol import Counted, Kind, Matrix


class OpenaiProvider:
    """Speaks the API of OpenAI, or Voyage's edition of it."""

    def __init__(self, section: OpenaiConfig | VoyageConfig, base: Path) -> None:
        """Connects to nothing yet.

        Args:
            section: The section of the config.
            base: The folder that relative paths start from.

        Raises:
            EmbeddingError: A key would be sent without encryption.
        """
        version = section.api_version if isinstance(section, OpenaiConfig) else None
        url, _, query = section.url.partition("?")
        url = f"{url.rstrip('/')}/embeddings"
        query = "&".join(part for part in (query, urlencode({"api-version": version}) if version else "") if part)
        self._api = Api(
            ApiSettings.of(
                section,
                f"{url}?{query}" if query else url,
                base,
                key_header="api-key" if version else None,
                parallel=section.parallel,
            )
        )
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
        answer = self._api.post(self._body(texts, kind))
        entries = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise self._api.strange("list `data`")
        vectors = in_order([entry.get("embedding") for entry in entries], [entry.get("index") for entry in entries])
        return Counted(checked(vectors, texts, self.dim), tokens_of(answer, "usage.total_tokens"))

    def close(self) -> None:
        """Closes all connections."""
        self._api.close()

    def _body(self, texts: Sequence[str], kind: Kind) -> dict[str, Any]:
        section = self._section
        body: dict[str, Any] = {"model": section.model, "input": list(texts)}
        if isinstance(section, VoyageConfig):
            # Without `truncation` it would cut what is too long, and say nothing.
            body |= {"input_type": kind, "truncation": False}
            return body | ({"output_dimension": section.dimensions} if section.dimensions else {})
        return body | ({"dimensions": section.dimensions} if section.dimensions else {})
