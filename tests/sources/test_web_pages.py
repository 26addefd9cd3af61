"""Single pages and addresses: what is content, what it is called, and which of many addresses is the page's."""

import pytest

from qloader.sources.web.addresses import Scope, pages_among
from qloader.sources.web.charset import decode_page
from qloader.sources.web.content import BadSelectorError
from qloader.sources.web.page import read_page
from qloader.sources.web.selecting import PageSelection

URL = "https://docs.example.com/guide/install"
SCOPE = Scope("https://Docs.Example.com/guide/")


def read(html, *, headers=None, url=URL, **options):
    body = html.encode() if isinstance(html, str) else html
    return read_page(body, {"content-type": "text/html; charset=utf-8", **(headers or {})}, url, **options)


# Addresses


@pytest.mark.parametrize(
    ("link", "page", "key"),
    [
        ("/guide/", "/guide/", "index"),
        ("/guide", "/guide", "index"),
        ("/guide/index.html", "/guide/index.html", "index"),
        ("/guide/a", "/guide/a", "a"),
        ("/guide/a/", "/guide/a/", "a"),
        ("/guide/a/index.htm", "/guide/a/index.htm", "a"),
        ("/guide/a.html", "/guide/a.html", "a.html"),
        ("sibling", "/guide/deep/sibling", "deep/sibling"),
        ("../up#part", "/guide/up", "up"),
        ("http://docs.example.com:80/guide/c?utm_source=x", "/guide/c", "c"),
        ("//DOCS.example.com./guide/d", "/guide/d", "d"),
        ("/guide/fr%c3%bch", "/guide/fr%C3%BCh", "früh"),
        ("/guide/früh", "/guide/fr%C3%BCh", "früh"),
        ("/guide/%7Euser", "/guide/~user", "~user"),
        ("/guide/a%2Fb", "/guide/a%2Fb", "a%2Fb"),
        ("/guide/100%", "/guide/100%25", "100%25"),
        ("/guide/%ff", "/guide/%FF", "%FF"),
        ("/guide/x;jsessionid=1A2B", "/guide/x", "x"),
        ("/guide/x/../y/./z", "/guide/y/z", "y/z"),
        (" /guide/spaced \n", "/guide/spaced", "spaced"),
    ],
)
def test_one_form_for_the_many_addresses_of_a_page(link, page, key):
    found = SCOPE.page(link, "https://docs.example.com/guide/deep/page")
    assert found == f"https://docs.example.com{page}"
    assert SCOPE.key(found) == key
    assert SCOPE.page(found) == found


@pytest.mark.parametrize(
    "link",
    ["/other/", "/guidebook", "https://evil.example/guide/a", "https://docs.example.com:8443/guide/a", "mailto:a@b.c",
     "javascript:void(0)", "#part", "", "/guide/../secret", "/guide/a.pdf", "/guide/b.tar.gz", "http://[::1/guide/",
     "https://docs.example.com:99999/guide/", "/guide/" + "x" * 5000],
)  # fmt: skip
def test_what_is_no_page_of_the_site_is_left_out(link):
    assert SCOPE.page(link, "https://docs.example.com/guide/") is None


def test_a_start_page_with_a_name_covers_its_folder():
    scope = Scope("https://x.org/docs/start.html")
    assert scope.prefix == "/docs/"
    assert scope.start == "https://x.org/docs/start.html"
    assert Scope("https://x.org/docs").prefix == "/docs/"
    assert Scope("https://x.org").prefix == "/"
    assert Scope("http://[::1]:8000/a/").page("b") == "http://[::1]:8000/a/b"


def test_query_parameters_count_only_where_they_are_chosen():
    scope = Scope("https://x.org/", frozenset({"page", "id"}))
    found = scope.page("/list?utm=1&page=2&id=7&page=3")
    assert found == "https://x.org/list?id=7&page=2&page=3"
    assert scope.key(found) == "list?id=7&page=2&page=3"
    assert found in scope.candidates(scope.key(found))


@pytest.mark.parametrize("link", ["/guide/", "/guide/a", "/guide/fr%C3%BCh/x", "/guide/a%2Fb", "/guide/100%25.html"])
def test_an_id_leads_back_to_its_page(link):
    page = SCOPE.page(link)
    assert page in SCOPE.candidates(SCOPE.key(page))


def test_links_are_taken_once_and_in_their_order():
    links = ["/guide/b", "/guide/a", "/guide/b#x", "https://else.org/"]
    assert [SCOPE.key(p) for p in pages_among(SCOPE, links, URL)] == ["b", "a"]


def test_patterns_mean_a_page_and_what_lies_below_it():
    chosen = PageSelection(("/guide/**", "*.html"), ("/guide/drafts/**", "old.html"))
    taken = [k for k in ("guide", "guide/a", "other", "x/y.html", "guide/drafts", "guide/drafts/a", "x/old.html")
             if chosen.takes(k)]  # fmt: skip
    assert taken == ["guide", "guide/a", "x/y.html"]
    assert chosen.asks_for("other")  # a page that is no document may still lead to one
    assert not chosen.asks_for("guide/drafts/a")


