"""Dense vectors as a user meets them: the estimate, what an apply reports, search, eval and the cache's commands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from servers.reranking import RerankingModel
from servers.reranking import make_app as make_reranker
from servers.serving import serve
from support.command_line import Prompt
from support.dense_places import dense_place
from support.workspaces import write

PAGES = {
    "lamps.md": "---\nteam: light\n---\n# Lamps\n\nA lamp gives light and wants oil.",
    "rivers.md": "---\nteam: water\n---\n# Rivers\n\nA river is water that goes to the sea.",
}


@pytest.fixture
def dense(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """A place with a provider, and a command line in it."""
    with dense_place(tmp_path) as place:
        prompt = Prompt(tmp_path, capsys, monkeypatch)
        write(tmp_path / "docs", PAGES)
        place.configure(more="prices: {per_million_tokens: {openai/words-32: 20}}\n")
        shutil.move(tmp_path / "test.yaml", tmp_path / "qloader.yaml")
        yield place, prompt


def test_a_plan_says_what_will_be_embedded_and_an_apply_what_it_took(dense):
    place, prompt = dense
    planned = prompt.ok("plan", "-o", "plan.json")
    assert "; 2 chunks to embed, 0 cached; about " in planned.err
    assert re.search(r"about \d+ tokens for openai/words-32, about 0\.000\d+ USD", planned.err)
    assert "in Qdrant without the vectors of openai/words-32." in planned.err
    applied = prompt.ok("apply", "plan.json")
    assert re.search(r"Dense vectors: 2 texts embedded in 2 requests \(\d+ tokens\), 0 cached\.", applied.err)
    assert applied.last == "Apply complete: 2 created, 0 updated, 0 moved, 0 deleted."
    write(place.folder / "docs", {"lamps.md": None})
    prompt.ok("ingest", "--source", "docs")
    write(place.folder / "docs", {"lamps.md": PAGES["lamps.md"], "new.md": "# New\n\nNew words."})
    planned = prompt.ok("plan", "--format", "markdown")
    assert "2 chunks to embed, 1 cached" in planned.out
    assert "without the vectors" not in planned.out  # by now the cache tells how long they are


def test_a_plan_loads_neither_numpy_nor_a_client(dense):
    place, prompt = dense
    prompt.ok("ingest")
    place.configure(name="other")
    code = "import sys; from qloader.cli.app import run; run(['plan', '-c', 'other.yaml']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=prompt.folder, capture_output=True, text=True, timeout=300, check=True
    )
    assert "2 chunks to embed, 2 cached" in done.stderr
    loaded = set(done.stdout.split())
    assert "qloader.embedding.known" in loaded
    assert loaded.isdisjoint({"numpy", "qdrant_edge", "qdrant_client", "httpx", "qloader.embedding.cache"})


def test_a_search_is_explained_and_narrowed(dense):
    _, prompt = dense
    prompt.ok("ingest")
    answer = prompt.ok("search", "water of the river", "--explain", "-k", "1")
    assert re.search(r"found by bm25 rank 1, score \d+\.\d{3}; dense rank 1, score 0\.\d{3}\n", answer.err)
    for option in (["--metadata", "team=light"], ["--path", "lamps.md"], ["--path", "docs/lamps.md"]):
        hits = prompt.ok("search", "river", "--mode", "dense", *option, "--format", "json").json["hits"]
        assert [hit["address"] for hit in hits] == ["docs/lamps.md"]
    assert prompt.ok("search", "river", "--since", "1h", "--source", "docs").err.startswith("  ")
    assert prompt.ok("search", "river", "--path", "nothing.md").err == "Nothing found.\n"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--metadata", "team"], "--metadata 'team' is no key and value"),
        (["--since", "v1.0"], "a search knows times, not commits"),
        (["--source", "docz"], "--source docz: the index holds no such source"),
        (["--mode", "fuzzy"], "'fuzzy' is not one of"),
        (["--fusion", "sum"], "'sum' is not one of"),
        (["--weights", "dense"], "--weights 'dense' is no list of names and numbers"),
        (["--weights", "dense=much"], "--weights 'dense=much' is no list of names and numbers"),
        (["--weights", "dens=2"], "dens=2 is no weight: it is of bm25 or dense"),
        (["--weights", "dense=2", "--mode", "sparse"], "--fusion and --weights are of a hybrid search"),
        (["--weights", "dense=2", "--fusion", "dbsf"], "the fusion dbsf takes no weights"),
    ],
)
def test_what_a_search_cannot_do_is_told(dense, options, says):
    _, prompt = dense
    prompt.ok("ingest")
    answer = prompt("search", "river", *options)
    assert answer.code == 1
    assert says in answer.error
    assert answer.remedy


def test_rankings_are_weighted_and_hits_are_reranked(dense):
    place, prompt = dense
    prompt.ok("ingest")
    heavy = prompt.ok("search", "lamp river", "--weights", "dense=3, bm25=1", "--format", "json").json["hits"]
    plain = prompt.ok("search", "lamp river", "--fusion", "rrf", "--format", "json").json["hits"]
    assert {hit["address"] for hit in heavy} == {hit["address"] for hit in plain}
    assert [hit["score"] for hit in heavy] != [hit["score"] for hit in plain]
    model = RerankingModel(score=lambda query, text: float("river" in text.lower()))
    with serve(make_reranker(model)) as url:
        section = f"{{provider: cohere, model: m, url: '{url}/v2', api_key: {model.key}, retry_attempts: 0}}"
        place.configure(more=f"search: {{rerank: {section}}}\n")
        shutil.move(place.folder / "test.yaml", place.folder / "qloader.yaml")
        first = prompt.ok("search", "lamp oil", "--explain", "--format", "json").json["hits"][0]
        assert (first["address"], first["score"], first["rank_before"]) == ("docs/rivers.md", 1.0, 2)
        assert "        rank 2 before it was reranked\n" in prompt.ok("search", "lamp oil", "--explain").err
        model.fail(500, "broken")
        answer = prompt("search", "lamp oil")
        assert (answer.code, answer.out) == (1, "")
        assert answer.error.startswith("Error: search.rerank: the reranker cannot be used just now")
        assert "`--no-rerank` searches without." in answer.remedy
        hits = prompt.ok("search", "lamp oil", "--no-rerank", "--explain", "--format", "json").json["hits"]
        assert hits[0]["address"] == "docs/lamps.md"
        assert "rank_before" not in hits[0]


def test_ways_of_searching_are_compared(dense):
    place, prompt = dense
    prompt.ok("ingest")
    (place.folder / "questions.yaml").write_text(
        "- {query: lamp oil, relevant: [docs/lamps.md]}\n- {query: zzz, relevant: [docs/gone.md]}\n", encoding="utf-8"
    )
    answer = prompt.ok("eval", "questions.yaml", "-k", "1")
    assert re.search(r"mode +recall@1 +MRR +nDCG +nothing found\n", answer.err)
    for mode in ("hybrid", "dense", "sparse"):
        assert re.search(rf"{mode} +0\.500 +0\.500 +0\.500 +1\n", answer.err), answer.err
        assert f"! {mode} finds nothing of: zzz" in answer.err
    assert "does not hold 1 document that should be found: docs/gone.md" in answer.err
    assert list(prompt.ok("eval", "questions.yaml", "--mode", "sparse", "--format", "json").json["modes"]) == ["sparse"]


def test_the_cache_is_carried_to_another_machine_and_made_smaller(dense):
    place, prompt = dense
    prompt.ok("ingest")
    paid = place.paid()
    shown = prompt.ok("cache", "stats").err
    assert re.search(r"openai/words-32 +32 +2 +\d{4}-\d\d-\d\d", shown)
    assert prompt.ok("cache", "export", "vectors.db").last == "Wrote 2 vectors to vectors.db"
    for path in (".qloader/embeddings.db", ".qloader/embeddings.db-wal", ".qloader/embeddings.db-shm"):
        (place.folder / path).unlink(missing_ok=True)
    assert prompt.ok("cache", "import", "vectors.db").last == "Added 2 vectors; 0 were here already."
    shutil.rmtree(place.folder / ".qloader" / "index")
    (place.folder / ".qloader" / "test.state.db").unlink()
    prompt.ok("ingest")
    assert (len(paid), place.paid()) == (2, [])
    assert prompt("cache", "prune").error == "Error: nothing says what may go"
    assert "--unused soon: expected a duration" in prompt("cache", "prune", "--unused", "soon").error
    assert prompt.ok("cache", "prune", "--unused", "1d").last.startswith("Removed 0 vectors; ")
    assert prompt.ok("cache", "prune", "--model", "openai/words-32").last.startswith("Removed 2 vectors; ")
    assert prompt("cache", "import", "qloader.yaml").code == 1


def test_a_provider_is_looked_at_by_validate(dense):
    place, prompt = dense
    assert re.search(r"ok +embedding +openai/words-32, vectors of 32 numbers\n", prompt.ok("validate").err)
    prompt.ok("ingest")
    place.model.key = "another"
    answer = prompt("validate")
    assert answer.code == 1
    assert re.search(r"failed +embedding +\S+ does not accept the key \(401\)", answer.err)


def test_a_text_that_cannot_be_embedded_ends_with_exit_code_1(dense):
    place, prompt = dense
    text = (place.folder / "qloader.yaml").read_text(encoding="utf-8")
    (place.folder / "qloader.yaml").write_text(
        text.replace("'model': ", "").replace("model:", "max_tokens: 16, too_long: refuse, model:"), encoding="utf-8"
    )
    write(place.folder / "docs", {"long.md": "# Long\n\n" + "many words in here " * 9})
    answer = prompt("apply", "--auto-approve")
    assert answer.code == 1
    assert "! docs/long.md left as it was: " in answer.err
    assert answer.last == "Apply complete: 2 created, 0 updated, 0 moved, 0 deleted."
