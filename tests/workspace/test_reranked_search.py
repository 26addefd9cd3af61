"""A search whose hits a reranker puts in order anew, over real HTTP: what it is sent, what comes of its failures."""

from __future__ import annotations

import json

import pytest

from qloader.errors import RerankError
from qloader.workspace.validating import validate_workspace
from servers.reranking import KEY, MODEL, RerankingModel, make_app
from servers.serving import serve
from support.dense_places import dense_place
from support.workspaces import plan_and_apply, write

PAGES = {f"page-{number:02}.md": f"# Page {number}\n\nwater " + "river " * number for number in range(1, 13)}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    model = RerankingModel()
    with dense_place(tmp_path_factory.mktemp("reranked")) as place, serve(make_app(model)) as url:
        write(place.folder / "docs", PAGES)
        place.reranking, place.rerank_url = model, url
        plan_and_apply(place.configure())
        yield place


@pytest.fixture
def reranking(place):
    model = place.reranking
    model.failures.clear()
    model.bodies.clear()
    model.change, model.score = None, lambda query, text: -len(text)  # the shortest first: what no search would say
    return model


def cohere(place, **keys):
    section = {"provider": "cohere", "model": MODEL, "url": f"{place.rerank_url}/v2", "api_key": KEY, "retry_delay": 0}
    return place.configure(more=f"search: {{rerank: {json.dumps({**section, **keys})}}}\n")


def ids(hits):
    return [hit.payload["document_id"] for hit in hits]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse"])
def test_the_order_is_the_rerankers(place, reranking, mode):
    hits = cohere(place).search("water river", mode=mode, limit=4)
    assert ids(hits) == ["page-01.md", "page-02.md", "page-03.md", "page-04.md"]
    assert [hit.score for hit in hits] == [-len(hit.payload["text"]) for hit in hits]
    (body,) = reranking.bodies
    assert (body["model"], body["query"], body["top_n"]) == (MODEL, "water river", len(PAGES))
    assert len(body["documents"]) == len(PAGES)


def test_what_it_is_asked_about_are_the_best_hits_and_no_fewer_than_are_wanted(place, reranking):
    few = cohere(place, top=3)
    before = few.search("water river", limit=12, rerank=False)
    assert reranking.bodies == []
    assert set(ids(few.search("water river", limit=2))) < set(ids(before[:3]))
    assert len(few.search("water river", limit=12)) == 12
    assert [len(body["documents"]) for body in reranking.bodies] == [3, 12]
    assert reranking.bodies[0]["documents"] == [hit.payload["text"] for hit in before[:3]]


def test_hits_of_equal_score_stay_in_their_order_and_the_former_rank_is_told(place, reranking):
    reranking.score = lambda query, text: 1.0
    workspace = cohere(place)
    before = workspace.search("water river", rerank=False, explain=True)
    hits = workspace.search("water river", explain=True)
    assert ids(hits) == ids(before)
    assert [hit.rank_before for hit in hits] == [1, 2, 3, 4, 5]
    assert {hit.rank_before for hit in before} == {None}
    assert [hit.found_by for hit in hits] == [hit.found_by for hit in before]
    assert {hit.rank_before for hit in workspace.search("water river")} == {None}


def test_any_other_endpoint_is_spoken_to_by_a_template(place, reranking):
    section = {
        "provider": "http", "url": f"{place.rerank_url}/rerank", "body": {"query": "{query}", "texts": "{texts}"},
        "scores": "*.score", "indexes": "*.index",
    }  # fmt: skip
    hits = place.configure(more=f"search: {{rerank: {json.dumps(section)}}}\n").search("water river", limit=2)
    assert ids(hits) == ["page-01.md", "page-02.md"]
    (body,) = reranking.bodies
    assert body.keys() == {"query", "texts"}


def test_where_nothing_is_found_nothing_is_asked(place, reranking):
    assert cohere(place).search("water", paths=["nothing/"]) == []
    assert reranking.bodies == []


def test_a_failure_that_passes_is_tried_again(place, reranking):
    reranking.fail(503, "overloaded")
    reranking.fail(429, {"message": "slow down"}, {"retry-after": "0"})
    assert len(cohere(place).search("water river")) == 5
    assert len(reranking.bodies) == 3


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (503, {"message": "The model is loading."}, "cannot be used just now: .* The model is loading .tried 3 times."),
        (403, {"message": "no right"}, "refuses what is asked with this key .403.: no right"),
        (404, {"message": "no such model"}, "knows no such model or address .404.: no such model"),
        (402, {"message": "pay"}, "says that the quota is spent .402."),
        (400, {"message": "too many documents"}, "refuses the request .400.: too many documents"),
        (307, "", "answers with a redirect"),
        (200, "<!doctype html>Log in", "answers with a web page where scores should be"),
        (200, {"results": "none"}, "there is no `results"),
        (200, {"results": [{"index": 0, "relevance_score": 1.0}]}, "12 texts were sent, and 1 scores came back"),
    ],
)
def test_a_reranker_that_fails_is_an_error_and_no_unranked_answer(place, reranking, status, body, says):
    for _ in range(3):
        reranking.fail(status, body)
    with pytest.raises(RerankError, match=says) as caught:
        cohere(place).search("water river")
    assert str(caught.value).startswith("search.rerank: ")
    assert "`--no-rerank`" in caught.value.remedy
    assert "vector" not in f"{caught.value} {caught.value.remedy}"
    assert KEY not in f"{caught.value} {caught.value.remedy}"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("relevance_score", None, "a score that came back is no number"),
        ("relevance_score", float("nan"), "a score that came back is no number"),
        ("index", 1, "does not say which score is of which text"),
        ("index", "0", "does not say which score is of which text"),
    ],
)
def test_scores_are_checked(place, reranking, name, value, says):
    def change(found):
        found["results"][3][name] = value
        found["results"][4][name] = value
        return found

    reranking.change = change
    with pytest.raises(RerankError, match=says):
        cohere(place).search("water river")


def test_a_wrong_key_is_said_without_showing_it(place, reranking):
    with pytest.raises(RerankError, match="does not accept the key") as caught:
        cohere(place, api_key="rk-another-key").search("water river")
    assert "search.rerank.api_key" in caught.value.remedy
    assert "rk-another-key" not in f"{caught.value} {caught.value.remedy}"


def test_a_key_is_not_sent_without_encryption(place):
    with pytest.raises(RerankError, match="is without encryption"):
        cohere(place, url="http://models.example.org/v2").search("water river")


def test_an_evaluation_is_of_the_reranked_order(place, reranking):
    questions = place.folder / "questions.yaml"
    questions.write_text("[{query: water river, relevant: [docs/page-01.md]}]", encoding="utf-8")
    workspace = cohere(place)
    assert workspace.evaluate(questions).scores["hybrid"].mrr == 1.0
    assert len(reranking.bodies) == 3
    assert workspace.evaluate(questions, rerank=False).scores["sparse"].mrr < 1.0
    assert len(reranking.bodies) == 3


def test_validate_asks_it_for_a_score(place, reranking):
    def check_of(workspace):
        return next(check for check in validate_workspace(workspace.settings) if check.what == "reranker")

    assert check_of(cohere(place)).message == f"cohere/{MODEL}, the best 50 hits of a search"
    (body,) = reranking.bodies
    assert body["documents"] == ["."]
    refused = check_of(cohere(place, api_key="rk-another-key"))
    assert (refused.ok, "does not accept the key (401)." in refused.message) == (False, True)
