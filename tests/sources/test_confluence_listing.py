"""What the `confluence` source lists: ids and change tokens, of both editions."""

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
from qloader.sources.protocol import Checks, ListsChanges
from servers.atlassian import Fault, login_page, refuse
from support.atlassian_sites import EDITIONS, run_confluence, tokens

LISTS = r"/spaces/\d+/pages|/rest/api/content(/scan)?\?"
"""The requests that list pages, of both editions."""


@pytest.fixture(params=EDITIONS)
def site(request):
    with run_confluence(request.param) as running:
        yield running


def listed(source):
    listing = source.list()
    return {item.id for item in listing.items}, listing


def test_every_page_of_a_space_is_listed_once_without_a_body(site):
    ids = site.model.add_many("ENG", 620)
    site.model.add("OPS", "Not asked for")
    assert set(tokens(site.source())) == set(ids)
    assert site.model.traffic.bodies == 0


@pytest.mark.parametrize(("deployment", "count"), [("cloud", 10_000), ("data_center", 2_000)])
def test_ten_thousand_pages_take_41_requests_at_most(deployment, count):
    with run_confluence(deployment, max_limit=250) as site:
        site.model.add_many("ENG", count)
        assert len(tokens(site.source())) == count
        assert len(site.requests) <= 1 + count // 250
        assert site.model.traffic.bodies == 0


@pytest.mark.parametrize("count", [0, 1, 5, 10])
def test_a_page_that_is_exactly_full_is_not_the_end_and_an_empty_space_is_no_error(site, count):
    site.model.max_limit = 5
    site.model.add_space("ENG")
    ids = [site.model.add("ENG", f"Page {n}") for n in range(count)]
    assert set(tokens(site.source())) == set(ids)


def test_an_old_server_without_scan_that_lowers_the_limit_is_listed_whole():
    with run_confluence("data_center", max_limit=7, has_scan=False) as site:
        ids = site.model.add_many("ENG", 50)
        assert set(tokens(site.source())) == set(ids)


@pytest.mark.parametrize("victim", [0, 6, 12])
def test_a_page_that_is_deleted_while_an_old_server_is_listed_hides_no_other(victim):
    with run_confluence("data_center", max_limit=7, has_scan=False) as site:
        ids = site.model.add_many("ENG", 30)
        site.site.fail(Fault(r"content\?", after=2, before=lambda: site.model.purge(ids[victim])))
        assert set(tokens(site.source())) >= set(ids) - {ids[victim]}


def test_pages_that_are_made_while_they_are_listed_hide_no_other(site):
    site.model.max_limit = 7
    ids = site.model.add_many("ENG", 30)
    site.site.fail(Fault(LISTS, after=2, before=lambda: site.model.add("ENG", "Late")))
    assert set(tokens(site.source())) >= set(ids)


def test_only_what_changed_gets_another_token(site):
    model = site.model
    home, guide, page, other = (model.add("ENG", title) for title in ("Home", "Guide", "Page", "Other"))
    model.move(guide, parent=home)
    model.move(page, parent=guide)
    source = site.source()

    def changed_by(change):
        before = tokens(source)
        change()
        after = tokens(source)
        return {one for one in before if before[one] != after.get(one)}

    assert changed_by(lambda: None) == set()
    assert changed_by(lambda: model.edit(other, "<p>Edited.</p>")) == {other}
    assert changed_by(lambda: model.edit(other)) == {other}
    assert changed_by(lambda: model.move(other, parent=guide)) == {other}
    assert changed_by(lambda: model.edit(other, title="Renamed", bump=False)) == {other}
    # The breadcrumb of what is below it says its title.
    assert changed_by(lambda: model.edit(guide, title="Handbook")) == {guide, page, other}
    assert changed_by(lambda: model.set_status(other, "trashed")) == {other}


def test_a_move_to_another_space_keeps_the_id_and_changes_the_token(site):
    page = site.model.add("ENG", "Page")
    site.model.add_space("OPS")
    source = site.source(spaces=["ENG", "OPS"])
    before = tokens(source)
    site.model.move(page, space="OPS")
    after = tokens(source)
    assert before.keys() == after.keys() == {page}
    assert before != after


