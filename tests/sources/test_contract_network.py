"""The contract of a source, for both editions of Confluence and Jira and for web sites, over real servers."""

import contextlib
import shutil
from datetime import UTC, datetime, timedelta
from html import escape

import pytest
from starlette.responses import Response

from qloader.sources.http import pace
from qloader.sources.http.settings import HttpSettings
from qloader.sources.web.settings import WebSettings
from qloader.sources.web.source import WebSource
from qloader.testing import Site, SourceContract, Unsupported
from servers.atlassian import Fault, refuse
from servers.docs_site import DocsSite, SitePage
from support.atlassian_sites import run_confluence, run_jira

FEW = 3
"""Documents on a page of a listing."""


class Atlassian(Site):
    """What the servers of Confluence and Jira can do alike. Faults go to the requests of a listing alone."""

    page_size = FEW
    lists = ""
    entries = ""

    def __init__(self, running, *, pages_by_offset=False):
        self.running = running
        self.model = running.model
        self.pages_by_offset = pages_by_offset
        self.names = {}
        self.front = self.model.add("ENG", "Not for all", "Text.")
        self.model.restrict(self.front)

    def id_of(self, key):
        return self.names[key]

    def breaks_on_page(self, number):
        return self.failing(refuse(self.lists, 503, after=number - 1, times=None))

    def while_paging(self, edit):
        return self.failing(Fault(self.lists, after=1, before=edit))

    def before_answer(self, number, edit):
        return self.failing(Fault("", after=number - 1, before=edit))

    def repeats_across_pages(self):
        if self.pages_by_offset:
            return self.one_in_front()
        last = []

        def repeat(answer):
            own = answer[self.entries]
            answer[self.entries], last[:] = [*last, *own], own[-1:]
            return answer

        return self.failing(Fault(self.lists, times=None, rewrite=repeat))

    @contextlib.contextmanager
    def one_in_front(self):
        """One that comes to be seen after the first page, and moves all others back by one."""
        with self.failing(Fault(self.lists, after=1, before=lambda: self.model.restrict(self.front, False))):
            yield
        self.model.restrict(self.front)

    def now(self):
        return self.model.now

    def wait(self, by):
        self.model.now += by

    @contextlib.contextmanager
    def clock_ahead(self, by):
        self.model.now += by
        yield
        self.model.now -= by

    @contextlib.contextmanager
    def failing(self, fault):
        self.running.site.fail(fault)
        yield
        self.running.site.faults.remove(fault)


class Wiki(Atlassian):
    lists = r"/spaces/\d+/pages|/rest/api/content(/scan)?\?"
    entries = "results"
    kind = "page"

    def open(self):
        return self.running.source(label_changes=True, retry_attempts=0)

    def write_many(self, texts):
        if len(texts) > 1000:
            self.model.max_limit = 250
        super().write_many(texts)

    def write(self, key, text):
        body = f"<p>{escape(text)}</p>"
        self.model.tick()
        if key in self.names:
            self.model.edit(self.names[key], body)
        else:
            self.names[key] = self.model.add("ENG", key, body, type=self.kind)

    def delete(self, key):
        self.model.set_status(self.names[key], "trashed")
        self.trashed = self.names.pop(key)

    def restore(self, key, text):
        self.names[key] = self.trashed
        self.model.set_status(self.trashed, "current")

    def retitle(self, key, title):
        self.model.edit(self.names[key], title=title)

    def tag(self, key, label):
        self.model.label(self.names[key], label)

    def move(self, key):
        page = self.names[key]
        below = {page, *(one.id for one in self.model.below(page))}
        parent = next((one for one in self.names.values() if one not in below), None)
        self.model.move(page, parent=parent)
        return self.names[key]

    @contextlib.contextmanager
    def denied(self):
        self.model.spaces["ENG"].hidden = True
        yield
        self.model.spaces["ENG"].hidden = False


class Blog(Wiki):
    lists = r"/spaces/\d+/blogposts|/rest/api/content(/scan)?\?.*type=blogpost"
    kind = "blogpost"

    def open(self):
        return self.running.source(label_changes=True, retry_attempts=0, blog_posts=True)

    def id_of(self, key):
        return f"blog/{self.names[key]}"

    def move(self, key):
        raise Unsupported("a blog post is below nothing")


