"""What the `confluence` source makes of pages, comments and attachments, of both editions."""

import pytest

from qloader.documents.document import Document, Skipped
from qloader.errors import SourceError
from qloader.sources.http.errors import UnavailableError
from servers.atlassian import Fault, refuse
from support.atlassian_sites import EDITIONS, read_all, run_confluence, tokens

BODIES = r"body-format=storage|content/search\?.*body\.storage|/rest/api/content/\d+\?"
"""The requests that ask for bodies, of both editions."""


@pytest.fixture(params=EDITIONS)
def site(request):
    with run_confluence(request.param) as running:
        yield running


def test_a_page_is_markdown_with_what_is_said_about_it(site):
    model = site.model
    home = model.add("ENG", "Home")
    guide = model.add("ENG", "Guide & tour", parent=home)
    page = model.add("ENG", "Setup", "<h2>First</h2><p>Do <strong>this</strong>.</p>", parent=guide)
    model.label(page, "public", "howto")
    model.edit(page)
    document = read_all(site.source(metadata={"team": "docs"}))[page]
    assert document.title == "Setup"
    assert document.text == "## First\n\nDo **this**.\n"
    assert document.syntax == "markdown"
    assert document.revision == "2"
    assert document.updated_at == "2026-11-02T10:01:00Z"
    assert document.metadata == {
        "type": "page",
        "space": "ENG",
        "breadcrumb": ["Home", "Guide & tour"],
        "labels": ["howto", "public"],
        "author": "Ada Author",
        "created": "2026-11-02T10:00:00Z",
        "team": "docs",
    }
    assert document.uri.startswith(site.keys["url"] + "/")
    assert page in document.uri


def test_what_stands_above_a_page_is_found_by_whoever_has_its_id_alone(site):
    model = site.model
    home = model.add("ENG", "Home")
    guide = model.add("ENG", "Guide", parent=home)
    page = model.add("ENG", "Page", parent=guide)
    (document,) = site.source().fetch([page])
    assert document == read_all(site.source())[page]


def test_links_and_mentions_become_names_and_addresses(site):
    user = "auth-2"
    key = "account-id" if site.is_cloud else "userkey"
    body = (
        f'<p>Ask <ac:link><ri:user ri:{key}="{user}" /></ac:link> or <ac:link><ri:user ri:{key}="gone" /></ac:link>, '
        'see <ac:link><ri:page ri:content-title="Set up" ri:space-key="OPS" /></ac:link> and '
        '<ac:link><ri:page ri:content-title="Home" /></ac:link>.</p>'
    )
    page = site.model.add("ENG", "Page", body)
    text = read_all(site.source())[page].text
    url = site.keys["url"]
    assert "@Ben Böhm" in text
    assert "@gone" in text
    assert f"[Set up]({url}/display/OPS/Set+up)" in text
    assert f"[Home]({url}/display/ENG/Home)" in text


def test_a_title_or_place_is_no_text_and_an_empty_page_is_a_document(site):
    page = site.model.add("ENG", "Container", " ")
    before = read_all(site.source())[page]
    site.model.edit(page, title="Other name")
    after = read_all(site.source())[page]
    assert before.text == after.text == ""
    assert (before.title, after.title) == ("Container", "Other name")


def test_many_bodies_come_at_once_and_in_the_order_asked(site):
    ids = site.model.add_many("ENG", 300)
    wanted = ids[::-3]
    documents = list(site.source().fetch(wanted))
    assert [document.id for document in documents] == wanted
    assert site.model.traffic.bodies == len(wanted)
    assert len(site.model.traffic.to(BODIES)) == 1


def test_what_went_away_between_list_and_fetch_is_said_to_be_gone(site):
    model = site.model
    ids = {name: model.add("ENG", name) for name in ("kept", "purged", "trashed", "hidden", "moved")}
    model.add_space("OPS")
    source = site.source()
    listed = list(tokens(source))
    model.purge(ids["purged"])
    model.set_status(ids["trashed"], "trashed")
    model.restrict(ids["hidden"])
    model.move(ids["moved"], space="OPS")
    results = {one.id: one for one in source.fetch(listed)}
    assert isinstance(results[ids["kept"]], Document)
    gone = [one for one in results.values() if isinstance(one, Skipped)]
    assert {one.reason for one in gone} == {"vanished"}
    assert len(gone) == 4


