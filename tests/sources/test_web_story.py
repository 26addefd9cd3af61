"""A documentation site on its way into the index and through its changes, by the command line."""

import json

import pytest

from servers.docs_site import small_site
from support import workspaces
from support.command_line import Prompt
from support.workspaces import assert_index_is_a_fresh_load

CONFIG = """\
name: test
index: {{collection: test, path: .qloader/index}}
sources:
  site: {{type: web, url: "{base}/guide/", retry_attempts: 0}}
chunking: {{max_chars: 200}}
guards: {{max_delete_percent: 60}}
"""


@pytest.fixture
def site():
    return small_site()


@pytest.fixture
def prompt(site, tmp_path, capsys, monkeypatch):
    with site.serve() as base:
        here = Prompt(tmp_path, capsys, monkeypatch)
        here.configure(CONFIG.format(base=base))
        yield here


def plan(prompt):
    """The plan's last line, and the lines of its changes."""
    answer = prompt.ok("plan", "-o", "plan.json")
    return answer.last, [line.strip() for line in answer.err.splitlines() if line.startswith("  ")]


def apply(prompt, *, compare=True):
    last = prompt.ok("apply", "plan.json").last
    if not compare:
        return last
    workspaces._fresh.clear()  # it knows files, and this is a site
    assert_index_is_a_fresh_load(prompt.workspace)
    assert prompt.ok("plan").last == "No changes. The index matches the sources."
    return last


def planned(create=0, update=0, move=0, delete=0, embed=0):
    chunks = f"{embed} chunk{'' if embed == 1 else 's'} to embed"
    return f"Plan: {create} to create, {update} to update, {move} to move, {delete} to delete ({chunks})."


def applied(create=0, update=0, move=0, delete=0):
    return f"Apply complete: {create} created, {update} updated, {move} moved, {delete} deleted."


@pytest.mark.parametrize("kind", ["plain", None], ids=["sitemap", "crawl"])
def test_create_edit_move_delete_restore(prompt, site, kind):
    site.sitemap = kind
    compare = kind is not None  # once is enough: what is listed is the same
    last, _ = plan(prompt)
    assert last == planned(create=8, embed=16)
    assert apply(prompt, compare=compare) == applied(create=8)
    hits = prompt.ok("search", "lamp 21", "-k", "1", "--format", "json").json["hits"]
    assert [(hit["address"], hit["title"]) for hit in hits] == [("site/chapter-3", "Chapter 3")]
    assert hits[0]["uri"].endswith("/guide/chapter-3")

    site.build = 2  # the whole site built anew, nothing changed
    site.forget()
    assert plan(prompt)[0] == "No changes. The index matches the sources."
    assert {one.status for one in site.asked()} == {200}
    site.forget()
    assert plan(prompt)[0] == "No changes. The index matches the sources."
    assert {one.status for one in site.asked()} == {304}

    site.write("/guide/chapter-3", "Chapter 3", "What chapter 3 says of submarines.")
    site.write("/guide/chapter-9", "Chapter 9", "A new one, on walruses.")
    last, lines = plan(prompt)
    assert last == planned(create=1, update=1, embed=2)
    assert any(line.startswith("~ chapter-3") for line in lines)
    assert apply(prompt, compare=compare) == applied(create=1, update=1)

    site.pages["/guide/new/place"] = site.pages.pop("/guide/chapter-4")
    last, lines = plan(prompt)
    assert last == planned(move=1)
    assert "> chapter-4 -> new/place" in [line.partition("  ")[0] for line in lines]
    assert apply(prompt, compare=compare) == applied(move=1)

    site.redirects["/guide/chapter-5"] = (301, "/guide/chapter-five")
    site.pages["/guide/chapter-five"] = site.pages.pop("/guide/chapter-5")
    assert plan(prompt)[0] == planned(move=1)
    assert apply(prompt, compare=compare) == applied(move=1)

    gone = site.pages.pop("/guide/chapter-6")
    assert plan(prompt)[0] == planned(delete=1)
    assert apply(prompt, compare=compare) == applied(delete=1)

    site.pages["/guide/chapter-6"] = gone
    assert plan(prompt)[0] == planned(create=1, embed=2)
    assert apply(prompt, compare=compare) == applied(create=1)


