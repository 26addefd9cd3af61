"""`make playground`: servers of all kinds on this machine, and a config that reads them, to try everything.

`PYTHONPATH=tests python -m servers.playground` starts it; with `--once` it plans, applies and searches, and ends.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from servers.confluence import confluence_cloud, confluence_data_center
from servers.confluence_model import Confluence
from servers.docs_site import DocsSite
from servers.jira import jira_cloud, jira_data_center
from servers.jira_model import Jira
from servers.playground_content import (
    NOTES,
    REPOSITORY,
    fill_helpdesk,
    fill_intranet,
    fill_site,
    fill_tracker,
    fill_wiki,
)
from servers.serving import serve
from support.git_builder import Builder

PORT = 8100
CONFIG = """\
# Written by `make playground`, which serves all of these. Edit it as you like; the next start writes it anew.
name: playground
index: {{collection: playground, path: .qloader/index}}
sources:
  notes: {{type: files, path: ./notes}}
  firmware: {{type: git, url: ./firmware}}
  wiki:
    type: confluence
    deployment: cloud
    url: {wiki}/wiki
    spaces: [ENG, OPS]
    blog_posts: true
    comments: true
    attachments: true
    email: rita@example.com
    token: ${{PLAYGROUND_TOKEN:-secret-token}}
  intranet:
    type: confluence
    deployment: data_center
    url: {intranet}/confluence
    spaces: [HR]
    token: ${{PLAYGROUND_TOKEN:-secret-token}}
  tracker:
    type: jira
    deployment: cloud
    url: {tracker}
    projects: [FW, GW]
    email: rita@example.com
    token: ${{PLAYGROUND_TOKEN:-secret-token}}
  helpdesk:
    type: jira
    deployment: data_center
    url: {helpdesk}/jira
    projects: [HELP]
    changelog: true
    token: ${{PLAYGROUND_TOKEN:-secret-token}}
  manual: {{type: web, url: "{manual}/manual/"}}
