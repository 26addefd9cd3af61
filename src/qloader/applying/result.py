"""What an apply did, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field

from qloader.state.records import FailureRecord


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

    @property
    def is_complete(self) -> bool:
        """True where every change of the plan is in the index now."""
        return not self.failures
