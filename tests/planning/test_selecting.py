"""What a selection chooses, and what holds for every partial plan."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qloader.documents.hashing import content_hash
from qloader.errors import ConfigError
from qloader.planning.plan import PlanSelection
from qloader.planning.selecting import Choice, selection_of
from support.model import Model
from support.sources import DictSource

IDS = ["a.md", "b.md", "guide/a.md", "guide/b.md", "guide/deep/c.md", "notes/a.md", "ü/水.md"]
MANIFESTS = st.dictionaries(st.sampled_from(IDS), st.sampled_from(["", "one", "two", "one\n\ntwo"]), max_size=7)
SELECTIONS = st.builds(
    PlanSelection,
    only=st.lists(st.sampled_from(["guide/**", "*.md", "a.md", "!guide/a.md", "s/notes/", "ü"]), max_size=3)
    .filter(lambda patterns: patterns != ["!guide/a.md"] * len(patterns) or not patterns)
    .map(tuple),
    exclude=st.lists(st.sampled_from(["guide/deep/", "b.md", "s/a.md"]), max_size=2).map(tuple),
    targets=st.lists(st.sampled_from([f"s/{i}" for i in IDS]), max_size=3).map(tuple),
)


@pytest.fixture(autouse=True)
def _quiet_temporary_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def chosen(selection: PlanSelection, source: str = "docs", ids: list[str] = IDS) -> list[str]:
    choice = Choice.of(selection)
    return [document_id for document_id in ids if choice.chooses(source, document_id)]


@pytest.mark.parametrize(
    ("selection", "ids"),
    [
        (PlanSelection(only=("guide/**",)), ["guide/a.md", "guide/b.md", "guide/deep/c.md"]),
        (PlanSelection(only=("docs/guide/**",)), ["guide/a.md", "guide/b.md", "guide/deep/c.md"]),
        (PlanSelection(only=("docs/guide/*.md",)), ["guide/a.md", "guide/b.md"]),
        (PlanSelection(only=("a.md",)), ["a.md", "guide/a.md", "notes/a.md"]),
        (PlanSelection(only=("/a.md",)), ["a.md"]),
        (PlanSelection(only=("docs",)), IDS),
        (PlanSelection(only=("wiki/**",)), []),
        (PlanSelection(only=("*.md", "!docs/guide/**")), ["a.md", "b.md", "notes/a.md", "ü/水.md"]),
        (PlanSelection(only=("*.md", "!guide/**", "guide/deep/c.md")), ["a.md", "b.md", "guide/deep/c.md", *IDS[5:]]),
        (PlanSelection(exclude=("guide/", "ü/水.md")), ["a.md", "b.md", "notes/a.md"]),
        (PlanSelection(exclude=("*.md", "!docs/b.md")), ["b.md"]),
        (PlanSelection(targets=("docs/b.md", "wiki/a.md")), ["b.md"]),
        (PlanSelection(only=("notes/**",), targets=("docs/b.md",)), ["b.md", "notes/a.md"]),
        (PlanSelection(only=("guide/**",), exclude=("guide/deep",)), ["guide/a.md", "guide/b.md"]),
    ],
)
def test_patterns_are_held_against_the_id_and_the_address(selection: PlanSelection, ids: list[str]) -> None:
    assert chosen(selection) == ids


def test_a_pattern_that_can_match_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="--only pattern '#x' matches nothing"):
        Choice.of(PlanSelection(only=("#x",)))
    with pytest.raises(ConfigError, match=r"--only patterns match nothing: .* only take back \(!a.md\)"):
        Choice.of(PlanSelection(only=("!a.md",)))
    with pytest.raises(ConfigError, match="--exclude pattern '' matches nothing"):
        Choice.of(PlanSelection(exclude=("",)))


def test_a_selection_names_its_sources_only_where_it_chooses_by_address() -> None:
    assert PlanSelection(targets=("docs/a.md", "docs/b.md", "wiki/1")).sources == {"docs", "wiki"}
    assert PlanSelection(targets=("docs/a.md",), only=("x",)).sources is None
    assert PlanSelection(exclude=("x",)).sources is None
    assert selection_of([], [], []) is None
    assert selection_of(["b", "a"], [], ["s/2", "s/1", "s/2"]) == PlanSelection(("b", "a"), (), ("s/1", "s/2"))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MANIFESTS, MANIFESTS, SELECTIONS)
def test_a_partial_plan_touches_only_what_was_selected_and_a_full_plan_after_it_does_the_rest(
    before: dict[str, str], after: dict[str, str], selection: PlanSelection
) -> None:
    model, source = Model(Path(tempfile.mkdtemp())), DictSource("s", before)
    model.apply(model.plan(source))
    old = model.documents()
    source.texts = dict(after)
    full = model.plan(source)
    choice = Choice.of(selection)
    changes = model.plan(source, choice=choice)

    touched = {(c.source, i) for c in changes for i in (c.id, c.from_id) if i is not None}
    assert all(choice.chooses(*key) for key in touched)
    assert bool(full) == bool(changes or choice.left_out)
    # Whatever is not in the plan is as it was, so that no text is doubled or lost on the way.
    model.apply(changes)
    between = model.documents()
    new = {f"s/{i}": content_hash(text) for i, text in after.items()}
    for address in {*old, *new}:
        source_name, _, document_id = address.partition("/")
        is_split = any(document_id in (move.old, move.new) for move in choice.split)
        expected = new if choice.chooses(source_name, document_id) and not is_split else old
        if (source_name, document_id) in touched or expected is old:
            assert between.get(address) == expected.get(address)
    for move in choice.split:
        assert f"s/{move.old}" in between
        assert f"s/{move.new}" not in between

    model.apply(model.plan(source))
    assert model.documents() == new
    assert model.plan(source) == []


def test_chosen_documents_are_paired_with_each_other_before_others() -> None:
    model = Model(Path(tempfile.mkdtemp()))
    source = DictSource("s", {"a.md": "same", "guide/z.md": "same"})
    model.apply(model.plan(source))
    source.texts = {"guide/new.md": "same"}
    choice = Choice.of(PlanSelection(only=("guide/**",)))
    changes = model.plan(source, choice=choice)
    assert [(c.action, c.from_id, c.id) for c in changes] == [("move", "guide/z.md", "guide/new.md")]
    assert (choice.split, choice.left_out) == ([], 1)


def test_a_move_across_the_border_is_left_as_a_whole_and_said() -> None:
    for selection in (PlanSelection(only=("guide/**",)), PlanSelection(exclude=("guide/**",))):
        model = Model(Path(tempfile.mkdtemp()))
        source = DictSource("s", {"a.md": "text", "b.md": "other"})
        model.apply(model.plan(source))
        source.texts = {"guide/a.md": "text", "b.md": "other"}
        choice = Choice.of(selection)
        assert model.plan(source, choice=choice) == []
        assert choice.left_out == 1
        (warning,) = choice.warnings()
        assert (warning.source, warning.kind) == ("s", "move left out")
        assert "only one half of it was selected: a.md -> guide/a.md" in warning.message
