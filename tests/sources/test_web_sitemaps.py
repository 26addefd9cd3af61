"""Sitemaps as the protocol has them, and as it does not."""

import gzip
import itertools

import pytest
from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from qloader.sources.http.client import HttpClient
from qloader.sources.http.errors import AnswerTooLargeError, UnavailableError
from qloader.sources.http.settings import HttpSettings
from qloader.sources.web import sitemap
from qloader.sources.web.settings import WebSettings
from qloader.sources.web.sitemap import NoSitemapError, read_sitemaps
from qloader.sources.web.source import WebSource
from servers.serving import serve

NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
MANY = 1_000_000


class Host:
    """Answers by path."""

    def __init__(self):
        self.answers = {}
        self.asked = []
        self.base = ""

    def answer(self, request):
        path = request.url.path
        self.asked.append(path)
        found = self.answers.get(path)
        if callable(found) and not isinstance(found, Response):
            return found()
        return found or Response("no", 404)


@pytest.fixture(scope="module")
def shared():
    host = Host()
    with serve(Starlette(routes=[Route("/{path:path}", host.answer)])) as base:
        host.base = base
        with HttpClient(base, HttpSettings(attempts=0), what="sources.site") as client:
            yield host, client


@pytest.fixture
def host(shared):
    shared[0].answers.clear()
    shared[0].asked.clear()
    return shared[0]


@pytest.fixture
def read(shared, host):
    def read(path="/sitemap.xml", most=10**9):
        read.problems = []
        found = []

        def take(listed):
            found.append((listed.url, listed.modified))
            return len(found) < most

        read_sitemaps(shared[1], host.base + path, take, lambda *problem: read.problems.append(problem))
        return found

    return read


def xml(body):
    return Response(body if isinstance(body, bytes) else body.encode(), media_type="application/xml")


def test_addresses_and_dates_are_read_and_those_of_images_are_not(host, read):
    host.answers["/sitemap.xml"] = xml(
        f'\ufeff<?xml version="1.0" encoding="UTF-8"?>\n<!-- made by hand -->\n<urlset {NAMESPACE} '
        'xmlns:image="http://www.google.com/schemas/sitemap-image/1.1" xmlns:xhtml="http://www.w3.org/1999/xhtml">'
        "<url><image:image><image:loc>https://x.org/a.png</image:loc></image:image><loc>\n https://x.org/a?b=1&amp;c=2 "
        "</loc><lastmod> 2026-11-01 </lastmod><priority>1</priority></url>"
        '<url><loc><![CDATA[https://x.org/b]]></loc><xhtml:link rel="alternate" href="https://x.org/de/b"/></url>'
        "<url><lastmod>2026</lastmod></url></urlset>"
    )
    assert read() == [("https://x.org/a?b=1&c=2", "2026-11-01"), ("https://x.org/b", "")]


def test_a_sitemap_without_its_namespace_or_in_another_encoding_is_read(host, read):
    host.answers["/sitemap.xml"] = xml(
        '<?xml version="1.0" encoding="ISO-8859-1"?><urlset><url><loc>https://x.org/ü</loc></url></urlset>'.encode(
            "latin-1"
        )
    )
    assert read() == [("https://x.org/ü", "")]


def test_plain_text_is_a_sitemap_too(host, read):
    host.answers["/sitemap.txt"] = Response("\ufeffhttps://x.org/a\r\n\r\nhttps://x.org/b", media_type="text/plain")
    assert read("/sitemap.txt") == [("https://x.org/a", ""), ("https://x.org/b", "")]


def test_indexes_lead_on_each_once_also_compressed_and_in_circles(host, read):
    def index(*paths):
        return xml(
            f"<sitemapindex>{''.join(f'<sitemap><loc>{host.base}{p}</loc></sitemap>' for p in paths)}</sitemapindex>"
        )

    host.answers = {
        "/sitemap.xml": index("/a.xml.gz", "/deeper.xml", "/sitemap.xml", "/missing.xml", "/page.html"),
        "/a.xml.gz": Response(
            gzip.compress(b"<urlset><url><loc>https://x.org/a</loc></url></urlset>"), media_type="application/x-gzip"
        ),
        "/deeper.xml": index("/b.xml", "/sitemap.xml"),
        "/b.xml": xml("<urlset><url><loc>https://x.org/b</loc></url></urlset>"),
        "/page.html": Response("<!doctype html><html><body>Not found</body></html>", media_type="text/html"),
    }
    assert read() == [("https://x.org/a", ""), ("https://x.org/b", "")]
    assert [address.removeprefix(host.base) for address, _ in read.problems] == ["/missing.xml", "/page.html"]
    assert len(host.asked) == len(set(host.asked))


