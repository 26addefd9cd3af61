"""Making a plan: snapshots of the sources, compared with the state. Writes the cache and the plan file only."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qloader.applying.preconditions import check_state, check_target
from qloader.documents.document import SKIP_REASONS
from qloader.documents.hashing import EMPTY_ROOT
from qloader.errors import ConfigError, ForeignIndexError, GuardError, QloaderError, SourceError, StalePlanError
from qloader.manifest.cache import Cache
from qloader.manifest.manifest import Manifest
from qloader.manifest.snapshot import take_snapshot
from qloader.planning.diff import Scope, find_differences
from qloader.planning.estimates import NOTHING_SPARED, Estimate, Spared, estimate_plan
from qloader.planning.guards import SourceTally, check_guards, find_refusal
from qloader.planning.plan import (
    ACTIONS,
    Base,
    IndexAction,
    IndexTarget,
    PlanHeader,
    PlanSelection,
    PlanWarning,
    SourceSummary,
    Summary,
)
from qloader.planning.planfile import ChangesFile, FilePlan
from qloader.planning.planner import PlannedChange, Rules, plan_changes
from qloader.planning.policies import Outcome, PolicyTally, check_policies, record_outcomes, required_metadata
from qloader.planning.selecting import Choice
from qloader.render.progress import NoProgress, Progress
from qloader.sources.protocol import MeetsUnknown, Rereads
from qloader.state.reader import StateReader
from qloader.state.records import IntentRecord, Pace, SourceRecord, StateHeader
from qloader.workspace.applied import find_reusable
from qloader.workspace.identities import is_stranger
from qloader.workspace.ownership import check_files, check_ours
from qloader.workspace.settings import Settings
from qloader.workspace.since import Since, list_since
from qloader.workspace.targets import check_targets

if TYPE_CHECKING:
    from qloader.embedding.known import KnownTexts
    from qloader.index.protocol import CollectionInfo

UNKNOWN_NAMED = 20
OTHERS_NAMED = 5

_NOTHING = "Nothing was changed."
"""What a source cannot say of its own failure: during an apply it would not be true."""


def _watch_nothing(_: PlannedChange) -> None:
    """For who needs nothing but the plan."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What a plan is asked for.

    Attributes:
        sources: Names of the sources to plan; None means all, and only then are sources that left the
            config planned away.
        use_cache: False hashes everything again.
        allow_deletes: Sources whose deletes pass the guards this once.
        allow: Policies that pass this once, where their effect is `require_allow`.
        destroy: Plan the removal of everything instead; only `guards.prevent_destroy` refuses it.
        refresh: Compare the index with the state first, and plan the repair of what drifted.
        since: Look only at what was changed from there on; nothing is deleted then.
        selection: Plan only some documents; what else differs is left to a later plan.
        is_repeated: Asked once more, to compare: a document that was selected by its address may be gone since.
    """

    sources: tuple[str, ...] | None = None
    use_cache: bool = True
    refresh: bool = False
    allow_deletes: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    destroy: bool = False
    since: Since | None = None
    selection: PlanSelection | None = None
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class PlanResult:
    """A plan and whether a guard or a policy refuses it.

    Attributes:
        plan: The plan, on disk.
        refusal: What they say; None where the plan may be applied.
        notes: What was seen while documents were read, one sentence each. Not in the plan, since it depends on what
            had to be read, and so on the cache.
        estimate: What an apply will cost; None where nothing is to be embedded.
        outcomes: What each policy found, by name.
    """

    plan: FilePlan
    refusal: GuardError | None
    notes: tuple[str, ...] = ()
    estimate: Estimate | None = None
    outcomes: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What the state says, read once, before the sources are looked at.

    `has_other_vectors`: whether some documents have vectors that the config's are not to be compared with.
    """

    header: StateHeader | None
    sources: dict[str, SourceRecord]
    intents: tuple[IntentRecord, ...]
    reusable: frozenset[str]
    pace: Pace | None = None
    has_other_vectors: bool = False


