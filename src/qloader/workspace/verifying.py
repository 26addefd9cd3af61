"""Verifying a plan: it is made again, with the request that it records, and compared."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from qloader.errors import ConfigError, StalePlanError
from qloader.planning.compare import Difference, compare_plans, describe_moved_on
from qloader.planning.plan import Plan
from qloader.planning.planner import DESTROYED, DRIFTED, STRAY
from qloader.render.progress import Progress
from qloader.workspace.planning import PlanRequest, make_plan
from qloader.workspace.settings import Settings
from qloader.workspace.since import parse_since

KEPT = 1_000
"""Differences that are kept; more are only counted, so that no plan is too large to be verified."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether a plan is still what would be planned.

    Attributes:
        plan: The digest of the plan.
        now: The digest of the plan that would be made now.
        count: How many differences there are.
        differences: The first of them, in a plan's order; those of the header come first.
        notes: What moved on without making a difference, one sentence each.
    """

    plan: str
    now: str
    count: int
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """True where the plan is what would be planned."""
        return not self.count


def verify_plan(settings: Settings, plan: Plan, *, progress: Progress | None = None) -> Verification:
    """Plans again, as the plan was asked for, and compares.

    Raises:
        StalePlanError: The plan is not for this config at all: it lacks one of its sources or policies.
        QloaderError: See `workspace.planning.make_plan`.
    """
    request = request_again(plan, settings.config.sources)
    with TemporaryDirectory(prefix="qloader-verify-") as folder:
        try:
            ours = make_plan(settings, request, Path(folder) / "plan.json", progress=progress).plan
        except ConfigError as error:
            raise StalePlanError(
                f"the plan cannot be made again: {error}",
                remedy="Use the config that the plan was made with (-c), or plan again.",
            ) from error
        count = 0
        kept: list[Difference] = []
        for difference in compare_plans(plan, ours):
            count += 1
            if len(kept) < KEPT:
                kept.append(difference)
        notes = tuple(describe_moved_on(plan.header, ours.header))
        return Verification(plan.header.digest, ours.header.digest, count, tuple(kept), notes)


def request_again(plan: Plan, configured: Collection[str]) -> PlanRequest:
    """What a plan was asked for, as its file tells.

    Args:
        plan: The plan.
        configured: The names of the config's sources.
    """
    header = plan.header
    names = {source.name for source in header.sources}
    reasons: set[str] = set()
    for change in plan.changes():
        names.add(change.source)
        reasons.add(change.reason)
    # Only a plan of all sources plans those away that left the config; where none has, to name all asks for the same.
    is_whole = not names <= set(configured)
    if DESTROYED in reasons:
        return PlanRequest(destroy=True)  # which allows whatever it needs by itself
    return PlanRequest(
        sources=None if is_whole else tuple(sorted(names)),
        allow_deletes=header.allowed_deletes,
        allow=header.allowed_policies,
        refresh=not reasons.isdisjoint((DRIFTED, STRAY)),
        since=parse_since(header.since) if header.since else None,
        selection=None if header.selection is None else replace(header.selection, left_out=0),
        is_repeated=True,
    )
