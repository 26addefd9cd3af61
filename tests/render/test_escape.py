"""Nothing that others wrote acts on a terminal, hides, or poses as a line of ours."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qloader.render.escape import escape_controls, escape_message, escape_prose

ANYTHING = st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF, categories=None))
FORMAT = st.text(st.sampled_from("a\n\t\r\x1b\x9b\u200d\u200c\ufe0f\u202e\u2028\U0001f468\u2764\ud800 3\u20e3"))


def hidden(text: str) -> list[str]:
    """Characters that a reader would not see, joiners aside."""
    kinds = {"Cc", "Cs", "Zl", "Zp"}
    bidi = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    return [c for c in text if unicodedata.category(c) in kinds or c in bidi]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", r"\x1b[31m"),
        ("\x07\x7f\x9b", r"\x07\x7f\x9b"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("\u202eevil", r"\u202eevil"),
        ("\u2066a\u2069", r"\u2066a\u2069"),
        ("a\u200bb\u2060c\ufeff", r"a\u200bb\u2060c\ufeff"),
        ("a\u2028b\u2029c\x85", r"a\u2028b\u2029c\x85"),
        ("\udc80", r"\udc80"),
        ("\U000e0041\U000e0100", r"\U000e0041\U000e0100"),
        ("a\u200db", r"a\u200db"),
        ("a\ufe0f", r"a\ufe0f"),
        ("so\xadft", r"so\xadft"),
        ("\u3164", r"\u3164"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text: str, shown: str) -> None:
    assert escape_controls(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "docs/intro.md",
        "日本/語.md",
        "ünï\u0301 שלום سلام",
        "C:\\x1b",
        "a b\u00a0c",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\u2764\ufe0f\u200d\U0001f525",
        "3\ufe0f\u20e3",
    ],
)
def test_what_can_be_seen_stays_as_it_is(text: str) -> None:
    assert escape_controls(text) == text


@settings(deadline=None)
@given(ANYTHING | FORMAT)
def test_an_escaped_name_is_one_line_without_anything_hidden_and_can_be_encoded(text: str) -> None:
    shown = escape_controls(text)
    assert hidden(shown) == []
    assert len(shown.splitlines()) <= 1
    shown.encode()


@settings(deadline=None)
@given(ANYTHING | FORMAT)
def test_escaping_twice_is_escaping_once(text: str) -> None:
    assert escape_controls(escape_controls(text)) == escape_controls(text)


def test_a_message_keeps_its_lines() -> None:
    message = "refused by a guard, nothing was changed:\n  9 of 10 documents of docs\x1b would be deleted"
    assert escape_message(message) == message.replace("\x1b", r"\x1b")


def test_a_newline_in_a_name_cannot_pose_as_a_line_of_ours() -> None:
    shown = escape_message("there is no document a\nApply complete: 1 created.")
    assert shown == "there is no document a\n  Apply complete: 1 created."


@settings(deadline=None)
@given(ANYTHING | FORMAT)
def test_only_the_first_line_of_a_message_begins_at_the_margin(text: str) -> None:
    first, *others = escape_message(text).split("\n")
    assert all(not line or line.startswith("  ") for line in others)
    assert [c for line in (first, *others) for c in hidden(line) if c != "\t"] == []


def test_prose_comes_on_one_line_and_what_only_helps_typesetting_goes() -> None:
    assert escape_prose("  One\n\n two\u00a0three so\xadft\u200b \x1b[0m\u202e") == r"One two three soft \x1b[0m\u202e"


@pytest.mark.parametrize("word", ["می\u200cخواهم", "क्\u200dष", "\U0001f469\u200d\U0001f4bb", "1\ufe0f\u20e3"])
def test_prose_keeps_the_joiners_that_words_are_spelt_with(word: str) -> None:
    assert escape_prose(word) == word


@settings(deadline=None)
@given(ANYTHING | FORMAT)
def test_prose_never_holds_what_acts_on_a_terminal(text: str) -> None:
    shown = escape_prose(text)
    assert hidden(shown) == []
    shown.encode()
