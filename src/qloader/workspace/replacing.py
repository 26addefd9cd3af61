"""A collection takes the place of another: made beside it, put in its place in one step, brought back, removed.

The new collection has a state of its own while it is made, in a file beside the state; so the load is one like any
other, which may be killed anywhere and goes on. Until the switch nothing that searches use is changed. Then, in order:

1. The state notes that it is about to switch, and to what.
2. What it says of the old collection is copied into a file, for a rollback.
3. The name stands for the new collection: an alias on a server, a pointer file of an embedded index.
4. The state takes over what the other file says, in one transaction.

Whoever finds a state between 1 and 4 goes on with the same plan; any other command that writes first goes back, so that
the state describes again what the name stands for.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

from qloader.applying.events import Listener
from qloader.applying.executor import Totals, execute, sweep
from qloader.applying.live import Live
from qloader.applying.preconditions import check_index, check_target
from qloader.applying.result import ApplyResult
from qloader.counting import counted
from qloader.documents.hashing import fingerprint
from qloader.errors import EmbeddingError, ForeignIndexError, IndexUnavailableError, StateError
from qloader.index.folder_lock import HeldError
from qloader.index.protocol import Index, beside
from qloader.planning.plan import IndexAction
from qloader.render.progress import Progress
from qloader.state.records import StateHeader
from qloader.state.store import StateStore
from qloader.workspace.applied import find_reusable
from qloader.workspace.planning import describe_embedded, has_other_vectors
from qloader.workspace.rebuilding import fill_from_points
from qloader.workspace.running import Run, header_of
from qloader.workspace.settings import Settings

SEARCHES_WAIT = 60.0
"""Seconds to wait for a moment between searches of an embedded collection, where the work cannot go on without it."""

_BEGIN_ANEW = (
    "Nobody uses it yet: give it up with `qloader prune`, then apply the same plan again. What was embedded is in the "
    "cache."
)

NAMED = 3
"""Documents that an error names."""


def is_to_replace(settings: Settings, action: IndexAction, state: StateStore, header: StateHeader | None) -> bool:
    """Whether a plan still has to make a collection in the place of the live one: a killed apply may have done it."""
    if action != "replace" or header is None:
        return False
    return header.pipeline != settings.pipeline.fingerprint or has_other_vectors(settings, state, header)


class Replacement(Run):
    """An apply that makes a collection beside the live one and puts it in its place. See the module."""

    where_it_is = "in the new collection, beside the live one"

    def carry_out_beside(self, progress: Progress, should_stop: Callable[[], bool], listener: Listener) -> ApplyResult:
        """Does it; `index` is what the name stands for, and is opened by nobody meanwhile.

        Raises:
            InterruptedRunError: `should_stop` said so; what was made so far stays.
            QloaderError: See `applying.executor.execute`; what was made so far stays, and the live collection is as it
                was.
        """
        before = header_of(self._state)
        live = before.target if before.is_switching else self._index.target()
        if live is None:
            raise ForeignIndexError(
                f"the collection {self._settings.collection} is gone", remedy="Plan again: it is created anew then."
            )
        name = self._choose_name(before, live)
        if before.is_switching and name != before.replacement:
            settle(self._settings, self._state, self._index)
        run_id = self._begin(self._state, replacement=name)
        with self._failing(run_id):
            self._state.secure()
            known = header_of(self._state)
            with (
                self._opened(name) as index,
                self._built(before, name, index) as store,
                self._open_live(store, live) as old,
            ):
                store.note(target=name, replacement_token=known.replacement_token)
                totals = self._load(store, index, known, old, progress, should_stop, listener)
                if not totals.stopped:
                    old.take_along(index, known.lineage)
                    _check_whole(store, index, totals, name)
            changes: tuple[str, ...] = ()
            if not totals.stopped:
                changes = self._put_in_place(run_id, name, live)
            self._finish(run_id, totals)
        return replace(self._result(totals), settings=changes, serial=header_of(self._state).serial)

    def _choose_name(self, known: StateHeader, live: str) -> str:
        """The collection to go on with, or a new one."""
        pipeline = self._settings.pipeline.fingerprint
        first = beside(self._settings.collection, pipeline)
        if known.replacement.startswith(first) and known.replacement != live:
            return known.replacement
        kept = _read(self._settings.replaced_state) if describes_replaced(self._settings, known) else None
        if kept is not None and kept.pipeline == pipeline:
            return known.replaced  # it was rolled back, and comes again
        taken = {live, *self._index.relatives()}
        return beside(self._settings.collection, pipeline, taken)

    @contextlib.contextmanager
    def _built(self, known: StateHeader, name: str, index: Index) -> Iterator[StateStore]:
        """The state of the collection that is being made, with this process as its writer.

        Args:
            known: What the state said before this run.
            name: The collection's name.
            index: The collection.
        """
        file = self._settings.replacement_state
        try:
            info = index.describe()
            check_index(info, known, documents=0, collection=name, state=self._settings.state_name)
        except (ForeignIndexError, IndexUnavailableError) as error:
            if not isinstance(error, HeldError) and self._settings.embedded_path is not None:
                error.remedy = _BEGIN_ANEW
            raise
        if info is None or not _describes_replacement(file, known, name):
            remove_state(file)
        if info is not None and not file.exists():
            if known.replaced == name and describes_replaced(self._settings, known):
                self._settings.replaced_state.replace(file)
            elif info.points:
                rebuild_into(file, self._settings, index, known.lineage, info.pipeline)
        if known.replaced == name:  # what it was is not what it will be
            self._state.note(replaced="", replaced_token="")
        with StateStore.write(file, create=True, permissions=self._settings.config.state.permissions) as store:
            store.lock()
            yield store

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[Index]:
        guarded = self._settings.open_index(guard=self._state.confirm, is_patient=True, target=name)
        with contextlib.closing(guarded) as index:
            yield index

    def _load(
        self,
        store: StateStore,
        index: Index,
        known: StateHeader,
        live: Live,
        progress: Progress,
        should_stop: Callable[[], bool],
        listener: Listener,
    ) -> Totals:
        """Brings the new collection to what the plan says; its state is as that of any apply."""
        is_fresh = store.header() is None
        run_id = self._begin(store, lineage=known.lineage)
        made = header_of(store)
        self._make(index, made, live)
        labels = self._labels(store, made, ())
        with self._loading(index, progress, listener) as told:
            parts = self._parts(store, index, made, told, should_stop, live)
            totals = execute(self._plan, run_id, parts, labels, resumed=not is_fresh)
            if not totals.stopped and not is_fresh:
                sweep(self._plan, run_id, parts, totals.carried)
        if not totals.stopped:
            store.finish_run(run_id, "complete", summary={})
        index.mark(lineage=made.lineage, pipeline=made.pipeline)
        return totals

    def _make(self, index: Index, made: StateHeader, live: Live) -> None:
        """Makes the new collection, or brings the one that was begun in line with the config."""
        info = index.describe()
        dense = self._dense_size(live)
        if info is not None and info.dense != dense and not info.points:
            index.drop()
            info = None
        if info is None or info.dense != dense:
            self._create(index, made, dense)
            return
        if given := self._settings.config.index.settings.given:
            index.change_settings(given)
        if info.is_postponed and not self.is_bulk:
            index.resume_indexing()

    def _dense_size(self, live: Live) -> int | None:
        """How long dense vectors are: as in the live collection, where its vectors are taken over; it asks nobody."""
        if header_of(self._state).pipeline in live.reusable:
            with contextlib.suppress(HeldError), live.open_index(False) as index:
                if (info := index.describe()) is not None:
                    return info.dense
        return self._embedders.dense_size(self.first_text)

    @contextlib.contextmanager
    def _open_live(self, store: StateStore, live: str) -> Iterator[Live]:
        """What may be taken over of the live collection; one on a server is opened once, nobody is kept from it."""
        opened: Callable[..., Index] = partial(self._settings.open_index, is_patient=True, target=live)
        with contextlib.ExitStack() as stack:
            if self._settings.embedded_path is None:
                index = stack.enter_context(contextlib.closing(opened()))

                def open_index(waits_long: bool) -> AbstractContextManager[Index]:
                    return contextlib.nullcontext(index)
            else:

                def open_index(waits_long: bool) -> AbstractContextManager[Index]:
                    return contextlib.closing(opened(lock_wait=SEARCHES_WAIT if waits_long else None))

            yield Live(
                state=self._state,
                open_index=open_index,
                collection=live,
                reusable=find_reusable(self._settings, self._state.pipelines()),
                carry_as=partial(self._carry_as, store),
            )

    def _carry_as(self, store: StateStore, pipeline: str) -> str:
        """The pipeline of documents that are cut as they were and embedded anew."""
        parts = {
            "chunking": self._state.pipelines().get(pipeline, {}).get("chunking", {}),
            "embedding": dict(self._settings.pipeline.embedding),
        }
        carried = fingerprint(parts)
        store.know_pipeline(carried, parts)
        return carried

    def _put_in_place(self, run_id: int, name: str, live: str) -> tuple[str, ...]:
        """The switch: see the module. Returns what is told of it, a sentence each."""
        file = self._settings.replacement_state
        switch(self._settings, self._state, self._index, run_id, to=name, live=live, described_by=file)
        remove_state(file)
        header = header_of(self._state)
        remove_strangers(self._settings, self._index, header, guard=self._state.confirm)
        said = f"{self._settings.collection} stands for the new collection {name} now."
        kept = f" {live} is kept: `qloader rollback` brings it back, `qloader prune` removes it."
        return (said + (kept if header.replaced else ""),)


def switch(
    settings: Settings,
    state: StateStore,
    index: Index,
    run_id: int,
    *,
    to: str,
    live: str,
    described_by: Path,
) -> None:
    """Lets the collection's name stand for another one, and the state describe that; steps 1 to 4 of the module.

    Args:
        settings: The config and what follows from it.
        state: Locked for writing.
        index: What the name stands for; not opened.
        run_id: The run that does it.
        to: The other collection.
        live: The one that the state describes.
        described_by: The state of the other one.

    Raises:
        ForeignIndexError: Somebody else let the name stand for another one meanwhile.
    """
    found = index.target()
    if found not in (None, live, to):
        raise ForeignIndexError(
            f"{settings.collection} stands for {found} now, and stood for {live} when this began: somebody else "
            "changed that",
            remedy=f"Let it stand for {live} again, then run the same command again.",
        )
    # The token goes into the copy too, and so tells later whether that is of this switch.
    state.note(switching="1", target=live, replacement=to, replaced_token=uuid.uuid4().hex)
    state.secure()
    new = settings.replaced_state.with_name(f"{settings.replaced_state.name}.new")
    remove_state(new)
    state.copy_to(new, permissions=settings.config.state.permissions)
    index.switch(to)
    is_kept = live in index.relatives()
    state.take_over(described_by, run_id, target=to, replaced=live if is_kept else "")
    remove_state(settings.replaced_state)
    if is_kept:
        new.replace(settings.replaced_state)
    else:
        remove_state(new)


def settle(settings: Settings, state: StateStore, index: Index) -> bool:
    """Ends a switch that was cut short, so that the name stands for what the state describes.

    It is undone; where a server has no room for both, and the old collection is gone, it is carried out.

    Returns:
        Whether the state describes another collection now.

    Raises:
        ForeignIndexError: The old collection is gone, and nothing is known of the new one.
    """
    header = state.header()
    if header is None or not header.is_switching:
        return False
    file = settings.replacement_state
    if header.target not in index.relatives() and _describes_replacement(file, header, header.replacement):
        run_id = state.begin_other("switch")
        index.switch(header.replacement)
        state.take_over(file, run_id, target=header.replacement, replaced="")
        state.finish_run(run_id, "complete", summary={})
        remove_state(file)
        return True
    index.switch(header.target)
    state.note(switching="")
    return False


def see_to_target(settings: Settings, index: Index, header: StateHeader | None, *, may_be: str = "") -> None:
    """Sees to it that the name stands for the collection that the state describes.

    Where it stands for nothing, since its alias or pointer file was removed, it stands for that again.

    Args:
        settings: The config and what follows from it.
        index: What the name stands for.
        header: What the state says of itself, which is locked.
        may_be: A collection that is as good.

    Raises:
        ForeignIndexError: It stands for another one.
    """
    found = index.target()
    if found and found == may_be:
        return
    check_target(header, found)
    if header is None or header.is_switching or found is not None or header.target not in index.relatives():
        return
    with contextlib.closing(settings.open_index(is_patient=True, target=header.target)) as other:
        info = other.describe()
    if info is not None and info.lineage == header.lineage:
        index.switch(header.target)
        settings.tell(f"{settings.collection} stood for nothing; it stands for {header.target} again.")


def check_not_switching(header: StateHeader | None) -> None:
    """Refuses to compare the index with a state that may describe the collection before.

    Raises:
        StateError: A switch was cut short.
    """
    if header is not None and header.is_switching:
        raise StateError(
            f"an apply was cut short when it put {header.replacement} in the place of {header.target}",
            remedy="Run the same `qloader apply` again, or plan and apply anew.",
        )


def remove_strangers(settings: Settings, index: Index, header: StateHeader, *, guard: Callable[[], None]) -> list[str]:
    """Removes collections of this state that it does not know: what a lost state or a killed apply left.

    Args:
        settings: The config and what follows from it.
        index: What the name stands for.
        header: What the state says of itself.
        guard: Raises where this process may write nothing any more.

    Returns:
        Their names.
    """
    unknown = [n for n in index.relatives() if n not in (header.replacement, header.replaced, header.target)]
    live = index.target() if unknown else None
    removed = []
    for name in unknown:
        with contextlib.suppress(HeldError):  # somebody still searches it: the next apply removes it
            if name != live and remove_collection(settings, name, header.lineage, guard=guard):
                removed.append(name)
    return removed


def remove_collection(settings: Settings, name: str, lineage: str, *, guard: Callable[[], None]) -> bool:
    """Removes a collection by its own name, if it is there and the lineage's; whether it did."""
    with contextlib.closing(settings.open_index(guard=guard, is_patient=True, target=name)) as other:
        # An embedded one is asked without the engine, which may not open what is damaged.
        info = other.describe() if settings.embedded_path is None else describe_embedded(settings, name)
        if info is None or info.is_shared or info.lineage != lineage:
            return False
        other.drop()
        return True


