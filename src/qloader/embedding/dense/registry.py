"""Which class is which provider: from the section of the config to an embedder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qloader.config.embedders import DenseSection
from qloader.config.extensions import Opening, find_embedder
from qloader.embedding.dense.checks import WHAT
from qloader.embedding.dense.embedder import DenseEmbedder
from qloader.embedding.dense.protocol import DenseProvider
from qloader.errors import ConfigError
from qloader.telemetry.recorder import NOBODY, Recorder

if TYPE_CHECKING:
    from qloader.embedding.cache import EmbeddingCache


def open_embedder(
    section: DenseSection,
    *,
    base: Path,
    cache_dir: Path,
    cache: EmbeddingCache | None = None,
    recorder: Recorder = NOBODY,
) -> DenseEmbedder:
    """The embedder that a config names. Nothing is loaded or connected yet.

    Args:
        section: What `embedding.dense` says.
        base: The folder of the config file, which relative paths start from.
        cache_dir: Where a provider may keep what it downloads; can be deleted at any time.
        cache: Where vectors are kept; None keeps none.
        recorder: Told of what is waited for.

    Raises:
        ConfigError: Nothing here is such a provider.
        EmbeddingError: A key would be sent without encryption.
    """
    provider = open_provider(Opening("dense", section, base, cache_dir))
    return DenseEmbedder(provider, section, cache=cache, recorder=recorder)


def open_provider(opening: Opening) -> DenseProvider:
    """The provider alone, without the manners that it is used with.

    Raises:
        ConfigError: Nothing here is such a provider.
        EmbeddingError: A key would be sent without encryption.
    """
    openers: dict[str, Callable[[Opening], DenseProvider]] = {
        "openai": _open_openai,
        "voyage": _open_openai,
        "cohere": _open_cohere,
        "http": _open_http,
        "python": _open_python,
        "fastembed": _open_fastembed,
        "sentence-transformers": _open_sentence_transformers,
    }
    return openers.get(opening.config.provider, _open_extension)(opening)


def _open_extension(opening: Opening) -> DenseProvider:
    extension = find_embedder(opening.config.provider)
    if extension is None:
        raise ConfigError(
            f"{WHAT}.provider: there is no provider {opening.config.provider!r}.",
            remedy="Install the package that offers it, or name another one.",
        )
    provider: DenseProvider = extension.open(opening)
    return provider


def _open_openai(opening: Opening) -> DenseProvider:
    from qloader.embedding.dense.openai import OpenaiProvider

    return OpenaiProvider(opening.config, opening.base)


def _open_cohere(opening: Opening) -> DenseProvider:
    from qloader.embedding.dense.cohere import CohereProvider

    return CohereProvider(opening.config, opening.base)


def _open_http(opening: Opening) -> DenseProvider:
    from qloader.embedding.dense.http import HttpProvider

    return HttpProvider(opening.config, opening.base)


def _open_python(opening: Opening) -> DenseProvider:
    from qloader.embedding.dense.python import PythonProvider

    return PythonProvider(opening.config)


def _open_fastembed(opening: Opening) -> DenseProvider:
    from qloader.embedding.dense.fastembed import FastembedProvider

    return FastembedProvider(opening.config, opening.base, opening.cache_dir)


def _open_sentence_transformers(opening: Opening) -> DenseProvider:
    from qloader.embedding.dense.sentence_transformers import SentenceTransformersProvider

    return SentenceTransformersProvider(opening.config, opening.base)
