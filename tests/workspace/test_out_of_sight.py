"""A page of the index that is listed but cannot be read is not deleted, whether or not the cache remembers it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qloader import Workspace
from servers.docs_site import DocsSite, small_site
from support.workspaces import plan_and_apply


@pytest.fixture
def site() -> Iterator[DocsSite]:
    made = small_site()
    with made.serve():
        yield made


@pytest.fixture
def applied(site: DocsSite, tmp_path: Path) -> Workspace:
    config = tmp_path / "qloader.yaml"
    config.write_text(
        f'name: test\nsources:\n  site: {{type: web, url: "{site.base}/guide/", retry_attempts: 0}}\n', encoding="utf-8"
    )
    workspace = Workspace.open(config)
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
    site.pages[page].content_type = "application/pdf"


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
