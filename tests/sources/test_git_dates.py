import random
from datetime import UTC, datetime

import pytest

from qloader.sources import git_dates
from qloader.sources.git import GitSettings, GitSource
from support.git_builder import START, Builder, Link


@pytest.fixture
def builder(tmp_path):
    with Builder(tmp_path / "repo") as builder:
        yield builder


def dates(builder, *ids, history=10_000, revision=None, on=True):
    settings = GitSettings(
        url=str(builder.path), base=builder.path, cache_dir=builder.path, include=("*",), history=history
    )
    source = GitSource("docs", settings)
    source.dates = on
    try:
        return [d.updated_at for d in source.fetch(ids, revision=revision)]
    finally:
        source.close()


def hour(n):
    return datetime.fromtimestamp(START + 3600 * n, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_document_has_the_date_of_the_last_commit_that_changed_it(builder):
    builder.commit({"a.md": "1", "x/b.md": "1", "c.md": "1"})
    builder.commit({"a.md": "2", "x/b.md": "1", "c.md": "1"})
    builder.commit({"a.md": "2", "x/b.md": "2", "c.md": "1"})
    builder.commit({"a.md": "2", "x/b.md": "2", "c.md": "1", "d.md": "new"})
    assert dates(builder, "c.md", "x/b.md", "a.md", "d.md") == [hour(1), hour(3), hour(2), hour(4)]


def test_dates_are_off_unless_they_are_asked_for(builder):
    builder.commit({"a.md": "1"})
    assert dates(builder, "a.md", on=False) == [None]


def test_a_date_is_that_of_the_planned_commit(builder):
    first = builder.commit({"a.md": "1"})
    builder.commit({"a.md": "2"})
    assert dates(builder, "a.md", revision=first) == [hour(1)]


def test_a_moved_file_has_the_date_of_its_move(builder):
    builder.commit({"old/a.md": "1"})
    builder.commit({"new/a.md": "1"})
    assert dates(builder, "new/a.md") == [hour(2)]


def test_a_merge_dates_only_what_differs_from_every_parent(builder):
    base = builder.commit({"ours.md": "1", "theirs.md": "1", "both.md": "1", "x/y.md": "1"})
    ours = builder.commit({"ours.md": "2", "theirs.md": "1", "both.md": "ours", "x/y.md": "1"})
    theirs = builder.commit(
        {"ours.md": "1", "theirs.md": "2", "both.md": "theirs", "x/y.md": "1"}, branch="side", parents=[base]
    )
    builder.commit({"ours.md": "2", "theirs.md": "2", "both.md": "merged", "x/y.md": "1"}, parents=[ours, theirs])
    assert dates(builder, "ours.md", "theirs.md", "both.md", "x/y.md") == [hour(2), hour(3), hour(4), hour(1)]


def test_the_walk_ends_at_its_bound(builder):
    builder.commit({"old.md": "1"})
    for i in range(5):
        builder.commit({"old.md": "1", "new.md": str(i)})
    assert dates(builder, "new.md", "old.md", history=3) == [hour(6), None]
    assert dates(builder, "new.md", history=0) == [None]


def test_what_a_shallow_clone_cut_off_has_no_date(builder):
    builder.commit({"old.md": "1", "mid.md": "1"})
    second = builder.commit({"old.md": "1", "mid.md": "2"})
    builder.commit({"old.md": "1", "mid.md": "2", "new.md": "1"})
    (builder.path / ".git/shallow").write_text(second + "\n")
    assert dates(builder, "new.md", "mid.md", "old.md") == [hour(3), None, None]


def test_a_missing_parent_is_as_good_as_a_shallow_one(builder):
    first = builder.commit({"old.md": "1"})
    builder.commit({"old.md": "2"})
    builder.commit({"old.md": "2", "new.md": "1"})
    builder.object_path(first).unlink()
    assert dates(builder, "new.md", "old.md") == [hour(3), None]


def test_a_link_has_the_date_of_its_target(builder):
    builder.commit({"real.md": "1", "link.md": Link("real.md")})
    builder.commit({"real.md": "2", "link.md": Link("real.md")})
    assert dates(builder, "link.md") == [hour(2)]


def test_a_time_beyond_all_calendars_is_no_date(builder):
    builder.commit({"a.md": "1"}, at=2**62)
    assert dates(builder, "a.md") == [None]


@pytest.mark.parametrize("many", [0, 2, 30])
@pytest.mark.parametrize("seed", range(4))
def test_folders_that_stand_for_their_files_change_no_date(builder, monkeypatch, seed, many):
    monkeypatch.setattr(git_dates, "MANY", many)
    random_ = random.Random(seed)
    names = [f"{folder}{name}.md" for folder in ("", "x/", "x/y/", "z/") for name in "abc"]
    dated, files = {}, {}
    for n in range(1, 25):
        kept = {
            name: text for name, text in files.items() if not name.startswith(random_.choice(["x/", "z/", "-", "-"]))
        }
        new = kept | {
            name: str(random_.randint(0, 9)) for name in names if random_.random() < random_.choice([0.1, 0.9])
        }
        dated |= {name: hour(n) for name, text in new.items() if files.get(name) != text}
        files = new
        builder.commit(files)
    assert dates(builder, *files) == [dated[name] for name in files]


def test_a_folder_in_which_many_but_not_most_files_change_is_dated_by_its_files(builder, monkeypatch):
    """Else each look at a file of it would go through all those commits."""
    names = [f"x/{n:03}.md" for n in range(100)]
    files = dict.fromkeys(names, "0")
    builder.commit(files)
    for n in range(1, 40):
        files |= {name: str(n) for name in names[:40]}
        builder.commit(files)
    looks = []
    changed = git_dates.Dates._changed
    monkeypatch.setattr(git_dates.Dates, "_changed", lambda self, *at: looks.append(at) or changed(self, *at))
    assert dates(builder, "x/099.md", "x/000.md") == [hour(1), hour(40)]
    assert len(looks) < 10  # at the first commit alone
