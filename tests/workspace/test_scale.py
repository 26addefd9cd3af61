"""However many documents there are, no more of them are in memory at a time."""

from __future__ import annotations

import gc
import io
import sys
from collections import deque

import pytest

from qloader import Workspace
from qloader.manifest import snapshot
from qloader.planning import diff
from qloader.render import html, text
from qloader.render.html import render_html
from qloader.render.text import make_console, render_plan
from qloader.sources import git_dates, git_objects
from qloader.telemetry import measures
from support.git_builder import Builder
from support.workspaces import write

CONFIG = """\
name: scale
index: {path: .qloader/index}
guards: {max_delete_percent: null}
ingestion: {batch: {size: 40}, parallel: {max_workers: 1}}
policies: {small: {max_document_size: 1MB, effect: warn}}
sources: {docs: {%s}}
"""
DOCUMENTS, LOOK = 300, 3_000
"""More documents than anything else has entries: the largest is a list of all packages that are installed."""


KINDS = {"files": "type: files, path: docs", "git": "type: git, url: repo, include: ['docs/**']"}


class Largest:
    """The largest list, set, mapping or queue that came into being, looked for with every so many calls."""

    def __enter__(self):
        self._calls, self.size, self.looks_like = 0, 0, ""
        gc.collect()
        gc.freeze()  # only what is made from here on is looked at below
        gc.disable()
        sys.setprofile(self._look)
        return self

    def __exit__(self, *error):
        sys.setprofile(None)
        gc.enable()
        gc.unfreeze()

    def _look(self, frame, event, argument):
        self._calls += 1
        if self._calls % LOOK:
            return
        gc.collect()  # what nobody holds any more does not count
        made = gc.get_objects()
        self._weigh(made)
        for one in made:
            self._weigh(gc.get_referents(one))  # a mapping of plain values is known to its owner alone
        while frame is not None and frame.f_code is not steps.__code__:
            self._weigh(frame.f_locals.values())
            frame = frame.f_back

    def _weigh(self, objects):
        for one in objects:
            if one is objects or one is sys.modules:
                continue
            if isinstance(one, list | dict | set | deque) and len(one) > self.size:
                self.size, self.looks_like = len(one), f"{type(one).__name__} {str(one)[:300]}"


class Corpus:
    """Documents in folders of ten, as files or in a repository."""

    def __init__(self, folder, kind):
        self.folder, self.kind = folder, kind
        folder.mkdir()
        (folder / "qloader.yaml").write_text(CONFIG % KINDS[kind])

    def hold(self, top, word, count):
        files = {f"docs/{top}/{n // 10:04d}/page-{n}.md": f"# Page {n}\n\nIts {word} text.\n" for n in range(count)}
        if self.kind == "git":
            with Builder(self.folder / "repo") as builder:
                builder.commit(files)
            return
        for path in self.folder.glob("docs/*/*/*.md"):
            path.unlink()
        write(self.folder, files)


def steps(corpus, count):
    """A first load, every document edited, nothing changed; of files also every one moved, and all but one deleted."""
    for name, *documents in (
        ("first load", "old", "first", count),
        ("edited", "old", "second", count),
        ("no change", "old", "second", count),
        ("moved", "new", "second", count),
        ("deleted", "new", "second", 1),
    )[: 5 if corpus.kind == "files" else 3]:
        corpus.hold(*documents)
        workspace = Workspace.open(corpus.folder / "qloader.yaml")
        path = corpus.folder / "plan.json"
        with Largest() as largest:
            workspace.plan(path)
        yield f"{name}, plan", largest
        with Largest() as largest:
            plan = workspace.read_plan(path)
            deque(render_html(plan), maxlen=0)
            render_plan(plan, make_console(Nowhere()), sys.maxsize)
        yield f"{name}, show", largest
        with Largest() as largest:
            workspace.apply(plan)
        yield f"{name}, apply", largest


class Nowhere(io.TextIOBase):
    """Takes text and keeps nothing of it."""

    def write(self, text):
        return len(text)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_memory_is_as_large_as_the_source(tmp_path, monkeypatch, kind):
    # What is bounded by a number is bounded by a small one here, so that few documents show it.
    for module, *names in (
        (snapshot, "HELD_IN_MEMORY", "LINES_TOGETHER", "ROWS_A_COMMIT"),
        (diff, "PAGE"),
        (git_objects, "KEPT"),
        (git_dates, "MANY"),
        (html, "ROWS"),
        (text, "_PAGE"),
        (measures, "MOST_STRETCHES", "LATE"),
    ):
        for name in names:
            monkeypatch.setattr(module, name, 8)
    for _ in steps(Corpus(tmp_path / "warm", kind), 20):  # imports, and what is made once
        pass
    found = dict(steps(Corpus(tmp_path / "docs", kind), DOCUMENTS))
    assert {name: largest.looks_like for name, largest in found.items() if largest.size > 0.9 * DOCUMENTS} == {}
