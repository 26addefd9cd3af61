"""A Jira site from its first load on, through plan and apply, with the counts at each step."""

import math

import pytest

from qloader.errors import SourceError
from qloader.workspace.planning import PlanRequest
from servers.atlassian import Fault, refuse
from support.atlassian_sites import EDITIONS, assert_index_is_a_fresh_load_of, counts, run_jira
from support.workspaces import dump


@pytest.fixture(params=EDITIONS)
def site(request):
    with run_jira(request.param) as running:
        yield running


@pytest.fixture
def cloud():
    with run_jira("cloud") as running:
        yield running


@pytest.fixture
def data_center():
    with run_jira("data_center") as running:
        yield running


def header(workspace, **request):
    with workspace.temporary_plan(PlanRequest(**request)) as result:
        return result.plan.header


def test_create_edit_move_delete_and_restore(site, tmp_path):
    model = site.model
    model.projects["OPS"] = "Operations"
    lamp = model.add("ENG", "Lamp", "The lamp is dark.")
    tea = model.add("ENG", "Tea", "The tea is cold.", labels=["kitchen"])
    workspace = site.workspace(tmp_path, projects=["ENG", "OPS"])

    assert counts(workspace) == {"created": 2, "embedded": 2}
    assert counts(workspace) == {}

    model.add("OPS", "Garden", "The garden is wet.")
    assert counts(workspace) == {"created": 1, "embedded": 1}
    model.edit(lamp, description="The lamp is bright.")
    assert counts(workspace) == {"updated": 1, "embedded": 1}
    model.comment(lamp, "I changed the bulb.")
    assert counts(workspace) == {"updated": 1, "embedded": 1}
    # What the text does not show: metadata, no embedding.
    model.change_status(tea, "Done")
    assert counts(workspace) == {"updated": 1}
    model.edit(tea, labels=["kitchen", "morning"], assignee={"displayName": "Ada Author"})
    assert counts(workspace) == {"updated": 1}
    model.edit(tea, votes={"votes": 3})  # nobody reads that
    assert counts(workspace) == {}
    moved = model.move(tea, "OPS")
    assert counts(workspace) == {"moved": 1}
    assert_index_is_a_fresh_load_of(workspace)

    issue = model.delete(moved)
    assert counts(workspace) == {"deleted": 1}
    model.restore(issue)
    assert counts(workspace) == {"created": 1, "embedded": 1}
    model.restrict(lamp)
    assert counts(workspace) == {"deleted": 1}
    assert_index_is_a_fresh_load_of(workspace)


def test_nothing_is_deleted_where_the_listing_breaks_or_a_project_is_lost(cloud, tmp_path):
    model = cloud.model
    model.max_ids = 5
    model.add_many("ENG", 20)
    other = model.add("OPS", "Other")
    workspace = cloud.workspace(tmp_path, projects=["ENG", "OPS"], retry_attempts=0)
    assert counts(workspace)["created"] == 21
    model.edit("ENG-2", summary="Edited")
    cloud.site.fail(refuse("/search/jql", 503, after=2))
    assert counts(workspace) == {"updated": 1, "embedded": 1}
    del model.projects["OPS"]
    plan = header(workspace)
    assert (plan.summary.delete, plan.sources[0].complete) == (0, False)
    assert any("the project OPS does not exist" in warning.message for warning in plan.warnings)
    model.projects["OPS"] = "Operations"
    cloud.site.faults.clear()
    assert_index_is_a_fresh_load_of(workspace)
    assert other in {point["payload"]["document_id"] for point in dump(workspace).values()}


def test_who_is_not_let_in_changes_nothing(cloud, tmp_path):
    cloud.model.add_many("ENG", 3)
    workspace = cloud.workspace(tmp_path, retry_attempts=0)
    assert counts(workspace)["created"] == 3
    before = dump(workspace)
    cloud.site.fail(refuse("", 401, times=None))
    with pytest.raises(SourceError):
        counts(workspace)
    assert dump(workspace) == before


def test_an_issue_that_changes_between_plan_and_apply_is_left_as_it_was(data_center, tmp_path):
    model = data_center.model
    key = model.add("ENG", "Issue", "First.")
    model.add("ENG", "Other")
    workspace = data_center.workspace(tmp_path)
    with workspace.temporary_plan() as result:
        model.edit(key, description="Second.")
        done = workspace.apply(result.plan)
    assert (done.created, [failure.document_id for failure in done.failures]) == (1, [key])
    assert counts(workspace) == {"created": 1, "embedded": 1}
    assert_index_is_a_fresh_load_of(workspace)


def test_issues_that_are_edited_while_they_are_listed_are_loaded_as_they_are(data_center, tmp_path):
    model = data_center.model
    model.max_results = 5
    model.add_many("ENG", 20)
    for number in range(1, 4):
        data_center.site.fail(
            Fault("/search", after=number, before=lambda n=number: model.edit(f"ENG-{n}", summary=f"Early {n}")),
            Fault(
                "/search", after=number + 1, before=lambda n=number: model.edit(f"ENG-{20 - n}", summary=f"Late {n}")
            ),
        )
    workspace = data_center.workspace(tmp_path)
    counts(workspace)
    counts(workspace)
    assert_index_is_a_fresh_load_of(workspace)


def test_what_the_search_is_late_with_is_loaded_when_it_has_caught_up(cloud, tmp_path):
    model = cloud.model
    model.add_many("ENG", 3)
    workspace = cloud.workspace(tmp_path)
    assert counts(workspace)["created"] == 3
    model.is_eventual = True
    model.edit("ENG-1", summary="Edited")
    model.add("ENG", "Late")
    assert counts(workspace) == {}
    model.settle()
    assert counts(workspace) == {"created": 1, "updated": 1, "embedded": 2}
    assert_index_is_a_fresh_load_of(workspace)


def test_no_change_costs_the_listing_alone_and_one_percent_a_batch_of_texts_more(site, tmp_path):
    model = site.model
    model.add_many("ENG", 1500)
    workspace = site.workspace(tmp_path)
    header(workspace)
    site.clear()
    header(workspace)
    listing = len(site.requests)
    assert listing <= math.ceil(1500 / 1000)
    assert model.traffic.bodies == 0
    for number in range(1, 16):
        model.edit(f"ENG-{number}", summary=f"Edited {number}")
    site.clear()
    assert header(workspace).summary.create == 1500
    assert model.traffic.bodies == 15
    # Besides: the names of the fields.
    assert len(site.requests) <= listing + 2


def test_two_runs_make_the_same_plan_bytes(data_center, tmp_path):
    data_center.model.add_many("ENG", 30)
    plans = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        with data_center.workspace(folder).temporary_plan() as result:
            plans.append(result.plan.path.read_bytes())
    assert plans[0] == plans[1]
