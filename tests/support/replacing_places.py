"""A folder whose config says how large chunks are, and whose collection is replaced when that changes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from qloader import Workspace
from support.qdrant_loopback import StandIn, serving
from support.workspaces import assert_index_is_a_fresh_load, make_workspace, plan_and_apply, write


@dataclass
class Place:
    """Such a folder.

    Attributes:
        folder: The folder; documents are in `docs`.
        pages: What is in them when it is loaded.
        url: The server's address; None where the index is embedded.
        server: The stand-in behind it.
    """

    folder: Path
    pages: dict[str, str] = field(default_factory=dict)
    url: str | None = None
    server: StandIn | None = None

    def configure(self, max_chars: int = 200) -> Workspace:
        """Writes the config and opens it."""
        return make_workspace(self.folder, url=self.url, max_chars=max_chars)

    def loaded(self) -> Workspace:
        """All pages applied, in small chunks."""
        workspace = self.configure()
        write(self.folder / "docs", dict(self.pages))
        plan_and_apply(workspace)
        return workspace

    def collections(self) -> tuple[str | None, list[str]]:
        """What the name stands for, and all that it may stand for, by the config as it is."""
        workspace = Workspace.open(self.folder / "qloader.yaml")
        with contextlib.closing(workspace.settings.open_index()) as index:
            return index.target(), index.relatives()


@contextlib.contextmanager
def replacing_place(engine: str, folder: Path, pages: dict[str, str], kind: type[Place] = Place) -> Iterator[Place]:
    """A place whose index is embedded, or on a stand-in for a server."""
    if engine == "embedded":
        yield kind(folder, pages)
        return
    server = StandIn()
    with serving(server.respond) as url:
        yield kind(folder, pages, url, server)


def assert_all_is_well(workspace: Workspace) -> None:
    """The index is that of a fresh load, and nothing is left to do."""
    assert_index_is_a_fresh_load(workspace)
    assert workspace.refresh().points == ()
    with workspace.temporary_plan() as result:
        assert result.plan.header.is_empty