def make_plan(
    settings: Settings,
    request: PlanRequest,
    path: Path,
    *,
    progress: Progress | None = None,
    watch: Callable[[PlannedChange], None] = _watch_nothing,
) -> PlanResult:
    """Snapshots the sources, compares them with the state and writes the plan.

    Args:
        settings: The config and what follows from it.
        request: Which sources, and how.
        path: Where the plan file goes.
        progress: Told what goes on.
        watch: Told of each change as it is planned; of all of them anew where a cache turns out to be damaged.

    Raises:
        ConfigError: An unknown source or document was asked for, or a pattern is invalid.
        SourceError: A source cannot be listed.
        ForeignIndexError: The embedded index is another state's, or gone; or the config asks for other vectors than the
            collection can hold.
        StalePlanError: The state changed while the plan was made.
        StateError: The state is damaged, or that of another config.
        QloaderError: There is no room for a cache anywhere.
    """
    progress = progress or NoProgress()
    known = read_known(settings)
    check_state(known.header, settings.here)
    if request.refresh:
        known = _with_drift(settings, known, progress)
    names = [] if request.destroy else _selected(settings, request, known)
    _check_allowed(settings, request)
    if request.destroy:
        asking = (name for name, policy in settings.config.policies.items() if policy.effect == "require_allow")
        request = replace(request, allow_deletes=tuple(sorted(known.sources)), allow=tuple(sorted(asking)))
    documents = sum(source.documents for source in known.sources.values())
    check_embedded_marker(settings, known.header, documents)
    _check_embedded_target(settings, known.header)
    if _replaces(settings, request, known):
        _check_own(settings)
        _check_whole(settings, request, known)
    broken: Exception | None = None
    for cache in _caches(settings, request):
        try:
            with cache:
                return _plan_with(cache, settings, request, known, names, path, progress, watch)
        except QloaderError:
            raise
        except Exception as error:
            _check_unmoved(settings, known)  # what an apply changes underneath may fit together no more
            if not isinstance(error, sqlite3.Error):
                raise
            _check_state(settings)
            broken = error
    raise QloaderError(
        f"the sources cannot be compared with the state: {broken}",
        remedy=f"Free some space in {tempfile.gettempdir()}, or point TMPDIR at another place. {_NOTHING}",
    ) from broken


def _caches(settings: Settings, request: PlanRequest) -> Iterator[Cache]:
    """The cache, then ever emptier ones: it may be damaged, or its disk full, and only speed is lost with it."""
    # With `since` the manifest holds only what was listed: an empty cache, so that the plan depends on no other.
    if not request.destroy and request.since is None:
        if request.use_cache:
            yield Cache.open(settings.cache)
        yield Cache.open(settings.cache, fresh=True)
    yield Cache.empty()


def _check_state(settings: Settings) -> None:
    """Looks whether it is the state, and no cache, that cannot be read.

    Raises:
        StateError: It is damaged.
    """
    state = settings.read_state()
    if state is not None:
        with state:
            state.check()


