"""What the commands share: options, consoles, and how a run is shown."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qloader.cli import logs
from qloader.cli.streams import takes_colours
from qloader.counting import counted

if TYPE_CHECKING:
    from rich.console import Console

    from qloader.applying.events import Event, Listener
    from qloader.applying.result import ApplyResult
    from qloader.planning.plan import Plan
    from qloader.render.diff import Texts
    from qloader.render.progress import Progress
    from qloader.render.review import Review
    from qloader.workspace import Workspace
    from qloader.workspace.planning import PlanRequest, PlanResult


@dataclass(frozen=True, slots=True)
class Shared:
    """Options given before the command."""

    config: Path | None = None
    debug: bool = False


class PlanFormat(StrEnum):
    """How a plan is printed."""

    text = "text"
    markdown = "markdown"
    html = "html"
    json = "json"


class OutputFormat(StrEnum):
    """How anything else is printed."""

    text = "text"
    json = "json"


class SearchMode(StrEnum):
    """By which vectors is searched."""

    hybrid = "hybrid"
    dense = "dense"
    sparse = "sparse"


class FusionKind(StrEnum):
    """How rankings become one."""

    rrf = "rrf"
    dbsf = "dbsf"


def read_path(text: str) -> Path:
    """The path that an option or an argument names: the parser of every one that takes a path.

    An empty one is most often a variable of a shell that is not set, and would be the current folder. A dash would be a
    file of that name, and is meant otherwise.
    """
    if not str(text):
        raise typer.BadParameter("an empty value names no file or folder (a variable that is not set?)")
    if str(text) == "-":
        raise typer.BadParameter("- names no file: standard input and output are not files here (./- is one)")
    return Path(text)


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        parser=read_path,
        help="The config; else $QLOADER_CONFIG, else ./qloader.yaml.",
    ),
]
SourceOption = Annotated[
    list[str] | None, typer.Option("--source", metavar="NAME", help="Only this source; may be given several times.")
]
ModeOption = Annotated[
    SearchMode | None,
    typer.Option(
        "--mode",
        help="By words (sparse), by meaning (dense) or by both (hybrid), which is usual where the config has dense "
        "vectors.",
    ),
]
FusionOption = Annotated[
    FusionKind | None,
    typer.Option(
        "--fusion", help="How a hybrid search makes one ranking of two, by ranks or by scores; else as configured."
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights", metavar="WEIGHTS", help="How much each ranking counts in rrf: dense=2,bm25=1; else as configured."
    ),
]
RerankOption = Annotated[
    bool, typer.Option("--rerank/--no-rerank", help="Whether the configured reranker puts the hits in order anew.")
]
NoCacheOption = Annotated[bool, typer.Option("--no-cache", help="Read and hash every document again.")]
AllowDeletesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-deletes",
        metavar="NAME",
        help="Let this one plan delete more of a source than the guards allow; the plan records it.",
    ),
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="POLICY",
        help="Let this one plan pass a policy whose effect is require_allow; the plan records it.",
    ),
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME|COMMIT",
        help="Look only at what was changed since: 24h, 2026-11-01, 2026-11-01T10:00+02:00, or a commit of a git "
        "source. Nothing is deleted then.",
    ),
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="PATTERN",
        help="Plan only documents whose id or address matches, as in .gitignore: docs/guide/**; may be given several "
        "times.",
    ),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="PATTERN", help="Leave these documents out; may be given several times."),
]
TargetOption = Annotated[
    list[str] | None,
    typer.Option("--target", metavar="ADDRESS", help="Plan this document (source/id); may be given several times."),
]
PlanFormatOption = Annotated[
    PlanFormat, typer.Option("--format", help="text for people, or markdown, html or json on stdout.")
]
FormatOption = Annotated[OutputFormat, typer.Option("--format", help="text for people, or json on stdout.")]
EventFormatOption = Annotated[
    OutputFormat, typer.Option("--format", help="text for people, or json on stdout: one event a line.")
]
ProfileOption = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        metavar="FILE",
        parser=read_path,
        help="Write a trace of the run, which opens in Perfetto (https://ui.perfetto.dev).",
    ),
]
AllOption = Annotated[bool, typer.Option("--all", help="Show every change; long lists are folded otherwise.")]


def open_workspace(context: typer.Context, config: Path | None) -> Workspace:
    """The workspace of the config named on the command line, after or before the command."""
    from qloader.workspace import Workspace

    shared: Shared = context.obj
    return Workspace.open(config or shared.config, tell=say)


@contextmanager
def measured(workspace: Workspace, profile: Path | None, *, is_apply: bool) -> Iterator[None]:
    """What is planned and applied in the `with` block is measured as one run, and told as the command line says."""
    with workspace.measured(is_apply=is_apply, profile=profile, log=logs.current()):
        yield
    if profile is not None:
        say(f"Trace written to {profile}; https://ui.perfetto.dev opens it.")


def request_of(
    sources: list[str] | None,
    no_cache: bool,
    allow_deletes: list[str] | None,
    *,
    allow: list[str] | None = None,
    destroy: bool = False,
    refresh: bool = False,
    since: str | None = None,
    only: list[str] | None = None,
    exclude: list[str] | None = None,
    target: list[str] | None = None,
) -> PlanRequest:
    """What the planning options ask for."""
    from qloader.planning.selecting import selection_of
    from qloader.workspace.planning import PlanRequest
    from qloader.workspace.since import parse_since

    return PlanRequest(
        sources=tuple(sources) if sources else None,
        use_cache=not no_cache,
        allow_deletes=tuple(allow_deletes or ()),
        allow=tuple(allow or ()),
        destroy=destroy,
        refresh=refresh,
        since=None if since is None else parse_since(since),
        selection=selection_of(only or (), exclude or (), target or ()),
    )


def read_weights(text: str | None) -> dict[str, float] | None:
    """The weights that `--weights` names.

    Raises:
        ConfigError: Something else than names and numbers.
    """
    from qloader.errors import ConfigError

    if text is None:
        return None
    try:
        return {name.strip(): float(weight) for name, weight in (part.split("=") for part in text.split(","))}
    except ValueError:
        raise ConfigError(
            f"--weights {text!r} is no list of names and numbers", remedy="Write --weights dense=2,bm25=1."
        ) from None


def people() -> Console:
    """The console for people: stderr, wide enough for long ids where it is no terminal."""
    from qloader.render.text import make_console

    return make_console(sys.stderr)


def say(text: str, *, is_bold: bool = False) -> None:
    """Prints a line for people."""
    from qloader.render.escape import escape_controls

    bold, reset = ("\x1b[1m", "\x1b[0m") if is_bold and takes_colours(sys.stderr) else ("", "")
    print(f"{bold}{escape_controls(text)}{reset}", file=sys.stderr)  # noqa: T201


def print_json(value: Any) -> None:
    """Prints JSON for programs, alone on stdout."""
    import json

    print(json.dumps(value, ensure_ascii=False, indent=2))  # noqa: T201


def tell(output: OutputFormat, facts: Mapping[str, Any], *sentences: str) -> None:
    """Ends a command: prints what was done as JSON for programs, or as sentences for people."""
    if output is OutputFormat.json:
        print_json(facts)
        return
    for sentence in sentences:
        say(sentence)


def print_line(value: Any) -> None:
    """Prints one line of JSON for programs that read while the work goes on."""
    import json

    print(json.dumps(value, ensure_ascii=False), flush=True)  # noqa: T201


def show_plan(
    plan: Plan,
    output: PlanFormat,
    *,
    show_all: bool = False,
    path: Path | None = None,
    texts: Texts | None = None,
    review: Review | None = None,
) -> None:
    """Prints a plan.

    Args:
        plan: The plan.
        output: How.
        show_all: Do not fold long lists.
        path: The plan file, which is what `json` prints.
        texts: Where the changed texts come from; None prints none. `json` has none.
        review: What else is known of it; what the plan alone says where None.
    """
    from qloader.render.diff import DIFF_LINES
    from qloader.render.wording import FOLD

    fold, lines = (sys.maxsize, sys.maxsize) if show_all else (FOLD, DIFF_LINES)
    match output:
        case PlanFormat.json:
            assert path is not None
            sys.stdout.flush()
            with path.open("rb") as file:
                while block := file.read(1 << 16):
                    sys.stdout.buffer.write(block)
        case PlanFormat.markdown:
            from qloader.render.markdown import render_markdown

            for part in render_markdown(plan, texts=texts, fold=fold, lines=lines, review=review):
                sys.stdout.write(part)
        case PlanFormat.html:
            from qloader.render.html import render_html

            for part in render_html(plan, texts=texts, fold=fold, lines=lines, review=review):
                sys.stdout.write(part)
        case PlanFormat.text if not logs.takes_stderr():  # there, `planned` says how much it is
            from qloader.render.review import Review, only_line

            if only := only_line(plan.header, review or Review.of_file(plan.header)):
                say(only, is_bold=True)
                return
            from qloader.render.text import render_plan

            render_plan(plan, people(), fold, texts=texts, lines=lines, review=review)


def review_of(result: PlanResult) -> Review:
    """What is known of a plan that was just made."""
    from qloader.render.review import Review

    return Review(
        estimate=result.estimate,
        policies=tuple(outcome.as_result() for outcome in result.outcomes),
        warnings=tuple(w for outcome in result.outcomes if outcome.rests_on_price for w in outcome.warnings()),
        refusal=result.refusal,
    )


def make_progress() -> Progress:
    """Bars on a terminal, nothing elsewhere."""
    from qloader.render.progress import NoProgress, TerminalProgress

    return TerminalProgress() if sys.stderr.isatty() else NoProgress()


def conclude(result: PlanResult) -> None:
    """Tells what there is to tell of a plan that was shown.

    Raises:
        GuardError: A guard or a policy refuses it.
    """
    for note in result.notes:
        say(f"Note: {note}")
    if result.refusal is not None:
        raise result.refusal


STOPPING = "Stopping after this batch; press Ctrl-C again to stop at once (also safe)."


@contextmanager
def stopping_at_batch_edges() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM stop an apply at the next batch edge; a second Ctrl-C stops at once.

    Yields:
        Whether to stop, for `Workspace.apply`.
    """
    asked = 0

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise KeyboardInterrupt
        say(STOPPING)

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked > 0
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def telling_events(output: OutputFormat) -> Iterator[Listener | None]:
    """With `--format json` each event of an apply is a line of JSON on stdout, written at once; an error is the last.

    Where nobody reads on (`| head -1`), the rest goes nowhere and the apply goes on: see `cli.streams`.

    Yields:
        The listener for `Workspace.apply`; None where people read.
    """
    if output is OutputFormat.text:
        yield None
        return
    from qloader.errors import InterruptedRunError
    from qloader.render.events import error_as_dict, event_as_dict

    def tell(event: Event) -> None:
        print_line(event_as_dict(event))

    try:
        yield tell
    except KeyboardInterrupt:
        print_line(error_as_dict(InterruptedRunError("stopped by Ctrl-C")))
        raise
    except Exception as error:
        print_line(error_as_dict(error))
        raise


def report_apply(result: ApplyResult, output: OutputFormat) -> int:
    """Tells people what an apply did; programs were told by its last event.

    Returns:
        The exit code: 1 where documents were left as they were.
    """
    from qloader.render.wording import applied_line, describe_dense

    if output is OutputFormat.json:
        return 0 if result.is_complete else 1
    for failure in result.failures[:20]:
        say(f"! {failure.source}/{failure.document_id} left as it was: {failure.detail}")
    if len(result.failures) > 20:
        say(f"! … and {len(result.failures) - 20:,} more; see `qloader history --format json`")
    if result.failures:
        say("Plan again to bring them up to date.")
    if result.dense is not None:
        say(describe_dense(result.dense))
    for sentence in result.settings:
        say(sentence)
    if result.already:
        say(f"{counted(result.already, 'change')} of this plan had been applied before.")
    say(applied_line(result))
    return 0 if result.is_complete else 1
