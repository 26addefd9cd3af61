"""A page of the index that is listed but cannot be read is not deleted, whether or not the cache remembers it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qloader import Workspace
from qloader.errors import SourceError
from qloader.workspace.planning import PlanRequest
from servers.docs_site import DocsSite, SitePage, small_site
from support.workspaces import plan_and_apply


@pytest.fixture
def site() -> Iterator[DocsSite]:
    made = small_site()
    with made.serve():
        yield made


@pytest.fixture
def workspace(site: DocsSite, tmp_path: Path) -> Workspace:
    config = tmp_path / "qloader.yaml"
    config.write_text(
        f'name: test\nsources:\n  site: {{type: web, url: "{site.base}/guide/", retry_attempts: 0}}\n', encoding="utf-8"
    )
    return Workspace.open(config)


@pytest.fixture
def applied(workspace: Workspace) -> Workspace:
    plan_and_apply(workspace)
    return workspace


def forget_everything_cached(workspace: Workspace) -> None:
    cache = workspace.settings.cache
    cache.unlink()
    shutil.rmtree(cache.parent / "sources")


def forbid(site: DocsSite, page: str) -> None:
    site.failing[page] = 403


def lead_to_a_login(site: DocsSite, page: str) -> None:
    site.redirects[page] = (302, "http://login.example.org/")


def disallow(site: DocsSite, page: str) -> None:
    site.robots = f"User-agent: *\nDisallow: {page}\n"


def draw_by_a_script(site: DocsSite, page: str) -> None:
    site.pages[page].html = "<div id=app></div>"


def become_a_download(site: DocsSite, page: str) -> None:
    site.pages[page] = SitePage("", "%PDF-1.7", content_type="application/pdf", bare=True)


def want_a_login(site: DocsSite, page: str) -> None:
    site.failing[page] = 401


def forbid_robots(site: DocsSite, page: str) -> None:
    site.pages[page].head = "<meta name=robots content=noindex>"


def fail(site: DocsSite, page: str) -> None:
    site.failing[page] = 500


def take_away(site: DocsSite, page: str) -> None:
    site.failing[page] = 404


def move_out(site: DocsSite, page: str) -> None:
    site.pages["/archive"] = site.pages[page]
    site.redirects[page] = (301, "/archive")


HIDDEN = [forbid, want_a_login, lead_to_a_login, disallow, forbid_robots, draw_by_a_script, become_a_download]


@pytest.mark.parametrize(
    ("change", "kind"), [*((change, "plain") for change in [*HIDDEN, fail, take_away, move_out]), (fail, None)]
)
def test_a_plan_is_the_same_bytes_with_the_cache_and_without(
    site: DocsSite, applied: Workspace, tmp_path: Path, change: Callable[[DocsSite, str], None], kind: str | None
) -> None:
    site.sitemap = kind
    site.sitemap_of = list(site.pages)
    change(site, "/guide/chapter-3")
    site.write("/guide/chapter-4", "Chapter 4", "Edited.")

    def planned(name: str, request: PlanRequest | None = None) -> bytes:
        applied.plan(tmp_path / name, request)
        return (tmp_path / name).read_bytes()

    warm = planned("warm.json")
    assert planned("again.json") == warm
    assert planned("anew.json", PlanRequest(use_cache=False)) == warm
    forget_everything_cached(applied)
    assert planned("cold.json") == warm
    summary = json.loads(warm)["summary"]
    assert (summary["update"], summary["delete"]) == (1, 1 if change in (take_away, move_out) else 0)


@pytest.mark.parametrize(
    ("hide", "words"),
    [(disallow, "robots: false"), (want_a_login, "site.token"), (draw_by_a_script, "a script"), (fail, "in a browser")],
)
def test_a_site_of_which_nothing_can_be_read_is_an_error_at_first_and_kept_later(
    site: DocsSite, workspace: Workspace, hide: Callable[[DocsSite, str], None], words: str
) -> None:
    def hide_all() -> None:
        site.sitemap_of = list(site.pages)
        for page in site.sitemap_of:
            hide(site, page)
        if hide is disallow:
            site.robots = "User-agent: *\nDisallow: /guide/\n"

    hide_all()
    with pytest.raises(SourceError, match="not one of 8 pages can be read") as caught:
        workspace.plan()
    assert words in caught.value.remedy
    small_site(site=site)
    plan_and_apply(workspace)
    hide_all()
    with workspace.temporary_plan() as result:
        header = result.plan.header
        assert header.summary.delete == 0
        assert not header.sources[0].complete


def test_a_page_that_wants_a_login_is_told_with_what_to_do(site: DocsSite, workspace: Workspace) -> None:
    site.failing["/guide/chapter-3"] = 401
    with workspace.temporary_plan() as result:
        (warning,) = result.plan.header.warnings
        assert "1 item skipped (forbidden" in warning.message
        assert "set or check `token`" in warning.message
        assert warning.message.endswith("chapter-3")


@pytest.mark.parametrize("hide", [forbid, lead_to_a_login, disallow, draw_by_a_script, become_a_download])
def test_a_page_out_of_sight_is_kept_though_the_cache_is_gone(
    site: DocsSite, applied: Workspace, hide: Callable[[DocsSite, str], None]
) -> None:
    hide(site, "/guide/chapter-3")
    forget_everything_cached(applied)
    with applied.temporary_plan() as result:
        header = result.plan.header
        assert header.summary.delete == 0
        assert not header.sources[0].complete
        (warning,) = (one for one in header.warnings if one.kind == "incomplete")
        assert "1 document of the index is listed, but cannot be read now: chapter-3" in warning.message


def test_a_page_that_was_gone_once_and_is_forbidden_then_is_kept(site: DocsSite, applied: Workspace) -> None:
    site.failing["/guide/chapter-3"] = 404
    with applied.temporary_plan() as result:
        assert result.plan.header.summary.delete == 1
    site.failing["/guide/chapter-3"] = 403
    with applied.temporary_plan() as result:
        assert result.plan.header.summary.delete == 0


def test_a_page_that_the_index_never_held_spoils_no_listing(site: DocsSite, applied: Workspace) -> None:
    site.write("/guide/secret", "Secret", "Not for everybody.")
    site.failing["/guide/secret"] = 403
    site.failing["/guide/chapter-3"] = 404
    with applied.temporary_plan() as result:
        assert result.plan.header.sources[0].complete
        assert result.plan.header.summary.delete == 1


def test_a_start_page_that_is_a_login_now_empties_no_crawled_site(site: DocsSite, applied: Workspace) -> None:
    site.sitemap = None
    plan_and_apply(applied)
    site.menu = False
    site.write("/guide/", "Log in", "Please log in to read on.")
    forget_everything_cached(applied)
    with applied.temporary_plan() as result:
        assert result.plan.header.summary.delete == 0
        assert "leads to no other page" in " ".join(warning.message for warning in result.plan.header.warnings)