def _plan_with(
    cache: Cache,
    settings: Settings,
    request: PlanRequest,
    known: Known,
    names: Sequence[str],
    path: Path,
    progress: Progress,
    watch: Callable[[PlannedChange], None],
) -> PlanResult:
    choice = None if request.selection is None else Choice.of(request.selection)
    policies = settings.policies()
    manifests, strangers, notes = _take_snapshots(settings, request, names, known, cache, progress)
    removed = _removed(settings, request, known)
    if request.selection is not None and not request.is_repeated:
        check_targets(settings, cache, request.selection.targets, (*settings.config.sources, *removed))
    scope = _scope(settings, request, manifests, removed, known)
    with contextlib.closing(ChangesFile()) as changes, contextlib.ExitStack() as stack:
        stack.enter_context(settings.recorder.span("compare"))
        state = settings.state if known.header else None
        differences = find_differences(cache.connection, cache.path, state, scope, choice)
        rules = Rules(
            pipeline=settings.pipeline.fingerprint,
            reusable=known.reusable,
            removed=frozenset(removed),
            retyped=scope.retyped,
            replaces=scope.replaces,
            is_destroy=request.destroy,
            required_metadata=required_metadata(policies),
            tenant=settings.tenant,
        )
        counts = dict.fromkeys(ACTIONS, 0)
        embed = keep = remove = characters = living = 0
        tallies = {name: SourceTally(record.documents) for name, record in known.sources.items()}
        policy_tally = PolicyTally(policies)
        held = stack.enter_context(_known_texts(settings))
        for planned in plan_changes(differences, rules):
            change = planned.change
            watch(planned)
            if held is not None:
                held.add([(chunk.hash, chunk.characters) for chunk in planned.embeds])
            changes.add(change)
            counts[change.action] += 1
            embed += change.chunks.add
            keep += change.chunks.keep
            remove += change.chunks.remove
            characters += planned.characters
            living += change.after is not None
            tallies.setdefault(change.source, SourceTally(0)).count(change)
            policy_tally.count(change)
        _check_unmoved(settings, known)
        summary = Summary(
            **counts,
            unchanged=sum(manifest.documents for manifest in manifests) - living - (choice.living if choice else 0),
            chunks_embed=embed,
            chunks_keep=keep,
            chunks_delete=remove,
            characters=characters,
        )
        header = _header(settings, request, manifests, removed, known, summary)
        if choice is not None and header.selection is not None:
            header = replace(
                header,
                selection=replace(header.selection, left_out=choice.left_out),
                warnings=(*header.warnings, *choice.warnings()),
            )
        estimate = estimate_plan(
            header,
            settings.prices,
            known.pace,
            dense=held.dim if held else None,
            spared=Spared(held.count, held.repeated, held.characters) if held else NOTHING_SPARED,
        )
        outcomes = policy_tally.conclude(header, changes.changes, estimate=estimate, allowed=request.allow)
        plan = changes.write_plan(path, record_outcomes(header, outcomes))
    empty = {m.source for m in manifests if m.complete and not m.documents} | set(removed)
    guards = partial(
        check_guards,
        tallies,
        settings.limits,
        allowed=request.allow_deletes,
        empty=empty,
        strangers=strangers,
        retyped=scope.retyped,
    )
    refusal = find_refusal(guards, partial(check_policies, outcomes))
    return PlanResult(plan, refusal, tuple(notes), estimate, outcomes)


def read_known(settings: Settings) -> Known:
    """Reads what planning needs of the state."""
    state = settings.read_state()
    if state is None:
        return Known(None, {}, (), frozenset({settings.pipeline.fingerprint}))
    with state:
        header, pipelines = state.header(), state.pipelines()
        return Known(
            header=header,
            sources={source.name: source for source in state.sources()},
            intents=tuple(state.intents()),
            reusable=find_reusable(settings, pipelines) | {settings.pipeline.fingerprint},
            pace=state.pace(settings.pipeline.fingerprint),
            has_other_vectors=header is not None and has_other_vectors(settings, state, header),
        )


def has_other_vectors(settings: Settings, state: StateReader, header: StateHeader) -> bool:
    """Whether some documents of a state still have vectors that the config's are not to be compared with."""
    return header.mixed and not state.used_pipelines() <= find_reusable(settings, state.pipelines())


def _known_texts(settings: Settings) -> contextlib.AbstractContextManager[KnownTexts | None]:
    """What the embedding cache holds already; None where the config has no dense vectors."""
    section = settings.config.embedding.dense
    if section is None:
        return contextlib.nullcontext()
    from qloader.embedding.known import KnownTexts

    return KnownTexts(settings.embedding_cache, section)


def _with_drift(settings: Settings, known: Known, progress: Progress) -> Known:
    """What the state says, and what in the index is otherwise; the state is only read."""
    from qloader.workspace.refreshing import look_for_drift

    state = settings.read_state()
    if state is None or known.header is None:
        return known
    with state:
        drift = look_for_drift(settings, state, progress=progress)
    for sentence in drift.settings:
        settings.tell(sentence)
    interrupted = {(i.source, i.document_id): i for i in known.intents if i.reason != "drift"}
    found = {(i.source, i.document_id): i for i in drift.intents()} | interrupted
    return replace(known, intents=tuple(found[key] for key in sorted(found)))


