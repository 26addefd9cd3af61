"""Plans, states and indexes that are damaged, foreign, newer, copied, held or gone: refused, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.command_line import Prompt
from support.workspaces import CONFIG, assert_index_is_a_fresh_load, make_workspace, write

WRITING = (["apply", "plan.json"], ["apply", "--auto-approve"], ["ingest"], ["destroy", "--auto-approve"])
READING = (["plan"], ["search", "gardens"])


@pytest.fixture
def due(applied: Prompt) -> Prompt:
    """Something applied, and a plan for more: `plan.json`."""
    write(applied.docs, {"new.md": "# New\n\nnew", "page-0000.md": "# Zero\n\nchanged"})
    applied.ok("plan", "-o", "plan.json")
    return applied


def points(prompt: Prompt) -> int:
    return int(prompt.ok("status", "--format", "json").json["points"])


def state(prompt: Prompt) -> Path:
    return prompt.folder / ".qloader" / "state.db"


def index(prompt: Prompt) -> Path:
    return prompt.folder / ".qloader" / "index"


# Plans


def change(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def edit(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new, 1)

    return edit


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda data: data[: len(data) // 2], "is cut short: it has no digest at its end"),
        (lambda data: data[:-2], "was changed after it was written: its end is missing, or there is more after it"),
        (lambda data: data + b"{}", "was changed after it was written: its end is missing, or there is more after it"),
        (change(b'"bytes": 1', b'"bytes": 2'), "was changed after it was written: its digest is"),
        (change(b'"delete": 0', b'"delete": 1'), "was changed after it was written: its digest is"),
        (change(b'"action": "update"', b'"action": "delete"'), "was changed after it was written: its digest is"),
        (lambda data: data.replace(b"\n", b"\r\n"), "was changed after it was written: its digest is"),
        (change(b"qloader.plan/1", b"qloader.plan/2"), "has the format qloader.plan/2; this qloader reads"),
        (lambda data: b"", "is no plan file"),
        (lambda data: b"\0" * 5_000, "is no plan file"),
        (lambda data: os.urandom(5_000), "is no plan file"),
        (lambda data: b'{"format": "qloader.plan/1"}', "is no plan file"),
    ],
    ids=range(12),
)
def test_a_plan_that_is_not_as_it_was_written_is_refused_with_exit_code_4(
    due: Prompt, edit: Callable[[bytes], bytes], says: str
) -> None:
    (due.folder / "bad.json").write_bytes(edit((due.folder / "plan.json").read_bytes()))
    for command in ("apply", "show", "verify"):
        answer = due(command, "bad.json")
        assert (answer.code, answer.out) == (4, "")
        assert answer.error.startswith(f"Error: bad.json {says}")
        assert answer.remedy.strip()
    assert points(due) == 12
    due.ok("apply", "plan.json")


def test_a_plan_file_that_is_no_file_is_refused_without_being_read(due: Prompt) -> None:
    os.mkfifo(due.folder / "pipe")
    for name in ("docs", "pipe", "/dev/zero", "/dev/null"):
        answer = due("apply", name)
        assert (answer.code, answer.error) == (4, f"Error: the plan {name} cannot be read: it is no file")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("name: test", "name: other", "its name is test, the config's is other"),
        ("collection: test", "collection: other", "its collection is test, the config's is other"),
        ("path: .qloader/index", "path: other", "its index is embedded:.qloader/index, the config's is embedded:other"),
        ("max_chars: 200", "max_chars: 300", "its pipeline is "),
        ("docs: {type: files, path: docs}", "docs: {type: git, url: .}", "docs is of type files in the plan, and git"),
        ("docs: {type: files,", "else: {type: files,", "docs is of type files in the plan, and missing"),
    ],
)  # fmt: skip
def test_a_plan_of_another_config_is_refused(due: Prompt, old: str, new: str, says: str) -> None:
    text = (due.folder / "qloader.yaml").read_text()
    assert old in text
    due.configure(text.replace(old, new), name="other.yaml")
    answer = due("apply", "plan.json", "-c", "other.yaml")
    assert answer.code == 4
    assert says in answer.error
    due.ok("apply", "plan.json")


def test_a_plan_of_another_state_is_refused(due: Prompt, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = make_workspace(tmp_path_factory.mktemp("other"), batch=5)
    write(other.settings.config.base / "docs", {"a.md": "a"})
    with other.temporary_plan() as result:
        other.apply(result.plan)
    answer = due("apply", "plan.json", "-c", str(other.settings.config.file))
    assert answer.code == 4
    assert answer.error.startswith("Error: the plan rests on another state: ")


def test_a_first_plan_is_stale_once_anything_was_applied(prompt: Prompt) -> None:
    prompt.ok("plan", "-o", "first.json")
    write(prompt.docs, {"new.md": "new"})
    prompt.load()
    answer = prompt("apply", "first.json")
    assert answer.code == 4
    assert "the plan was made before anything was applied here" in answer.error


def test_writing_a_plan_to_a_pipe_writes_into_it(prompt: Prompt) -> None:
    os.mkfifo(prompt.folder / "pipe")
    with subprocess.Popen(["cat", "pipe"], cwd=prompt.folder, stdout=subprocess.PIPE) as reader:
        prompt.ok("plan", "-o", "pipe")
        out, _ = reader.communicate(timeout=300)
    assert (prompt.folder / "pipe").is_fifo()
    assert out == prompt.ok("plan", "--format", "json").out.encode()


def test_writing_a_plan_to_a_device_never_replaces_it(prompt: Prompt) -> None:
    # A device of our own, with the numbers of /dev/null: whoever breaks this must not break the machine.
    null = prompt.folder / "null"
    try:
        os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        null.write_bytes(b"")
    except OSError as error:
        pytest.skip(f"no devices here: {error.strerror}")
    prompt.ok("plan", "-o", "null")
    assert null.is_char_device()


def test_writing_a_plan_through_a_link_keeps_the_link(prompt: Prompt) -> None:
    (prompt.folder / "plans").mkdir()
    (prompt.folder / "plan.json").symlink_to("plans/today.json")
    prompt.load()
    assert (prompt.folder / "plan.json").is_symlink()
    assert (prompt.folder / "plans" / "today.json").is_file()


def test_a_plan_that_cannot_be_written_leaves_the_old_one(due: Prompt) -> None:
    before = (due.folder / "plan.json").read_bytes()
    for target in ("nosuch/plan.json", "docs", "qloader.yaml/plan.json"):
        answer = due("plan", "-o", target)
        assert answer.code == 1
        assert answer.error.startswith(f"Error: the plan {target} cannot be written: ")
    assert (due.folder / "plan.json").read_bytes() == before
    assert [p.name for p in due.folder.iterdir() if p.name.startswith(".qloader-plan")] == []


# States


def break_header(path: Path) -> None:
    path.write_bytes(b"no database at all " * 300)


def break_pages(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"Z" * (len(data) - 4096)
    path.write_bytes(data)


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [break_header, break_pages, cut_in_half])
def test_a_damaged_state_stops_everything_and_names_the_way_out(due: Prompt, damage: Callable[[Path], None]) -> None:
    backup = due.folder / "backup.db"
    due.ok("state", "backup", backup)
    damage(state(due))
    for command in (*READING, *WRITING, ["status"], ["history"], ["state", "list"], ["state", "backup"]):
        answer = due(*command)
        assert answer.code == 1, command
        assert "is damaged or is no SQLite database" in answer.error
        assert "Restore a backup" in answer.remedy
    assert list(state(due).parent.glob("state.db.backup-*")) == []  # no copy of damage among the good ones
    state(due).write_bytes(backup.read_bytes())
    due.ok("apply", "plan.json")
    assert_index_is_a_fresh_load(due.workspace)


def test_damage_deep_in_a_state_is_named_by_the_plan_that_meets_it(prompt: Prompt) -> None:
    write(prompt.docs, {f"more-{n:04}.md": f"# {n}\n\nmore {n}" for n in range(400)})
    prompt.load()
    with sqlite3.connect(state(prompt)) as connection:
        page = connection.execute(
            "SELECT pageno FROM dbstat WHERE name = 'document' AND pagetype = 'leaf' ORDER BY pageno DESC LIMIT 1"
        ).fetchone()[0] if has_dbstat(connection) else pytest.skip("SQLite without dbstat")  # fmt: skip
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    data = bytearray(state(prompt).read_bytes())
    data[(page - 1) * size : page * size] = b"\xa5" * size
    state(prompt).write_bytes(data)
    write(prompt.docs, {f"more-{n:04}.md": f"# {n}\n\nother {n}" for n in range(400)})
    answer = prompt("plan")
    assert answer.code == 1
    assert "is damaged or is no SQLite database" in answer.error


def has_dbstat(connection: sqlite3.Connection) -> bool:
    with contextlib.suppress(sqlite3.Error):
        connection.execute("SELECT 1 FROM dbstat LIMIT 1")
        return True
    return False


def test_a_state_of_a_newer_qloader_is_refused_by_every_command(due: Prompt) -> None:
    with sqlite3.connect(state(due)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = state(due).read_bytes()
    for command in (*READING, *WRITING, ["status"], ["state", "list"], ["state", "backup"], ["state", "unlock", "x"]):
        answer = due(*command)
        assert answer.code == 1, command
        assert "has schema version 99; this qloader knows up to" in answer.error
        assert "Upgrade qloader" in answer.remedy
    assert state(due).read_bytes() == before


@pytest.mark.parametrize("version", [0, 1, 7, 99])
@pytest.mark.parametrize("application", [0, 4711])
def test_another_programs_database_is_never_touched(prompt: Prompt, version: int, application: int) -> None:
    state(prompt).parent.mkdir()
    with sqlite3.connect(state(prompt)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
        connection.execute("INSERT INTO theirs VALUES (1)")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute(f"PRAGMA application_id = {application}")
    before = state(prompt).read_bytes()
    for command in (["plan"], ["apply", "--auto-approve"], ["status"], ["state", "backup"], ["state", "unlock", "x"]):
        answer = prompt(*command)
        assert answer.code == 1, command
        assert "SQLite database" in answer.error
        assert "state.path" in answer.remedy
    assert state(prompt).read_bytes() == before
    assert {p.name for p in state(prompt).parent.iterdir()} <= {"state.db", "cache.db", "cache.db.lock"}


def test_a_state_that_is_a_folder_is_named_as_one(prompt: Prompt) -> None:
    state(prompt).mkdir(parents=True)
    for command in (["plan"], ["apply", "--auto-approve"], ["status"]):
        answer = prompt(*command)
        assert answer.code == 1
        assert answer.error.endswith("is a folder, not a file")


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["gone", "emptied"])
def test_a_lost_state_is_no_reason_to_load_everything_a_second_time(due: Prompt, lose: Callable[[Path], None]) -> None:
    lose(state(due))
    for command in (["plan"], ["apply", "--auto-approve"], ["ingest"], ["apply", "plan.json"]):
        answer = due(*command)
        assert answer.code in (1, 4), command
        assert "there is no state here" in answer.error or "there is none here" in answer.error
    due.ok("state", "rebuild")
    due.load()
    assert_index_is_a_fresh_load(due.workspace)


def test_a_state_of_another_name_is_not_planned_with(due: Prompt) -> None:
    text = (due.folder / "qloader.yaml").read_text()
    due.configure(text.replace("name: test", "name: other"))
    for command in (*READING[:1], ["ingest"], ["validate"]):
        answer = due(*command)
        assert answer.code == 1
        assert "the state belongs to the config test, and this config is named other" in answer.err
    due.configure(text)
    due.ok("apply", "plan.json")


@pytest.mark.parametrize(
    "place", ["collection: other, path: .qloader/index", "collection: test, url: 'http://127.0.0.1:9'"]
)
def test_another_collection_in_the_config_is_not_taken_for_a_lost_one(due: Prompt, place: str) -> None:
    text = (due.folder / "qloader.yaml").read_text()
    due.configure(text.replace("collection: test, path: .qloader/index", place))
    for command in (["plan"], ["ingest"]):
        answer = due(*command)
        assert answer.code == 1
        assert answer.error.startswith(
            "Error: the state belongs to the collection test at embedded:.qloader/index, and"
        )
    due.configure(text)
    due.ok("apply", "plan.json")


def test_a_backup_never_goes_over_a_file_that_is_there(due: Prompt) -> None:
    config = (due.folder / "qloader.yaml").read_bytes()
    mode = (due.folder / "qloader.yaml").stat().st_mode
    os.mkfifo(due.folder / "pipe")
    for target in ("qloader.yaml", ".qloader/state.db", "docs", "pipe"):
        answer = due("state", "backup", target)
        assert (answer.code, answer.error) == (1, f"Error: {target} exists, and is left as it is")
    assert (due.folder / "qloader.yaml").read_bytes() == config
    assert (due.folder / "qloader.yaml").stat().st_mode == mode
    due.ok("apply", "plan.json")


def test_a_backup_is_a_state_that_can_be_put_back(due: Prompt) -> None:
    due.ok("state", "backup", "copy.db")
    assert (due.folder / "copy.db").stat().st_mode & 0o777 == 0o600
    before = due.ok("state", "list", "--format", "json").json
    due.ok("apply", "plan.json")
    for name in ("state.db-wal", "state.db-shm"):
        (state(due).parent / name).unlink(missing_ok=True)
    shutil.copy(due.folder / "copy.db", state(due))
    assert due.ok("state", "list", "--format", "json").json == before
    due.ok("apply", "plan.json")  # what an old state does not know of is written once more, under the same ids
    assert_index_is_a_fresh_load(due.workspace)


# Indexes


def test_an_index_that_is_gone_is_named_by_everything_that_needs_it(due: Prompt) -> None:
    due.ok("apply", "plan.json")
    index(due).rename(due.folder / "away")
    for command in (*READING, *WRITING):
        answer = due(*command)
        assert answer.code == 1, command
        assert "the collection test is gone, but the state says that it holds 13 documents" in answer.error
        assert "Bring the index back" in answer.remedy
    (due.folder / "away").rename(index(due))
    assert due.ok("plan").last == "No changes. The index matches the sources."


def test_an_index_without_any_data_is_as_good_as_gone(due: Prompt) -> None:
    due.ok("apply", "plan.json")
    (shard,) = index(due).rglob("shard")
    shutil.copytree(shard, due.folder / "copy")
    for name in ("segments", "wal"):
        shutil.rmtree(shard / name)
    for command in (("plan",), ("apply", "--auto-approve"), ("search", "gardens")):
        answer = due(*command)
        assert answer.code == 1, command
        assert "the collection test is gone, but the state says that it holds 13 documents" in answer.error
    shutil.rmtree(shard)
    (due.folder / "copy").rename(shard)
    assert due.ok("plan").last == "No changes. The index matches the sources."


def test_an_index_that_was_copied_from_another_state_is_never_written_to(
    due: Prompt, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    write(other / "docs", {"a.md": "# A\n\nunicorns"})
    workspace = make_workspace(other)
    with workspace.temporary_plan() as result:
        workspace.apply(result.plan)
    index(due).rename(due.folder / "away")
    subprocess.run(["cp", "-a", str(other / ".qloader" / "index"), str(index(due))], check=True)
    for command in (*READING, *WRITING):
        answer = due(*command)
        assert answer.code == 1, command
        assert "the collection test belongs to the state" in answer.error
    assert workspace.search("unicorns")
    shutil.rmtree(index(due))
    (due.folder / "away").rename(index(due))
    due.ok("apply", "plan.json")
    assert_index_is_a_fresh_load(due.workspace)


def test_an_index_without_its_marker_or_with_a_damaged_one_is_not_guessed_at(due: Prompt) -> None:
    marker = index(due) / "test" / "qloader.json"
    text = marker.read_bytes()
    for damage in (b"", b"{", b"[]", b'{"format": "qloader.index/9"}', os.urandom(100)):
        marker.write_bytes(damage)
        for command in (*READING, *WRITING):
            answer = due(*command)
            assert answer.code == 1, command
            assert "unexpected" not in answer.error
    marker.write_bytes(text)
    due.ok("apply", "plan.json")


@contextlib.contextmanager
def held(prompt: Prompt) -> Iterator[None]:
    """The index, open in another process."""
    code = (
        "import sys; from qloader import Workspace; index = Workspace.open('qloader.yaml').settings.open_index(); "
        "index.describe(); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=prompt.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        yield
        assert other.stdin is not None
        other.stdin.close()


def test_an_index_that_another_process_has_open_can_be_planned_for_and_is_waited_for(due: Prompt) -> None:
    with held(due):
        assert due.ok("plan").last.startswith("Plan: 1 to create, 1 to update")
        for command in (["apply", "plan.json"], ["search", "gardens"]):
            answer = due(*command)
            assert answer.code == 1
            assert "another process has it open" in answer.error
    due.ok("apply", "plan.json")
    assert_index_is_a_fresh_load(due.workspace)


def test_a_server_that_is_down_can_be_planned_for_and_is_named(prompt: Prompt) -> None:
    config = CONFIG.format(path="docs", max_chars=200, batch=5, place="url: 'http://127.0.0.1:9'")
    prompt.configure(config.replace("size: 5", "size: 5, retry_attempts: 0"))
    prompt.ok("plan", "-o", "plan.json")
    for command in (["apply", "plan.json"], ["ingest"], ["validate"]):
        answer = prompt(*command)
        assert answer.code == 1
        assert "http://127.0.0.1:9" in answer.err
        assert "cannot be reached" in answer.err
    assert prompt.ok("status", "--format", "json").json["points"] == 0


# Caches


def test_a_damaged_cache_is_begun_anew_without_a_word(due: Prompt) -> None:
    cache = due.folder / ".qloader" / "cache.db"
    expected = due.ok("show", "plan.json", "--format", "json").out
    for damage in (break_header, break_pages, cut_in_half, Path.unlink, lambda path: path.write_bytes(b"")):
        damage(cache)
        answer = due.ok("plan", "--format", "json")
        assert (answer.out, answer.err) == (expected, "")


def test_a_cache_that_is_held_or_no_file_at_all_is_done_without(due: Prompt) -> None:
    import fcntl

    cache = due.folder / ".qloader" / "cache.db"
    expected = due.ok("plan", "--format", "json").out
    with cache.with_name("cache.db.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert due.ok("plan", "--format", "json").out == expected
    cache.unlink()
    cache.mkdir()
    assert due.ok("plan", "--format", "json").out == expected
