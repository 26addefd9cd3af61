"""What a plan is. The nouns of DESIGN.md, section 5, as frozen values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

FORMAT = "qloader.plan/1"

Action = Literal["create", "update", "move", "delete", "repair"]
ACTIONS: tuple[Action, ...] = ("create", "update", "move", "delete", "repair")
"""In the order in which totals are written."""

IndexAction = Literal["none", "create", "replace"]

Effect = Literal["deny", "warn", "require_allow"]
EFFECTS: tuple[Effect, ...] = ("deny", "warn", "require_allow")
"""What follows where a policy finds something."""

Result = Literal["passed", "warned", "allowed", "denied"]
RESULTS: tuple[Result, ...] = ("passed", "warned", "allowed", "denied")
"""What came of a policy, in the order in which a review tells it."""


LONGEST_TITLE = 200
"""Characters of a title that a plan holds, at most: it is there to be read."""


@dataclass(frozen=True, slots=True)
class Version:
    """A document as a plan names it, before or after.

    Attributes:
        content: Content hash, 32 hex digits.
        metadata: Metadata hash, 32 hex digits.
        revision: The source's revision of this document, the same on every machine.
        bytes: The size in the source.
        title: What a person calls it, its first 200 characters; empty where that is not known.
        lacks: Which of the metadata keys that a policy requires it has not, or empty.
    """

    content: str
    metadata: str
    revision: str
    bytes: int
    title: str = ""
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChunkCounts:
    """How many chunks a change adds (embeds), keeps (vectors stay) and removes."""

    add: int = 0
    keep: int = 0
    remove: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One document's change.

    Attributes:
        action: What is done.
        source: The source's name.
        id: The document id, after the change.
        before: What the state holds; None for a create.
        after: What the source holds; None for a delete.
        chunks: What happens to the points.
        reason: Why, as a reviewer reads it.
        from_id: The old id of a move; None otherwise (`from` in the file).
    """

    action: Action
    source: str
    id: str
    before: Version | None
    after: Version | None
    chunks: ChunkCounts
    reason: str
    from_id: str | None = None

    @property
    def address(self) -> str:
        """`source/id`, how a document is named everywhere."""
        return f"{self.source}/{self.id}"


@dataclass(frozen=True, slots=True)
class Base:
    """The state that a plan rests on; lineage None and serial 0 before the first apply."""

    lineage: str | None
    serial: int


