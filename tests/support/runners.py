"""Runners: machines of their own that share one state, one index and one source."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qloader import Workspace
from support.s3_loopback import BUCKET, KEYS, S3
from support.workspaces import dump, plan_and_apply, write

NAME = "team/handbook"
URL = f"s3://{BUCKET}/{NAME}"

CONFIG = """\
name: test
index: {{collection: test, {index}}}
{state}
sources:
  docs: {{type: files, path: {root}/docs}}
  notes: {{type: files, path: {root}/notes}}
chunking: {{max_chars: {max_chars}}}
guards: {{max_delete_percent: null}}
ingestion: {{batch: {{size: 2}}}}
"""


@dataclass
class Team:
    """A folder with the sources and the index, and a folder for each runner.

    Attributes:
        root: The folder.
        s3: The store, for a state in it.
        url: Where the state is.
        server: The address of the server that the index is on; in a folder beside the sources where empty.
        told: What the runners were told beside their results.
    """

    root: Path
    s3: S3 | None = None
    url: str = URL
    server: str = ""
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("docs", "notes", "index"):
            (self.root / name).mkdir()

    @property
    def index(self) -> str:
        """What the config's section on the index says beside the collection."""
        return f"url: '{self.server}'" if self.server else f"path: {self.root}/index/files"

    @property
    def state(self) -> str:
        """The config's section on the state."""
        options = ""
        if self.s3 is not None:
            facts = {"endpoint": self.s3.url, **KEYS}
            options = ", options: {" + ", ".join(f"{key}: '{value}'" for key, value in facts.items()) + "}"
        return f"state: {{url: '{self.url}'{options}}}"

    def runner(self, name: str, *, state: str | None = None, max_chars: int = 200) -> Workspace:
        """The workspace of a machine of that name; it begins with an empty folder."""
        folder = self.root / "runners" / name
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "qloader.yaml"
        text = CONFIG.format(
            root=self.root, index=self.index, state=self.state if state is None else state, max_chars=max_chars
        )
        config.write_text(text, encoding="utf-8")
        return Workspace.open(config, env={"QLOADER_HOME": str(folder / "home")}, tell=self.told.append)

    def lose(self, runner: Workspace) -> None:
        """The machine is gone, with all that was on its disk."""
        shutil.rmtree(runner.settings.config.base)

    def write(self, files: dict[str, str | None]) -> None:
        """Changes the sources: `docs/a.md` or `notes/b.md`; None removes a file."""
        write(self.root, files)

    def fresh_load(self, max_chars: int = 200) -> dict[str, Any]:
        """What a new index loaded from the same sources holds."""
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "qloader.yaml"
            text = CONFIG.format(root=self.root, index=f"path: {folder}/index", state="", max_chars=max_chars)
            config.write_text(text, encoding="utf-8")
            fresh = Workspace.open(config, env={})
            plan_and_apply(fresh)
            return dump(fresh)

    def assert_all_is_well(self, runner: Workspace) -> None:
        """The index equals a fresh load, point by point, the state agrees with it, and nothing is in doubt."""
        found, expected = dump(runner), self.fresh_load(runner.settings.config.chunking.max_chars)
        for points in (found, expected):
            for point in points.values():
                point["payload"].pop("updated_at")  # a file that was changed and changed back keeps the earlier time
        assert found == expected
        status = runner.status()
        assert (status.points, status.interrupted, status.lease) == (len(found), 0, None)


def some_pages(count: int, text: Callable[[int], str] = lambda n: f"What page {n} says of lamps.") -> dict[str, Any]:
    """So many pages in `docs`."""
    return {f"docs/page-{n:02}.md": f"# Page {n}\n\n{text(n)}\n" for n in range(count)}
