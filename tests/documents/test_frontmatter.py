import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloader.documents.frontmatter import split_front_matter


def test_yaml_becomes_metadata_and_leaves_the_text():
    text = "---\ntags: [a, b]\nowner: {team: docs}\n---\n\n# Hello\n"
    assert split_front_matter(text) == ({"tags": ["a", "b"], "owner": {"team": "docs"}}, "# Hello\n")


def test_toml_becomes_metadata_and_leaves_the_text():
    text = "+++\nweight = 3\n[extra]\ndraft = false\n+++\nHello\n"
    assert split_front_matter(text) == ({"weight": 3, "extra": {"draft": False}}, "Hello\n")


def test_yaml_may_end_with_dots():
    assert split_front_matter("---\na: 1\n...\ntext\n") == ({"a": 1}, "text\n")


def test_an_empty_block_is_taken_off():
    assert split_front_matter("---\n---\ntext\n") == ({}, "text\n")


def test_values_without_a_json_form_become_strings():
    block = (
        "a: 2024-05-06\nb: 2024-05-06T07:08:09Z\nc: .nan\nd: -.inf\ne: 99999999999999999999\nf: !!binary aGk=\n1: x\n"
    )
    metadata, _ = split_front_matter(f"---\n{block}---\n")
    assert metadata == {
        "a": "2024-05-06",
        "b": "2024-05-06T07:08:09+00:00",
        "c": "nan",
        "d": "-inf",
        "e": "99999999999999999999",
        "f": "aGk=",
        "1": "x",
    }
    orjson.dumps(metadata)


@pytest.mark.parametrize(
    "text",
    [
        "---\ntitle: [unclosed\n---\ntext\n",
        "---\ndate: 2024-13-45\n---\ntext\n",
        "---\n- a list\n---\ntext\n",
        "---\njust words\n---\ntext\n",
        "---\nnever: closed\n",
        "---\n? [un, hashable]\n: x\n---\ntext\n",
        "---\na: !!python/object/apply:os.system [ls]\n---\ntext\n",
        "---\n" + "[" * 20_000 + "\n---\ntext\n",
        "---\n" + "- " * 20_000 + "\n---\ntext\n",
        "---\na: &a [*a]\n---\ntext\n",
        "---\n" + "k: v\n" * 20_000 + "---\ntext\n",
        "+++\nx = " + "[" * 5_000 + "]" * 5_000 + "\n+++\ntext\n",
        "+++\nbroken\n+++\ntext\n",
        "--- \na: 1\n---\n",
        "text\n---\na: 1\n---\n",
    ],
)
def test_what_is_no_front_matter_stays_in_the_text(text):
    assert split_front_matter(text) == ({}, text)


@pytest.mark.parametrize("template", ["k{1}: &k{1} [*k{0}, *k{0}]\n", "k{1}: &k{1} {{<<: [*k{0}, *k{0}]}}\n"])
def test_an_alias_bomb_stays_text_and_takes_no_time(template):
    block = "k0: &k0 {x: 1}\n" + "".join(template.format(i, i + 1) for i in range(30))
    text = f"---\n{block}---\nbody\n"
    start = time.process_time()
    assert split_front_matter(text) == ({}, text)
    assert time.process_time() - start < 2


@given(
    st.text(alphabet=st.sampled_from("ab:-[]{}&*!?|>'\"%@`#, \n0123.~<=+T"), max_size=80),
    st.sampled_from(["---", "+++"]),
)
def test_no_block_is_ever_a_crash_and_metadata_is_always_json(block, fence):
    text = f"{fence}\n{block}\n{fence}\nbody\n"
    metadata, body = split_front_matter(text)
    orjson.dumps(metadata)
    assert body.endswith("body\n")
