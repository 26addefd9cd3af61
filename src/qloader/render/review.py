"""What a review shows beside a plan's changes: what it will cost, what came of its policies, why it is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qloader.counting import counted
from qloader.planning.estimates import Estimate, Share, estimate_plan, format_cost
from qloader.planning.plan import RESULTS, PlanWarning, PolicyResult
from qloader.render.escape import escape_controls
from qloader.render.wording import explain_index_action, explain_selection, plan_line, shown_warnings

if TYPE_CHECKING:
    from qloader.errors import GuardError
    from qloader.planning.plan import PlanHeader

_NAMED = 10
"""Policies of one result that are named before the rest is counted."""


@dataclass(frozen=True, slots=True)
class Review:
    """What is known of a plan where it is shown.

    Attributes:
        estimate: What an apply will cost; None where nothing is to be embedded.
        policies: What came of the policies, by name.
        warnings: What policies warn of that rest on a price, and so are not in the plan.
        refusal: Why the plan may not be applied, from guards and policies; None where it may.
    """

    estimate: Estimate | None = None
    policies: tuple[PolicyResult, ...] = ()
    warnings: tuple[PlanWarning, ...] = ()
    refusal: GuardError | None = None

    @classmethod
    def of_file(cls, header: PlanHeader) -> Review:
        """What a plan file alone can say: no prices, no past runs."""
        return cls(estimate_plan(header), header.policies)


@dataclass(frozen=True, slots=True)
class Note:
    """What a reviewer should know before the totals: a sentence, and what stands before it in bold."""

    kind: Literal["warning", "index", "other", "estimate"]
    sentence: str
    label: str = ""


def find_notes(header: PlanHeader, review: Review) -> list[Note]:
    """The notes of a plan in plain text, in the order that they are read in."""
    warnings = [f"{warning_subject(one)}: {one.message}" for one in (*shown_warnings(header), *review.warnings)]
    if header.allowed_deletes:
        warnings.append(f"deletes allowed past the guards: {', '.join(header.allowed_deletes)}")
    notes = [Note("warning", warning, "Warning: ") for warning in warnings]
    if sentence := explain_selection(header):
        notes.append(Note("warning", sentence))
    if sentence := explain_index_action(header):
        notes.append(Note("index" if header.index.action == "create" else "warning", sentence))
    if sentence := describe_policies(review.policies, is_empty=header.is_empty):
        notes.append(Note("other", sentence))
    if review.estimate is not None:
        notes.append(Note("estimate", describe_estimate(review.estimate)))
    return notes


def only_line(header: PlanHeader, review: Review) -> str | None:
    """All that there is to say of a plan that changes nothing; None where there is more.

    Most runs end here: whoever shows this line need not load what tables and colours are made with.
    """
    if not header.is_empty or find_notes(header, review):
        return None
    return plan_line(header.summary, header.index.action, is_partial=header.selection is not None)


def describe_estimate(estimate: Estimate, quote: Callable[[str], str] = escape_controls) -> str:
    """An estimate as a sentence that says that it is one.

    Args:
        estimate: The estimate.
        quote: Makes an embedder's name safe to show.
    """
    from qloader.documents.reading import human_size

    shares = [_describe_share(share, estimate, quote) for share in estimate.shares]
    without = [quote(share.name) for share in estimate.shares if share.bytes is None]
    size = f"about {human_size(_rounded(estimate.bytes))} in Qdrant"
    parts = [
        counted(estimate.characters, "character"),
        *_describe_spared(estimate),
        *shares,
        f"{size} without the vectors of {', '.join(without)}" if without else size,
    ]
    if estimate.seconds is not None:
        runs = "the last run" if estimate.runs == 1 else f"the last {counted(estimate.runs, 'run')}"
        parts.append(f"about {_describe_time(estimate.seconds)} at the pace of {runs}")
    return f"Estimate: {'; '.join(parts)}."


def describe_policies(
    results: Sequence[PolicyResult], quote: Callable[[str], str] = escape_controls, *, is_empty: bool = False
) -> str:
    """What came of all policies, as a sentence: how many passed and which; empty where there is nothing to tell.

    Args:
        results: By name.
        is_empty: Whether the plan changes nothing, so that what passed says nothing.
        quote: Makes a name safe to show.
    """
    if is_empty and all(policy.result == "passed" for policy in results):
        return ""
    words = {"allowed": "passed by --allow"}
    parts = []
    for result in RESULTS:
        names = [policy.name for policy in results if policy.result == result]
        if names:
            more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
            parts.append(f"{len(names):,} {words.get(result, result)} ({', '.join(map(quote, names[:_NAMED]))}{more})")
    return f"Policies: {', '.join(parts)}." if parts else ""


def warning_subject(warning: PlanWarning) -> str:
    """What a warning is about: a source, or a policy."""
    match warning.kind:
        case "policy":
            return f"policy {warning.source}"
        case "policy allowed":
            return f"policy {warning.source}, passed by --allow"
        case _:
            return warning.source


def _describe_spared(estimate: Estimate) -> list[str]:
    """What is not paid for: `14 chunks to embed, 3 cached, 2 repeated`; nothing where nothing is known of it."""
    said = [] if estimate.cached is None else [f"{estimate.cached:,} cached"]
    if estimate.repeated:
        said.append(f"{estimate.repeated:,} repeated")
    return [", ".join([f"{counted(estimate.points, 'chunk')} to embed", *said])] if said else []


def _describe_share(share: Share, estimate: Estimate, quote: Callable[[str], str]) -> str:
    tokens = f"about {counted(share.tokens, 'token')} for {quote(share.name)}"
    return tokens if share.cost is None else f"{tokens}, about {format_cost(share.cost, estimate.currency)}"


def _describe_time(seconds: float) -> str:
    if seconds < 1.5:
        return "1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def _rounded(count: int) -> int:
    """Two digits: more would say that more is known."""
    digits = max(len(str(count)) - 2, 0)
    return round(count, -digits)