@dataclass(frozen=True, slots=True)
class IndexTarget:
    """Where the points go.

    Attributes:
        collection: The collection's name.
        location: `embedded:<path as configured>` or `server:<url>`.
        action: Whether the collection is created or its content replaced first.
        tenant: Whose points they are in a collection that is shared; empty where it is one state's own.
    """

    collection: str
    location: str
    action: IndexAction = "none"
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Chunking and embedding settings, and the fingerprint that says whether two vectors may share a collection."""

    fingerprint: str
    chunking: Mapping[str, Any]
    embedding: Mapping[str, Any]

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """What the fingerprint stands for, as a state keeps it."""
        return {"chunking": dict(self.chunking), "embedding": dict(self.embedding)}


@dataclass(frozen=True, slots=True)
class SourceSummary:
    """One source's manifest in short.

    Attributes:
        name: The source's name.
        type: `files`, `git`, …
        revision: The revision of the whole source (git: the commit), or None.
        documents: Entries in the manifest.
        root: The manifest's root hash, 32 hex digits.
        complete: Whether an id missing from the manifest is gone (only then are there deletes).
    """

    name: str
    type: str
    revision: str | None
    documents: int
    root: str
    complete: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """The totals of a plan. `characters` counts the text of the chunks to embed."""

    create: int = 0
    update: int = 0
    move: int = 0
    delete: int = 0
    repair: int = 0
    unchanged: int = 0
    chunks_embed: int = 0
    chunks_keep: int = 0
    chunks_delete: int = 0
    characters: int = 0

    @property
    def changes(self) -> int:
        """How many documents change."""
        return self.create + self.update + self.move + self.delete + self.repair


@dataclass(frozen=True, slots=True)
class PlanWarning:
    """Something a reviewer should know.

    Attributes:
        source: The source's name; the policy's, where `kind` is `policy` or `policy allowed`.
        kind: `skipped`, `incomplete`, … One word for scripts.
        message: One sentence for people.
    """

    source: str
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """What came of one of the config's `policies`.

    Attributes:
        name: Its name.
        effect: What follows where it finds something.
        result: `passed`: it found nothing. Else the plan bears a warning, or `--allow` let it pass, or it is denied.
        required_metadata: The keys that it requires: what `Version.lacks` was made from.
    """

    name: str
    effect: Effect
    result: Result
    required_metadata: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanSelection:
    """What a partial plan was asked for: documents that are named, or that patterns choose.

    Attributes:
        only: Patterns, as in .gitignore, held against a document's id and its address; with `targets` it is either.
        exclude: Patterns of what is left out all the same.
        targets: Addresses.
        left_out: How many documents differ and are left as they are.
    """

    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    left_out: int = 0

    @property
    def sources(self) -> frozenset[str] | None:
        """The sources that it can choose from, where it names them; None where it may be any."""
        return None if self.only or not self.targets else frozenset(t.partition("/")[0] for t in self.targets)


@dataclass(frozen=True, slots=True)
class PlanHeader:
    """Everything in a plan but its changes.

    Attributes:
        name: The config's name.
        base: The state it rests on.
        index: Where the points go.
        pipeline: What makes chunks and vectors of the texts.
        sources: The manifests in short, by name.
        summary: The totals.
        warnings: What a reviewer should know.
        allowed_deletes: Sources whose deletes were allowed past the guards (`allowed` in the file, where any).
        allowed_policies: Policies that `--allow` let pass (`allowed` in the file, where any).
        policies: What came of the config's policies, by name, but for those that rest on a price.
        selection: What a partial plan was asked for; None for a plan of everything.
        since: From where on changes were looked for: a time with its offset, or a commit; empty where the sources were
            listed whole.
        digest: The hash of the file above its own line; empty until it is written.
        format: Name and version of the file format.
    """

    name: str
    base: Base
    index: IndexTarget
    pipeline: Pipeline
    sources: tuple[SourceSummary, ...]
    summary: Summary
    warnings: tuple[PlanWarning, ...] = ()
    allowed_deletes: tuple[str, ...] = ()
    allowed_policies: tuple[str, ...] = ()
    policies: tuple[PolicyResult, ...] = ()
    selection: PlanSelection | None = None
    since: str = ""
    digest: str = ""
    format: str = FORMAT

    @property
    def is_empty(self) -> bool:
        """True where applying the plan would change nothing."""
        return self.summary.changes == 0 and self.index.action == "none"


class Plan(Protocol):
    """A header and a stream of changes, in memory or on disk; `changes()` can be called again."""

    @property
    def header(self) -> PlanHeader:
        """Everything but the changes."""
        ...

    def changes(self) -> Iterator[Change]:
        """The changes in their order: by source, then id."""
        ...


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """A small plan held in memory, for tests and for callers of the Python API."""

    header: PlanHeader
    items: tuple[Change, ...] = field(default=())

    def changes(self) -> Iterator[Change]:
        """The changes in their order: by source, then id."""
        return iter(self.items)


def summarise(changes: Iterable[Change], *, unchanged: int, characters: int) -> Summary:
    """Counts changes once, for a plan that is held in memory."""
    counts = dict.fromkeys(ACTIONS, 0)
    embed = keep = remove = 0
    for change in changes:
        counts[change.action] += 1
        embed += change.chunks.add
        keep += change.chunks.keep
        remove += change.chunks.remove
    return Summary(
        **counts,
        unchanged=unchanged,
        chunks_embed=embed,
        chunks_keep=keep,
        chunks_delete=remove,
        characters=characters,
    )
