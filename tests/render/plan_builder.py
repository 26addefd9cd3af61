"""Plans for the tests of renderings: a realistic one, and others made of single changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from qloader.planning.plan import (
    Action,
    Base,
    Change,
    ChunkCounts,
    IndexAction,
    IndexTarget,
    MemoryPlan,
    Pipeline,
    PlanHeader,
    PlanWarning,
    SourceSummary,
    Summary,
    Version,
    summarise,
)

OLD = Version("a" * 32, "b" * 32, "1" * 40, 4312)
NEW = Version("c" * 32, "b" * 32, "2" * 40, 4400)
RELABELLED = replace(OLD, metadata="d" * 32)
COMMIT = "3f2a91c4d5e6b7a8091a2b3c4d5e6f708192a3b4"
LINEAGE = "6f0c2b1e-8a4d-4e7b-9c55-0d1f2a3b4c5d"
APPLIED = Base(LINEAGE, 7)


def create(source: str, document_id: str, chunks: int = 1) -> Change:
    return Change("create", source, document_id, None, NEW, ChunkCounts(add=chunks), "new document")


def update(source: str, document_id: str, add: int, keep: int, remove: int | None = None) -> Change:
    counts = ChunkCounts(add, keep, add if remove is None else remove)
    return Change("update", source, document_id, OLD, NEW, counts, "text changed")


def relabel(source: str, document_id: str, keep: int = 3) -> Change:
    return Change("update", source, document_id, OLD, RELABELLED, ChunkCounts(keep=keep), "metadata changed")


def move(source: str, old: str, new: str, chunks: int = 2) -> Change:
    counts = ChunkCounts(keep=chunks)
    return Change("move", source, new, OLD, RELABELLED, counts, "same text under a new id", from_id=old)


def delete(source: str, document_id: str, chunks: int = 3, reason: str = "gone from the source") -> Change:
    return Change("delete", source, document_id, OLD, None, ChunkCounts(remove=chunks), reason)


def repair(source: str, document_id: str, add: int = 0, keep: int = 0) -> Change:
    if add or keep:
        counts = ChunkCounts(add, keep, add)
        return Change("repair", source, document_id, OLD, OLD, counts, "left unfinished by an interrupted apply")
    counts = ChunkCounts(remove=2)
    return Change("repair", source, document_id, None, None, counts, "points left by an interrupted apply")


def source(
    name: str, kind: str = "files", revision: str | None = None, documents: int = 12, *, complete: bool = True
) -> SourceSummary:
    return SourceSummary(name, kind, revision, documents, "e" * 32, complete)


def make_plan(
    changes: Iterable[Change] = (),
    sources: Iterable[SourceSummary] = (),
    *,
    warnings: Iterable[PlanWarning] = (),
    base: Base = APPLIED,
    index_action: IndexAction = "none",
    allowed: Iterable[str] = (),
    name: str = "handbook",
    unchanged: int = 1228,
) -> MemoryPlan:
    """A plan of these changes, sorted as a planner sorts them, and with a source for each that has none."""
    items = tuple(sorted(changes, key=lambda change: (change.source, change.id)))
    known = {summary.name: summary for summary in sources}
    for item in items:
        known.setdefault(item.source, source(item.source))
    header = PlanHeader(
        name=name,
        base=base,
        index=IndexTarget("handbook", "embedded:.qloader/index", index_action),
        pipeline=Pipeline("91ab" * 8, {"max_chars": 1200, "overlap_chars": 0}, {"sparse": "bm25"}),
        sources=tuple(sorted(known.values(), key=lambda summary: summary.name)),
        summary=summarise(items, unchanged=unchanged, characters=15_210),
        warnings=tuple(warnings),
        allowed_deletes=tuple(allowed),
        digest="0123456789abcdef" * 2,
    )
    return MemoryPlan(header, items)


def realistic_plan() -> MemoryPlan:
    """A week of work on a handbook: every action, a source that could not be listed whole, one unchanged."""
    changes = [
        create("docs", "docs/guides/getting-started.md", 4),
        create("docs", "docs/reference/cli.md", 31),
        update("docs", "docs/architecture.md", 2, 29),
        update("docs", "docs/changelog.md", 1, 117, 0),
        update("docs", "docs/faq.md", 0, 8, 2),
        relabel("docs", "docs/index.md"),
        move("docs", "docs/setup.md", "docs/guides/install.md"),
        delete("docs", "docs/old/legacy-importer.md"),
        delete("docs", "docs/old/roadmap-2024.md", 9),
        repair("docs", "docs/operations/backup.md", 2, 3),
        create("wiki", "10482", 3),
        create("wiki", "10511", 1),
        update("wiki", "9917", 5, 2),
    ]
    sources = [
        source("docs", "git", COMMIT, 1234),
        source("notes", "files", None, 1),
        source("wiki", "confluence", None, 3408, complete=False),
    ]
    warnings = [
        PlanWarning(
            "docs",
            "skipped",
            "2 items skipped (too large: each is over max_bytes): docs/assets/dump.txt, docs/assets/export.md",
        ),
        PlanWarning(
            "wiki", "incomplete", "listing incomplete, so nothing is deleted: page 12 of space ENG answered 503"
        ),
    ]
    return make_plan(changes, sources, warnings=warnings)


def long_plan(count: int = 1000) -> MemoryPlan:
    """More changes than anybody reads, with the deletes at the end."""
    changes = [create("docs", f"docs/page-{number:05}.md", number % 7) for number in range(count - count // 10)]
    changes += [delete("docs", f"docs/zz/page-{number:05}.md") for number in range(count // 10)]
    return make_plan(changes, [source("docs", "git", COMMIT, count), source("notes", documents=40)])


def first_plan() -> MemoryPlan:
    changes = [create("docs", f"{name}.md", number) for number, name in enumerate(("intro", "setup", "usage"), 1)]
    return make_plan(changes, base=Base(None, 0), index_action="create", unchanged=0)


HOSTILE_IDS = [
    "\x1b[2J\x1b[31mcleared.md",
    "a\nPlan: 0 to create, 0 to update, 0 to move, 0 to delete (0 chunks to embed).",
    "\r- nothing.md",
    "\u202egpj.exe",
    "\u2066isolated\u2069",
    "zero\u200bwidth.md",
    "tag\U000e0041s.md",
    "c1\x9b31m.md",
    "line\u2028separator.md",
    "nul\x00.md",
    "lone\ud800.md",
    "</details><script>alert(1)</script>",
    "| a | b |",
    "@everyone",
    "``` ```` `",
    "[link](https://example.com) ![image](https://example.com/i.png)",
    "https://example.com #1 owner/repo#2",
    " spaces  at both ends ",
    "old -> new",
    "",
    "d" * 200,
    "日本/語.md",
    "family \U0001f468\u200d\U0001f469\u200d\U0001f467 heart \u2764\ufe0f.md",
]


def hostile_plan() -> MemoryPlan:
    changes = [create("docs", document_id, 1) for document_id in HOSTILE_IDS]
    changes += [move("docs", "\x1b]0;title\x07", "x\ty.md"), delete("docs", "gone.md", reason="because\x1b[0m\n@all")]
    warnings = [PlanWarning("docs\n", "skipped", "3 items skipped: \x1b[31mred\n</details>@all `code` <b>bold</b>")]
    sources = [source("docs", "git", "\x1b[1mref\n@all")]
    return make_plan(changes, sources, warnings=warnings, name="hand\x1bbook`<b>")


@dataclass(frozen=True, slots=True)
class EndlessPlan:
    """A plan too big to hold: its changes are made while they are read."""

    header: PlanHeader
    count: int
    action: Action = "create"

    def changes(self) -> Iterator[Change]:
        for number in range(self.count):
            yield create("docs", f"docs/{number:07}/{'long-name-' * 5}.md", 3)


def endless_plan(count: int) -> EndlessPlan:
    header = make_plan(sources=[source("docs", documents=count)]).header
    return EndlessPlan(replace(header, summary=Summary(create=count, chunks_embed=3 * count)), count)
