"""The application: its commands, and how an error becomes a sentence and an exit code."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from qloader import __version__
from qloader.cli import (
    apply_command,
    destroy_command,
    history_command,
    ingest_command,
    init_command,
    plan_command,
    search_command,
    show_command,
    state_commands,
    status_command,
    validate_command,
    verify_command,
)
from qloader.cli.common import Shared
from qloader.errors import QloaderError

app = typer.Typer(
    name="qloader",
    help="Keep a Qdrant collection true to its sources: plan, review, apply.",
    epilog="Start with: qloader init && qloader plan -o plan.json && qloader apply plan.json",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("init")(init_command.init)
app.command("validate")(validate_command.validate)
app.command("plan")(plan_command.plan)
app.command("show")(show_command.show)
app.command("verify")(verify_command.verify)
app.command("apply")(apply_command.apply)
app.command("ingest")(ingest_command.ingest)
app.command("search")(search_command.search)
app.command("status")(status_command.status)
app.command("history")(history_command.history)
app.add_typer(state_commands.app, name="state")
app.command("destroy")(destroy_command.destroy)


@app.callback(invoke_without_command=True)
def shared_options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="The config; else $QLOADER_CONFIG, else ./qloader.yaml."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Keep a Qdrant collection true to its sources: plan, review, apply."""
    if version:
        print(f"qloader {__version__}")  # noqa: T201 - what was asked for
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit
    context.obj = Shared(config=config, debug=debug)


def run(arguments: list[str]) -> int:
    """Runs one command line.

    Args:
        arguments: Without the program's name.

    Returns:
        The exit code.
    """
    debug = "--debug" in arguments or bool(os.environ.get("QLOADER_DEBUG"))
    try:
        code: Any = app(args=arguments, standalone_mode=False, prog_name="qloader")
    except QloaderError as error:
        if debug:
            raise
        _say(str(error), error.remedy)
        return error.exit_code
    except KeyboardInterrupt:
        _say("interrupted", "Nothing is half done: run the same command again.")
        return 130
    except BrokenPipeError:
        # `qloader … | head`: whoever reads has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        return _explain(error)
    return code if isinstance(code, int) else 0


def _explain(error: Exception) -> int:
    format_message = getattr(error, "format_message", None)
    if format_message is not None:  # a usage error
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "qloader"
        _say(format_message().rstrip("."), f"See `{command} --help`.")
        return 1
    if type(error).__name__ == "Abort":
        _say("aborted", "Nothing was changed.")
        return 1
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        _say(f"{error.strerror}{where}", "Free space or fix permissions, then run the same command again.")
        return 1
    _say(
        f"unexpected {type(error).__name__}: {error}",
        "This is a bug in qloader. Run the command again with --debug and report what it shows.",
    )
    return 1


def _say(message: str, remedy: str) -> None:
    from qloader.render.escape import escape_message

    red, reset = ("\x1b[1;31m", "\x1b[0m") if sys.stderr.isatty() and "NO_COLOR" not in os.environ else ("", "")
    print(f"{red}Error:{reset} {escape_message(message)}", file=sys.stderr)  # noqa: T201
    if remedy:
        print(escape_message(remedy), file=sys.stderr)  # noqa: T201
