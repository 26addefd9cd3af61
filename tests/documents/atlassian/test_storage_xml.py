"""The scanner of storage format: bombs, depth, broken XML, and time in proportion to the size."""

from __future__ import annotations

import time

import pytest

from qloader.documents.atlassian.blocks import MAX_DEPTH
from qloader.documents.atlassian.storage import storage_to_markdown
from qloader.documents.atlassian.storage_xml import Node, parse_storage


def depth(node):
    levels, found = [node], 0
    while levels:
        levels = [child for parent in levels for child in parent.nodes()]
        found += bool(levels)
    return found


@pytest.mark.parametrize(
    ("tag", "levels", "closed"),
    [
        ("div", 100_000, True),
        ("blockquote", 100_000, False),
        *(
            (tag, 5_000, True)
            for tag in ("strong", "blockquote", "ul", "table", "ac:link", "h1", "ac:structured-macro")
        ),
    ],
)
def test_a_hundred_thousand_levels_keep_their_words(tag, levels, closed):
    source = f"<{tag}>" * levels + "the words" + f"</{tag}>" * (levels if closed else 0)
    assert depth(parse_storage(source)) <= MAX_DEPTH
    assert "the words" in storage_to_markdown(source).text


def test_entities_of_the_documents_own_are_never_expanded_nor_fetched():
    bomb = (
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]>'
        "<p>&b; &f; &eacute;</p>"
    )
    assert storage_to_markdown(bomb).text == "&b; &f; é\n"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<p>a <b>c</p> d", "a **c**\n\nd\n"),
        ("<p>a</b></p>", "a\n"),
        ("<p>one<p>two", "one\n\ntwo\n"),
        ("<ul><li>a<li>b</ul>", "- a\n- b\n"),
        ("a & b < c &nosuch; x", "a & b < c &nosuch; x\n"),
        ("<p>a<br>b<hr>c</p>", "a\\\nb\n\n---\n\nc\n"),
        ("<p>x <a href='y", "x <a href='y\n"),
        ("<ac:structured-macro ac:name='code'><ac:plain-text-body><![CDATA[x <p>", "```\nx <p>\n```\n"),
        ("<!-- gone -->a<!-- open", "a<!-- open\n"),
        ('<p title="a > b">c</p>', "c\n"),
        ("&#0; &#xD800; &#99999999;x", "\ufffd \ufffd \ufffdx\n"),
    ],
)
def test_broken_xml_keeps_its_text(source, expected):
    assert storage_to_markdown(source).text == expected


def test_an_attribute_is_read_with_its_entities():
    node = next(parse_storage("<ri:page ri:content-title='A &amp; B' x=\"1\"/>").nodes())
    assert isinstance(node, Node)
    assert (node.get("ri:content-title"), node.get("x"), node.get("content-title")) == ("A & B", "1", "")


@pytest.mark.parametrize(
    "piece",
    ["<a ", '<a b="', "<!--", "<![CDATA[", "<!", "<?", "<", "</p>", "&", "&#", "<p>x", "<li>x", "<td>", "<b>x</i>",
     "*", "_", "`", "~", "[", "](", "<em>*</em>", "<br/>", " ", "\\", "#", "- ", "-", "<x y", "<strong>. </strong>"],
)  # fmt: skip
def test_hostile_text_takes_time_in_proportion_to_its_size(piece):
    def cost(size):
        source = "<p>" + piece * (size // len(piece))
        start = time.process_time()
        storage_to_markdown(source)
        return time.process_time() - start

    # Eight times the size: linear is 8, quadratic 64. The floor keeps noise out of tiny times, and a busy machine may
    # spoil one comparison; what is quadratic fails each of them.
    assert any(cost(40_000) < 24 * max(cost(5_000), 0.02) for _ in range(3))