def test_indexes_within_indexes_end(host, read):
    for number in range(10):
        host.answers[f"/{number}.xml"] = xml(
            f"<sitemapindex><sitemap><loc>{host.base}/{number + 1}.xml</loc></sitemap></sitemapindex>"
        )
    assert read("/0.xml") == []
    assert len(host.asked) == 3
    assert read.problems == [(f"{host.base}/3.xml", "it lies below 3 others, and no deeper one is read")]


@pytest.mark.parametrize(
    "body",
    [
        "<!doctype html><html><body>Not found</body></html>",
        "<html><body>Not found</body></html>",
        "<rss><channel><link>https://x.org/</link></channel></rss>",
        "Nothing here",
        "",
        "https://x.org/a " + "x" * 10_000,
        '<?xml version="1.0"?><!DOCTYPE urlset [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        "<urlset><url><loc>https://x.org/&b;</loc></url></urlset>",
        '<!DOCTYPE urlset SYSTEM "http://169.254.169.254/"><urlset/>',
    ],
)
def test_what_is_no_sitemap_is_told_from_one_that_is_broken(host, read, body):
    host.answers["/sitemap.xml"] = xml(body)
    if body:
        with pytest.raises(NoSitemapError):
            read()
    else:
        assert read() == []


def test_a_sitemap_that_is_cut_off_is_broken(host, read):
    host.answers["/sitemap.xml"] = xml("<urlset><url><loc>https://x.org/a</loc></url><url><loc>https://x.o")
    with pytest.raises(UnavailableError, match="broken or cut off"):
        read()


def test_a_redirect_to_another_host_is_no_sitemap(host, read):
    host.answers["/sitemap.xml"] = RedirectResponse("https://cdn.example.com/sitemap.xml")
    with pytest.raises(NoSitemapError, match="another host"):
        read()


def a_million():
    """The same ten thousand entries, a hundred times."""
    entries = "".join(f"<url><loc>https://x.org/page-{n:07}</loc></url>\n" for n in range(10_000)).encode()
    head, tail = f"<urlset {NAMESPACE}>".encode(), b"</urlset>"
    return StreamingResponse(iter([head, *itertools.repeat(entries, MANY // 10_000), tail]), media_type="text/xml")


def test_a_million_addresses_are_read_as_they_come_in(host, shared):
    host.answers["/sitemap.xml"] = a_million
    count = 0

    def take(_):
        nonlocal count
        count += 1
        return True

    read_sitemaps(shared[1], f"{host.base}/sitemap.xml", take, lambda *_: None)
    assert count == MANY


def test_nobody_reads_on_when_there_is_enough(host, read):
    host.answers["/sitemap.xml"] = a_million
    assert len(read(most=1_000)) == 1_000


def test_a_sitemap_over_the_bound_is_refused(host, read, monkeypatch):
    monkeypatch.setattr(sitemap, "LARGEST", 100_000)
    host.answers["/sitemap.xml"] = a_million
    with pytest.raises(AnswerTooLargeError):
        read()
    bomb = gzip.compress(b"<urlset>" + b" " * 20_000_000 + b"</urlset>")
    host.answers["/sitemap.xml"] = Response(bomb, media_type="application/gzip")
    with pytest.raises(AnswerTooLargeError):
        read()


def test_max_pages_bounds_what_is_kept_of_a_million(host, tmp_path):
    entries = b"".join(b"<url><loc>%s/page-%d</loc></url>" % (host.base.encode(), n) for n in range(50_000))
    host.answers["/sitemap.xml"] = xml(b"<urlset>" + entries + b"</urlset>")
    settings = WebSettings(url=f"{host.base}/", cache_dir=tmp_path, max_pages=5)
    source = WebSource("site", settings, HttpSettings(attempts=0))
    listing = source.list()
    assert list(listing.items) == []  # none of them is there
    assert listing.problems == ["max_pages was reached: the sitemap names more than 5 pages"]
    assert sum(path.startswith("/page-") for path in host.asked) == 5
    source.close()
