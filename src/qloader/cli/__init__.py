"""The command line: one module a command, each a thin layer over the workspace.

Output for people goes to stderr, output for programs alone to stdout. Modules here import nothing heavy
at the top: `qloader --version` and a plan without changes must feel instant.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys

from qloader.cli.streams import insist_on_utf8, prepare_streams


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and ends the process with the contract's exit codes."""
    # Looking for plugins of pydantic reads the metadata of every installed package, at every start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    # Where no memory is left the engine would print where it was, for which it needs memory: it then hangs for ever,
    # with Python's lock held, so that not even a signal ends it.
    os.environ["RUST_BACKTRACE"] = "0"
    # Loading makes a hundred thousand objects that stay: looking for garbage among them is a tenth of a short run.
    gc.set_threshold(200_000, 5, 5)
    if arguments is None:
        insist_on_utf8()
    prepare_streams()
    given = sys.argv[1:] if arguments is None else arguments
    if given == ["--version"]:
        # Typer would import pydantic to look at the options.
        from qloader import __version__

        print(f"qloader {__version__}")  # noqa: T201 - what was asked for
        sys.exit(0)
    import tempfile

    # SQLite reads it when it is loaded; without it what it spills to disk is elsewhere than all else that is temporary.
    os.environ.setdefault("SQLITE_TMPDIR", tempfile.gettempdir())
    try:
        from qloader.cli.app import run

        code = run(given)
    except KeyboardInterrupt:  # while the program was being loaded
        code = 130
    if code == 130:
        # Where Ctrl-C came while classes were made from text, as dataclasses are, Python remembers it, and would end by
        # the signal, whatever it is told here. So the process ends without Python's help, but for what is temporary.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        atexit._run_exitfuncs()
        os._exit(code)
    sys.exit(code)
