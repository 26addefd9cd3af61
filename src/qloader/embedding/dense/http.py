"""`http`: any endpoint that takes JSON and gives JSON, by a template in the config."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qloader.config.embedders import HttpDenseConfig
from qloader.embedding.dense.answers import at_path, in_order
from qloader.embedding.dense.api import Api, ApiSettings
from qloader.embedding.dense.checks import checked
from qloader.embedding.dense.protocol import Kind, Matrix


class HttpProvider:
    """Fills a template, and takes the vectors from where the config says that they are."""

    def __init__(self, section: HttpDenseConfig, base: Path) -> None:
        """Connects to nothing yet.

        Args:
            section: The section of the config.
            base: The folder that relative paths start from.

        Raises:
            EmbeddingError: A key would be sent without encryption.
        """
        self._api = Api(ApiSettings.of(section, section.url, base, parallel=section.parallel))
        self._section = section

    @property
    def dim(self) -> int | None:
        """What the config says; else only an answer can tell."""
        return self._section.dimensions

    def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """The vectors of texts, as `DenseProvider.embed`."""
        section = self._section
        if section.is_single and len(texts) > 1:
            return np.concatenate([self.embed([text], kind) for text in texts])
        values: dict[str, Any] = {
            "texts": list(texts),
            "text": texts[0],
            "model": section.model,
            "kind": section.kinds.get(kind, kind),
            "dimensions": section.dimensions,
        }
        answer = self._api.post(filled(section.body, values))
        vectors = self._at(answer, section.vectors)
        if section.is_single and isinstance(vectors, list) and not (vectors and isinstance(vectors[0], list)):
            vectors = [vectors]
        if section.indexes is not None and isinstance(vectors, list):
            vectors = in_order(vectors, self._at(answer, section.indexes))
        return checked(vectors, texts, self.dim)

    def close(self) -> None:
        """Closes all connections."""
        self._api.close()

    def _at(self, answer: Any, path: str) -> Any:
        try:
            return at_path(answer, path)
        except KeyError:
            raise self._api.strange(f"`{path}`") from None


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """A template with its placeholders filled: one that is a whole value keeps its type, one in a text is text."""
    if isinstance(template, dict):
        return {key: filled(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [filled(value, values) for value in template]
    if not isinstance(template, str):
        return template
    if whole := re.fullmatch(r"\{(\w+)\}", template):
        return values[whole[1]]
    return re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]), template)