def test_the_newest_pages_which_the_search_does_not_know_yet_are_read_all_the_same(site):
    page = site.model.add("ENG", "New")
    site.model.label(page, "fresh")
    site.model.unindexed.add(page)
    assert read_all(site.source())[page].metadata["labels"] == ["fresh"]


def test_a_body_that_is_older_than_what_was_listed_is_never_taken_for_it(site):
    page, other = site.model.add("ENG", "Page"), site.model.add("ENG", "Other")
    site.model.hold_bodies()
    site.model.edit(page, "<p>New text.</p>")
    source = site.source()
    listed = list(tokens(source))
    found = {one.id: one for one in source.fetch(listed)}
    assert isinstance(found[other], Document)
    assert (found[page].reason, found[page].is_failure) == ("unreadable", True)
    assert "older version" in found[page].detail
    site.model.held.clear()
    assert {one.text for one in source.fetch([page])} == {"New text.\n"}


def test_a_title_that_is_older_than_what_was_listed_is_never_taken_for_it(site):
    page = site.model.add("ENG", "Page")
    site.model.hold_bodies()
    site.model.edit(page, title="Renamed", bump=False)
    source = site.source()
    listed = list(tokens(source))
    (found,) = source.fetch(listed)
    assert found.is_failure
    site.model.held.clear()
    assert [one.title for one in source.fetch(listed)] == ["Renamed"]


def test_an_attachment_that_is_older_than_what_was_listed_is_never_taken_for_it(site):
    page = site.model.add("ENG", "Page")
    site.model.attach(page, "notes.txt", b"old")
    site.model.hold_bodies()
    site.model.attach(page, "notes.txt", b"new")
    source = site.source(attachments=True)
    found = {one.id: one for one in source.fetch(list(tokens(source)))}
    assert found[f"{page}/notes.txt"].is_failure


@pytest.mark.parametrize("kind", ["comment", "label", "space label"])
def test_what_comes_after_the_listing_and_goes_again_before_the_next_is_never_kept(site, kind):
    model = site.model
    page, other = model.add("ENG", "Page"), model.add("ENG", "Other")
    model.comment(page, "<p>First.</p>")
    model.label(page, "draft", "old")
    source = site.source(comments=True, **({"label_changes": True} if kind == "label" else {"labels": ["draft"]}))
    if kind != "comment" and not site.is_cloud:
        source = site.source(comments=True)
    model.label(other, "draft")
    before = tokens(source)
    comments, labels = list(model.pages[page].comments), model.pages[page].labels
    if kind == "comment":
        model.comment(page, "<p>Said in anger.</p>")
    else:
        model.label(page, "draft", "old", "Draft" if kind == "space label" else "secret")
    found = {one.id: one for one in source.fetch([page, other])}
    assert (found[page].reason, found[page].is_failure) == ("unreadable", True)
    assert "changed meanwhile" in found[page].detail
    assert isinstance(found[other], Document)
    model.pages[page].comments, model.pages[page].labels = comments, labels
    assert tokens(source) == before  # so that what was read in between would have been kept
    assert read_all(source)[page].text.endswith("\nFirst.\n")


def test_labels_that_a_listing_does_not_tell_of_do_not_matter():
    with run_confluence("cloud") as site:
        page = site.model.add("ENG", "Page")
        for keys in ({}, {"labels": ["draft"]}):
            site.model.label(page, "draft")
            source = site.source(**keys)
            listed = list(tokens(source))
            site.model.label(page, "draft", "new")
            (document,) = source.fetch(listed)
            assert document.metadata["labels"] == ["draft", "new"]


