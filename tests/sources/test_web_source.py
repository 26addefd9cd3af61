"""A `web` source against a real site on loopback: what it lists, what it asks for, when it does not trust itself."""

import sqlite3
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from qloader.documents.document import OUT_OF_SIGHT, Document, Skipped
from qloader.errors import ConfigError, SourceError
from qloader.sources.http import pace
from qloader.sources.http.errors import RequestError, UnavailableError
from qloader.sources.http.settings import HttpSettings
from qloader.sources.web.settings import WebSettings
from qloader.sources.web.source import WebSource
from servers.docs_site import DocsSite, SitePage, small_site

CHAPTERS = [f"chapter-{n}" for n in range(1, 8)]
ALL = [*CHAPTERS, "index"]


class Reader:
    """A site, and a source that reads it with a cache of its own."""

    def __init__(self, site, base, cache):
        self.site = site
        self.base = base
        self.cache = cache
        self._opened = []

    def source(self, *, path="/guide/", name="site", auth=None, http=None, cache=None, **settings):
        settings = WebSettings(url=self.base + path, cache_dir=cache or self.cache, **settings)
        opened = WebSource(name, settings, HttpSettings(attempts=0, **(http or {})), auth=auth)
        self._opened.append(opened)
        return opened

    def read(self, **settings):
        """Lists; returns the ids, and the listing."""
        self.site.forget()
        listing = self.source(**settings).list()
        self.items = list(listing.items)
        return [item.id for item in self.items], listing

    def ids(self, **settings):
        """Lists what must be complete."""
        ids, listing = self.read(**settings)
        assert listing.problems == []
        return ids

    def document(self, document_id, **settings):
        (found,) = self.source(**settings).fetch([document_id])
        return found

    def close(self):
        for one in self._opened:
            one.close()


@pytest.fixture(scope="module")
def served():
    site = DocsSite()
    with site.serve():
        yield site


@pytest.fixture
def site(served):
    return small_site(site=served)


@pytest.fixture
def reader(site, tmp_path):
    pace._paces.clear()  # what an earlier test was told to wait
    reader = Reader(site, site.base, tmp_path / "cache")
    yield reader
    reader.close()


def statuses(site):
    return [one.status for one in site.asked() if one.path in site.pages]


# Finding pages


@pytest.mark.parametrize("kind", ["plain", "index", "gz", None])
def test_pages_are_found_by_any_sitemap_or_by_their_links(reader, site, kind):
    site.sitemap = kind
    assert reader.ids() == ALL
    assert len([one for one in site.asked() if one.status == 200 and "/guide/" in one.path]) == 8


def test_a_sitemap_that_robots_names_is_read_wherever_it_is(reader, site):
    site.sitemap_of = ["/guide/chapter-1", "/guide/chapter-2"]
    site.robots = f"User-agent: *\nSitemap: {reader.base}/odd/sitemap-of-the-guide.xml\n"
    site.sitemap_at = "/odd/sitemap-of-the-guide.xml"
    assert reader.ids() == ["chapter-1", "chapter-2"]
    assert "/sitemap.xml" not in {one.path for one in site.asked(pages_only=False)}


def test_a_sitemap_can_be_named_in_the_config(reader, site):
    site.sitemap_of, site.sitemap_at = ["/guide/chapter-1"], "/my-sitemap.xml"
    assert reader.ids(sitemaps=(f"{reader.base}/my-sitemap.xml",), discovery="sitemap") == ["chapter-1"]


def test_a_sitemap_with_the_start_page_alone_is_not_taken_for_all(reader, site):
    site.sitemap_of = ["/guide/", "/elsewhere/"]
    assert reader.ids() == ALL
    assert reader.ids(discovery="sitemap") == ["index"]


def test_without_a_sitemap_discovery_by_it_is_an_error(reader, site):
    site.sitemap = None
    with pytest.raises(SourceError, match="there is no sitemap") as caught:
        reader.read(discovery="sitemap")
    assert "discovery: crawl" in caught.value.remedy


def test_a_crawl_can_be_chosen_and_stays_below_the_start_page(reader, site):
    site.menu = False
    site.pages[
        "/guide/"
    ].html += '<a href="chapter-1">1</a> <a href="/outside">out</a> <a href="https://else.org/">e</a>'
    site.pages[
        "/guide/chapter-1"
    ].html += '<a href="chapter-2?utm=1#x">2</a><a href="chapter-2/">2</a><a href="a.pdf">p</a>'
    site.write("/outside", "Outside", "Not below the start page.")
    assert reader.ids(discovery="crawl") == ["chapter-1", "chapter-2", "index"]
    assert {one.path for one in site.asked(pages_only=False)} == {
        "/robots.txt", "/guide/", "/guide/chapter-1", "/guide/chapter-2", "/guide/llms.txt", "/llms.txt",
    }  # fmt: skip


