"""The pure half of qloader driven without an index: snapshot, plan, and the plan applied to the state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qloader.documents.hashing import EMPTY_ROOT
from qloader.manifest.cache import Cache
from qloader.manifest.manifest import Manifest, unpack_chunks
from qloader.manifest.snapshot import Chunking, take_snapshot
from qloader.planning.diff import Scope, find_differences
from qloader.planning.plan import Change
from qloader.planning.planner import Rules, plan_changes
from qloader.planning.selecting import Choice
from qloader.state.records import DocumentRecord
from qloader.state.store import StateStore
from support.sources import DictSource

PIPELINE = "pipeline-1"
CHUNKING = Chunking("paragraphs", lambda: lambda document: [p for p in document.text.split("\n\n") if p])


class Model:
    """A cache and a state in a folder, and sources in memory."""

    def __init__(self, folder: Path) -> None:
        self.cache_path = folder / "cache.db"
        self.state_path = folder / "state.db"

    def snapshot(self, source: DictSource) -> Manifest:
        with Cache.open(self.cache_path) as cache:
            return take_snapshot(source, cache, CHUNKING)

    def plan(
        self,
        *sources: DictSource,
        pipeline: str = PIPELINE,
        removed: Sequence[str] = (),
        choice: Choice | None = None,
    ) -> list[Change]:
        with Cache.open(self.cache_path) as cache:
            cache.forget_others([source.name for source in sources])
            manifests = [take_snapshot(source, cache, CHUNKING) for source in sources]
            complete = {m.source: m.complete for m in manifests} | dict.fromkeys(removed, True)
            state = StateStore.read(self.state_path)
            intents = []
            applied = {}
            if state is not None:
                with state:
                    intents = state.intents()
                    applied = {s.name: s.root for s in state.sources()}
            roots = {m.source: m.root for m in manifests} | dict.fromkeys(removed, EMPTY_ROOT)
            joined = frozenset(n for n in roots if roots[n] != applied.get(n, EMPTY_ROOT) or pipeline != PIPELINE)
            scope = Scope(complete, joined, intents, pipeline)
            state_path = self.state_path if state else None
            differences = find_differences(cache.connection, cache.path, state_path, scope, choice)
            rules = Rules(pipeline, frozenset({pipeline}), frozenset(removed))
            return [planned.change for planned in plan_changes(differences, rules)]

    def apply(self, changes: Sequence[Change]) -> None:
        """Brings the state to what the plan says, reading what it does not say from the cache."""
        with StateStore.write(self.state_path) as state, Cache.open(self.cache_path) as cache:
            state.lock()
            names = {change.source for change in changes}
            run = state.begin_run(
                plan="0" * 32,
                name="test",
                collection="test",
                location="embedded:index",
                pipeline=PIPELINE,
                pipeline_settings={},
                sources=dict.fromkeys(names, ("files", "")),
            )
            written, deleted = [], []
            for change in changes:
                if change.from_id is not None:
                    deleted.append((change.source, change.from_id))
                if change.after is None:
                    deleted.append((change.source, change.id))
                    continue
                row = cache.connection.execute(
                    "SELECT chunks FROM entry WHERE source = ? AND id = ?", (change.source, change.id)
                ).fetchone()
                written.append(
                    DocumentRecord(
                        source=change.source,
                        id=change.id,
                        content=bytes.fromhex(change.after.content),
                        metadata=bytes.fromhex(change.after.metadata),
                        revision=change.after.revision,
                        size=change.after.bytes,
                        chunks=tuple(chunk.hash for chunk in unpack_chunks(row[0])),
                        pipeline=PIPELINE,
                    )
                )
            state.commit_batch(run, written=written, deleted=deleted)
            state.finish_run(run, "complete", summary={})

    def documents(self) -> dict[str, bytes]:
        """Content hashes of the living documents, by address."""
        state = StateStore.read(self.state_path)
        if state is None:
            return {}
        with state:
            return {f"{d.source}/{d.id}": d.content for d in state.documents()}
