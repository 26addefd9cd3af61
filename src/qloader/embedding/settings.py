"""What of an embedding goes into the pipeline's fingerprint. Imports no engine: `plan` calls this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from qloader.errors import ConfigError

if TYPE_CHECKING:
    from qloader.config.embedders import DenseSection

BM25_VERSION = 1
"""Raised when the engine gives other token ids or weights to the same text: tests/embedding holds it to that."""


def bm25_settings(
    *, language: str = "english", k: float = 1.2, b: float = 0.75, avg_len: float = 256.0
) -> dict[str, Any]:
    """The settings of the `bm25` vector, as plans and fingerprints hold them.

    Args:
        language: Whose stop words and stems are used, e.g. `english`.
        k: How much a repeated word adds (k1 of BM25).
        b: How much long texts are marked down, 0 to 1.
        avg_len: The length of an average chunk, in tokens.

    Returns:
        JSON values; numbers are floats, so that `256` and `256.0` are one setting.
    """
    return {
        "sparse": "bm25",
        "version": BM25_VERSION,
        "language": language,
        "k": float(k),
        "b": float(b),
        "avg_len": float(avg_len),
    }


DENSE_VERSION = 1
"""Raised when the same provider, model and settings would get other vectors of us: how texts are prepared, shortened
and put together."""


def dense_settings(section: DenseSection) -> dict[str, Any]:
    """The settings of the `dense` vector, as plans and fingerprints hold them.

    Args:
        section: What `embedding.dense` says.

    Returns:
        JSON values: all keys but those that shape no document's vector (`DenseSection.manners`: where the provider is,
        its key, its limits) and those that are not set. A key that only other packages know counts as shaping. No
        secret is in it.
    """
    said = section.model_dump(mode="json", exclude_none=True, exclude=set(section.manners))
    secrets = {name for name in said if isinstance(getattr(section, name), SecretStr)}
    return {"version": DENSE_VERSION, **{name: said[name] for name in sorted(said.keys() - secrets)}}


def section_as_applied(section: DenseSection, applied: Mapping[str, Any] | None) -> DenseSection:
    """A section of the config that gives the vectors that settings stand for, as `dense_settings` made them.

    Args:
        section: What the config says now: who the provider is, where it is, its key.
        applied: The settings.

    Raises:
        ConfigError: Another provider, or another version of qloader, made these vectors; or there are none.
    """
    if applied == dense_settings(section):
        return section
    if applied is None or (applied.get("provider"), applied.get("version")) != (section.provider, DENSE_VERSION):
        made = f"made by {applied['provider']}/{applied['model']}" if applied else "not there yet"
        raise ConfigError(
            f"the dense vectors in the index are {made}, and the config names {section.label}",
            remedy="Plan and apply, so that both are the same; `--mode sparse` searches by words until then.",
        )
    shaping = {name: value for name, value in applied.items() if name != "version"}
    return type(section).model_validate(
        {name: getattr(section, name) for name in section.manners & _keys(section)} | shaping
    )


def _keys(section: DenseSection) -> frozenset[str]:
    return frozenset(type(section).model_fields)
