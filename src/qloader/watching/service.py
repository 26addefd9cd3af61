"""The service: waits for notices and for its time, and looks at sources, one after the other, until it is stopped."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qloader.config.models import Config
from qloader.config.watching import WatchConfig, parse_listen
from qloader.errors import ConfigError, InterruptedRunError, QloaderError
from qloader.sources.protocol import ListsChanges
from qloader.telemetry.openmetrics import render
from qloader.watching.agenda import Agenda, Habit, Look, Pace
from qloader.watching.commits import CommitWatch
from qloader.watching.folders import FolderWatch
from qloader.watching.looking import Looker, Outcome, explain
from qloader.watching.moments import Moment
from qloader.watching.notices import Notices
from qloader.watching.routes import Routes
from qloader.watching.server import Server, address_of, listen
from qloader.watching.standing import CONFIG, StandingBoard
from qloader.watching.supervisor import Supervisor
from qloader.watching.telling import Looked, Stopped, Teller, Watching
from qloader.workspace.settings import Settings
from qloader.workspace.workspace import Workspace

if TYPE_CHECKING:
    from qloader.telemetry.log import Log


@dataclass(frozen=True, slots=True)
class Watch:
    """How a service goes about it: the config's `watch`, and what the command line says instead.

    Attributes:
        pace: How often.
        listen: Host and port; None listens nowhere.
        secrets: The hooks that are taken.
    """

    pace: Pace
    listen: tuple[str, int] | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, config: Config, *, interval: float | None = None, listen: str | None = None) -> Watch:
        """Reads the config.

        Args:
            config: The config.
            interval: Seconds, in place of `watch.interval`.
            listen: Host and port, in place of `watch.listen`.

        Raises:
            ConfigError: That is no address, or hooks are configured and nothing listens for them.
        """
        section = config.watch or WatchConfig()
        secrets = section.hooks.given()
        text = listen or section.listen
        try:
            address = parse_listen(text) if text else None
        except ValueError as error:
            raise ConfigError(f"--listen {text!r}: {error}", remedy="Write --listen 127.0.0.1:8080.") from None
        if secrets and address is None:
            raise ConfigError(
                "watch.hooks has secrets, and nothing listens for the hooks",
                remedy="Set watch.listen, or give --listen 127.0.0.1:8080.",
            )
        return cls(Pace(section.debounce, interval or section.interval, section.full_every), address, secrets)


class Service:
    """Keeps the index of one config true.

    `run` works in the thread that calls it; `interrupt` is made for that thread's signal handlers.
    """

    def __init__(self, workspace: Workspace, watch: Watch, tell: Teller, *, log: Log | None = None) -> None:
        """Prepares everything and starts nothing.

        Args:
            workspace: The config; sources are opened to see what they can tell.
            watch: How to go about it.
            tell: Told of each event, in the thread that runs the service.
            log: Where records of runs go, if not where the config says.
        """
        settings = workspace.settings
        self._settings = settings
        self._watch = watch
        self._tell = tell
        self._asked = 0
        self._looks_again = False
        self._notices = Notices()
        self._habits: dict[str, Habit] = {name: _habit(settings, name) for name in settings.config.sources}
        self._agenda = Agenda(self._habits, watch.pace, time.monotonic())
        self._board = StandingBoard(workspace.name, self._habits)
        self._looker = Looker(settings, should_stop=lambda: self._asked > 0, listener=tell, tell=self._warn, log=log)
        self._by: dict[str, str] = {}
        self._missed: dict[str, tuple[str, ...]] = {}
        self._warned: set[str] = set()

    def stop(self) -> None:
        """Ends the service as soon as nothing is left half done; any thread may call it."""
        self._asked += 1
        self._notices.ring()

    def interrupt(self) -> bool:
        """The same for a signal handler: a plan ends at once, since it changes nothing; asked twice, an apply does too.

        Returns:
            Whether something goes on that ends at its next batch edge.

        Raises:
            KeyboardInterrupt: In the middle of what ends at once.
        """
        self.stop()
        if self._asked > 1 or self._looker.is_planning:
            raise KeyboardInterrupt
        return self._looker.is_applying

    def look_again(self) -> None:
        """Looks at everything now, and whole; a signal handler may call it."""
        self._looks_again = True
        self._notices.ring()

    def run(self) -> None:
        """Looks at everything, then at what changes, until it is asked to stop.

        Raises:
            QloaderError: It cannot start: the port is taken.
            KeyboardInterrupt: It was asked twice, and stopped at once.
        """
        with self._serving() as address, self._noticing():
            self._tell(Watching(self._board.read().name, self._habits, address))
            supervisor = Supervisor(os.environ)
            supervisor.ready()
            self._count()
            try:
                while not self._asked:
                    self._take_notices()
                    looks = self._agenda.due(Moment())
                    if not looks:
                        self._notices.wait(self._agenda.wait(time.monotonic()))
                    for look in looks:
                        self._carry_out(look)
                    if looks:
                        supervisor.status(self._summary())
            except InterruptedRunError:
                pass  # as it was asked to, at a batch edge
            except KeyboardInterrupt:
                if self._asked > 1:
                    raise
            finally:
                supervisor.stopping()
                supervisor.close()
        self._tell(Stopped())

    def run_once(self) -> list[Outcome]:
        """Looks at everything once; neither listens nor waits.

        Returns:
            What came of each look, that failed or not.

        Raises:
            InterruptedRunError: It was asked to stop.
            KeyboardInterrupt: It was asked to stop, and nothing had to be ended first.
        """
        return [outcome for look in self._agenda.due(Moment()) for outcome in self._carry_out(look)]

    @contextlib.contextmanager
    def _serving(self) -> Iterator[str | None]:
        """Listens, as long as the block lasts, and where that is wanted; yields the address."""
        if self._watch.listen is None:
            yield None
            return
        listener = listen(*self._watch.listen)
        sources = self._settings.config.sources
        routes = Routes(self._board, self._notices, sources, self._watch.secrets)
        with contextlib.closing(Server(listener, routes.answer)):
            yield address_of(listener)

    @contextlib.contextmanager
    def _noticing(self) -> Iterator[None]:
        with (
            contextlib.closing(FolderWatch(self._settings, self._notices, self._settings.tell)),
            contextlib.closing(CommitWatch(self._settings, self._notices)),
        ):
            yield

    def _take_notices(self) -> None:
        if self._looks_again:
            self._looks_again = False
            self._notices.tell(self._habits, "signal", is_whole=True)
        for name, notice in self._notices.take().items():
            self._agenda.notice(name, notice.first, notice.last, is_whole=notice.is_whole)
            self._by.setdefault(name, notice.by)

    def _carry_out(self, look: Look) -> list[Outcome]:
        """A look, and where one source keeps the others from their turn, each by itself after it."""
        outcome = self._look(look)
        if outcome.error is None or not outcome.is_by_source or len(look.sources) < 2:
            self._record(outcome)
            return [outcome]
        apart = []
        for one in self._agenda.split(look):
            apart.append(self._look(one))
            self._record(apart[-1])
        if all(one.error is None for one in apart):
            # No source is to blame, so it is one that left the config, which only a look at all plans away.
            self._board.record(CONFIG, trouble=explain(outcome.error)[0])
            self._announce(outcome, is_news=str(outcome.error) not in self._warned)
            self._warned.add(str(outcome.error))
            return [outcome, *apart]
        return apart

    def _look(self, look: Look) -> Outcome:
        self._agenda.begin(look)
        self._board.begin()
        outcome = None
        try:
            outcome = self._looker.look(look)
        finally:
            self._board.end("failed" if outcome is None else outcome.end)
        return outcome

    def _record(self, outcome: Outcome) -> None:
        """What follows from a look: for the agenda, for the standing, for whoever reads."""
        look, now = outcome.look, time.monotonic()
        for warning in outcome.warnings:
            self._warn(warning)
        if outcome.error is None:
            self._record_success(outcome)
            self._announce(outcome)
            return
        retry = None
        if outcome.end == "refused":
            self._agenda.refused(look, now)
        else:
            retry = self._agenda.failed(look, now)
        trouble = explain(outcome.error)[0]
        changed = [self._board.record(name, trouble=trouble) for name in look.sources]
        self._announce(outcome, retry=retry, is_news=any(changed))

    def _record_success(self, outcome: Outcome) -> None:
        look = outcome.look
        missed = {name: outcome.missed(name) for name in look.sources}
        # What was missed is asked for again next time; if the reason stays the same, it is no passing one.
        new = {name for name, reasons in missed.items() if reasons and reasons != self._missed.get(name)}
        self._missed |= missed
        for name, reasons in outcome.partial:
            for reason in reasons:
                self._warn(f"{name}: {reason}")
        self._agenda.went_well(look, outcome.started, is_complete=set(look.sources) - new)
        for name in look.sources:
            left = len(outcome.left(name))
            trouble = f"documents of {name} were left as they were: {left:,}" if left else ""
            self._board.record(name, success=None if left else outcome.started, trouble=trouble)
        if look.since is None and set(look.sources) == self._habits.keys():
            self._board.record(CONFIG)
        if outcome.measured is not None and outcome.end == "applied":
            text = render(
                outcome.measured,
                name=self._board.read().name,
                at=time.time(),
                is_over=True,
                is_well=outcome.is_complete,
            )
            self._board.measured(text)
        if outcome.result is not None:
            self._count()

    def _count(self) -> None:
        """Reads how much the index holds, here and not where it is asked for: no other thread may open the state."""
        with contextlib.suppress(QloaderError, OSError):
            status = Workspace(Settings.of(self._settings.config)).status()
            self._board.count({source.name: source.documents for source in status.sources}, status.points)

    def _announce(self, outcome: Outcome, *, retry: float | None = None, is_news: bool = True) -> None:
        by = tuple(dict.fromkeys(self._by.pop(name) for name in outcome.look.sources if name in self._by))
        self._tell(Looked(outcome, by, retry, is_news))

    def _warn(self, warning: str) -> None:
        if warning not in self._warned:
            if len(self._warned) > 10_000:
                self._warned.clear()
            self._warned.add(warning)
            self._settings.tell(warning)

    def _summary(self) -> str:
        standing = self._board.read()
        if problems := list(dict.fromkeys(standing.troubles.values())):
            return f"degraded: {problems[0]}"
        return f"{standing.word}, {standing.points:,} points"


def _habit(settings: Settings, name: str) -> Habit:
    """How a source is looked at: what lies on this machine, or has a commit, is listed whole at once."""
    if settings.config.sources[name].type in ("files", "git"):
        return "whole"
    if settings.config.sources[name].type == "web":
        return "seldom"
    return "changes" if isinstance(settings.open_source(name), ListsChanges) else "seldom"