def check_embedded_marker(settings: Settings, header: StateHeader | None, documents: int) -> None:
    """Compares the embedded index's own small file with the state, and looks at those of the engine, without it.

    Raises:
        ForeignIndexError: The index is another state's, or gone.
        IndexUnavailableError: The engine could not open it.
    """
    if settings.embedded_path is not None:
        info = describe_embedded(settings)
        if info is None and header is not None and header.target:  # the next apply lets the name stand for that again
            info = describe_embedded(settings, header.target)
        check_ours(settings, info, header, documents=documents)
        if info is not None:
            check_files(settings)


def _check_embedded_target(settings: Settings, header: StateHeader | None) -> None:
    """Refuses to plan for an embedded collection that the state does not describe.

    Raises:
        ForeignIndexError: The name stands for another one.
    """
    from qloader.index.open import find_target, read_marker

    path = settings.embedded_path
    if path is None or read_marker(path, settings.collection) is None:
        return
    found = find_target(path, settings.collection)
    try:
        check_target(header, found)
    except ForeignIndexError:  # or an apply has switched since the state was read
        check_target(read_known(settings).header, found)


def describe_embedded(settings: Settings, target: str | None = None) -> CollectionInfo | None:
    """What the small file of an embedded index says of it; its vectors and points are not looked at.

    Args:
        settings: The config and what follows from it.
        target: A collection by its own name; what the config's name stands for where None.
    """
    from qloader.index.open import read_marker
    from qloader.index.protocol import CollectionInfo

    assert settings.embedded_path is not None
    marker = read_marker(settings.embedded_path, target or settings.collection, is_itself=target is not None)
    return CollectionInfo(marker.lineage, marker.pipeline, frozenset(), 0) if marker else None


def _selected(settings: Settings, request: PlanRequest, known: Known) -> list[str]:
    named = sorted(settings.config.sources)
    chosen = request.selection.sources if request.selection else None
    for name in request.sources or ():
        if name not in named:
            raise ConfigError(f"the config has no source {name}", remedy=f"It has: {', '.join(named)}.")
    for name in request.allow_deletes:
        if name not in named and name not in known.sources:
            raise ConfigError(
                f"--allow-deletes {name}: there is no such source", remedy=f"There is: {', '.join(named)}."
            )
    selected = sorted(set(request.sources)) if request.sources else named
    for name in sorted((chosen or frozenset()) & set(named)):
        if name not in selected:
            raise ConfigError(
                f"--target names a document of {name}, and --source leaves {name} out",
                remedy=f"Add --source {name}, or leave --source out.",
            )
    return [name for name in selected if chosen is None or name in chosen]


def _check_allowed(settings: Settings, request: PlanRequest) -> None:
    """Refuses an `--allow` that lets nothing pass, before anything is read."""
    policies = settings.config.policies
    for name in request.allow:
        if name not in policies:
            near = get_close_matches(name, policies, 1)
            known = f"It has: {', '.join(policies)}." if policies else "It has none."
            raise ConfigError(
                f"--allow {name}: the config has no such policy",
                remedy=f"Did you mean {near[0]}?" if near else known,
            )
        if (effect := policies[name].effect) != "require_allow":
            raise ConfigError(
                f"--allow {name}: the effect of this policy is {effect}, which no option lets pass",
                remedy=f"Leave --allow {name} out; with policies.{name}.effect: require_allow it would be needed.",
            )


