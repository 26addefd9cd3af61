"""The cache may be deleted, damaged, held or unwritable at any time: only speed is lost."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from qloader.manifest.cache import CACHE_VERSION, Cache, CachedSnapshot

SNAPSHOT = CachedSnapshot(
    "settings", "proof", b"l" * 16, "revision", b"r" * 16, 3, 100, ("a problem",), {"binary": (2, ("a", "b"))}
)


def save(cache: Cache, source: str = "docs") -> None:
    with cache.transaction():
        cache.save_snapshot(source, SNAPSHOT)


def test_a_snapshot_is_read_as_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "cache.db"
    with Cache.open(path) as cache:
        assert cache.snapshot("docs") is None
        save(cache)
    with Cache.open(path) as cache:
        assert cache.snapshot("docs") == SNAPSHOT
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with Cache.open(path, fresh=True) as cache:
        assert cache.snapshot("docs") is None


@pytest.mark.parametrize(
    "content",
    [b"", b"no database at all " * 500, b"SQLite format 3\0" + b"\xff" * 5_000, os.urandom(10_000)],
    ids=["empty", "text", "a header alone", "noise"],
)
def test_what_is_no_cache_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cache.db"
    path.write_bytes(content)
    with Cache.open(path) as cache:
        assert cache.path == path
        assert cache.snapshot("docs") is None
        save(cache)
    with Cache.open(path) as cache:
        assert cache.snapshot("docs") == SNAPSHOT


def test_a_cache_of_another_version_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    with Cache.open(path) as cache:
        save(cache)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {CACHE_VERSION + 1}")
    with Cache.open(path) as cache:
        assert cache.snapshot("docs") is None


def test_a_second_plan_starts_from_a_copy_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    with Cache.open(path) as first:
        save(first)
        with Cache.open(path) as second:
            assert second.path != path
            assert second.snapshot("docs") == SNAPSHOT
            save(second, "notes")
            private = second.path.parent
        assert first.snapshot("notes") is None
    assert not private.exists()


def test_the_lock_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    code = "import os, sys; from pathlib import Path; from qloader.manifest.cache import Cache; "
    code += "Cache.open(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    with Cache.open(path) as cache:
        assert cache.path == path


@pytest.mark.parametrize("obstacle", ["folder", "file for a folder", "held"])
def test_a_cache_that_cannot_be_had_is_replaced_by_a_private_one(tmp_path: Path, obstacle: str) -> None:
    path = tmp_path / "caches" / "cache.db"
    path.parent.mkdir()
    if obstacle == "folder":
        path.mkdir()
    elif obstacle == "file for a folder":
        path.parent.rmdir()
        path.parent.write_text("in the way")
    else:
        descriptor = os.open(path.with_name("cache.db.lock"), os.O_CREAT | os.O_RDWR)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    with Cache.open(path) as cache:
        assert cache.path != path
        save(cache)
        assert cache.snapshot("docs") == SNAPSHOT
    assert not cache.path.exists()


def test_a_transaction_that_fails_changes_nothing(tmp_path: Path) -> None:
    with Cache.open(tmp_path / "cache.db") as cache:
        with pytest.raises(KeyError), cache.transaction():
            cache.save_snapshot("docs", SNAPSHOT)
            raise KeyError
        assert cache.snapshot("docs") is None
        save(cache)
        assert cache.snapshot("docs") == SNAPSHOT


def test_an_empty_cache_leaves_nothing_behind() -> None:
    with Cache.empty() as cache:
        save(cache)
        folder = cache.path.parent
        assert folder.exists()
    assert not folder.exists()


def test_a_snapshot_under_way_is_not_finished() -> None:
    assert not CachedSnapshot.begun("settings").is_finished
    assert SNAPSHOT.is_finished
