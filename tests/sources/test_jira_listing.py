"""What the `jira` source lists: keys and change tokens, of both editions."""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from qloader.errors import SourceError
from qloader.sources.http.errors import (
    BrokenAnswerError,
    CredentialsError,
    LoginPageError,
    PermissionDeniedError,
    UnavailableError,
)
from qloader.sources.jira.settings import without_order
from qloader.sources.protocol import Checks, ListsChanges
from servers.atlassian import Fault, login_page, refuse
from support.atlassian_sites import EDITIONS, run_jira, tokens

LISTS = "/search"


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


def listed(source):
    listing = source.list()
    return {item.id for item in listing.items}, listing


def keys(count, project="ENG"):
    return {f"{project}-{number}" for number in range(1, count + 1)}


def lower(site, limit):
    site.model.max_results = site.model.max_ids = limit


def test_ten_thousand_issues_take_eleven_requests_at_most_and_no_text(cloud):
    cloud.model.add_many("ENG", 10_000)
    assert set(tokens(cloud.source())) == keys(10_000)
    assert len(cloud.requests) <= 11
    assert cloud.model.traffic.bodies == 0


def test_only_what_is_asked_for_is_listed_and_no_more_than_ids_and_times(site):
    site.model.add_many("ENG", 2500)
    site.model.add_many("OPS", 10)
    assert set(tokens(site.source())) == keys(2500)
    assert len(site.requests) <= 4
    assert site.model.traffic.bodies == 0
    assert set(tokens(site.source(projects=["ENG", "OPS"]))) == keys(2500) | keys(10, "OPS")


def test_a_query_restricts_alone_or_beside_projects_whatever_order_it_asks_for(site):
    model = site.model
    done, open_ = model.add("ENG", "Done"), model.add("ENG", "Open")
    other = model.add("OPS", "Done elsewhere")
    for key in (done, other):
        model.change_status(key, "Done")
    jql = 'status = Done or labels = "order by" ORDER BY created DESC'
    assert set(tokens(site.source(jql=jql))) == {done}
    assert set(tokens(site.source(jql=jql, projects=[]))) == {done, other}
    assert open_ in tokens(site.source())


@pytest.mark.parametrize(
    ("jql", "restriction"),
    [
        ("project = A ORDER BY id", "project = A"),
        ("project = A", "project = A"),
        ('text ~ "order by me"  order  By id', 'text ~ "order by me"'),
        (r'text ~ "a \" order by" ORDER BY id', r'text ~ "a \" order by"'),
        ("reorder by = 1", "reorder by = 1"),
    ],
)
def test_the_order_of_a_query_is_left_out(jql, restriction):
    assert without_order(jql) == restriction


@pytest.mark.parametrize("count", [0, 1, 5, 10])
def test_a_page_that_is_exactly_full_is_not_the_end_and_an_empty_project_is_no_error(site, count):
    lower(site, 5)
    site.model.projects["ENG"] = "Engineering"
    for number in range(count):
        site.model.add("ENG", f"Issue {number}")
    assert set(tokens(site.source())) == keys(count)


def test_a_server_that_gives_less_than_it_was_asked_for_is_listed_whole(site):
    lower(site, 7)
    site.model.add_many("ENG", 50)
    assert set(tokens(site.source(page_size=20))) == keys(50)


@pytest.mark.parametrize("victim", [1, 7, 13, 14])
def test_an_issue_that_is_deleted_while_they_are_listed_hides_no_other(site, victim):
    lower(site, 7)
    site.model.add_many("ENG", 30)
    site.site.fail(Fault(LISTS, after=2, before=lambda: site.model.delete(f"ENG-{victim}")))
    found, listing = listed(site.source())
    assert found >= keys(30) - {f"ENG-{victim}"}
    assert listing.complete


def test_issues_that_are_made_while_they_are_listed_hide_no_other(site):
    lower(site, 7)
    site.model.add_many("ENG", 30)
    site.site.fail(Fault(LISTS, after=1, times=3, before=lambda: site.model.add("ENG", "Late")))
    found, listing = listed(site.source())
    assert found >= keys(30)
    assert listing.complete


