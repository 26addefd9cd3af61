"""A Confluence site from its first load on, through plan and apply, with the counts at each step."""

import math

import pytest

from qloader.errors import SourceError
from qloader.workspace.planning import PlanRequest
from servers.atlassian import Fault, login_page, refuse
from support.atlassian_sites import EDITIONS, assert_index_is_a_fresh_load_of, counts, run_confluence
from support.workspaces import dump

LISTS = r"/spaces/\d+/pages|/rest/api/content(/scan)?\?"


@pytest.fixture(params=EDITIONS)
def site(request):
    with run_confluence(request.param) as running:
        yield running


@pytest.fixture
def cloud():
    with run_confluence("cloud") as running:
        yield running


@pytest.fixture
def data_center():
    with run_confluence("data_center") as running:
        yield running


def header(workspace, **request):
    with workspace.temporary_plan(PlanRequest(**request)) as result:
        return result.plan.header


def test_create_edit_retitle_move_delete_and_restore(site, tmp_path):
    model = site.model
    model.add_space("OPS")
    home = model.add("ENG", "Home", "<p>Welcome to all.</p>")
    guide = model.add("ENG", "Guide", "<h1>Setup</h1><p>Install it first.</p>", parent=home)
    page = model.add("ENG", "Page", "<p>A page of its own.</p>", parent=home)
    workspace = site.workspace(tmp_path, spaces=["ENG", "OPS"])

    assert counts(workspace) == {"created": 3, "embedded": 3}
    assert counts(workspace) == {}

    new = model.add("OPS", "New", "<p>Something new.</p>")
    assert counts(workspace) == {"created": 1, "embedded": 1}
    model.edit(guide, "<h1>Setup</h1><p>Install it last.</p>")
    assert counts(workspace) == {"updated": 1, "embedded": 1}
    model.edit(page, title="Renamed page")
    assert counts(workspace) == {"updated": 1}
    model.move(page, parent=guide)
    assert counts(workspace) == {"updated": 1}
    model.move(page, space="OPS")
    assert counts(workspace) == {"updated": 1}
    model.edit(home, title="Start")  # the breadcrumb of the guide
    assert counts(workspace) == {"updated": 2}
    assert_index_is_a_fresh_load_of(workspace)

    model.edit(new)  # a new version with the same text
    assert counts(workspace) == {}

    model.set_status(guide, "trashed")
    assert counts(workspace) == {"deleted": 1}
    model.set_status(guide, "current")
    assert counts(workspace) == {"created": 1, "embedded": 1}
    model.purge(new)
    assert counts(workspace) == {"deleted": 1}
    assert_index_is_a_fresh_load_of(workspace)


def test_all_that_can_be_asked_for_comes_and_goes(data_center, tmp_path):
    model = data_center.model
    page, post = model.add("ENG", "Page"), model.add("ENG", "News", type="blogpost")
    model.attach(page, "notes.txt", b"Some notes.")
    workspace = data_center.workspace(tmp_path, blog_posts=True, comments=True, attachments=True, label_changes=True)
    assert counts(workspace) == {"created": 3, "embedded": 3}
    model.comment(post, "<p>Well said.</p>")
    assert counts(workspace) == {"updated": 1, "embedded": 1}
    model.label(page, "public")
    assert counts(workspace) == {"updated": 1}
    model.attach(page, "notes.txt", b"Other notes.")
    model.attach(page, "photo.png", b"\x89PNG", "image/png")
    assert counts(workspace) == {"updated": 1, "embedded": 1}
    assert "1 item skipped (binary" in header(workspace).warnings[0].message
    model.set_status(page, "trashed")
    assert counts(workspace) == {"deleted": 2}
    assert_index_is_a_fresh_load_of(workspace)


