"""What the `jira` source makes of issues, of both editions."""

import pytest

from qloader.documents.document import Document, Skipped
from qloader.sources.http.errors import UnavailableError
from servers.atlassian import Fault, refuse
from servers.jira_model import Comment
from support.atlassian_sites import EDITIONS, read_all, run_jira, tokens

BODIES = "bulkfetch|/rest/api/2/search"
TEXTAREA = "com.atlassian.jira.plugin.system.customfieldtypes:textarea"


@pytest.fixture(params=EDITIONS)
def site(request):
    with run_jira(request.param) as running:
        yield running


@pytest.fixture
def cloud():
    with run_jira("cloud") as running:
        yield running


def doc(*blocks):
    return {"type": "doc", "version": 1, "content": list(blocks)}


def paragraph(text):
    return {"type": "paragraph", "content": [{"type": "text", "text": text}]}


def test_an_issue_is_markdown_with_what_is_said_about_it(site):
    model = site.model
    key = model.add(
        "ENG",
        "The lamp is dark",
        "It was *bright* once." if not site.is_cloud else doc(paragraph("It was bright once.")),
        status={"name": "In Progress", "statusCategory": {"name": "In Progress"}},
        issuetype={"name": "Bug"},
        priority={"name": "High"},
        assignee={"displayName": "Ada Author"},
        reporter={"displayName": "Ben Böhm"},
        labels=["light", "garden"],
        components=[{"name": "Lamps"}],
        parent={"key": "ENG-99", "fields": {"summary": "All lamps"}},
        issuelinks=[
            {"type": {"outward": "blocks", "inward": "is blocked by"}, "outwardIssue": {"key": "ENG-7"}},
            {"type": {"outward": "blocks", "inward": "is blocked by"}, "inwardIssue": {"key": "ENG-3"}},
        ],
        attachment=[{"filename": "photo.png", "content": "https://x.example/1"}],
        votes={"votes": 7},
        assignee_was=None,
    )
    model.comment(key, "Looked at it.")
    document = read_all(site.source(metadata={"team": "lights"}))[key]
    assert document.title == "The lamp is dark"
    bright = "bright" if site.is_cloud else "**bright**"
    assert document.text == (
        f"# The lamp is dark\n\nIt was {bright} once.\n\n## Comments\n\n### Ada Author, 2026-11-02\n\nLooked at it.\n"
    )
    assert document.uri == f"{site.keys['url']}/browse/{key}"
    assert document.revision == "2026-11-02T10:01:00.000Z"
    assert document.updated_at == "2026-11-02T10:01:00Z"
    assert document.metadata == {
        "project": "ENG",
        "status": "In Progress",
        "status_category": "In Progress",
        "issue_type": "Bug",
        "priority": "High",
        "assignee": "Ada Author",
        "reporter": "Ben Böhm",
        "labels": ["garden", "light"],
        "components": ["Lamps"],
        "parent": "ENG-99",
        "links": [{"how": "blocks", "key": "ENG-7"}, {"how": "is blocked by", "key": "ENG-3"}],
        "attachments": ["photo.png"],
        "created": "2026-11-02T10:00:00Z",
        "team": "lights",
    }


def test_custom_fields_are_text_or_metadata_by_what_they_are(site):
    model = site.model
    kinds = "com.atlassian.jira.plugin.system.customfieldtypes"
    model.custom = [
        ("customfield_1", "Steps", {"type": "string", "custom": TEXTAREA}),
        ("customfield_2", "Acceptance", {"type": "string", "custom": f"{kinds}:textfield"}),
        ("customfield_3", "Severity", {"type": "option", "custom": f"{kinds}:select"}),
        ("customfield_4", "Story points", {"type": "number", "custom": f"{kinds}:float"}),
        ("customfield_5", "Rank", {"type": "any", "custom": "com.pyxis.greenhopper.jira:gh-lexo-rank"}),
        ("customfield_6", "Epic Link", {"type": "any", "custom": "com.pyxis.greenhopper.jira:gh-epic-link"}),
        ("customfield_7", "Secret notes", {"type": "string", "custom": TEXTAREA}),
        ("customfield_8", "Reviewers", {"type": "array", "custom": f"{kinds}:multiuserpicker"}),
    ]
    key = model.add(
        "ENG",
        "Issue",
        environment="On *Tuesdays*." if not site.is_cloud else "On Tuesdays.",
        customfield_1="Press it.\n\nPress again.",
        customfield_2="It shines.",
        customfield_3={"value": "Hardware", "child": {"value": "Lamp"}},
        customfield_4=3.0,
        customfield_5="0|i0000f:",
        customfield_6="ENG-50",
        customfield_7="Hidden.",
        customfield_8=[{"displayName": "Ada Author"}],
    )
    document = read_all(site.source(exclude_fields=["secret NOTES"]))[key]
    tuesdays = "Tuesdays" if site.is_cloud else "**Tuesdays**"
    assert document.text == (
        f"# Issue\n\n## Environment\n\nOn {tuesdays}.\n\n## Acceptance\n\nIt shines.\n\n"
        "## Steps\n\nPress it.\n\nPress again.\n"
    )
    assert document.metadata["epic"] == "ENG-50"
    assert document.metadata["fields"] == {
        "Severity": "Hardware / Lamp",
        "Story points": 3.0,
        "Reviewers": ["Ada Author"],
    }