def test_a_row_without_an_id_is_no_page_and_hides_no_other(site):
    pages = [site.model.add("ENG", f"Page {number}") for number in range(5)]
    source = site.source(retry_attempts=0)
    listed = list(tokens(source))

    def nameless(answer):
        for row in answer["results"]:
            row["id"] = None if row["id"] == pages[2] else row["id"]
        return answer

    site.site.fail(Fault("body-format=storage|body.storage", times=None, rewrite=nameless))
    found = list(source.fetch(listed))
    assert [one.id for one in found] == listed
    assert [one.id for one in found if not isinstance(one, Document)] == [pages[2]]
    assert found[2].is_failure


def test_blog_posts_and_archived_pages_say_what_they_are(site):
    post, old = site.model.add("ENG", "News", type="blogpost"), site.model.add("ENG", "Old")
    site.model.set_status(old, "archived")
    found = read_all(site.source(blog_posts=True, archived=True))
    assert found[f"blog/{post}"].metadata["type"] == "blogpost"
    assert found[f"blog/{post}"].text == "About News.\n"
    assert found[old].metadata["status"] == "archived"


def test_comments_become_text_and_change_the_token_of_their_page(site):
    model = site.model
    page, other = model.add("ENG", "Page", "<p>Text.</p>"), model.add("ENG", "Other")
    source = site.source(comments=True)
    empty = tokens(source)
    first = model.comment(page, "<p>Is this <em>so</em>?</p>")
    model.comment(page, "<p>It is.</p>", parent=first)
    once = tokens(source)
    assert {one for one in empty if empty[one] != once[one]} == {page}
    assert read_all(source)[page].text == (
        "Text.\n\n## Comments\n\n### Ben Böhm, 2026-11-02\n\nIs this *so*?\n\n### Ben Böhm, 2026-11-02\n\nIt is.\n"
    )
    model.edit_comment(page, first, "<p>Really?</p>")
    assert {one for one, token in tokens(source).items() if token != once[one]} == {page}
    assert "Really?" in read_all(source)[page].text
    assert read_all(site.source())[page].text == "Text.\n"
    assert other in once


def test_a_page_with_thousands_of_comments_is_read_whole():
    with run_confluence("cloud") as site:  # the search is the same in both editions
        page = site.model.add("ENG", "Page")
        for number in range(3_000):
            site.model.comment(page, f"<p>c{number}</p>")
        text = read_all(site.source(comments=True))[page].text
        assert text.count("\n### ") == 3_000
        assert "\nc2999\n" in text


def test_attached_text_is_a_document_and_all_else_is_named(site):
    model = site.model
    page, post = model.add("ENG", "Page"), model.add("ENG", "News", type="blogpost")
    model.attach(page, "read me.md", b"# Notes\n\nSome notes.", "text/markdown")
    model.attach(page, "plan.pdf", b"%PDF-1.7", "application/pdf")
    model.attach(page, "huge.txt", b"x" * 2000, "text/plain")
    model.attach(post, "data.csv", b"a,b\n1,2\n", "text/csv")
    source = site.source(attachments=True, blog_posts=True, max_bytes=1000)
    listing = source.list()
    ids = [item.id for item in listing.items]
    assert {one for one in ids if one.count("/") > one.startswith("blog/")} == {
        f"{page}/read me.md",
        f"blog/{post}/data.csv",
    }
    assert {(one.id, one.reason) for one in listing.skipped} == {
        (f"{page}/plan.pdf", "binary"),
        (f"{page}/huge.txt", "too large"),
    }
    found = {one.id: one for one in source.fetch([*ids, f"{page}/nothing.txt"])}
    notes = found[f"{page}/read me.md"]
    assert (notes.title, notes.text, notes.revision) == ("Notes", "# Notes\n\nSome notes.\n", "1")
    assert notes.metadata == {"type": "attachment", "page": page}
    assert found[f"blog/{post}/data.csv"].text == "a,b\n1,2\n"
    assert found[f"{page}/nothing.txt"] == Skipped(f"{page}/nothing.txt", "vanished")
    before = tokens(source)
    model.attach(page, "read me.md", b"# Notes\n\nOther notes.", "text/markdown")
    after = tokens(source)
    assert {one for one in after if after[one] != before[one]} == {f"{page}/read me.md"}


