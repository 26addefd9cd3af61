"""Policies: the config's own rules for plans. Checked where the guards are, before anything is written.

A policy looks at the changes as they stream by and keeps counts and a few examples, so that a million of them need no
memory. What it found is told in sentences; what follows from them is its effect.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol

from qloader.counting import counted
from qloader.errors import GuardError
from qloader.planning.estimates import Estimate, format_cost
from qloader.planning.plan import Change, Effect, PlanHeader, PlanWarning, PolicyResult, Result
from qloader.planning.selecting import match_documents

EXAMPLES = 5
"""Documents that a finding names."""

FINDINGS = 1_000
"""Findings that a custom policy is asked for, at most: one that never ends finds no more than this."""

FINDINGS_TOLD = 20
"""Of a custom policy."""

_LONGEST = 300
"""Characters of a name or a finding, at most: they end up in the plan."""

_BRINGS_TEXT = frozenset({"create", "update", "move"})


class CustomPolicy(Protocol):
    """A policy of another package: the function that an entry point of the group `qloader.policies` leads to."""

    def __call__(self, header: PlanHeader, changes: Iterator[Change], options: Mapping[str, Any], /) -> Iterable[str]:
        """Looks at a plan.

        It must be pure: the same plan, the same findings, since apply asks again.

        Args:
            header: The plan without its changes; it has no digest yet, and says nothing of policies.
            changes: Its changes in their order, once, streamed; only those of the policy's `sources`, where it has any.
            options: The policy's `options` in the config.

        Returns:
            What it finds, a sentence each; nothing where the plan may pass.
        """
        ...


@dataclass(frozen=True, slots=True)
class Policy:
    """One of the config's `policies`; a limit that is None is no limit. Without any it finds every change.

    Attributes:
        name: Its name.
        effect: What follows where it finds something.
        sources: The sources that it is about; empty for all.
        max_deletes: Documents that may be deleted.
        max_updates: Documents that may be updated.
        max_embeds: Chunks that may be embedded.
        max_cost: What embedding may cost.
        max_document_size: Bytes of a document that is created, updated or moved.
        forbidden_paths: Patterns of ids and addresses that may not be created, updated or moved to.
        required_metadata: Keys that such documents must have.
        custom: Another package's policy.
        options: What that one is told.
    """

    name: str
    effect: Effect = "deny"
    sources: frozenset[str] = frozenset()
    max_deletes: int | None = None
    max_updates: int | None = None
    max_embeds: int | None = None
    max_cost: float | None = None
    max_document_size: int | None = None
    forbidden_paths: tuple[str, ...] = ()
    required_metadata: tuple[str, ...] = ()
    custom: CustomPolicy | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def finds_every_change(self) -> bool:
        """Whether it names sources alone."""
        limits = (self.max_deletes, self.max_updates, self.max_embeds, self.max_cost, self.max_document_size)
        return not self.forbidden_paths and not self.required_metadata and (*limits, self.custom) == (None,) * 6


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy found in a plan.

    Attributes:
        policy: The policy.
        result: What follows.
        findings: What it found, a sentence each.
    """

    policy: Policy
    result: Result
    findings: tuple[str, ...] = ()

    @property
    def rests_on_price(self) -> bool:
        """Whether another price would have given another outcome: then it is no part of the plan."""
        return self.policy.max_cost is not None

    def as_result(self) -> PolicyResult:
        """The outcome as a plan records it."""
        return PolicyResult(self.policy.name, self.policy.effect, self.result, self.policy.required_metadata)

    def warnings(self) -> Iterator[PlanWarning]:
        """What a reviewer should know of a plan that passes all the same."""
        if self.result in ("warned", "allowed"):
            kind = "policy" if self.result == "warned" else "policy allowed"
            yield from (PlanWarning(self.policy.name, kind, finding) for finding in self.findings)


def required_metadata(policies: Iterable[Policy]) -> tuple[str, ...]:
    """The keys that any policy requires, sorted."""
    return tuple(sorted({key for policy in policies for key in policy.required_metadata}))


