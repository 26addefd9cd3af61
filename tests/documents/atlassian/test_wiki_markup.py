"""Jira's wiki markup becomes Markdown: each notation, a whole issue, and text that only looks like markup."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qloader.chunking.chunker import Chunker
from qloader.documents.atlassian.converted import Resolvers
from qloader.documents.atlassian.wiki_markup import wiki_to_markdown

ANSWERS = Resolvers(
    user={"ann": "Ann Lee"}.get,
    attachment=lambda name: f"https://jira/files/{name}",
    issue=lambda key: f"https://jira/browse/{key}",
)


def text_of(source):
    return wiki_to_markdown(source, ANSWERS).text.rstrip("\n")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", ""),
        ("h1. One\nh6. Six", "# One\n\n###### Six"),
        ("h2. A *b*\ntext", "## A **b**\n\ntext"),
        ("*b* _e_ {{m}} -s- +i+ ??c??", "**b** *e* `m` ~~s~~ i *c*"),
        ("a{*}b{*}c", "a**b**c"),
        ("x^2^ H~2~O ^sup^ ~sub~", "x<sup>2</sup> H<sub>2</sub>O <sup>sup</sup> <sub>sub</sub>"),
        ("bq. quoted", "> quoted"),
        ("{quote}\na\n\nb\n{quote}\nc", "> a\n>\n> b\n\nc"),
        ("{code:java|title=A.java}\nint a; // *b*\n\n{x}\n{code}", "**A.java**\n\n```java\nint a; // *b*\n\n{x}\n```"),
        ("{code}\n```\n{code}", "````\n```\n````"),
        ("{noformat}\n*a*\n{noformat}", "```\n*a*\n```"),
        ("{panel:title=T|borderStyle=dashed}\na\n{panel}", "> **T**\n>\n> a"),
        ("{color:red}a{color} b", "a b"),
        ("{toc}{anchor:top}GET /{section}/{id}/", "GET /{section}/{id}/"),
        ("* a\n** b\n*# c\n* d", "- a\n  - b\n  1. c\n- d"),
        ("# a\n## b\n# c", "1. a\n   1. b\n2. c"),
        ("- a\n- b", "- a\n- b"),
        ("* a\nmore\n\nb", "- a\n  more\n\nb"),
        ("* a\n{code}\nx\n{code}\n* b", "- a\n\n  ```\n  x\n  ```\n- b"),
        ("||A||B||\n|1|2|", "| A | B |\n| --- | --- |\n| 1 | 2 |"),
        ("||A|1|\n||B|2|", "|  |  |\n| --- | --- |\n| **A** | 1 |\n| **B** | 2 |"),
        ("||A||\n|x\ny|", "| A |\n| --- |\n| x<br>y |"),
        (
            "||A||\n|[t|https://x/y] \\| !a.png|thumbnail!|",
            "| A |\n| --- |\n| [t](https://x/y) \\| ![a.png](https://jira/files/a.png) |",
        ),
        ("||A||\n|{code}a|b{code}|", "| A |\n| --- |\n| `a\\|b` |"),
        ("[t|https://x/y] [https://x/y] [t|https://x/y|smart-link]", "[t](https://x/y) <https://x/y> [t](https://x/y)"),
        ("https://x/a_b_c. mailto:a@b.org", "<https://x/a_b_c>. <mailto:a@b.org>"),
        ("[~ann] [~accountid:ann] [~bob]", "@Ann Lee @Ann Lee @bob"),
        (
            "[^a.log] [PROJ-1] [#top]",
            "[a.log](https://jira/files/a.log) [PROJ-1](https://jira/browse/PROJ-1) [top](#top)",
        ),
        ("!a.png|thumbnail! !https://x/i.png!", "![a.png](https://jira/files/a.png) ![i.png](https://x/i.png)"),
        ("a\n----\nb", "a\n\n---\n\nb"),
        ("a \\\\ b", "a\\\nb"),
        ("a\nb", "a\nb"),
        ("\\{code} \\*a\\* \\[x]", "{code} \\*a\\* [x]"),
        ("{info:title=T}a{info}", "> **Info: T**\n>\n> a"),
    ],
)
def test_notations(source, expected):
    assert text_of(source) == expected


@pytest.mark.parametrize(
    "words",
    [
        "snake_case a-b-c 2 * 3 a - b -- c --- d",
        "wow! no! :) (x) (/) {id} ${home} {a: 1}",
        "C:\\Users\\me \\\\server\\share [WARN] array[0] [t|some page]",
        "2026-01-02 - 2026-02-03 at ~5 and ~6",
        "Hi!there!",
    ],
)
def test_what_only_looks_like_markup_is_left_alone(words):
    assert text_of(words).replace("\\\\\\server", "\\\\server") == words.strip()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a\n{code}\nx *y*", "a\n\n```\nx *y*\n```"),
        ("{quote}\na", "> a"),
        ("{panel:title=T}\na\n{quote}b", "> **T**\n>\n> a\n>\n> > b"),
        ("*a", "*a"),
        ("{{a", "{{a"),
        ("[a", "[a"),
        ("{noformat}a", "```\na\n```"),
    ],
)
def test_unclosed_markup_keeps_its_text(source, expected):
    assert text_of(source) == expected


def test_a_macro_that_is_not_understood_is_named_and_its_text_kept():
    result = wiki_to_markdown("{chart:type=pie}\na b\n{chart}\n{code}{chart:x}{chart}{code}")
    assert result.unknown == ("chart",)
    assert result.text == "a b\n\n```\n{chart:x}{chart}\n```\n"


WORDS = st.lists(
    st.sampled_from(
        [
            "a",
            "bc",
            "def",
            "*a*",
            "_b_",
            "-c-",
            "{{d}}",
            "{code}",
            "{noformat}",
            "{quote}",
            "{panel:title=abc}",
            "{panel}",
            "*",
            "#",
            "-",
            "||",
            "|",
            "[",
            "]",
            "!",
            "\\",
            "\n",
            "\n\n",
            "h1.",
            "bq.",
            "{color:red}",
            "{color}",
            "^",
            "~",
            "+",
            "??",
            "{",
            "}",
            "----",
            "\\\\",
            "[a|b]",
            "!a.png!",
            "[~x]",
            "\x00",
            "1.",
            ">",
            "`",
            "<b>",
            "&amp;",
            "{info}",
            "[x]",
        ]
    ),
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(WORDS, st.sampled_from(["", " ", "\n"]))
def test_no_text_raises_and_its_plain_words_stay(parts, between):
    source = between.join([*parts, "\nthe words"])
    result = wiki_to_markdown(source)
    assert result == wiki_to_markdown(source)
    assert "the words" in result.text
    assert "def" not in source or "def" in result.text


@pytest.mark.parametrize(
    "piece",
    [
        "*",
        "{",
        "_",
        "[",
        "!",
        "|",
        "{{",
        "*a ",
        "{code}",
        "{code:a}",
        "{quote}",
        "{panel:a=b}",
        "||",
        "#",
        "\\",
        "- ",
        "* ",
        "-",
        "?? ",
        "^a^",
        "[a|",
        "!a",
        "{{a}} ",
        "{a:b}",
        "{a:b}{a}",
        "~",
        "\n*",
        "|a\n",
        "{*}a",
        "= ",
        "`",
        "\x00",
    ],
)
def test_hostile_text_takes_time_in_proportion_to_its_size(piece):
    def cost(size):
        source = piece * (size // len(piece))
        start = time.process_time()
        wiki_to_markdown(source)
        return time.process_time() - start

    # Eight times the size: linear is 8, quadratic 64. The floor keeps noise out of tiny times, and a busy machine may
    # spoil one comparison; what is quadratic fails each of them.
    assert any(cost(40_000) < 24 * max(cost(5_000), 0.02) for _ in range(3))


ISSUE = """h2. Steps
# Open {{app.yaml}}
# Run *twice*
{code:bash}
run --all

# again
run
{code}

||Version||Broken||
|1.2|yes \\| sometimes|
|1.3|no|

Seen by [~ann], see [PROJ-7].
"""


def test_a_whole_issue_and_its_chunks():
    result = wiki_to_markdown(ISSUE, ANSWERS)
    assert result.text == (
        "## Steps\n\n1. Open `app.yaml`\n2. Run **twice**\n\n   ```bash\n   run --all\n\n   # again\n   run\n   ```\n\n"
        "| Version | Broken |\n| --- | --- |\n| 1.2 | yes \\| sometimes |\n| 1.3 | no |\n\n"
        "Seen by @Ann Lee, see [PROJ-7](https://jira/browse/PROJ-7).\n"
    )
    assert result.mentions == ("ann",)
    chunks = [chunk.text for chunk in Chunker(max_chars=120).split(result.text, "markdown")]
    assert all(chunk.count("```") in (0, 2) for chunk in chunks)
    assert sum("| Version |" in chunk and "| 1.3 |" in chunk for chunk in chunks) == 1
