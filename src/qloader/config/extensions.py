"""The door for sources of other packages: entry points of the group `qloader.sources`.

An entry point's name is the `type` of the source in a config; what it leads to is a `SourceType`. It is looked
for, and its package imported, only where a config names a type that qloader does not have itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qloader.config.fields import Section
from qloader.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "qloader.sources"


@dataclass(frozen=True, slots=True)
class Opening:
    """What a source is opened with.

    Attributes:
        name: Its name in the config.
        config: Its section of the config, an instance of `SourceType.config`.
        base: The folder of the config file, which relative paths start from.
        cache_dir: Where it may keep what it fetched; can be deleted at any time.
    """

    name: str
    config: Any
    base: Path
    cache_dir: Path


@dataclass(frozen=True, slots=True)
class SourceType:
    """What an entry point leads to.

    Attributes:
        config: The model of the source's section: a subclass of `qloader.config.fields.Section` with a field `type`.
        open: Makes the source, a `qloader.sources.protocol.Source`. Nothing should be read or connected yet.
    """

    config: type[Section]
    open: Callable[[Opening], Any]


def extension_names() -> list[str]:
    """The types that other packages offer, by name; none of them is imported."""
    from importlib.metadata import entry_points

    return sorted(found.name for found in entry_points(group=GROUP))


@cache
def find_extension(kind: str) -> SourceType | None:
    """The type of that name, or None where no package offers it.

    Raises:
        ConfigError: The package cannot be imported, or offers something else.
    """
    from importlib.metadata import entry_points  # 20 ms that only those who have such a source pay

    found = next(iter(entry_points(group=GROUP, name=kind)), None)
    return None if found is None else _load(found)


def _load(entry: EntryPoint) -> SourceType:
    package = entry.dist.name if entry.dist else entry.value
    try:
        loaded = entry.load()
    except Exception as error:
        raise ConfigError(
            f"the source type {entry.name} of the package {package} cannot be loaded: {type(error).__name__}: {error}",
            remedy=f"Repair or reinstall {package}, or take the source out of the config.",
        ) from error
    remedy = f"Tell those who make {package}; docs/sources/writing-a-source.md says what is expected."
    if not isinstance(loaded, SourceType):
        raise ConfigError(
            f"the source type {entry.name} of the package {package} is no SourceType but {type(loaded).__name__}",
            remedy=remedy,
        )
    config: object = loaded.config  # a stranger's, whatever its annotation says
    if not (isinstance(config, type) and issubclass(config, Section) and callable(loaded.open)):
        raise ConfigError(
            f"the source type {entry.name} of the package {package} needs a subclass of Section as config, "
            "and a function as open",
            remedy=remedy,
        )
    return loaded