class PolicyTally:
    """What all policies see of a plan, change by change."""

    def __init__(self, policies: Sequence[Policy], looked_for: Iterable[str] | None = None) -> None:
        """Begins to count.

        Args:
            policies: The config's.
            looked_for: The metadata keys that the plan tells of; all that are required where None.

        Raises:
            ConfigError: A pattern is invalid, or can never match anything.
        """
        known = frozenset(required_metadata(policies) if looked_for is None else looked_for)
        self._tallies = [_Tally(policy, known) for policy in sorted(policies, key=lambda policy: policy.name)]

    def count(self, change: Change) -> None:
        """Looks at one change."""
        for tally in self._tallies:
            if not tally.policy.sources or change.source in tally.policy.sources:
                tally.count(change)

    def conclude(
        self,
        header: PlanHeader,
        changes: Callable[[], Iterator[Change]],
        *,
        estimate: Estimate | None = None,
        allowed: Iterable[str] = (),
    ) -> tuple[Outcome, ...]:
        """What each policy found, by name.

        Args:
            header: The plan without its changes.
            changes: Reads the changes once more, for custom policies.
            estimate: What an apply will cost.
            allowed: Policies that `--allow` named for this plan.
        """
        passes = frozenset(allowed)
        plain = replace(header, warnings=_without_policies(header.warnings), policies=(), digest="")
        return tuple(tally.conclude(plain, changes, estimate, passes) for tally in self._tallies)


def check_policies(outcomes: Iterable[Outcome]) -> None:
    """Refuses a plan that a policy denies.

    Raises:
        GuardError: Names every policy that denies it, with what it found.
    """
    denied = [outcome for outcome in outcomes if outcome.result == "denied"]
    if denied:
        found = [f"{outcome.policy.name}: {finding}" for outcome in denied for finding in outcome.findings]
        raise GuardError(
            "refused by a policy, nothing was changed:", found=found, remedy=_way_past([o.policy for o in denied])
        )


def record_outcomes(header: PlanHeader, outcomes: Sequence[Outcome]) -> PlanHeader:
    """The header with what came of the policies, but of those that rest on a price."""
    kept = [outcome for outcome in outcomes if not outcome.rests_on_price]
    return replace(
        header,
        policies=tuple(outcome.as_result() for outcome in kept),
        warnings=(*header.warnings, *(warning for outcome in kept for warning in outcome.warnings())),
    )


class _Tally:
    """What one policy sees."""

    def __init__(self, policy: Policy, looked_for: frozenset[str]) -> None:
        self.policy = policy
        self._unknown = [key for key in policy.required_metadata if key not in looked_for]
        self._deletes = self._updates = self._embeds = self._changes = self._texts = 0
        self._forbidden, self._large, self._lacking = _Found(), _Found(), _Found()
        patterns = policy.forbidden_paths
        self._is_forbidden = match_documents("forbidden_paths", patterns) if patterns else None

    def count(self, change: Change) -> None:
        policy = self.policy
        self._deletes += change.action == "delete"
        self._updates += change.action == "update"
        self._changes += change.action != "repair"
        self._embeds += change.chunks.add
        if change.action not in _BRINGS_TEXT or change.after is None:
            return
        self._texts += 1
        if self._is_forbidden is not None and self._is_forbidden(change.id, change.address):
            self._forbidden.add(change)
        if policy.max_document_size is not None and change.after.bytes > policy.max_document_size:
            self._large.add(change, _size(change.after.bytes))
        if lacks := [key for key in policy.required_metadata if key in change.after.lacks]:
            self._lacking.add(change, ", ".join(lacks))

    def conclude(
        self,
        header: PlanHeader,
        changes: Callable[[], Iterator[Change]],
        estimate: Estimate | None,
        passes: frozenset[str],
    ) -> Outcome:
        policy = self.policy
        findings = [*self._limits(estimate), *self._documents()]
        if policy.custom is not None:
            more, failure = _ask(policy, policy.custom, header, changes)
            if failure:
                return Outcome(policy, "denied", (failure,))
            findings += more
        if not findings:
            return Outcome(policy, "passed")
        result: Result = "denied"
        if policy.effect == "warn":
            result = "warned"
        elif policy.effect == "require_allow" and policy.name in passes:
            result = "allowed"
        return Outcome(policy, result, tuple(findings))

    def _limits(self, estimate: Estimate | None) -> Iterator[str]:
        policy = self.policy
        if policy.finds_every_change and self._changes:
            yield f"{counted(self._changes, 'document')} of {', '.join(sorted(policy.sources))} would change"
        if policy.max_deletes is not None and self._deletes > policy.max_deletes:
            yield f"{counted(self._deletes, 'document')} would be deleted; max_deletes is {policy.max_deletes:,}"
        if policy.max_updates is not None and self._updates > policy.max_updates:
            yield f"{counted(self._updates, 'document')} would be updated; max_updates is {policy.max_updates:,}"
        if policy.max_embeds is not None and self._embeds > policy.max_embeds:
            yield f"{counted(self._embeds, 'chunk')} would be embedded; max_embeds is {policy.max_embeds:,}"
        cost = estimate.full_cost if estimate is not None else None
        if policy.max_cost is not None and estimate is not None and cost is not None and cost > policy.max_cost:
            limit = format_cost(policy.max_cost, estimate.currency)
            yield f"embedding would cost about {format_cost(cost, estimate.currency)}; max_cost is {limit}"

    def _documents(self) -> Iterator[str]:
        policy = self.policy
        if self._forbidden.count:
            yield f"{counted(self._forbidden.count, 'document')} on a forbidden path: {self._forbidden}"
        if self._large.count and policy.max_document_size is not None:
            limit = _size(policy.max_document_size)
            yield f"{counted(self._large.count, 'document')} larger than {limit}: {self._large}"
        if self._lacking.count:
            yield f"{counted(self._lacking.count, 'document')} without required metadata: {self._lacking}"
        if self._unknown and self._texts:
            keys = ", ".join(self._unknown)
            yield f"the plan does not say whether documents have {keys}: it is older than the policy"


