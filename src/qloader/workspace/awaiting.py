"""`AsyncWorkspace`: a workspace for programs with an event loop, which never waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from qloader.errors import InterruptedRunError
from qloader.planning.plan import Plan
from qloader.render.progress import Watcher
from qloader.state.records import RunRecord
from qloader.workspace.planning import PlanRequest, PlanResult
from qloader.workspace.workspace import Status, Workspace

if TYPE_CHECKING:
    from datetime import datetime

    from qloader.applying.events import Listener
    from qloader.applying.result import ApplyResult
    from qloader.index.protocol import Hit
    from qloader.refreshing.drift import Drift
    from qloader.workspace.searching import Mode
    from qloader.workspace.verifying import Verification

T = TypeVar("T")


class AsyncWorkspace:
    """The same as `Workspace`, awaited: each call works in a thread.

    Whoever cancels a call gets `CancelledError` when its thread has ended, so that nothing goes on unseen: an apply at
    its next batch edge, everything else when it is done. What an apply had committed stays.

    `plan` and `refresh` run alone, so that no apply beside them changes what they compare; the others run side by side.
    A process needs one `AsyncWorkspace` for a state, used in one event loop.

    Attributes:
        workspace: The workspace that does the work; not to be used beside this while a call goes on.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._turns = _Turns()

    @classmethod
    async def open(cls, config: str | Path | None = None, *, env: Mapping[str, str] | None = None) -> Self:
        """Loads a config: see `Workspace.open`.

        Raises:
            ConfigError: The config is missing or wrong.
        """
        return cls(await in_thread(functools.partial(Workspace.open, config, env=env)))

    async def plan(
        self, path: str | Path | None = None, request: PlanRequest | None = None, *, progress: Watcher | None = None
    ) -> PlanResult:
        """Makes a plan and writes it to a file: see `Workspace.plan`. `progress` is called in another thread."""
        async with self._turns.alone():
            return await in_thread(functools.partial(self.workspace.plan, path, request, progress=progress))

    @contextlib.asynccontextmanager
    async def temporary_plan(
        self, request: PlanRequest | None = None, *, progress: Watcher | None = None
    ) -> AsyncIterator[PlanResult]:
        """Makes a plan that lives as long as the `async with` block."""
        with tempfile.TemporaryDirectory(prefix="qloader-plan-") as folder:
            yield await self.plan(Path(folder) / "plan.json", request, progress=progress)

    async def apply(
        self,
        plan: Plan | PlanResult | str | Path,
        *,
        progress: Watcher | None = None,
        listener: Listener | None = None,
    ) -> ApplyResult:
        """Makes the index match: see `Workspace.apply`. A cancelled apply stops at its next batch edge.

        `progress` and `listener` are called in another thread.
        """
        async with self._turns.shared():
            stop = threading.Event()
            call = functools.partial(
                self.workspace.apply, plan, progress=progress, should_stop=stop.is_set, listener=listener
            )
            return await in_thread(call, stop)

    async def verify(self, plan: Plan | str | Path, *, progress: Watcher | None = None) -> Verification:
        """Whether a plan is still what would be planned: see `Workspace.verify`. `progress` as for `plan`."""
        async with self._turns.alone():
            return await in_thread(functools.partial(self.workspace.verify, plan, progress=progress))

    async def search(
        self,
        query: str,
        *,
        limit: int = 5,
        mode: Mode | None = None,
        sources: Sequence[str] = (),
        paths: Sequence[str] = (),
        metadata: Mapping[str, str] | None = None,
        since: datetime | None = None,
        explain: bool = False,
    ) -> list[Hit]:
        """Asks the index: see `Workspace.search`."""
        call = functools.partial(
            self.workspace.search,
            query,
            limit=limit,
            mode=mode,
            sources=sources,
            paths=paths,
            metadata=metadata,
            since=since,
            explain=explain,
        )
        async with self._turns.shared():
            return await in_thread(call)

    async def status(self) -> Status:
        """What is applied, from the state alone."""
        async with self._turns.shared():
            return await in_thread(self.workspace.status)

    async def history(self, limit: int = 20) -> list[RunRecord]:
        """Past runs, the latest first."""
        async with self._turns.shared():
            return await in_thread(functools.partial(self.workspace.history, limit))

    async def refresh(self, *, deep: bool = False, progress: Watcher | None = None) -> Drift:
        """Compares the index with the state: see `Workspace.refresh`."""
        async with self._turns.alone():
            return await in_thread(functools.partial(self.workspace.refresh, deep=deep, progress=progress))


async def in_thread(call: Callable[[], T], stop: threading.Event | None = None) -> T:
    """Runs a call in a thread. Cancelled, it sets `stop`, waits for the call's end and only then raises.

    Args:
        call: What to run.
        stop: Set where the result is not wanted any more; a call that has not begun by then does nothing.

    Raises:
        CancelledError: The awaiting task was cancelled; the thread has ended.
    """
    stop = stop or threading.Event()

    def begin() -> T:
        if stop.is_set():
            raise InterruptedRunError("stopped before it began")
        return call()

    # Not `asyncio.to_thread`: its task would be cancelled with all others when a loop ends, its thread would not.
    run = functools.partial(contextvars.copy_context().run, begin)
    future = asyncio.get_running_loop().run_in_executor(None, run)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop.set()
        while not future.done():
            with contextlib.suppress(asyncio.CancelledError):  # once more: it is on its way already
                await asyncio.wait([future])
        future.exception()  # looked at, so that the loop does not report it as forgotten
        raise


class _Turns:
    """Who may work now: many together, or one alone. Between a look and an entry nothing is awaited: no lock needed."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._together = 0
        self._is_alone = False

    @contextlib.asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        while self._is_alone:
            await self._changed.wait()
        self._together += 1
        try:
            yield
        finally:
            self._together -= 1
            self._tell()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        while self._is_alone or self._together:
            await self._changed.wait()
        self._is_alone = True
        try:
            yield
        finally:
            self._is_alone = False
            self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
