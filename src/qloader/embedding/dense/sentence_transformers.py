"""`sentence-transformers`: models by PyTorch on this machine, https://sbert.net."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qloader.config.embedders import SentenceTransformersConfig
from qloader.embedding.dense.local import TEXTS_AT_ONCE, LocalProvider
from qloader.embedding.dense.protocol import Kind


class SentenceTransformersProvider(LocalProvider[Any]):
    """A model by its name or from a folder. Code that comes with a model is never run."""

    extra = "sentence-transformers"
    module = "sentence_transformers"

    def __init__(self, section: SentenceTransformersConfig, base: Path) -> None:
        """Loads nothing yet.

        Args:
            section: The section of the config.
            base: The folder that relative paths start from.
        """
        super().__init__(section.model)
        self._section = section
        is_folder = section.model.startswith((".", "/"))
        self._place = str(base / section.model) if is_folder else section.model

    @property
    def dim(self) -> int | None:
        """What the config says, else the model."""
        return self._section.dimensions or int(self.model.get_embedding_dimension())

    @property
    def max_tokens(self) -> int | None:
        """Where the model's tokenizer cuts."""
        limit = self.model.max_seq_length
        return int(limit) if limit else None

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, uncut."""
        found = self.model.tokenizer(list(texts), truncation=False, padding=False, verbose=False)
        return [len(ids) for ids in found["input_ids"]]

    def load(self, package: Any) -> Any:
        """Loads the model, from its folder or from where it was downloaded to."""
        return package.SentenceTransformer(
            self._place, device=self._section.device, truncate_dim=self._section.dimensions, trust_remote_code=False
        )

    def compute(self, model: Any, texts: list[str], kind: Kind) -> Any:
        """The vectors of texts, in their order."""
        encode = model.encode_query if kind == "query" else model.encode_document
        return encode(texts, batch_size=TEXTS_AT_ONCE, show_progress_bar=False)