def test_labels_alone_are_seen_on_data_center_and_on_cloud_when_asked_for(site):
    page = site.model.add("ENG", "Page")
    site.model.label(page, "draft")
    for keys, sees in (({}, not site.is_cloud), ({"label_changes": True}, True)):
        source = site.source(**keys)
        site.model.label(page, "draft")
        before = tokens(source)
        site.model.label(page, "draft", "public")
        assert (tokens(source) != before) == sees


def test_labels_select_pages(site):
    pages = {name: site.model.add("ENG", name) for name in ("public", "secret", "both", "none")}
    for name, labels in (("public", ["Public"]), ("secret", ["secret"]), ("both", ["public", "secret"])):
        site.model.label(pages[name], *labels)
    assert set(tokens(site.source(labels=["public"]))) == {pages["public"], pages["both"]}
    assert set(tokens(site.source(exclude_labels=["secret"]))) == {pages["public"], pages["none"]}
    assert set(tokens(site.source(labels=["public"], exclude_labels=["secret"]))) == {pages["public"]}
    assert set(tokens(site.source(labels=["nowhere"]))) == set()


def test_roots_select_trees_and_know_their_spaces(site):
    home, guide, page, other = (site.model.add("ENG", title) for title in ("Home", "Guide", "Page", "Other"))
    site.model.move(guide, parent=home)
    site.model.move(page, parent=guide)
    assert set(tokens(site.source(roots=[guide]))) == {guide, page}
    assert set(tokens(site.source(roots=[guide, other], spaces=[]))) == {guide, page, other}


def test_blog_posts_and_archived_pages_are_listed_when_asked_for(site):
    page, archived = site.model.add("ENG", "Page"), site.model.add("ENG", "Old")
    post = site.model.add("ENG", "News", type="blogpost")
    site.model.set_status(archived, "archived")
    assert set(tokens(site.source())) == {page}
    assert set(tokens(site.source(blog_posts=True))) == {page, f"blog/{post}"}
    assert set(tokens(site.source(archived=True))) == {page, archived}


def test_what_the_account_may_not_see_or_is_in_the_bin_is_not_listed(site):
    page, hidden, trashed = (site.model.add("ENG", title) for title in ("Page", "Hidden", "Trashed"))
    site.model.restrict(hidden)
    site.model.set_status(trashed, "trashed")
    assert set(tokens(site.source())) == {page}


def test_a_folder_stands_in_the_breadcrumb_of_what_is_in_it():
    with run_confluence("cloud") as site:
        folder = site.model.add("ENG", "Folder", type="folder")
        page = site.model.add("ENG", "Page", parent=folder)
        source = site.source()
        before = tokens(source)
        assert before.keys() == {page}
        site.model.edit(folder, title="Drawer")
        assert tokens(source) != before
        (document,) = source.fetch([page])
        assert document.metadata["breadcrumb"] == ["Drawer"]


def test_a_listing_that_breaks_on_its_third_page_keeps_what_it_has_and_is_not_complete(site):
    site.model.max_limit = 5
    site.model.add("OPS", "Other")
    made = site.model.add_many("ENG", 30)
    site.site.fail(refuse(LISTS, 503, after=2, times=None))
    ids, listing = listed(site.source(spaces=["ENG", "OPS"], retry_attempts=1))
    assert ids == set(made[:10])
    assert len(listing.problems) == 2
    assert "ENG was not listed to its end" in listing.problems[0]
    assert "(503, tried 2 times)" in listing.problems[0]


def test_a_listing_goes_on_where_it_was_after_a_bad_moment(site):
    site.model.max_limit = 5
    ids = site.model.add_many("ENG", 30)
    site.site.fail(
        refuse(LISTS, 429, retry_after="0", after=1),
        refuse(LISTS, 503, after=3),
        Fault(LISTS, after=4, drop=True),
        Fault(LISTS, after=6, cut=True),
    )
    assert set(tokens(site.source())) == set(ids)
    assert len(site.model.traffic.to(LISTS)) == 6 + 4