def test_nothing_is_deleted_where_the_listing_breaks_or_a_space_is_lost(cloud, tmp_path):
    model = cloud.model
    model.max_limit = 5
    model.add_many("ENG", 20)
    other = model.add("OPS", "Other")
    workspace = cloud.workspace(tmp_path, spaces=["ENG", "OPS"], retry_attempts=0)
    assert counts(workspace)["created"] == 21
    model.edit(other, "<p>Edited.</p>")
    cloud.site.fail(refuse(LISTS, 503, after=2))
    assert counts(workspace) == {"updated": 1, "embedded": 1}
    model.spaces["OPS"].hidden = True
    plan = header(workspace)
    assert (plan.summary.delete, plan.sources[0].complete) == (0, False)
    assert any("the space OPS does not exist" in warning.message for warning in plan.warnings)
    model.spaces["OPS"].hidden = False
    cloud.site.faults.clear()
    assert_index_is_a_fresh_load_of(workspace)


def test_who_is_not_let_in_changes_nothing(data_center, tmp_path):
    data_center.model.add_many("ENG", 3)
    workspace = data_center.workspace(tmp_path, retry_attempts=0)
    assert counts(workspace)["created"] == 3
    before = dump(workspace)
    data_center.site.fail(login_page())
    with pytest.raises(SourceError):
        counts(workspace)
    assert dump(workspace) == before


def test_a_page_that_changes_between_plan_and_apply_is_left_as_it_was(cloud, tmp_path):
    model = cloud.model
    page, other = model.add("ENG", "Page", "<p>First.</p>"), model.add("ENG", "Other")
    workspace = cloud.workspace(tmp_path)
    with workspace.temporary_plan() as result:
        model.edit(page, "<p>Second.</p>")
        done = workspace.apply(result.plan)
    assert (done.created, [failure.document_id for failure in done.failures]) == (1, [page])
    assert counts(workspace) == {"created": 1, "embedded": 1}
    assert_index_is_a_fresh_load_of(workspace)
    assert other in {point["payload"]["document_id"] for point in dump(workspace).values()}


def test_pages_that_are_edited_while_they_are_listed_are_loaded_as_they_are(data_center, tmp_path):
    data_center.model.max_limit = 5
    ids = data_center.model.add_many("ENG", 20)
    for number in range(1, 4):
        data_center.site.fail(
            Fault(LISTS, after=number, before=lambda n=number: data_center.model.edit(ids[-n], f"<p>Edit {n}.</p>")),
            Fault(
                LISTS, after=number, before=lambda n=number: data_center.model.edit(ids[n], f"<p>Early edit {n}.</p>")
            ),
        )
    workspace = data_center.workspace(tmp_path)
    counts(workspace)
    counts(workspace)
    assert_index_is_a_fresh_load_of(workspace)


def test_no_change_costs_the_listing_alone_and_one_percent_a_batch_of_bodies_more(site, tmp_path):
    model = site.model
    ids = model.add_many("ENG", 1000)
    workspace = site.workspace(tmp_path)
    header(workspace)
    site.clear()
    header(workspace)
    listing = len(site.requests)
    assert listing <= 1 + math.ceil(1000 / 250)
    assert model.traffic.bodies == 0
    for one in ids[1:11]:
        model.edit(one, f"<p>Edited {one}.</p>")
    site.clear()
    assert header(workspace).summary.create == 1000
    assert model.traffic.bodies == 10
    bodies = site.model.traffic.to("body-format=storage|body.storage")
    assert len(bodies) == 1
    # Besides: the labels and the names of the authors, once for the batch.
    assert len(site.requests) <= listing + 3


def test_two_runs_make_the_same_plan_bytes(cloud, tmp_path):
    cloud.model.add_many("ENG", 30)
    plans = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        with cloud.workspace(folder).temporary_plan() as result:
            plans.append(result.plan.path.read_bytes())
    assert plans[0] == plans[1]


def test_no_secret_is_in_what_a_run_writes(data_center, tmp_path):
    data_center.model.add_many("ENG", 3)
    workspace = data_center.workspace(tmp_path)
    with workspace.temporary_plan() as result:
        assert data_center.model.account.token.encode() not in result.plan.path.read_bytes()
        workspace.apply(result.plan)
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "qloader.yaml"]
    assert written
    assert not [path for path in written if data_center.model.account.token.encode() in path.read_bytes()]
