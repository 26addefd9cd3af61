"""What chunks promise: whole blocks within the limit, nothing lost, and bounds that an edit elsewhere leaves alone."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qloader.chunking.chunker import Chunk, Chunker
from qloader.chunking.settings import CHUNKER_VERSION, chunking_settings
from qloader.documents.hashing import fingerprint
from qloader.documents.normalise import normalise_text

WORDS = ["plan", "apply", "index", "state", "source", "chunk", "point", "batch", "retry", "guard", "ünï", "日本"]


def paragraph(random_: random.Random, low: int, high: int) -> str:
    words = [random_.choice(WORDS)]
    while len(" ".join(words)) < random_.randint(low, high):
        words.append(random_.choice(WORDS))
    return " ".join(words).capitalize() + "."


def texts(chunks: list[Chunk]) -> list[str]:
    return [chunk.text for chunk in chunks]


def squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(("low", "high"), [(20, 120), (150, 450), (300, 700), (700, 1200), (20, 1200)])
@pytest.mark.parametrize("headings", [0, 7])
@pytest.mark.parametrize("seed", range(3))
def test_an_edit_of_one_paragraph_of_a_hundred_makes_at_most_two_new_chunks(low, high, headings, seed):
    random_ = random.Random(seed)
    paragraphs = [paragraph(random_, low, high) for _ in range(100)]
    if headings:
        for number in range(0, 100, headings):
            paragraphs[number] = f"## Section {number}\n\n{paragraphs[number]}"
    chunker = Chunker()
    before = Counter(texts(chunker.split("\n\n".join(paragraphs) + "\n", "markdown")))
    for number in range(100):
        edited = list(paragraphs)
        words = edited[number].split(" ")
        words.insert(random_.randrange(1, len(words) + 1), random_.choice(["edited", "here is a new remark,"]))
        edited[number] = " ".join(words)
        after = Counter(texts(chunker.split("\n\n".join(edited) + "\n", "markdown")))
        assert 1 <= (after - before).total() <= 2


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_paragraph_put_in_or_taken_out_leaves_all_but_two_chunks_alone(place):
    random_ = random.Random(5)
    paragraphs = [paragraph(random_, 100, 500) for _ in range(100)]
    at = {"first": 0, "middle": 50, "last": 100}[place]
    longer = [*paragraphs[:at], "A paragraph that was not there before.", *paragraphs[at:]]
    short, long = (Counter(texts(Chunker().split("\n\n".join(p) + "\n", "text"))) for p in (paragraphs, longer))
    assert (long - short).total() <= 2
    assert (short - long).total() <= 2


TEXTS = st.lists(
    st.sampled_from(
        [
            "# One",
            "## Two",
            "Under\n=====",
            "Lower\n-----",
            "```python\na = 1\n\n# no heading\nb = 2\n```",
            "~~~\nopen",
            "- a\n- b\n\n- c",
            "- a\n  - b\n\n    ```\n    x\n\n    y\n    ```",
            "1. ```\n   x\n   ```",
            "| a | b |\n|---|---|\n| 1 | 2 |",
            "Words. More words! 日本語。ことば。",
            "x" * 700,
            "long words " * 60,
            "    code\n\n    more code",
            "#not a heading",
            "---",
            "",
        ]
    ),
    max_size=30,
).map(lambda parts: normalise_text("\n\n".join(parts)))


@settings(deadline=None, max_examples=150)
@given(TEXTS | st.text().map(normalise_text), st.sampled_from(["markdown", "text"]), st.sampled_from([0, 30, 90]))
def test_nothing_is_lost_or_too_long_and_order_is_kept(text, syntax, overlap):
    chunks = Chunker(200, overlap).split(text, syntax)
    assert all(len(chunk.text) <= 200 and chunk.text.strip() for chunk in chunks)
    if not overlap:
        assert squeezed("".join(texts(chunks))) == squeezed(text)
    at = 0
    for chunk in chunks:
        assert chunk.text in text
        assert squeezed(text).find(squeezed(chunk.text), max(0, at - 200)) >= 0
        at = squeezed(text).find(squeezed(chunk.text), max(0, at - 200))


@settings(deadline=None, max_examples=50)
@given(TEXTS)
def test_the_same_text_gives_the_same_chunks(text):
    assert Chunker(300).split(text, "markdown") == Chunker(300).split(text, "markdown")


def test_headings_are_kept_as_context_outermost_first():
    text = "Before.\n\n# Guide\n\nIntro.\n\n## Install\n\nRun it.\n\n### On *Linux*\n\nMore.\n\n## Use\n\nSo.\n"
    assert Chunker().split(text, "markdown") == [
        Chunk("Before.", ()),
        Chunk("# Guide\n\nIntro.", ("Guide",)),
        Chunk("## Install\n\nRun it.", ("Guide", "Install")),
        Chunk("### On *Linux*\n\nMore.", ("Guide", "Install", "On Linux")),
        Chunk("## Use\n\nSo.", ("Guide", "Use")),
    ]


def test_a_heading_straight_under_another_opens_one_section_with_it():
    chunks = Chunker().split("# Title\n\n## Part\n\nWords.\n\n# Next\n\n## End\n", "markdown")
    assert chunks == [
        Chunk("# Title\n\n## Part\n\nWords.", ("Title", "Part")),
        Chunk("# Next\n\n## End", ("Next", "End")),
    ]


def test_headings_need_no_blank_lines_and_may_be_underlined():
    chunks = Chunker().split("# A\nunder a\nTitle B\n=======\nunder b\n## C\nunder c\n", "markdown")
    assert [(chunk.text, chunk.headings) for chunk in chunks] == [
        ("# A\nunder a", ("A",)),
        ("Title B\n=======\nunder b", ("Title B",)),
        ("## C\nunder c", ("Title B", "C")),
    ]


def test_a_fence_stays_whole_and_its_comments_are_no_headings():
    text = "# A\n\nWords.\n\n```sh\n# not a heading\n\nrun\n```\n\n## B\n\nEnd.\n"
    chunks = Chunker().split(text, "markdown")
    assert any("```sh\n# not a heading\n\nrun\n```" in chunk.text for chunk in chunks)
    assert {chunk.headings for chunk in chunks} == {("A",), ("A", "B")}


def test_a_fence_that_is_never_closed_reaches_to_the_end():
    chunks = Chunker().split("# A\n\n```\n# x\n\n# y\n", "markdown")
    assert [chunk.headings for chunk in chunks] == [("A",)]


CODE = "\n\n".join(f"def f{number}():\n    # {'-' * 20}\n    return {number}" for number in range(8))


def fenced(before: str, indent: str, mark: str = "```") -> str:
    lines = f"{mark}python\n{CODE}\n{mark}".split("\n")
    return before + "\n".join(indent + line if line else line for line in lines) + "\n"


@pytest.mark.parametrize(
    ("before", "indent"),
    [
        ("- a\n\n", "  "),
        ("- a\n  - b\n\n", "    "),
        ("- a\n  - b\n", "    "),
        ("1. a\n   1. b\n\n", "      "),
        ("10. a\n\n    more\n\n", "    "),
        ("- a\n\n  1. b\n\n     - c\n\n       words\n\n", "       "),
        ("* a\n\t* b\n\n", "\t\t"),
    ],
)
@pytest.mark.parametrize("mark", ["```", "~~~~"])
def test_a_fence_in_a_list_item_stays_whole_however_deep_it_is(before, indent, mark):
    fence = fenced("", indent, mark).strip("\n")
    text = f"# A\n\n{before}{fence}\n\nWords behind it.\n\n# B\n\nEnd.\n"
    chunks = Chunker(len(text)).split(text, "markdown")
    assert any(fence.lstrip() in chunk.text for chunk in chunks)
    assert chunks[-1] == Chunk("# B\n\nEnd.", ("B",))


def test_a_fence_that_begins_beside_the_mark_of_its_item_ends_where_it_is_closed():
    chunks = Chunker().split("# A\n\n- ```sh\n  # no heading\n\n  run\n  ```\n- b\n\n# B\n\nEnd.\n", "markdown")
    assert chunks[-1] == Chunk("# B\n\nEnd.", ("B",))
    assert {chunk.headings for chunk in chunks} == {("A",), ("B",)}


def test_a_fence_that_is_not_closed_ends_with_its_item():
    chunks = Chunker().split("# A\n\n- a\n  - b\n\n    ```\n    x\n\nWords.\n\n# B\n\nEnd.\n", "markdown")
    assert chunks[-1] == Chunk("# B\n\nEnd.", ("B",))


@pytest.mark.parametrize("before", ["Words.\n\n", "- a\n\nWords, and the list is over.\n\n", "***\n\n- - -\n\n"])
def test_four_spaces_without_an_item_make_code_in_which_a_fence_is_none(before):
    text = before + "    ```\n    x\n\n# B\n\nEnd.\n"
    assert Chunker().split(text, "markdown")[-1] == Chunk("# B\n\nEnd.", ("B",))


def test_items_within_items_take_no_more_than_linear_time():
    for line in ("- " * 200_000 + "```\n", "1. a\n" + "\t" * 200_000 + "```\n", " " * 500_000 + "```\n"):
        assert Chunker().split(line, "markdown")


def test_plain_text_has_no_headings():
    assert {chunk.headings for chunk in Chunker().split("# A\n\nWords.\n\n# B\n", "text")} == {()}


def test_long_code_is_cut_at_blank_lines_before_it_is_cut_at_lines():
    functions = [f"def f{n}():\n    return {n}\n    # {'-' * 40}" for n in range(40)]
    text = "```python\n" + "\n\n".join(functions) + "\n```\n"
    for chunk in Chunker(400).split(text, "markdown"):
        assert chunk.text.startswith(("```python", "def f"))


def test_a_line_without_any_joint_is_cut_within_the_limit_and_in_bounded_time():
    # The splitter alone takes quadratic time on such a text: minutes for this one.
    chunks = Chunker(1000).split("x" * 3_000_000 + "\n", "text")
    assert sum(len(chunk.text) for chunk in chunks) == 3_000_000
    assert max(len(chunk.text) for chunk in chunks) <= 1000


def test_an_overlap_repeats_whole_words_of_the_chunk_before_under_the_same_heading():
    random_ = random.Random(2)
    text = "\n\n".join(paragraph(random_, 200, 300) for _ in range(12)) + "\n\n# New\n\nStart.\n"
    chunks = Chunker(400, 50).split(text, "markdown")
    assert chunks[-1].text == "# New\n\nStart."
    for before, after in pairwise(chunks[:-1]):
        repeated = after.text.partition("\n\n")[0]
        assert 10 <= len(repeated) <= 50
        assert before.text.endswith(" " + repeated)


@pytest.mark.parametrize("text", ["", "\n", "   \n\n \n"])
def test_a_text_without_words_has_no_chunks(text):
    assert Chunker().split(normalise_text(text), "markdown") == []


def test_every_setting_is_in_the_fingerprint():
    assert len({fingerprint(chunking_settings(*pair)) for pair in ((1200, 0), (1200, 10), (600, 0))}) == 3


def test_the_chunks_of_a_known_text_have_not_changed_since_this_version():
    # If this fails, every user's documents are chunked anew: raise CHUNKER_VERSION, so that plans say so.
    random_ = random.Random(11)
    text = "# T\n\n" + "\n\n".join(paragraph(random_, 50, 1500) for _ in range(40)) + "\n\n" + "z" * 4000 + "\n"
    text += (
        fenced("# Code\n\n- a\n  - b\n\n", "    ") + "\n```\nopen\n\n" + fenced("", "") + "\n- a\n\n" + "    z" * 500
    )
    assert CHUNKER_VERSION == 2
    assert fingerprint([[chunk.text, chunk.headings] for chunk in Chunker().split(text, "markdown")]) == KNOWN


KNOWN = "69d94cde44a23d22"
