"""What others wrote does not act on a terminal."""

from __future__ import annotations

from support.command_line import CONTROLS, Prompt
from support.workspaces import CONFIG, write

EVIL = "\x1b]0;owned\x07\x1b[2J\u202etxt.md"


def test_titles_and_names_are_escaped_in_every_output(tmp_path, capsys, monkeypatch):
    prompt = Prompt(tmp_path, capsys, monkeypatch)
    prompt.configure(CONFIG.format(path="docs", max_chars=200, batch=5, place="path: .qloader/index"))
    write(prompt.docs, {"page.md": f"# {EVIL}\n\ncanary\n", f"{EVIL}.md": "# Page\n\ncanary\n"})
    outputs = [
        prompt.ok("plan", "-o", "plan.json"),
        prompt.ok("show", "plan.json", "--format", "markdown"),
        prompt.ok("apply", "plan.json"),
        prompt.ok("search", "canary"),
        prompt.ok("state", "list"),
        prompt.ok("state", "show", f"docs/{EVIL}.md"),
        prompt.ok("status"),
        prompt.ok("history", "--run", "1"),
        prompt.ok("refresh"),
    ]
    for answer in outputs:
        assert not CONTROLS.search(answer.err + answer.out)
    assert not CONTROLS.search(prompt.ok("search", "canary", "--format", "json").out.replace("\u202e", ""))
