"""What an apply did, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field

from qloader.state.records import FailureRecord


@dataclass(frozen=True, slots=True)
class DenseWork:
    """What the dense vectors of an apply took.

    Attributes:
        requests: Requests to the provider, those included that were sent again.
        texts: Texts that it embedded.
        tokens: What it counted; 0 where it does not say.
        cached: Texts whose vectors the embedding cache had.
        shortened: Texts that were over the model's limit, and were split or cut.
    """

    requests: int = 0
    texts: int = 0
    tokens: int = 0
    cached: int = 0
    shortened: int = 0


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """The outcome of one apply.

    Attributes:
        created: Documents created.
        updated: Documents updated.
        moved: Documents moved.
        deleted: Documents deleted.
        repaired: Documents repaired.
        already: Changes that an earlier, interrupted apply of the same plan had done.
        embedded: Chunks embedded.
        failures: Documents left as they were, and why.
        serial: The state's serial afterwards.
        dense: What the dense vectors took; None where the config asks for none, or nothing had to be embedded.
        settings: What was changed of how the collection is kept, a sentence each.
    """

    created: int = 0
    updated: int = 0
    moved: int = 0
    deleted: int = 0
    repaired: int = 0
    already: int = 0
    embedded: int = 0
    failures: tuple[FailureRecord, ...] = field(default=())
    serial: int = 0
    dense: DenseWork | None = None
    settings: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """True where every change of the plan is in the index now."""
        return not self.failures