class Tracker(Atlassian):
    lists = "/search"
    entries = "issues"

    has_title_in_text = True  # the summary is its heading

    def __init__(self, running, **options):
        super().__init__(running, **options)
        self.model.projects["OPS"] = "Operations"

    def open(self):
        return self.running.source(projects=["ENG", "OPS"], retry_attempts=0)

    def write_many(self, texts):
        if len(texts) > 1000:
            self.model.max_ids, self.model.max_results = 5000, 1000
        super().write_many(texts)

    def write(self, key, text):
        self.model.tick()
        if key in self.names:
            self.model.edit(self.names[key], description=text)
        else:
            self.names[key] = self.model.add("ENG", key, text)

    def delete(self, key):
        self.deleted = self.model.delete(self.names.pop(key))

    def restore(self, key, text):
        self.names[key] = self.deleted.key
        self.model.restore(self.deleted)

    def retitle(self, key, title):
        self.model.edit(self.names[key], summary=title)

    def tag(self, key, label):
        self.model.edit(self.names[key], labels=[label])

    def move(self, key):
        self.names[key] = self.model.move(self.names[key], "OPS")
        return self.names[key]

    @contextlib.contextmanager
    def denied(self):
        # A project that an account may not see does not exist for it, and its issues are found by no query.
        projects = dict(self.model.projects)
        self.model.projects.clear()
        yield
        self.model.projects |= projects


class PagedSite(DocsSite):
    """A site whose sitemap is in parts, or whose start page leads to all others."""

    def __init__(self, *, sitemap):
        super().__init__()
        self.sitemap = "index" if sitemap else None
        self.menu = False
        self.part_size = FEW
        self.repeats = False
        self.may_be_read = True
        self.before_next = None
        self.before_answer = None
        self.breaks_at = None

    def _respond(self, path, request):
        if self.before_answer is not None:
            number, edit = self.before_answer
            self.before_answer = (number - 1, edit) if number > 1 else None
            if number == 1:
                edit()
        if not self.may_be_read:
            return Response("no", 403)
        if self.sitemap is None and path.startswith("/guide/doc-") and self.breaks_at is not None:
            self.breaks_at -= 1
            if self.breaks_at < 1:
                return Response("no", 503)
        response = super()._respond(path, request)
        if self.before_next is not None and path.startswith(("/sitemap-0", "/guide/doc-")):
            edit, self.before_next = self.before_next, None
            edit()
        return response

    def _sitemap(self, path):
        paths = sorted(self.pages)
        parts = [paths[start : start + self.part_size] for start in range(0, len(paths), self.part_size)]
        if path == self.sitemap_at:
            found = [f"{self.base}/sitemap-{number}.xml" for number in range(len(parts))]
            text = "".join(f"<sitemap><loc>{one}</loc></sitemap>" for one in found)
            return Response(f"<sitemapindex>{text}</sitemapindex>", media_type="application/xml")
        number = int(path.removeprefix("/sitemap-").removesuffix(".xml"))
        if self.breaks_at is not None and number + 1 >= self.breaks_at:
            return Response("no", 503)
        before = parts[number - 1][-1:] if self.repeats and number else []
        text = "".join(
            f"<url><loc>{self.base}{escape(one)}</loc><lastmod>{self.dates.get(one, '2020-01-01')}</lastmod></url>"
            for one in (*before, *parts[number])
        )
        return Response(f"<urlset>{text}</urlset>", media_type="application/xml")


