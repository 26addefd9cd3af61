import time
from importlib.metadata import version

import pytest

from qloader.documents.html import bare_text, html_title, html_to_markdown_text
from qloader.documents.reading import CONVERTER, read_document

PAGE = """<!doctype html>
<html><head><title>Install &amp; run</title><style>b{}</style><script>document.write("<p>no</p>")</script></head>
<body><nav><a href="/">Home</a></nav>
<header><h1>Installing<a class="headerlink" href="#x">¶</a></h1></header>
<main><p>Run <code>a &lt; b</code> and read <a href="next.html">the <em>next</em> page</a>.</p>
<pre><code class="language-python">def f():
    return "&lt;"
</code></pre>
<ul><li>one</li><li>two</li></ul>
<table><tr><th>Key</th><th>Value</th></tr><tr><td>a</td><td>1</td></tr></table>
<img src="data:image/png;base64,AAAA" alt="a picture">
</main><footer>© nobody</footer></body></html>"""

MARKDOWN = """# Installing

Run `a < b` and read [the *next* page](next.html).

```python
def f():
    return "<"
```

- one
- two

| Key | Value |
| --- | ----- |
| a   | 1     |

a picture
"""


def read(text):
    return read_document("p.html", text.encode(), path="p.html", revision="r", uri="p.html")


def test_a_page_becomes_markdown_without_its_furniture():
    document = read(PAGE)
    assert document.text == MARKDOWN
    assert document.title == "Install & run"
    assert document.syntax == "markdown"


def test_the_converter_is_the_one_that_the_reader_names():
    installed = version("html-to-markdown")
    assert f"html-to-markdown {'.'.join(installed.split('.')[:2])}" == CONVERTER


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("<title>\n a\n b </title>", "a b"),
        ("<TITLE lang=en>X</TITLE>", "X"),
        ("<body><svg><title>icon</title></svg><h1>Head</h1></body>", "Head"),
        ("<h2>Only a heading</h2>", "Only a heading"),
        ("<title></title><p>x</p>", "p"),
        ("İİİ<title>T</title>", "T"),
    ],
)
def test_the_title_is_the_pages_own_or_its_first_heading(page, title):
    assert read(page).title == title


def test_an_entity_of_the_document_type_is_not_expanded():
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><p>&b;</p>'
    assert "aaaa" not in read(bomb).text.replace('<!ENTITY a "aaaaaaaaaa">', "")


@pytest.mark.parametrize("tag", ["div", "b", "blockquote", "span"])
def test_a_page_nested_too_deeply_keeps_its_words(tag):
    page = f"<{tag}>" * 20_000 + "the words" + f"</{tag}>" * 20_000
    assert "the words" in read(page).text


@pytest.mark.parametrize(
    "piece", ["<a ", '<a href="', "<!--", "<title ", "<", "</a", "<![CDATA[", "&", "<p>x", "<li>x", "<td>", "&#1;"]
)
def test_a_broken_page_takes_no_quadratic_time(piece):
    page = piece * 50_000
    start = time.process_time()
    html_to_markdown_text(page)
    html_title(page)
    bare_text(page)
    assert time.process_time() - start < 5  # quadratic: minutes


def test_bare_text_leaves_out_markup_scripts_and_comments():
    assert bare_text("<p>a <b>b</b> &amp; c</p><script>x<y</script><!-- no > --><p>1 < 2</p>") == "a b & c\n1 < 2"