def test_an_issue_that_is_listed_twice_counts_once(cloud):
    lower(cloud, 5)
    cloud.model.add_many("ENG", 20)
    first = []

    def with_the_first_again(answer):
        first.extend(answer["issues"][:1])
        return {**answer, "issues": [*answer["issues"], first[0]]}

    cloud.site.fail(Fault(LISTS, times=None, rewrite=with_the_first_again))
    listing = cloud.source().list()
    assert len(list(listing.items)) == 20
    assert listing.complete


def test_a_list_with_gaps_is_not_complete(data_center):
    lower(data_center, 5)
    data_center.model.add_many("ENG", 20)

    def without_the_last(answer):
        return {**answer, "issues": answer["issues"][:-1]} if answer["startAt"] > 10 else answer

    data_center.site.fail(Fault(LISTS, times=None, rewrite=without_the_last))
    _, listing = listed(data_center.source())
    assert listing.problems == ["the server counts 20 issues, but listed 19"]


def test_an_issue_that_comes_to_stand_in_front_of_the_reader_is_not_missed(data_center):
    lower(data_center, 5)
    model = data_center.model
    model.add_many("ENG", 20)

    def hide(answer):
        # As if it were made now, in a project that is listed before.
        shown = [issue for issue in answer["issues"] if issue["key"] != "ENG-3"]
        return {**answer, "issues": shown, "total": 19 if answer["startAt"] < 10 else 20}

    data_center.site.fail(Fault(LISTS, times=5, rewrite=hide))
    assert set(tokens(data_center.source())) == keys(20)


def test_only_what_changed_gets_another_token_on_any_clock(site):
    model = site.model
    model.add_many("ENG", 5)
    source = site.source()

    def changed_by(change):
        before = tokens(source)
        change()
        after = tokens(source)
        return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}

    assert changed_by(lambda: None) == set()
    assert changed_by(lambda: model.edit("ENG-2", summary="Edited")) == {"ENG-2"}
    assert changed_by(lambda: model.comment("ENG-3", "Said.")) == {"ENG-3"}
    assert changed_by(lambda: model.change_status("ENG-3", "Done")) == {"ENG-3"}
    assert changed_by(lambda: model.move("ENG-4", "OPS")) == {"ENG-4"}
    assert changed_by(lambda: setattr(model.account, "time_zone", "Asia/Kathmandu")) == set()


def test_what_the_account_may_not_see_is_not_listed(site):
    site.model.add_many("ENG", 3)
    site.model.restrict("ENG-2")
    assert set(tokens(site.source())) == {"ENG-1", "ENG-3"}


def test_a_listing_that_breaks_on_its_third_page_keeps_what_it_has_and_is_not_complete(site):
    lower(site, 5)
    site.model.add_many("ENG", 30)
    site.site.fail(refuse(LISTS, 503, after=2, times=None))
    found, listing = listed(site.source(retry_attempts=1))
    assert found == keys(10 if site.is_cloud else 9)  # each page of Data Center begins with the last one's end
    assert len(listing.problems) == 1
    assert "were not listed to their end" in listing.problems[0]


def test_a_listing_goes_on_where_it_was_after_a_bad_moment(site):
    lower(site, 6)
    site.model.add_many("ENG", 31)
    site.site.fail(
        refuse(LISTS, 429, retry_after="0", after=1),
        refuse(LISTS, 503, after=3),
        Fault(LISTS, after=4, drop=True),
        Fault(LISTS, after=6, cut=True),
    )
    assert set(tokens(site.source())) == keys(31)
    assert len(site.requests) == 6 + 4


def test_a_list_that_goes_round_in_a_circle_ends_and_is_not_complete(cloud):
    lower(cloud, 5)
    cloud.model.add_many("ENG", 30)
    cloud.site.fail(Fault(LISTS, times=None, rewrite=lambda answer: answer | {"nextPageToken": "NQ=="}))
    found, listing = listed(cloud.source())
    assert found
    assert "goes round in a circle" in listing.problems[0]