def _take_snapshots(
    settings: Settings,
    request: PlanRequest,
    names: Sequence[str],
    known: Known,
    cache: Cache,
    progress: Progress,
) -> tuple[list[Manifest], set[str], list[str]]:
    """The manifests of the sources, which of these are another place than the one applied, and what to tell of them."""
    if not (set(names) < set(settings.config.sources)):
        cache.forget_others(settings.config.sources)
    manifests, strangers, notes = [], set(), []
    chunking = settings.chunking()
    for name in names:
        with (
            settings.recorder.span("snapshot", name),
            progress.phase(f"snapshot {name}", None) as phase,
            _saying_what_is_left(name, names),
        ):
            source, reader = settings.open_source(name), settings.reader(name)
            if not request.use_cache and isinstance(source, Rereads):
                source.reread()
            listing = None if request.since is None else partial(list_since, source, request.since)
            record = known.sources.get(name)
            if is_stranger(source, record):
                strangers.add(name)
            is_same = record is not None and record.type == source.type and name not in strangers
            with _holding(settings, name if is_same else None) as holds:
                manifests.append(
                    take_snapshot(
                        source, cache, chunking, advance=phase.advance, reader=reader, listing=listing, holds=holds
                    )
                )
            if isinstance(source, MeetsUnknown) and source.unknown:
                named = ", ".join(sorted(source.unknown)[:UNKNOWN_NAMED])
                notes.append(f"{name}: only the text was kept of what qloader cannot read yet: {named}")
    return manifests, strangers, notes


@contextlib.contextmanager
def _saying_what_is_left(name: str, names: Sequence[str]) -> Iterator[None]:
    """Where a source cannot be listed, the error says that all is as it was, and how to plan the others."""
    try:
        yield
    except SourceError as error:
        error.remedy = f"{error.remedy} {_NOTHING}".lstrip()
        others = [f"--source {other}" for other in names if other != name]
        if others:
            known = " ".join(others) if len(others) <= OTHERS_NAMED else "--source NAME"
            error.remedy += f" The others can be planned without it: {known}."
        raise


@contextlib.contextmanager
def _holding(settings: Settings, source: str | None) -> Iterator[Callable[[str], bool]]:
    """Whether the state holds a document of a source; of none where there is no such source."""
    state = settings.read_state(is_fresh=True) if source is not None else None
    if state is None or source is None:
        yield lambda _: False
        return
    with state:
        yield partial(state.holds, source)


def _removed(settings: Settings, request: PlanRequest, known: Known) -> list[str]:
    if request.sources is not None:
        return []
    named = {*known.sources, *(intent.source for intent in known.intents)}
    if request.selection and (chosen := request.selection.sources) is not None:
        named &= chosen
    return sorted(
        name
        for name in (named if request.destroy else named - set(settings.config.sources))
        if any(intent.source == name for intent in known.intents) or known.sources[name].documents
    )


def _scope(
    settings: Settings, request: PlanRequest, manifests: Sequence[Manifest], removed: Sequence[str], known: Known
) -> Scope:
    complete = {manifest.source: manifest.complete for manifest in manifests} | dict.fromkeys(removed, True)
    roots = {manifest.source: manifest.root for manifest in manifests} | dict.fromkeys(removed, EMPTY_ROOT)
    replaces = _replaces(settings, request, known)
    # Documents that could not be replaced with the others may be anywhere.
    is_anywhere = replaces or (known.header is not None and known.header.mixed)
    retyped = frozenset(manifest.source for manifest in manifests if _is_retyped(manifest, known))
    joined = retyped | frozenset(
        name for name, root in roots.items() if is_anywhere or root != _applied_root(known.sources.get(name))
    )
    intents = [intent for intent in known.intents if intent.source in complete]
    return Scope(complete, joined, intents, settings.pipeline.fingerprint, retyped, replaces)


def _is_retyped(manifest: Manifest, known: Known) -> bool:
    record = known.sources.get(manifest.source)
    return record is not None and record.is_retyped(manifest.type)


def _applied_root(record: SourceRecord | None) -> bytes:
    return record.root if record else EMPTY_ROOT


def _index_action(settings: Settings, known: Known) -> IndexAction:
    header = known.header
    if header is None or (not any(s.documents for s in known.sources.values()) and not _index_exists(settings)):
        return "create"
    if header.pipeline != settings.pipeline.fingerprint or known.has_other_vectors:
        return "replace"
    return "none"


def _replaces(settings: Settings, request: PlanRequest, known: Known) -> bool:
    """Whether the plan makes all points anew."""
    return not request.destroy and _index_action(settings, known) == "replace"