def test_llms_txt_shows_pages_that_no_link_leads_to(reader, site):
    site.sitemap, site.menu = None, False
    site.llms = (
        f"# Site\n\n- [One]({reader.base}/guide/chapter-1): first\n- [Copy]({reader.base}/guide/index.md)\n"
        "- [Two](/guide/chapter-2.md)\n- [Else](https://else.org/x)\n"
    )
    site.pages["/guide/chapter-2.md"] = SitePage("", "# Two\n\nIn Markdown.", content_type="text/markdown", bare=True)
    assert reader.ids() == ["chapter-1", "chapter-2.md", "index"]
    assert reader.document("chapter-2.md").title == "Two"


# Change


def test_a_second_look_asks_on_condition_and_gets_no_body(reader, site):
    first = reader.ids()
    tokens = reader.items
    assert reader.ids() == first
    assert reader.items == tokens
    assert statuses(site) == [304] * 8
    assert sum(one.bytes for one in site.asked()) == 0
    assert all(one.is_conditional for one in site.asked())


def test_a_thousand_pages_cost_a_thousand_conditional_requests_and_no_body(reader, site):
    small_site(1000, site)
    site.menu = False
    assert len(reader.ids()) == 1000
    assert len(reader.ids()) == 1000
    assert statuses(site) == [304] * 1000
    assert len(site.asked(pages_only=False)) == 1003  # robots.txt, and the two places where a sitemap may be


def test_last_modified_serves_where_there_is_no_etag(reader, site):
    site.etags, site.last_modified = False, "Wed, 21 Oct 2015 07:28:00 GMT"
    reader.ids()
    assert reader.document("chapter-1").updated_at == "2015-10-21T07:28:00Z"
    reader.ids()
    assert statuses(site) == [304] * 8


def test_a_site_built_anew_with_no_text_changed_has_the_same_tokens(reader, site):
    reader.ids()
    before = reader.items
    site.build, site.last_modified = 2, "Wed, 21 Oct 2015 07:28:00 GMT"
    reader.ids()
    assert statuses(site) == [200] * 8
    assert reader.items == before


def test_a_server_without_validators_is_read_whole_each_time(reader, site):
    site.etags = False
    reader.ids()
    before = reader.items
    reader.ids()
    assert statuses(site) == [200] * 8
    assert reader.items == before


@pytest.mark.parametrize("edit", ["text", "title", "description"])
def test_an_edit_of_text_title_or_metadata_has_another_token(reader, site, edit):
    reader.ids()
    before = dict(reader.items)
    page = site.pages["/guide/chapter-3"]
    if edit == "text":
        page.html += "<p>More.</p>"
    elif edit == "title":
        page.html = page.html.replace("Chapter 3", "Chapter three")
    else:
        page.head = "<meta name=description content='The third'>"
    reader.ids()
    after = dict(reader.items)
    assert [key for key in ALL if before[key] != after[key]] == ["chapter-3"]


def test_fetch_gives_what_the_listing_saw_and_asks_for_nothing(reader, site):
    reader.ids()
    site.forget()
    source = reader.source(metadata={"team": "docs"})
    assert source.selection() != reader.source().selection()
    found = reader.document("chapter-2")
    assert found == Document(
        id="chapter-2",
        title="Chapter 2",
        uri=f"{reader.base}/guide/chapter-2",
        text="# Chapter 2\n\nWhat chapter 2 says of gardens and lamp 14.\n\nIt ends with tea 6.\n",
        revision=dict(reader.items)["chapter-2"],
        bytes=78,
        metadata={"language": "en"},
        syntax="markdown",
    )
    assert site.asked(pages_only=False) == []


def test_without_a_listing_fetch_reads_pages_as_they_are_now(reader, site, tmp_path):
    reader.ids()
    listed = dict(reader.items)
    site.write("/guide/deep/", "Deep", "With a slash.")
    source = reader.source(cache=tmp_path / "another machine")
    found = list(source.fetch(["chapter-1", "index", "missing", "deep"]))
    assert [type(one) for one in found] == [Document, Document, Skipped, Document]
    assert [one.revision for one in found[:2]] == [listed["chapter-1"], listed["index"]]
    assert (found[2].reason, found[3].title) == ("vanished", "Deep")
    for kind, reason in {"500": "unreadable", "451": "unreadable", "host": "elsewhere", "noindex": "robots"}.items():
        site.failing, site.redirects = {}, {}
        soft(site, "/guide/chapter-2", kind)
        (failed,) = source.fetch(["chapter-2"])
        assert failed.reason == reason


def test_other_settings_of_reading_read_every_page_again(reader, site):
    reader.ids()
    reader.ids(remove=(".ad",))
    assert statuses(site) == [200] * 8
    reader.ids(remove=(".ad",), exclude=("chapter-1",))
    assert statuses(site) == [304] * 7