def test_the_key_is_in_no_text_and_a_moved_issue_is_gone_under_its_old_key(site):
    model = site.model
    key = model.add("ENG", "Issue", "Some text.")
    source = site.source(projects=["ENG", "OPS"], changelog=True)
    model.projects["OPS"] = "Operations"
    before = read_all(source)[key]
    moved = model.move(key, "OPS")
    after = read_all(source)[moved]
    assert after.text == before.text == "# Issue\n\nSome text.\n"
    assert list(source.fetch([key, moved])) == [Skipped(key, "vanished"), after]


def test_all_comments_are_read_oldest_first_however_many_come_with_the_issue(site):
    model = site.model
    key = model.add("ENG", "Issue")
    for number in range(250):
        model.comment(key, f"c{number}")
    text = read_all(site.source())[key].text
    assert [line for line in text.splitlines() if line.startswith("c")] == [f"c{number}" for number in range(250)]
    assert len(model.traffic.to("/comment")) == 3 if site.is_cloud else 1
    assert "c1" not in read_all(site.source(comments=False))[key].text


def test_an_issue_with_ten_thousand_comments_is_read_whole(cloud):
    key = cloud.model.add("ENG", "Issue")
    now = cloud.model.now
    cloud.model.issue(key).comments = [Comment(str(n), f"c{n}", "Ada", now) for n in range(10_000)]
    text = read_all(cloud.source())[key].text
    assert text.count("\n### ") == 10_000


def test_the_history_of_changes_is_text_when_asked_for(site):
    model = site.model
    key = model.add("ENG", "Issue")
    for number in range(150):
        model.change_status(key, f"Step {number}")
    text = read_all(site.source(changelog=True))[key].text
    history = text.partition("## History\n\n")[2].splitlines()
    assert history[0] == "- Ada Author, 2026-11-02: status: To Do → Step 0"
    assert history[-1].endswith("status: Step 148 → Step 149")
    assert len(history) == 150
    assert "History" not in read_all(site.source())[key].text


def test_many_issues_come_at_once_and_in_the_order_asked(site):
    site.model.add_many("ENG", 300)
    wanted = [f"ENG-{number}" for number in range(300, 0, -3)]
    assert [document.id for document in site.source().fetch(wanted)] == wanted
    assert len(site.model.traffic.to(BODIES)) == 1


def test_what_went_away_between_list_and_fetch_is_said_to_be_gone(site):
    model = site.model
    model.add_many("ENG", 5)
    source = site.source()
    listed = list(tokens(source))
    model.delete("ENG-2")
    model.restrict("ENG-3")
    model.move("ENG-4", "OPS")
    results = {one.id: one for one in source.fetch(listed)}
    gone = {one.id for one in results.values() if isinstance(one, Skipped)}
    assert gone == {"ENG-2", "ENG-3", "ENG-4"}
    assert {results[key].reason for key in gone} == {"vanished"}
    assert isinstance(results["ENG-5"], Document)


def test_a_site_without_bulk_requests_is_read_by_its_search_brought_up_to_date():
    with run_jira("cloud", has_bulk=False) as cloud:
        model = cloud.model
        model.add_many("ENG", 120)
        source = cloud.source()
        listed = list(tokens(source))
        model.is_eventual = True
        model.edit("ENG-7", summary="Edited since")
        model.delete("ENG-9")
        results = {one.id: one for one in source.fetch(listed)}
        assert results["ENG-7"].title == "Edited since"
        assert [one.id for one in results.values() if isinstance(one, Skipped)] == ["ENG-9"]
        assert len(results) == 120


def test_texts_from_a_search_that_goes_round_in_a_circle_are_an_error():
    with run_jira("cloud", has_bulk=False) as cloud:
        cloud.model.add_many("ENG", 3)
        source = cloud.source()
        keys = list(tokens(source))
        endless = {"isLast": False, "nextPageToken": "NQ=="}
        cloud.site.fail(Fault(r"/search/jql", times=None, rewrite=lambda answer: answer | endless))
        found = list(source.fetch(keys))
        assert {one.reason for one in found} == {"unreadable"}
        assert "goes round in a circle" in found[0].detail