def _check_whole(settings: Settings, request: PlanRequest, known: Known) -> None:
    """Refuses to replace a part: a new collection takes the place of the old one when it holds everything.

    Raises:
        ConfigError: The plan is asked for some sources, documents or changes only.
    """
    partial = []
    if request.sources is not None and not {*settings.config.sources, *known.sources} <= {*request.sources}:
        partial.append("--source")
    if request.selection is not None:
        partial.append("--only, --exclude or --target")
    if request.since is not None:
        partial.append("--since")
    if partial:
        raise ConfigError(
            "the pipeline (chunking or embedding) changed, so that the whole collection is replaced, and a plan with "
            f"{' and '.join(partial)} is of a part of it",
            remedy="Plan everything once, or set chunking and embedding back.",
        )


def _check_own(settings: Settings) -> None:
    """Refuses to replace a collection that others write into too.

    Raises:
        ConfigError: It is shared.
    """
    if settings.tenant:
        raise ConfigError(
            f"the pipeline (chunking or embedding) changed, and the collection {settings.collection} is shared: what "
            "one tenant replaces would be replaced for all",
            remedy="Set chunking and embedding back. Or load a new collection with them, alone or each tenant for "
            "itself: choose another name in index.collection and another state (docs/configuration.md, Many states in "
            "one collection).",
        )


def _index_exists(settings: Settings) -> bool:
    from qloader.index.open import read_marker

    if settings.embedded_path is None:
        return True
    return read_marker(settings.embedded_path, settings.collection) is not None


def _check_unmoved(settings: Settings, known: Known) -> None:
    state = settings.read_state()
    if state is None:
        now = None
    else:
        with state:
            now = state.header()
    before = known.header
    if (now and (now.lineage, now.serial)) != (before and (before.lineage, before.serial)):
        raise StalePlanError(
            "the state changed while the plan was made: another apply is running or has just ended",
            remedy="Wait for it to end, then plan again.",
        )


def _header(
    settings: Settings,
    request: PlanRequest,
    manifests: Sequence[Manifest],
    removed: Sequence[str],
    known: Known,
    summary: Summary,
) -> PlanHeader:
    header = known.header
    types = {name: record.type for name, record in known.sources.items()}
    types |= {name: source.type for name, source in settings.config.sources.items()}
    gone = [SourceSummary(n, types[n], None, 0, EMPTY_ROOT.hex(), True) for n in removed if n in known.sources]
    listed = [SourceSummary(m.source, m.type, m.revision, m.documents, m.root.hex(), m.complete) for m in manifests]
    return PlanHeader(
        name=settings.config.name,
        base=Base(header.lineage, header.serial) if header else Base(None, 0),
        index=IndexTarget(
            settings.collection,
            settings.config.index.location,
            "none" if request.destroy else _index_action(settings, known),
            settings.tenant,
        ),
        pipeline=settings.pipeline,
        sources=tuple(sorted((*listed, *gone), key=lambda source: source.name)),
        summary=summary,
        warnings=tuple(_warnings(request, manifests)),
        allowed_deletes=tuple(sorted(set(request.allow_deletes))),
        allowed_policies=tuple(sorted(set(request.allow))),
        selection=request.selection,
        since=str(request.since) if request.since else "",
    )


def _warnings(request: PlanRequest, manifests: Sequence[Manifest]) -> list[PlanWarning]:
    warnings = [
        PlanWarning(name, "deletes allowed", f"--allow-deletes {name}: the guards let this plan delete its documents")
        for name in sorted(set(request.allow_deletes))
    ]
    for manifest in manifests:
        for reason, (count, examples) in manifest.skipped.items():
            more = f" and {count - len(examples):,} more" if count > len(examples) else ""
            is_one = count == 1
            message = f"{count:,} item{'' if is_one else 's'} skipped ({reason}: each {SKIP_REASONS[reason]}): "
            warnings.append(PlanWarning(manifest.source, "skipped", message + ", ".join(examples) + more))
        warnings.extend(
            PlanWarning(manifest.source, "incomplete", f"listing incomplete, so nothing is deleted: {problem}")
            for problem in manifest.problems
        )
    return warnings
