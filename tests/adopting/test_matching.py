"""Which text is whose, and which document is which, in the database that both sides are put in."""

from __future__ import annotations

import itertools

import pytest

from qloader.adopting.collection import ForeignPoint
from qloader.adopting.matching import Matching
from qloader.adopting.shapes import Passage
from qloader.documents.hashing import chunk_hash
from qloader.manifest.manifest import PlannedChunk

numbers = itertools.count(1)


@pytest.fixture
def matching():
    with Matching() as matching:
        yield matching


def chunk(text):
    return PlannedChunk(chunk_hash(text), len(text))


def add_ours(matching, **documents):
    for document_id, texts in documents.items():
        matching.add_document("docs", document_id, map(chunk, texts))


def add_theirs(matching, name, *texts):
    for text in texts:
        matching.add_passage(ForeignPoint(next(numbers)), Passage(text, text, (name,) if name else ()))


def conclude(matching):
    matching.complete()
    for some in matching.candidates(2):
        matching.take(one.hash for one in some)
    matching.conclude()
    return {one.id: (one.fate, one.embed, one.foreign) for one in matching.documents()}


def dropped(matching):
    return [(one.name, one.points) for one in matching.dropped()]


def test_texts_decide_what_is_kept_and_names_what_is_rewritten(matching):
    add_ours(matching, **{"docs/a.md": ["A one", "A two"], "docs/b.md": ["B now"], "docs/c.md": ["C"], "d.md": []})
    add_theirs(matching, "/x/docs/a.md", "A one", "A two")
    add_theirs(matching, "/x/docs/b.md", "B before")
    add_theirs(matching, "/x/docs/z.md", "Z")
    assert conclude(matching) == {
        "docs/a.md": ("kept", 0, "/x/docs/a.md"),
        "docs/b.md": ("rewritten", 1, "/x/docs/b.md"),
        "docs/c.md": ("new", 1, ""),
        "d.md": ("applied", 0, ""),
    }
    assert dropped(matching) == [("/x/docs/z.md", 1)]


def test_each_text_is_a_candidate_once_however_often_it_is_there(matching):
    add_ours(matching, **{"a.md": ["same", "same", "other"], "b.md": ["same"]})
    add_theirs(matching, "a.md", "same", "same", "elsewhere")
    matching.complete()
    (found,) = matching.candidates(10)
    assert [one.hash for one in found] == [chunk_hash("same")]
    assert matching.count_candidates(is_trimmed=False) == len(matching.samples(25, is_trimmed=False)) == 1


def test_candidates_come_page_by_page_while_they_are_taken(matching):
    texts = [f"text {number}" for number in range(11)]
    add_ours(matching, **{"a.md": texts})
    add_theirs(matching, "a.md", *texts)
    matching.complete()
    seen = []
    for some in matching.candidates(3):
        seen += [one.hash for one in some]
        matching.take(one.hash for one in some)
    assert seen == [chunk_hash(text) for text in texts]
    assert matching.count_candidates(is_trimmed=False) == 0
    assert list(matching.candidates(3)) == []


def test_blank_space_around_a_text_is_noted_and_one_without_it_is_preferred(matching):
    add_ours(matching, **{"a.md": ["one", "two", "three"]})
    add_theirs(matching, "a.md", "one\n\n", " two", "two", "three ")
    matching.complete()
    (found,) = matching.candidates(10)
    texts = {chunk_hash(text): text for text in ("one", "two", "three")}
    assert [(texts[one.hash], one.is_trimmed) for one in found] == [("two", False), ("one", True), ("three", True)]
    assert len(matching.samples(25, is_trimmed=True)) == matching.count_candidates(is_trimmed=True) == 2
    matching.drop_trimmed()
    (found,) = matching.candidates(10)
    assert [texts[one.hash] for one in found] == ["two"]


def test_samples_are_the_longest_text_and_others_from_all_over_the_collection(matching):
    texts = [f"text {number:03}" for number in range(100)]
    texts[77] += " which is longer"
    add_ours(matching, **{"a.md": texts})
    add_theirs(matching, "a.md", *texts)
    matching.complete()
    found = [one.hash for one in matching.samples(5, is_trimmed=False)]
    assert found[0] == chunk_hash(texts[77])
    places = [texts.index(next(text for text in texts if chunk_hash(text) == digest)) for digest in found[1:]]
    assert places == [0, 20, 40, 60]


def test_a_renamed_document_is_found_by_its_texts_and_one_shared_paragraph_finds_none(matching):
    add_ours(matching, **{"new-name.md": ["One", "Two", "Licence"], "other.md": ["Other", "Licence"]})
    add_theirs(matching, "old-name.md", "One", "Two", "Licence")
    add_theirs(matching, "gone.md", "Gone", "Gone too", "Licence")
    found = conclude(matching)
    assert found["new-name.md"] == ("kept", 0, "old-name.md")
    assert found["other.md"] == ("new", 1, "")
    assert dropped(matching) == [("gone.md", 3)]


def test_of_several_files_of_one_name_each_goes_to_the_nearest(matching):
    add_ours(matching, **{"README.md": ["a"], "docs/README.md": ["b"]})
    add_theirs(matching, "/repo/README.md", "x")
    add_theirs(matching, "/repo/docs/README.md", "y")
    add_theirs(matching, "/repo/vendor/lib/README.md", "z")
    found = conclude(matching)
    assert found["README.md"] == ("rewritten", 1, "/repo/README.md")
    assert found["docs/README.md"] == ("rewritten", 1, "/repo/docs/README.md")
    assert dropped(matching) == [("/repo/vendor/lib/README.md", 1)]


def test_a_name_that_is_only_the_end_of_ours_counts_where_it_can_be_one_document_alone(matching):
    add_ours(matching, **{"docs/a.md": ["a"], "docs/index.md": ["b"], "more/index.md": ["c"]})
    add_theirs(matching, "a.md", "x")
    add_theirs(matching, "index.md", "y")
    found = conclude(matching)
    assert {one: fate for one, (fate, _, _) in found.items()} == {
        "docs/a.md": "rewritten",
        "docs/index.md": "new",
        "more/index.md": "new",
    }
    assert dropped(matching) == [("index.md", 1)]


def test_points_that_name_no_document_are_dropped_together_unless_their_texts_are_ours(matching):
    add_ours(matching, **{"a.md": ["One", "Two"]})
    add_theirs(matching, "", "One", "Two", "Three")
    assert conclude(matching) == {"a.md": ("kept", 0, "")}
    assert dropped(matching) == []
    assert matching.count_foreign_documents() == 0


def test_a_document_that_is_planned_anew_replaces_what_was_said_of_it(matching):
    add_ours(matching, **{"a.md": ["before", "before too"]})
    add_ours(matching, **{"a.md": ["now"]})
    matching.leave_out("docs", "gone.md")
    assert matching.knows("docs", "a.md")
    assert matching.knows("docs", "gone.md")
    assert not matching.knows("docs", "b.md")
    assert conclude(matching) == {"a.md": ("new", 1, "")}
    assert matching.count_texts() == (1, 1)


def test_ids_and_texts_of_any_kind_are_taken_as_they_are(matching):
    add_ours(matching, **{"a.md": ["text"]})
    for point in (2**63, "0b1c2d3e-0000-4000-8000-000000000000"):
        matching.add_passage(ForeignPoint(point), Passage("text", "text", ("a.md",)))
    matching.add_passage(ForeignPoint(5), Passage("half \ud800", "half \ud800", ("b\ud800.md",)))
    matching.complete()
    ((found,),) = matching.candidates(10)
    assert found.point == 2**63
