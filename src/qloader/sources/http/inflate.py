"""Decompression that never grows past a bound, however little was sent."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

PIECE = 64 * 1024
"""Bytes that are decompressed at a time, at most."""


class TooMuchError(Exception):
    """The content is larger than the bound."""


class BrokenDataError(Exception):
    """The data is not what it says to be, or ends too early."""


def inflate(chunks: Iterable[bytes], encoding: str, limit: int) -> Iterator[bytes]:
    """Decodes what `Content-Encoding` names, piece by piece.

    Args:
        chunks: The bytes as sent.
        encoding: `gzip`, `deflate`, or empty for bytes as they are.
        limit: How many bytes may come out.

    Raises:
        TooMuchError: More would come out.
        BrokenDataError: The data is broken or cut off, or the encoding is another.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        pieces: Iterator[bytes] = iter(chunks)
    elif name in ("gzip", "x-gzip"):
        pieces = _gzip(chunks)
    elif name == "deflate":
        pieces = _deflate(chunks)
    else:
        raise BrokenDataError(f"the encoding {name[:40]!r}, which nobody asked for")
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > limit:
            yield piece[: len(piece) - (total - limit)]
            raise TooMuchError
        yield piece


def _gzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """All members of a gzip stream; zeros behind the last one are padding."""
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    begun = False
    for chunk in chunks:
        data = chunk
        while data:
            if decoder.eof:
                data = data.lstrip(b"\0")
                if not data:
                    break
                decoder, begun = zlib.decompressobj(zlib.MAX_WBITS | 16), False
            begun = True
            yield from _pieces(decoder, data)
            data = decoder.unused_data
    if begun and not decoder.eof:
        raise BrokenDataError("compressed data that ends too early")


def _deflate(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Deflate with a zlib header, as the standard wants it, or without, as some servers send it."""
    decoder = None
    for chunk in chunks:
        if not chunk:
            continue
        if decoder is None:
            decoder = zlib.decompressobj(zlib.MAX_WBITS if chunk[0] & 0x0F == 8 else -zlib.MAX_WBITS)
        yield from _pieces(decoder, chunk)
    if decoder is not None and not decoder.eof:
        raise BrokenDataError("compressed data that ends too early")


def _pieces(decoder: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    try:
        while data:
            piece = decoder.decompress(data, PIECE)
            if piece:
                yield piece
            data = decoder.unconsumed_tail
            if decoder.eof:
                return
    except zlib.error as error:
        raise BrokenDataError("broken compressed data") from error
