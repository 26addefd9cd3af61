"""`qloader validate` over all kinds of sources at once, on real servers: one line each, good or bad."""

import json
import threading

import pytest

from qloader.sources.http import pace
from servers.atlassian import login_page, refuse
from servers.docs_site import small_site
from servers.raw import raw_server
from support.atlassian_sites import run_confluence, run_jira
from support.command_line import Prompt
from support.git_builder import Builder

WIKIS = ("wiki-cloud", "wiki-dc")
TRACKERS = ("tracker-cloud", "tracker-dc")


class Office:
    """All servers that there are, and a config that names them."""

    def __init__(self, prompt, servers, sources):
        self.prompt = prompt
        self.servers = servers
        self.sources = sources

    def validate(self):
        """The exit code, and line and remedy by what was looked at."""
        config = {"name": "test", "index": {"path": ".qloader/index"}, "sources": self.sources}
        self.prompt.configure(json.dumps(config))
        answer = self.prompt("validate", "--format", "json")
        assert answer.json["valid"] is (answer.code == 0)
        return answer.code, {check["what"]: check for check in answer.json["checks"]}

    def failure(self, name):
        """What is said of a source that fails, when all others are fine."""
        code, checks = self.validate()
        assert code == 1
        bad = [what for what, check in checks.items() if not check["ok"]]
        assert bad == [f"source {name}"]
        check = checks[bad[0]]
        assert check["remedy"]
        assert "\n" not in check["message"]
        # What was looked at stands beside it, and whoever validates expects nothing to change.
        assert not check["message"].startswith((f"Source {name}", f"sources.{name}:"))
        assert "Nothing was changed" not in check["remedy"]
        return check["message"]


@pytest.fixture
def office(tmp_path, capsys, monkeypatch):
    prompt = Prompt(tmp_path, capsys, monkeypatch)
    prompt.docs.mkdir()
    (prompt.docs / "intro.md").write_text("# Introduction\n", encoding="utf-8")
    site = small_site(6)
    with (
        run_confluence("cloud") as wiki_cloud,
        run_confluence("data_center") as wiki_dc,
        run_jira("cloud") as tracker_cloud,
        run_jira("data_center") as tracker_dc,
        site.serve() as base,
        Builder(tmp_path / "repo") as builder,
    ):
        builder.commit({"a.md": "# A\n", "b.md": "# B\n"})
        servers = dict(zip((*WIKIS, *TRACKERS), (wiki_cloud, wiki_dc, tracker_cloud, tracker_dc), strict=True))
        for name in WIKIS:
            servers[name].model.add_many("ENG", 7)
        for name in TRACKERS:
            servers[name].model.add_many("ENG", 1234)
        sources = {name: running.keys | {"retry_attempts": 0} for name, running in servers.items()}
        sources |= {
            "site": {"type": "web", "url": f"{base}/guide/", "retry_attempts": 0},
            "docs": {"type": "files", "path": "docs"},
            "repo": {"type": "git", "url": "repo"},
        }
        yield Office(prompt, servers | {"site": site}, sources)
    pace._paces.clear()


def test_each_source_says_in_one_line_what_is_in_it_and_as_whom_it_is_read(office):
    code, checks = office.validate()
    assert code == 0
    lines = {what: check["message"] for what, check in checks.items()}
    for name in WIKIS:
        assert lines[f"source {name}"] == "confluence, 7 pages in ENG, as Rita Reader"
    for name in TRACKERS:
        assert lines[f"source {name}"] == "jira, 1,234 issues in ENG, as Rita Reader"
    assert lines["source site"].endswith("/guide/: the sitemap names 6 pages")
    assert lines["source docs"] == "files, 1 document"
    assert lines["source repo"].startswith("git, 2 documents at ")
    answer = office.prompt.ok("validate")
    shown = [line for line in answer.err.splitlines() if line.startswith("ok      source ")]
    assert [line.split()[2] for line in shown] == sorted(office.sources)


def test_a_failure_is_a_line_below_the_others_and_its_remedy_one_below_it(office):
    office.sources["wiki-dc"]["token"] = "expired"
    office.validate()
    answer = office.prompt("validate")
    assert (answer.code, answer.out) == (1, "")
    assert answer.last == "1 of 10 checks failed."
    lines = answer.err.splitlines()
    (number,) = [number for number, line in enumerate(lines) if line.startswith("failed")]
    at = lines[number].index("http://")
    assert lines[number].split()[:3] == ["failed", "source", "wiki-dc"]
    assert lines[number].endswith("/confluence/rest/api/user/current does not accept the credentials (401).")
    assert lines[number + 1] == " " * at + (
        "Check sources.wiki-dc.token: it may be mistyped, expired or revoked, or belong to another user."
    )
    assert all(line.startswith("ok      ") and line[at - 1] == " " != line[at] for line in lines[:number])


