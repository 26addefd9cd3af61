"""A provider that fails, or a process that dies, amid an apply: what is done stays, and nothing is paid for twice."""

from __future__ import annotations

from collections import Counter

import pytest

from qloader.errors import EmbeddingError
from qloader.index.embedded import EmbeddedIndex
from qloader.index.server import ServerIndex
from qloader.state.store import StateStore
from servers.embeddings import KEY, count_tokens
from support.dense_places import dense_place, dense_vectors
from support.faults import Killed
from support.workspaces import plan_and_apply, write

PAGES = {f"page-{n}.md": f"# Page {n}\n\nThe {n}th of ten pages, with its own words: word{n}." for n in range(10)}
TEXTS = 10


INDEXES = {"embedded": EmbeddedIndex, "server": ServerIndex}


@pytest.fixture(params=INDEXES)
def place(request, tmp_path):
    with dense_place(tmp_path, request.param) as place:
        write(tmp_path / "docs", PAGES)
        yield place


def assert_finished_without_paying_twice(place, workspace, paid, *, under_way=0):
    """Applies what is left. All that was ever embedded was embedded once, but for texts under way at a kill."""
    plan_and_apply(workspace)
    twice = Counter([*paid, *place.paid()]) - Counter(text for text, _ in dense_vectors(workspace).values())
    assert twice.total() <= under_way, twice
    assert len(dense_vectors(workspace)) == TEXTS
    assert workspace.refresh(deep=True).points == ()


@pytest.mark.parametrize(
    ("owner", "method"),
    [  # None: the index
        (None, "upsert"),
        (None, "create"),
        (StateStore, "record_intents"),
        (StateStore, "commit_batch"),
    ],
)
@pytest.mark.parametrize("call", [1, 3])
@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
def test_killed_in_the_middle(request, place, monkeypatch, owner, method, call, is_done):
    owner = owner or INDEXES[request.node.callspec.params["place"]]
    if (method, call) == ("create", 3):
        pytest.skip("a collection is made once")
    workspace = place.configure()
    calls = 0
    real = getattr(owner, method)

    def dying(self, *arguments, **named):
        nonlocal calls
        calls += 1
        if calls == call and is_done:
            real(self, *arguments, **named)
        if calls == call:
            raise Killed
        return real(self, *arguments, **named)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(owner, method, dying)
        plan_and_apply(workspace)
    assert_finished_without_paying_twice(place, workspace, place.paid(), under_way=2)  # the next batch


def test_a_key_that_is_refused_at_once_leaves_nothing_behind(place):
    workspace = place.configure(api_key="sk-wrong")
    with pytest.raises(EmbeddingError) as caught:
        plan_and_apply(workspace)
    assert "sk-wrong" not in f"{caught.value} {caught.value.remedy}"
    assert workspace.status().header is None
    assert_finished_without_paying_twice(place, place.configure(), [])


def test_a_key_that_is_withdrawn_in_the_middle(place):
    workspace = place.configure()
    place.model.revoked_after = 3  # the length, and two batches of two documents
    with pytest.raises(EmbeddingError, match="does not accept the key") as caught:
        plan_and_apply(workspace)
    assert KEY not in f"{caught.value} {caught.value.remedy}"
    assert "4 documents are applied and recorded" in caught.value.remedy
    assert workspace.status().points == 4
    assert workspace.history()[0].status == "failed"
    place.model.revoked_after = None
    assert_finished_without_paying_twice(place, workspace, place.paid())


def test_a_quota_that_is_spent_at_forty_percent(place):
    workspace = place.configure()
    with workspace.temporary_plan() as result:
        chunks = result.estimate.points
    cost = count_tokens(next(iter(PAGES.values())))
    place.model.quota = cost * chunks * 4 // 10
    with pytest.raises(EmbeddingError) as caught:
        plan_and_apply(workspace)
    assert caught.value.exit_code == 1
    assert "quota" in str(caught.value)
    assert workspace.status().points == 4
    place.model.quota = None
    paid = place.paid()
    assert len(paid) == 4
    with workspace.temporary_plan() as result:
        assert (result.estimate.points, result.estimate.cached) == (6, 0)
    assert_finished_without_paying_twice(place, workspace, paid)


def test_a_text_that_the_provider_does_not_take_is_a_failure_of_its_document_alone(place):
    write(place.folder / "docs", {"page-3.md": "# Page 3\n\n" + "many words in here " * 9})
    place.model.max_tokens = 30
    workspace = place.configure(max_tokens=16, too_long="refuse")
    write(place.folder / "docs", {f"page-{n}.md": f"# Page {n}\n\nOwn words." for n in range(10) if n != 3})
    done = plan_and_apply(workspace)
    assert [(f.source, f.document_id, f.reason) for f in done.failures] == [("docs", "page-3.md", "embedding")]
    assert not done.is_complete
    assert done.created == 9
    assert len(dense_vectors(workspace)) == 9
    assert [f.document_id for f in workspace.status().failures] == ["page-3.md"]
    # an update that fails leaves the former points
    write(place.folder / "docs", {"page-3.md": "# Page 3\n\nFew."})
    assert plan_and_apply(workspace).created == 1
    before = dense_vectors(workspace).keys()
    write(place.folder / "docs", {"page-3.md": "# Page 3\n\n" + "many words in here " * 9})
    assert len(plan_and_apply(workspace).failures) == 1
    assert dense_vectors(workspace).keys() == before


def test_a_cache_that_cannot_be_used_costs_only_money(place):
    workspace = place.configure()
    cache = workspace.settings.embedding_cache
    cache.parent.mkdir(exist_ok=True)
    cache.mkdir()
    with workspace.temporary_plan() as result:
        assert result.estimate.cached in (0, None)
        workspace.apply(result.plan)
    assert len(dense_vectors(workspace)) == TEXTS
