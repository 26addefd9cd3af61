"""One open index for all that search in this process at the same time."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from qloader.errors import IndexUnavailableError
from qloader.index import sharing
from qloader.index.embedded import EmbeddedIndex
from qloader.index.protocol import Index
from qloader.index.sharing import shared

OURS = "6f0c2f4e-0000-4000-8000-000000000001"


@pytest.fixture(autouse=True)
def long_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "TURN", 600)


@pytest.fixture
def opened() -> list[Index]:
    return []


@pytest.fixture
def make(tmp_path: Path, opened: list[Index]):
    index = EmbeddedIndex(tmp_path / "index", "docs")
    index.create(lineage=OURS, pipeline="p")
    index.close()

    def make() -> Index:
        opened.append(EmbeddedIndex(tmp_path / "index", "docs", lock_wait=60))
        return opened[-1]

    return make


def is_closed(index: Index) -> bool:
    try:
        index.count(lineage=OURS)
    except IndexUnavailableError:
        return True
    return False


def test_who_comes_while_another_searches_takes_part_and_the_last_one_closes(make, opened) -> None:
    with shared("key", make) as one:
        with shared("key", make) as other:
            assert one is other
            assert other.count(lineage=OURS) == 0
        assert not is_closed(one)
    assert is_closed(one)
    with shared("key", make) as again:
        assert again.count(lineage=OURS) == 0
    assert len(opened) == 2


def test_others_share_nothing(make, opened) -> None:
    with shared("key", make) as one, shared("another key", make) as other:
        assert one is not other


def test_after_its_turn_nobody_takes_part_any_more(make, opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "TURN", 0)
    with shared("key", make) as one:
        assert one.count(lineage=OURS) == 0
        counted: list[int] = []

        def count() -> None:
            with shared("key", make) as other:
                counted.append(other.count(lineage=OURS))  # once the first one is closed

        late = threading.Thread(target=count)
        late.start()
        while len(opened) < 2:
            assert late.is_alive()
            time.sleep(0.001)
        assert counted == []
    late.join()
    assert counted == [0]
    assert all(is_closed(index) for index in opened)


def test_an_index_that_cannot_be_opened_is_none_of_the_next_one_s_trouble(make, opened, tmp_path: Path) -> None:
    holder = EmbeddedIndex(tmp_path / "index", "docs")
    holder.count(lineage=OURS)
    with (
        pytest.raises(IndexUnavailableError),
        shared("key", lambda: EmbeddedIndex(tmp_path / "index", "docs", lock_wait=0)) as one,
    ):
        one.count(lineage=OURS)
    holder.close()
    with shared("key", make) as again:
        assert again.count(lineage=OURS) == 0


def test_threads_that_ask_at_once_open_it_once(make, opened) -> None:
    together = threading.Barrier(8)
    counted: list[int] = []

    def count() -> None:
        with shared("key", make) as index:
            together.wait()
            counted.append(index.count(lineage=OURS))
            together.wait()

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted == [0] * 8
    assert len(opened) == 1
