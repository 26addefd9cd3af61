"""Another chunk size, `rollback` and `prune` as a person types them, and what is said where they cannot be."""

from __future__ import annotations

import pytest

from support.command_line import Prompt
from support.workspaces import assert_index_is_a_fresh_load


def set_max_chars(prompt: Prompt, before: int, after: int) -> None:
    text = (prompt.folder / "qloader.yaml").read_text()
    prompt.configure(text.replace(f"max_chars: {before}", f"max_chars: {after}"))


@pytest.fixture
def replaced(applied: Prompt) -> str:
    """The name of the collection that takes the place of `test`."""
    set_max_chars(applied, 200, 300)
    answer = applied.ok("ingest")
    (line,) = [line for line in answer.err.splitlines() if "stands for" in line]
    assert line.endswith("test is kept: `qloader rollback` brings it back, `qloader prune` removes it.")
    return line.removeprefix("test stands for the new collection ").partition(" ")[0]


def test_back_and_forth_and_away(applied: Prompt, replaced: str) -> None:
    assert "test was replaced and is kept" in applied.ok("status").err
    answer = applied.ok("rollback")
    assert answer.err.splitlines() == [
        f"test stands for test again, with 12 documents; {replaced} is kept.",
        "The config says otherwise: set chunking and embedding back, or the next plan replaces it again.",
    ]
    set_max_chars(applied, 300, 200)
    assert_index_is_a_fresh_load(applied.workspace)
    assert applied.ok("plan").last == "No changes. The index matches the sources."
    set_max_chars(applied, 200, 300)
    assert "The config says the same" in applied.ok("rollback").last
    assert applied.ok("prune", "--auto-approve").last == "Removed test."
    assert applied.ok("prune").last == "There was nothing to remove."
    assert "replaced" not in applied.ok("status").err
    assert_index_is_a_fresh_load(applied.workspace)


def test_prune_asks_and_does_nothing_where_nobody_answers(applied: Prompt, replaced: str) -> None:
    answer = applied.process("prune")
    assert answer.code == 1
    assert "Beside the live collection there is: test." in answer.err
    assert "nobody can be asked" in answer.error
    assert "--auto-approve" in answer.remedy
    assert f"stands for test again, with 12 documents; {replaced} is kept" in applied.ok("rollback").err


@pytest.mark.parametrize("command", ["rollback", "prune"])
def test_before_anything_was_applied_or_replaced(prompt: Prompt, command: str) -> None:
    answer = prompt(command)
    assert (answer.code, answer.error) == (1, "Error: nothing has been applied yet")
    prompt.load()
    answer = prompt(command)
    if command == "rollback":
        assert (answer.code, answer.remedy.partition(",")[0]) == (1, "Set chunking and embedding back")
        assert "there is no collection to go back to" in answer.error
    else:
        assert (answer.code, answer.last) == (0, "There was nothing to remove.")


@pytest.mark.parametrize("words", [("rollback", "test"), ("prune", "--all"), ("rollback", "--auto-approve")])
def test_words_that_a_command_does_not_know(prompt: Prompt, words: tuple[str, ...]) -> None:
    answer = prompt(*words)
    assert answer.code == 1
    assert f"qloader {words[0]} --help" in answer.err


def test_while_another_writer_holds_the_state(applied: Prompt, replaced: str) -> None:
    with applied.workspace.settings.write_state() as state:
        state.lock()
        for command in (("rollback",), ("prune", "--auto-approve")):
            assert applied(*command).code == 5
    assert applied.ok("rollback").err.startswith("test stands for test again")


@pytest.mark.parametrize(
    "option", ["--source=docs", "--target=docs/page-0001.md", "--only=page-0001.md", "--since=24h"]
)
def test_a_part_of_a_changed_pipeline_cannot_be_planned(applied: Prompt, option: str) -> None:
    (applied.folder / "more").mkdir()
    config = (applied.folder / "qloader.yaml").read_text()
    applied.configure(config.replace("sources:\n", "sources:\n  more: {type: files, path: more}\n"))
    set_max_chars(applied, 200, 300)
    answer = applied("plan", option)
    assert answer.code == 1
    assert "the whole collection is replaced" in answer.error
    assert option.partition("=")[0] in answer.error
