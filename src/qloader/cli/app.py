"""The application: its commands, and how an error becomes a sentence and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from qloader import __version__
from qloader.cli import logs
from qloader.cli.common import ConfigOption, Shared, read_path
from qloader.cli.streams import takes_colours
from qloader.errors import InterruptedRunError, QloaderError, out_of_memory

COMMANDS: Mapping[str, str] = {
    "init": "init_command:init",
    "validate": "validate_command:validate",
    "plan": "plan_command:plan",
    "show": "show_command:show",
    "verify": "verify_command:verify",
    "apply": "apply_command:apply",
    "ingest": "ingest_command:ingest",
    "watch": "watch_command:watch",
    "import": "import_command:import_collection",
    "search": "search_command:search",
    "eval": "eval_command:evaluate",
    "status": "status_command:status",
    "history": "history_command:history",
    "refresh": "refresh_command:refresh",
    "optimize": "optimize_command:optimize",
    "rollback": "rollback_command:rollback",
    "prune": "rollback_command:prune",
    "destroy": "destroy_command:destroy",
    "state": "state_commands:app",
    "cache": "cache_commands:app",
}
"""Every command and group of commands by name, as help lists them: its module in this package, and what of it."""

COMPLETE = "_QLOADER_COMPLETE"
"""The variable by which a shell asks Typer for completions, in place of what the command line says."""


class _Commands(TyperGroup):
    """All commands. Typer turns Ctrl-C into a silent exit; here it becomes an error that says how to go on."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command that was named."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise InterruptedRunError(
                "stopped by Ctrl-C",
                remedy="Nothing is half done, and what an apply committed is recorded: run the same command again.",
            ) from None
        except SystemExit as error:  # nothing of ours does this, and its code would be taken for that of the command
            raise QloaderError(
                f"a package that the config uses ended the program (exit code {error.code})",
                remedy="Tell those who make it; --debug shows where. Nothing is half done.",
            ) from error


def make_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The application.

    Args:
        names: The commands that it has. Typer looks at every option of every command, which takes as long as looking
            at a thousand files, and a command line names one.
    """
    app = typer.Typer(
        name="qloader",
        cls=_Commands,
        help="Keep a Qdrant collection true to its sources: plan, review, apply.",
        epilog="Start with: qloader init && qloader plan -o plan.json && qloader apply plan.json",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(shared_options)
    for name in names:
        module, _, attribute = COMMANDS[name].partition(":")
        found = getattr(import_module(f"qloader.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def shared_options(
    context: typer.Context,
    config: ConfigOption = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
    log_format: Annotated[
        str,
        typer.Option(
            "--log-format",
            metavar="text|json",
            help="json: a record a line on stderr, in place of what people read. May stand anywhere.",
        ),
    ] = "text",
    log_file: Annotated[
        Path | None,
        typer.Option(
            "--log-file",
            metavar="FILE",
            parser=read_path,
            help="Add the records to a file instead. May stand anywhere.",
        ),
    ] = None,
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
    debug, arguments = _take_debug(arguments)
    with contextlib.ExitStack() as stack:
        try:
            _check_folder()
            arguments = logs.begin(arguments, stack)
            app = make_app(_named_in(arguments))
            code: Any = _complete(app) if os.environ.get(COMPLETE) else _call(app, arguments)
            sys.stdout.flush()  # here, where a full disk still is an error with an exit code
        except Exception as error:
            if debug and not _is_usage(error):
                traceback.print_exception(error)
            return _explain(error)
        return code if isinstance(code, int) else 0


def _call(app: typer.Typer, arguments: list[str]) -> Any:
    return app(args=arguments, standalone_mode=False, prog_name="qloader")


def _complete(app: typer.Typer) -> int:
    """Answers a shell that completes a command line: it says so by a variable, and by others what was typed.

    Raises:
        QloaderError: No shell asks like this, so that the variable is a stray one.
    """
    wrong: BaseException
    try:
        _call(app, [])
    except SystemExit as error:
        if not error.code:
            return 0
        wrong = error
    except (KeyError, ValueError) as error:
        wrong = error
    raise QloaderError(
        f"the variable {COMPLETE} is {os.environ[COMPLETE]!r}, and no shell asks for completions like this",
        remedy=f"Unset {COMPLETE}: what `qloader --install-completion` installs sets it when it is needed.",
    ) from wrong


def _named_in(arguments: list[str]) -> Iterable[str]:
    """The command that a line surely names; all of them where it names another, or asks for help first."""
    place = 0
    while place < len(arguments) and arguments[place] in ("-c", "--config"):
        place += 2  # its value may well be called as a command is
    named = arguments[place : place + 1]
    return named if named and named[0] in COMMANDS else COMMANDS


def _check_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        raise QloaderError(
            "the folder that this command was run in is gone", remedy="Change to one that exists, and run it again."
        ) from None


def _take_debug(arguments: list[str]) -> tuple[bool, list[str]]:
    """Whether `--debug` is there, and the arguments without it: it may stand anywhere before a `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    rest = [argument for argument in arguments[:end] if argument != "--debug"]
    return len(rest) < end or bool(os.environ.get("QLOADER_DEBUG")), rest + arguments[end:]


def _is_usage(error: Exception) -> bool:
    # Typer carries its own copy of click or uses the installed one, as its version has it: no class to name.
    return hasattr(error, "format_message")


def _explain(error: Exception) -> int:
    error = out_of_memory(error) or error
    if isinstance(error, QloaderError):
        _say(str(error), error.remedy)
        return error.exit_code
    if _is_usage(error):
        return _explain_usage(error)
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


def _explain_usage(error: Any) -> int:
    message = error.format_message().removesuffix(".").replace("Value error, ", "")
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(message)
        return 0
    context = getattr(error, "ctx", None)
    _say(message, f"See `{context.command_path if context is not None else 'qloader'} --help`.")
    return 1


def _say(message: str, remedy: str) -> None:
    from qloader.render.escape import escape_message

    if logs.tell_error(message, remedy):
        return
    red, reset = ("\x1b[1;31m", "\x1b[0m") if takes_colours(sys.stderr) else ("", "")
    print(f"{red}Error:{reset} {escape_message(message)}", file=sys.stderr)  # noqa: T201
    if remedy:
        print(escape_message(remedy), file=sys.stderr)  # noqa: T201
