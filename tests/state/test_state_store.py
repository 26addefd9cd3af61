"""The state: what it promises to remember, and to whom it refuses itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qloader.documents.hashing import EMPTY_ROOT, add_to_root, entry_hash
from qloader.errors import LockedError, StateError, StateVersionError
from qloader.state import database
from qloader.state.records import DocumentRecord, FailureRecord, IntentRecord
from qloader.state.store import StateStore
from support.faults import Killed, faulty, recording


def record(document_id: str, *, content: bytes = b"c" * 16, chunks: int = 1, source: str = "docs") -> DocumentRecord:
    return DocumentRecord(
        source=source,
        id=document_id,
        content=content,
        metadata=b"m" * 16,
        revision="r1",
        size=10,
        chunks=tuple(bytes([n]) * 16 for n in range(chunks)),
        pipeline="p1",
        last_updated=1_700_000_000,
    )


def begin(state: StateStore, plan: str = "plan-1", pipeline: str = "p1") -> int:
    return state.begin_run(
        plan=plan,
        name="handbook",
        collection="handbook",
        location="embedded:index",
        pipeline=pipeline,
        pipeline_settings={"embedding": {}},
        sources={"docs": ("files", "")},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "state.db"


@pytest.fixture
def state(path: Path) -> Iterator[StateStore]:
    with StateStore.write(path) as store:
        store.lock()
        yield store


def test_a_state_that_does_not_exist_reads_as_none(path: Path) -> None:
    assert StateStore.read(path) is None
    assert not path.parent.exists()


def test_a_new_state_is_private_to_its_user(state: StateStore, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_first_run_gives_a_lineage_and_each_commit_raises_the_serial(state: StateStore) -> None:
    assert state.header() is None
    run = begin(state)
    first = state.header()
    assert first is not None
    assert first.serial == 1
    state.commit_batch(run, written=[record("a")])
    second = state.header()
    assert second is not None
    assert (second.lineage, second.serial) == (first.lineage, 2)


def test_a_written_document_is_read_back_and_a_deleted_one_stays_as_a_tombstone(state: StateStore) -> None:
    run = begin(state)
    state.commit_batch(run, written=[record("a", chunks=3), record("b")])
    found = state.document("docs", "a")
    assert found is not None
    assert (found.chunks, found.pipeline, found.last_updated) == (record("a", chunks=3).chunks, "p1", 1_700_000_000)
    state.commit_batch(run, deleted=[("docs", "a")])
    assert [d.id for d in state.documents()] == ["b"]
    tombstone = state.document("docs", "a")
    assert tombstone is not None
    assert tombstone.is_deleted
    assert tombstone.chunks == ()
    assert [d.id for d in state.documents(deleted=True)] == ["a", "b"]


def test_root_and_counts_of_a_source_follow_its_documents(state: StateStore) -> None:
    run = begin(state)
    state.commit_batch(run, written=[record("a", chunks=2), record("b", chunks=5)])
    state.commit_batch(run, written=[record("a", content=b"d" * 16, chunks=1)], deleted=[("docs", "b")])
    (source,) = state.sources()
    assert (source.documents, source.chunks) == (1, 1)
    assert source.root == add_to_root(EMPTY_ROOT, entry_hash("a", b"d" * 16, b"m" * 16))


def test_a_batch_that_fails_changes_nothing(state: StateStore) -> None:
    run = begin(state)
    state.commit_batch(run, written=[record("a")])
    before = state.header()
    with pytest.raises(KeyError):
        state.commit_batch(run, written=[record("b"), record("c", source="unknown")])
    assert state.header() == before
    assert [d.id for d in state.documents()] == ["a"]


def test_a_batch_that_fails_at_any_statement_changes_nothing(tmp_path: Path) -> None:
    """Cut short before or after each statement, or refused by it: the state is as before, or holds the whole batch."""
    template = tmp_path / "template.db"
    with StateStore.write(template) as state:
        state.lock()
        state.commit_batch(begin(state), written=[record("a"), record("gone", chunks=2)])

    def commit(name: str) -> Path:
        copy = tmp_path / f"{name}-state.db"
        shutil.copy(template, copy)
        with StateStore.write(copy) as state:
            state.lock()
            run = begin(state, "plan-2")
            state.record_intents(run, [IntentRecord("docs", "a", (b"1" * 16,)), IntentRecord("docs", "gone", ())])
            before.append(contents(copy))
            state.commit_batch(run, written=[record("a", content=b"d" * 16), record("new")], deleted=[("docs", "gone")])
        return copy

    before: list[object] = []
    with recording([]) as points:
        undisturbed = commit("undisturbed")
    after = contents(undisturbed)
    begun = max(n for n, point in enumerate(points) if point.name == "sqlite state BEGIN")
    ended = next(n for n, point in enumerate(points) if n > begun and point.name == "sqlite state COMMIT")
    assert ended - begun > 8
    for point in points[begun : ended + 1]:
        for fault in ("kill before", "kill after", "disk full"):
            name = f"{point}-{fault}".replace(" ", "-")
            with faulty([], point, fault) as happened, contextlib.suppress(Killed, StateError):
                commit(name)
            assert happened, point
            is_done = (point, fault) == (points[ended], "kill after")
            expected = after if is_done else before[-1]
            assert contents(tmp_path / f"{name}-state.db") == expected, f"{fault} at {point}"


def contents(path: Path) -> object:
    """All that a state says of documents, sources and intents, and its serial, as others read it."""
    with StateStore.read(path) as state:
        sources = [(s.name, s.root, s.documents, s.chunks) for s in state.sources()]
        documents = [(d.id, d.content, d.chunks, d.is_deleted) for d in state.documents(deleted=True)]
        return state.header().serial, sources, documents, state.intents(), state.runs()[0].document_count


def test_an_intent_stays_until_its_document_is_committed(state: StateStore) -> None:
    run = begin(state)
    state.record_intents(run, [IntentRecord("docs", "a", (b"1" * 16,))])
    state.record_intents(run, [IntentRecord("docs", "a", (b"2" * 16, b"1" * 16)), IntentRecord("docs", "b", ())])
    assert [(i.document_id, i.points) for i in state.intents()] == [("a", (b"1" * 16, b"2" * 16)), ("b", ())]
    assert state.intents(["other"]) == []
    state.commit_batch(run, written=[record("a")], settled=[("docs", "b")])
    assert state.intents() == []


def test_a_run_that_was_killed_is_marked_as_failed_by_the_next(state: StateStore) -> None:
    begin(state, "plan-1")
    run = begin(state, "plan-2")
    state.record_failures(run, [FailureRecord("docs", "x", "changed", "its text changed")])
    state.finish_run(run, "partial", summary={"update": 2}, error="1 document", revisions={"docs": "abc"})
    latest, first = state.runs()
    assert (first.status, first.error) == ("failed", "interrupted")
    assert (latest.status, latest.plan, latest.summary) == ("partial", "plan-2", {"update": 2})
    assert state.failures(run) == [FailureRecord("docs", "x", "changed", "its text changed")]
    (source,) = state.sources()
    assert source.revision == "abc"
    assert source.last_success is not None


def test_a_run_without_changes_leaves_the_serial_alone(state: StateStore) -> None:
    state.finish_run(begin(state), "complete", summary={})
    before = state.header()
    state.record_unchanged("plan-2", {"docs": "def"}, {})
    assert state.header() == before
    assert state.runs()[0].plan == "plan-2"


def test_a_changed_pipeline_is_mixed_until_every_document_has_it(state: StateStore) -> None:
    run = begin(state)
    state.commit_batch(run, written=[record("a"), record("b")])
    state.finish_run(run, "complete", summary={})
    run = begin(state, "plan-2", pipeline="p2")
    state.commit_batch(run, written=[DocumentRecord("docs", "a", b"c" * 16, b"m" * 16, "r", 1, (), "p2")])
    state.finish_run(run, "failed", summary={})
    header = state.header()
    assert header is not None
    assert header.mixed
    state.commit_batch(run, written=[DocumentRecord("docs", "b", b"c" * 16, b"m" * 16, "r", 1, (), "p2")])
    state.finish_run(run, "complete", summary={})
    header = state.header()
    assert header is not None
    assert not header.mixed


def test_nothing_can_be_written_without_the_lock(path: Path) -> None:
    with StateStore.write(path) as state, pytest.raises(StateError, match="not locked"):
        begin(state)


def test_a_second_writer_is_told_who_holds_the_state_and_since_when(state: StateStore, path: Path) -> None:
    with StateStore.write(path) as other, pytest.raises(LockedError) as caught:
        other.lock()
    assert f"process {os.getpid()}" in str(caught.value)
    assert "since 20" in str(caught.value)
    lease = state.lease()
    assert lease is not None
    assert lease.id in caught.value.remedy
    assert caught.value.exit_code == 5


def test_the_lock_of_a_dead_process_of_this_host_is_taken_over(path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from qloader.state.store import StateStore\n"
        f"StateStore.write(Path({str(path)!r})).lock(); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    with StateStore.write(path) as state:
        assert state.lease() is not None
        assert state.lock().pid == os.getpid()


def test_a_writer_that_lost_its_lock_can_commit_nothing(state: StateStore, path: Path) -> None:
    run = begin(state)
    lease = state.lease()
    assert lease is not None
    with StateStore.write(path) as other:
        assert not other.unlock("another id")
        assert other.unlock(lease.id)
        other.lock()
        with pytest.raises(LockedError, match="lost its lock"):
            state.commit_batch(run, written=[record("a")])
    assert list(state.documents()) == []


def test_readers_do_not_wait_for_a_writer(state: StateStore, path: Path) -> None:
    begin(state)
    with state._transaction():
        reader = StateStore.read(path)
        assert reader is not None
        with reader:
            assert reader.header() is not None


def test_a_reader_in_the_middle_of_a_list_holds_up_no_writer_and_reads_on_as_it_began(
    state: StateStore, path: Path
) -> None:
    run = begin(state)
    state.commit_batch(run, written=[record(f"{n:03}") for n in range(300)])
    with StateStore.read(path) as reader:
        listed = reader.documents()
        first = next(listed)
        state.commit_batch(run, deleted=[("docs", f"{n:03}") for n in range(300)])
        assert [first.id, *(document.id for document in listed)] == [f"{n:03}" for n in range(300)]
        assert list(reader.documents()) == []


def test_a_state_of_a_newer_qloader_is_refused_with_the_way_out(state: StateStore, path: Path) -> None:
    state.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 999")
    for open_it in (StateStore.read, StateStore.write):
        with pytest.raises(StateVersionError, match="version 999") as caught:
            open_it(path)
        assert "Upgrade qloader" in caught.value.remedy


def test_a_database_of_another_program_is_never_touched(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 1")
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    for open_it in (StateStore.read, StateStore.write):
        with pytest.raises(StateError, match="no qloader state"):
            open_it(path)
    assert path.read_bytes() == before


def test_a_damaged_state_is_reported_with_the_way_out(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no database " * 100)
    with pytest.raises(StateError, match="damaged") as caught:
        StateStore.read(path)
    assert "backup" in caught.value.remedy


def test_a_missing_state_is_not_created_where_the_config_says_so(path: Path) -> None:
    with pytest.raises(StateError, match="there is no state"):
        StateStore.write(path, create=False)
    assert not path.exists()


def test_backups_are_complete_and_the_oldest_are_rotated_away(state: StateStore, path: Path) -> None:
    run = begin(state)
    state.commit_batch(run, written=[record("a")])
    for number in range(database.KEPT_BACKUPS + 2):
        copy = path.with_name(f"{path.name}.backup-2020010{number}T000000Z")
        copy.write_bytes(b"old")
    copy = state.backup()
    assert len(list(path.parent.glob("*.backup-*"))) == database.KEPT_BACKUPS
    restored = StateStore.read(copy)
    assert restored is not None
    with restored:
        assert [d.id for d in restored.documents()] == ["a"]


def test_a_new_state_that_two_set_up_at_once_is_asked_for_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite refuses one of them without waiting, once in some hundred times."""
    refusals = ["PRAGMA journal_mode = WAL"] * 3

    class Refusing(sqlite3.Connection):
        def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
            if sql in refusals:
                refusals.remove(sql)
                raise sqlite3.OperationalError("database is locked")
            return super().execute(sql, *arguments)  # type: ignore[arg-type]

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **options: connect(*given, **options, factory=Refusing))
    StateStore.write(path).close()
    assert not refusals