def test_a_list_that_says_neither_that_it_ends_nor_how_it_goes_on_is_not_complete(cloud):
    lower(cloud, 5)
    cloud.model.add_many("ENG", 30)
    cloud.site.fail(Fault(LISTS, times=None, rewrite=lambda answer: answer | {"nextPageToken": None}))
    _, listing = listed(cloud.source())
    assert not listing.complete


def test_a_project_that_is_not_there_is_an_error_and_one_of_several_makes_the_listing_incomplete(site):
    site.model.add_many("ENG", 3)
    with pytest.raises(SourceError, match="there is no project NOPE") as caught:
        site.source(projects=["NOPE"]).list()
    assert "keys, not names" in caught.value.remedy
    found, listing = listed(site.source(projects=["ENG", "NOPE"]))
    assert found == keys(3)
    assert listing.problems == ["the project NOPE does not exist, or this account may not see it"]


def test_a_query_that_jira_refuses_is_an_error_in_its_own_words(site):
    site.model.add_many("ENG", 3)
    with pytest.raises(SourceError, match="Field 'colour' does not exist") as caught:
        site.source(jql="colour = red").list()
    assert "jql" in caught.value.remedy
    with pytest.raises(SourceError, match="Field 'colour' does not exist"):
        site.source(jql="colour = red").check()


def test_jira_s_words_are_shown_in_one_line_and_nothing_else_of_an_answer_is(site):
    def refusal(body):
        return Fault(LISTS, times=None, status=400, headers={"content-type": "application/json"}, body=json.dumps(body))

    def shown(body):
        site.site.faults.clear()
        site.site.fail(refusal(body))
        with pytest.raises(SourceError, match="Jira refuses the query") as caught:
            site.source().list()
        return str(caught.value).partition("refuses the query")[2]

    site.model.add_many("ENG", 3)
    assert shown({"errorMessages": ["No\x1b[31m such\nfield.", "Nor that."]}) == ": No[31m such field. Nor that."
    assert shown({"errorMessages": ["long " * 1000]}) == ": " + ("long " * 60).rstrip()
    for body in (
        {"message": "secret", "errors": {"jql": "secret"}},
        {"errorMessages": []},
        {"errorMessages": "secret"},
        {"errorMessages": [{"a": "secret"}, None]},
        ["secret"],
        "secret",
    ):
        assert shown(body) == "."


@pytest.mark.parametrize("name", ["id", "key"])
def test_a_row_without_a_name_breaks_the_listing_and_becomes_no_document(site, name):
    site.model.add_many("ENG", 20)

    def spoil(answer):
        answer["issues"][2][name] = None
        return answer

    site.site.fail(Fault(LISTS, after=1, times=None, rewrite=spoil))
    found, listing = listed(site.source(page_size=5, retry_attempts=0))
    assert keys(5) <= found <= keys(20)
    assert "the issues were not listed to their end" in listing.problems[0]
    assert "answers with something else than expected" in listing.problems[0]


def test_the_address_that_cloud_took_down_is_never_asked(cloud):
    cloud.model.add_many("ENG", 3)
    source = cloud.source()
    list(source.fetch(tokens(source)))
    assert cloud.model.traffic.to(r"/search$") == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (refuse("", 401, times=None), CredentialsError),
        (refuse("", 403, times=None), PermissionDeniedError),
        (refuse("", 503, times=None), UnavailableError),
        (refuse("", 429, retry_after="0", times=None), UnavailableError),
        (login_page(), LoginPageError),
        (Fault("", times=None, cut=True), BrokenAnswerError),
        (Fault("", times=None, rewrite=lambda _: []), BrokenAnswerError),
        (Fault("", times=None, rewrite=lambda _: {"issues": [{"id": None}], "total": 1}), BrokenAnswerError),
    ],
    ids=["401", "403", "503", "429", "login page", "cut", "a list", "other keys"],
)
def test_each_kind_of_bad_answer_is_an_error_of_its_own(site, fault, error):
    site.model.add_many("ENG", 3)
    fault.seen = 0
    site.site.fail(fault)
    with pytest.raises(error) as caught:
        site.source(retry_attempts=1).list()
    assert caught.value.remedy
    assert site.model.account.token not in f"{caught.value} {caught.value.remedy}"


