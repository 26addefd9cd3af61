"""What a source remembers of its pages: validators for conditional requests, and the documents that they vouch for.

A file of SQLite's in the cache folder. It may be deleted at any time; then every page is asked for without condition.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from qloader.documents.document import Document
from qloader.errors import SourceError

_VERSION = 3
_SCHEMA = """
CREATE TABLE known (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE page (
    key      TEXT PRIMARY KEY,
    url      TEXT NOT NULL,
    etag     TEXT NOT NULL,
    modified TEXT NOT NULL,
    kind     TEXT NOT NULL,
    target   TEXT NOT NULL,
    leads_to TEXT NOT NULL,
    noindex  INTEGER NOT NULL,
    token    TEXT NOT NULL,
    document BLOB NOT NULL,
    links    TEXT NOT NULL,
    size     INTEGER NOT NULL,
    listed   INTEGER NOT NULL DEFAULT 0,
    checked  INTEGER NOT NULL
);
"""
_FORGET_AFTER = 7 * 86_400
"""Seconds after which a page that no listing found again is forgotten. Not at once: another process may be at it."""

DOCUMENT, ALIAS, SKIP = "document", "alias", "skip"


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one page.

    Attributes:
        key: Its id.
        url: The address that answered.
        etag: Its `ETag`, or empty.
        modified: Its `Last-Modified`, or empty.
        kind: `document`; `alias`, which leads to the page `target`; or `skip`, which is no document.
        target: The id of the page that this is another address of; empty for a page of its own.
        leads_to: The address of that page, as this one names it.
        noindex: Whether the headers, which may change without the page, keep it out of an index.
        token: A document's change token. For a skip: the reason, or empty where it is not selected.
        document: The document as JSON values. For a skip: `{"detail": …}`.
        links: The pages that it links to.
        size: Bytes that were read of it.
    """

    key: str
    url: str
    etag: str = ""
    modified: str = ""
    kind: str = DOCUMENT
    target: str = ""
    leads_to: str = ""
    noindex: bool = False
    token: str = ""
    document: dict[str, Any] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    size: int = 0

    @property
    def validators(self) -> dict[str, str]:
        """The headers that make a request conditional."""
        headers = {"if-none-match": self.etag, "if-modified-since": self.modified}
        return {name: value for name, value in headers.items() if value}

    def as_skip(self, reason: str, detail: str) -> Row:
        """The same page as no document, for a reason of `SKIP_REASONS`."""
        return replace(self, kind=SKIP, target="", leads_to="", token=reason, document={"detail": detail})


def unusable(name: str, error: Exception) -> SourceError:
    """For a file that cannot be opened, read or written."""
    return SourceError(
        f"What is known of the pages cannot be kept in {name}: {error}.",
        remedy="Check the cache folder (QLOADER_HOME); it may be deleted at any time.",
    )


class PageStore:
    """The pages of one source. Used by one thread; other processes may have it open too."""

    def __init__(self, path: Path, extraction: str) -> None:
        """Opens the file, or makes it.

        Args:
            path: The file.
            extraction: What decides how pages are read; pages that were read otherwise are forgotten.

        Raises:
            SourceError: It can neither be opened nor made.
        """
        self._path = path
        self._extraction = extraction
        self._met: dict[str, bool] = {}
        try:
            try:
                self._connection = self._open()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                path.unlink()  # damaged: only speed is lost
                self._connection = self._open()
        except (OSError, sqlite3.Error) as error:
            raise unusable(path.name, error) from error

    def row(self, key: str) -> Row | None:
        """What is known of a page."""
        found = self._connection.execute(
            "SELECT key, url, etag, modified, kind, target, leads_to, noindex, token, document, links, size "
            "FROM page WHERE key = ?",
            (key,),
        ).fetchone()
        if found is None:
            return None
        key, url, etag, modified, kind, target, leads_to, noindex, token, document, links, size = found
        return Row(
            key=key,
            url=url,
            etag=etag,
            modified=modified,
            kind=kind,
            target=target,
            leads_to=leads_to,
            noindex=bool(noindex),
            token=token,
            document=orjson.loads(document),
            links=tuple(links.split("\n")) if links else (),
            size=size,
        )

    def document(self, key: str) -> Document | None:
        """The document of a page as it was read last."""
        row = self.row(key)
        return Document(**row.document) if row is not None and row.kind == DOCUMENT else None

    def listed(self) -> Iterator[tuple[str, str]]:
        """Id and address of all documents of the last listing."""
        yield from self._connection.execute("SELECT key, url FROM page WHERE listed ORDER BY key")

    def begin(self, *, reread: bool = False) -> None:
        """Begins a pass over the site. What it saves stays, however it ends.

        Args:
            reread: Forget by what a page could be asked for on condition.
        """
        self._met.clear()
        if reread:
            self._connection.execute("UPDATE page SET etag = '', modified = ''")

    def save(self, row: Row, *, counts: bool) -> None:
        """Replaces what is known of a page.

        Args:
            row: What is known now.
            counts: Whether it is one of those that this pass lists, if it is a document.
        """
        self._connection.execute(
            "INSERT INTO page (key, url, etag, modified, kind, target, leads_to, noindex, token, document, links, "
            "size, checked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
            "url = excluded.url, etag = excluded.etag, modified = excluded.modified, kind = excluded.kind, "
            "target = excluded.target, leads_to = excluded.leads_to, noindex = excluded.noindex, "
            "token = excluded.token, document = excluded.document, links = excluded.links, size = excluded.size, "
            "checked = excluded.checked",
            (
                row.key,
                row.url,
                row.etag,
                row.modified,
                row.kind,
                row.target,
                row.leads_to,
                row.noindex,
                row.token,
                orjson.dumps(row.document),
                "\n".join(row.links),
                row.size,
                int(time.time()),
            ),
        )
        self._met[row.key] = counts

    def keep(self, key: str, *, counts: bool) -> None:
        """Notes that a page is as it was; `counts` as for `save`."""
        self._met[key] = counts

    def forget(self, key: str) -> None:
        """Drops a page that is gone."""
        self._connection.execute("DELETE FROM page WHERE key = ?", (key,))

    def finish(self, *, complete: bool) -> Iterator[tuple[str, str]]:
        """Ends a pass; yields id and token of each document that it found, in the order of ids.

        A page that names another as its canonical address is none, if that other one is a document itself.

        Args:
            complete: Whether what was not seen is gone.
        """
        run, now = self._connection.execute, int(time.time())
        run("DROP TABLE IF EXISTS temp.met")
        run("DROP TABLE IF EXISTS temp.found")
        run("CREATE TEMP TABLE met (key TEXT PRIMARY KEY, counts INTEGER) WITHOUT ROWID")
        run("CREATE TEMP TABLE found (key TEXT PRIMARY KEY, token TEXT) WITHOUT ROWID")
        run("BEGIN IMMEDIATE")
        try:
            self._settle(now, complete=complete)
        except BaseException:
            run("ROLLBACK")
            raise
        run("COMMIT")
        yield from self._connection.execute("SELECT key, token FROM temp.found ORDER BY key")

    def _settle(self, now: int, *, complete: bool) -> None:
        """What was met and is a document becomes what was listed last."""
        run = self._connection.execute
        self._connection.executemany("INSERT INTO temp.met VALUES (?, ?)", self._met.items())
        seen = "SELECT key FROM temp.met WHERE counts"
        run(
            f"INSERT INTO temp.found SELECT key, token FROM page p WHERE key IN ({seen}) AND kind = '{DOCUMENT}' "
            f"AND NOT (target <> '' AND EXISTS (SELECT 1 FROM page t WHERE t.key = p.target AND t.kind = '{DOCUMENT}' "
            f"AND t.target = '' AND t.key IN ({seen})))"
        )
        run("UPDATE page SET checked = ? WHERE key IN (SELECT key FROM temp.met)", (now,))
        run(
            f"UPDATE page SET listed = key IN (SELECT key FROM temp.found) WHERE key IN ({seen}) OR ?",
            (complete,),
        )
        if complete:
            run("DELETE FROM page WHERE key NOT IN (SELECT key FROM temp.met) AND checked < ?", (now - _FORGET_AFTER,))

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        # Used by one thread, but closed by whichever one meets the end of the source.
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                for table in ("known", "page"):
                    connection.execute(f"DROP TABLE IF EXISTS {table}")
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
            found = connection.execute("SELECT value FROM known WHERE name = 'extraction'").fetchone()
            if found is None or found[0] != self._extraction:
                connection.execute("UPDATE page SET etag = '', modified = '', url = ''")
                connection.execute("INSERT OR REPLACE INTO known VALUES ('extraction', ?)", (self._extraction,))
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection
