"""`python`: a function of an installed package."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from qloader.config.embedders import PythonDenseConfig
from qloader.embedding.dense.checks import WHAT, checked
from qloader.embedding.dense.errors import EmbeddingError, TryAgainError
from qloader.embedding.dense.protocol import Kind, Matrix


class PythonProvider:
    """Calls `function(texts, kind=…)`, which gives a vector for each text: an array, or lists of numbers."""

    def __init__(self, section: PythonDenseConfig) -> None:
        """Imports nothing yet."""
        self._section = section
        self._function: Callable[..., Any] | None = None

    @property
    def dim(self) -> int | None:
        """What the config says; else only a call can tell."""
        return self._section.dimensions

    def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """The vectors of texts, as `DenseProvider.embed`."""
        function = self._function = self._function or self._load()
        try:
            found = function(list(texts), kind=kind)
        except (EmbeddingError, TryAgainError):
            raise
        except Exception as error:
            raise EmbeddingError(
                f"{WHAT}: the function {self._section.function} fails: {type(error).__name__}: {error}",
                remedy="It is called with a list of texts and with kind, document or query; docs/embedding.md says "
                "what it gives back.",
            ) from error
        return checked(found, texts, self.dim)

    def close(self) -> None:
        """There is nothing to let go of."""

    def _load(self) -> Callable[..., Any]:
        module, _, name = self._section.function.partition(":")
        try:
            function = reduce(getattr, name.split("."), importlib.import_module(module))
        except Exception as error:
            raise EmbeddingError(
                f"{WHAT}: the function {self._section.function} cannot be imported: {type(error).__name__}: {error}",
                remedy="Install its package into the environment of qloader, and write module:function as one would "
                "import it.",
            ) from error
        if not callable(function):
            raise EmbeddingError(
                f"{WHAT}: {self._section.function} is no function but {type(function).__name__}.",
                remedy="Name a function that takes a list of texts and kind.",
            )
        return function
