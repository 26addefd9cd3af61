"""The contract of a source, kept by `web`: with a sitemap in parts, and by following links."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from qloader.sources.http.settings import HttpSettings
from qloader.sources.web.settings import WebSettings
from qloader.sources.web.source import WebSource
from qloader.testing import Site, SourceContract, Unsupported
from servers.docs_site import DocsSite, SitePage


class WebSite(Site):
    def __init__(self, base, server, cache):
        self.server = server
        self.paths = {}
        self._settings = WebSettings(url=f"{base}/docs/", cache_dir=cache, discovery="sitemap")
        self._opened = []
        self._ahead = timedelta()

    def open(self):
        self._opened.append(WebSource("site", self._settings, HttpSettings(attempts=0)))
        return self._opened[-1]

    def close(self):
        for source in self._opened:
            source.close()

    def write(self, key, text):
        path = self.paths.setdefault(key, f"/docs/{key}")
        title = self.server.pages[path].title if path in self.server.pages else key
        self.server.pages[path] = SitePage(title, f"<p>{text}</p>")
        self.server.dates[path] = self.now().isoformat()

    def now(self):
        return datetime.now(UTC) + self._ahead

    @contextmanager
    def clock_ahead(self, by):
        self._ahead = by
        yield
        self._ahead = timedelta()

    def wait(self, by):
        dates = self.server.dates
        for path, date in dates.items():
            dates[path] = (datetime.fromisoformat(date) - by).isoformat()

    def delete(self, key):
        del self.server.pages[self.paths.pop(key)]

    def id_of(self, key):
        return self.paths[key].removeprefix("/docs/")

    def retitle(self, key, title):
        self.server.pages[self.paths[key]].title = title

    def tag(self, key, label):
        self.server.pages[self.paths[key]].head = f'<meta name="description" content="{label}">'

    def move(self, key):
        new = f"/docs/elsewhere/{key}"
        self.server.dates[new] = self.now().isoformat()
        self.server.pages[new] = self.server.pages.pop(self.paths[key])
        self.paths[key] = new
        return self.id_of(key)

    @contextmanager
    def denied(self):
        self.server.failing = dict.fromkeys((*self.server.pages, "/robots.txt", "/sitemap.xml"), 401)
        yield
        self.server.failing = {}


class PagedSite(WebSite):
    """With a sitemap in parts: each is a page of the listing."""

    page_size = 5

    def __init__(self, base, server, cache):
        super().__init__(base, server, cache)
        server.sitemap, server.part_size = "index", self.page_size

    def write_many(self, texts):
        super().write_many(texts)
        self.server.part_size = max(self.page_size, len(texts) // 20)

    @contextmanager
    def breaks_on_page(self, number):
        self.server.failing[f"/sitemap-{number}.xml"] = 500
        yield
        self.server.failing = {}

    @contextmanager
    def repeats_across_pages(self):
        self.server.overlap = 1
        yield
        self.server.overlap = 0

    @contextmanager
    def while_paging(self, edit):
        self.server.after["/sitemap-1.xml"] = edit
        yield


@pytest.fixture(scope="module")
def served():
    server = DocsSite()
    with server.serve():
        yield server


@pytest.fixture
def server(served):
    served.reset()
    served.menu = False
    return served


class TestWebContract(SourceContract):
    many = 500

    @pytest.fixture
    def site(self, server, tmp_path):
        site = PagedSite(server.base, server, tmp_path / "cache")
        yield site
        site.close()


class LinkedSite(WebSite):
    """Without a sitemap: the start page links to all others, and is a document itself, but for this suite."""

    def __init__(self, base, server, cache):
        super().__init__(base, server, cache)
        server.sitemap = None
        server.pages["/docs/"] = SitePage("Start", "<p>All begins here.</p>")
        self._settings = WebSettings(url=f"{base}/docs/", cache_dir=cache, include=("**", "!/index"))

    def wait(self, by):
        raise Unsupported("without a sitemap pages have no dates")


class TestCrawledWebContract(SourceContract):
    many = 100

    @pytest.fixture
    def site(self, server, tmp_path):
        server.menu_on = "/docs/"  # and on no other page, or many pages would hold very many links
        site = LinkedSite(server.base, server, tmp_path / "cache")
        yield site
        site.close()
