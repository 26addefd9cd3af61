from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qloader import Workspace
from qloader.applying.events import Started
from qloader.watching.agenda import Look
from qloader.watching.looking import Outcome
from qloader.watching.service import Service, Watch
from qloader.watching.telling import Looked, Stopped, Watching
from support.command_line import wait_until


class Running:
    """A service in a thread of this process, and what it told so far.

    Args:
        workspace: What it watches.
        on_event: Told of each event too, in the thread that works, which waits for it.
    """

    def __init__(self, workspace: Workspace, on_event: Callable[[Running, Any], None] | None = None) -> None:
        self.workspace = workspace
        self.events: list[Any] = []
        self.error: BaseException | None = None
        self._on_event = on_event
        self.service = Service(workspace, Watch.of(workspace.settings.config), self._tell)
        self._turn, self._look = threading.Lock(), self.service._look
        self.service._look = self._look_in_turn  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _tell(self, event: Any) -> None:
        self.events.append(event)
        if self._on_event is not None:
            self._on_event(self, event)

    def _run(self) -> None:
        try:
            self.service.run()
        except BaseException as error:
            self.error = error

    def _look_in_turn(self, look: Look) -> Outcome:
        with self._turn:
            return self._look(look)

    @contextlib.contextmanager
    def unseen(self) -> Iterator[None]:
        """What is done in the block is seen by the same look, however long it takes: none begins meanwhile."""
        with self._turn:
            yield

    @property
    def looks(self) -> list[Looked]:
        """The looks that are over."""
        return [event for event in self.events if isinstance(event, Looked)]

    @property
    def applied(self) -> list[tuple[str, ...]]:
        """The sources of each look that changed the index."""
        return [look.outcome.look.sources for look in self.looks if look.outcome.end == "applied"]

    @property
    def plans(self) -> int:
        """How many plans were applied, or begun to be."""
        return sum(isinstance(event, Started) for event in self.events)

    @property
    def url(self) -> str:
        """Where it listens."""
        wait_until(lambda: bool(self.events))
        address = next(event for event in self.events if isinstance(event, Watching)).address
        assert address is not None
        return address

    def change(self, number: int) -> Looked:
        """Waits for the look of that number, from 0, of those that found something to do; returns it.

        The system may tell of one change twice, and the second look then finds nothing.
        """
        wait_until(lambda: len(self._changes()) > number or self.error is not None)
        assert self.error is None, self.error
        return self._changes()[number]

    def _changes(self) -> list[Looked]:
        return [look for look in self.looks if look.outcome.end != "unchanged"]

    def look(self, after: int = 0) -> Looked:
        """Waits for the look after so many; returns it."""
        wait_until(lambda: len(self.looks) > after or self.error is not None)
        assert self.error is None, self.error
        return self.looks[after]

    def trouble(self, name: str) -> str:
        """What is wrong with a source."""
        return self.service._board.read().troubles.get(name, "")

    def stop(self) -> None:
        """Stops it and waits for its end."""
        self.service.stop()
        self._thread.join(600)
        assert not self._thread.is_alive()
        assert self.error is None, self.error
        assert isinstance(self.events[-1], Stopped)


class Keeper:
    """A folder with a config, and services in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def configure(self, sources: dict[str, Any], *, watch: dict[str, Any] | None = None, **keys: Any) -> Workspace:
        """Writes a config; the service hurries, as far as it is not told otherwise."""
        config = {
            "name": "test",
            "index": {"collection": "test", "path": ".qloader/index"},
            "state": {"path": ".qloader/state.db"},
            "chunking": {"max_chars": 200},
            "sources": sources,
            "watch": {"debounce": "50ms", "interval": "1h"} | (watch or {}),
        }
        file = self.folder / "qloader.yaml"
        file.write_text(json.dumps(config | keys), encoding="utf-8")
        return Workspace.open(file)

    @contextlib.contextmanager
    def watching(
        self, workspace: Workspace, on_event: Callable[[Running, Any], None] | None = None
    ) -> Iterator[Running]:
        """Runs a service as long as the block lasts."""
        running = Running(workspace, on_event)
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    """A folder for a config."""
    return Keeper(tmp_path)