def describes_replaced(settings: Settings, known: StateHeader) -> bool:
    """Whether what is known here of the collection that was replaced is of the switch that replaced it."""
    found = _read(settings.replaced_state)
    return found is not None and (found.lineage, found.target, found.replaced_token) == (
        known.lineage,
        known.replaced,
        known.replaced_token,
    )


def _describes_replacement(file: Path, known: StateHeader, name: str) -> bool:
    found = _read(file)
    return found is not None and (found.lineage, found.target, found.replacement_token) == (
        known.lineage,
        name,
        known.replacement_token,
    )


def _read(file: Path) -> StateHeader | None:
    """What a state beside the state says of itself; None where there is none that can be read."""
    try:
        store = StateStore.read(file)
    except StateError:
        return None
    if store is None:
        return None
    with store:
        return store.header()


def rebuild_into(file: Path, settings: Settings, index: Index, lineage: str, pipeline: str | None) -> None:
    """Writes the state of a collection whose own is not here, from its points.

    Args:
        file: Where.
        settings: The config and what follows from it.
        index: The collection, opened by its own name.
        lineage: Whose points are read.
        pipeline: The fingerprint that the collection was filled with.
    """
    new = file.with_name(f"{file.name}.new")
    remove_state(new)
    with StateStore.write(new, create=True, permissions=settings.config.state.permissions) as store:
        store.lock()
        fill_from_points(settings, store, index, lineage, pipeline)
    new.replace(file)


def remove_state(file: Path) -> None:
    """Removes a state that is nobody's any more, with what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def _check_whole(store: StateStore, index: Index, totals: Totals, name: str) -> None:
    """Refuses to put a collection in the place of another that does not hold all it should.

    Raises:
        EmbeddingError: Documents that the live one holds cannot be embedded.
        IndexUnavailableError: It has not as many points as its state says.
    """
    if totals.homeless:
        count = len(totals.homeless)
        raise EmbeddingError(
            f"{counted(count, 'document')} of the live collection cannot be in the new one {name}, which therefore "
            f"does not take its place: {'; '.join(totals.homeless[:NAMED])}",
            remedy="Change embedding.dense (too_long, say), or leave these documents out of the sources; then plan "
            "again.",
        )
    header = header_of(store)
    wanted, found = sum(source.chunks for source in store.sources()), index.count(lineage=header.lineage)
    if wanted != found:
        raise IndexUnavailableError(
            f"the new collection {name} holds {counted(found, 'point')} and should hold {wanted:,}, so that it does "
            "not take the place of the live one",
            remedy="Remove it with `qloader prune`, then apply the same plan again.",
        )