def test_a_page_that_is_chosen_later_is_a_document_though_it_did_not_change(reader, site):
    site.sitemap = None
    assert reader.ids(include=("chapter-1",)) == ["chapter-1"]
    assert reader.ids(include=("chapter-2",)) == ["chapter-2"]
    assert set(statuses(site)) == {304}
    assert reader.document("chapter-2", include=("chapter-2",)).title == "Chapter 2"


def test_a_damaged_memory_is_made_anew(reader, site):
    reader.ids()
    reader.close()
    (file,) = (reader.cache / "web").glob("*.db")
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    file.write_bytes(b"no database at all" * 1000)
    for beside in (reader.cache / "web").glob("*.db-*"):
        beside.unlink()
    assert reader.ids() == ALL
    assert statuses(site) == [200] * 8
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT count(*) FROM page").fetchone() == (8,)


def test_a_listing_that_was_cut_short_goes_on_where_it_was(reader, site):
    source = reader.source()
    listing = source.list()
    site.failing = {f"/guide/chapter-{n}": 500 for n in (5, 6, 7)}
    assert len(list(listing.items)) == 5
    site.failing.clear()
    reader.ids()
    assert sorted(statuses(site)) == [200] * 3 + [304] * 5


# One page, many addresses


def test_canonical_addresses_fragments_slashes_and_queries_name_one_page(reader, site):
    site.sitemap_of = [
        "/guide/", "/guide/index.html", "/guide/chapter-1", "/guide/chapter-1/", "/guide/chapter-1?utm_source=mail",
        "/guide/chapter-1#top", "/guide/print/chapter-1",
    ]  # fmt: skip
    site.write("/guide/print/chapter-1", "Chapter 1", "The same for the printer.")
    site.pages["/guide/print/chapter-1"].head = '<link rel="canonical" href="/guide/chapter-1">'
    assert reader.ids() == ["chapter-1", "index"]
    assert len(site.asked()) == 3
    assert reader.ids() == ["chapter-1", "index"]
    assert statuses(site) == [304] * 3


def test_a_canonical_page_that_nothing_else_names_is_found_by_it(reader, site):
    site.sitemap_of = ["/guide/", "/guide/copy"]
    site.write("/guide/copy", "Copy", "A copy.")
    site.pages["/guide/copy"].head = f'<link rel="canonical" href="{reader.base}/guide/chapter-5">'
    assert reader.ids() == ["chapter-5", "index"]
    assert reader.ids() == ["chapter-5", "index"]


@pytest.mark.parametrize("names_it", ["canonical", "refresh"])
def test_a_page_is_asked_for_under_the_address_that_another_one_names(reader, site, tmp_path, names_it):
    site.sitemap = None
    site.menu = False
    site.write("/guide/", "Guide", "Begin here.")
    site.pages["/guide/"].html += "<a href=copy>Read on</a>"
    site.write("/guide/copy", "Copy", "A copy.")
    head = '<link rel="canonical" href="{}">' if names_it == "canonical" else '<meta http-equiv=refresh content="0;{}">'
    site.pages["/guide/copy"].head = head.format("/guide/whole/")  # the server knows it with the slash only
    site.write("/guide/whole/", "Whole", "The whole.")
    assert reader.read()[0] == ["index", "whole"]
    whole = site.pages.pop("/guide/whole/")
    assert "whole" not in reader.read()[0]
    site.pages["/guide/whole/"] = whole
    assert reader.read()[0] == reader.read(cache=tmp_path / "another")[0] == ["index", "whole"]


@pytest.mark.parametrize("target", ["/guide/", "/guide/none", "https://old.example.com/guide/chapter-1", "/elsewhere"])
def test_a_canonical_address_that_cannot_be_true_is_not_believed(reader, site, target):
    for page in site.pages.values():
        page.head = f'<link rel="canonical" href="{target}">'
    assert reader.ids() == ALL
    assert reader.ids() == ALL


def test_two_pages_that_call_each_other_canonical_both_stay(reader, site):
    site.pages["/guide/chapter-1"].head = '<link rel="canonical" href="/guide/chapter-2">'
    site.pages["/guide/chapter-2"].head = '<link rel="canonical" href="/guide/chapter-1">'
    assert reader.ids() == ALL


def test_the_uri_is_the_canonical_address(reader, site):
    site.pages["/guide/chapter-1"].head = '<link rel="canonical" href="/guide/chapter-1/?ref=x">'
    reader.ids()
    assert reader.document("chapter-1").uri == f"{reader.base}/guide/chapter-1/"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_within_the_site_is_the_page_that_it_leads_to(reader, site, status):
    site.sitemap_of = ["/guide/", "/guide/old", "/guide/chapter-1"]
    site.redirects["/guide/old"] = (status, "/guide/chapter-1")
    assert reader.ids() == ["chapter-1", "index"]
    assert reader.ids() == ["chapter-1", "index"]
    assert {one.status for one in site.asked()} == {304}
    site.sitemap_of = ["/guide/", "/guide/old"]
    site.write("/guide/chapter-1", "Chapter 1", "Edited.")
    assert reader.ids() == ["chapter-1", "index"]
    assert "Edited" in reader.document("chapter-1").text
    del site.redirects["/guide/old"]
    site.write("/guide/old", "Old", "Restored.")
    assert reader.ids() == ["index", "old"]


