"""Confluence and Jira servers that run, and sources and workspaces that read them."""

from __future__ import annotations

import atexit
import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter

from qloader import Workspace
from qloader.config.sources import SourceConfig
from qloader.documents.document import Document, Skipped
from qloader.sources.registry import open_source
from servers.atlassian import Site
from servers.confluence import confluence_cloud, confluence_data_center
from servers.confluence_model import Confluence
from servers.jira import jira_cloud, jira_data_center
from servers.jira_model import Jira
from servers.serving import serve
from support.workspaces import dump, plan_and_apply

EDITIONS = ("cloud", "data_center")


class _Switch:
    """A server that stays, since each costs a while to start and to stop; what it serves changes."""

    free: ClassVar[list[_Switch]] = []

    def __init__(self) -> None:
        self.site: Any = None
        self._stack = contextlib.ExitStack()
        self.address = self._stack.enter_context(serve(self))
        atexit.register(self._stack.close)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.site(scope, receive, send)


@contextlib.contextmanager
def _serve(site: Site) -> Iterator[str]:
    switch = _Switch.free.pop() if _Switch.free else _Switch()
    switch.site = site
    yield switch.address
    _Switch.free.append(switch)


@dataclass
class Running:
    """A server that runs.

    Attributes:
        model: What it holds.
        site: Its front door, where faults are put.
        keys: What a config says of a source that reads it.
    """

    model: Any
    site: Site
    keys: dict[str, Any]

    @property
    def is_cloud(self) -> bool:
        """Which edition it is."""
        return self.keys["deployment"] == "cloud"

    def source(self, **keys: Any) -> Any:
        """A source that reads it, opened as from a config."""
        config: Any = TypeAdapter(SourceConfig).validate_python(self.keys | keys)
        return open_source("wiki", config, base=Path("/"), cache_dir=Path("/"))

    def workspace(self, folder: Path, **keys: Any) -> Workspace:
        """A workspace in a folder, with this as its only source."""
        config = {
            "name": "test",
            "index": {"collection": "test", "path": ".qloader/index"},
            "state": {"path": ".qloader/state.db"},
            "sources": {"wiki": self.keys | keys},
            "chunking": {"max_chars": 200},
            "guards": {"max_delete_percent": 100},
        }
        file = folder / "qloader.yaml"
        file.write_text(json.dumps(config), encoding="utf-8")
        return Workspace.open(file)

    @property
    def requests(self) -> list[str]:
        """What was asked since the last `clear`."""
        return self.model.traffic.requests

    def clear(self) -> None:
        """Forgets what was asked."""
        self.model.traffic.clear()


@contextlib.contextmanager
def run_confluence(deployment: str, *, max_limit: int = 250, has_scan: bool = True) -> Iterator[Running]:
    """A Confluence server of an edition, empty."""
    model = Confluence(max_limit=max_limit)
    site = confluence_cloud(model) if deployment == "cloud" else confluence_data_center(model, has_scan=has_scan)
    with _serve(site) as address:
        context = "/wiki" if deployment == "cloud" else "/confluence"
        yield Running(model, site, _keys("confluence", deployment, address + context, model) | {"spaces": ["ENG"]})


@contextlib.contextmanager
def run_jira(
    deployment: str, *, max_results: int | None = None, max_ids: int = 1000, has_bulk: bool = True
) -> Iterator[Running]:
    """A Jira server of an edition, empty."""
    model = Jira(max_results=max_results or (100 if deployment == "cloud" else 1000), max_ids=max_ids)
    site = jira_cloud(model, has_bulk=has_bulk) if deployment == "cloud" else jira_data_center(model)
    with _serve(site) as address:
        context = "" if deployment == "cloud" else "/jira"
        yield Running(model, site, _keys("jira", deployment, address + context, model) | {"projects": ["ENG"]})


def read_all(source: Any) -> dict[str, Document]:
    """Every document that a source lists, by id."""
    listing = source.list()
    ids = [item.id for item in listing.items]
    assert listing.complete, listing.problems
    found = {one.id: one for one in source.fetch(ids)}
    assert not [one for one in found.values() if isinstance(one, Skipped)]
    return found


def tokens(source: Any) -> dict[str, str]:
    """Ids and change tokens of a complete listing."""
    listing = source.list()
    found = {item.id: item.token for item in listing.items}
    assert listing.complete, listing.problems
    return found


def counts(workspace: Workspace, **request: Any) -> dict[str, int]:
    """Plans and applies; what was done, without zeros, and how many chunks were embedded."""
    result = plan_and_apply(workspace, **request)
    assert not result.failures
    done = {name: getattr(result, name) for name in ("created", "updated", "moved", "deleted", "repaired", "embedded")}
    return {name: count for name, count in done.items() if count}


def assert_index_is_a_fresh_load_of(workspace: Workspace, *, dated: bool = True) -> None:
    """The index equals, point by point, what a new one holds that is loaded from the servers as they are now."""
    found = dump(workspace)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "qloader.yaml"
        file.write_text(workspace.settings.config.file.read_text(encoding="utf-8"), encoding="utf-8")
        fresh = Workspace.open(file)
        plan_and_apply(fresh)
        expected = dump(fresh)
    if not dated:
        for points in (found, expected):
            for point in points.values():
                point["payload"].pop("updated_at")
                point["payload"]["qloader"].pop("revision", None)  # only chunk 0 has one
    assert found == expected
    assert workspace.status().points == len(found)


def _keys(type_: str, deployment: str, url: str, model: Any) -> dict[str, Any]:
    keys = {"type": type_, "deployment": deployment, "url": url, "token": model.account.token, "retry_delay": 0}
    return keys | ({"email": model.account.email} if deployment == "cloud" else {})
