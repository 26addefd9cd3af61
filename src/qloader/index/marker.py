"""Whose an embedded index is: a small file beside the engine's folder, read without the engine.

`plan` compares it with the state. It is written last when a collection is created and replaced whole,
so that a reader sees the old facts or the new ones, never half of them. The same holds for the pointer file,
`<collection>.target.json`, which says which collection a name stands for once it was replaced by another.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from qloader.errors import ForeignIndexError, IndexUnavailableError
from qloader.index.protocol import is_relative

FORMAT = "qloader.index/1"
MARKER = "qloader.json"
POINTER_FORMAT = "qloader.pointer/1"
POINTER = ".target.json"
"""What a pointer file is called, after the collection that stands for another."""
SHARD = "shard"
_LOG_FILE = re.compile(r"(open|closed)-\d+")
_LOG_BEGINS = b"wal"


@dataclass(frozen=True, slots=True)
class Marker:
    """What an embedded index says of itself.

    Attributes:
        collection: The collection's name.
        lineage: The lineage of the state that owns it.
        pipeline: The pipeline fingerprint that it was filled with.
    """

    collection: str
    lineage: str
    pipeline: str


def collection_folder(path: Path, collection: str) -> Path:
    """The folder of one collection below an index's path.

    Raises:
        IndexUnavailableError: The name is no name of a folder, so that it would lead elsewhere.
    """
    if collection in ("", ".", "..") or any(char in collection for char in "/\\\0"):
        raise IndexUnavailableError(
            f"{collection!r} cannot be the name of an embedded collection",
            remedy="Choose a name without slashes in index.collection.",
        )
    return path / collection


def find_target(path: Path, collection: str) -> str:
    """The collection that a name stands for: the one that its pointer file names, else the one of that name.

    Raises:
        ForeignIndexError: The file is no pointer.
        IndexUnavailableError: The file cannot be read, or the name cannot be one.
    """
    file = _pointer(path, collection)
    with os_errors(f"the embedded index {path} cannot be read"):
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return collection
    try:
        facts = json.loads(text)
        if facts["format"] == POINTER_FORMAT and is_relative(str(facts["target"]), collection):
            return str(facts["target"])
    except (ValueError, KeyError, TypeError):
        pass
    raise ForeignIndexError(
        f"{file} is damaged, or by a newer qloader: it does not say which collection {collection} stands for",
        remedy="Restore it from a backup. Or delete it and run the command again, which writes it anew or says how.",
    )


def write_target(path: Path, collection: str, target: str) -> None:
    """Lets a name stand for another collection; whoever reads it finds the old one or the new one.

    Raises:
        IndexUnavailableError: It cannot be written.
    """
    file = _pointer(path, collection)
    _write_whole(file, {"format": POINTER_FORMAT, "target": target})


def remove_target(path: Path, collection: str) -> None:
    """Lets a name stand for nothing but a collection of that very name.

    Raises:
        IndexUnavailableError: The pointer file cannot be removed.
    """
    file = _pointer(path, collection)
    with os_errors(f"the embedded index {path} cannot be written"):
        file.unlink(missing_ok=True)
        if path.is_dir():
            sync_folder(path)


def _pointer(path: Path, collection: str) -> Path:
    folder = collection_folder(path, collection)
    return folder.with_name(f"{folder.name}{POINTER}")


def read_marker(path: Path, collection: str, *, is_itself: bool = False) -> Marker | None:
    """Reads whose a collection is, without opening the engine.

    Args:
        path: The folder of the embedded index.
        collection: The collection's name.
        is_itself: Whether that is its own, which stands for no other.

    Returns:
        None where there is no such collection: it was never created, or not to the end, or it was removed.

    Raises:
        ForeignIndexError: The file is no marker, or one of a newer qloader.
        IndexUnavailableError: The file cannot be read.
    """
    folder = collection_folder(path, collection if is_itself else find_target(path, collection))
    file = folder / MARKER
    with os_errors(f"the embedded index {folder} cannot be read"):
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not _may_hold_points(folder / SHARD):
            return None
    try:
        facts = json.loads(text)
        found = facts["format"]
        if found == FORMAT:
            return Marker(*(str(facts[name]) for name in ("collection", "lineage", "pipeline")))
    except (ValueError, KeyError, TypeError) as error:
        raise ForeignIndexError(
            f"{file} is damaged: it does not say whose index this is",
            remedy="Restore it from a backup. Or delete it: `qloader refresh` writes it anew where all points are this "
            "state's.",
        ) from error
    raise ForeignIndexError(
        f"{file} has the format {found!r}, and this qloader knows {FORMAT}",
        remedy="Use the qloader that wrote it, or a newer one.",
    )


def find_unmarked(path: Path, collection: str, *, is_itself: bool = False) -> Path | None:
    """The marker that is missing from a collection's folder that may hold points; None where none is missing.

    Raises:
        ForeignIndexError: The pointer file is none.
        IndexUnavailableError: The folder cannot be read.
    """
    folder = collection_folder(path, collection if is_itself else find_target(path, collection))
    with os_errors(f"the embedded index {folder} cannot be read"):
        return folder / MARKER if not (folder / MARKER).exists() and _may_hold_points(folder / SHARD) else None


def check_files(path: Path, collection: str, *, state: str) -> None:
    """Looks, without the engine, at those of its files that it has to read before anything else, which are small.

    Args:
        path: The folder of the embedded index.
        collection: The collection's name.
        state: How an error names the state that belongs to it.

    Raises:
        ForeignIndexError: The pointer file is none.
        IndexUnavailableError: The engine could not open the collection, or a file cannot be read.
    """
    folder = collection_folder(path, find_target(path, collection))
    shard = folder / SHARD
    with os_errors(f"the embedded index {folder} cannot be read"):
        facts = [shard / "edge_config.json", shard / "wal" / "first-index"]
        facts += [segment / "segment.json" for segment in _entries(shard / "segments")]
        log = [file for file in _entries(shard / "wal") if _LOG_FILE.fullmatch(file.name)]
        damaged = [file for file in facts if not _is_json(file)] + [file for file in log if not _is_log(file)]
    if damaged:
        raise IndexUnavailableError(
            f"{damaged[0]} is damaged, so that the embedded index cannot be opened", remedy=load_anew(folder, state)
        )


def load_anew(folder: Path, state: str) -> str:
    """What to do about a collection that its engine cannot read.

    Args:
        folder: The collection's.
        state: How to name the state that belongs to it.
    """
    return f"Restore {folder} from a backup, or move it and {state} away and load it anew."


def _is_json(file: Path) -> bool:
    """Whether a file holds a JSON object; one that is missing passes, since the engine may be about to write it."""
    try:
        return isinstance(json.loads(file.read_bytes()), dict)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except ValueError:
        return False


def _is_log(file: Path) -> bool:
    """Whether a part of the engine's log begins as one; one that is gone again passes."""
    try:
        with file.open("rb") as opened:
            return opened.read(len(_LOG_BEGINS)) == _LOG_BEGINS
    except FileNotFoundError:
        return True