class _Found:
    """Documents that a policy finds: how many, and the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self._examples: list[str] = []

    def add(self, change: Change, why: str = "") -> None:
        self.count += 1
        if len(self._examples) < EXAMPLES:
            self._examples.append(_line(change.address) + (f" ({why})" if why else ""))

    def __str__(self) -> str:
        more = f" and {self.count - len(self._examples):,} more" if self.count > len(self._examples) else ""
        return ", ".join(self._examples) + more


def _ask(
    policy: Policy, custom: CustomPolicy, header: PlanHeader, changes: Callable[[], Iterator[Change]]
) -> tuple[list[str], str]:
    """What a custom policy finds; or why that cannot be known, which refuses the plan whatever its effect."""
    chosen = (change for change in changes() if not policy.sources or change.source in policy.sources)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what it prints is for people; programs read our stdout
            answer = custom(header, chosen, dict(policy.options))
            if isinstance(answer, str) or not isinstance(answer, Iterable):
                gave = type(answer).__name__
                raise TypeError(f"it gave {gave}, and a list of sentences was expected")  # noqa: TRY301 - told like its own
            found = list(islice(answer, FINDINGS))
        odd = {type(one).__name__ for one in found if not isinstance(one, str)}
        if odd:
            raise TypeError(f"it found {', '.join(sorted(odd))}, and sentences were expected")  # noqa: TRY301
    except (Exception, SystemExit) as error:  # one that ends the program would let its plan pass
        failure = f"the policy could not be checked: {type(error).__name__}: {error}"
        return [], _line(failure)
    told = [_line(finding) for finding in found[:FINDINGS_TOLD]]
    if len(found) > FINDINGS_TOLD:
        more = len(found) - FINDINGS_TOLD
        told.append(f"and {'at least ' if len(found) == FINDINGS else ''}{counted(more, 'more finding')}")
    return told, ""


def _way_past(policies: Sequence[Policy]) -> str:
    flags = " ".join(f"--allow {policy.name}" for policy in policies if policy.effect == "require_allow")
    keys = " and ".join(f"policies.{policy.name}" for policy in policies if policy.effect != "require_allow")
    planned = f"plan again with {flags}, which the plan records for its reviewer" if flags else "plan again"
    return f"Put right what was found. If it is meant, {f'change {keys} in the config and ' if keys else ''}{planned}."


def _without_policies(warnings: Iterable[PlanWarning]) -> tuple[PlanWarning, ...]:
    return tuple(warning for warning in warnings if not warning.kind.startswith("policy"))


def _size(count: int) -> str:
    from qloader.documents.reading import human_size

    return human_size(count)


def _line(text: str) -> str:
    """One line of at most so many characters: names and findings are a stranger's."""
    words = " ".join(text[: 4 * _LONGEST].split())
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
