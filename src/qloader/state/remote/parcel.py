"""The state as one object: a line that says what it is, then the SQLite file, compressed.

    qloader-state
    {"format": 1, "write": "<uuid>", "lineage": "...", "serial": 7, "length": 51200, "sha256": "...", ...}
    <gzip>

`length` and `sha256` are those of the compressed part, so that an object that was cut short is told from a whole one
without trust in the store. `write` names the put: whoever gets no answer to one looks whether the object is its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qloader.errors import StateError, StateVersionError
from qloader.state import database
from qloader.state.migrate import latest_version, schema_version
from qloader.state.records import REMOTE_NOTES

_MAGIC = b"qloader-state\n"
_FORMAT = 1
_LONGEST_HEADER = 1 << 16
_BLOCK = 1 << 20
PACKING = ".packing."
"""How files begin that are on their way into an object."""

_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 1
"""Hashes do not shrink: of 200,000 documents 48 MB become 22.1 MB in 0.40 s, by level 6 21.8 MB in 0.61 s."""


@dataclass(frozen=True, slots=True)
class Label:
    """What an object says of the state in it, before that is unpacked.

    Attributes:
        write: Names the put.
        lineage: The state's lineage; None where nothing was ever applied.
        serial: Its serial.
        schema: Its schema version.
        length: Bytes of the compressed part.
        sha256: Their hash.
    """

    write: str
    lineage: str | None
    serial: int
    schema: int
    length: int
    sha256: str


def pack(connection: sqlite3.Connection, folder: Path) -> tuple[Label, bytes]:
    """An open state as an object.

    Args:
        connection: The state, in no transaction.
        folder: Where there is room for a copy meanwhile.

    Raises:
        StateError: There is no room.
    """
    copy = folder / f"{PACKING}{uuid.uuid4().hex}"
    with database.translated(copy), _removed(copy):
        os.close(os.open(copy, os.O_CREAT | os.O_EXCL, 0o600))
        connection.execute("VACUUM INTO ?", (str(copy),))
        with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as whole:
            # Whose the state is here, and what it is a copy of, is nobody else's concern.
            whole.execute("DELETE FROM lease")
            whole.execute(f"DELETE FROM meta WHERE key LIKE '{REMOTE_NOTES}%'")
            meta = dict(whole.execute("SELECT key, value FROM meta"))
            schema = schema_version(whole)
        squeezer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        parts = []
        with copy.open("rb") as file:
            while block := file.read(_BLOCK):
                parts.append(squeezer.compress(block))
        parts.append(squeezer.flush())
    body = b"".join(parts)
    label = Label(
        str(uuid.uuid4()),
        meta.get("lineage"),
        int(meta.get("serial", "0")),
        schema,
        len(body),
        hashlib.sha256(body).hexdigest(),
    )
    facts = {"format": _FORMAT, **{key: getattr(label, key) for key in label.__slots__}}
    return label, b"".join((_MAGIC, json.dumps(facts).encode(), b"\n", body))


def read_label(chunks: Iterator[bytes], url: str) -> tuple[Label, bytes]:
    """What an object says of itself, and the bytes behind that which came along.

    Raises:
        StateError: It is no state.
        StateVersionError: A newer qloader wrote it.
    """
    text = b""
    for chunk in chunks:
        text += chunk
        if text.count(b"\n") > 1 or len(text) > _LONGEST_HEADER:
            break
    head, _, rest = text.removeprefix(_MAGIC).partition(b"\n")
    try:
        facts = json.loads(head) if text.startswith(_MAGIC) else None
    except ValueError:
        facts = None
    if not isinstance(facts, dict) or facts.get("format") is None:
        if text and _MAGIC.startswith(text[: len(_MAGIC)]):
            raise _cut_short(url)
        raise StateError(
            f"the object {url} is no state of qloader",
            remedy="Set state.url to a place of this state's own.",
        )
    if facts["format"] != _FORMAT or facts.get("schema", 0) > latest_version():
        raise StateVersionError(
            f"the state {url} was written by a newer qloader (format {facts['format']}, schema version "
            f"{facts.get('schema')})",
            remedy="Upgrade qloader.",
        )
    return Label(**{key: facts[key] for key in Label.__slots__}), rest


def unpack(label: Label, rest: bytes, chunks: Iterator[bytes], file: Path, url: str) -> None:
    """Writes the SQLite file of an object.

    Args:
        label: As `read_label` says.
        rest: As `read_label` says.
        chunks: What it left.
        file: The new file.
        url: Where the object is, for errors.

    Raises:
        StateError: The object is cut short or damaged, or there is no room.
    """
    digest, length = hashlib.sha256(), 0
    opener = zlib.decompressobj(_GZIP)
    with database.translated(file), os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
        try:
            for chunk in _with_first(rest, chunks):
                digest.update(chunk)
                length += len(chunk)
                out.write(opener.decompress(chunk))
            out.write(opener.flush())
        except zlib.error:
            raise _damaged(url) from None
        out.flush()
        os.fsync(out.fileno())
    if length < label.length:
        raise _cut_short(url)
    if length != label.length or digest.hexdigest() != label.sha256 or not opener.eof:
        raise _damaged(url)


def _with_first(first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from chunks


def _cut_short(url: str) -> StateError:
    return StateError(
        f"the object {url} is cut short; nothing was taken from it",
        remedy=_REMEDY,
    )


def _damaged(url: str) -> StateError:
    return StateError(
        f"the object {url} is damaged: it is not what its own checksum says",
        remedy=_REMEDY,
    )


_REMEDY = (
    "Run the command again; if it stays so, copy the newest whole object of those under `.versions/` beside it in its "
    "place, and plan with --refresh."
)


@contextlib.contextmanager
def _removed(*paths: Any) -> Iterator[None]:
    try:
        yield
    finally:
        for path in paths:
            path.unlink(missing_ok=True)