# Content

BODY = "<h1>Install<a class='headerlink' href='#i'>¶</a></h1><p>Run <code>x</code> first.</p>"


@pytest.mark.parametrize(
    "page",
    [
        f"<main>{BODY}</main>",
        f"<main><nav>Menu</nav><article>{BODY}</article></main>",
        f"<div role='main'>{BODY}</div>",
        f"<article>{BODY}</article>",
        f"<div class='documentwrapper'><div class='body' role='main'>{BODY}</div></div>",
        f"<main><div class='theme-doc-breadcrumbs'>Home</div><div class='theme-doc-markdown markdown'>{BODY}</div>"
        "<div class='theme-doc-footer'>Last updated on Monday</div></main>",
        f"<div class='md-content'><article class='md-content__inner'><a class='md-content__button'>Edit</a>{BODY}"
        "<aside class='md-source-file'>January 1</aside></article></div>",
        f"<div class='wrap'><div id='sidebar'><p>Side words, many</p></div><div class='text'>{BODY}</div></div>",
        f"<form id='aspnetForm'><div class='text'>{BODY}</div><input value='x'></form>",
        f"<table><tr><td><a href='a'>A</a></td><td><div>{BODY}</div></td></tr></table>",
        BODY,
    ],
)
def test_the_content_is_found_without_menu_footer_and_date(page):
    html = (
        "<html><head><title>Install | Docs</title><style>p{}</style></head><body><header>Site</header>"
        f"<nav><ul><li><a href='/guide/'>Guide</a></ul></nav>{page}"
        "<footer>Built 2026-11-25</footer><script>var x = 1</script></body></html>"
    )
    found = read(html)
    assert found.title == "Install"
    assert found.text == "# Install\n\nRun `x` first.\n"
    assert "https://docs.example.com/guide/" in found.links or "https://docs.example.com/guide/a" in found.links


def test_structure_stays():
    found = read(
        "<main><h1>A</h1><h2>B</h2><ul><li>one<ul><li>two</ul></ul><pre><code class='language-py'>a = 1\n</code></pre>"
        "<table><tr><th>k</th><th>v</th></tr><tr><td>1</td><td>2</td></tr></table>"
        "<p>See <a href='../api/'>API</a>. <img src='/p.png?v=17' alt='plan'></p><button>Copy</button></main>"
    )
    for part in (
        "# A",
        "## B",
        "- one",
        "  * two",
        "```py\na = 1\n```",
        "| 1 | 2 |",
        "[API](../api/)",
        "![plan](/p.png)",
    ):
        assert part in found.text
    assert "Copy" not in found.text


@pytest.mark.parametrize(
    "heading",
    [
        "Setup<a class='headerlink' href='#setup'>¶</a>",
        "Setup<a class='hash-link' href='#setup'>\u200b</a>",
        "<a class='anchor' href='#setup'><svg></svg></a>Setup",
        "<a class='header-anchor' href='#setup'><span>Setup</span></a>",
        "Setup<a class='sl-anchor-link' href='#setup'><span class='sr-only'>Section titled Setup</span></a>",
    ],
)
def test_marks_beside_headings_go_and_words_stay(heading):
    found = read(f"<main><h1>{heading}</h1><p>Text with a note<a href='#fn1'>1</a>.</p></main>")
    assert found.title == "Setup"
    assert "Setup" in found.text.split("\n")[0]
    assert "Section" not in found.text
    assert "[1](#fn1)" in found.text


def test_line_numbers_beside_code_go():
    table = "<table><tr><td class='linenos'><pre>1\n2</pre></td><td class='code'><pre>a\nb</pre></td></tr></table>"
    assert "1" not in read(f"<main><p>x</p>{table}</main>").text


def test_a_selector_chooses_and_others_remove():
    html = "<div class='doc'><p>Keep</p><p class='ad'>Buy</p></div><div class='doc'>Too</div><main>Not this</main>"
    assert read(html, selector=".doc", remove=(".ad",)).text == "Keep\n\nToo\n"
    assert read(html, selector="#nowhere").text == ""
    with pytest.raises(BadSelectorError, match=r"p\[\["):
        read(html, selector="p[[")
    with pytest.raises(BadSelectorError, match=r"<<"):
        read(html, remove=("<<",))


def test_what_a_page_says_of_itself():
    found = read(
        "<html lang='pt-BR'><head><base href='/guide/x/'><title>T</title><meta name='Description' content=' How\n to '>"
        "<link rel='canonical' href='/guide/install/'><meta name='robots' content='NOINDEX, follow'></head><body>"
        "<nav aria-label='Breadcrumbs'><ol><li><a href='/'>Docs</a> /</li><li>›</li><li>Install</li>"
        "<li class='wy-breadcrumbs-aside'>View page source</li></ol></nav>"
        "<main><p>Text <a href='y'>y</a> <a href='mailto:x@y.z'>m</a></p></main></body></html>"
    )
    assert found.title == "T"
    assert found.metadata == {"language": "pt-br", "description": "How to", "breadcrumbs": ["Docs", "Install"]}
    assert found.canonical == "https://docs.example.com/guide/install/"
    assert found.noindex
    assert found.links == ("https://docs.example.com/", "https://docs.example.com/guide/x/y")
    assert read("<main>x", headers={"content-language": "de-AT, en"}).language == "de-at"