def test_a_page_of_a_refresh_alone_is_the_page_that_it_leads_to(reader, site):
    site.sitemap_of = ["/guide/", "/guide/moved"]
    html = '<html><head><meta http-equiv="refresh" content="0; url=chapter-4"></head><body>Moved</body></html>'
    site.pages["/guide/moved"] = SitePage("", html, bare=True)
    assert reader.ids() == ["chapter-4", "index"]
    assert reader.ids() == ["chapter-4", "index"]


def test_chosen_query_parameters_make_pages_of_their_own(reader, site):
    site.sitemap_of = ["/guide/?p=1&amp;x=1", "/guide/?p=2", "/guide/?x=3"]
    site.sitemap_of = [one.replace("&amp;", "&") for one in site.sitemap_of]
    assert reader.ids(query=("p",)) == ["index", "index?p=1", "index?p=2"]


# What is gone, and what may only seem so


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_gone_is_gone_and_the_listing_complete(reader, site, status):
    reader.ids()
    site.failing["/guide/chapter-3"] = status
    assert reader.ids() == [key for key in ALL if key != "chapter-3"]
    site.failing.clear()
    assert reader.ids() == ALL


def soft(site, page, kind):
    """Lets a page fail in a way that says nothing of whether it still exists."""
    if kind.isdigit():
        site.failing[page] = int(kind)
    elif kind == "robots":
        site.robots = f"User-agent: qloader\nDisallow: {page}\n"
    elif kind == "noindex":
        site.pages[page].head = "<meta name=robots content=noindex>"
    elif kind == "empty":
        site.pages[page].html = "<div id=app></div>"
    elif kind == "json":
        site.pages[page] = SitePage("", '{"error": "oops"}', content_type="application/json", bare=True)
    elif kind == "login":
        site.redirects[page] = (302, "/guide/login")
        site.write("/guide/login", "Log in", "Who are you?")
    elif kind.startswith("login for good"):
        login = "/login" if kind.endswith("outside") else f"/guide/login?next={page}"
        site.redirects[page] = (301, login)
        site.write(login.partition("?")[0], "Log in", "Who are you?")
    elif kind == "outside":
        site.redirects[page] = (302, "/welcome")
        site.write("/welcome", "Welcome", "Elsewhere.")
    else:
        site.redirects[page] = (302, "https://sso.example.com/login" if kind == "host" else page)


SOFT = ["500", "503", "401", "403", "451", "robots", "noindex", "empty", "json", "login", "login for good",
        "login for good, outside", "outside", "host", "loop"]  # fmt: skip


def told(reader, **settings):
    """All that a listing says, which is all that a plan is made of."""
    ids, listing = reader.read(**settings)
    return ids, reader.items, listing.problems, listing.skipped, listing.failure is None


@pytest.mark.parametrize("kind", SOFT)
def test_a_page_that_fails_softly_is_skipped_with_its_reason_whatever_is_known_of_it(reader, site, tmp_path, kind):
    site.sitemap_of = list(site.pages)
    before = reader.ids()
    soft(site, "/guide/chapter-3", kind)
    ids, _, problems, skipped, has_read = found = told(reader)
    assert ids == [key for key in before if key != "chapter-3"]
    assert [one.id for one in skipped] == ["chapter-3"]
    assert skipped[0].reason in OUT_OF_SIGHT  # so that a snapshot keeps it, where the index holds it
    assert len(problems) == (kind in ("500", "503"))
    assert has_read
    assert told(reader) == found
    assert told(reader, cache=tmp_path / "another") == found
    small_site(site=site)
    assert reader.ids() == ALL


