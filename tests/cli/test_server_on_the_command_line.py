"""The main story on a server, and a server whose collection is gone or another state's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.command_line import Prompt
from support.qdrant_loopback import StandIn, serving
from support.workspaces import CONFIG, assert_index_is_a_fresh_load, write

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")  # the stand-in's own words


@contextmanager
def served(prompt: Prompt) -> Iterator[StandIn]:
    """A server, and the prompt's config pointing at it."""
    server = StandIn()
    with serving(server.respond) as url:
        prompt.configure(CONFIG.format(path="docs", max_chars=200, batch=5, place=f"url: {url}"))
        yield server


def test_the_main_story_is_the_same_on_a_server(prompt: Prompt) -> None:
    with served(prompt):
        assert prompt.ok("plan", "-o", "plan.json").last.startswith("Plan: 12 to create")
        assert prompt.ok("apply", "plan.json").last == "Apply complete: 12 created, 0 updated, 0 moved, 0 deleted."
        assert prompt.ok("plan", "--detailed-exitcode").last == "No changes. The index matches the sources."
        write(prompt.docs, {"page-0000.md": None, "page-0001.md": "# One\n\nIt tells of walruses."})
        (prompt.docs / "page-0002.md").rename(prompt.docs / "moved.md")
        prompt.load()
        hits = prompt.ok("search", "walruses", "--format", "json").json["hits"]
        assert [hit["address"] for hit in hits] == ["docs/page-0001.md"]
        assert_index_is_a_fresh_load(prompt.workspace)


def test_a_collection_that_is_another_states_is_neither_written_nor_searched(prompt: Prompt) -> None:
    with served(prompt):
        theirs = (prompt.folder / "qloader.yaml").read_text()
        prompt.load()
        (prompt.folder / ".qloader" / "state.db").rename(prompt.folder / "their-state.db")
        with served(prompt):
            prompt.load()
            prompt.configure(theirs)  # the same collection, but on their server
            write(prompt.docs, {"new.md": "new"})
            for command in (["ingest"], ["search", "gardens"], ["destroy", "--auto-approve"], ["validate"]):
                answer = prompt(*command)
                assert answer.code == 1, command
                assert "the collection test belongs to the state" in answer.err


def test_a_collection_that_is_gone_is_named(prompt: Prompt) -> None:
    with served(prompt) as server:
        prompt.load()
        server.remove("test")
        write(prompt.docs, {"new.md": "new"})
        for command in (["apply", "plan.json"], ["ingest"], ["validate"]):
            answer = prompt(*command)
            assert answer.code == 1, command
            assert "the collection test is gone, but the state says that it holds 12 documents" in answer.err
        assert prompt("search", "gardens").code == 1
