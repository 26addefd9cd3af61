"""A document whose id says little is named by its title too."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plan_builder import create, delete, move, update

from qloader.render.wording import describe_change
from support.atlassian_sites import run_confluence


def titled(change, title):
    before = change.before and replace(change.before, title=title)
    after = change.after and replace(change.after, title=title)
    return replace(change, before=before, after=after)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (create("wiki", "1003"), '1003 "Deploy"'),
        (update("wiki", "blog/1015", 1, 1), 'blog/1015 "Deploy"'),
        (delete("tracker", "ENG-7"), 'ENG-7 "Deploy"'),
        (move("tracker", "ENG-7", "OPS_2-9"), 'ENG-7 -> OPS_2-9 "Deploy"'),
        (create("docs", "guide/deploy.md"), "guide/deploy.md"),
        (create("docs", "2024/notes"), "2024/notes"),
    ],
)
def test_a_number_or_key_stands_beside_the_title(change, name):
    assert describe_change(titled(change, "Deploy")).name == name


def test_a_title_can_neither_hide_nor_fill_the_line():
    line = describe_change(titled(create("wiki", "1"), "\x1b[31mred\u202e\n" + "long " * 100)).name
    assert "\x1b" not in line
    assert "\u202e" not in line
    assert "\n" not in line
    assert len(line) < 60


def test_a_page_that_is_deleted_has_its_name_in_the_review(tmp_path):
    with run_confluence("cloud") as site:
        site.model.add_space("ENG")
        kept, gone = (site.model.add("ENG", title) for title in ("Stays", "Goes away"))
        workspace = site.workspace(tmp_path)
        workspace.apply(workspace.plan())
        site.model.set_status(gone, "trashed")
        (change,) = workspace.plan().plan.changes()
        assert describe_change(change).name == f'{gone} "Goes away"'
        workspace.settings.state.unlink()
        workspace.rebuild_state()
        (change,) = workspace.plan().plan.changes()
        assert describe_change(change).name == f'{gone} "Goes away"'
        assert kept
