"""From the bytes of a page to its text, whatever they say to be and are."""

from __future__ import annotations

import codecs
import re

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_META = re.compile(rb"""<meta\s[^>]*?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{2,40})""", re.IGNORECASE)
_XML = re.compile(rb"""^\s*<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z0-9_:.-]{2,40})["']""")
_HEADER = re.compile(r"""charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{2,40})""", re.IGNORECASE)
_WINDOW = 4_096
_GUESSED_FROM = 256 * 1024
_WIDER = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "iso8859-9": "cp1254",
    "tis-620": "cp874",
}
"""What browsers read these as: a superset that pages really use (encoding.spec.whatwg.org)."""

_SEVEN_BIT = ("iso2022_jp", "hz")
"""Encodings that look like ASCII, so that being valid UTF-8 says nothing against them."""


def decode_page(data: bytes, content_type: str) -> str:
    """The text of a page. Never fails: what cannot be read becomes U+FFFD.

    A byte order mark wins. Then valid UTF-8 is UTF-8: a server that labels all it has as Latin-1 is more common than
    text of another encoding that happens to be valid. Then counts what HTTP, the page or its XML declaration says;
    where nobody says anything, a guess.

    Args:
        data: The bytes.
        content_type: The header, with its parameters.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    declared = _declared(data, content_type)
    if declared in _SEVEN_BIT or (declared is not None and declared.startswith("utf-16")):
        return data.decode(declared, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        if declared is not None:
            return data.decode(declared, "replace")
        return data.decode(_guess(data), "replace")


def _declared(data: bytes, content_type: str) -> str | None:
    header = _HEADER.search(content_type)
    names = [header[1]] if header else []
    head = data[:_WINDOW]
    names += [found[1].decode("ascii") for found in (_META.search(head), _XML.match(head)) if found]
    for name in names:
        try:
            known = codecs.lookup(
                {"x-sjis": "shift_jis", "x-gbk": "gbk", "windows-949": "cp949"}.get(name.lower(), name)
            )
        except LookupError:
            continue
        # UTF-7 is a way around filters; and what Python calls text encodings includes rot13.
        if known.name != "utf-7" and getattr(known, "_is_text_encoding", True):
            return _WIDER.get(known.name, known.name)
    return None


def _guess(data: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(data[:_GUESSED_FROM]).best()
    return _WIDER.get(best.encoding, best.encoding) if best is not None else "cp1252"