@pytest.mark.parametrize("kind", ["plain", None], ids=["sitemap", "crawl"])
@pytest.mark.parametrize(
    "change",
    ["edit", "gone", "redirect", "out", "canonical", "failing", "refresh", "slashes", "forbidden", "free"],
)
def test_a_listing_says_the_same_with_a_cache_and_without(reader, site, tmp_path, kind, change):
    site.sitemap = kind
    site.sitemap_of = list(site.pages)
    page = site.pages["/guide/chapter-3"]
    if change == "free":
        page.headers = {"x-robots-tag": "noindex"}
    reader.ids()
    if change == "edit":
        site.write("/guide/chapter-3", "Chapter 3", "Edited.")
    elif change == "gone":
        site.failing["/guide/chapter-3"] = 404
    elif change == "redirect":  # to a page with the same validators
        site.pages["/guide/third"] = page
        site.redirects["/guide/chapter-3"] = (302, "/guide/third")
    elif change == "out":
        site.pages["/archive"] = page
        site.redirects["/guide/chapter-3"] = (301, "/archive")
    elif change == "canonical":
        page.head = '<link rel="canonical" href="/guide/chapter-4">'
        site.failing["/guide/chapter-4"] = 500
    elif change == "failing":
        site.menu, site.menu_on = False, "/guide/chapter-3"
        site.failing["/guide/chapter-3"] = 503
    elif change == "refresh":
        page.head = '<meta http-equiv="refresh" content="0; url=chapter-4">'
    elif change in ("forbidden", "free"):  # by a header: neither the page nor its validators are others
        page.headers = {"x-robots-tag": "noindex"} if change == "forbidden" else {}
    else:
        site.pages["/guide/chapter-3/"] = page
        site.sitemap_of = [one + "/" if one == "/guide/chapter-3" else one for one in site.sitemap_of]
    found = told(reader)
    assert told(reader) == found
    assert told(reader, cache=tmp_path / "another") == found


def test_a_limit_on_bytes_is_reached_with_a_cache_and_without(reader, tmp_path):
    found = told(reader, max_total_bytes=1_500)
    assert "max_total_bytes was reached" in found[2][0]
    assert told(reader, max_total_bytes=1_500) == found


NOTHING = {
    "robots": ("robots.txt disallows it", "robots: false"),
    "401": ("it answers 401", "sources.site.token"),
    "403": ("it answers 403", "sources.site.token"),
    "451": ("it answers 451", "in a browser"),
    "500": ("it answers 500", "in a browser"),
    "empty": ("made by a script", "selector"),
    "json": ("application/json", "url"),
    "login": ("to a login", "token"),
}


@pytest.mark.parametrize("kind", NOTHING)
def test_where_nothing_could_be_read_there_is_an_error_with_the_remedy(reader, site, kind):
    site.sitemap_of = list(site.pages)
    for page in list(site.pages):
        soft(site, page, kind)
    if kind == "robots":
        site.robots = "User-agent: *\nDisallow: /guide/\n"
    ids, listing = reader.read()
    assert ids == []
    assert "not one of 8 pages can be read: " in str(listing.failure)
    message, remedy = NOTHING[kind]
    assert message in str(listing.failure)
    assert remedy in listing.failure.remedy


def test_one_page_that_was_read_is_enough_even_where_it_is_not_chosen(reader, site):
    site.failing = dict.fromkeys(list(site.pages)[1:], 403)
    ids, listing = reader.read()
    assert (ids, listing.failure) == (["index"], None)
    ids, listing = reader.read(discovery="crawl", include=("chapter-*",))
    assert (ids, listing.failure) == ([], None)


def test_pages_in_other_languages_are_a_choice_and_no_failure(reader):
    ids, listing = reader.read(languages=("fr",))
    assert (ids, listing.failure) == ([], None)


def test_many_pages_that_fail_are_one_sentence_with_examples(reader, site):
    site.failing = {f"/guide/chapter-{number}": 500 for number in range(2, 7)}
    _, listing = reader.read()
    (problem,) = listing.problems
    assert problem == (
        "5 pages could not be read: chapter-2, it answers 500; chapter-3, it answers 500; chapter-4, it answers 500; "
        "and 2 more"
    )


def test_a_part_of_a_page_is_not_taken_for_the_page(reader, site):
    before = reader.ids()
    site.failing["/guide/chapter-3"] = 206
    ids, listing = reader.read()
    assert ids == [key for key in before if key != "chapter-3"]
    assert "a part only, though all was asked for (206)" in listing.problems[0]
    (found,) = reader.source(cache=reader.cache / "another").fetch(["chapter-3"])
    assert isinstance(found, Skipped)


@pytest.mark.parametrize("status", [500, 403])
def test_an_llms_txt_that_fails_hides_no_page(reader, site, status):
    site.sitemap, site.menu = None, False
    site.pages["/guide/"].html += '<a href="chapter-1">1</a>'
    site.failing["/guide/llms.txt"] = status
    ids, listing = reader.read()
    assert ids == ["chapter-1", "index"]
    assert listing.complete == (status == 403)


def test_a_page_that_moved_out_for_good_is_gone(reader, site):
    site.sitemap_of = list(site.pages)
    reader.ids()
    site.redirects["/guide/chapter-3"] = (301, "/archive/chapter-3")
    site.write("/archive/chapter-3", "Chapter 3", "In the archive.")
    assert reader.ids() == [key for key in ALL if key != "chapter-3"]


