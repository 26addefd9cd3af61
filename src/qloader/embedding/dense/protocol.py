"""What a provider of dense vectors is, for the rest of qloader and for whoever writes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

Kind = Literal["document", "query"]
"""Whether a text is to be found, or is what somebody looks for: some models embed the two differently."""

Matrix: TypeAlias = npt.NDArray[np.float32]
"""Vectors, one a row."""


class DenseProvider(Protocol):
    """Makes vectors of texts. The same text gives the same vector, in every process and whatever stands beside it.

    It is given what fits: a batch of prepared texts, none of them blank. It may be called by as many threads at once as
    `parallel` of its section says, 1 for most of those that compute by themselves.
    """

    @property
    def dim(self) -> int | None:
        """How long its vectors are; None where only an answer can tell."""
        ...

    def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """The vectors of texts, float32, one row for each, in their order.

        Raises:
            TryAgainError: It did not work, and may the next time.
            RefusedTextsError: One or more of these texts cannot be embedded; fewer or shorter ones may be.
            EmbeddingError: It will not work: a key, a quota, a model, an answer that is none.
        """
        ...

    def close(self) -> None:
        """Lets go of connections and models; it may be used again."""
        ...


@dataclass(frozen=True, slots=True)
class Counted:
    """Vectors, and what they cost.

    Attributes:
        vectors: As `DenseProvider.embed` gives them.
        tokens: How many tokens the provider counted; None where it does not say.
    """

    vectors: Matrix
    tokens: int | None = None


@runtime_checkable
class CountsCost(Protocol):
    """A provider that says what each request cost, so that limits of tokens are kept by its own count."""

    def embed_counted(self, texts: Sequence[str], kind: Kind) -> Counted:
        """As `DenseProvider.embed`, with the count."""
        ...


@runtime_checkable
class CountsTokens(Protocol):
    """A provider that has its model's tokenizer at hand, so that long texts are known before they are embedded."""

    @property
    def max_tokens(self) -> int | None:
        """How many tokens of a text the model reads; None where it does not say."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, those included that the model adds to every text."""
        ...