def test_two_processes_may_create_the_state_at_once(path: Path) -> None:
    code = (
        "from pathlib import Path; from qloader.state import database; from qloader.state.store import StateStore; "
        f"database.BUSY_TIMEOUT_MS = 120_000; StateStore.write(Path({str(path)!r}))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(4)]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    state = StateStore.write(path)
    state.lock()
    assert begin(state) == 1


def test_a_reader_beside_the_creation_of_a_state_sees_nothing_or_all_of_it(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from qloader.state.store import StateStore; "
    code += "[StateStore.write(Path(path)).close() for path in sys.argv[1:]]"
    paths = [tmp_path / f"{number}.db" for number in range(40)]
    with subprocess.Popen([sys.executable, "-c", code, *map(str, paths)]) as writer:
        for path in paths:
            reader = None
            while reader is None:
                assert writer.poll() in (None, 0)
                reader = StateStore.read(path)  # an error, where it has but some of the migrations
            reader.close()


@pytest.mark.parametrize(
    ("room", "words"),
    [(0, r"the disk is full \(0 KiB free\), and even to read the state"), (1 << 30, "cannot be used: disk I/O error")],
)
def test_a_disk_without_room_even_to_read_is_called_full(
    path: Path, monkeypatch: pytest.MonkeyPatch, room: int, words: str
) -> None:
    path.parent.mkdir()
    usage = shutil.disk_usage(path.parent)._replace(free=room)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StateError, match=words), database.translated(path):
        raise sqlite3.OperationalError("disk I/O error")


def test_a_place_that_nobody_can_look_at_is_an_error_of_the_state(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 300) / "state.db"
    for call in (lambda: StateStore.read(path), lambda: StateStore.write(path), lambda: database.is_there(path)):
        with pytest.raises(StateError, match="cannot be used: File name too long"):
            call()