def test_a_page_about_logins_may_move_within_the_site(reader, site):
    site.sitemap_of = list(site.pages)
    site.write("/guide/auth/sso", "Single sign-on", "How to set it up.")
    site.redirects["/guide/chapter-3"] = (301, "/guide/auth/sso")
    assert reader.ids() == ["auth/sso", *(key for key in ALL if key != "chapter-3")]


def test_an_excluded_page_is_gone_and_not_asked_for(reader, site):
    reader.ids()
    soft(site, "/guide/chapter-3", "403")
    assert reader.ids(exclude=("chapter-3",)) == [key for key in ALL if key != "chapter-3"]
    assert "/guide/chapter-3" not in {one.path for one in site.asked()}


@pytest.mark.parametrize("status", [503, 403])
def test_a_sitemap_that_fails_is_an_error_whatever_is_known(reader, site, status):
    for _ in range(2):
        site.failing["/sitemap.xml"] = status
        with pytest.raises(RequestError) as caught:
            reader.read()
        assert "discovery: crawl" in caught.value.remedy
        site.failing.clear()
        assert reader.ids() == ALL


def test_of_several_sitemaps_one_may_fail(reader, site):
    site.robots = f"User-agent: *\nSitemap: {reader.base}/other.xml\nSitemap: {reader.base}/sitemap.xml\n"
    site.failing["/other.xml"] = 503
    ids, listing = reader.read()
    assert ids == ALL
    assert "a sitemap could not be read to its end" in listing.problems[0]


def test_a_sitemap_of_which_no_part_can_be_read_is_an_error(reader, site):
    site.sitemap = "index"
    site.failing = {"/sitemap-1.xml": 404, "/sitemap-2.xml": 503}
    with pytest.raises(SourceError, match=r"no part of the sitemap can be read, the first .*/sitemap-1\.xml"):
        reader.read()


def test_a_part_of_a_sitemap_that_fails_makes_the_listing_incomplete(reader, site):
    site.sitemap = "index"
    site.failing["/sitemap-1.xml"] = 404
    ids, listing = reader.read()
    assert 0 < len(ids) < 8
    assert "sitemap-1.xml could not be read" in listing.problems[0]


def test_a_server_that_goes_down_is_not_asked_for_every_page(tmp_path):
    site = small_site(200)
    with site.serve() as base:
        reader = Reader(site, base, tmp_path)
        site.failing = dict.fromkeys(site.pages, 500)
        ids, listing = reader.read()
        assert ids == []
        assert "the server stopped answering" in listing.problems[0]
        assert listing.failure is not None
        assert len(site.asked()) < 40
        reader.close()


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_start_page_that_cannot_be_read_is_an_error(reader, site, status):
    site.sitemap = None
    site.failing["/guide/"] = status
    with pytest.raises(SourceError) as caught:
        reader.read()
    assert "/guide/" in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("status", [301, 302])
@pytest.mark.parametrize("login", ["/guide/login", "/login"])
def test_a_start_page_that_wants_a_login_is_an_error(reader, site, status, login):
    site.sitemap = None
    site.redirects["/guide/"] = (status, f"{login}?next=secret")
    site.write(login, "Log in", "Who are you?")
    for look in (reader.read, reader.source().check):
        with pytest.raises(SourceError, match="to a login") as caught:
            look()
        assert "sources.site.token" in caught.value.remedy
        assert "secret" not in str(caught.value)


def test_a_crawl_whose_start_page_is_excluded_is_an_error(reader):
    with pytest.raises(SourceError, match="exclude leaves out the start page"):
        reader.read(discovery="crawl", exclude=("index",))


def test_a_start_page_that_leads_out_is_an_error_that_says_where_to(reader, site):
    site.sitemap = None
    site.write("/manual/", "Manual", "It is here now.")
    site.redirects["/guide/"] = (301, "/manual/?key=secret")
    for look in (reader.read, reader.source().check):
        with pytest.raises(SourceError, match="/manual/, which does not lie below it"):
            look()


# Manners


def test_robots_txt_is_obeyed(reader, site):
    site.robots = (
        "User-agent: *\nDisallow: /\n\nUser-agent: qloader\nDisallow: /guide/chapter-*\nAllow: /guide/chapter-1$\n"
        "Allow: /guide/chapter-2\n"
    )
    ids, listing = reader.read()
    assert ids == ["chapter-1", "chapter-2", "index"]
    assert listing.complete
    assert {one.path for one in site.asked()} == {"/guide/", "/guide/chapter-1", "/guide/chapter-2"}
    assert {skipped.reason for skipped in listing.skipped} == {"robots"}
    assert reader.ids(robots=False) == ALL


def test_a_site_that_robots_txt_closes_is_an_error(reader, site):
    site.sitemap, site.robots = None, "User-agent: *\nDisallow: /guide/\n"
    with pytest.raises(SourceError, match=r"robots\.txt disallows"):
        reader.read()


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_robots_txt_that_may_not_be_read_forbids_nothing(reader, site, status):
    site.failing["/robots.txt"] = status
    assert reader.ids() == ALL