def test_no_body_is_asked_for(office):
    office.validate()
    assert [office.servers[name].model.traffic.bodies for name in (*WIKIS, *TRACKERS)] == [0, 0, 0, 0]


@pytest.mark.parametrize("name", [*WIKIS, *TRACKERS])
def test_a_wrong_token(office, name):
    office.sources[name]["token"] = "expired"
    message = office.failure(name)
    assert "does not accept the credentials (401)" in message
    assert "expired" not in message


@pytest.mark.parametrize("name", [*WIKIS, *TRACKERS])
def test_no_token(office, name):
    for key in ("token", "email"):
        office.sources[name].pop(key, None)
    assert "wants credentials (401), and there are none" in office.failure(name)


@pytest.mark.parametrize("name", [*WIKIS, *TRACKERS])
def test_no_permission(office, name):
    office.servers[name].site.fail(refuse("", 403, times=None))
    assert "may not be read with these credentials (403)" in office.failure(name)


@pytest.mark.parametrize("name", WIKIS)
def test_a_space_that_does_not_exist(office, name):
    office.sources[name]["spaces"] = ["ENG", "NOPE"]
    message = office.failure(name)
    assert "NOPE" in message
    assert "does not exist" in message


@pytest.mark.parametrize("name", WIKIS)
def test_a_space_that_the_account_may_not_see(office, name):
    office.servers[name].model.spaces["ENG"].hidden = True
    assert "ENG" in office.failure(name)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_project_that_does_not_exist(office, name):
    office.sources[name]["projects"] = ["ENG", "NOPE"]
    assert "there is no project NOPE" in office.failure(name)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_query_that_jira_refuses(office, name):
    office.sources[name]["jql"] = "wishes = many"
    assert "Jira refuses the query: Field 'wishes' does not exist" in office.failure(name)


@pytest.mark.parametrize("name", [*WIKIS, *TRACKERS])
def test_a_login_page_in_between(office, name):
    office.servers[name].site.fail(login_page())
    assert "most often the login page of a single sign-on" in office.failure(name)


@pytest.mark.parametrize("name", [*WIKIS, *TRACKERS])
def test_a_wrong_address(office, name):
    office.sources[name]["url"] += "/nothing/here"
    assert "there is nothing at " in office.failure(name)


@pytest.mark.parametrize("name", [*WIKIS, *TRACKERS, "site"])
def test_nobody_there(office, name):
    office.sources[name]["url"] = "http://127.0.0.1:9/wiki"
    assert "cannot be read" in office.failure(name)


@pytest.mark.parametrize("status", [401, 403, 503])
def test_a_site_that_may_not_be_read(office, status):
    office.servers["site"].failing |= {"/sitemap.xml": status, "/guide/": status, "/guide/sitemap.xml": status}
    assert office.failure("site")


def test_a_start_page_that_is_not_there(office):
    office.servers["site"].sitemap = None
    del office.servers["site"].pages["/guide/"]
    assert "the start page" in office.failure("site")


def test_a_folder_and_a_repository_that_are_not_there(office):
    office.sources["docs"]["path"] = "nowhere"
    assert "nowhere" in office.failure("docs")
    office.sources["docs"]["path"] = "docs"
    office.sources["repo"]["url"] = "nowhere"
    assert "nowhere" in office.failure("repo")


def test_everything_wrong_at_once_is_told_at_once(office):
    for source in office.sources.values():
        source.update({"url": "http://127.0.0.1:9/x"} if "url" in source else {"path": "nowhere"})
    office.sources["repo"]["url"] = "nowhere"
    code, checks = office.validate()
    assert code == 1
    assert [what for what, check in checks.items() if check["ok"]] == ["config", "state", "index"]
    assert all(check["remedy"] for check in checks.values() if not check["ok"])


def test_sources_are_looked_at_side_by_side(tmp_path, capsys, monkeypatch):
    met = threading.Event()
    meeting = threading.Barrier(3, action=met.set)

    def answer(connection, head, over):
        if not met.is_set():
            meeting.wait(120)  # whoever comes alone waits in vain
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    with raw_server(answer) as one, raw_server(answer) as two, raw_server(answer) as three:
        sources = {
            name: {"type": "jira", "deployment": "data_center", "url": url, "projects": ["ENG"], "retry_attempts": 0}
            for name, url in (("one", one), ("two", two), ("three", three))
        }
        office = Office(Prompt(tmp_path, capsys, monkeypatch), {}, sources)
        _, checks = office.validate()
    assert [what for what in checks if what.startswith("source")] == ["source one", "source three", "source two"]
    assert met.is_set()