def _may_hold_points(shard: Path) -> bool:
    """Whether there is anything in the engine's folder that it could read points from: segments, or its log."""
    return any(next(_entries(shard / part), None) for part in ("segments", "wal"))


def _entries(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        yield from folder.iterdir()


def write_marker(folder: Path, marker: Marker) -> None:
    """Writes the marker into a collection's folder; it survives a power cut when this returns.

    Raises:
        IndexUnavailableError: It cannot be written.
    """
    facts = {
        "format": FORMAT,
        "collection": marker.collection,
        "lineage": marker.lineage,
        "pipeline": marker.pipeline,
    }
    _write_whole(folder / MARKER, facts)


def _write_whole(file: Path, facts: Mapping[str, str]) -> None:
    data = (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode()
    folder = file.parent
    with os_errors(f"the embedded index {folder} cannot be written"):
        # mkstemp makes the file readable by its owner only, whatever the umask.
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=folder)
        try:
            with os.fdopen(handle, "wb") as opened:
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def os_errors(what: str) -> Iterator[None]:
    """Turns the system's refusals into an error with a remedy.

    Raises:
        IndexUnavailableError: `what`, with the system's own words.
    """
    try:
        yield
    except OSError as error:
        raise IndexUnavailableError(
            f"{what}: {error.strerror or error}",
            remedy="Check the folder in index.path: its permissions, its owner, and the space left on its disk.",
        ) from error
