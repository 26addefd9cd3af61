"""Confluence storage format becomes Markdown: one line a rule, then whole pages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from qloader.chunking.chunker import Chunker
from qloader.documents.atlassian.converted import Resolvers
from qloader.documents.atlassian.storage import storage_to_markdown
from qloader.documents.normalise import normalise_text

ANSWERS = Resolvers(
    page=lambda title, space: f"https://wiki/{space or 'HERE'}/{title.replace(' ', '+')}",
    user={"u1": "Ann Lee"}.get,
    attachment=lambda name: f"https://wiki/files/{name}",
    issue=lambda key: f"https://jira/browse/{key}",
)
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def converted(source, resolvers=ANSWERS):
    return storage_to_markdown(source, resolvers)


def text_of(source):
    return converted(source).text.rstrip("\n")


def macro(name, body="", **parameters):
    given = "".join(f'<ac:parameter ac:name="{key}">{value}</ac:parameter>' for key, value in parameters.items())
    return f'<ac:structured-macro ac:name="{name}" ac:schema-version="1">{given}{body}</ac:structured-macro>'


def code(text, name="code", **parameters):
    return macro(name, f"<ac:plain-text-body><![CDATA[{text}]]></ac:plain-text-body>", **parameters)


def rich(name, body, **parameters):
    return macro(name, f"<ac:rich-text-body>{body}</ac:rich-text-body>", **parameters)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", ""),
        ("<p> &nbsp; </p><p/>", ""),
        ("plain words", "plain words"),
        ("<h1>One</h1><h6>Six</h6>", "# One\n\n###### Six"),
        ("<h2><strong>Bold</strong></h2>", "## Bold"),
        ("<h2>a <strong>b</strong><br/>c</h2>", "## a **b** c"),
        ("<h2>C #</h2>", "## C \\#"),
        ("<p>a&nbsp;&rarr; b &amp; c &lt;div&gt; &eacute;&#x41;&#66;</p>", "a → b & c \\<div> éAB"),
        ("<p>one\n   two</p>", "one two"),
        ("<p>a<br/>b</p>", "a\\\nb"),
        ("<p>a<br/><br/>b<br/></p>", "a\n\nb"),
        ("<p><strong>bold </strong>text</p>", "**bold** text"),
        ("<p>a<strong> b </strong>c</p>", "a **b** c"),
        ("<p><strong>a</strong><strong>b</strong> <em> </em>c</p>", "**ab** c"),
        ("<p><strong>a <em>b</em></strong><em> c</em></p>", "**a *b*** *c*"),
        ("<p><strong>Note:</strong>now</p>", "**Note**:now"),
        ("<p><b>x</b> <i>y</i> <del>z</del> <u>u</u></p>", "**x** *y* ~~z~~ u"),
        ('<p><span style="text-decoration: line-through;">gone</span></p>', "~~gone~~"),
        ("<p>H<sub>2</sub>O, x<sup>2</sup></p>", "H<sub>2</sub>O, x<sup>2</sup>"),
        ("<p><code>a_b</code> <code>x ` y</code></p>", "`a_b` ``x ` y``"),
        ("<p><code>a <strong>b</strong></code></p>", "`a b`"),
        ("<p>a</p><hr/><p>b</p>", "a\n\n---\n\nb"),
        ("<blockquote><p>q</p><p>r</p></blockquote>", "> q\n>\n> r"),
        ("<pre>  x\n  y</pre>", "```\n  x\n  y\n```"),
        ("<dl><dt>Term</dt><dd>Meaning</dd></dl>", "**Term**\n\nMeaning"),
        ("<ul><li>a</li><li><p>b</p><ol><li>c</li></ol></li></ul>", "- a\n- b\n  1. c"),
        ('<ol start="3"><li>a<ul><li>b</li></ul></li></ol>', "3. a\n   - b"),
        ("<ol><li>a</li></ol><ol><li>b</li></ol>", "1. a\n\n1) b"),
        ("<ul><li><p>a</p><p>b</p></li></ul>", "- a\n\n  b"),
        ("<ul><li>a</li><ul><li>b</li></ul></ul>", "- a\n  - b"),
        ('<p><a href="https://x.y/a_b">t</a></p>', "[t](https://x.y/a_b)"),
        ('<p><a href="https://x.y">https://x.y</a> <a href="#top">up</a></p>', "<https://x.y> [up](#top)"),
        ('<p><a href="javascript:alert(1)">t</a></p>', "t"),
        ('<p><a href="https://x/(a b">[t]</a></p>', "[\\[t\\]](https://x/%28a%20b)"),
        ('<p><time datetime="2026-03-01"/></p>', "2026-03-01"),
        ('<p><ac:emoticon ac:name="tick"/><ac:emoticon ac:name="x" ac:emoji-fallback="🚀"/></p>', "✅🚀"),
        ("<p>a <ac:inline-comment-marker ac:ref='1'>b</ac:inline-comment-marker></p>", "a b"),
        ("<p><ac:placeholder>Say why</ac:placeholder></p>", "Say why"),
        ("<script>alert(1)</script><p>x</p>", "x"),
    ],
)
def test_elements(source, expected):
    assert text_of(source) == expected
    assert converted(source).unknown == ()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("snake_case 2 * 3 5*3 a < b a > b C:\\Users\\me [WARN] x#1 AT&T 50% ~5 f(x)[0] a|b", None),
        ("*args and **kwargs", None),
        ("a *b* c", "a \\*b\\* c"),
        ("__init__.py", "\\_\\_init\\_\\_.py"),
        ("`a` `", "\\`a\\` \\`"),
        ("one ` alone", None),
        ("~~no~~", "\\~\\~no\\~\\~"),
        ("[a](b)", "[a\\](b)"),
        ("\\* and \\x", "\\\\* and \\x"),
        ("# x", "\\# x"),
        ("#tag", None),
        ("1. x", "1\\. x"),
        ("1.5 x", None),
        ("- x", "\\- x"),
        ("-x", None),
        ("---", "\\---"),
        ("> x", "\\> x"),
        ("```", "\\```"),
        ("[x] done", "\\[x] done"),
    ],
)
def test_a_backslash_stands_only_where_a_sign_would_mean_something(words, expected):
    source = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert text_of(f"<p>{source}</p>") == (words if expected is None else expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (code("a\n\n  b", language="Java"), "```java\na\n\n  b\n```"),
        (code("x", title="A.java", language="c#"), "**A.java**\n\n```csharp\nx\n```"),
        (code("````\nx &amp; <b>"), "`````\n````\nx &amp; <b>\n`````"),
        (code("a]]]]><![CDATA[>b"), "```\na]]>b\n```"),
        (code("x", "noformat"), "```\nx\n```"),
        (rich("info", "<p>x</p>"), "> **Info**\n>\n> x"),
        (rich("warning", "<p>x</p>", title="Hot"), "> **Warning: Hot**\n>\n> x"),
        (rich("panel", "<p>x</p>", title="T"), "> **T**\n>\n> x"),
        (rich("expand", "<p>x</p>", title="More"), "**More**\n\nx"),
        (f"<p>is {macro('status', title='DONE', colour='Green')}.</p>", "is **DONE**."),
        (macro("toc") + macro("children") + "<p>x</p>", "x"),
        (macro("jira", key="ENG-1", server="s"), "[ENG-1](https://jira/browse/ENG-1)"),
        (macro("jira", jqlQuery="project = ENG"), "Jira issues: `project = ENG`"),
        (rich("excerpt", "<p>x</p>"), "x"),
        (
            '<ac:structured-macro ac:name="excerpt-include"><ac:parameter ac:name=""><ac:link>'
            '<ri:page ri:content-title="Home"/></ac:link></ac:parameter></ac:structured-macro>',
            "[Home](https://wiki/HERE/Home)",
        ),
        (
            "<ac:adf-extension><ac:adf-node type='panel'><ac:adf-attribute key='panel-type'>note</ac:adf-attribute>"
            "<ac:adf-content><p>x</p></ac:adf-content></ac:adf-node><ac:adf-fallback><p>y</p></ac:adf-fallback>"
            "</ac:adf-extension>",
            "> **Note**\n>\n> x",
        ),
        (
            "<ac:adf-extension><ac:adf-node type='decision-list'/><ac:adf-fallback><ul><li>d</li></ul>"
            "</ac:adf-fallback></ac:adf-extension>",
            "- d",
        ),
        (
            "<ac:layout><ac:layout-section><ac:layout-cell><p>a</p></ac:layout-cell><ac:layout-cell><p>b</p>"
            "</ac:layout-cell></ac:layout-section></ac:layout>",
            "a\n\nb",
        ),
        (
            "<ac:task-list><ac:task><ac:task-id>1</ac:task-id><ac:task-status>complete</ac:task-status>"
            "<ac:task-body>a</ac:task-body></ac:task><ac:task><ac:task-id>2</ac:task-id>"
            "<ac:task-status>incomplete</ac:task-status><ac:task-body><span>b</span></ac:task-body></ac:task>"
            "</ac:task-list>",
            "- [x] a\n- [ ] b",
        ),
    ],
)
def test_macros(source, expected):
    assert text_of(source) == expected
    assert converted(source).unknown == ()


def link(target, body="", anchor=""):
    attribute = f' ac:anchor="{anchor}"' if anchor else ""
    return f"<p><ac:link{attribute}>{target}{body}</ac:link></p>"


PAGE = '<ri:page ri:content-title="Big Page" ri:space-key="ENG"/>'
WORDS = "<ac:plain-text-link-body><![CDATA[a <b>]]></ac:plain-text-link-body>"


@pytest.mark.parametrize(
    ("source", "expected", "without"),
    [
        (link(PAGE), "[Big Page](https://wiki/ENG/Big+Page)", "Big Page"),
        (link(PAGE, WORDS, "x"), "[a \\<b>](https://wiki/ENG/Big+Page#x)", "a \\<b>"),
        (link("", WORDS, "x"), "[a \\<b>](#x)", "[a \\<b>](#x)"),
        (link(PAGE, "<ac:link-body>r <em>s</em></ac:link-body>"), "[r *s*](https://wiki/ENG/Big+Page)", "r *s*"),
        (link('<ri:attachment ri:filename="a.pdf"/>'), "[a.pdf](https://wiki/files/a.pdf)", "a.pdf"),
        (link('<ri:user ri:account-id="u1"/>'), "@Ann Lee", "@u1"),
        (link('<ri:user ri:username="bob"/>'), "@bob", "@bob"),
        ('<ac:image><ri:attachment ri:filename="a.png"/></ac:image>', "![a.png](https://wiki/files/a.png)", "a.png"),
        ('<ac:image ac:alt="A"><ri:url ri:value="https://x/i.png"/></ac:image>', *["![A](https://x/i.png)"] * 2),
    ],
)
def test_links_and_pictures_lead_where_the_caller_says_or_are_words(source, expected, without):
    assert text_of(source) == expected
    assert storage_to_markdown(source).text.rstrip("\n") == without


def test_mentions_are_listed_once_and_sorted():
    users = "".join(link(f'<ri:user ri:account-id="{user}"/>') for user in ("u2", "u1", "u2"))
    assert converted(users).mentions == ("u1", "u2")


def table(*rows):
    return "<table><tbody>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</tbody></table>"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        (table("<th>A</th><th>B</th>", "<td>1</td><td>2</td>"), ["| A | B |", "| --- | --- |", "| 1 | 2 |"]),
        (table("<td>1</td><td>2</td>"), ["|  |  |", "| --- | --- |", "| 1 | 2 |"]),
        (table("<th>A</th><th>B</th>", "<th>k</th><td>2</td>"), ["| A | B |", "| --- | --- |", "| **k** | 2 |"]),
        (table("<th>A</th>", "<td>x|y</td>"), ["| A |", "| --- |", "| x\\|y |"]),
        (table("<th>A</th>", "<td><p>x</p><p>y<br/>z</p></td>"), ["| A |", "| --- |", "| x<br>y<br>z |"]),
        (
            table("<th>A</th>", "<td><ul><li>x<ul><li>y</li></ul></li></ul></td>"),
            ["| A |", "| --- |", "| - x<br>- y |"],
        ),
        (
            table("<th>A</th>", f"<td>{code('a|b' + chr(10) + '  c')}</td>"),
            ["| A |", "| --- |", "| `a\\|b`<br>`  c` |"],
        ),
        (
            table(
                '<th colspan="2">A</th><th>B</th>', '<td rowspan="2">1</td><td>2</td><td>3</td>', "<td>4</td><td>5</td>"
            ),
            ["| A |  | B |", "| --- | --- | --- |", "| 1 | 2 | 3 |", "|  | 4 | 5 |"],
        ),
        (table("<th>A</th>", "<td>" + table("<td>x</td><td>y</td>") + "</td>"), ["| A |", "| --- |", "| x \\| y |"]),
    ],
)
def test_tables_stay_tables(source, lines):
    assert text_of(source).split("\n") == lines


def test_a_cell_that_claims_a_million_columns_makes_no_huge_table():
    wide = table(*['<td colspan="999999" rowspan="999999">x</td>'] * 50)
    assert len(text_of(wide)) < 40_000
    assert text_of(wide).count("x") == 50


def test_what_is_unknown_is_named_once_and_its_text_kept():
    source = rich("roadmap", "<p>a</p>") + code("b  c", "roadmap") + "<ac:odd>d</ac:odd><foo>e</foo>"
    result = converted(source)
    assert result.unknown == ("ac:odd", "foo", "roadmap")
    assert result.text == "a\n\n```\nb  c\n```\n\nde\n"


NAMES = st.sampled_from(
    [
        "p",
        "strong",
        "em",
        "ul",
        "li",
        "table",
        "tr",
        "td",
        "th",
        "code",
        "h2",
        "blockquote",
        "ac:link",
        "ac:task",
        "x:y",
        "a",
    ]
)


def tree(inner):
    return st.builds(lambda name, parts: f"<{name}>{''.join(parts)}</{name}>", NAMES, st.lists(inner, max_size=4))


ATOMS = st.text("abz *_`~[](){}|#>-+.!\\1\n", max_size=8)
TREES = st.recursive(ATOMS, tree, max_leaves=20)


def letters(text):
    return [char for char in text if char.isalnum()]


@settings(max_examples=150, deadline=None)
@given(TREES)
def test_every_letter_of_a_page_is_in_its_markdown_as_a_reader_sees_it(source):
    result = converted(source)
    seen = "".join(
        child.content
        for token in PARSER.parse(result.text)
        for child in (token.children or ([token] if token.type in ("fence", "code_block") else []))
        if child.type != "html_inline"
    )
    wanted = "".join(_visible(source))
    assert sorted(letters(seen)) == sorted(letters(wanted))
    assert converted(source) == result


def _visible(source):
    at = 0
    while at < len(source):
        if source[at] == "<":
            at = source.index(">", at)
        else:
            yield source[at]
        at += 1


@settings(max_examples=150, deadline=None)
@given(st.text("<>/=\"'&;!-[]CDATAp abc:\n", max_size=80))
def test_no_input_raises(source):
    converted(source)


INLINE = st.lists(
    st.tuples(st.sampled_from(["strong", "em", "del", "span", "code"]), st.text("ab .*_~`<(", min_size=1, max_size=5)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(INLINE)
def test_words_with_marks_read_the_same_after_markdown(parts):
    source = "".join(f"<{name}>{text.replace('<', '&lt;')}</{name}>" for name, text in parts)
    result = converted(f"<p>x {source} y</p>").text
    seen = "".join(
        "\n" if child.type.endswith("break") else child.content
        for token in PARSER.parse(result)
        for child in token.children or ()
    )
    assert seen.split() == "".join(["x ", *(text for _, text in parts), " y"]).split()


WHOLE = (
    "<h1>Runbook: restore</h1>"
    + macro("toc", maxLevel="3")
    + rich("warning", "<p>Take a <strong>backup </strong>first.</p>", title="Backup first")
    + "<h2>Steps</h2><ol><li><p>Stop the service</p>"
    + code("systemctl stop app\n\n# wait\nsleep 5", language="bash")
    + "</li><li><p>Restore</p></li></ol><h2>Owners</h2>"
    + table(
        "<th><p>Team</p></th><th><p>Who</p></th>",
        "<td><p>Ops</p></td><td>" + link('<ri:user ri:account-id="u1"/>') + "</td>",
    )
    + code("SELECT 1;\n\n\n-- end", language="sql")
)
WHOLE_MARKDOWN = """# Runbook: restore

> **Warning: Backup first**
>
> Take a **backup** first.

## Steps

1. Stop the service

   ```bash
   systemctl stop app

   # wait
   sleep 5
   ```
2. Restore

## Owners

| Team | Who |
| --- | --- |
| Ops | @Ann Lee |

```sql
SELECT 1;


-- end
```
"""


def test_a_whole_page():
    assert converted(WHOLE).text == WHOLE_MARKDOWN


def test_the_chunker_keeps_fences_and_tables_of_a_page_whole():
    text = normalise_text(converted(WHOLE).text)
    assert text == WHOLE_MARKDOWN
    chunks = [chunk.text for chunk in Chunker(max_chars=200).split(text, "markdown")]
    assert all(chunk.count("```") % 2 == 0 for chunk in chunks)
    assert any("| Team | Who |\n| --- | --- |\n| Ops | @Ann Lee |" in chunk for chunk in chunks)
