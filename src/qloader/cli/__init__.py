"""The command line: one module a command, each a thin layer over the workspace.

Output for people goes to stderr, output for programs alone to stdout. Modules here import nothing heavy
at the top: `qloader --version` and a plan without changes must feel instant.
"""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and ends the process with the contract's exit codes."""
    from qloader.cli.app import run

    sys.exit(run(sys.argv[1:] if arguments is None else arguments))
