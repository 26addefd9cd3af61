import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloader.documents.normalise import normalise_text

MESSY = st.text(alphabet=st.sampled_from("ab \t\n\r\x0c\x00\ufeff\u0301eé\u212b\u2000"), max_size=40)


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("", ""),
        ("a", "a\n"),
        ("a\n", "a\n"),
        ("a\n\n\n", "a\n"),
        ("a \t\n", "a\n"),
        ("a\n \t", "a\n"),
        (" \t\n\r\n", ""),
        ("\n", ""),
        ("\ufeffa", "a\n"),
        ("a\ufeffb", "a\ufeffb\n"),
        ("a\r\nb\rc\n", "a\nb\nc\n"),
        ("a  \r\nb", "a\nb\n"),
        ("a\x0cb", "a\nb\n"),
        ("a\x00b\x00", "ab\n"),
        ("e\u0301", "é\n"),
        ("  indented\n\n\nblank lines within stay\n", "  indented\n\n\nblank lines within stay\n"),
        ("\n\nleading blank lines stay", "\n\nleading blank lines stay\n"),
        ("no-break\u00a0\n", "no-break\u00a0\n"),
    ],
)
def test_each_rule_of_the_normal_form(raw, normal):
    assert normalise_text(raw) == normal


@given(st.one_of(st.text(), MESSY))
def test_normalising_twice_is_normalising_once(raw):
    once = normalise_text(raw)
    assert normalise_text(once) == once


@given(st.one_of(st.text(), MESSY))
def test_the_normal_form_holds_what_the_docstring_says(raw):
    text = normalise_text(raw)
    assert unicodedata.is_normalized("NFC", text)
    assert not {"\x00", "\r", "\x0c"} & set(text)
    assert not text.startswith("\ufeff")
    assert all(line == line.rstrip(" \t") for line in text.split("\n"))
    assert text == "" or (text.endswith("\n") and not text.endswith("\n\n"))


@given(MESSY)
def test_line_ends_and_byte_order_marks_make_no_difference(raw):
    unix = raw.replace("\r\n", "\n").replace("\r", "\n")
    assert normalise_text(unix.replace("\n", "\r\n")) == normalise_text(unix)
    assert normalise_text("\ufeff" + raw) == normalise_text(raw)


def test_a_megabyte_of_spaces_takes_no_quadratic_time():
    raw = ("x" + " " * 1_000_000 + "y \n") * 3
    start = time.process_time()
    normalise_text(raw)
    assert time.process_time() - start < 2  # the quadratic way takes hours
