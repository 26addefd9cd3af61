"""The embedded index: its folder, its lock, and what it keeps when its process dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from index_engines import make_shard

from qloader.errors import ForeignIndexError, IndexUnavailableError
from qloader.index import embedded
from qloader.index.embedded import EmbeddedIndex
from qloader.index.folder_lock import LOCK, NEXT, FolderLock, HeldError
from qloader.index.marker import MARKER, SHARD, Marker, read_marker, write_marker
from qloader.index.protocol import SPARSE_VECTOR, Point, SparseVector

OURS = "6f0c2f4e-0000-4000-8000-000000000001"


def make_point(number: int) -> Point:
    vector = SparseVector([number + 1], [1.0])
    return Point(str(uuid.UUID(int=number)), {SPARSE_VECTOR: vector}, {"n": number, "qloader": {"lineage": OURS}})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "index"


@pytest.fixture
def index(path: Path) -> Iterator[EmbeddedIndex]:
    with contextlib.closing(EmbeddedIndex(path, "docs")) as index:
        index.create(lineage=OURS, pipeline="p")
        yield index


def modes(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


# The folder


def test_only_the_owner_may_look_into_the_index(path: Path) -> None:
    before = os.umask(0)
    try:
        with contextlib.closing(EmbeddedIndex(path, "docs")) as index:
            index.create(lineage=OURS, pipeline="p")
            index.upsert([make_point(1)])
            index.mark(lineage=OURS, pipeline="q")
    finally:
        os.umask(before)
    assert modes(path.parent) == {"index": 0o700}
    assert modes(path) == {"docs": 0o700}
    assert modes(path / "docs")[MARKER] == 0o600


def test_a_folder_that_others_could_read_is_closed_to_them(path: Path) -> None:
    (path / "docs").mkdir(parents=True, mode=0o755)
    with contextlib.closing(EmbeddedIndex(path, "docs")) as index:
        index.create(lineage=OURS, pipeline="p")
    assert modes(path)["docs"] == 0o700


def test_a_missing_folder_is_an_error_where_none_may_be_made(path: Path) -> None:
    with contextlib.closing(EmbeddedIndex(path, "docs", create_dirs=False)) as index:
        with pytest.raises(IndexUnavailableError, match="cannot be created") as raised:
            index.create(lineage=OURS, pipeline="p")
        assert "index.path" in raised.value.remedy
        assert not path.exists()


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("a file")
    with contextlib.closing(EmbeddedIndex(tmp_path / "index", "docs")) as index:
        assert index.describe() is None
        with pytest.raises(IndexUnavailableError, match=str(tmp_path / "index")):
            index.create(lineage=OURS, pipeline="p")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../up", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(IndexUnavailableError, match="cannot be the name") as raised:
        EmbeddedIndex(tmp_path, name)
    assert "index.collection" in raised.value.remedy


def test_a_description_makes_no_folder(path: Path) -> None:
    with contextlib.closing(EmbeddedIndex(path, "docs")) as index:
        assert index.describe() is None
        index.drop()
    assert not path.exists()


def test_two_collections_live_beside_each_other(path: Path, index: EmbeddedIndex) -> None:
    with contextlib.closing(EmbeddedIndex(path, "other")) as other:
        other.create(lineage="another", pipeline="p")
        index.upsert([make_point(1)])
        other.upsert([make_point(1), make_point(2)])
        other.drop()
    assert index.count(lineage=OURS) == 1
    assert sorted(file.name for file in path.iterdir()) == ["docs"]


def test_a_drop_leaves_nothing(path: Path, index: EmbeddedIndex) -> None:
    index.upsert([make_point(1)])
    index.drop()
    assert list(path.iterdir()) == []


# A creation or a drop that was cut short


def test_a_half_made_shard_is_made_anew(path: Path) -> None:
    (path / "docs" / "shard.new" / "segments").mkdir(parents=True)
    (path / "docs" / "shard.new" / "edge_config.json").write_text('{"vectors"')
    with contextlib.closing(EmbeddedIndex(path, "docs")) as index:
        assert index.describe() is None
        index.create(lineage=OURS, pipeline="p")
        index.upsert([make_point(1)])
        assert index.count(lineage=OURS) == 1
    assert sorted(modes(path / "docs")) == [LOCK, NEXT, MARKER, SHARD]


def test_a_drop_that_is_cut_short_leaves_no_half_deleted_shard(
    path: Path, index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    index.upsert([make_point(1)])
    monkeypatch.setattr("shutil.rmtree", interrupt)
    with pytest.raises(KeyboardInterrupt):
        index.drop()
    monkeypatch.undo()
    assert read_marker(path, "docs") is None
    assert index.describe() is None
    index.drop()
    assert list(path.iterdir()) == []


def test_a_drop_ends_where_others_wait_for_the_collection(
    path: Path, index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    rmdir, tried = os.rmdir, []

    def look_again_first(folder: str, *, dir_fd: int | None = None) -> None:
        if str(folder).endswith("docs") and len(tried) < 3:
            tried.append(folder)
            (path / "docs" / NEXT).touch()
        rmdir(folder, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", look_again_first)
    index.drop()
    assert len(tried) == 3
    assert not (path / "docs").exists()


def test_a_half_done_drop_is_no_collection_and_is_finished(path: Path, index: EmbeddedIndex) -> None:
    index.upsert([make_point(1)])
    index.close()
    (path / "docs" / SHARD).rename(path / "docs" / "shard.dropped")
    assert read_marker(path, "docs") is None
    with contextlib.closing(EmbeddedIndex(path, "docs")) as again:
        assert again.describe() is None
        again.drop()
    assert list(path.iterdir()) == []


def test_a_half_done_drop_is_no_hindrance_to_a_new_creation(path: Path, index: EmbeddedIndex) -> None:
    index.upsert([make_point(1)])
    index.close()
    (path / "docs" / SHARD).rename(path / "docs" / "shard.dropped")
    with contextlib.closing(EmbeddedIndex(path, "docs")) as again:
        again.create(lineage="another", pipeline="p")
        assert again.describe().points == 0  # type: ignore[union-attr]
    assert sorted(modes(path / "docs")) == [LOCK, NEXT, MARKER, SHARD]


# Whose it is


def test_the_marker_says_whose_the_index_is_without_the_engine(path: Path, index: EmbeddedIndex) -> None:
    assert read_marker(path, "docs") == Marker("docs", OURS, "p")
    index.mark(lineage="another", pipeline="q")
    assert read_marker(path, "docs") == Marker("docs", "another", "q")


def test_no_marker_is_no_index(path: Path) -> None:
    assert read_marker(path, "docs") is None
    (path / "docs").mkdir(parents=True)
    assert read_marker(path, "docs") is None


def test_a_marker_without_a_shard_is_no_index(path: Path) -> None:
    (path / "docs").mkdir(parents=True)
    write_marker(path / "docs", Marker("docs", OURS, "p"))
    assert read_marker(path, "docs") is None
    with contextlib.closing(EmbeddedIndex(path, "docs")) as index:
        assert index.describe() is None


def test_points_without_a_marker_are_nobodys(path: Path, index: EmbeddedIndex) -> None:
    index.upsert([make_point(1)])
    index.close()
    (path / "docs" / MARKER).unlink()
    with contextlib.closing(EmbeddedIndex(path, "docs")) as again:
        info = again.describe()
        assert info is not None
        assert (info.lineage, info.points) == (None, 1)
        with pytest.raises(ForeignIndexError, match="no qloader state"):
            again.create(lineage=OURS, pipeline="p")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "7", "{}", '{"format": "qloader.index/1"}', '{"lineage": "x"}', "\udcff\udcfe"]
)
def test_a_damaged_marker_is_an_error_with_a_remedy(path: Path, index: EmbeddedIndex, text: str) -> None:
    index.close()
    (path / "docs" / MARKER).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ForeignIndexError, match="damaged") as raised:
        read_marker(path, "docs")
    assert "backup" in raised.value.remedy
    with contextlib.closing(EmbeddedIndex(path, "docs")) as again:
        for call in (
            again.describe,
            lambda: again.create(lineage=OURS, pipeline="p"),
            lambda: again.count(lineage=OURS),
        ):
            with pytest.raises(ForeignIndexError, match="damaged"):
                call()


def test_a_marker_of_a_newer_qloader_is_refused(path: Path, index: EmbeddedIndex) -> None:
    index.close()
    (path / "docs" / MARKER).write_text(json.dumps({"format": "qloader.index/2", "owner": {"lineage": OURS}}))
    with pytest.raises(ForeignIndexError, match="index/2") as raised:
        read_marker(path, "docs")
    assert "newer" in raised.value.remedy


def test_a_marker_with_more_keys_is_read(path: Path, index: EmbeddedIndex) -> None:
    facts = json.loads((path / "docs" / MARKER).read_text())
    (path / "docs" / MARKER).write_text(json.dumps({**facts, "note": "of a newer qloader"}))
    assert read_marker(path, "docs") == Marker("docs", OURS, "p")


def test_a_mark_that_is_cut_short_leaves_the_old_marker(
    path: Path, index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        index.mark(lineage="another", pipeline="q")
    monkeypatch.undo()
    assert read_marker(path, "docs") == Marker("docs", OURS, "p")
    assert sorted(modes(path / "docs")) == [LOCK, NEXT, MARKER, SHARD]


# Vectors and damage


def test_a_sparse_vector_without_idf_is_refused(path: Path) -> None:
    make_shard(path / "docs" / SHARD, modifier=None)
    write_marker(path / "docs", Marker("docs", OURS, "p"))
    with contextlib.closing(EmbeddedIndex(path, "docs")) as index:
        with pytest.raises(ForeignIndexError, match="IDF") as raised:
            index.count(lineage=OURS)
        assert "index.collection" in raised.value.remedy


@pytest.mark.parametrize("text", ["", "{", '{"vectors": 7}'])
def test_a_damaged_shard_is_an_error_with_a_remedy_and_can_be_dropped(
    path: Path, index: EmbeddedIndex, text: str
) -> None:
    index.upsert([make_point(1)])
    index.close()
    (path / "docs" / SHARD / "edge_config.json").write_text(text)
    with contextlib.closing(EmbeddedIndex(path, "docs")) as again:
        with pytest.raises(IndexUnavailableError) as raised:
            again.count(lineage=OURS)
        assert str(path) in str(raised.value)
        assert "backup" in raised.value.remedy
        again.drop()
    assert list(path.iterdir()) == []


def test_a_disk_that_is_nearly_full_is_refused_before_anything_is_written(
    index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.upsert([make_point(1), make_point(2)])
    monkeypatch.setattr(embedded, "RESERVE", 1 << 60)
    for write in (lambda: index.upsert([make_point(3)]), lambda: index.set_payloads([(make_point(1).id, {"n": 7})])):
        with pytest.raises(IndexUnavailableError, match="nearly full") as raised:
            write()
        assert "Free some space" in raised.value.remedy
    index.delete([make_point(2).id])  # the way out
    assert [point.payload["n"] for point in index.scroll(lineage=OURS)] == [1]


def test_tidying_up_changes_nothing(index: EmbeddedIndex) -> None:
    index.upsert([make_point(number) for number in range(100)])
    index.delete([make_point(number).id for number in range(50)])
    before = list(index.scroll(lineage=OURS, with_vectors=True))
    index.optimize()
    assert list(index.scroll(lineage=OURS, with_vectors=True)) == before
    assert len(before) == 50


# Other processes


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Runs a script in a process of its own, and waits until it has said its first line."""
    here = Path(__file__).parent
    prelude = f"import sys\nOURS = {OURS!r}\nsys.path[:0] = [{str(here)!r}, {str(here.parent)!r}]\n"
    process = subprocess.Popen(
        [sys.executable, "-c", prelude + script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


HOLD = """
from pathlib import Path
from qloader.index.embedded import EmbeddedIndex
index = EmbeddedIndex(Path(sys.argv[1]), "docs")
index.count(lineage=OURS)
print("ready", flush=True)
sys.stdin.readline()
index.close()
print("closed", flush=True)
sys.stdin.readline()
"""


def test_an_index_that_another_process_holds_is_an_error_that_says_so(path: Path, index: EmbeddedIndex) -> None:
    index.upsert([make_point(1)])
    index.close()
    with start(HOLD, path) as holder:
        with contextlib.closing(EmbeddedIndex(path, "docs", lock_wait=0)) as waiting:
            calls = (
                waiting.describe,
                lambda: waiting.create(lineage=OURS, pipeline="p"),
                lambda: waiting.count(lineage=OURS),
                lambda: waiting.upsert([make_point(2)]),
                waiting.drop,
            )
            for call in calls:
                with pytest.raises(IndexUnavailableError, match="another process has it open") as raised:
                    call()
                assert "one process at a time" in raised.value.remedy
            assert read_marker(path, "docs") == Marker("docs", OURS, "p")
            # As soon as the other one lets go, the same index goes through.
            assert holder.stdin is not None
            assert holder.stdout is not None
            holder.stdin.write("\n")
            holder.stdin.flush()
            assert holder.stdout.readline() == "closed\n"
            assert waiting.count(lineage=OURS) == 1
        holder.communicate("\n")


FLUSH = """
from test_embedded_index import make_point
from pathlib import Path
from qloader.index.embedded import EmbeddedIndex
index = EmbeddedIndex(Path(sys.argv[1]), "docs")
index.upsert([make_point(number) for number in range(50)])
print("ready", flush=True)
sys.stdin.readline()
index.flush()
index.upsert([make_point(number) for number in range(50, 100)])
index.flush()
index.close()
"""


def test_whoever_finds_an_index_held_does_no_harm_to_the_holder(path: Path, index: EmbeddedIndex) -> None:
    """The engine by itself does: when it opens its files it puts away the journal of what is not flushed yet."""
    index.upsert([make_point(0)])
    index.flush()
    index.close()
    with start(FLUSH, path) as holder:
        for _ in range(3):
            other = EmbeddedIndex(path, "docs", lock_wait=0)
            with contextlib.closing(other), pytest.raises(IndexUnavailableError, match="another process has it open"):
                other.count(lineage=OURS)
        holder.communicate("\n")
        assert holder.returncode == 0
    with contextlib.closing(EmbeddedIndex(path, "docs")) as again:
        assert again.count(lineage=OURS) == 100


def test_the_engine_is_not_called_while_somebody_has_the_folder(path: Path, index: EmbeddedIndex) -> None:
    index.close()
    with (path / "docs" / LOCK).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        other = EmbeddedIndex(path, "docs", lock_wait=0)
        with contextlib.closing(other), pytest.raises(IndexUnavailableError, match="another process has it open"):
            other.count(lineage=OURS)


def test_an_index_that_is_let_go_in_time_is_waited_for(path: Path, index: EmbeddedIndex) -> None:
    index.close()
    with start(HOLD, path) as holder:
        with contextlib.closing(EmbeddedIndex(path, "docs", lock_wait=60)) as waiting:
            assert holder.stdin is not None
            holder.stdin.write("\n")
            holder.stdin.flush()
            assert waiting.count(lineage=OURS) == 0
        holder.communicate("\n")


def test_whoever_comes_again_at_once_waits_until_the_next_one_had_its_turn(path: Path, index: EmbeddedIndex) -> None:
    index.close()
    folder = path / "docs"
    one, other = FolderLock(folder), FolderLock(folder)
    one.take(0)
    waiting = threading.Thread(target=other.take, args=(60,))
    waiting.start()
    while _is_free(folder / NEXT):
        assert waiting.is_alive()
        time.sleep(0.001)
    one.give_back()
    with pytest.raises(HeldError):
        one.take(0)
    waiting.join()
    other.give_back()
    one.take(0)
    one.give_back()


def _is_free(file: Path) -> bool:
    if not file.exists():
        return True
    with file.open("rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


WRITE = """
import itertools
from pathlib import Path
from qloader.index.embedded import EmbeddedIndex
from test_embedded_index import make_point
index = EmbeddedIndex(Path(sys.argv[1]), "docs")
print("ready", flush=True)
for batch in itertools.count():
    index.upsert([make_point(number) for number in range(batch * 50, batch * 50 + 50)])
    if batch:
        index.set_payloads([(make_point(batch * 50 - 1).id, {"n": "changed", "qloader": {"lineage": OURS}})])
        index.delete([make_point(batch * 50 - 50).id])
    print(batch, flush=True)
"""


@pytest.mark.parametrize("batches", [1, 12])
def test_what_was_written_survives_the_death_of_its_process(path: Path, index: EmbeddedIndex, batches: int) -> None:
    """Killed while it goes on writing: everything that returned before is there."""
    index.close()
    with start(WRITE, path) as writer:
        assert writer.stdout is not None
        for batch in range(batches):
            assert writer.stdout.readline() == f"{batch}\n"
        os.kill(writer.pid, signal.SIGKILL)
    with contextlib.closing(EmbeddedIndex(path, "docs", lock_wait=60)) as again:
        found = {point.id: point for point in again.scroll(lineage=OURS, with_vectors=True)}
        assert again.count(lineage=OURS) == len(found)
        for number in range(batches * 50):
            point = make_point(number)
            # Each batch deleted the first point of the one before it, and changed the last.
            is_past = number < (batches - 1) * 50
            if is_past and number % 50 == 0:
                assert point.id not in found
                continue
            if number % 50 == 49:
                expected = {"changed"} if is_past else {"changed", number}
                assert found[point.id].payload["n"] in expected
            elif number != (batches - 1) * 50:
                assert found[point.id].payload == point.payload
        again.upsert([make_point(0)])
        assert again.retrieve([make_point(0).id], with_payload=True)[0].payload == make_point(0).payload
