"""How the vectors in the index were made: the config may be ahead of them, or behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qloader.embedding.settings import section_as_applied
from qloader.errors import ConfigError
from qloader.workspace.settings import Settings


def find_applied(
    settings: Settings, pipelines: Mapping[str, Mapping[str, Any]], filled_by: str
) -> Mapping[str, Any] | None:
    """The embedding settings of what the index is filled with; None where nobody knows them any more.

    Args:
        settings: The config and what follows from it.
        pipelines: What the state knows of pipelines, by fingerprint.
        filled_by: The fingerprint of what the collection was filled with.
    """
    if filled_by == settings.pipeline.fingerprint:
        return settings.pipeline.embedding
    return pipelines.get(filled_by, {}).get("embedding")


def find_reusable(settings: Settings, pipelines: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """The fingerprints of pipelines whose vectors may stand beside those of the config: they are embedded alike."""
    wanted = settings.pipeline.embedding
    return frozenset(name for name, parts in pipelines.items() if parts.get("embedding") == wanted)


def check_comparable(settings: Settings, applied: Mapping[str, Any] | None) -> None:
    """Refuses to compare dense vectors that are there with what the config's provider makes.

    Args:
        settings: The config, which names a provider.
        applied: What `find_applied` found.

    Raises:
        ConfigError: Another provider made them, or nobody knows who; or there are none.
    """
    section = settings.config.embedding.dense
    assert section is not None
    if applied is None:
        raise ConfigError(
            "the state was rebuilt while the config named another pipeline, and does not know how the dense vectors in "
            "the index were made",
            remedy="Plan and apply, or set chunking and embedding back; `--mode sparse` searches by words until then.",
        )
    section_as_applied(section, applied.get("dense"))
