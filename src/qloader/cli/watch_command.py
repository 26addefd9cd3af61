"""`qloader watch`: keeps the index true until it is stopped."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from qloader.cli import common, logs

if TYPE_CHECKING:
    from qloader.watching.service import Service
    from qloader.watching.telling import Teller, WatchEvent


def watch(
    context: typer.Context,
    interval: Annotated[
        str | None,
        typer.Option(
            "--interval", metavar="TIME", help="How often every source is looked at: 30s, 5m; else as configured."
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="Serve health, metrics and hooks here; else as configured, or nowhere.",
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Look at every source once, and end.")] = False,
    output_format: common.EventFormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> int:
    """Keep the index true: plan and apply whatever changes, the guards hold, until stopped by Ctrl-C or SIGTERM."""
    from qloader.config.units import parse_duration
    from qloader.errors import ConfigError

    with common.telling_events(output_format):
        workspace = common.open_workspace(context, config)
        try:
            seconds = None if interval is None else parse_duration(interval)
        except ValueError as error:
            raise ConfigError(f"--interval {interval!r}: {error}", remedy="Write --interval 5m.") from None
        if seconds is not None and seconds <= 0:
            raise ConfigError(f"--interval {interval!r}: expected more than nothing", remedy="Write --interval 5m.")
        from qloader.watching.service import Service, Watch

        how = Watch.of(workspace.settings.config, interval=seconds, listen=listen)
        service = Service(workspace, how, _teller(output_format), log=logs.current())
        with _stopping(service):
            if not once:
                service.run()
                return 0
            outcomes = service.run_once()
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if errors:
        raise errors[0]
    return 0 if all(outcome.is_complete for outcome in outcomes) else 1


def _teller(output: common.OutputFormat) -> Teller:
    from qloader.render.events import event_as_dict
    from qloader.watching.telling import Looked, Stopped, Watching, as_dict, sentences

    def tell(event: WatchEvent) -> None:
        if output is common.OutputFormat.json:
            if isinstance(event, Watching | Looked | Stopped):
                common.print_line(as_dict(event))
            else:
                common.print_line(event_as_dict(event))
            return
        for sentence in sentences(event):
            common.say(sentence)

    return tell


@contextmanager
def _stopping(service: Service) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the service where nothing is left half done, a second one at once; SIGHUP wakes it."""

    def ask(number: int, frame: FrameType | None) -> None:
        if service.interrupt():
            common.say(common.STOPPING)

    def wake(number: int, frame: FrameType | None) -> None:
        service.look_again()

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, wake)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