def test_validate_says_what_there_is_and_as_whom(site):
    site.model.add_many("ENG", 1200)
    source = site.source()
    assert isinstance(source, Checks)
    assert source.check() == "jira, 1,200 issues in ENG, as Rita Reader"
    assert site.source(projects=[], jql="status = Done").check() == "jira, 0 issues, as Rita Reader"
    assert site.model.traffic.bodies == 0
    assert len(site.requests) <= 5
    with pytest.raises(SourceError, match="there is no project NOPE"):
        site.source(projects=["ENG", "NOPE"]).check()


def test_identity_is_the_site_and_its_id_and_costs_nothing_while_the_address_stays(site):
    source = site.source()
    identity = source.identity()
    assert identity == f"{site.keys['url']} {site.model.cloud_id}"
    site.clear()
    assert source.confirms(identity)
    assert site.requests == []
    assert source.confirms(f"https://other.example {site.model.cloud_id}")
    assert not source.confirms("https://other.example 0000")
    site.site.fail(refuse("tenant_info|manifest", 503, times=None))
    assert source.confirms("https://other.example 0000")
    assert source.identity() == ""


@pytest.mark.parametrize(
    ("zone", "moment"),
    [
        ("UTC", datetime(2026, 11, 2, 12, 0, tzinfo=UTC)),
        ("Asia/Kathmandu", datetime(2026, 11, 2, 12, 0, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 1, 5, 30, tzinfo=UTC)),  # 01:30 on the clock, for the first time
        ("America/New_York", datetime(2026, 11, 1, 6, 30, tzinfo=UTC)),  # 01:30 again
        ("Europe/Berlin", datetime(2026, 3, 29, 1, 10, tzinfo=UTC)),  # just after the clock jumped
    ],
)
def test_since_finds_what_changed_and_a_little_more_on_any_clock(site, zone, moment):
    site.model.account.time_zone = zone
    site.model.now = moment - timedelta(hours=12)
    long_ago = site.model.add("ENG", "Long ago")
    site.model.now = moment - timedelta(minutes=3)
    just_before = site.model.add("ENG", "Just before")
    site.model.now = moment
    at_once, later = site.model.add("ENG", "At once"), site.model.add("ENG", "Later")
    site.model.edit(later, summary="Edited")
    source = site.source()
    assert isinstance(source, ListsChanges)
    listing = source.changed_since(moment.astimezone(ZoneInfo(zone)))
    found = {item.id: item.token for item in listing.items}
    assert {just_before, at_once, later} <= found.keys()
    assert long_ago not in found
    assert "only what was changed since" in listing.problems[0]
    every = tokens(source)
    assert found == {key: every[key] for key in found}


def test_since_the_finds_all(site):
    one = site.model.add("ENG", "Issue")
    moment = datetime.min.replace(tzinfo=UTC)
    assert [item.id for item in site.source().changed_since(moment).items] == [one]


def test_since_with_an_unknown_clock_goes_back_far_enough(site):
    site.model.account.time_zone = "Etc/GMT+12"  # twelve hours behind: its minutes are the latest there are
    site.site.fail(Fault("myself", times=None, rewrite=lambda answer: answer | {"timeZone": "Mars/Olympus"}))
    key = site.model.add("ENG", "Issue")
    assert key in {item.id for item in site.source().changed_since(site.model.now).items}


def test_a_listing_is_a_stream_and_reads_a_page_when_it_is_wanted(site):
    lower(site, 10)
    site.model.add_many("ENG", 100)
    items = iter(site.source().list().items)
    for _ in range(9):
        next(items)
    assert len(site.requests) == 1
    for _ in range(10):
        next(items)
    assert len(site.requests) <= 3
