"""`Workspace`: qloader for other programs, and what the command line itself is made of."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from qloader.config.load import load_config
from qloader.errors import QloaderError, StalePlanError, StateError
from qloader.planning.plan import Plan
from qloader.planning.planfile import FilePlan, read_plan
from qloader.render.progress import Watcher, as_progress
from qloader.state.records import DocumentRecord, Lease, RunDetails, RunFailure, RunRecord, SourceRecord, StateHeader
from qloader.state.store import StateStore
from qloader.workspace.measuring import Measuring, measuring
from qloader.workspace.planning import PlanRequest, PlanResult, make_plan
from qloader.workspace.settings import Settings, nothing_applied

if TYPE_CHECKING:
    from datetime import datetime

    from qloader.applying.events import Listener
    from qloader.applying.result import ApplyResult
    from qloader.embedding.cache import EmbeddingCache
    from qloader.index.protocol import Fusion, Hit
    from qloader.refreshing.drift import Drift
    from qloader.telemetry.log import Log
    from qloader.telemetry.measured import Measured
    from qloader.workspace.evaluating import Evaluation, Question
    from qloader.workspace.foreign import ImportRequest
    from qloader.workspace.importing import Adoption
    from qloader.workspace.optimizing import Optimized
    from qloader.workspace.rebuilding import Rebuilt
    from qloader.workspace.rolling_back import Pruned, RolledBack
    from qloader.workspace.searching import Mode
    from qloader.workspace.showing import ChangedTexts
    from qloader.workspace.verifying import Verification


@dataclass(frozen=True, slots=True)
class Status:
    """What is applied.

    Attributes:
        name: The config's name.
        header: The state's header; None where nothing was ever applied.
        sources: The sources as last applied.
        lease: A sentence about who is applying right now, or None.
        interrupted: How many documents an interrupted apply left unfinished.
        failures: Documents that the last run of their source left as they were, and why.
        drifted: How many documents a refresh found in the index otherwise than the state says.
    """

    name: str
    header: StateHeader | None
    sources: tuple[SourceRecord, ...]
    lease: str | None
    interrupted: int
    failures: tuple[RunFailure, ...] = ()
    drifted: int = 0

    @property
    def points(self) -> int:
        """How many points the state says the index holds."""
        return sum(source.chunks for source in self.sources)

    @property
    def beside(self) -> tuple[str, ...]:
        """The collections beside the live one, by their own names: kept for a rollback, or being made."""
        header = self.header
        return () if header is None else tuple(name for name in (header.replaced, header.replacement) if name)


@dataclass(frozen=True, slots=True)
class Removed:
    """What `remove_from_state` did: where the state was copied to before, and its serial now."""

    backup: Path
    serial: int


class Workspace:
    """One config, with its sources, state and index.

    Example:
        ```python
        from qloader import Workspace

        workspace = Workspace.open("qloader.yaml")
        workspace.apply(workspace.plan())
        for hit in workspace.search("how do deletes work"):
            print(hit.score, hit.payload["uri"])
        ```
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lease: Lease | None = None
        self._here = threading.local()  # what is measured in each thread: several may plan and apply at once

    @classmethod
    def open(
        cls,
        config: str | Path | None = None,
        *,
        env: Mapping[str, str] | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Loads a config.

        Args:
            config: The file; None looks at $QLOADER_CONFIG, then ./qloader.yaml.
            env: The environment for `${VAR}`; the process's own where None.
            tell: Says a sentence to whoever runs this, which no result holds.

        Raises:
            ConfigError: The config is missing or wrong.
        """
        return cls(Settings.of(load_config(Path(config) if config is not None else None, env=env), tell=tell))

    @property
    def name(self) -> str:
        """The config's name."""
        return self.settings.config.name

    def plan(
        self, path: str | Path | None = None, request: PlanRequest | None = None, *, progress: Watcher | None = None
    ) -> PlanResult:
        """Makes a plan and writes it to a file.

        Args:
            path: The plan file; None takes a temporary one, which lives as long as the plan that is returned.
            request: Which sources, and how; all of them where None.
            progress: Told what goes on: a `Progress`, or a function `(phase, done, total)`.

        Returns:
            The plan, and a guard's refusal where there is one.

        Raises:
            QloaderError: See `workspace.planning.make_plan`.
        """
        if path is not None:
            return self._plan(Path(path), request, progress)
        folder = tempfile.mkdtemp(prefix="qloader-plan-")
        try:
            result = self._plan(Path(folder) / "plan.json", request, progress)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        weakref.finalize(result.plan, shutil.rmtree, folder, ignore_errors=True)
        return result

    def _plan(self, path: Path, request: PlanRequest | None, progress: Watcher | None) -> PlanResult:
        with self.measured() as run, run.working():
            result = make_plan(run.settings, request or PlanRequest(), path, progress=as_progress(progress))
            run.planned(result)
            return result

    @contextlib.contextmanager
    def measured(
        self, *, is_apply: bool = False, profile: Path | None = None, log: Log | None = None
    ) -> Iterator[Measuring]:
        """Measures what is planned and applied in the `with` block as one run; each by itself is one otherwise.

        Args:
            is_apply: Whether something will be applied: figures are kept of applies alone.
            profile: A file for a trace of the run.
            log: Where records go, if not where the config says.

        Raises:
            ConfigError: The trace or the log cannot be written, or a package for `monitoring.otlp` is missing.
        """
        outer = self._measuring
        if outer is not None:
            yield outer
            return
        with measuring(self.settings, is_apply=is_apply, profile=profile, log=log) as run:
            self._here.measuring = run
            try:
                yield run
            finally:
                self._here.measuring = None

    @property
    def _measuring(self) -> Measuring | None:
        """What is measured in this thread."""
        return getattr(self._here, "measuring", None)

    def advice(self) -> tuple[str, ...]:
        """Where the time of a run went, and what would change that, within `measured`; nothing of a short one."""
        run = self._measuring
        if run is None or run.measures is None:
            return ()
        from qloader.workspace.advising import advise

        return advise(run.measures.measured(), self.settings.config)

    @contextlib.contextmanager
    def temporary_plan(
        self, request: PlanRequest | None = None, *, progress: Watcher | None = None
    ) -> Iterator[PlanResult]:
        """Makes a plan that lives as long as the `with` block."""
        with tempfile.TemporaryDirectory(prefix="qloader-plan-") as folder:
            yield self.plan(Path(folder) / "plan.json", request, progress=progress)

    def read_plan(self, path: str | Path) -> FilePlan:
        """Opens a plan file.

        Raises:
            PlanError: It is no plan, or not as it was written.
        """
        return read_plan(Path(path))

    def verify(self, plan: Plan | str | Path, *, progress: Watcher | None = None) -> Verification:
        """Plans again, as a plan was asked for, and says whether it is still what would be planned.

        Args:
            plan: A plan, or its file.
            progress: Told what goes on: a `Progress`, or a function `(phase, done, total)`.

        Raises:
            QloaderError: See `workspace.verifying.verify_plan`.
        """
        from qloader.workspace.verifying import verify_plan

        if isinstance(plan, str | Path):
            plan = self.read_plan(plan)
        return verify_plan(self.settings, plan, progress=as_progress(progress))

    @contextlib.contextmanager
    def texts(self, plan: Plan) -> Iterator[ChangedTexts]:
        """The texts that a plan changes, old and new, as long as the `with` block lasts.

        Raises:
            QloaderError: See `workspace.showing.open_texts`.
        """
        from qloader.workspace.showing import open_texts

        with open_texts(self.settings, plan) as texts:
            yield texts

    def apply(
        self,
        plan: Plan | PlanResult | str | Path,
        *,
        progress: Watcher | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        listener: Listener | None = None,
        at_present: bool = False,
    ) -> ApplyResult:
        """Makes the index match, exactly as the plan says.

        Args:
            plan: What `plan()` or `read_plan()` returned, or a plan file.
            progress: Told what goes on: a `Progress`, or a function `(phase, done, total)`.
            should_stop: Asked at each batch edge; True stops there with `InterruptedRunError`.
            listener: Told of each document and each batch as an event of `applying.events`.
            at_present: Read documents as their sources are now, not at the planned revision, which a merge may have
                replaced by another with the same documents. Each still has to be as planned.

        Raises:
            GuardError: A guard refuses the plan.
            QloaderError: See `workspace.applying.apply_plan`.
        """
        from qloader.applying.events import tell_nobody
        from qloader.workspace.applying import apply_plan

        if isinstance(plan, PlanResult):
            if plan.refusal is not None:
                raise plan.refusal
            plan = plan.plan
        elif isinstance(plan, str | Path):
            plan = self.read_plan(plan)
        with self.measured(is_apply=True) as run, run.working():
            run.outcome = apply_plan(
                run.settings,
                plan,
                progress=as_progress(progress),
                should_stop=should_stop,
                lease=self._lease,
                listener=run.listener(listener or tell_nobody),
                at_present=at_present,
            )
            return run.outcome

    @contextlib.contextmanager
    def import_collection(
        self, request: ImportRequest, path: str | Path | None = None, *, progress: Watcher | None = None
    ) -> Iterator[Adoption]:
        """Takes over the vectors of a collection that another tool filled, as long as the `with` block lasts.

        Args:
            request: Which collection, and how it is read.
            path: Where the plan goes that is made with it; None takes a temporary file, which ends with the block.
            progress: Told what goes on: a `Progress`, or a function `(phase, done, total)`.

        Yields:
            The plan, what its apply still has to embed, and what becomes of each document.

        Raises:
            QloaderError: See `workspace.importing.import_collection`.
        """
        from qloader.workspace.importing import import_collection

        with tempfile.TemporaryDirectory(prefix="qloader-plan-") as folder:
            plan = Path(folder) / "plan.json" if path is None else Path(path)
            with import_collection(self.settings, request, plan, progress=as_progress(progress)) as found:
                yield found

    def has_begun(self, plan: Plan) -> bool:
        """Whether the last thing that happened to the state is an apply of this plan, ended or not.

        Such a plan no longer is what would be planned, and can be applied all the same.
        """
        from qloader.applying.preconditions import find_resumable

        state = self.settings.read_state()
        if state is None:
            return False
        with state, contextlib.suppress(StalePlanError):
            return find_resumable(plan.header, state.header(), state) is not None
        return False

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps every other writer away from here on, for a plan that is applied at once: until one apply has ended.

        Two that plan side by side would read every source twice, and the plan of the second would be stale.

        Raises:
            LockedError: Another writer holds the state.
            StateError: It cannot be opened or created.
        """
        with self.settings.write_state() as state:
            state.lock()
            lease = self._lease = state.park()
        try:
            yield
        finally:
            self._lease = None
            # To take it up once more gives it back; where an apply did that already, it is lost, and all is well.
            with contextlib.suppress(QloaderError), self.settings.write_state(create=False) as state:
                state.lock(lease)

    def search(
        self,
        query: str,
        *,
        limit: int = 5,
        mode: Mode | None = None,
        fusion: Fusion | None = None,
        weights: Mapping[str, float] | None = None,
        rerank: bool = True,
        sources: Sequence[str] = (),
        paths: Sequence[str] = (),
        metadata: Mapping[str, str] | None = None,
        since: datetime | None = None,
        explain: bool = False,
    ) -> list[Hit]:
        """Asks the index.

        Args:
            query: Words, as a person types them.
            limit: How many hits at most.
            mode: By which vectors: `hybrid`, `dense` or `sparse`. None is `hybrid` where the config has dense vectors.
            fusion: How `hybrid` makes one ranking of two: `rrf` or `dbsf`; as the config says where None.
            weights: How much each ranking counts in `rrf`: `{"dense": 2, "bm25": 1}`; as the config says where None.
            rerank: Whether the reranker that the config names puts the hits in order anew.
            sources: Only documents of these sources.
            paths: Only documents whose id or address matches, patterns as in .gitignore.
            metadata: Only documents whose metadata says this.
            since: Only documents whose `updated_at` is not before this moment, which has an offset.
            explain: Look too which vector found each hit, at which rank: `Hit.found_by`; and its rank before it was
                reranked: `Hit.rank_before`.

        Returns:
            Hits, best first.

        Raises:
            StateError: Nothing was applied yet.
            ConfigError: A source, a pattern, the mode or a weight is none.
            EmbeddingError: The question cannot be embedded.
            RerankError: The hits cannot be reranked.
            ForeignIndexError: The collection is another state's, or gone, or its dense vectors are another model's.
            IndexUnavailableError: The index cannot be opened.
        """
        from qloader.workspace.searching import SearchRequest, open_searcher

        request = SearchRequest(
            mode=mode,
            fusion=fusion,
            weights=weights,
            rerank=rerank,
            sources=tuple(sources),
            paths=tuple(paths),
            metadata=dict(metadata or {}),
            since=since,
            explain=explain,
        )
        with open_searcher(self.settings, request) as searcher:
            return searcher.search(query, limit=limit)

    def evaluate(
        self,
        questions: Sequence[Question] | str | Path,
        *,
        limit: int = 10,
        modes: Sequence[Mode] = (),
        fusion: Fusion | None = None,
        weights: Mapping[str, float] | None = None,
        rerank: bool = True,
    ) -> Evaluation:
        """How well the index answers questions whose answers are known.

        Args:
            questions: What is asked and what should be found, or a YAML file of that.
            limit: How many documents of an answer count.
            modes: Which ways of searching are compared; all that the config allows where none is named.
            fusion: As for `search`.
            weights: As for `search`.
            rerank: As for `search`.

        Raises:
            QloaderError: See `workspace.evaluating.evaluate`.
        """
        from qloader.workspace.evaluating import evaluate, read_questions
        from qloader.workspace.searching import SearchRequest

        if isinstance(questions, str | Path):
            questions = read_questions(Path(questions))
        request = SearchRequest(fusion=fusion, weights=weights, rerank=rerank)
        return evaluate(self.settings, questions, limit=limit, modes=modes, request=request)

    def embedding_cache(self) -> EmbeddingCache:
        """The embedding cache, opened; whoever asks for it closes it."""
        return self.settings.open_embedding_cache()

    def status(self) -> Status:
        """What is applied, from the state alone."""
        return self._read_status(self.settings.find_writer)

    def _read_status(self, find_writer: Callable[[StateStore], Lease | None]) -> Status:
        state = self.settings.read_state()
        if state is None:
            return Status(self.name, None, (), None, 0)
        with state:
            lease = find_writer(state)
            intents = state.intents()
            drifted = sum(intent.reason == "drift" for intent in intents)
            return Status(
                name=self.name,
                header=state.header(),
                sources=tuple(state.sources()),
                lease=f"{lease.holder} on {lease.host} (process {lease.pid})" if lease else None,
                interrupted=len(intents) - drifted,
                failures=tuple(state.open_failures()),
                drifted=drifted,
            )

    def history(self, limit: int = 20) -> list[RunRecord]:
        """Past runs, the latest first. One whose process died has failed, though nobody could write that down."""
        state = self.settings.read_state()
        if state is None:
            return []
        with state:
            runs = state.runs(limit)
            if self.settings.find_writer(state) is None:
                runs = [replace(r, status="failed", error="interrupted") if r.status == "running" else r for r in runs]
            return runs

    def saved_plans(self, runs: Iterable[RunRecord], folder: str | Path | None = None) -> dict[str, Path]:
        """The plan files of runs, by digest, as far as they were saved in a folder.

        Args:
            runs: Whose plans are looked for.
            folder: Where; `plans` beside the config where None.
        """
        from qloader.workspace.saving import FOLDER, find_saved

        where = self.settings.config.base / FOLDER if folder is None else Path(folder)
        return find_saved(where, {run.plan for run in runs})

    def run(self, run_id: int) -> RunDetails:
        """What one run did.

        Raises:
            StateError: There is no run of that number, or none any more.
        """
        run = next((run for run in self.history(-1) if run.id == run_id), None)
        state = self.settings.read_state()
        if run is None or state is None:
            raise StateError(
                f"the state knows no run {run_id}",
                remedy="See `qloader history`; older runs are forgotten after state.retention.",
            )
        with state:
            return RunDetails(run, tuple(state.failures(run_id)))

    def measurements(self, runs: Iterable[RunRecord]) -> dict[int, Measured]:
        """What was measured of runs, by their numbers; see `monitoring.metrics`."""
        state = self.settings.read_state(is_fresh=True)
        if state is None:
            return {}
        with state:
            return state.measured([run.id for run in runs])

    def failures_of(self, address: str) -> list[RunFailure]:
        """Every time that a run left one document as it was, the latest first."""
        state = self.settings.read_state()
        if state is None:
            return []
        source, _, document_id = address.partition("/")
        with state:
            return state.failures_of(source, document_id)

    def documents(self, source: str | None = None) -> Iterator[DocumentRecord]:
        """The documents that the index holds, by source and id, streamed."""
        state = self.settings.read_state()
        if state is not None:
            with state:
                yield from state.documents(source)

    def document(self, address: str) -> DocumentRecord | None:
        """One document by its address, tombstones included."""
        state = self.settings.read_state()
        if state is None:
            return None
        source, _, document_id = address.partition("/")
        with state:
            return state.document(source, document_id)

    def backup_state(self, target: str | Path | None = None) -> Path:
        """Copies the state, consistently, also while it is in use.

        Args:
            target: The copy; beside the state where None.

        Raises:
            StateError: There is no state, it is damaged, or the copy cannot be written.
        """
        state = self.settings.read_state()
        if state is None:
            raise StateError("there is no state to back up", remedy="The first `qloader apply` makes one.")
        with state:
            state.check()  # a copy of damage would push out a good copy
            return state.backup(
                Path(target) if target is not None else None, permissions=self.settings.config.state.permissions
            )

    def roll_back(self) -> RolledBack:
        """Brings back the collection that was replaced; see `workspace.rolling_back.roll_back`."""
        from qloader.workspace.rolling_back import roll_back

        return roll_back(self.settings)

    def prune_collections(self) -> Pruned:
        """Removes the collections beside the live one; see `workspace.rolling_back.prune_collections`."""
        from qloader.workspace.rolling_back import prune_collections

        return prune_collections(self.settings)

    def optimize(self, *, progress: Watcher | None = None) -> Optimized:
        """Tidies an embedded index up, so that searches get faster; until it is done none is answered.

        Args:
            progress: Told what goes on: a `Progress`, or a function `(phase, done, total)`.

        Raises:
            QloaderError: See `workspace.optimizing.optimize`.
        """
        from qloader.workspace.optimizing import optimize

        return optimize(self.settings, progress=as_progress(progress))

    def refresh(self, *, deep: bool = False, progress: Watcher | None = None) -> Drift:
        """Compares the index with the state, point by point; the next plan repairs what drifted.

        Args:
            deep: Compare vectors too, for which every text is embedded again; dense ones as far as the embedding cache
                has them.
            progress: Told what goes on: a `Progress`, or a function `(phase, done, total)`.

        Raises:
            QloaderError: See `workspace.refreshing.refresh`.
        """
        from qloader.workspace.refreshing import refresh

        return refresh(self.settings, deep=deep, progress=as_progress(progress))

    def rebuild_state(self, *, progress: Watcher | None = None) -> Rebuilt:
        """Writes the state anew from the points in the index.

        Raises:
            QloaderError: See `workspace.rebuilding.rebuild_state`.
        """
        from qloader.workspace.rebuilding import rebuild_state

        return rebuild_state(self.settings, progress=as_progress(progress))

    def remove_from_state(self, addresses: Sequence[str]) -> Removed:
        """Takes documents out of the state, after a backup; their points stay until the next apply.

        Raises:
            StateError: The state has no such document; nothing is removed then.
            LockedError: Another writer holds the state.
        """
        if not self.settings.has_state():
            raise nothing_applied()
        with self.settings.write_state(create=False) as state:
            state.lock()
            keys = []
            for address in addresses:
                source, _, document_id = address.partition("/")
                if state.document(source, document_id) is None:
                    raise StateError(f"the state has no document {address}", remedy="See `qloader state list`.")
                keys.append((source, document_id))
            backup = state.backup(permissions=self.settings.config.state.permissions)
            return Removed(backup, state.remove_documents(keys))

    def migrate_state(self) -> tuple[int, int]:
        """Brings a state that an older qloader wrote up to date; a backup is made first.

        Returns:
            The schema versions before and after.

        Raises:
            StateError: There is no state, or it cannot be migrated.
        """
        from qloader.state.database import read_version

        if self.settings.working_copy() is not None:
            from qloader.workspace.sharing import migrate_remote

            return migrate_remote(self.settings)
        before = read_version(self.settings.state)
        self.settings.write_state(create=False, migrate=True).close()
        return before, read_version(self.settings.state)

    def move_state(self) -> Path | None:
        """Moves the state of this machine to `state.url`: see `workspace.sharing.move_state`."""
        from qloader.workspace.sharing import move_state

        return move_state(self.settings)

    def pull_state(self, target: str | Path) -> Path:
        """Writes the remote state to a file: see `workspace.sharing.pull_state`."""
        from qloader.workspace.sharing import pull_state

        return pull_state(self.settings, Path(target))

    def push_state(self, file: str | Path, *, force: bool = False) -> StateHeader:
        """Puts the state of a file in the place of the remote one: see `workspace.sharing.push_state`."""
        from qloader.workspace.sharing import push_state

        return push_state(self.settings, Path(file), force=force)

    def unlock(self, lease_id: str) -> bool:
        """Removes the lease of a writer that is certainly dead; False where it has another id."""
        from qloader.state.database import is_there

        copy = self.settings.working_copy()
        if copy is not None:
            from qloader.state.remote.lock import unlock

            if unlock(copy.store, lease_id):
                return True
        if not is_there(self.settings.state):
            return False
        with self.settings.write_state(create=False) as state:
            return state.unlock(lease_id)
