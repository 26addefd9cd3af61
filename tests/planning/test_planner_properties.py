"""What holds for every pair of states and manifests, tried on real SQLite through the real join."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qloader.documents.hashing import content_hash
from support.model import Model
from support.sources import DictSource

NASTY_IDS = [
    "a",
    "A",
    "a/b",
    "a'b",
    'a"b',
    "a\nb",
    "ä",
    "a\u0308",
    "%s",
    "a;--",
    "日本/語.md",
    "\U0001f600",
    " ",
    "a\\b",
    "x",
]
IDS = st.sampled_from(NASTY_IDS)
TEXTS = st.sampled_from(["", "one", "two", "one\n\ntwo", "two\n\none", "one\n\none", "ünï"])
MANIFESTS = st.dictionaries(IDS, TEXTS, max_size=8)

slow = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True)
def _quiet_temporary_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def fresh_model() -> Model:
    return Model(Path(tempfile.mkdtemp()))


def expected(source: DictSource) -> dict[str, bytes]:
    return {f"{source.name}/{i}": content_hash(text) for i, text in source.texts.items()}


@slow
@given(MANIFESTS, MANIFESTS)
def test_a_plan_applied_to_the_state_is_the_manifest_and_planning_again_finds_nothing(
    before: dict[str, str], after: dict[str, str]
) -> None:
    model, source = fresh_model(), DictSource("s", before)
    model.apply(model.plan(source))
    assert model.documents() == expected(source)
    source.texts = dict(after)
    model.apply(model.plan(source))
    assert model.documents() == expected(source)
    assert model.plan(source) == []


@slow
@given(MANIFESTS, MANIFESTS)
def test_going_there_and_back_leaves_nothing_to_plan(before: dict[str, str], after: dict[str, str]) -> None:
    model, source = fresh_model(), DictSource("s", before)
    model.apply(model.plan(source))
    source.texts = dict(after)
    assert model.snapshot(source).documents == len(after)
    source.texts = dict(before)
    assert model.plan(source) == []


@slow
@given(MANIFESTS, MANIFESTS)
def test_order_and_repetition_in_a_listing_never_matter(before: dict[str, str], after: dict[str, str]) -> None:
    plans = []
    for reverse, repeat in ((False, False), (True, True)):
        model, source = fresh_model(), DictSource("s", before)
        source.reverse, source.repeat = reverse, repeat
        model.apply(model.plan(source))
        source.texts = dict(after)
        plans.append(model.plan(source))
    assert plans[0] == plans[1]


@slow
@given(MANIFESTS, MANIFESTS)
def test_each_document_changes_at_most_once_and_a_plan_is_in_order(
    before: dict[str, str], after: dict[str, str]
) -> None:
    model, source = fresh_model(), DictSource("s", before)
    model.apply(model.plan(source))
    source.texts = dict(after)
    changes = model.plan(source)
    keys = [(c.source, c.id) for c in changes]
    assert keys == sorted(set(keys))
    touched = [c.id for c in changes] + [c.from_id for c in changes if c.from_id is not None]
    assert len(touched) == len(set(touched))
    for change in changes:
        old, new = len(before.get(change.from_id or change.id, "").split()), len(after.get(change.id, "").split())
        assert change.chunks.keep + change.chunks.remove == old
        assert change.chunks.keep + change.chunks.add == new


@slow
@given(MANIFESTS, MANIFESTS)
def test_an_incomplete_listing_deletes_and_moves_nothing(before: dict[str, str], after: dict[str, str]) -> None:
    model, source = fresh_model(), DictSource("s", before)
    model.apply(model.plan(source))
    source.texts, source.problems = dict(after), ["the listing broke on page 3"]
    changes = model.plan(source)
    assert {c.action for c in changes} <= {"create", "update"}
    model.apply(changes)
    assert model.documents() == {**{f"s/{i}": content_hash(t) for i, t in before.items()}, **expected(source)}


def test_a_renamed_document_is_a_move_that_embeds_nothing() -> None:
    model, source = fresh_model(), DictSource("s", {"old.md": "one\n\ntwo", "other.md": "three"})
    model.apply(model.plan(source))
    source.texts = {"new.md": "one\n\ntwo", "other.md": "three"}
    (change,) = model.plan(source)
    assert (change.action, change.from_id, change.id) == ("move", "old.md", "new.md")
    assert (change.chunks.add, change.chunks.keep, change.chunks.remove) == (0, 2, 0)


def test_a_rename_that_changes_only_the_case_is_a_move() -> None:
    model, source = fresh_model(), DictSource("s", {"readme.md": "one"})
    model.apply(model.plan(source))
    source.texts = {"README.md": "one"}
    assert [(c.action, c.from_id, c.id) for c in model.plan(source)] == [("move", "readme.md", "README.md")]


def test_a_chain_of_moves_ends_in_the_right_documents() -> None:
    model, source = fresh_model(), DictSource("s", {"a": "one", "b": "two"})
    model.apply(model.plan(source))
    source.texts = {"b": "one", "c": "two"}
    model.apply(model.plan(source))
    assert model.documents() == expected(source)
    assert model.plan(source) == []


def test_two_documents_that_swap_their_texts_are_two_updates() -> None:
    model, source = fresh_model(), DictSource("s", {"a": "one", "b": "two"})
    model.apply(model.plan(source))
    source.texts = {"a": "two", "b": "one"}
    assert [(c.action, c.id) for c in model.plan(source)] == [("update", "a"), ("update", "b")]


def test_of_documents_with_equal_text_those_that_keep_their_file_name_are_paired() -> None:
    model, source = fresh_model(), DictSource("s", {"x/one.md": "same", "x/two.md": "same"})
    model.apply(model.plan(source))
    source.texts = {"y/two.md": "same", "y/one.md": "same"}
    moves = {c.id: c.from_id for c in model.plan(source)}
    assert moves == {"y/one.md": "x/one.md", "y/two.md": "x/two.md"}


def test_one_deleted_document_is_moved_to_one_place_alone() -> None:
    model, source = fresh_model(), DictSource("s", {"old/a.md": "one"})
    model.apply(model.plan(source))
    source.texts = {"new/a.md": "one", "other/a.md": "one"}
    changes = [(c.action, c.from_id, c.id) for c in model.plan(source)]
    assert changes == [("move", "old/a.md", "new/a.md"), ("create", None, "other/a.md")]


def test_moves_do_not_cross_sources() -> None:
    model, one, two = fresh_model(), DictSource("one", {"a": "text"}), DictSource("two")
    model.apply(model.plan(one, two))
    one.texts, two.texts = {}, {"a": "text"}
    assert [(c.action, c.address) for c in model.plan(one, two)] == [("delete", "one/a"), ("create", "two/a")]


def test_a_changed_title_is_an_update_that_embeds_nothing() -> None:
    model, source = fresh_model(), DictSource("s", {"a": "one\n\ntwo"})
    model.apply(model.plan(source))
    source.titles["a"] = "A better title"
    (change,) = model.plan(source)
    assert (change.action, change.reason) == ("update", "metadata changed")
    assert (change.chunks.add, change.chunks.keep) == (0, 2)


def test_a_changed_pipeline_embeds_every_chunk_again() -> None:
    model, source = fresh_model(), DictSource("s", {"a": "one\n\ntwo", "b": "three"})
    model.apply(model.plan(source))
    changes = model.plan(source, pipeline="pipeline-2")
    assert [(c.action, c.chunks.add, c.chunks.keep) for c in changes] == [("update", 2, 0), ("update", 1, 0)]


def test_a_source_that_left_the_config_is_planned_away() -> None:
    model, one, two = fresh_model(), DictSource("one", {"a": "text"}), DictSource("two", {"b": "text"})
    model.apply(model.plan(one, two))
    assert [(c.action, c.address, c.reason) for c in model.plan(one, removed=["two"])] == [
        ("delete", "two/b", "source removed from the config")
    ]


def test_a_second_snapshot_of_the_same_documents_reads_none_of_them() -> None:
    model, source = fresh_model(), DictSource("s", {"a": "one", "b": "two"})
    model.snapshot(source)
    source.reads.clear()
    manifest = model.snapshot(source)
    assert source.reads == []
    assert manifest.documents == 2
    source.texts["b"] = "three"
    model.snapshot(source)
    assert source.reads == ["b"]


def test_the_root_hash_does_not_depend_on_the_way_there() -> None:
    one, two = fresh_model(), fresh_model()
    source = DictSource("s", {"a": "one", "b": "two"})
    one.snapshot(source)
    source.texts = {"b": "three", "c": "one"}
    assert one.snapshot(source).root == two.snapshot(source).root


def test_an_unreadable_document_makes_the_manifest_incomplete_and_is_read_again_later() -> None:
    model, source = fresh_model(), DictSource("s", {"a": "one", "b": "two"})
    model.apply(model.plan(source))
    source.failing, source.texts["b"] = {"b"}, "new"
    assert not model.snapshot(source).complete
    assert model.plan(source) == []
    source.failing = set()
    assert [(c.action, c.id) for c in model.plan(source)] == [("update", "b")]