class Pages(Site):
    """Pages below `/guide/`. Two that are always there are no documents: the start page, and one about the site."""

    def __init__(self, site, base, cache):
        self.site = site
        self.base = base
        self.cache = cache
        self.paths = {}
        self.clock = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)
        self.opened = []
        for path in ("/guide/", "/guide/about"):
            self.put(path, SitePage("About", "<p>What this is.</p>"))

    def open(self):
        settings = WebSettings(url=f"{self.base}/guide/", cache_dir=self.cache, include=("**/*doc-*", *self.kept))
        source = WebSource("site", settings, HttpSettings(attempts=0))
        self.opened.append(source)
        return source

    kept = ("one", "two", "three", "old", "edited", "deleted", "new", "aaa")
    """The names, beside `doc-*`, that the suite writes; `include` leaves out the two pages that are always there."""

    def close(self):
        for source in self.opened:
            source.close()

    def id_of(self, key):
        return self.paths.get(key, f"/guide/{key}").removeprefix("/guide/")

    def put(self, path, page):
        self.clock += timedelta(minutes=1)
        self.site.pages[path] = page
        self.site.dates[path] = self.clock.isoformat()
        self.link()

    def link(self):
        """The start page leads to all others."""
        links = "".join(f'<li><a href="{path}">{path}</a></li>' for path in self.site.pages if path != "/guide/")
        self.site.pages["/guide/"].html = f"<ul>{links}</ul>"

    def write(self, key, text):
        path = self.paths.setdefault(key, f"/guide/{key}")
        self.put(path, SitePage(self.title_of(key), f"<p>{escape(text)}</p>"))

    def title_of(self, key):
        page = self.site.pages.get(self.paths[key])
        return page.title if page else f"Page {key}"

    def delete(self, key):
        del self.site.pages[self.paths[key]]
        self.link()

    def retitle(self, key, title):
        self.site.pages[self.paths[key]].title = title

    def tag(self, key, label):
        self.site.pages[self.paths[key]].head = f'<meta name="description" content="{label}">'

    def move(self, key):
        page = self.site.pages.pop(self.paths[key])
        self.paths[key] = f"/guide/elsewhere/doc-{key}"
        self.put(self.paths[key], page)
        return self.id_of(key)

    @contextlib.contextmanager
    def denied(self):
        self.site.may_be_read = False
        yield
        self.site.may_be_read = True

    @contextlib.contextmanager
    def breaks_on_page(self, number):
        self.site.breaks_at = number
        yield
        self.site.breaks_at = None

    @contextlib.contextmanager
    def while_paging(self, edit):
        self.site.before_next = edit
        yield
        self.site.before_next = None

    @contextlib.contextmanager
    def before_answer(self, number, edit):
        self.site.before_answer = number, edit
        yield
        self.site.before_answer = None

    def now(self):
        return self.clock

    @contextlib.contextmanager
    def clock_ahead(self, by):
        self.clock += by
        yield
        self.clock -= by


class SitemapPages(Pages):
    # A part of a sitemap is a page of the listing; the two pages that are always there fill one of their own.
    page_size = FEW

    def write_many(self, texts):
        if len(texts) > 100:
            self.site.part_size = 100
        super().write_many(texts)

    @contextlib.contextmanager
    def repeats_across_pages(self):
        self.site.repeats = True
        yield
        self.site.repeats = False

    def wait(self, by):
        self.clock += by


class LinkedPages(Pages):
    # Each document is asked for by itself.
    page_size = 1

    def wait(self, by):
        raise Unsupported("links have no dates, so that every page is looked at")

    def repeats_across_pages(self):
        raise Unsupported("a link that is met again is not followed again")


class TestConfluenceCloud(SourceContract):
    @pytest.fixture
    def site(self):
        with run_confluence("cloud", max_limit=FEW) as running:
            yield Wiki(running)


class TestConfluenceDataCenter(SourceContract):
    @pytest.fixture(params=[True, False], ids=["by cursor", "by offset"])
    def site(self, request):
        with run_confluence("data_center", max_limit=FEW, has_scan=request.param) as running:
            yield Wiki(running, pages_by_offset=not request.param)


class TestBlogCloud(SourceContract):
    many = 1000  # they are listed as pages are

    @pytest.fixture
    def site(self):
        with run_confluence("cloud", max_limit=FEW) as running:
            yield Blog(running)


class TestBlogDataCenter(SourceContract):
    many = 1000

    @pytest.fixture
    def site(self):
        with run_confluence("data_center", max_limit=FEW) as running:
            yield Blog(running)


class TestJiraCloud(SourceContract):
    @pytest.fixture
    def site(self):
        with run_jira("cloud", max_results=FEW, max_ids=FEW) as running:
            yield Tracker(running)


class TestJiraDataCenter(SourceContract):
    @pytest.fixture
    def site(self):
        with run_jira("data_center", max_results=FEW) as running:
            yield Tracker(running, pages_by_offset=True)


class _Web(SourceContract):
    # Each page is a request of its own, 1.5 ms of this machine's time on both ends: 10,000 would take 15 s.
    many = 1500

    @pytest.fixture
    def site(self, tmp_path):
        served = PagedSite(sitemap=self.adapter is SitemapPages)
        with served.serve() as base:
            site = self.adapter(served, base, tmp_path / "cache")
            yield site
            site.close()
        pace._paces.clear()
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)


class TestWebSitemap(_Web):
    adapter = SitemapPages


class TestWebCrawl(_Web):
    adapter = LinkedPages
