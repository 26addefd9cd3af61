"""A state in a store that several machines share: docs/state-management.md."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from qloader import Workspace
from qloader.errors import (
    ConfigError,
    LockedError,
    StalePlanError,
    StateConnectionError,
    StateError,
    StateUnreachableError,
    StateVersionError,
)
from qloader.state.ledger import Ledger
from support.runners import NAME, URL, Team, some_pages
from support.s3_loopback import DOWN, FORBIDDEN, LOST_ANSWER, S3, Trouble
from support.workspaces import plan_and_apply


def lock_of(s3: S3) -> dict:
    return json.loads(s3.read(f"{NAME}.lock"))


def versions(s3: S3) -> list[str]:
    return sorted(name for name in s3.objects if name.startswith(f"{NAME}.versions/"))


def serial(runner: Workspace) -> int:
    header = runner.status().header
    return header.serial if header else 0


@pytest.fixture
def loaded(team: Team) -> Workspace:
    """A runner that applied five pages."""
    team.write(some_pages(5))
    runner = team.runner("first")
    plan_and_apply(runner)
    return runner


# The story


def test_a_second_runner_with_an_empty_folder_goes_on_where_the_first_ended(team: Team, loaded: Workspace) -> None:
    second = team.runner("second")
    with second.temporary_plan() as result:
        assert result.plan.header.is_empty
    team.write({"docs/page-01.md": None, "docs/page-02.md": "# Page 2\n\nOther words.\n", "notes/new.md": "# New\n"})
    done = plan_and_apply(second)
    assert (done.created, done.updated, done.deleted) == (1, 1, 1)
    assert serial(loaded) == serial(second)
    team.assert_all_is_well(loaded)
    with loaded.temporary_plan() as result:
        assert result.plan.header.is_empty


def test_an_unchanged_state_is_not_downloaded_again(team: Team, loaded: Workspace, s3: S3) -> None:
    second = team.runner("second")
    with second.temporary_plan():
        pass
    assert len(s3.downloads(NAME)) == 1
    s3.mend()
    with second.temporary_plan():
        pass
    asked = [seen for seen in s3.seen if seen.path.endswith(NAME)]
    assert {(seen.status, seen.size) for seen in asked} == {(304, 0)}
    assert len(asked) == 2, "once to read it, once to see that it did not move meanwhile"
    assert [seen for seen in s3.seen if seen not in asked] == []


def test_the_object_is_the_compressed_database_and_says_what_it_is(loaded: Workspace, s3: S3) -> None:
    magic, label, body = s3.read(NAME).split(b"\n", 2)
    facts = json.loads(label)
    assert magic == b"qloader-state"
    assert (facts["lineage"], facts["serial"]) == (loaded.status().header.lineage, serial(loaded))
    assert facts["length"] == len(body) < loaded.settings.state.stat().st_size


def test_nothing_of_this_machine_is_in_the_object(team: Team, loaded: Workspace, tmp_path: Path) -> None:
    pulled = team.runner("second").pull_state(tmp_path / "pulled.db")
    with sqlite3.connect(pulled) as state:
        assert state.execute("SELECT count(*) FROM lease").fetchone() == (0,)
        assert state.execute("SELECT count(*) FROM meta WHERE key LIKE 'remote_%'").fetchone() == (0,)
        assert state.execute("SELECT count(*) FROM document").fetchone() == (5,)


def test_former_states_are_kept_the_newest_so_many(team: Team, loaded: Workspace, s3: S3) -> None:
    assert versions(s3) == []
    runner = team.runner("few", state=team.state.replace("{url", "{versions: 2, url"))
    serials = []
    for word in ("one", "two", "three"):
        serials.append(serial(runner))
        team.write({"docs/page-00.md": f"# Page 0\n\n{word}\n"})
        plan_and_apply(runner)
    plan_and_apply(runner)  # nothing to do: no version of that
    assert [int(name.rpartition("/")[2].partition("-")[0]) for name in versions(s3)] == serials[1:]


def test_a_plan_of_one_runner_is_applied_by_another(team: Team, loaded: Workspace, tmp_path: Path) -> None:
    team.write({"docs/page-01.md": "# Page 1\n\nOther words.\n"})
    team.runner("second").plan(tmp_path / "plan.json")
    assert team.runner("third").apply(tmp_path / "plan.json").updated == 1
    with pytest.raises(StalePlanError):
        team.write({"docs/page-01.md": "# Page 1\n\nYet other words.\n"})
        plan_and_apply(loaded)
        team.runner("fourth").apply(tmp_path / "plan.json")


def test_ingest_holds_the_lock_of_all_machines_from_its_plan_on(team: Team, loaded: Workspace, s3: S3) -> None:
    team.write({"notes/new.md": "# New\n"})
    second = team.runner("second")
    with loaded.locked():
        with pytest.raises(LockedError, match="is locked by"):
            plan_and_apply(second)
        plan_and_apply(loaded)
    assert lock_of(s3)["lease"] is None
    with loaded.locked():  # and nothing applied
        pass
    assert lock_of(s3)["lease"] is None
    team.assert_all_is_well(second)


@pytest.mark.parametrize("what", ["rm", "refresh", "rebuild"])
def test_every_writer_puts_what_it_wrote(team: Team, loaded: Workspace, s3: S3, what: str) -> None:
    before = s3.read(NAME)
    if what == "rm":
        loaded.remove_from_state(["docs/page-03.md"])
    elif what == "refresh":
        loaded.refresh()
    else:
        loaded.rebuild_state()
    assert s3.read(NAME) != before
    second = team.runner("second")
    plan_and_apply(second)
    team.assert_all_is_well(second)


def test_a_copy_is_not_written_as_if_it_were_the_state(loaded: Workspace) -> None:
    import asyncio

    with pytest.raises(StateError, match=f"is this machine's copy of the state {URL}"):
        asyncio.run(Ledger(loaded.settings.state).mark_document_deleted("docs", "page-01.md"))


# What a store, a network and other people do


def test_a_store_that_is_down_is_an_error_and_no_reason_to_plan_from_an_old_copy(loaded: Workspace, s3: S3) -> None:
    s3.trouble("GET", [DOWN] * 9)
    with (
        pytest.raises(StateUnreachableError, match=f"the state {URL} cannot be read") as raised,
        loaded.temporary_plan(),
    ):
        pass
    assert "run the same command again" in raised.value.remedy


def test_a_put_at_the_end_that_fails_is_told_and_made_good_by_the_same_command(
    team: Team, loaded: Workspace, s3: S3, tmp_path: Path
) -> None:
    team.write({"notes/new.md": "# New\n"})
    loaded.plan(tmp_path / "plan.json")
    s3.trouble(f"PUT .*{NAME}$", [DOWN] * 9, passing=1)
    with pytest.raises(StateUnreachableError, match="cannot be written") as raised:
        loaded.apply(tmp_path / "plan.json")
    assert "Run the same command again" in raised.value.remedy
    s3.mend()
    with loaded.temporary_plan() as result:
        assert result.plan.header.is_empty
    assert "could not put" in team.told[-1]
    assert team.runner("second").status().interrupted == 1
    assert loaded.apply(tmp_path / "plan.json").already == 1
    team.assert_all_is_well(team.runner("third"))


def test_a_put_whose_answer_is_lost_is_known_as_our_own(team: Team, loaded: Workspace, s3: S3) -> None:
    team.write({"notes/new.md": "# New\n"})
    s3.trouble(f"PUT .*{NAME}$", [LOST_ANSWER, Trouble(), LOST_ANSWER, LOST_ANSWER, LOST_ANSWER])
    with pytest.raises(StateUnreachableError):
        plan_and_apply(loaded)
    s3.mend()
    assert serial(loaded) == serial(team.runner("second"))
    plan_and_apply(loaded)
    team.assert_all_is_well(team.runner("third"))


def test_a_state_that_somebody_else_put_meanwhile_is_not_written_over(team: Team, loaded: Workspace, s3: S3) -> None:
    theirs = team.runner("second")
    with loaded.settings.write_state() as state:
        state.lock()
        lease = lock_of(s3)["lease"]["id"]
        theirs.unlock(lease)
        team.write({"notes/new.md": "# New\n"})
        plan_and_apply(theirs)
        put = s3.read(NAME)
        state.remove_documents([("docs", "page-03.md")])
        with pytest.raises(LockedError, match="changed by somebody else") as raised:
            state.save()
    kept = Path(str(raised.value).rpartition(" ")[2])
    assert kept.exists()
    assert s3.read(NAME) == put
    team.assert_all_is_well(loaded)


def test_a_copy_that_is_ahead_of_a_state_that_went_on_is_kept_aside(team: Team, loaded: Workspace, s3: S3) -> None:
    s3.trouble(f"PUT .*{NAME}$", [DOWN] * 9)
    with pytest.raises(StateUnreachableError):
        loaded.remove_from_state(["docs/page-03.md"])
    s3.mend()
    team.write({"notes/new.md": "# New\n"})
    plan_and_apply(team.runner("second"))
    assert len(list(loaded.documents())) == 6
    aside = sorted(loaded.settings.state.parent.glob("state.db.backup-*"))
    assert any("went on without this machine" in told and str(aside[-1]) in told for told in team.told)
    with sqlite3.connect(aside[-1]) as state:
        assert state.execute("SELECT count(*) FROM document").fetchone() == (4,)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (FORBIDDEN, "the store refuses access \\(AccessDenied"),
        (Trouble(403, "RequestTimeTooSkewed"), "this machine's clock is wrong"),
        (Trouble(404, "NoSuchBucket"), "no such bucket"),
    ],
)
def test_what_will_not_pass_is_told_with_its_reason(loaded: Workspace, s3: S3, trouble: Trouble, words: str) -> None:
    s3.trouble("GET", [trouble])
    with pytest.raises(StateConnectionError, match=words) as raised:
        loaded.status()
    assert raised.value.remedy
    s3.mend()
    if trouble.status == 404:
        return  # of a put that names a version, that is said of the object
    s3.trouble("PUT", [trouble])
    with pytest.raises(StateConnectionError, match=words):
        plan_and_apply(loaded)


def test_a_slow_store_is_waited_for_and_a_dead_one_given_up(
    team: Team, loaded: Workspace, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.trouble(f"GET .*{NAME}$", [Trouble(delay=0.4)])
    with team.runner("second").temporary_plan() as result:
        assert result.plan.header.is_empty
    for name in ("SHORT_SECONDS", "READ_SECONDS", "LONG_SECONDS"):
        monkeypatch.setattr(f"qloader.state.remote.store.{name}", 0.2)
    s3.trouble(f"GET .*{NAME}$", [Trouble(delay=1.5)] * 3)
    with pytest.raises(StateUnreachableError, match="cannot be read"):
        team.runner("third").status()


@pytest.mark.parametrize("length", [0, 5, 40, 600, -1])
def test_an_object_that_is_cut_short_is_told_and_nothing_of_it_taken(
    team: Team, loaded: Workspace, s3: S3, length: int
) -> None:
    s3.write(NAME, s3.read(NAME)[:length])
    second = team.runner("second")
    with pytest.raises(StateError, match=r"the object \S+ (is cut short|is damaged|is no state)") as raised:
        second.status()
    assert raised.value.remedy
    assert not second.settings.state.exists()
    with pytest.raises(StateError):
        loaded.status()


def test_an_object_that_is_another_s_or_damaged_or_newer_is_refused(team: Team, loaded: Workspace, s3: S3) -> None:
    whole = s3.read(NAME)
    s3.write(NAME, whole[:-20] + b"\0" * 20)
    with pytest.raises(StateError, match="is damaged"):
        team.runner("second").status()
    s3.write(NAME, b"<html>a page</html>")
    with pytest.raises(StateError, match="is no state of qloader"):
        team.runner("second").status()
    s3.write(NAME, whole.replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(StateVersionError, match="written by a newer qloader"):
        team.runner("second").status()


def test_a_state_that_is_gone_is_no_new_beginning(team: Team, loaded: Workspace, s3: S3) -> None:
    del s3.objects[NAME]
    with pytest.raises(StateError, match="is gone; this machine knew it") as raised, loaded.temporary_plan():
        pass
    assert f"qloader state push {loaded.settings.state}" in raised.value.remedy
    loaded.push_state(loaded.settings.state)
    team.assert_all_is_well(team.runner("second"))


def test_what_a_killed_process_left_half_way_is_swept_up(loaded: Workspace) -> None:
    folder = loaded.settings.state.parent
    for name in (".packing.1", ".fetched.1"):
        (folder / name).write_bytes(b"half a state")
    plan_and_apply(loaded)
    assert [path.name for path in folder.iterdir() if path.name.startswith((".packing", ".fetched"))] == []


def test_a_damaged_copy_is_put_aside_and_fetched_again(team: Team, loaded: Workspace) -> None:
    with sqlite3.connect(loaded.settings.state) as state:
        state.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    loaded.settings.state.write_bytes(b"no database at all" * 100)
    assert len(list(loaded.documents())) == 5
    assert "was damaged" in team.told[-1]


@pytest.mark.parametrize("answer", ["blind", "says so"])
def test_a_store_without_conditional_writes_is_refused_with_the_reason(team: Team, s3: S3, answer: str) -> None:
    team.write(some_pages(1))
    runner = team.runner("first")
    if answer == "blind":
        s3.is_blind = True
    else:
        s3.trouble("PUT .*lock$", [Trouble(501, "NotImplemented")] * 9)
    with pytest.raises(StateConnectionError, match="knows no conditional writes") as raised:
        plan_and_apply(runner)
    assert "Use a store that does" in raised.value.remedy
    assert NAME not in s3.objects
    s3.mend()
    s3.is_blind = False
    plan_and_apply(runner)  # and no lock was left behind


def test_that_there_are_no_credentials_is_told(team: Team, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")  # where a cloud tells a machine's role
    runner = team.runner(
        "first", state=f"state: {{url: '{URL}', options: {{endpoint: '{s3.url}', region: us-east-1}}}}"
    )
    with pytest.raises(StateConnectionError, match="there are no credentials, and this machine has no role"):
        runner.status()


def test_no_key_is_in_an_error(loaded: Workspace, s3: S3) -> None:
    s3.trouble("GET", [Trouble(403, "SignatureDoesNotMatch loopback-secret-1f9e AKIALOOPBACK")])
    with pytest.raises(StateConnectionError) as raised:
        loaded.status()
    assert "***" in str(raised.value)
    assert "loopback-secret" not in str(raised.value)


# Moving


def test_a_local_state_moves_to_the_store_and_the_file_is_kept(team: Team, s3: S3) -> None:
    team.write(some_pages(3))
    plan_and_apply(team.runner("first", state=""))
    runner = team.runner("first")
    with pytest.raises(StateError, match=r"there is one at .*, where it was before") as raised, runner.temporary_plan():
        pass
    assert "qloader state migrate" in raised.value.remedy
    assert NAME not in s3.objects
    kept = runner.move_state()
    assert kept is not None
    assert kept.exists()
    assert not (kept.parent / "state.db").exists()
    assert runner.move_state() is None
    team.assert_all_is_well(team.runner("second"))
    with runner.temporary_plan() as result:
        assert result.plan.header.is_empty


def test_a_pushed_state_is_refused_where_it_is_older_or_another_s_unless_forced(
    team: Team, loaded: Workspace, s3: S3, tmp_path: Path
) -> None:
    older = loaded.pull_state(tmp_path / "older.db")
    with pytest.raises(StateError, match="exists, and is left as it is"):
        loaded.pull_state(older)
    team.write({"notes/new.md": "# New\n"})
    plan_and_apply(loaded)
    newer = serial(loaded)
    second = team.runner("second")
    with pytest.raises(StateError, match=f"and the remote one at {newer} already"):
        second.push_state(older)
    second.push_state(older, force=True)
    assert any(int(name.rpartition("/")[2].partition("-")[0]) == newer for name in versions(s3))
    assert serial(loaded) < newer
    plan_and_apply(loaded, refresh=True)
    team.assert_all_is_well(loaded)
    with sqlite3.connect(older) as state:
        state.execute("UPDATE meta SET value = 'another' WHERE key = 'lineage'")
    with pytest.raises(StateError, match="is another, and the remote one is"):
        second.push_state(older)
    with pytest.raises(StateError, match="there is no state in"):
        second.push_state(tmp_path / "nothing.db")


def test_pull_and_push_are_for_remote_states(team: Team, tmp_path: Path) -> None:
    local = team.runner("local", state="")
    with pytest.raises(StateError, match=r"the config names no state\.url"):
        local.pull_state(tmp_path / "state.db")


# In a folder


def test_a_folder_does_as_well(team: Team, tmp_path: Path) -> None:
    team.s3, team.url = None, f"file://{tmp_path}/shared/handbook"
    team.write(some_pages(3))
    first, second = team.runner("first"), team.runner("second")
    with pytest.raises(StateConnectionError, match="there is no folder"):  # a disk that is not mounted, say
        plan_and_apply(first)
    (tmp_path / "shared").mkdir()
    plan_and_apply(first)
    team.write({"docs/page-01.md": None, "notes/new.md": "# New\n"})
    with second.settings.write_state() as state:
        state.lock()
        with pytest.raises(LockedError):
            plan_and_apply(first)
    plan_and_apply(second)
    team.assert_all_is_well(first)
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == [
        "handbook", "handbook.flock", "handbook.lock", "handbook.versions"
    ]  # fmt: skip


# The config


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("{url: 'ftp://x/y'}", "expected the place of an object"),
        ("{url: 's3://bucket'}", "expected the place of an object"),
        ("{url: 'file://folder/y'}", "expected the place of an object"),
        ("{url: 's3://key:secret@bucket/y'}", "an address holds no credentials"),
        ("{url: 's3://bucket/y', path: state.db}", "`url` and `path` exclude each other"),
        ("{url: 'gs://bucket/y', options: {region: x}}", "a store of the kind gs:// knows no `region`"),
        ("{url: 's3://bucket/y', options: {regoin: x}}", 'did you mean "region"'),
        ("{options: {region: x}}", "`region` is for the store of a state that has a `url`"),
    ],
)
def test_a_mistake_in_the_config_is_told(team: Team, state: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        team.runner("first", state=f"state: {state}")
    assert words in str(raised.value)
    assert "key:secret" not in str(raised.value)