def test_a_title_alone_is_an_update_without_embedding(prompt, site):
    site.pages["/guide/chapter-1"].html = "<p>No heading here.</p>"
    plan(prompt)
    apply(prompt, compare=False)
    site.pages["/guide/chapter-1"].title = "Another title"
    last, _ = plan(prompt)
    assert last == planned(update=1)
    assert apply(prompt) == applied(update=1)


def test_a_page_that_fails_is_not_deleted_and_the_plan_says_why(prompt, site):
    plan(prompt)
    apply(prompt, compare=False)
    site.failing["/guide/chapter-2"] = 503
    site.write("/guide/chapter-3", "Chapter 3", "Edited meanwhile.")
    answer = prompt.ok("plan", "-o", "plan.json")
    assert answer.last == planned(update=1, embed=1)
    assert "chapter-2" in answer.err
    assert "could not be read" in answer.err
    assert prompt.ok("apply", "plan.json").last == applied(update=1)
    found = prompt.ok("state", "list", "--format", "json").json["documents"]
    assert "site/chapter-2" in {one["address"] for one in found}
    site.failing.clear()
    assert plan(prompt)[0] == "No changes. The index matches the sources."


def test_a_plan_is_applied_as_reviewed_and_asks_the_site_for_nothing(prompt, site):
    plan(prompt)
    site.write("/guide/chapter-3", "Chapter 3", "Edited after the plan.")
    site.forget()
    assert prompt.ok("apply", "plan.json").last == applied(create=8)
    assert site.asked() == []
    assert plan(prompt)[0] == planned(update=1, embed=1)


def test_a_plan_applied_where_the_cache_is_not_skips_what_changed_since(prompt, site, monkeypatch):
    plan(prompt)
    site.write("/guide/chapter-3", "Chapter 3", "Edited after the plan.")
    for file in prompt.folder.rglob("*.db"):
        if "web" in file.parts:
            file.unlink()
    answer = prompt("apply", "plan.json")
    assert answer.code == 1
    assert "7 created" in answer.last
    assert "chapter-3" in answer.err
    plan(prompt)
    assert apply(prompt) == applied(create=1)


def test_two_plans_of_one_site_are_the_same_bytes(prompt, site):
    plan(prompt)
    first = (prompt.folder / "plan.json").read_bytes()
    for file in prompt.folder.rglob("*.db*"):
        file.unlink()
    site.build = 2
    plan(prompt)
    assert (prompt.folder / "plan.json").read_bytes() == first


def test_without_the_cache_every_page_is_read_again_whatever_the_server_says_of_it(prompt, site):
    site.etags, site.last_modified = False, "Mon, 02 Nov 2026 10:00:00 GMT"
    plan(prompt)
    apply(prompt, compare=False)
    site.write("/guide/chapter-3", "Chapter 3", "Edited within the second that it was read in.")
    assert plan(prompt)[0] == "No changes. The index matches the sources."
    assert prompt.ok("plan", "--no-cache", "-o", "plan.json").last == planned(update=1, embed=1)
    assert apply(prompt) == applied(update=1)


def test_validate_says_how_pages_are_found(prompt, site):
    assert "web, http" in prompt.ok("validate").err + prompt.ok("validate").out


def test_many_pages_are_read_by_several_processes(tmp_path, capsys, monkeypatch):
    from qloader.workspace import readers

    monkeypatch.setattr(readers, "READERS_FROM", 5)
    site = small_site(12)
    site.menu = False
    with site.serve() as base:
        prompt = Prompt(tmp_path, capsys, monkeypatch)
        prompt.configure(CONFIG.format(base=base) + "ingestion: {parallel: {max_workers: 2}}\n")
        site.forget()
        assert json.loads(prompt.ok("plan", "--format", "json").out)["summary"]["create"] == 12
        assert len(site.asked()) == 12


def test_a_plan_of_files_loads_nothing_of_the_web(tmp_path, capsys, monkeypatch):
    import subprocess
    import sys

    prompt = Prompt(tmp_path, capsys, monkeypatch)
    prompt.configure("name: test\nsources:\n  docs: {type: files, path: docs}\n")
    prompt.docs.mkdir()
    code = "import sys; from qloader.cli.app import run; run(['plan']); print('loaded', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.partition("loaded")[2].split())
    assert not loaded & {"httpx", "httpcore", "h2", "selectolax", "protego", "charset_normalizer", "ssl"}
