"""The places that a soak's service reads: files, a repository, three servers; they change and fail at random."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from servers.atlassian import Fault, Site, refuse
from servers.confluence import confluence_cloud
from servers.confluence_model import Confluence
from servers.docs_site import DocsSite
from servers.jira import jira_cloud
from servers.jira_model import Jira
from servers.serving import serve
from support.git_builder import Builder

CONFIG = """\
name: soak
guards: {{max_delete_percent: null}}
index: {{collection: soak, path: .qloader/index}}
state: {{path: .qloader/state.db}}
sources:
  docs: {{type: files, path: docs}}
  repo: {{type: git, url: repo}}
  wiki:
    type: confluence
    deployment: cloud
    url: "{wiki}/wiki"
    spaces: [ENG]
    label_changes: true
    comments: true
    email: rita@example.com
    token: secret-token
  tracker:
    type: jira
    deployment: cloud
    url: "{tracker}"
    projects: [FW]
    email: rita@example.com
    token: secret-token
  manual: {{type: web, url: "{manual}/manual/"}}
chunking: {{max_chars: 400}}
ingestion: {{batch: {{size: 16, retry_attempts: 2, retry_delay: 100ms, timeout: 5s}}, parallel: {{max_workers: 2}}}}
resources: {{check_interval: 100ms}}
monitoring:
  metrics: {{interval: 1s}}
  openmetrics: soak.prom
  logs: {{path: soak.jsonl, level: debug}}
watch:
  debounce: 200ms
  interval: 10s
  full_every: 30s
  listen: 127.0.0.1:0
  hooks: {{github: {secret}, confluence: {secret}, jira: {secret}}}
