"""What an apply will cost, as far as it can be told beforehand. No part of a plan: it rests on prices and past runs.

Pure: what a plan's header says, the config's prices and the state's last runs in, an estimate out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from qloader.planning.plan import PlanHeader
from qloader.state.records import Pace

CHARACTERS_A_TOKEN = 4
"""English text has about four characters a token, OpenAI's rule of thumb ("What are tokens and how to count them");
other languages have fewer, Chinese and Japanese about one."""

POINT_BYTES, CHARACTER_BYTES = 1000, 2.3
"""What a point takes in Qdrant without its vectors: the payload with its indexes, and so much more for each character
of its text, which the write-ahead log holds too. Measured in an embedded index (qdrant-edge 0.9.0) over 2,602 pages of
documentation (Node.js, npm, CMake, git; 8.2 million characters) in 16,730 to 58,500 chunks: bytes on the disk right
after the load were within 1 % of these figures and those of the vectors, added up."""

BM25_BYTES, BM25_CHARACTER_BYTES = 110, 0.5
"""The share of the sparse vector in the same measurement."""


NUMBER_BYTES = 9
"""A number of a dense vector: 32 bits in the data, and as much in the write-ahead log. Measured likewise with 5,000 and
20,000 points of 384 and 1,536 numbers: 9.0 bytes on the disk."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost, by the embedder's name."""

    currency: str = "USD"
    per_million_tokens: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spared:
    """Chunks that are embedded without asking the provider of dense vectors.

    Attributes:
        cached: How many the embedding cache has already; None where that cannot be told, or there are no dense vectors.
        repeated: How many of the others are the same as another of the plan, and are sent once with it.
        characters: The text of all these.
    """

    cached: int | None = None
    repeated: int = 0
    characters: int = 0


NOTHING_SPARED = Spared()


@dataclass(frozen=True, slots=True)
class Share:
    """What one embedder adds to an estimate.

    Attributes:
        name: What the embedder is called: its model, with the provider where it has one.
        tokens: What it reads: of the dense vectors' model without what is cached or repeated.
        cost: The price of that; None where no price is configured.
        full_cost: The price of all chunks, were none cached or repeated.
        bytes: What its vectors take in Qdrant; None where nobody knows yet how long they are.
    """

    name: str
    tokens: int
    cost: float | None
    full_cost: float | None
    bytes: float | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an apply will cost. All but `characters` and `points` is estimated.

    Attributes:
        points: New points: the chunks to embed.
        characters: Their text.
        shares: What each embedder adds.
        currency: That of all costs.
        bytes: What the new points take in Qdrant, vectors included as far as their length is known.
        seconds: How long it takes at the pace of the last runs; None where there is none.
        runs: How many runs that is.
        cached: How many of the chunks the embedding cache has; None where that cannot be told, or there are no dense
            vectors.
        repeated: How many of the others are the same as another of the plan, and are sent once with it.
    """

    points: int
    characters: int
    shares: tuple[Share, ...]
    currency: str
    bytes: int
    seconds: float | None = None
    runs: int = 0
    cached: int | None = None
    repeated: int = 0

    @property
    def cost(self) -> float | None:
        """What is paid for all embedders together; None where no price is configured."""
        return _sum([share.cost for share in self.shares])

    @property
    def full_cost(self) -> float | None:
        """The same without a cache: what holds on every machine."""
        return _sum([share.full_cost for share in self.shares])


def estimate_plan(
    header: PlanHeader,
    prices: Prices | None = None,
    pace: Pace | None = None,
    *,
    dense: int | None = None,
    spared: Spared = NOTHING_SPARED,
) -> Estimate | None:
    """What an apply of a plan will cost; None where nothing is to be embedded.

    Args:
        header: The plan's.
        prices: The config's.
        pace: How fast the last runs were.
        dense: How long the dense vectors are, where the pipeline's settings do not say and something else does.
        spared: What of the chunks the provider of dense vectors is not asked for.
    """
    prices = prices or Prices()
    points, characters = header.summary.chunks_embed, header.summary.characters
    if not points:
        return None
    price = prices.per_million_tokens.get
    everything = _tokens(points, characters)
    sent = _tokens(points - (spared.cached or 0) - spared.repeated, characters - spared.characters)
    shares = tuple(
        Share(name, tokens, _cost(tokens, price(name)), _cost(everything, price(name)), size)
        for name, tokens, size in _embedders(header.pipeline.embedding, points, characters, dense, everything, sent)
    )
    payloads = POINT_BYTES * points + CHARACTER_BYTES * characters
    return Estimate(
        points=points,
        characters=characters,
        shares=shares,
        currency=prices.currency,
        bytes=round(payloads + sum(share.bytes or 0 for share in shares)),
        seconds=None if pace is None else points * pace.seconds / pace.chunks,
        runs=0 if pace is None else pace.runs,
        cached=spared.cached,
        repeated=spared.repeated,
    )


def format_cost(amount: float, currency: str) -> str:
    """An amount for people: `12.40 USD`; below a hundredth its first digit, so that it is not told to be nothing."""
    if amount >= 0.01 or not amount:
        return f"{amount:,.2f} {currency}"
    first_digit = float(f"{amount:.1g}")
    return f"{first_digit:.12f}".rstrip("0").rstrip(".") + f" {currency}"


def _embedders(
    embedding: Mapping[str, Any], points: int, characters: int, dense: int | None, everything: int, sent: int
) -> Iterator[tuple[str, int, float | None]]:
    """The embedders of a pipeline, the tokens that they read, and what their vectors take."""
    yield str(embedding.get("sparse", "bm25")), everything, BM25_BYTES * points + BM25_CHARACTER_BYTES * characters
    if model := embedding.get("dense"):
        size = model.get("dimensions") or dense
        yield f"{model['provider']}/{model['model']}", sent, None if size is None else NUMBER_BYTES * size * points


def _tokens(chunks: int, characters: int) -> int:
    return max(round(characters / CHARACTERS_A_TOKEN), 1) if chunks else 0


def _cost(tokens: int, price: float | None) -> float | None:
    return None if price is None else tokens * price / 1_000_000


def _sum(costs: Iterable[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known else None