@pytest.mark.parametrize(
    ("tag", "meta", "expected"),
    [
        ("noindex", "", True),
        ("nofollow, NONE", "", True),
        ("googlebot: noindex", "", False),
        ("qloader: noindex, otherbot: nofollow", "", True),
        ("unavailable_after: 25 Jun 2010 15:00:00 PST", "", False),
        ("", "noindex", True),
        ("", "none", True),
        ("", "index, follow, noimageindex", False),
    ],
)
def test_whether_a_page_may_be_in_an_index(tag, meta, expected):
    found = read(f"<meta name='robots' content='{meta}'><main>x</main>", headers={"x-robots-tag": tag})
    assert found.noindex is expected


def test_a_refresh_is_a_redirect_if_it_comes_soon():
    assert read("<meta http-equiv='Refresh' content=\"0; URL='../new/'\">").redirect == "https://docs.example.com/new/"
    assert read("<meta http-equiv=refresh content='300'><main>clock").redirect == ""


def test_text_and_markdown_are_read_as_such_and_other_types_are_no_pages():
    markdown = read("---\ntitle: T\n---\n# H\n\nx", headers={"content-type": "text/markdown"})
    assert (markdown.title, markdown.text, markdown.syntax) == ("T", "# H\n\nx\n", "markdown")
    text = read("plain <b>", headers={"content-type": "text/plain"}, url="https://docs.example.com/guide/notes")
    assert (text.title, text.text, text.syntax) == ("", "plain <b>\n", "text")
    assert read("# H", headers={"content-type": "text/plain"}, url=URL + ".md").title == "H"
    for other in ("application/pdf", "image/png", "application/json", ""):
        assert read("%PDF", headers={"content-type": other}) is None
    assert read("<html><main>x", headers={"content-type": ""}).text == "x\n"


# Bad pages


def test_broken_html_keeps_its_words():
    found = read("<html><<a <b><main><p>one<table><tr><td>two<main><p>three</b></i></table> &bogus; &amp <p")
    for word in ("one", "two", "three", "&bogus;", "&"):
        assert word in found.text


@pytest.mark.parametrize("tag", ["div", "span", "b", "ul", "blockquote"])
def test_nesting_beyond_sense_is_read_as_bare_text(tag):
    found = read(f"<{tag}>" * 100_000 + "the end")
    assert found.text.strip() == "the end"
    assert found.syntax == "text"


def test_many_elements_that_browsers_close_are_not_nested():
    assert read("<main>" + "<p>x" * 5_000).syntax == "markdown"


def test_a_page_with_nothing_in_it_has_no_text():
    assert read("<html><body><div id='root'></div><script src='app.js'></script></body></html>").text == ""
    assert read("").text == ""


# Charsets

GREETING = "Grüße – žluťoučký"


@pytest.mark.parametrize(
    ("data", "content_type", "expected"),
    [
        (GREETING.encode(), "text/html", GREETING),
        (GREETING.encode(), "text/html; charset=ISO-8859-1", GREETING),  # the server's default, not the page's
        (b"\xef\xbb\xbf" + GREETING.encode(), "text/html; charset=latin1", GREETING),
        (b"\xff\xfe" + GREETING.encode("utf-16-le"), "text/html", GREETING),
        ("ž € ü".encode("windows-1250"), "text/html; charset=windows-1250", "ž € ü"),
        ("50 € “x”".encode("cp1252"), "text/html; charset=iso-8859-1", "50 € “x”"),
        (b"<meta charset='shift_jis'>" + "日本語".encode("shift_jis"), "text/html", "<meta charset='shift_jis'>日本語"),
        (
            b'<meta http-equiv="Content-Type" content="text/html; charset=euc-jp">' + "日本".encode("euc-jp"),
            "text/html",
            '<meta http-equiv="Content-Type" content="text/html; charset=euc-jp">日本',
        ),
        ("日本語".encode("iso2022_jp"), "text/html; charset=iso-2022-jp", "日本語"),
        (
            b'<?xml version="1.0" encoding="iso-8859-2"?>' + "ž".encode("iso8859-2"),
            "application/xhtml+xml",
            '<?xml version="1.0" encoding="iso-8859-2"?>ž',
        ),
        ("中文".encode("gbk"), "text/html; charset=gb2312", "中文"),
        (GREETING.encode(), "text/html; charset=utf-7", GREETING),
        (GREETING.encode(), "text/html; charset=rot13", GREETING),
        (GREETING.encode(), "text/html; charset=no-such", GREETING),
        (b"a\xffb", "text/html; charset=utf-8", "a\ufffdb"),
    ],
)
def test_the_charset_is_found(data, content_type, expected):
    assert decode_page(data, content_type) == expected


def test_an_unnamed_charset_is_guessed():
    text = "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 20
    assert decode_page(text.encode("windows-1251"), "text/html") == text