def test_a_robots_txt_that_fails_forbids_everything(reader, site):
    site.failing["/robots.txt"] = 503
    with pytest.raises(UnavailableError, match="maintenance"):
        reader.read()
    assert site.asked() == []


def test_of_a_robots_txt_of_five_megabytes_the_first_500_kib_count(reader, site):
    rule = "Disallow: /private/{:08}\n"
    site.robots = "User-agent: *\nDisallow: /guide/chapter-1\n" + "".join(rule.format(n) for n in range(190_000))
    assert len(site.robots) > 5_000_000
    site.robots += "Disallow: /guide/chapter-2\n"
    assert reader.ids() == [key for key in ALL if key != "chapter-1"]


def test_a_crawl_delay_is_kept_unless_a_rate_is_set(reader, site):
    site.robots = "User-agent: *\nCrawl-delay: 2\n"
    source = reader.source()
    _, client = source._enter(source._client(0))
    assert client.settings.rate == 0.5
    source = reader.source(rate_is_set=True, http={"rate": 50.0})
    _, client = source._enter(source._client(0))
    assert client.settings.rate == 50


def test_credentials_are_sent_and_never_shown(reader, site):
    source = reader.source(auth=("me", "s3cret"))
    list(source.list().items)
    assert all(one.headers["authorization"].startswith("Basic ") for one in site.asked())
    assert "s3cret" not in repr(source) + repr(source.settings)


def test_no_cookie_is_kept(reader, site):
    for page in site.pages.values():
        page.headers = {"set-cookie": "session=1; Path=/"}
    reader.ids()
    reader.ids()
    assert all("cookie" not in one.headers for one in site.asked(pages_only=False))


# Choosing


def test_include_and_exclude_are_patterns_for_paths_below_the_start_page(reader, site):
    site.write("/guide/api/", "API", "All calls.")
    site.write("/guide/api/get", "Get", "One call.")
    assert reader.ids(path="/", include=("/guide/api/**",)) == ["guide/api", "guide/api/get"]
    assert "/guide/chapter-1" not in {one.path for one in site.asked()}
    assert reader.ids(exclude=("api/", "chapter-*")) == ["index"]


def test_a_wrong_pattern_or_selector_is_named(reader):
    with pytest.raises(ConfigError, match="exclude pattern"):
        reader.read(exclude=("#x",))
    with pytest.raises(ConfigError, match="no CSS selector"):
        reader.read(selector="p[[")


def test_other_languages_are_left_out_but_lead_on(reader, site):
    site.sitemap, site.menu = None, False
    site.pages["/guide/"].language = "de"
    site.pages["/guide/"].html += '<a href="chapter-1">1</a><a href="chapter-2">2</a><a href="chapter-3">3</a>'
    site.pages["/guide/chapter-1"].language = "en-GB"
    site.pages["/guide/chapter-2"].language = ""
    site.pages["/guide/chapter-3"].language = "enm"
    for _ in range(2):
        ids, listing = reader.read(languages=("en",))
        assert ids == ["chapter-1", "chapter-2"]
        assert {skipped.reason for skipped in listing.skipped} == {"other language"}
        assert listing.complete
    assert site.asked()[0].headers["accept-language"] == "en"


def test_a_limit_that_is_reached_is_said_and_makes_the_listing_incomplete(reader, site):
    for settings in ({"max_pages": 5}, {"max_pages": 5, "discovery": "crawl"}):
        ids, listing = reader.read(**settings)
        assert len(ids) == 5
        assert "max_pages was reached" in listing.problems[0]
    ids, listing = reader.read(max_total_bytes=1_500, cache=reader.cache / "other")
    assert 0 < len(ids) < 8
    assert "max_total_bytes was reached" in listing.problems[0]


def test_max_depth_is_counted_in_links(reader, site):
    site.sitemap, site.menu = None, False
    for number, page in zip(count(1), list(site.pages.values())[:-1], strict=False):
        page.html += f'<a href="/guide/chapter-{number}">next</a>'
    ids, listing = reader.read(max_depth=3)
    assert ids == ["chapter-1", "chapter-2", "chapter-3", "index"]
    assert "max_depth was reached" in listing.problems[0]
    assert reader.ids(max_depth=7) == ALL


def test_a_page_over_max_bytes_is_skipped_and_said(reader, site):
    site.pages["/guide/chapter-1"].html += "<p>" + "x" * 100_000
    ids, listing = reader.read(max_bytes=50_000)
    assert ids == [key for key in ALL if key != "chapter-1"]
    assert listing.complete
    assert [(skipped.id, skipped.reason) for skipped in listing.skipped] == [("chapter-1", "too large")]


# Since