"""


class Playground:
    """All places, what is in them, and what can happen to it.

    Attributes:
        folder: Where the config, the notes and the repository are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wiki, self.intranet = Confluence(), Confluence()
        self.tracker, self.helpdesk = Jira(), Jira(max_results=1000)
        self.manual = DocsSite()
        fill_wiki(self.wiki)
        fill_intranet(self.intranet)
        fill_tracker(self.tracker)
        fill_helpdesk(self.helpdesk)
        fill_site(self.manual)
        self._changes = itertools.cycle(self._all_changes())
        self._round = itertools.count(1)

    @contextlib.contextmanager
    def serve(self, port: int) -> Iterator[dict[str, str]]:
        """Serves everything; yields the addresses by the sources' names.

        Args:
            port: The first of five ports in a row; 0: any that are free.

        Raises:
            OSError: One of them is taken.
        """
        apps = {
            "wiki": confluence_cloud(self.wiki),
            "intranet": confluence_data_center(self.intranet),
            "tracker": jira_cloud(self.tracker),
            "helpdesk": jira_data_center(self.helpdesk),
            "manual": self.manual.app,
        }
        with contextlib.ExitStack() as stack:
            addresses = {
                name: stack.enter_context(serve(app, port=port and port + number))
                for number, (name, app) in enumerate(apps.items())
            }
            self.manual.base = addresses["manual"]
            yield addresses

    def lay_out(self, addresses: dict[str, str]) -> None:
        """Writes the config, and the notes and the repository where they are not there yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "qloader.yaml").write_text(CONFIG.format(**addresses), encoding="utf-8")
        if not (self.folder / "notes").exists():
            for name, text in NOTES.items():
                self._note(name).write_text(text, encoding="utf-8")
        if not (self.folder / "firmware").exists():
            with Builder(self.folder / "firmware") as builder:
                builder.commit(REPOSITORY)

    def change(self) -> str:
        """Something happens at one of the places; says what."""
        return next(self._changes)()

    def _note(self, name: str) -> Path:
        path = self.folder / "notes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _all_changes(self) -> Sequence[Callable[[], str]]:
        return (
            self._edit_a_page,
            self._add_an_issue,
            self._rename_a_web_page,
            self._rename_a_page,
            self._comment_on_an_issue,
            self._write_a_note,
            self._commit,
            self._move_an_issue,
            self._trash_a_page,
            self._rebuild_the_site,
        )

    def _edit_a_page(self) -> str:
        page = self._page(self.wiki, "Deploy a release")
        self.wiki.edit(page, self.wiki.pages[page].body + f"<p>Note {next(self._round)}: mind the wind.</p>")
        return "wiki: the page Deploy a release was edited"

    def _rename_a_page(self) -> str:
        page = next(one for one in self.intranet.pages.values() if one.title.startswith(("Holidays", "Days off")))
        self.intranet.edit(page.id, title="Holidays" if page.title == "Days off" else "Days off")
        return f"intranet: a page is called {page.title} now (nothing to embed)"

    def _trash_a_page(self) -> str:
        page = self.wiki.pages[self._page(self.wiki, "Pyranometer")]
        self.wiki.set_status(page.id, "current" if page.status == "trashed" else "trashed")
        return f"wiki: the page Pyranometer is {page.status} now"

    def _add_an_issue(self) -> str:
        number = next(self._round)
        key = self.helpdesk.add(
            "HELP", f"Question {number} about hail", f"The hail was {number} cm wide. Is that much?"
        )
        return f"helpdesk: {key} is new"

    def _comment_on_an_issue(self) -> str:
        self.tracker.comment("FW-2", f"Seen again, for the {next(self._round)}th time.")
        return "tracker: FW-2 has a new comment"

    def _move_an_issue(self) -> str:
        issue = next(one for key in ("GW-2", "FW-4") if (one := self.tracker.by_key(key)) is not None)
        key = self.tracker.move(issue.key, "FW" if issue.project == "GW" else "GW")
        return f"tracker: the issue about a map is {key} now (nothing to embed)"

    def _rename_a_web_page(self) -> str:
        old, new = "/manual/winter", "/manual/snow-and-ice"
        if old not in self.manual.pages:
            old, new = new, old
        self.manual.pages[new] = self.manual.pages.pop(old)
        return f"manual: {old} is {new} now (nothing to embed)"

    def _rebuild_the_site(self) -> str:
        self.manual.build += 1
        return "manual: the whole site was built anew, and no text changed"

    def _write_a_note(self) -> str:
        number = next(self._round)
        self._note(f"day-{number}.md").write_text(f"# Day {number}\n\nFog until {number} o'clock.\n", encoding="utf-8")
        return f"notes: day-{number}.md is new"

    def _commit(self) -> str:
        number = next(self._round)
        with Builder(self.folder / "firmware") as builder:
            # Later than all commits before, so that its documents are dated in order.
            builder.count = number
            text = f"{REPOSITORY['docs/changelog.md']}\n## 2.4.{number}\n\nOne bug less.\n"
            builder.commit({**REPOSITORY, "docs/changelog.md": text})
        return "firmware: a commit to docs/changelog.md"

    @staticmethod
    def _page(model: Confluence, title: str) -> str:
        return next(page.id for page in model.pages.values() if page.title == title)


def play(folder: Path, port: int) -> int:
    """Serves until Ctrl-C."""
    playground = Playground(folder)
    try:
        with playground.serve(port) as addresses:
            playground.lay_out(addresses)
            _tell(folder, addresses)
            with contextlib.suppress(KeyboardInterrupt):
                for _ in sys.stdin:
                    print(f"{playground.change()}. Plan again.", flush=True)
                threading.Event().wait()  # nobody types here
    except OSError as error:
        print(f"The ports from {port} on cannot be had: {error}. Choose others: make playground PORT=9100.")
        return 1
    return 0


def play_once(folder: Path) -> int:
    """Plans, applies and searches over all sources, lets everything happen that can, and does it again."""
    from qloader.cli.app import run

    playground = Playground(folder)
    with playground.serve(0) as addresses:
        playground.lay_out(addresses)
        config = ["-c", str(folder / "qloader.yaml")]
        plan = str(folder / "plan.json")
        steps = (["validate"], ["plan", "-o", plan], ["apply", plan], ["search", "-k", "3", "rain"])
        changes = [playground.change for _ in playground._all_changes()]
        for command in (*steps, *changes, ["plan", "-o", plan], ["apply", plan], ["plan", "--detailed-exitcode"]):
            if callable(command):
                print(f"# {command()}", flush=True)
                continue
            print(f"$ qloader {' '.join(command)}", flush=True)
            if code := run([*config, *command]):
                return code
    return 0


def _tell(folder: Path, addresses: dict[str, str]) -> None:
    width = max(map(len, addresses))
    print("The playground is open:\n")
    for name, address in addresses.items():
        print(f"  {name:{width}}  {address}")
    print(f"\nIn another terminal:\n\n  cd {folder}")
    qloader = os.path.relpath(Path(sys.executable).with_name("qloader"), folder)
    for command in ("validate", "plan -o plan.json", "apply plan.json", 'search "how much rain is too much"'):
        print(f"  {qloader} {command}")
    print(
        "\nPress Enter here, and something happens at one of the places. Then plan again. Ctrl-C ends it.", flush=True
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the command line; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path(".playground"), help="where the config is written")
    parser.add_argument("--port", type=int, default=PORT, help="the first of five ports in a row")
    parser.add_argument("--once", action="store_true", help="plan, apply and search, then end")
    options = parser.parse_args(arguments)
    return play_once(options.folder) if options.once else play(options.folder, options.port)


if __name__ == "__main__":
    sys.exit(main())