@pytest.mark.parametrize("bad", [None, "", True, ["1"]])
def test_a_row_without_an_id_breaks_the_listing_and_becomes_no_document(site, bad):
    site.model.max_limit = 5
    made = site.model.add_many("ENG", 20)

    def spoil(answer):
        answer["results"][2]["id"] = bad
        return answer

    site.site.fail(Fault(LISTS, after=1, times=None, rewrite=spoil))
    ids, listing = listed(site.source(retry_attempts=0))
    assert set(made[:5]) <= ids <= set(made)
    assert "ENG was not listed to its end" in listing.problems[0]
    assert "answers with something else than expected" in listing.problems[0]


def test_an_attachment_without_a_name_is_no_document(site):
    page = site.model.add("ENG", "Page")
    site.model.attach(page, "notes.txt", b"notes")

    def nameless(answer):
        return {**answer, "results": [{**row, "title": None} for row in answer["results"]]}

    site.site.fail(Fault("attachment", times=None, rewrite=nameless))
    ids, listing = listed(site.source(attachments=True, retry_attempts=0))
    assert ids == {page}
    assert not listing.complete


def test_a_list_that_goes_round_in_a_circle_ends_and_is_not_complete(site):
    site.model.max_limit = 5
    site.model.add_many("ENG", 30)
    first = []

    def back_to_the_first(answer):
        first.append(answer["_links"]["next"])
        return {**answer, "_links": {**answer["_links"], "next": first[0]}}

    site.site.fail(Fault(LISTS, times=None, rewrite=back_to_the_first))
    ids, listing = listed(site.source())
    assert len(ids) == 10
    assert "goes round in a circle" in listing.problems[0]


def test_a_list_of_an_old_server_that_gets_no_further_is_not_taken_for_the_whole():
    with run_confluence("data_center", max_limit=7, has_scan=False) as site:
        site.model.add_many("ENG", 30)
        first = []

        def the_first_again(answer):  # as of a proxy that keeps answers whatever was asked for
            first.append(answer)
            return first[0]

        site.site.fail(Fault(r"content\?", times=None, rewrite=the_first_again))
        ids, listing = listed(site.source())
        assert len(ids) == 7
        assert "goes round in a circle" in listing.problems[0]


def test_a_space_that_is_not_there_is_an_error_and_one_of_several_makes_the_listing_incomplete(site):
    page = site.model.add("ENG", "Page")
    with pytest.raises(SourceError, match="none of its spaces can be read") as caught:
        site.source(spaces=["NOPE"]).list()
    assert "keys, not names" in caught.value.remedy
    ids, listing = listed(site.source(spaces=["ENG", "NOPE"]))
    assert ids == {page}
    assert listing.problems == ["the space NOPE does not exist, or this account may not see it"]


def test_an_error_about_the_only_space_is_one_sentence(site):
    site.model.add("ENG", "Page")
    site.site.fail(refuse(LISTS, 404, times=None))
    with pytest.raises(SourceError, match="none of its spaces can be read") as caught:
        list(site.source().list().items)
    assert str(caught.value).endswith(".")
    assert not str(caught.value).endswith("..")


def test_a_space_whose_permission_is_lost_deletes_nothing(site):
    page = site.model.add("ENG", "Page")
    site.model.add("OPS", "Other")
    site.model.spaces["OPS"].hidden = True
    ids, listing = listed(site.source(spaces=["ENG", "OPS"]))
    assert ids == {page}
    assert not listing.complete
    site.model.spaces["ENG"].hidden = True
    with pytest.raises(SourceError):
        site.source(spaces=["ENG", "OPS"]).list()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (refuse("", 401, times=None), CredentialsError),
        (refuse("", 503, times=None), UnavailableError),
        (refuse("", 429, retry_after="0", times=None), UnavailableError),
        (login_page(), LoginPageError),
        (Fault("", times=None, cut=True), BrokenAnswerError),
        (Fault("", times=None, rewrite=lambda _: []), BrokenAnswerError),
        (Fault("", times=None, rewrite=lambda _: {"results": [{"id": None}]}), BrokenAnswerError),
    ],
    ids=["401", "503", "429", "login page", "cut", "a list", "other keys"],
)
def test_each_kind_of_bad_answer_is_an_error_of_its_own(site, fault, error):
    site.model.add("ENG", "Page")
    fault.seen = 0
    site.site.fail(fault)
    with pytest.raises(error) as caught:
        site.source(retry_attempts=1).list()
    assert caught.value.remedy
    assert site.model.account.token not in f"{caught.value} {caught.value.remedy}"