def test_since_looks_at_what_the_sitemap_dates_later_and_at_what_it_does_not_date(reader, site):
    reader.ids()
    site.dates = {
        "/guide/": "2026-11-01", "/guide/chapter-1": "2026-11-20T10:00:00+05:45", "/guide/chapter-2": "2026-11-18",
        "/guide/chapter-3": "nonsense", "/guide/chapter-4": "2026-11-19T23:30:00Z", "/guide/chapter-5": "2025",
        "/guide/chapter-6": "2026-11-01T00:00:00+14:00",
    }  # fmt: skip
    site.forget()
    listing = reader.source().changed_since(datetime(2026, 11, 20, tzinfo=UTC))
    ids = [item.id for item in listing.items]
    assert ids == ["chapter-1", "chapter-3", "chapter-4", "chapter-5", "chapter-7"]
    assert len(site.asked()) == 5
    assert listing.problems == ["only what was changed since 2026-11-20T00:00:00Z was listed"]
    assert reader.ids() == ALL  # nothing was forgotten by it
    assert set(statuses(site)) == {304}


def test_since_without_a_sitemap_looks_at_everything_and_is_not_complete(reader, site):
    site.sitemap = None
    listing = reader.source().changed_since(datetime.now(UTC) - timedelta(days=1))
    assert [item.id for item in listing.items] == ALL
    assert "no sitemap with dates" in listing.problems[0]


def test_what_is_told_of_a_page_that_leads_out_is_without_the_query_of_where_to(reader, site):
    reader.ids()
    site.pages["/guide/chapter-1"].html = ""
    site.pages[
        "/guide/chapter-1"
    ].head = '<meta http-equiv="refresh" content="0;url=https://login.example.org/in?s=SECRET#f">'
    listing = reader.source().list()
    assert "chapter-1" not in [item.id for item in listing.items]
    assert [(one.id, one.detail) for one in listing.skipped] == [("chapter-1", "to https://login.example.org/in")]
    assert not [problem for problem in listing.problems if "SECRET" in problem]


# Identity and check


def test_identity_is_the_place_and_not_the_scheme(reader):
    source = reader.source()
    assert source.identity() == reader.base.removeprefix("http://") + "/guide/"
    assert source.confirms(source.identity())
    assert not source.confirms("docs.example.com/guide/")


def test_check_tells_how_pages_are_found(reader, site):
    assert "the sitemap names 8 pages" in reader.source().check()
    assert len(site.asked()) == 1
    site.forget()
    site.sitemap = None
    assert "links are followed" in reader.source().check()
    assert len(site.asked()) == 1
    site.failing["/guide/"] = 404
    with pytest.raises(SourceError, match="there is nothing"):
        reader.source().check()


@pytest.mark.parametrize("kind", ["plain", None], ids=["sitemap", "crawl"])
def test_check_notices_a_login_and_a_site_that_wants_no_program(reader, site, kind):
    site.sitemap = kind
    site.robots = "User-agent: *\nDisallow: /guide/\n"
    with pytest.raises(SourceError, match=r"robots\.txt disallows"):
        reader.source().check()
    site.robots = "User-agent: *\nDisallow: /guide/chapter"
    site.sitemap_of = [page for page in site.pages if "chapter" in page]
    if kind:  # the start page may be asked for, and is none of those
        with pytest.raises(SourceError, match=r"robots\.txt disallows .*/guide/chapter-1"):
            reader.source().check()
    site.robots = None
    site.failing = dict.fromkeys(site.pages, 401)
    with pytest.raises(SourceError, match="401"):
        reader.source().check()


@pytest.mark.parametrize("kind", ["500", "noindex", "empty", "json", "login", "login for good", "host", "loop"])
def test_check_notices_what_a_listing_would_end_with(reader, site, kind):
    site.menu = False
    site.sitemap_of = list(site.pages)
    for page in list(site.pages):
        soft(site, page, kind)
    with pytest.raises(SourceError, match="not one of 3 pages can be read") as caught:
        reader.source().check()
    assert caught.value.remedy == reader.read()[1].failure.remedy
    site.sitemap = None
    with pytest.raises(SourceError):
        reader.source().check()


def test_check_forgives_a_sitemap_whose_first_pages_are_broken(reader, site):
    first, second, third, *_ = site.pages
    site.failing = {first: 500, second: 401}
    assert "the sitemap names 8 pages" in reader.source().check()
    site.failing[third] = 404  # that one is gone, and nothing is wrong with that
    assert "the sitemap names 8 pages" in reader.source().check()


def test_check_notices_a_wrong_selector(reader):
    with pytest.raises(ConfigError, match="is no CSS selector"):
        reader.source(selector="div..").check()


def test_an_ipv6_site_is_read(tmp_path):
    site = small_site()
    with site.serve(host="::1") as base:
        reader = Reader(site, base, tmp_path)
        assert reader.ids() == ALL
        assert reader.document("chapter-1").uri == f"{base}/guide/chapter-1"
        reader.close()
