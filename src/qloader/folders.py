"""Folders that qloader makes for what it keeps: nobody else may look into them, and git leaves them alone."""

from __future__ import annotations

import os
from pathlib import Path

STATE_FOLDER = ".qloader"
"""The folder beside a config for state, cache and an embedded index; git is told to ignore it."""


def make_private_folder(folder: Path) -> None:
    """Makes a folder and those above it that are missing, each with mode 0700.

    Raises:
        OSError: One of them cannot be made.
    """
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(mode=0o700, exist_ok=True)
        if parent.name == STATE_FOLDER:
            _ignore(parent)


def _ignore(folder: Path) -> None:
    descriptor = os.open(folder / ".gitignore", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("# Written by qloader: what is here is this machine's own.\n*\n")