"""
SECRET = "soaking"
WORDS = ["plan", "apply", "index", "state", "source", "chunk", "point", "batch", "guard", "lease", "retry", "drift"]


class Places:
    """All of them, in one folder and on this machine's loopback. About as many documents as in the beginning stay.

    Args:
        folder: Where the config, the files and the repository are.
        chance: What decides what happens.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.config = folder / "qloader.yaml"
        self._random = chance
        self._docs = folder / "docs"
        self._repo: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._builder = Builder(folder / "repo")
        self._wiki, self._tracker, self._manual = Confluence(), Jira(), DocsSite()
        self._wiki_site: Site = confluence_cloud(self._wiki)
        self._tracker_site: Site = jira_cloud(self._tracker)
        self._http = httpx.Client(timeout=10, verify=False)
        self._fill()

    @contextlib.contextmanager
    def serve(self) -> Iterator[None]:
        """Serves what is not on the disk, and writes the config, as long as the block lasts."""
        with (
            serve(self._wiki_site) as wiki,
            serve(self._tracker_site) as tracker,
            self._manual.serve() as manual,
            contextlib.closing(self._http),
        ):
            config = CONFIG.format(wiki=wiki, tracker=tracker, manual=manual, secret=SECRET)
            self.config.write_text(config, encoding="utf-8")
            yield

    def change(self) -> None:
        """One thing or several change at one of the places."""
        changes = (self._change_docs, self._change_docs, self._commit, self._change_wiki, self._change_tracker)
        self._random.choice((*changes, self._change_manual))()

    def fail(self) -> None:
        """One of the servers fails some requests, or is slow, until `calm`."""
        chance = self._random
        if chance.random() < 0.25:
            path = chance.choice([*self._manual.pages, "/sitemap.xml"])
            self._manual.failing[path] = chance.choice([500, 503, 206] if path in self._manual.pages else [500, 503])
            return
        site = chance.choice([self._wiki_site, self._tracker_site])
        times = chance.choice([1, 2, 4, 40])
        site.fail(
            chance.choice(
                [
                    refuse("", 503, times=times),
                    refuse("", 500, times=times),
                    refuse("", 429, retry_after="1", times=1),
                    Fault("", times=times, drop=True),
                    Fault("", times=times, cut=True),
                ]
            )
        )
        site.latency = chance.choice([0.0, 0.0, 0.05, 0.5])

    def calm(self) -> None:
        """Everything answers as it should from here on."""
        self._manual.failing.clear()
        for site in (self._wiki_site, self._tracker_site):
            site.faults.clear()
            site.latency = 0.0
            site.traffic.clear()
        self._manual.forget()

    def call(self, address: str) -> int:
        """A hook is called, now and then by somebody who does not know the secret; the answer's status."""
        kind = self._random.choice(["github", "confluence", "jira"])
        value: dict[str, Any] = {}
        if kind == "confluence":
            value = {"event": self._random.choice(["page_updated", "page_trashed"]), "page": {"spaceKey": "ENG"}}
        elif kind == "jira":
            value = {"webhookEvent": "jira:issue_updated", "issue": {"key": "FW-1"}}
        body = json.dumps(value).encode()
        secret = SECRET if self._random.random() < 0.9 else "guessed"
        signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        names = ("X-Hub-Signature-256", "X-Hub-Signature")
        answer = self._http.post(f"{address}/hooks/{kind}", content=body, headers=dict.fromkeys(names, signature))
        assert (answer.status_code == 202) == (secret == SECRET), answer.text
        return answer.status_code

    def ask(self, address: str) -> None:
        """Looks at health and metrics, as whoever watches the service does."""
        assert self._http.get(f"{address}/healthz").status_code == 200
        assert self._http.get(f"{address}/readyz").status_code in (200, 503)
        assert self._http.get(f"{address}/metrics").text.endswith("# EOF\n")

    def _fill(self) -> None:
        for number in range(200):
            self._write(f"{number % 7}/{number}.md", self._page())
        for number in range(60):
            self._repo[f"r{number}.md"] = self._page()
        self._builder.commit(dict(self._repo))
        self._wiki.add_space("ENG", "Engineering")
        self._tracker.projects["FW"] = "Firmware"
        for number in range(40):
            self._wiki.add("ENG", f"Page {number}", self._html())
            self._tracker.add("FW", f"Issue {number}", self._text())
        self._manual.write("/manual/", "Manual", "Where everything begins.")
        for number in range(20):
            self._manual.write(f"/manual/{number}", f"Chapter {number}", self._text())

    def _change_docs(self) -> None:
        for _ in range(self._random.randint(1, 6)):
            self._change_file(sorted(self._docs.rglob("*.md")))

    def _change_file(self, files: list[Path]) -> None:
        """Edits, makes, renames, deletes, touches or swaps files; a whole folder moves now and then."""
        file = self._random.choice(files)
        self._one_of(
            len(files),
            200,
            make=lambda: self._write(self._new_name(), self._page()),
            delete=file.unlink,
            others=(
                lambda: file.write_text(self._edited(file.read_text(encoding="utf-8")), encoding="utf-8"),
                lambda: file.rename(self._new_file()),
                lambda: os.utime(file),
                lambda: self._swap(file, self._random.choice(files)),
                lambda: self._move_folder(file.parent),
            ),
        )

    def _commit(self) -> None:
        for _ in range(self._random.randint(1, 4)):
            self._change_blob(self._random.choice(sorted(self._repo)))
        self._builder.commit(dict(self._repo))
        if self._random.random() < 0.1:
            self._builder.pack()

    def _change_blob(self, name: str) -> None:
        self._one_of(
            len(self._repo),
            60,
            make=lambda: self._repo.update({self._new_name(): self._page()}),
            delete=lambda: self._repo.pop(name),
            others=(
                lambda: self._repo.update({name: self._edited(self._repo[name])}),
                lambda: self._repo.update({self._new_name(): self._repo.pop(name)}),
            ),
        )

    def _change_wiki(self) -> None:
        wiki = self._wiki
        wiki.now = datetime.now(UTC) - timedelta(minutes=1)  # an edit moves it on by as much
        page = self._random.choice(list(wiki.pages.values()))
        self._one_of(
            sum(1 for _ in wiki.visible()),
            40,
            make=lambda: wiki.add("ENG", f"Page {self._random.randint(100, 10_000)}", self._html()),
            delete=lambda: wiki.purge(page.id),
            others=(
                lambda: wiki.edit(page.id, self._html()),
                lambda: wiki.edit(page.id, title=f"Page {self._random.randint(100, 10_000)}"),
                lambda: wiki.comment(page.id, self._html()),
                lambda: wiki.label(page.id, self._random.choice(WORDS)),
                lambda: wiki.set_status(page.id, "current" if page.status == "trashed" else "trashed"),
                lambda: wiki.restrict(page.id, not page.restricted),
            ),
        )

    def _change_tracker(self) -> None:
        tracker = self._tracker
        tracker.now = datetime.now(UTC) - timedelta(minutes=1)
        keys = [issue.key for number in tracker.ids() if (issue := tracker.by_id(number)) is not None]
        key = self._random.choice(keys)
        self._one_of(
            len(keys),
            40,
            make=lambda: tracker.add("FW", f"Issue {self._random.randint(100, 10_000)}", self._text()),
            delete=lambda: tracker.delete(key),
            others=(
                lambda: tracker.edit(key, description=self._text()),
                lambda: tracker.comment(key, self._text()),
                lambda: tracker.change_status(key, self._random.choice(["To Do", "In Progress", "Done"])),
            ),
        )

    def _change_manual(self) -> None:
        manual = self._manual
        path = self._random.choice([one for one in manual.pages if one != "/manual/"])
        self._one_of(
            len(manual.pages),
            20,
            make=lambda: manual.write(f"/manual/{self._random.randint(100, 10_000)}", "Chapter", self._text()),
            delete=lambda: manual.pages.pop(path),
            others=(
                lambda: manual.write(path, "Chapter", self._text()),
                lambda: setattr(manual, "build", manual.build + 1),
            ),
        )

    def _one_of(
        self,
        count: int,
        usual: int,
        *,
        make: Callable[[], Any],
        delete: Callable[[], Any],
        others: tuple[Callable[[], Any], ...],
    ) -> None:
        """Makes, deletes or does something else, so that there are about as many as usual."""
        if count < usual * 0.8:
            make()
        elif count > usual * 1.2:
            delete()
        else:
            self._random.choice((make, delete, *others, *others))()

    def _write(self, name: str, text: str) -> None:
        file = self._docs / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def _swap(self, one: Path, other: Path) -> None:
        texts = one.read_bytes(), other.read_bytes()
        one.write_bytes(texts[1])
        other.write_bytes(texts[0])

    def _move_folder(self, folder: Path) -> None:
        if folder != self._docs and self._random.random() < 0.2:
            target = self._docs / f"f{self._random.randint(0, 10_000)}"
            if not target.exists():
                shutil.move(folder, target)

    def _new_name(self) -> str:
        return f"{self._random.randint(0, 9)}/{self._random.randint(1_000, 1_000_000)}.md"

    def _new_file(self) -> Path:
        file = self._docs / self._new_name()
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def _page(self) -> str:
        return f"# {self._random.choice(WORDS)} {self._random.randint(0, 9)}\n\n{self._text()}\n"

    def _edited(self, text: str) -> str:
        parts = text.split("\n\n")
        parts[self._random.randrange(len(parts))] = self._sentence()
        return "\n\n".join(parts)

    def _html(self) -> str:
        return "".join(f"<p>{part}</p>" for part in self._text().split("\n\n"))

    def _text(self) -> str:
        return "\n\n".join(self._sentence() for _ in range(self._random.randint(1, 12)))

    def _sentence(self) -> str:
        return " ".join(self._random.choices(WORDS, k=self._random.randint(5, 40)))
