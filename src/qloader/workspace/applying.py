"""Applying a plan: checks, the lock, the run's record, the executor."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from qloader.applying.events import Finished, Listener, Started, tell_nobody
from qloader.applying.preconditions import (
    check_config,
    check_pipeline,
    check_state,
    check_vectors,
    find_resumable,
)
from qloader.applying.result import ApplyResult
from qloader.errors import StalePlanError
from qloader.index.collection_settings import FIXED, check_fixed, find_differences
from qloader.index.protocol import CollectionInfo, Index
from qloader.planning.estimates import estimate_plan
from qloader.planning.guards import SourceTally, check_guards, find_refusal
from qloader.planning.plan import Plan, PlanHeader
from qloader.planning.policies import PolicyTally, check_policies
from qloader.render.progress import NoProgress, Progress
from qloader.state.records import Lease, SourceRecord, StateHeader, count_held
from qloader.state.store import StateStore
from qloader.workspace.identities import is_stranger
from qloader.workspace.ownership import check_files, check_ours
from qloader.workspace.planning import describe_embedded
from qloader.workspace.replacing import (
    Replacement,
    is_to_replace,
    remove_collection,
    remove_state,
    remove_strangers,
    see_to_target,
    settle,
)
from qloader.workspace.rolling_back import remove_kept
from qloader.workspace.running import Making, Run, header_of, prune, retyped
from qloader.workspace.settings import Settings


def apply_plan(
    settings: Settings,
    plan: Plan,
    *,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    lease: Lease | None = None,
    listener: Listener = tell_nobody,
    at_present: bool = False,
) -> ApplyResult:
    """Makes the index match, exactly as the plan says.

    Args:
        settings: The config and what follows from it.
        plan: The plan, as read by `planning.planfile.read_plan`.
        progress: Told what goes on.
        should_stop: Asked at each batch edge; True stops there.
        lease: The lease on the state, if this process holds it already; it is given back at the end.
        listener: Told of each document and each batch, see `applying.events`.
        at_present: Read documents as their sources are now, not at the planned revision. Each still has to be as
            planned.

    Raises:
        StalePlanError: The plan was made for another config or rests on another state.
        GuardError: The plan does more than the guards and policies allow.
        LockedError: Another writer holds the state, or took it meanwhile; nothing was written after that.
        ForeignIndexError: The collection is not this state's, or gone.
        InterruptedRunError: `should_stop` said so; what was committed stays.
        QloaderError: Anything else; what was committed stays, and the same plan goes on from there.
    """
    result = _apply(settings, plan, progress or NoProgress(), should_stop, lease, listener, at_present)
    listener(Finished(result))
    return result


def _apply(
    settings: Settings,
    plan: Plan,
    progress: Progress,
    should_stop: Callable[[], bool],
    lease: Lease | None,
    listener: Listener,
    at_present: bool,
) -> ApplyResult:
    header = plan.header
    check_fits_config(settings, header)
    with (
        settings.write_state() as state,
        contextlib.closing(settings.open_index(guard=state.confirm, is_patient=True)) as index,
    ):
        state.lock(lease)
        known = state.header()
        check_state(known, settings.here)
        resumable = find_resumable(header, known, state)
        records = {source.name: source for source in state.sources()}
        replaces = is_to_replace(settings, header.index.action, state, known)
        if not replaces and settle(settings, state, index):
            raise StalePlanError(
                "an apply that was cut short was ended first, and the state is another by now", remedy="Plan again."
            )
        see_to_target(settings, index, known)
        info = _look(settings, index, without_engine=replaces or header.is_empty)
        documents = count_held(records.values())
        check_ours(settings, info, known, documents=documents)
        check_pipeline(info, settings.here)
        if not replaces:  # a new collection is made as the config says
            _check_settings(settings, index, info)
        is_resumed = resumable is not None
        if resumable is not None and resumable.status == "complete":
            _tell_begin(listener, header, is_resumed=True)
            changed = _bring_in_line(settings, index, info)
            return ApplyResult(already=header.summary.changes, serial=resumable.last_serial, settings=changed)
        if not is_resumed:
            _check_guards(settings, plan, records)
        if known is not None and not replaces:
            _clear(settings, state, index, known)
        if header.is_empty:
            _tell_begin(listener, header, is_resumed=is_resumed)
            changed = _bring_in_line(settings, index, info)
            return replace(_record_unchanged(settings, state, known, header), settings=changed)
        with settings.embedders() as embedders:
            how = {"is_resumed": is_resumed, "at_present": at_present}
            if replaces:
                replacement = Replacement(settings, plan, state, index, embedders, **how)
                _tell_begin(listener, header, is_resumed=is_resumed)
                return replacement.carry_out_beside(progress, should_stop, listener)
            run = Run(settings, plan, state, index, embedders, **how)
            making = _find_making(settings, header, info, partial(embedders.dense_size, run.first_text))
            _tell_begin(listener, header, is_resumed=is_resumed)
            changed = () if making else _bring_in_line(settings, index, info, is_bulk=run.is_bulk)
            result = run.carry_out(progress, should_stop, listener, making)
            if known is not None and known.replaced and not any(source.documents for source in state.sources()):
                remove_kept(settings, state, index, header_of(state))  # all that qloader put there
            return replace(result, settings=changed)


def _look(settings: Settings, index: Index, *, without_engine: bool) -> CollectionInfo | None:
    """What is there.

    Args:
        settings: The config and what follows from it.
        index: The index.
        without_engine: Look only at what an embedded index says of itself in its small file, so that searches go on,
            and nothing is loaded where nothing is written.
    """
    if not without_engine or settings.embedded_path is None:
        return index.describe()
    info = describe_embedded(settings)
    if info is not None:
        check_files(settings)
    return info


def _clear(settings: Settings, state: StateStore, index: Index, known: StateHeader) -> None:
    """Removes a collection that was begun in the place of the live one, and is not wanted any more; and strangers."""
    if known.replacement:
        remove_collection(settings, known.replacement, known.lineage, guard=state.confirm)
        state.note(replacement="", replacement_token="")
        known = replace(known, replacement="")
    remove_state(settings.replacement_state)
    if not known.replaced:
        remove_state(settings.replaced_state)
    remove_strangers(settings, index, known, guard=state.confirm)


def _check_settings(settings: Settings, index: Index, info: CollectionInfo | None) -> None:
    """Refuses settings that the collection that is there can never have, before anything is written.

    Raises:
        ConfigError: The config says another number of shards, or another datatype.
    """
    wanted = settings.config.index.settings.given
    if info is not None and not info.is_shared and not FIXED.isdisjoint(wanted):
        check_fixed(
            find_differences(index.settings(), wanted), collection=settings.collection, state=settings.state_name
        )


def _bring_in_line(
    settings: Settings, index: Index, info: CollectionInfo | None, *, is_bulk: bool = False
) -> tuple[str, ...]:
    """Has a collection that is there kept as the config says; asks nothing where the config says nothing.

    Args:
        settings: The config and what follows from it.
        index: The index.
        info: What the collection says of itself; None where there is none.
        is_bulk: Whether a bulk load follows, which would postpone again what is resumed here.

    Returns:
        What was changed, a sentence each.
    """
    if info is None:
        return ()
    wanted = settings.config.index.settings.given
    changed = [one.as_change for one in index.change_settings(wanted)] if wanted else []
    if info.is_postponed and not is_bulk:
        index.resume_indexing()
        changed.append("Resumed the indexing that a bulk load had postponed, which was cut short.")
    return tuple(changed)


def _tell_begin(listener: Listener, header: PlanHeader, *, is_resumed: bool) -> None:
    listener(Started(header, is_resumed))
    for warning in header.warnings:
        listener(warning)


def _find_making(
    settings: Settings, header: PlanHeader, info: CollectionInfo | None, dense_size: Callable[[], int | None]
) -> Making | None:
    """What has to be made before points can be written; None where the collection is there and takes the vectors.

    Args:
        settings: The config and what follows from it.
        header: The plan's.
        info: What the collection says of itself; None where there is none.
        dense_size: Tells how long dense vectors are; asked where that matters only, since it may have to be paid for.

    Raises:
        ForeignIndexError: The collection that is there does not take them.
        EmbeddingError: The provider, which alone knows how long its vectors are, cannot be asked.
    """
    if info is None:
        return Making(dense_size())
    if not header.summary.chunks_embed:
        return None
    # What was emptied may be of another model by now, whose vectors are as long as they are.
    if header.index.action == "none" and settings.has_dense == bool(info.dense) and (info.points or not info.dense):
        return None
    size = dense_size()
    if not info.points and info.dense != size and not info.is_shared:
        return Making(size, is_anew=True)
    check_vectors(info, size, collection=settings.collection)
    return None


def check_fits_config(settings: Settings, header: PlanHeader) -> None:
    """Refuses a plan that was made for another config.

    Raises:
        StalePlanError: Names what differs.
    """
    config = settings.config
    check_config(header, settings.here)
    for source in header.sources:
        named = config.sources.get(source.name)
        found = named.type if named else "missing"
        if found != source.type and (named or source.documents):
            raise StalePlanError(
                f"source {source.name} is of type {source.type} in the plan, and {found} in the config",
                remedy="Use the config that the plan was made with (-c), or plan again.",
            )


def _check_guards(settings: Settings, plan: Plan, records: Mapping[str, SourceRecord]) -> None:
    tallies = {name: SourceTally(record.documents) for name, record in records.items()}
    header = plan.header
    looked_for = [key for policy in header.policies for key in policy.required_metadata]
    policy_tally = PolicyTally(settings.policies(), looked_for)
    for change in plan.changes():
        tallies.setdefault(change.source, SourceTally(0)).count(change)
        policy_tally.count(change)
    estimate = estimate_plan(header, settings.prices)
    outcomes = policy_tally.conclude(header, plan.changes, estimate=estimate, allowed=header.allowed_policies)
    empty = [source.name for source in header.sources if source.complete and not source.documents]
    named = [source.name for source in header.sources if source.name in settings.config.sources]
    strangers = [name for name in named if is_stranger(settings.open_source(name), records.get(name))]
    guards = partial(
        check_guards,
        tallies,
        settings.limits,
        allowed=header.allowed_deletes,
        empty=empty,
        strangers=strangers,
        retyped=retyped(header, records),
    )
    if refusal := find_refusal(guards, partial(check_policies, outcomes)):
        raise refusal


def _record_unchanged(
    settings: Settings, state: StateStore, known: StateHeader | None, header: PlanHeader
) -> ApplyResult:
    if known is None:
        return ApplyResult()
    whole = [] if header.selection else [source for source in header.sources if source.complete]
    state.record_unchanged(header.digest, {source.name: source.revision for source in whole}, {})
    prune(settings, state)
    return ApplyResult(serial=known.serial)
