"""`--since`: only what changed is looked at, and nothing is deleted."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest

from qloader import Workspace
from qloader.errors import ConfigError, SourceError
from qloader.workspace.since import Since, parse_since
from support.command_line import QLOADER
from support.git_builder import START, Builder, Link
from support.workspaces import assert_index_is_a_fresh_load, make_workspace, plan_and_apply, write

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
KATHMANDU = timezone(timedelta(hours=5, minutes=45))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("24h", "2026-11-24T12:00:00+00:00"),
        ("1.5h", "2026-11-25T10:30:00+00:00"),
        ("90 m", "2026-11-25T10:30:00+00:00"),
        ("2w", "2026-11-11T12:00:00+00:00"),
        ("2026-11-01", "2026-11-01T00:00:00+00:00"),
        ("2026-11-01T10:00+02:00", "2026-11-01T08:00:00+00:00"),
        ("2026-11-01 10:00", "2026-11-01T10:00:00+00:00"),
        ("2026-11-01T10:00:30Z", "2026-11-01T10:00:30+00:00"),
        ("99999999d", "0001-01-01T00:00:00+00:00"),
        ("999999999999999d", "0001-01-01T00:00:00+00:00"),
        ("999999999w", "0001-01-01T00:00:00+00:00"),
        ("0001-01-01", "0001-01-01T00:00:00+00:00"),
        ("0001-01-01T00:00+05:00", "0001-01-01T00:00:00+00:00"),
    ],
)
def test_what_is_written_becomes_a_moment_in_utc(text, moment):
    assert parse_since(text, NOON) == Since(moment=datetime.fromisoformat(moment))


def test_a_date_is_midnight_where_the_person_is():
    since = parse_since("2026-11-01", NOON.astimezone(KATHMANDU))
    assert since.moment == datetime(2026, 10, 31, 18, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "text", "moment"),
    [
        ("Asia/Kathmandu", "2026-01-15", "2026-01-14T18:15:00+00:00"),
        ("Europe/Berlin", "2026-03-29T01:30", "2026-03-29T00:30:00+00:00"),  # the last half hour of winter
        ("Europe/Berlin", "2026-03-29T03:30", "2026-03-29T01:30:00+00:00"),  # and the first of summer
        ("America/New_York", "2026-07-01", "2026-07-01T04:00:00+00:00"),
        ("America/New_York", "2026-01-01", "2026-01-01T05:00:00+00:00"),
    ],
)
def test_the_zone_of_the_machine_counts_as_it_was_on_that_day(zone, text, moment):
    code = f"from qloader.workspace.since import parse_since; print(parse_since({text!r}).moment.isoformat())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TZ": zone}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == moment


def test_the_first_day_that_there_is_may_be_written_on_any_machine():
    assert parse_since("0001-01-01") == Since(moment=datetime.min.replace(tzinfo=UTC))


@pytest.mark.parametrize("text", ["2026-11-26", "9999-12-31T23:59-12:00", "2026-02-30", "2026-11-01T25:00", "", "-5h"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ConfigError) as caught:
        parse_since(text, NOON)
    assert "24h" in caught.value.remedy


GIT = "name: test\nguards: {max_delete_percent: null}\nsources: {repo: {type: git, url: repo}}\n"


@pytest.fixture
def repo(tmp_path):
    (tmp_path / "qloader.yaml").write_text(GIT)
    with Builder(tmp_path / "repo") as builder:
        yield builder


def changes(workspace, since):
    with workspace.temporary_plan(_request(since)) as result:
        assert result.refusal is None
        return {change.id: change.action for change in result.plan.changes()}, result.plan.header


def _request(since):
    from qloader.workspace.planning import PlanRequest

    return PlanRequest(since=since)


def at(hours):
    return Since(moment=datetime.fromtimestamp(START + 3600 * hours, UTC))


def test_git_looks_at_what_commits_since_changed_and_deletes_nothing(repo, tmp_path):
    old = {"a.md": "# A", "b.md": "# B", "gone.md": "# Gone", "c/d.md": "# D"}
    repo.commit(old)
    workspace = Workspace.open(tmp_path / "qloader.yaml")
    plan_and_apply(workspace)
    repo.commit({**old, "a.md": "# A, two"})
    last = {"a.md": "# A, two", "b.md": "# B", "c/d.md": "# D, three", "new.md": "# New"}
    repo.commit(last)

    found, header = changes(workspace, at(3))
    assert found == {"c/d.md": "update", "new.md": "create"}
    assert [w.message for w in header.warnings] == [
        "listing incomplete, so nothing is deleted: only what was changed since 2023-11-15T01:13:20Z was listed"
    ]
    assert not header.sources[0].complete
    assert changes(workspace, at(2))[0] == {"a.md": "update", "c/d.md": "update", "new.md": "create"}
    assert changes(workspace, at(4))[0] == {}

    applied = plan_and_apply(workspace, since=at(2))
    assert (applied.created, applied.updated, applied.deleted) == (1, 2, 0)
    assert plan_and_apply(workspace).deleted == 1  # a whole listing sees what is gone
    assert_index_is_a_fresh_load(workspace)


def test_git_since_a_commit_compares_the_two_trees(repo, tmp_path):
    first = repo.commit({"a.md": "# A", "b.md": "# B"})
    workspace = Workspace.open(tmp_path / "qloader.yaml")
    plan_and_apply(workspace)
    repo.commit({"a.md": "# A", "b.md": "# B, two", "link.md": Link("b.md")}, at=START - 10**6)
    found, header = changes(workspace, Since(commit=first[:10]))
    assert found == {"b.md": "update", "link.md": "create"}
    assert f"commit {first[:12]}" in header.warnings[0].message
    assert changes(workspace, Since(commit="main"))[0] == {}
    with pytest.raises(SourceError) as caught:
        changes(workspace, Since(commit="yesterday"))
    assert "yesterday" in str(caught.value)
    assert "24h" in caught.value.remedy


def test_a_merge_counts_with_what_it_brought_however_old_that_is(repo, tmp_path):
    base = repo.commit({"a.md": "# A"}, at=START)
    side = repo.commit({"a.md": "# A", "side.md": "# Side"}, branch="side", parents=[base], at=START + 60)
    main = repo.commit({"a.md": "# A", "main.md": "# Main"}, parents=[base], at=START + 7200)
    repo.commit({"a.md": "# A", "main.md": "# Main", "side.md": "# Side"}, parents=[main, side], at=START + 36000)
    workspace = Workspace.open(tmp_path / "qloader.yaml")
    assert changes(workspace, at(9))[0] == {"side.md": "create"}


def test_a_shallow_clone_that_does_not_reach_back_is_listed_whole(repo, tmp_path):
    repo.commit({"a.md": "# A"})
    repo.commit({"a.md": "# A", "b.md": "# B"})
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{repo.path}", str(shallow)], check=True)
    (tmp_path / "qloader.yaml").write_text(GIT.replace("url: repo", "url: shallow"))
    found, header = changes(Workspace.open(tmp_path / "qloader.yaml"), at(0))
    assert found == {"a.md": "create", "b.md": "create"}
    assert header.sources[0].complete


def test_files_looks_at_what_was_written_or_renamed_since(tmp_path):
    workspace = make_workspace(tmp_path)
    write(tmp_path / "docs", {"a.md": "# A", "b.md": "# B", "gone.md": "# Gone"})
    plan_and_apply(workspace)
    later = Since(moment=datetime.now(UTC) + timedelta(hours=1))
    write(tmp_path / "docs", {"a.md": "# A, two", "gone.md": None})
    assert changes(workspace, later)[0] in ({}, {"a.md": "update"})  # a file just written is always looked at
    assert changes(workspace, Since(moment=datetime(2020, 1, 1, tzinfo=UTC)))[0] == {"a.md": "update"}


def test_ingest_takes_the_default_of_the_config_and_full_overrides_it(tmp_path):
    make_workspace(tmp_path)
    config = tmp_path / "qloader.yaml"
    config.write_text(
        config.read_text().replace(
            "ingestion: {", "guards: {max_delete_percent: null}\ningestion: {incremental: {default_since: 24h}, "
        )
    )
    write(tmp_path / "docs", {"a.md": "# A", "b.md": "# B"})

    def ingest(*options):
        done = subprocess.run([*QLOADER, "ingest", *options], cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stderr

    assert "2 created" in ingest()[1]
    (tmp_path / "docs" / "b.md").unlink()
    code, said = ingest()
    assert code == 0
    assert "nothing is deleted" in said
    assert "1 deleted" in ingest("--full")[1]
    code, said = ingest("--full", "--since", "24h")
    assert code == 1
    assert "exclude each other" in said
    code, said = ingest("--since", "main")
    assert code == 1
    assert "has no commits" in said
