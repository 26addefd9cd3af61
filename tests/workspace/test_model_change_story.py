"""One collection through every change of its model, searched all the while; what is paid is what plans announced."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from qloader import Workspace
from qloader.index import embedded
from qloader.planning.plan import IndexAction
from qloader.workspace.foreign import ImportRequest
from servers.embeddings import MODEL
from support.dense_places import DensePlace, dense_place, dense_vectors
from support.foreign_collections import langchain_point, plain, theirs
from support.workspaces import assert_index_is_a_fresh_load, write

WORDS = ("lamp", "garden", "river")
ASKED = "question: "
LONGER = "words-64"

PAUSE = 0.02
"""Seconds between two searches: an embedded index has one user at a time, and an apply wants its turn."""

FOREIGN = {
    f"old-{word}.md": f"# Old page\n\nAbout the {word} and its long use." for word in ("kettle", "ladder", "window")
}
NEW = "# New page\n\nNobody else says this about the chimney."


def page(number: int, word: str) -> str:
    paragraphs = (f"Paragraph {n} of it says how a {word} is looked after, at some length." for n in range(4))
    return f"# Page {number}\n\n" + "\n\n".join(paragraphs)


PAGES = {f"page-{n}.md": page(n, word) for n, word in enumerate(WORDS)}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wants an index that others have waits for its turn, however long that takes on a busy machine."""
    monkeypatch.setattr(embedded, "LOCK_WAIT", 120.0)


@pytest.fixture(params=["embedded", "server"])
def place(request: pytest.FixtureRequest, tmp_path) -> Iterator[DensePlace]:
    with dense_place(tmp_path, request.param) as place:
        place.model.others[LONGER] = 64
        write(tmp_path / "docs", PAGES)
        yield place


def paid(place: DensePlace) -> list[str]:
    """The texts of documents that the provider embedded since the last time; questions are no plan's affair."""
    return [text for text in place.paid() if not text.startswith(ASKED)]


def ask(workspaces: Sequence[Workspace]) -> None:
    """Asks for each page, whose words are in no other."""
    for workspace in workspaces:
        for number, word in enumerate(WORDS):
            hits = workspace.search(f"how is a {word} looked after", limit=1)
            assert [hit.payload["document_id"] for hit in hits] == [f"page-{number}.md"]
            time.sleep(PAUSE)


@contextlib.contextmanager
def searching(*workspaces: Workspace) -> Iterator[None]:
    """Searches in a thread from before the block until it ends, and once more; all is answered, and rightly."""
    is_at_it, is_over = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def search() -> None:
        try:
            while not is_over.is_set():
                ask(workspaces)
                is_at_it.set()
        except BaseException as error:
            errors.append(error)
            is_at_it.set()

    thread = threading.Thread(target=search)
    thread.start()
    is_at_it.wait()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    if errors:
        raise errors[0]
    ask(workspaces)


def change(place: DensePlace, workspace: Workspace, action: IndexAction, *before: Workspace) -> int:
    """Plans and applies while everyone searches; returns how many texts were paid for, as the plan had announced."""
    paid(place)
    with workspace.temporary_plan() as result:
        assert result.plan.header.index.action == action
        estimate = result.estimate
        announced = estimate.points - (estimate.cached or 0) - estimate.repeated if workspace.settings.has_dense else 0
        with searching(*before, workspace) if before else contextlib.nullcontext():
            done = workspace.apply(result.plan)
        assert done.is_complete
    assert len(paid(place)) == announced
    assert_as_loaded_anew(place, workspace)
    return announced


def assert_as_loaded_anew(place: DensePlace, workspace: Workspace) -> None:
    paid(place)
    assert_index_is_a_fresh_load(workspace)
    place.paid()  # what the fresh load has cost
    assert workspace.refresh(deep=True).points == ()
    with workspace.temporary_plan() as result:
        assert result.plan.header.is_empty
    assert paid(place) == []


def test_from_words_alone_to_two_models_and_back_and_to_other_chunks_and_a_foreign_collection(place) -> None:
    sparse = place.configure(dense=False)
    change(place, sparse, "create")

    dense = place.configure(query_prefix=ASKED)
    cost = change(place, dense, "replace", sparse)
    assert cost == dense.status().points > len(PAGES)

    longer = place.configure(model=LONGER, query_prefix=ASKED)
    assert change(place, longer, "replace", dense) == cost
    assert {len(vector) for _, vector in dense_vectors(longer).values()} == {64}

    with searching(longer, dense):
        back = longer.roll_back()
    assert not back.is_configured
    dense = place.configure(model=MODEL, query_prefix=ASKED)
    assert paid(place) == []
    assert_as_loaded_anew(place, dense)
    assert {len(vector) for _, vector in dense_vectors(dense).values()} == {32}

    larger = place.configure(max_chars=400, query_prefix=ASKED)
    assert 0 < change(place, larger, "replace", dense) < larger.status().points < cost

    write(place.folder / "docs", {**FOREIGN, "new.md": NEW})
    with theirs() as other:
        other.create("old", plain())
        other.add("old", [langchain_point(f"/home/me/docs/{name}", text) for name, text in FOREIGN.items()])
        with larger.import_collection(ImportRequest(url=other.url), place.folder / "plan.json") as found:
            assert found.dense is not None
            assert len(paid(place)) == found.dense.check.embedded
            announced = found.dense.to_embed
        ask([larger])
        larger.apply(place.folder / "plan.json")
    assert paid(place) == [NEW]
    assert announced == 1
    ask([larger])
    assert_as_loaded_anew(place, larger)