def test_a_wrong_token_and_a_lost_permission_are_told_apart(site):
    site.model.add("ENG", "Page")
    with pytest.raises(CredentialsError):
        site.source(token="wrong").list()
    site.site.fail(refuse("", 403, times=None))
    with pytest.raises((PermissionDeniedError, SourceError), match="403"):
        site.source().list()


def test_validate_says_what_there_is_and_as_whom(site):
    site.model.add_many("ENG", 1200)
    source = site.source()
    assert isinstance(source, Checks)
    assert source.check() == "confluence, 1,200 pages in ENG, as Rita Reader"
    assert site.model.traffic.bodies == 0
    assert len(site.requests) <= 3
    site.model.add("OPS", "Single")
    assert site.source(spaces=["OPS"]).check() == "confluence, 1 page in OPS, as Rita Reader"
    with pytest.raises(SourceError, match="none of its spaces"):
        site.source(spaces=["NOPE"]).check()
    with pytest.raises(SourceError, match="some of its spaces cannot be read: the space NOPE does not exist"):
        site.source(spaces=["ENG", "NOPE"]).check()


def test_identity_is_the_site_and_its_id_and_costs_nothing_while_the_address_stays(site):
    site.model.add("ENG", "Page")
    source = site.source()
    identity = source.identity()
    assert identity == f"{site.keys['url']} {site.model.cloud_id}"
    site.clear()
    assert source.confirms(identity)
    assert site.requests == []
    # The same site under another address, another site, and one that cannot tell.
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
    site.model.edit(later, "<p>Edited.</p>")
    source = site.source(**({} if site.is_cloud else {"time_zone": zone}))
    assert isinstance(source, ListsChanges)
    listing = source.changed_since(moment.astimezone(ZoneInfo(zone)))
    found = {item.id: item.token for item in listing.items}
    assert {just_before, at_once, later} <= found.keys()
    assert long_ago not in found
    assert not listing.complete
    assert "only what was changed since" in listing.problems[0]
    every = tokens(source)
    assert found == {one: every[one] for one in found}
    assert site.model.traffic.bodies == 0


def test_since_the_year_one_finds_all(site):
    one = site.model.add("ENG", "Page")
    moment = datetime.min.replace(tzinfo=UTC)
    assert [item.id for item in site.source().changed_since(moment).items] == [one]


def test_since_with_an_unknown_clock_goes_back_far_enough(site):
    site.model.account.time_zone = "Etc/GMT+12"  # twelve hours behind: its minutes are the latest there are
    source = site.source()
    if site.is_cloud:
        site.site.fail(Fault("user/current", times=None, rewrite=lambda answer: answer | {"timeZone": None}))
    page = site.model.add("ENG", "Page")
    assert page in {item.id for item in source.changed_since(site.model.now).items}


def test_since_finds_pages_whose_comments_or_files_changed(site):
    page, other, file = (site.model.add("ENG", title) for title in ("Page", "Other", "With a file"))
    site.model.now += timedelta(hours=2)
    since = site.model.now
    site.model.comment(page, "<p>Said.</p>")
    site.model.attach(file, "notes.txt", b"notes")
    source = site.source(comments=True, attachments=True, time_zone="UTC")
    found = {item.id: item.token for item in source.changed_since(since).items}
    assert found.keys() == {page, file, f"{file}/notes.txt"}
    every = tokens(source)
    assert found == {one: every[one] for one in found}
    assert other in every
