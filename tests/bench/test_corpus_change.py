"""The change that the comparison with other tools makes to its corpus is what its page says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def corpus() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_corpus", BENCH / "corpus.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*.md")}


def test_of_a_thousand_pages_ten_are_edited_and_two_each_added_deleted_and_renamed(
    corpus: ModuleType, tmp_path: Path
) -> None:
    corpus.write_corpus(tmp_path, 1000)
    before = contents(tmp_path)
    changed = corpus.change_corpus(tmp_path)
    after = contents(tmp_path)

    gone, new = before.keys() - after.keys(), after.keys() - before.keys()
    edited = {path for path in before.keys() & after.keys() if before[path] != after[path]}
    old_bytes = {before[path] for path in gone}
    renamed = {path for path in new if after[path] in old_bytes}
    assert edited == set(changed.edited)
    assert renamed == set(changed.renamed)
    assert new - renamed == set(changed.added)
    assert {path for path in gone if before[path] not in {after[path] for path in renamed}} == set(changed.deleted)
    assert (len(edited), len(changed.added), len(changed.deleted), len(renamed)) == (10, 2, 2, 2)


def test_an_edit_touches_one_paragraph(corpus: ModuleType, tmp_path: Path) -> None:
    corpus.write_corpus(tmp_path, 500)
    before = contents(tmp_path)
    for path in corpus.change_corpus(tmp_path).edited:
        old, new = (text.decode().split("\n\n") for text in (before[path], path.read_bytes()))
        while old and new and old[0] == new[0]:
            del old[0], new[0]
        while old and new and old[-1] == new[-1]:
            del old[-1], new[-1]
        assert (len(old), len(new)) in {(1, 1), (0, 1), (1, 0)}


def test_the_same_seed_changes_the_same(corpus: ModuleType, tmp_path: Path) -> None:
    for name in ("one", "other"):
        corpus.write_corpus(tmp_path / name, 100)
        corpus.change_corpus(tmp_path / name)
    one, other = (
        {path.relative_to(tmp_path / name): data for path, data in contents(tmp_path / name).items()}
        for name in ("one", "other")
    )
    assert one == other
