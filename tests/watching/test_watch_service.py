"""A service over real files, repositories and sites: what it sees, and what it outlives."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import shutil
import threading
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from qloader.applying.events import BatchDone, Started
from qloader.config.watching import parse_listen
from qloader.errors import ConfigError, LockedError, QloaderError
from qloader.watching.commits import CommitWatch
from qloader.watching.notices import Notices
from qloader.watching.server import listen
from qloader.watching.service import Service, Watch
from qloader.watching.telling import Looked
from support.atlassian_sites import run_confluence
from support.command_line import some_documents, wait_until
from support.git_builder import Builder, http_server
from support.workspaces import assert_index_is_a_fresh_load, dump, write

DOCS = {"docs": {"type": "files", "path": "docs"}}
SECRET = "secret"
# One for all: to read the certificates of a system takes longer than most tests.
HTTP = httpx.Client(verify=False, timeout=120)


def call(url: str, kind: str, value: Any) -> httpx.Response:
    """Calls a hook as whoever knows the secret."""
    body = json.dumps(value).encode()
    signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    names = ("X-Hub-Signature-256", "X-Hub-Signature")
    return HTTP.post(f"{url}/hooks/{kind}", content=body, headers=dict.fromkeys(names, signature))


def files_in(running: Any) -> set[str]:
    with running.workspace.settings.read_state() as state:
        return {document.id for document in state.documents()}


def test_files_that_are_saved_renamed_and_deleted_are_seen_and_the_index_stays_a_fresh_load(keeper: Any) -> None:
    docs = keeper.folder / "docs"
    write(docs, some_documents(5))
    with keeper.watching(keeper.configure(DOCS)) as running:
        assert running.look(0).outcome.result.created == 5
        with running.unseen():
            write(docs, {"new.md": "# New\n\nA page.", "page-0001.md": "# One\n\nAnew."})
        look = running.change(1)
        assert (look.outcome.result.created, look.outcome.result.updated, look.by) == (1, 1, ("files",))
        with running.unseen():
            (docs / "sub").mkdir()
            (docs / "page-0002.md").rename(docs / "sub" / "moved.md")
            (docs / "page-0003.md").unlink()
        result = running.change(2).outcome.result
        assert (result.moved, result.deleted, result.embedded) == (1, 1, 0)
        (docs / "sub").rename(keeper.folder / "elsewhere")  # of which the system tells the folder's name alone
        assert running.change(3).outcome.result.deleted == 1
        shutil.rmtree(keeper.folder / "elsewhere")
    assert_index_is_a_fresh_load(running.workspace)


def test_a_burst_of_saves_is_one_run(keeper: Any) -> None:
    docs = keeper.folder / "docs"
    write(docs, some_documents(2))
    with keeper.watching(keeper.configure(DOCS, watch={"debounce": "700ms", "interval": "1h"})) as running:
        running.look(0)
        begun = time.monotonic()
        for round_ in range(20):
            write(docs, {"page-0000.md": f"# Zero\n\nRound {round_}."})
        if time.monotonic() - begun > 0.7:
            pytest.skip("this machine is too busy for a burst")
        assert running.change(1).outcome.result.updated == 1
    assert running.plans == 2
    assert_index_is_a_fresh_load(running.workspace)


def test_what_is_no_document_and_what_qloader_writes_itself_start_nothing(keeper: Any) -> None:
    docs = keeper.folder / "docs"
    write(docs, {"page.md": "# Page\n\nText."})
    workspace = keeper.configure(
        {"docs": {"type": "files", "path": "docs", "exclude": ["drafts/"]}},
        index={"path": "docs/index"},
        state={"path": "docs/state.db"},
    )
    with keeper.watching(workspace) as running:
        running.look(0)
        write(docs, {"picture.png": "x", ".git/HEAD": "x", "drafts/page.md": "# Draft", "index/segment.bin": "x"})
        write(docs, {"state.db-journal": "x"})
        (docs / "state.db-journal").unlink()
        write(keeper.folder, {"last.md": "# Last\n\nThis one counts."})
        (keeper.folder / "last.md").rename(docs / "last.md")  # of which the system tells once
        assert running.look(1).outcome.result.created == 1
        assert files_in(running) == {"page.md", "last.md"}
    assert [look.outcome.end for look in running.looks] == ["applied", "applied"]


def test_a_refused_plan_is_told_and_does_not_end_the_service(keeper: Any) -> None:
    docs = keeper.folder / "docs"
    write(docs, some_documents(20))
    workspace = keeper.configure(DOCS, watch={"listen": "127.0.0.1:0"})
    with keeper.watching(workspace) as running:
        running.look(0)
        wait_until(lambda: HTTP.get(f"{running.url}/readyz").status_code == 200)
        (docs).rename(keeper.folder / "away")
        docs.mkdir()
        wait_until(lambda: "would be deleted" in running.trouble("docs"))
        answer = HTTP.get(f"{running.url}/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "degraded")
        assert "20 documents" in answer.json()["problems"][0]
        assert HTTP.get(f"{running.url}/healthz").status_code == 200
        metrics = HTTP.get(f"{running.url}/metrics").text
        assert 'qloader_watch_source_trouble{source="docs"} 1' in metrics
        assert 'qloader_run_documents{name="test",source="docs"} 20.0' in metrics  # of the last run that did something
        assert metrics.count("# EOF") == 1
        assert metrics.endswith("\n# EOF\n")
        assert "\n\n" not in metrics
        assert running.workspace.status().points == 20
        docs.rmdir()
        (keeper.folder / "away").rename(docs)
        wait_until(lambda: not running.trouble("docs"))
        assert HTTP.get(f"{running.url}/readyz").status_code == 200
        write(docs, {"new.md": "# New\n\nPage."})
        wait_until(lambda: running.workspace.status().points == 21)


def test_a_policy_that_refuses_a_plan_is_not_got_round_by_one_source_after_the_other(keeper: Any) -> None:
    write(keeper.folder / "docs", some_documents(3))
    write(keeper.folder / "more", some_documents(3, first=10))
    sources = DOCS | {"more": {"type": "files", "path": "more"}}
    workspace = keeper.configure(sources, policies={"small-steps": {"max_embeds": 4}})
    with keeper.watching(workspace) as running:
        assert running.look(0).outcome.end == "refused"
        wait_until(lambda: "small-steps" in running.trouble("docs") and "small-steps" in running.trouble("more"))
        assert workspace.status().header is None
        assert len(running.looks) == 1


def test_a_source_that_fails_keeps_no_other_from_its_turn_and_is_well_by_itself_when_it_is_back(keeper: Any) -> None:
    write(keeper.folder / "docs", some_documents(3))
    sources = DOCS | {"mounted": {"type": "files", "path": "drive"}}
    with keeper.watching(keeper.configure(sources, watch={"interval": "1s"})) as running:
        wait_until(lambda: ("docs",) in running.applied)
        wait_until(lambda: "drive cannot be read" in running.trouble("mounted"))
        assert not running.trouble("docs")
        write(keeper.folder / "drive", {"page.md": "# Page\n\nOn a drive."})
        wait_until(lambda: not running.trouble("mounted") and bool(files_in(running) & {"page.md"}))
        told = [look for look in running.looks if look.outcome.error is not None]
        assert sum(look.is_news for look in told) == 1  # people are told the same failure once
        assert all(look.retry is not None and look.retry <= 1 for look in told)
    assert_index_is_a_fresh_load(running.workspace)


def test_commits_are_seen_and_what_is_only_in_the_work_tree_is_not(keeper: Any) -> None:
    with Builder(keeper.folder / "code") as builder:
        builder.commit({"a.md": "# A\n\nFirst."})
        with keeper.watching(keeper.configure({"code": {"type": "git", "url": "code"}})) as running:
            running.look(0)
            write(keeper.folder / "code", {"b.md": "# B\n\nNot committed."})
            builder.commit({"a.md": "# A\n\nFirst.", "c.md": "# C\n\nSecond."})
            assert running.look(1).outcome.result.created == 1
            assert running.looks[1].by == ("commit",)
            assert files_in(running) == {"a.md", "c.md"}
            commit = builder.commit({"a.md": "# A\n\nFirst.", "c.md": "# C\n\nSecond.", "x.png": "no document"})
            assert running.look(2).outcome.end == "unchanged"
            # Nothing to do, and yet it is written down which commit the index is true to.
            assert running.workspace.status().sources[0].revision == commit


def test_a_commit_is_seen_that_comes_before_the_thread_that_watches_has_begun(
    keeper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start
    with Builder(keeper.folder / "code") as builder:
        builder.commit({"a.md": "# A\n\nFirst."})
        settings = keeper.configure({"code": {"type": "git", "url": "code"}}).settings

        def commit_first(thread: threading.Thread) -> None:
            builder.commit({"a.md": "# A\n\nSecond."})
            start(thread)

        monkeypatch.setattr("qloader.watching.commits.LOOK_EVERY", 0.01)
        monkeypatch.setattr(threading.Thread, "start", commit_first)
        notices = Notices()
        with contextlib.closing(CommitWatch(settings, notices)):
            wait_until(lambda: "code" in notices.take())


def test_a_hook_wakes_the_repository_that_it_speaks_of_and_no_other(keeper: Any) -> None:
    write(keeper.folder / "docs", {"page.md": "# Page\n\nText."})
    with Builder(keeper.folder / "code", bare=True) as builder:
        builder.commit({"a.md": "# A\n\nFirst."})
        with http_server(builder.repo) as (address, _):
            watch = {"listen": "127.0.0.1:0", "hooks": {"github": SECRET}}
            workspace = keeper.configure(DOCS | {"code": {"type": "git", "url": address}}, watch=watch)
            with keeper.watching(workspace) as running:
                running.look(0)
                builder.commit({"a.md": "# A\n\nSecond."})
                answer = call(running.url, "github", {"repository": {"clone_url": f"{address}.git"}})
                assert (answer.status_code, answer.json()) == (202, {"sources": ["code"]})
                look = running.look(1)
                assert (look.outcome.look.sources, look.by) == (("code",), ("github hook",))
                assert look.outcome.result.updated == 1
                assert call(running.url, "github", {"repository": {"clone_url": "http://x/y"}}).status_code == 404
                assert len(running.looks) == 2


def test_a_flood_of_hooks_during_a_run_starts_one_more(keeper: Any) -> None:
    def flood(running: Any, event: Any) -> None:
        if isinstance(event, BatchDone) and event.number == 1:
            assert {call(running.url, "github", {}).status_code for _ in range(50)} == {202}

    with Builder(keeper.folder / "code") as builder:
        builder.commit({f"{n}.md": f"# {n}\n\nText {n}." for n in range(10)})
        watch = {"listen": "127.0.0.1:0", "hooks": {"github": SECRET}}
        workspace = keeper.configure(
            {"code": {"type": "git", "url": "code"}}, watch=watch, ingestion={"batch": {"size": 5}}
        )
        with keeper.watching(workspace, flood) as running:
            assert running.look(0).outcome.result.created == 10
            assert running.look(1).outcome.end == "unchanged"
            assert running.looks[1].by == ("github hook",)
        assert len(running.looks) == 2
        assert running.service._notices.counts() == {"github hook": 50}


def test_a_site_is_asked_for_changes_and_listed_whole_where_a_hook_tells_of_a_delete(keeper: Any) -> None:
    with run_confluence("data_center") as site:
        site.model.add_space("ENG")
        first = site.model.add("ENG", "First")
        site.model.add("ENG", "Second")
        watch = {"listen": "127.0.0.1:0", "hooks": {"confluence": SECRET}}
        workspace = keeper.configure({"wiki": site.keys}, watch=watch, guards={"max_delete_percent": 100})
        with keeper.watching(workspace) as running:
            assert running.look(0).outcome.result.created == 2
            site.model.now = datetime.now(UTC)
            site.model.edit(first, "<p>Anew.</p>")
            page = {"page": {"id": first, "spaceKey": "ENG"}}
            assert call(running.url, "confluence", {"event": "page_updated"} | page).json() == {"sources": ["wiki"]}
            look = running.look(1)
            assert look.outcome.look.since is not None
            assert look.outcome.result.updated == 1
            site.model.set_status(first, "trashed")
            assert call(running.url, "confluence", {"event": "page_trashed"} | page).status_code == 202
            look = running.look(2)
            assert look.outcome.look.since is None
            assert look.outcome.result.deleted == 1
            points = len(dump(running.workspace))
        assert points == running.workspace.status().points == 1


def test_documents_that_are_left_as_they_were_are_told_of_until_the_next_look_has_mended_it(keeper: Any) -> None:
    docs = keeper.folder / "docs"
    write(docs, some_documents(3))

    def change(running: Any, event: Any) -> None:
        if isinstance(event, Started) and running.plans == 1:  # between the plan and its apply
            write(docs, {"page-0001.md": "# One\n\nNot as planned."})
        elif isinstance(event, Looked) and len(running.looks) == 1:
            troubles.append(running.trouble("docs"))

    troubles: list[str] = []
    with keeper.watching(keeper.configure(DOCS), change) as running:
        assert running.look(0).outcome.end == "applied"
        assert troubles == ["documents of docs were left as they were: 1"]
        assert running.look(1).outcome.result.created == 1
        wait_until(lambda: not running.trouble("docs"))
    assert_index_is_a_fresh_load(running.workspace)


def test_one_that_writes_at_the_same_time_is_waited_for(keeper: Any) -> None:
    write(keeper.folder / "docs", some_documents(3))
    workspace = keeper.configure(DOCS, watch={"interval": "1s"})
    with contextlib.ExitStack() as other:
        other.enter_context(workspace.locked())
        with keeper.watching(workspace) as running:
            assert isinstance(running.look(0).outcome.error, LockedError)
            other.close()
            wait_until(lambda: running.workspace.status().points == 3)
            wait_until(lambda: not running.trouble("docs"))


def test_sources_that_left_the_config_are_planned_away_and_refused_by_guards_without_harm_to_the_others(
    keeper: Any,
) -> None:
    write(keeper.folder / "docs", some_documents(3))
    write(keeper.folder / "old", some_documents(12, first=50))
    sources = DOCS | {"old": {"type": "files", "path": "old"}}
    with keeper.watching(keeper.configure(sources)) as running:
        running.look(0)
    write(keeper.folder / "docs", {"new.md": "# New\n\nPage."})
    keeper.configure(DOCS | {"third": {"type": "files", "path": "docs", "include": ["new.md"]}})
    with keeper.watching(keeper.configure(DOCS | {"third": sources["old"] | {"path": "docs"}})) as running:
        wait_until(lambda: "of old would be deleted" in running.trouble(""))
        wait_until(lambda: running.workspace.status().points == 12 + 4 + 4)
        assert [running.trouble("docs"), running.trouble("third")] == ["", ""]
        assert running.service._board.read().word == "degraded"


def test_a_port_in_use_and_hooks_that_nobody_hears_are_errors_before_anything_starts(keeper: Any) -> None:
    write(keeper.folder / "docs", some_documents(1))
    taken = listen("127.0.0.1", 0)
    try:
        workspace = keeper.configure(DOCS, watch={"listen": f"127.0.0.1:{taken.getsockname()[1]}"})
        service = Service(workspace, Watch.of(workspace.settings.config), lambda _: None)
        with pytest.raises(QloaderError, match="nothing can listen at"):
            service.run()
        assert workspace.status().header is None
    finally:
        taken.close()
    config = keeper.configure(DOCS, watch={"hooks": {"jira": SECRET}}).settings.config
    with pytest.raises(ConfigError, match="nothing listens for the hooks"):
        Watch.of(config)
    assert Watch.of(config, listen="[::1]:80").listen == ("::1", 80)
    for text in ("8080", "localhost", "localhost:x", "http://localhost:80", "localhost:70000", "::1:80"):
        with pytest.raises(ConfigError, match="expected a host and a port"):
            Watch.of(config, listen=text)
        with pytest.raises(ValueError, match="expected a host and a port"):
            parse_listen(text)


def test_nothing_is_left_when_it_has_stopped(keeper: Any) -> None:
    write(keeper.folder / "docs", some_documents(3))
    with Builder(keeper.folder / "code") as builder:
        builder.commit({"a.md": "# A"})
        sources = DOCS | {"code": {"type": "git", "url": "code"}}
        with keeper.watching(keeper.configure(sources, watch={"listen": "127.0.0.1:0"})) as running:
            running.look(0)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("watch-")] == []
    assert running.workspace.status().lease is None