def test_a_search_that_lags_behind_is_caught_up_with_and_never_believed_twice(cloud):
    model = cloud.model
    model.add_many("ENG", 3)
    model.is_eventual = True
    source = cloud.source()
    model.edit("ENG-2", description="Edited.")
    late = model.add("ENG", "Late")
    before = tokens(source)
    assert late not in before
    (document,) = source.fetch(["ENG-2"])
    assert document.text.endswith("Edited.\n")
    model.settle()
    after = tokens(source)
    # The edit was read under the token from before it: the next listing has another, and it is read again.
    assert {key for key in after if after[key] != before.get(key)} == {"ENG-2", late}


def test_a_text_that_is_older_than_what_was_listed_is_never_taken_for_it(site):
    model = site.model
    model.add_many("ENG", 2)
    model.edit("ENG-1", description="New.")
    source = site.source()
    listed = list(tokens(source))

    def as_it_was(answer):
        for issue in answer["issues"]:
            if issue["key"] == "ENG-1":
                issue["fields"]["updated"] = "2026-10-01T00:00:00.000+0000"
        return answer

    fault = Fault(BODIES, times=None, rewrite=as_it_was)
    site.site.fail(fault)
    found = {one.id: one for one in source.fetch(listed)}
    assert (found["ENG-1"].reason, found["ENG-1"].is_failure) == ("unreadable", True)
    assert "older version" in found["ENG-1"].detail
    assert isinstance(found["ENG-2"], Document)
    site.site.faults.clear()
    assert {one.text for one in source.fetch(["ENG-1"])} == {"# Issue 1\n\nNew.\n"}


def test_an_issue_that_the_server_fails_with_is_a_failure_and_not_gone(cloud):
    cloud.model.add_many("ENG", 3)
    source = cloud.source()
    listed = list(tokens(source))

    def without_the_first(answer):
        failed = {"id": answer["issues"][0]["id"], "errorMessage": "payload too large"}
        return {"issues": answer["issues"][1:], "issueErrors": [failed]}

    cloud.site.fail(Fault("bulkfetch", times=None, rewrite=without_the_first))
    assert next(source.fetch(listed)) == Skipped("ENG-1", "unreadable", "payload too large")
    # Who has the key alone cannot know whose failure it was.
    assert next(cloud.source().fetch(listed)).is_failure


def test_an_answer_without_a_key_is_no_issue_and_none_is_taken_for_gone(site):
    site.model.add_many("ENG", 5)
    source = site.source(retry_attempts=0)
    listed = list(tokens(source))

    def nameless(answer):
        for issue in answer["issues"]:
            issue["key"] = None if issue["key"] == "ENG-3" else issue["key"]
        return answer

    site.site.fail(Fault(BODIES, times=None, rewrite=nameless))
    found = list(source.fetch(listed))
    assert [one.id for one in found] == listed
    assert [one.id for one in found if not isinstance(one, Document)] == ["ENG-3"]
    assert found[2].is_failure


def test_unknown_nodes_keep_their_text_and_are_named_once(cloud):
    node = {"type": "hologram", "content": [paragraph("Inside.")]}
    for number in range(3):
        cloud.model.add("ENG", f"Issue {number}", doc(node))
    source = cloud.source()
    assert all("Inside." in document.text for document in read_all(source).values())
    assert {name for name in source.unknown if "hologram" in name} == source.unknown
    assert len(source.unknown) == 1


def test_an_answer_that_is_broken_is_halved_until_the_issue_is_found(site):
    site.model.add_many("ENG", 8)
    source = site.source(retry_attempts=0)
    listed = list(tokens(source))

    def without_its_fields(answer):
        for issue in answer["issues"]:
            if issue["key"] == "ENG-3":
                del issue["fields"]
        return answer

    site.site.fail(Fault(BODIES, times=None, rewrite=without_its_fields))
    found = {one.id: one for one in source.fetch(listed)}
    assert [one.id for one in found.values() if isinstance(one, Skipped)] == ["ENG-3"]
    assert found["ENG-3"].is_failure


def test_an_issue_over_max_bytes_is_skipped(site):
    small, large = site.model.add("ENG", "Small"), site.model.add("ENG", "Large", "x" * 2000)
    found = {one.id: one for one in site.source(max_bytes=1000).fetch([small, large])}
    assert isinstance(found[small], Document)
    assert found[large].reason == "too large"


def test_a_server_that_goes_away_while_issues_are_read_is_an_error(site):
    site.model.add_many("ENG", 3)
    source = site.source(retry_attempts=1)
    listed = list(tokens(source))
    site.site.fail(refuse("", 503, times=None))
    with pytest.raises(UnavailableError):
        list(source.fetch(listed))


def test_a_public_site_is_read_without_an_account(site):
    site.model.account.lets_in_anybody = True
    key = site.model.add("ENG", "Issue")
    source = site.source(token=None)
    assert source.check() == "jira, 1 issue in ENG, as anonymous"
    assert read_all(source)[key].text == "# Issue\n"
    assert [item.id for item in source.changed_since(site.model.now).items] == [key]