def test_a_page_over_max_bytes_is_skipped_and_the_others_are_read(site):
    small, large = site.model.add("ENG", "Small"), site.model.add("ENG", "Large", "<p>" + "x" * 20_000_000 + "</p>")
    found = {one.id: one for one in site.source().fetch([small, large])}
    assert isinstance(found[small], Document)
    assert (found[large].reason, found[large].detail) == ("too large", "20 MB, max_bytes is 10 MB")


def test_an_answer_that_is_too_large_or_broken_is_halved_until_the_page_is_found(site):
    ids = site.model.add_many("ENG", 8)
    bad = ids[3]
    site.site.fail(Fault(rf"({BODIES}).*{bad}|{bad}.*body|cql=id.*{bad}.*body", times=None, cut=True))
    found = {one.id: one for one in site.source(retry_attempts=0).fetch(ids)}
    assert [one.id for one in found.values() if isinstance(one, Skipped)] == [bad]
    assert found[bad].is_failure


def test_a_server_that_goes_away_while_bodies_are_read_is_an_error(site):
    ids = site.model.add_many("ENG", 3)
    source = site.source(retry_attempts=1)
    assert list(tokens(source)) == ids
    site.site.fail(refuse("", 503, times=None))
    with pytest.raises(UnavailableError):
        list(source.fetch(ids))


def test_unknown_macros_keep_their_text_and_are_named_once(site):
    macro = '<ac:structured-macro ac:name="roadmap-9000"><ac:rich-text-body><p>Inside.</p></ac:rich-text-body>'
    for number in range(3):
        site.model.add("ENG", f"Page {number}", macro + "</ac:structured-macro>")
    source = site.source()
    assert all("Inside." in document.text for document in read_all(source).values())
    assert len(source.unknown) == 1
    assert "roadmap-9000" in next(iter(source.unknown))


def test_broken_storage_format_is_read_as_far_as_it_goes(site):
    page = site.model.add("ENG", "Page", "<p>Kept <strong>open<ac:link><ri:page</p><table><tr><td>cell")
    assert "Kept" in read_all(site.source())[page].text


def test_odd_ids_of_an_old_plan_are_gone_and_break_nothing(site):
    page = site.model.add("ENG", "Page")
    odd = ["", "1) or (1=1", "../secret", "blog/", "٣", f"{page}/", f"blog/{page}"]
    results = list(site.source(attachments=True).fetch([*odd, page]))
    assert [one.id for one in results] == [*odd, page]
    assert all(one == Skipped(one.id, "vanished") for one in results[:-1])


def test_a_site_that_nobody_asked_for_is_refused(site):
    site.site.fail(Fault("", times=None, status=302, headers={"location": "https://evil.example/x"}))
    with pytest.raises(SourceError, match="another host"):
        site.source().list()


def test_a_public_site_is_read_without_an_account(site):
    site.model.account.lets_in_anybody = True
    page = site.model.add("ENG", "Page", '<p><ac:link><ri:user ri:userkey="auth-2" /></ac:link></p>')
    source = site.source(token=None)
    assert source.check() == "confluence, 1 page in ENG, as anonymous"
    document = read_all(source)[page]
    assert document.text == "@auth-2\n"
    assert [item.id for item in source.changed_since(site.model.now).items] == [page]


def test_an_answer_without_a_text_is_no_empty_page(site):
    ids = [site.model.add("ENG", "Kept"), site.model.add("ENG", "Empty", " ")]

    def without_bodies(answer):
        found = answer.get("results", [answer])
        for page in (one.get("content", one) for one in found):
            if page.get("title") == "Kept":
                page["body"] = {}
        return answer

    site.site.fail(Fault(BODIES, times=None, rewrite=without_bodies))
    kept, empty = site.source().fetch(ids)
    assert isinstance(kept, Skipped)
    assert kept.reason == "unreadable"
    assert "without its text" in kept.detail
    assert isinstance(empty, Document)
    assert empty.text.strip() == ""
