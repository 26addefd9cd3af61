import json
import re
import shutil

import pytest
from docs_pages import ROOT, Block, Note, blocks, named, pages
from docs_stage import SCENES, SKIPPED, STEPS, Stage, says

from qloader.config.models import Config

RUN = {"sh", "python"}


class Play:
    """The examples of one page, played in their order."""

    def __init__(self, base):
        self._base = base
        self._stage = None
        self._printed = ""

    def follow(self, note: Note):
        if note.word == "scene":
            self._base = self._base / "next"
            self._base.mkdir()
            self._stage = Stage(self._base)
            SCENES[note.text](self._stage)
        elif note.word == "step":
            STEPS[note.text](self._stage)

    def run(self, block: Block):
        assert self._stage is not None, f"{block}: an example, and no scene before it"
        run = self._stage.run if block.language == "sh" else self._stage.run_python
        code, self._printed = run(block.text)
        assert code == 0, f"{block} ends with exit code {code}:\n{self._printed}"

    def compare(self, block: Block, command: str):
        printed = self._stage.run(command)[1] if command else self._printed
        assert says(block.text, printed), f"{block} is not what is printed, which is:\n{printed}"


def is_run(block: Block) -> bool:
    lines = [line for line in block.text.splitlines() if not line.startswith(tuple(SKIPPED))]
    return block.language in RUN and bool(lines) and block.note("not run") is None


def is_compared(block: Block) -> bool:
    return block.note("output") is not None or block.note("output of") is not None


@pytest.mark.skipif(shutil.which("git") is None, reason="the examples begin in a git clone")
@pytest.mark.parametrize("page", [p for p in pages() if any(is_run(b) or is_compared(b) for b in blocks(p))], ids=named)
def test_the_examples_of_a_page_do_what_it_says(page, tmp_path):
    play = Play(tmp_path)
    for block in blocks(page):
        for note in block.notes:
            play.follow(note)
        if is_run(block):
            play.run(block)
        elif is_compared(block):
            play.compare(block, block.note("output of") or "")


@pytest.mark.parametrize("page", pages(), ids=named)
def test_every_block_is_tried_or_says_why_not(page):
    for block in blocks(page):
        if (why := block.note("not run")) is not None:
            assert len(why) > 10, f"{block} does not say why it is not run"
        elif block.language == "text":
            is_usage = page.name == "commands.md" and block.text.startswith("qloader ")
            assert is_usage or is_compared(block), f"{block}: is this an output?"
        elif (path := block.note("file")) is not None:
            assert block.text == (ROOT / path).read_text(encoding="utf-8"), f"{block} is not {path}: run `make docs`"
        elif block.language == "yaml":
            # Just these are loaded by tests/config/test_config_reference.py.
            keys = set(re.findall(r"^(\w+):", block.text, re.MULTILINE))
            assert keys <= Config.model_fields.keys(), f"{block} is no part of a config"
            assert keys, f"{block} has no keys"
        elif block.language == "json":
            assert is_compared(block) or block.note("abridged") is not None or json.loads(block.text)
        else:
            assert block.language in RUN, f"{block}: nothing tries blocks of {block.language!r}"


def test_a_page_that_says_something_else_than_the_program_is_found_out():
    assert says("Plan: … (1 chunk to embed).\n", "Plan: 1 to create (1 chunk to embed).\n")
    assert not says("Plan: 1 to create", "Plan: 2 to create")
    assert not says("one … two", "one\nand two")


def test_every_scene_and_step_is_on_a_page():
    notes = {note for page in pages() for block in blocks(page) for note in block.notes}
    assert {note.text for note in notes if note.word == "scene"} <= SCENES.keys()
    assert {note.text for note in notes if note.word == "step"} == STEPS.keys()
