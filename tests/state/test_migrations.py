"""Older states: brought up to date with all that is in them, or left exactly as they were."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from old_states import LINEAGE, of_version, open_old

from qloader.errors import StateError, StateOutdatedError, StateVersionError
from qloader.state import migrate
from qloader.state.store import StateStore
from support.workspaces import make_workspace, plan_and_apply, write

OLD = range(1, migrate.latest_version())
DOCS = Path(__file__).parents[2] / "docs" / "state-management.md"
STEPS = [
    (version, statement)
    for version, sql in migrate.migrations()[1:]
    for statement in range(len(migrate._statements(sql)) + 1)
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        yield connection


def version_of(path: Path) -> int:
    with reading(path) as connection:
        return migrate.schema_version(connection)


def everything(path: Path) -> list[str]:
    with reading(path) as connection:
        return list(connection.iterdump())


def rows(path: Path, columns: dict[str, list[str]]) -> dict[str, list[tuple[object, ...]]]:
    with reading(path) as connection:
        return {
            table: sorted(connection.execute(f"SELECT {', '.join(names)} FROM {table}"), key=repr)
            for table, names in columns.items()
        }


def columns(path: Path) -> dict[str, list[str]]:
    with reading(path) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            for table in tables
            if not table.startswith("sqlite_")
        }


def backups(path: Path) -> list[Path]:
    return sorted(path.parent.glob("state.db.backup-*"))


def test_every_older_version_has_a_state_to_try() -> None:
    assert [v for v in OLD if not of_version(v).exists()] == [], "run python tests/state/old_states.py"


@pytest.mark.parametrize("version", OLD)
def test_an_older_state_is_brought_up_to_date_with_all_that_is_in_it_after_a_backup(path: Path, version: int) -> None:
    open_old(path, version)
    known = columns(path)
    before, whole = rows(path, known), everything(path)
    StateStore.write(path).close()
    assert version_of(path) == migrate.latest_version()
    assert rows(path, known) == before
    (backup,) = backups(path)
    assert (version_of(backup), everything(backup)) == (version, whole)


@pytest.mark.parametrize("version", OLD)
def test_an_older_state_says_the_same_once_it_is_up_to_date(path: Path, version: int) -> None:
    StateStore.write(open_old(path, version)).close()
    with StateStore.read(path) as state:
        header = state.header()
        assert (header.lineage, header.serial, header.mixed) == (LINEAGE, 7, True)
        (source,) = state.sources()
        assert (source.identity, source.revision, source.documents, source.chunks) == ("first", "c0ffee", 2, 3)
        assert [(d.id, len(d.chunks)) for d in state.documents()] == [("a.md", 2), ("b.md", 1)]
        assert [d.id for d in state.documents(deleted=True) if d.is_deleted] == ["gone.md"]
        assert [(i.document_id, len(i.points), i.reason) for i in state.intents()] == [("b.md", 2, "interrupted")]
        assert [run.status for run in state.runs()] == ["partial", "complete"]
        assert [failure.document_id for failure in state.failures(2)] == ["b.md"]
        state.check()


@pytest.mark.parametrize(("version", "statement"), STEPS)
def test_a_migration_that_fails_at_any_statement_leaves_the_state_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch, version: int, statement: int
) -> None:
    open_old(path, version - 1)
    before = everything(path)
    sql = dict(migrate.migrations())[version]
    real = migrate._statements

    def broken(text: str) -> list[str]:
        return [*real(text)[:statement], "SELECT no_such_column"] if text == sql else real(text)

    with monkeypatch.context() as patch:
        patch.setattr(migrate, "_statements", broken)
        with pytest.raises(StateError, match=f"migration {version} of the state .* failed") as error:
            StateStore.write(path)
    assert error.value.remedy.startswith("The state is unchanged.")
    assert (version_of(path), everything(path)) == (version - 1, before)
    StateStore.write(path).close()
    assert version_of(path) == migrate.latest_version()


def test_two_processes_that_migrate_at_once_both_end_well(path: Path) -> None:
    open_old(path, 1)
    known = columns(path)
    before = rows(path, known)
    program = (
        "import sys; from pathlib import Path; from qloader.state import database; "
        "from qloader.state.store import StateStore; database.BUSY_TIMEOUT_MS = 120_000; sys.stdin.read(1); "
        "StateStore.write(Path(sys.argv[1])).close()"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in both:
        process.stdin.write(b"x")  # both have imported all they need by then, or will start in a moment
        process.stdin.flush()
    assert [(p.communicate(timeout=300)[1].decode(), p.returncode) for p in both] == [("", 0), ("", 0)]
    assert version_of(path) == migrate.latest_version()
    assert rows(path, known) == before
    assert version_of(backups(path)[0]) == 1


def test_a_copy_never_takes_the_place_of_one_of_the_same_second(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda *_: "20260101T000000Z")
    StateStore.write(open_old(path, 1)).close()
    with StateStore.read(path) as state:
        state.backup()
    assert [version_of(copy) for copy in backups(path)] == [1, migrate.latest_version()]


@pytest.mark.parametrize("version", OLD)
def test_without_auto_migrate_an_older_state_is_refused_with_the_command_that_helps(
    tmp_path: Path, version: int
) -> None:
    config = make_workspace(tmp_path).settings.config.file
    text = config.read_text().replace(
        "path: .qloader/state.db", "path: .qloader/state.db, migrations: {auto_migrate: false}"
    )
    config.write_text(text)
    workspace = type(make_workspace(tmp_path / "other")).open(config)
    path = open_old(workspace.settings.state, version)
    before = everything(path)
    for use in (workspace.status, workspace.settings.write_state):
        with pytest.raises(StateOutdatedError, match=f"schema version {version}") as error:
            use()
        assert "`qloader state migrate`" in error.value.remedy
    assert everything(path) == before
    assert backups(path) == []
    assert workspace.migrate_state() == (version, migrate.latest_version())
    assert workspace.status().header.serial == 7


def test_a_state_of_a_newer_qloader_is_refused_with_the_ways_out(path: Path) -> None:
    StateStore.write(path).close()
    with reading(path) as connection:
        connection.execute(f"PRAGMA user_version = {migrate.latest_version() + 1}")
    for use in (StateStore.read, StateStore.write):
        with pytest.raises(StateVersionError, match="this qloader knows up to") as error:
            use(path)
        assert "Upgrade qloader, or restore the backup" in error.value.remedy
        assert "state.db.backup-*" in error.value.remedy


def test_the_documented_command_restores_a_backup(tmp_path: Path) -> None:
    (command,) = re.findall(r"^rm -f \.qloader/state\.db.*$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    workspace = make_workspace(tmp_path)
    write(tmp_path / "docs", {"a.md": "# A\n\nfirst"})
    plan_and_apply(workspace)
    workspace.backup_state(tmp_path / "copy.db")
    restored = everything(tmp_path / "copy.db")
    write(tmp_path / "docs", {"b.md": "# B\n\nsecond"})
    with StateStore.read(workspace.settings.state) as reader:  # so that SQLite's files beside it stay
        reader.header()
        plan_and_apply(workspace)
        assert workspace.settings.state.with_name("state.db-wal").exists()
        subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    assert everything(workspace.settings.state) == restored
    assert plan_and_apply(workspace, refresh=True).created == 1
    assert workspace.status().points == 2
