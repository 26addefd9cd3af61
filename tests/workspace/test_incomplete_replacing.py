"""A changed pipeline while a source lists only a part: what is not listed stays as it is, in the new collection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qloader import Workspace
from qloader.planning.planner import UNSEEN
from servers.docs_site import DocsSite
from support.qdrant_loopback import StandIn, serving
from support.workspaces import dump, plan_and_apply

COUNT = 6


class Place:
    """A site, and a config that says how large chunks are."""

    def __init__(self, folder: Path, site: DocsSite, index: str) -> None:
        self.folder = folder
        self.site = site
        self.index = index

    def configure(self, max_chars: int = 200, name: str = "test") -> Workspace:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        index = self.index if name == "test" else "path: .qloader/index"
        (folder / "qloader.yaml").write_text(
            f"name: test\nindex: {{collection: test, {index}}}\nstate: {{path: .qloader/state.db}}\n"
            f'sources:\n  site: {{type: web, url: "{self.site.base}/guide/", retry_attempts: 0}}\n'
            f"chunking: {{max_chars: {max_chars}}}\ningestion: {{batch: {{size: 2}}}}\n",
            encoding="utf-8",
        )
        return Workspace.open(folder / "qloader.yaml")

    def cut_short(self) -> None:
        """The second half of the sitemap is not to be had; the pages are."""
        self.site.failing["/sitemap-2.xml"] = 500

    def mend(self) -> None:
        self.site.failing.clear()

    def write(self, number: int, word: str) -> None:
        parts = [
            f"Part {n} of page {number} says how a {word} is looked after, at some length, and why." for n in range(5)
        ]
        self.site.write(f"/guide/page-{number}", f"Page {number}", "\n\n".join(parts))

    def assert_index_is_a_fresh_load(self, workspace: Workspace, max_chars: int) -> None:
        fresh = self.configure(max_chars, name="fresh")
        plan_and_apply(fresh)
        assert dump(workspace) == dump(fresh)
        with workspace.temporary_plan() as result:
            assert result.plan.header.is_empty


@pytest.fixture(params=["embedded", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    site = DocsSite()
    site.sitemap, site.menu = "index", False
    with site.serve(), serving(StandIn().respond) as url:
        place = Place(tmp_path, site, "path: .qloader/index" if request.param == "embedded" else f"url: {url}")
        for number in range(COUNT):
            place.write(number, "lamp")
        plan_and_apply(place.configure())
        yield place


def texts(workspace: Workspace, *pages: int) -> set[str]:
    wanted = {f"page-{number}" for number in pages}
    payloads = [point["payload"] for point in dump(workspace).values()]
    return {payload["text"] for payload in payloads if payload["document_id"] in wanted}


def test_what_a_listing_does_not_show_stays_as_it_is_and_is_cut_anew_when_it_is_shown(place: Place) -> None:
    listed, unlisted = range(COUNT // 2), range(COUNT // 2, COUNT)
    before, kept = texts(place.configure(), *listed), texts(place.configure(), *unlisted)
    place.cut_short()
    place.write(COUNT - 1, "lantern")  # nobody sees it
    changed = place.configure(max_chars=400)
    with changed.temporary_plan() as result:
        header = result.plan.header
        assert (header.index.action, header.sources[0].complete) == ("replace", False)
        assert (header.summary.update, header.summary.delete) == (COUNT, 0)
        reasons = {change.id: change.reason for change in result.plan.changes()}
        assert [reasons[f"page-{n}"] == UNSEEN for n in range(COUNT)] == [n in unlisted for n in range(COUNT)]
        done = changed.apply(result.plan)
    assert (done.updated, done.failures, done.is_complete) == (COUNT, (), True)
    assert done.embedded == header.summary.chunks_embed
    assert header.summary.chunks_keep >= len(kept)
    assert texts(changed, *unlisted) == kept
    assert texts(changed, *listed) != before
    assert changed.refresh().points == ()
    # The listing is still cut short: there is nothing to do.
    with changed.temporary_plan() as result:
        assert result.plan.header.is_empty
    place.mend()
    with changed.temporary_plan() as result:
        header = result.plan.header
        assert (header.index.action, header.summary.update) == ("none", len(unlisted))
        done = changed.apply(result.plan)
    assert done.embedded == header.summary.chunks_embed
    place.assert_index_is_a_fresh_load(changed, 400)


def test_a_document_that_is_not_listed_and_is_gone_stays_until_a_whole_listing_says_so(place: Place) -> None:
    place.cut_short()
    changed = place.configure(max_chars=400)
    with changed.temporary_plan() as result:
        del place.site.pages[f"/guide/page-{COUNT - 1}"]
        assert changed.apply(result.plan).is_complete
    assert texts(changed, COUNT - 1)
    place.mend()
    assert plan_and_apply(changed).deleted == 1
    place.assert_index_is_a_fresh_load(changed, 400)
