"""The normal form of a text: what every content hash rests on."""

from __future__ import annotations

import unicodedata

NORMALISATION = 1
"""The version of the rules below. A change of the rules is a change of this number, and re-reads everything."""

_BOM = "\ufeff"
_BLANK = " \t\n"


def normalise_text(raw: str) -> str:
    r"""Brings a text into the form that is hashed, chunked and stored.

    The rules, in this order (`NORMALISATION` is their version):

    1. U+0000 is removed: it never reaches a database, a payload or a terminal.
    2. Byte order marks (U+FEFF) at the start are removed; one within the text stays.
    3. `\r\n`, a lone `\r` and a form feed (U+000C) become `\n`.
    4. Unicode is composed: normalisation form C.
    5. Spaces and tabs at the end of each line are removed (so a Markdown hard break written as two
       spaces reads as a plain line end).
    6. Blank lines at the end are removed; the text ends with exactly one `\n`, or is empty.

    Nothing else changes: not the case, not blank lines within, not indentation, no other white space.
    Normalising twice is normalising once.

    Args:
        raw: Text decoded strictly; it holds no lone surrogates.
    """
    # Each step looks before it copies: nearly all texts are normal already, and then nothing is copied.
    text = raw
    if "\x00" in text:
        text = text.replace("\x00", "")
    if text.startswith(_BOM):
        text = text.lstrip(_BOM)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\x0c" in text:
        text = text.replace("\x0c", "\n")
    if not text.isascii() and not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    if " \n" in text or ("\t" in text and "\t\n" in text):
        # Not a regular expression: `[ \t]+\n` takes quadratic time on a long run of spaces.
        text = "\n".join([line.rstrip(" \t") for line in text.split("\n")])
    if text.endswith("\n") and text[-2:-1] not in ("", "\n", " ", "\t"):
        return text
    stripped = text.rstrip(_BLANK)
    return stripped + "\n" if stripped else ""
