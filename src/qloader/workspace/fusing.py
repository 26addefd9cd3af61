"""How a hybrid search makes one ranking of two: what the config says, and what one search asks for instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qloader.config.models import SearchConfig
from qloader.errors import ConfigError
from qloader.index.protocol import DENSE_VECTOR, SPARSE_VECTOR, Fusion

HEAVIEST = 1000


@dataclass(frozen=True, slots=True)
class Fusing:
    """How a hybrid search makes one ranking of two.

    Attributes:
        fusion: By what.
        weights: How much each vector's ranking counts, by its name; None where all count the same.
    """

    fusion: Fusion
    weights: Mapping[str, float] | None

    @classmethod
    def of(
        cls, section: SearchConfig, fusion: Fusion | None = None, weights: Mapping[str, float] | None = None
    ) -> Fusing:
        """What the config and a search say together.

        Args:
            section: What the config says.
            fusion: What the search asks for instead.
            weights: The same; 1 for a vector that is not named.

        Raises:
            ConfigError: Weights that are none, or for a fusion that has none.
        """
        fusion = fusion or section.fusion
        if weights is None:
            # A fusion that was asked for by itself leaves out what the config says of another one.
            weights = section.weights.model_dump() if fusion == "rrf" else {}
        names = (SPARSE_VECTOR, DENSE_VECTOR)
        for name, weight in weights.items():
            if name not in names or not 0 < weight <= HEAVIEST:
                raise ConfigError(
                    f"{name}={weight:g} is no weight: it is of {' or '.join(names)}, more than 0 and at most "
                    f"{HEAVIEST}",
                    remedy="Write --weights dense=2,bm25=1.",
                )
        every = {name: weights.get(name, 1.0) for name in names}
        if len({*every.values()}) == 1:
            return cls(fusion, None)
        if fusion != "rrf":
            raise ConfigError(f"the fusion {fusion} takes no weights", remedy="Leave them out, or take rrf.")
        return cls(fusion, every)
