"""`fastembed`: models by ONNX on this machine, https://qdrant.github.io/fastembed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qloader.config.embedders import FastembedConfig
from qloader.embedding.dense.local import TEXTS_AT_ONCE, LocalProvider
from qloader.embedding.dense.protocol import Kind


class FastembedProvider(LocalProvider[Any]):
    """A model of fastembed's list."""

    extra = "fastembed"
    module = "fastembed"

    def __init__(self, section: FastembedConfig, base: Path, cache_dir: Path) -> None:
        """Loads nothing yet.

        Args:
            section: The section of the config.
            base: The folder that relative paths start from.
            cache_dir: Where downloaded models are kept.
        """
        super().__init__(section.model)
        self._section = section
        self._path = str(base / section.path) if section.path else None
        self._cache_dir = cache_dir
        self._tokenizer: Any = None

    @property
    def dim(self) -> int | None:
        """What fastembed's list says of the model."""
        return int(self.model.embedding_size)

    @property
    def max_tokens(self) -> int | None:
        """Where the model's tokenizer cuts."""
        truncation = self.model.model.tokenizer.truncation
        return int(truncation["max_length"]) if truncation else None

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, uncut."""
        if self._tokenizer is None:
            own = self.model.model.tokenizer
            self._tokenizer = type(own).from_str(own.to_str())
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
        return [len(found.ids) for found in self._tokenizer.encode_batch(list(texts))]

    def load(self, package: Any) -> Any:
        """Loads the model, from its folder or from where it was downloaded to."""
        options = {"specific_model_path": self._path} if self._path else {"cache_dir": str(self._cache_dir)}
        return package.TextEmbedding(self._section.model, threads=self._section.threads, **options)

    def compute(self, model: Any, texts: list[str], kind: Kind) -> Any:
        """The vectors of texts, in their order."""
        embed = model.query_embed if kind == "query" else model.passage_embed
        return list(embed(texts, batch_size=TEXTS_AT_ONCE))
