"""`--target`: whether the documents that it names are there, and what else could have been meant."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from qloader.documents.document import SKIP_REASONS
from qloader.errors import ConfigError
from qloader.manifest.cache import Cache
from qloader.workspace.settings import Settings

_NEIGHBOURS = 500
"""Ids before and after the one that was typed, among which a slip is looked for: a source may hold millions."""

_DOCUMENTS = "FROM entry WHERE source = ? AND content IS NOT NULL"


def check_targets(settings: Settings, cache: Cache, targets: Iterable[str], sources: Iterable[str]) -> None:
    """Refuses a target that neither a source nor the index has.

    Args:
        settings: The config and what follows from it.
        cache: What the sources hold, their snapshots taken.
        targets: Addresses.
        sources: The sources that are planned, and those that the config no longer names.

    Raises:
        ConfigError: Names what is unknown, and what could have been meant.
    """
    names = sorted(set(sources))
    state = settings.read_state(is_fresh=True)
    with state or contextlib.nullcontext():
        for target in targets:
            source, _, document_id = target.partition("/")
            row = cache.connection.execute(
                "SELECT skip FROM entry WHERE source = ? AND id = ?", (source, document_id)
            ).fetchone()
            if row == (None,) or (state is not None and state.holds(source, document_id)):
                continue
            if row is not None:
                raise ConfigError(
                    f"--target {target} is no document: it {SKIP_REASONS[row[0]]}",
                    remedy="Nothing was changed.",
                )
            raise ConfigError(
                f"--target {target}: neither a source nor the index has such a document",
                remedy=_hint(cache, target, names),
            )


def _hint(cache: Cache, target: str, names: list[str]) -> str:
    if target.rstrip("/") in names:
        return f"A whole source is planned with --source {target.rstrip('/')}."
    near = _near(cache, target, names)
    return f"Did you mean {near}?" if near else f"An address is source/id; the sources are: {', '.join(names)}."


def _near(cache: Cache, target: str, names: list[str]) -> str | None:
    """An address like the one that was typed, also where its source or its first folders are missing or misspelt."""
    source, _, rest = target.partition("/")
    is_known = source in names
    texts = (rest,) if is_known else (target, rest)
    searched = [(name, text) for name in ([source] if is_known else names) for text in texts]
    ends = [address for name, text in searched for address in _ending(cache, name, text)]
    if ends:
        return min(ends)
    found = [address for name, text in searched for address in _neighbours(cache, name, text)]
    return next(iter(get_close_matches(target, found, 1)), None)


def _ending(cache: Cache, source: str, end: str) -> Iterator[str]:
    if end:
        sql = f"SELECT id {_DOCUMENTS} AND (id = ? OR substr(id, -?) = ?) ORDER BY id LIMIT 1"
        for (found,) in cache.connection.execute(sql, (source, end, len(end) + 1, f"/{end}")):
            yield f"{source}/{found}"


def _neighbours(cache: Cache, source: str, document_id: str) -> Iterator[str]:
    for half in (f"id >= ? ORDER BY id LIMIT {_NEIGHBOURS}", f"id < ? ORDER BY id DESC LIMIT {_NEIGHBOURS}"):
        for (found,) in cache.connection.execute(f"SELECT id {_DOCUMENTS} AND {half}", (source, document_id)):
            yield f"{source}/{found}"
