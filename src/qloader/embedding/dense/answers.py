"""What is in an answer: values by their path, vectors in the order of the texts, what was counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qloader.embedding.dense.checks import WHAT
from qloader.embedding.dense.errors import EmbeddingError


def at_path(value: Any, path: str) -> Any:
    """What stands at a path such as `data.*.embedding`: keys and positions, `*` for each of a list.

    Raises:
        KeyError: There is no such thing.
    """
    key, _, rest = path.partition(".")
    if key == "*":
        if not isinstance(value, list):
            raise KeyError(path)
        return [at_path(one, rest) if rest else one for one in value]
    if isinstance(value, list) and key.isdigit() and int(key) < len(value):
        found = value[int(key)]
    elif isinstance(value, dict) and key in value:
        found = value[key]
    else:
        raise KeyError(path)
    return at_path(found, rest) if rest else found


def in_order(vectors: Sequence[Any], indexes: Sequence[Any]) -> list[Any]:
    """Vectors in the order of the texts. Where an answer has no indexes at all, it has that order.

    Raises:
        EmbeddingError: The indexes are not those of the texts, each once.
    """
    if all(index is None for index in indexes):
        return list(vectors)
    if len(indexes) != len(vectors) or not all(type(index) is int for index in indexes):
        raise _wrong_indexes()
    placed = dict(zip(indexes, vectors, strict=True))
    if sorted(placed) != list(range(len(vectors))):
        raise _wrong_indexes()
    return [placed[position] for position in range(len(vectors))]


def tokens_of(answer: Any, path: str) -> int | None:
    """How many tokens were counted, where the answer says so."""
    try:
        found = at_path(answer, path)
    except KeyError:
        return None
    return int(found) if isinstance(found, int | float) and not isinstance(found, bool) and found > 0 else None


def _wrong_indexes() -> EmbeddingError:
    return EmbeddingError(
        f"{WHAT}: the answer does not say which vector is of which text: its indexes are not those of the texts.",
        remedy="Nothing of it was stored. This is an error of the provider, or of a gateway before it; try again.",
    )
