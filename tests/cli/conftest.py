from __future__ import annotations

from pathlib import Path

import pytest

from support.command_line import Prompt, some_documents
from support.workspaces import CONFIG, write


@pytest.fixture
def prompt(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Prompt:
    """A command line in a folder with a config and twelve documents, nothing applied yet."""
    here = Prompt(tmp_path, capsys, monkeypatch)
    here.configure(CONFIG.format(path="docs", max_chars=200, batch=5, workers=4, place="path: .qloader/index"))
    write(here.docs, some_documents(12))
    return here


@pytest.fixture
def applied(prompt: Prompt) -> Prompt:
    """The same with everything applied."""
    prompt.load()
    return prompt
