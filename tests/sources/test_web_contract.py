"""The contract of a source, kept by `web`: with a sitemap in parts, and by following links."""

from contextlib import contextmanager

import pytest

from qloader.sources.http.settings import HttpSettings
from qloader.sources.web.settings import WebSettings
from qloader.sources.web.source import WebSource
from qloader.testing import Site, SourceContract
from servers.docs_site import DocsSite, SitePage


class WebSite(Site):
    def __init__(self, base, server, cache):
        self.server = server
        self.paths = {}
        self._settings = WebSettings(url=f"{base}/docs/", cache_dir=cache, discovery="sitemap")
        self._opened = []

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
    def while_paging(self, edit):
        self.server.after["/sitemap-1.xml"] = edit
        yield


class TestWebContract(SourceContract):
    many = 1_000

    @pytest.fixture
    def site(self, tmp_path):
        server = DocsSite()
        server.menu = False
        with server.serve() as base:
            site = PagedSite(base, server, tmp_path / "cache")
            yield site
            site.close()


class LinkedSite(WebSite):
    """Without a sitemap: the start page links to all others, and is a document itself, but for this suite."""

    def __init__(self, base, server, cache):
        super().__init__(base, server, cache)
        server.sitemap = None
        server.pages["/docs/"] = SitePage("Start", "<p>All begins here.</p>")
        self._settings = WebSettings(url=f"{base}/docs/", cache_dir=cache, include=("**", "!/index"))


class TestCrawledWebContract(SourceContract):
    many = 200

    @pytest.fixture
    def site(self, tmp_path):
        server = DocsSite()
        server.menu = False
        with server.serve() as base:
            site = LinkedSite(base, server, tmp_path / "cache")
            # The menu stands on the start page alone, or a thousand pages would hold a million links.
            render = server._render

            def with_links(path, page):
                server.menu = path == "/docs/"
                return render(path, page)

            server._render = with_links
            yield site
            site.close()
