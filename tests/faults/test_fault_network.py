"""The fault rig over sources that read from servers: whatever fails in an apply, every way on ends in a fresh load."""

from __future__ import annotations

import contextlib
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qloader import Workspace
from qloader.errors import QloaderError
from qloader.planning.planfile import FilePlan
from servers.docs_site import DocsSite
from support.atlassian_sites import assert_index_is_a_fresh_load_of, run_confluence, run_jira
from support.faults import Killed, called_methods, faults_of, faulty, recording, sample
from support.workspaces import plan_and_apply

EVERY_FAULT = bool(os.environ.get("QLOADER_EVERY_FAULT"))
TRIALS = 3
"""How many faults of each source are tried in the short run, another handful for each of them."""

LONG = " ".join(f"Sentence {n} says something about lamps and gardens." for n in range(12))


class Story:
    """A place of documents with a first state, a change and a way back."""

    def __init__(self, keys: dict[str, Any]) -> None:
        self.keys = keys

    def change(self) -> None:
        raise NotImplementedError

    def revert(self) -> None:
        raise NotImplementedError


class Wiki(Story):
    def __init__(self, running: Any) -> None:
        super().__init__(running.keys)
        self.model = running.model
        self.model.add_space("ENG")
        names = ("edited", "titled", "gone", "same")
        self.pages = {name: self.model.add("ENG", name, f"<p>{name}. {LONG}</p>") for name in names}

    def change(self) -> None:
        self.model.edit(self.pages["edited"], f"<p>edited twice. {LONG}</p>")
        self.model.edit(self.pages["titled"], title="another title")
        self.model.set_status(self.pages["gone"], "trashed")
        self.pages["new"] = self.model.add("ENG", "new", "<p>new</p>")

    def revert(self) -> None:
        self.model.edit(self.pages["edited"], f"<p>edited. {LONG}</p>")
        self.model.edit(self.pages["titled"], title="titled")
        self.model.set_status(self.pages["gone"], "current")
        self.model.set_status(self.pages["new"], "trashed")


class Tracker(Story):
    def __init__(self, running: Any, text: Callable[[str], Any]) -> None:
        super().__init__(running.keys | {"projects": ["ENG", "OPS"]})
        self.model, self.text = running.model, text
        self.model.projects["OPS"] = "Operations"
        names = ("edited", "titled", "moved", "gone", "same")
        self.issues = {name: self.model.add("ENG", name, text(f"{name}. {LONG}")) for name in names}

    def change(self) -> None:
        self.model.edit(self.issues["edited"], description=self.text(f"edited twice. {LONG}"))
        self.model.change_status(self.issues["titled"], "Done")
        self.issues["moved"] = self.model.move(self.issues["moved"], "OPS")
        self.removed = self.model.delete(self.issues["gone"])
        self.issues["new"] = self.model.add("ENG", "new", self.text("new"))

    def revert(self) -> None:
        self.model.edit(self.issues["edited"], description=self.text(f"edited. {LONG}"))
        self.model.change_status(self.issues["titled"], "To Do")
        self.model.restore(self.removed)
        self.model.delete(self.issues["new"])


class Pages(Story):
    def __init__(self, site: DocsSite, base: str) -> None:
        super().__init__({"type": "web", "url": base + "/", "retry_attempts": 0})
        self.site = site
        for name in ("edited", "moved", "gone", "same"):
            site.write(f"/{name}", name, f"{name}. {LONG}")

    def change(self) -> None:
        self.site.write("/edited", "edited", f"edited twice. {LONG}")
        self.site.pages["/elsewhere"] = self.site.pages.pop("/moved")
        self.gone = self.site.pages.pop("/gone")
        self.site.write("/new", "new", "new")

    def revert(self) -> None:
        self.site.write("/edited", "edited", f"edited. {LONG}")
        self.site.pages["/moved"] = self.site.pages.pop("/elsewhere")
        self.site.pages["/gone"] = self.gone
        del self.site.pages["/new"]


def document(text: str) -> dict[str, Any]:
    return {
        "type": "doc",
        "version": 1,
        "content": [{"type": "paragraph", "content": [{"type": "text", "text": text}]}],
    }


@contextlib.contextmanager
def story_of(kind: str) -> Iterator[Story]:
    type_, _, edition = kind.partition(" ")
    if type_ == "confluence":
        with run_confluence(edition) as running:
            yield Wiki(running)
    elif type_ == "jira":
        with run_jira(edition) as running:
            yield Tracker(running, document if edition == "cloud" else str)
    else:
        site = DocsSite()
        with site.serve() as base:
            yield Pages(site, base)


@contextlib.contextmanager
def stage(folder: Path, kind: str) -> Iterator[tuple[Workspace, FilePlan, Story]]:
    """A workspace whose next apply brings the first state to the second."""
    folder.mkdir()
    with story_of(kind) as story:
        config = {
            "name": "test",
            "index": {"collection": "test", "path": ".qloader/index"},
            "state": {"path": ".qloader/state.db"},
            "sources": {"site": story.keys},
            "chunking": {"max_chars": 200},
            "guards": {"max_delete_percent": None},
            "ingestion": {"batch": {"size": 2}},
        }
        (folder / "qloader.yaml").write_text(json.dumps(config), encoding="utf-8")
        workspace = Workspace.open(folder / "qloader.yaml")
        plan_and_apply(workspace)
        story.change()
        yield workspace, workspace.plan(folder / "plan.json").plan, story


def same_plan_again(workspace: Workspace, plan: FilePlan, story: Story) -> None:
    workspace.apply(plan)


def plan_anew(workspace: Workspace, plan: FilePlan, story: Story) -> None:
    plan_and_apply(workspace)


def revert_and_plan(workspace: Workspace, plan: FilePlan, story: Story) -> None:
    story.revert()
    plan_and_apply(workspace)


WAYS_ON = [same_plan_again, plan_anew, revert_and_plan]
KINDS = ["confluence cloud", "confluence data_center", "jira cloud", "jira data_center", "web"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_of_an_apply_from_a_server_is_mended(tmp_path: Path, kind: str) -> None:
    with stage(tmp_path / "first", kind) as (workspace, plan, _):
        methods = called_methods(lambda: workspace.apply(plan) and None)
    with stage(tmp_path / "second", kind) as (workspace, plan, _), recording(methods) as points:
        workspace.apply(plan)
    trials = [(point, fault, way_on) for point in sample(points) for fault in faults_of(point) for way_on in WAYS_ON]
    if not EVERY_FAULT:
        trials = random.Random(kind).sample(trials, TRIALS)
    happened = 0
    for number, (point, fault, way_on) in enumerate(trials):
        with stage(tmp_path / str(number), kind) as (workspace, plan, story):
            with faulty(methods, point, fault) as broken, contextlib.suppress(Exception, Killed):
                workspace.apply(plan)
            happened += bool(broken)
            try:
                way_on(workspace, plan, story)
                # What was changed and changed back is no change, and keeps the time of the first.
                assert_index_is_a_fresh_load_of(workspace, dated=way_on is not revert_and_plan)
                assert workspace.refresh().points == ()
                assert workspace.plan().plan.header.is_empty
            except (AssertionError, QloaderError) as error:
                raise AssertionError(f"{fault} at {point}, then {way_on.__name__}: {error!r}") from error
    assert happened > 0.7 * len(trials)
