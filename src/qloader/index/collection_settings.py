"""How a collection is kept, as a flat mapping: what one says of itself, what a config wants, and where they differ.

The keys are those below `index.settings` in a config: `hnsw.m`, `quantization.type`, `payload_indexes.metadata.team`.
Nothing here shapes a point, so that a difference is mended in place, and nothing is embedded again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isclose
from typing import Any

from qloader.counting import counted
from qloader.errors import ConfigError

Setting = int | float | bool | str | None
CollectionSettings = Mapping[str, Setting]

AS_THEY_ARE: CollectionSettings = {}
"""Settings that ask for nothing."""

FIELD = "payload_indexes."
"""What the key of a payload index begins with; the field follows, and its type is the setting."""

FIXED = frozenset({"shards", "datatype"})
"""Settings that are said when a collection is made, and never change."""

POSTPONED = 1_000_000_000
"""The `indexing_threshold` of a collection during a bulk load, in kB: no segment is as large as this."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting of a collection that is not as the config says.

    Attributes:
        key: The setting, below `index.settings`.
        found: What the collection says; None where it has no such thing.
        wanted: What the config says.
    """

    key: str
    found: Setting
    wanted: Setting

    @property
    def is_fixed(self) -> bool:
        """Whether it is said when a collection is made, and never changes."""
        return self.key in FIXED

    @property
    def is_addition(self) -> bool:
        """Whether something is missing that changes nothing for who does not ask for it: an index of a field."""
        return self.key.startswith(FIELD) and self.found is None

    def as_drift(self, *, is_shared: bool = False) -> str:
        """A sentence for who compares.

        Args:
            is_shared: Whether the collection is shared, so that nobody changes what others have said.
        """
        says = f"index.settings.{self.key} is {_words(self.wanted)} in the config, and {_words(self.found)} in the "
        if is_shared and not self.is_addition:
            return f"{says}shared collection, which stays as it is."
        return f"{says}collection{'.' if self.is_fixed else ': the next apply changes it.'}"

    @property
    def as_change(self) -> str:
        """A sentence for who changed it."""
        return f"Changed index.settings.{self.key} from {_words(self.found)} to {_words(self.wanted)}."


def find_differences(found: CollectionSettings, wanted: CollectionSettings) -> list[Difference]:
    """Where a collection is not as the config says.

    Args:
        found: What the collection says; a key that it leaves out is one that it has no use for.
        wanted: What the config says; a key that it leaves out may be anything.
    """
    return [
        Difference(key, found.get(key), value)
        for key, value in wanted.items()
        if (key in found or key.startswith(FIELD)) and not _is_same(found.get(key), value)
    ]


def check_fixed(differences: Iterable[Difference], *, collection: str, state: str) -> None:
    """Refuses what a collection that is there cannot become.

    Args:
        differences: What `find_differences` found.
        collection: The collection's name.
        state: How an error names the state that belongs to it.

    Raises:
        ConfigError: The config says another number of shards, or another datatype.
    """
    for one in differences:
        if one.is_fixed:
            has = counted(one.found, "shard") if isinstance(one.found, int) else f"{_words(one.found)} vectors"
            raise ConfigError(
                f"the collection {collection} has {has}, and index.settings.{one.key} "
                f"says {one.wanted}: that is said when a collection is made, and never changes",
                remedy=f"Set index.settings.{one.key} to {one.found}, or load a new one: choose another name in "
                f"index.collection, and move {state} away.",
            )


def part(settings: CollectionSettings, prefix: str) -> dict[str, Any]:
    """The settings whose keys begin so, by the rest of their keys."""
    return {key.removeprefix(prefix): value for key, value in settings.items() if key.startswith(prefix)}


def _is_same(found: Setting, wanted: Setting) -> bool:
    if isinstance(found, float) and isinstance(wanted, int | float):  # engines keep them in 32 bits
        return isclose(found, wanted, rel_tol=1e-5)
    return found == wanted


def _words(value: Setting) -> str:
    return "none" if value is None else str(value).lower()
