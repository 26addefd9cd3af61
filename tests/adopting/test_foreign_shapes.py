"""How the points of other tools are read; what they say may come from anybody."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qloader.adopting.names import endings, parts_of, shorter_names
from qloader.adopting.shapes import SHAPES, find_value, mapped, recognise
from support.foreign_collections import langchain_point, llamaindex_point, qdrant_loader_point

POINTS = {
    "langchain": langchain_point("docs/a.md", "Lamps.", title="Of lamps"),
    "llamaindex": llamaindex_point("docs/a.md", "Lamps."),
    "qdrant-loader": qdrant_loader_point("https://github.com/me/repo/blob/main/docs/a.md", "Lamps.", title="Of lamps"),
}


@pytest.mark.parametrize("name", POINTS)
def test_each_tool_is_recognised_by_its_points_and_by_no_others(name):
    payload = POINTS[name].payload
    assert recognise([payload]).name == name
    assert [shape.name for shape in SHAPES.values() if shape.fits(payload)] == [name]
    passage = SHAPES[name].read(payload)
    assert passage.text == "Lamps."
    assert passage.names[0].endswith("docs/a.md")


def test_what_most_points_are_is_what_the_collection_is():
    payloads = [POINTS["qdrant-loader"].payload, *[POINTS["langchain"].payload] * 2, {"other": 1}]
    assert recognise(payloads).name == "langchain"
    assert recognise([{"text": "a", "metadata": {}}]) is None
    assert recognise([]) is None


def test_llamaindex_embeds_the_metadata_that_is_not_excluded():
    read = SHAPES["llamaindex"].read
    assert read(llamaindex_point("docs/a.md", "Lamps.").payload).embedded == "file_path: docs/a.md\n\nLamps."
    assert read(llamaindex_point("docs/a.md", "Lamps.", excluded=("file_path",)).payload).embedded == "Lamps."


def test_llamaindex_templates_are_filled_and_ask_for_nothing_else():
    def embedded(**node):
        content = {"text": "{key} {0.__class__}", "metadata": {"a": "{value}", "b": 2}, **node}
        return SHAPES["llamaindex"].read({"_node_content": json.dumps(content)}).embedded

    assert embedded() == "a: {value}\nb: 2\n\n{key} {0.__class__}"
    assert embedded(metadata_seperator=" | ", metadata_template="{key}={value}") == (
        "a={value} | b=2\n\n{key} {0.__class__}"
    )
    assert embedded(text_template="{content.__class__} {content}|{metadata_str}") == (
        "{content.__class__} {key} {0.__class__}|a: {value}\nb: 2"
    )


def test_llamaindex_nodes_of_several_media_hold_their_text_deeper():
    content = {"text_resource": {"text": "Lamps."}, "metadata": {}}
    assert SHAPES["llamaindex"].read({"_node_content": json.dumps(content)}).text == "Lamps."


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(
    ["page_content", "metadata", "_node_content", "content", "source_type", "url", "text", "title", "doc_id"]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(keys, json_values | st.builds(json.dumps, json_values), max_size=6))
def test_no_payload_is_an_error(payload):
    for shape in (*SHAPES.values(), mapped(text="metadata.text", document="metadata", title="title")):
        shape.fits(payload)
        passage = shape.read(payload)
        assert passage is None or (passage.text and all(isinstance(name, str) and name for name in passage.names))


def test_a_path_of_keys_leads_through_mappings_and_takes_keys_with_points_as_they_are():
    payload = {"a": {"b": {"c": 1}}, "a.b": 2, "d": [3]}
    assert find_value(payload, "a.b") == 2
    assert find_value(payload, "a.b.c") == 1
    assert find_value(payload, "d.0") is None
    assert find_value(payload, "") is None


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("/home/me/docs/a.md", ("home", "me", "docs", "a.md")),
        ("C:\\docs\\a.md", ("C:", "docs", "a.md")),
        ("./docs//a.md", ("docs", "a.md")),
        ("https://x.org/guide/intro/?q=1#top", ("guide", "intro")),
        ("https://x.org/guide/index.html", ("guide",)),
        ("https://x.org/a%20b", ("a b",)),
        ("file:///docs/a.md", ("docs", "a.md")),
        ("https://[broken", ()),
        ("", ()),
    ],
)
def test_the_parts_of_a_name(name, parts):
    assert parts_of(name) == parts


def test_ids_are_looked_for_from_the_longest_on():
    assert list(endings("/repo/docs/a.md")) == [(0, "repo/docs/a.md"), (1, "docs/a.md"), (2, "a.md")]
    assert (2, "4711") in list(endings("https://x.atlassian.net/wiki/pages/4711/A+title"))
    assert (1, "ENG-12") in list(endings("https://x.atlassian.net/browse/ENG-12"))
    assert list(shorter_names("repo/docs/a.md")) == ["docs/a.md", "a.md"]
