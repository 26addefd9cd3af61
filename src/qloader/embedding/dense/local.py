"""What models on this machine have in common: an optional package, one model that is loaded once, a lock around it."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Generic, TypeVar

import numpy as np

from qloader.embedding.dense.checks import WHAT, checked
from qloader.embedding.dense.errors import EmbeddingError
from qloader.embedding.dense.protocol import Kind, Matrix

M = TypeVar("M")

TEXTS_AT_ONCE = 32
"""Texts that go through a model together. They are sorted by length first, since a batch is as long as its longest."""


class LocalProvider(Generic[M]):
    """A model that is loaded when it is first needed. Computes for one thread at a time, on all cores.

    Attributes:
        extra: The extra of qloader that brings its package.
        module: The package's name when it is imported.
    """

    extra: str
    module: str

    def __init__(self, name: str) -> None:
        """Loads nothing yet.

        Args:
            name: The model's name or folder, for messages.
        """
        self._name = name
        self._lock = threading.Lock()
        self._model: M | None = None

    @property
    def model(self) -> M:
        """The model.

        Raises:
            EmbeddingError: Its package is missing, or it cannot be loaded.
        """
        with self._lock:
            if self._model is None:
                package = import_extra(self.module, self.extra)
                try:
                    self._model = self.load(package)
                except Exception as error:
                    words = " ".join(str(error).split())[:300]
                    raise EmbeddingError(
                        f"{WHAT}: the model {self._name} cannot be loaded: {type(error).__name__}: {words}",
                        remedy=f"Check {WHAT}.model. A model that is not on this machine is downloaded once, which "
                        "needs the network; a folder with its files does not.",
                    ) from error
            return self._model

    def load(self, package: Any) -> M:
        """Loads the model with its package."""
        raise NotImplementedError

    def compute(self, model: M, texts: list[str], kind: Kind) -> Any:
        """The vectors of texts that are sorted by length, in their order."""
        raise NotImplementedError

    def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """The vectors of texts, as `DenseProvider.embed`."""
        model = self.model
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        with self._lock:
            try:
                found = self.compute(model, [texts[number] for number in order], kind)
            except (RuntimeError, MemoryError) as error:
                words = " ".join(str(error).split())[:300]
                raise EmbeddingError(
                    f"{WHAT}: the model {self._name} fails: {type(error).__name__}: {words}",
                    remedy=f"If its memory is full, lower {WHAT}.max_tokens, or take a smaller model.",
                ) from error
        vectors = checked(found, texts, None)
        placed = np.empty_like(vectors)
        placed[order] = vectors
        return placed

    def close(self) -> None:
        """Lets go of the model."""
        with self._lock:
            self._model = None


def import_extra(module: str, extra: str) -> ModuleType:
    """Imports a package that qloader does not bring itself.

    Raises:
        EmbeddingError: It is not installed, or not whole.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        is_missing = isinstance(error, ModuleNotFoundError) and error.name == module
        raise EmbeddingError(
            f"{WHAT}: the package of {extra} {'is not installed' if is_missing else f'cannot be imported: {error}'}.",
            remedy=f'Install it: pip install "qloader[{extra}]"',
        ) from error
