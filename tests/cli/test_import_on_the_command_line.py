"""`qloader import` as a user meets it: the report in each format, the plan file, keys from the environment."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from support.command_line import Prompt
from support.dense_places import dense_place
from support.foreign_collections import langchain_point, plain, theirs
from support.qdrant_loopback import Answer, serving
from support.workspaces import write

PAGES = {f"page-{n:02}.md": f"# Page {n}\n\nAbout number {n} and its use." for n in range(25)}


@pytest.fixture
def foreign(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """A place with a provider, another tool's collection of its pages, and a command line."""
    with dense_place(tmp_path) as place, theirs() as other:
        prompt = Prompt(tmp_path, capsys, monkeypatch)
        write(tmp_path / "docs", {**PAGES, "new.md": "# New\n\nNobody else has this."})
        other.create("old", plain())
        other.add("old", [langchain_point(f"/x/docs/{page}", text) for page, text in PAGES.items()])
        other.add("old", [langchain_point("/x/docs/`gone`.md", "Gone.\x1b[31m")])
        place.configure(more="prices: {per_million_tokens: {openai/words-32: 20}}\n")
        shutil.move(tmp_path / "test.yaml", tmp_path / "qloader.yaml")
        yield prompt, other, place


def test_the_report_says_what_becomes_of_each_document_and_what_is_left_to_pay(foreign):
    prompt, other, place = foreign
    answer = prompt.ok("import", "--from", "old", "--url", other.url, "-o", "plan.json")
    assert answer.out == ""
    for line in (
        "The points look like those of LangChain: text in page_content.",
        f"Collection old at {other.url}: 26 points, 26 documents, read as LangChain: text in page_content; "
        "the vector has 32 numbers.",
        "Model openai/words-32: the same, by 5 texts embedded anew (the cosine is 1.0000 or more).",
        "kept: 25 documents, 25 chunks; every text is in the collection",
        "  docs/page-00.md  1 chunk, there /x/docs/page-00.md",
        "  … and 5 more; --all shows them",
        "new: 1 document, 1 of 1 chunk to embed; not in the collection",
        "  docs/new.md  1 of 1 chunk to embed",
        "dropped: 1 document, 1 point; no source has them",
        "Plan: 26 to create, 0 to update, 0 to move, 0 to delete (26 chunks to embed).",
    ):
        assert f"{line}\n" in answer.err
    assert re.search(r"Taken over: the vectors of 20 texts, about \d+ tokens .*, about 0\.00\d+ USD\. ", answer.err)
    assert "Left to embed: 1 text." in answer.err
    assert "; 26 chunks to embed, 25 cached; " in answer.err
    assert answer.last.endswith(f"this deletes it: curl -X DELETE {other.url}/collections/old")
    place.paid()
    applied = prompt.ok("apply", "plan.json")
    assert "Dense vectors: 1 text embedded in 1 request" in applied.err
    assert place.paid() == ["# New\n\nNobody else has this."]


def test_markdown_shows_names_as_code_and_everything_with_all(foreign):
    prompt, other, _ = foreign
    out = prompt.ok("import", "--url", other.url, "--format", "markdown", "--all").out
    assert out.startswith("### Import of `old`\n")
    assert "- `docs/page-24.md`  1 chunk, there `/x/docs/page-24.md`\n" in out
    assert "- ``/x/docs/`gone`.md``  1 point\n" in out
    assert "… and 5 more" in prompt.ok("import", "--url", other.url, "--format", "markdown").out


def test_the_key_comes_from_the_environment_and_is_never_shown(foreign, monkeypatch):
    prompt, other, _ = foreign

    def respond(request):
        if request.headers.get("api-key") != "the-key-of-old":
            return Answer(401, b"Must provide an API key", "text/plain")
        return other.server.respond(request)

    with serving(respond) as url:
        assert prompt("import", "--url", url).remedy == "Set $QLOADER_IMPORT_API_KEY.\n"
        monkeypatch.setenv("QLOADER_IMPORT_API_KEY", "the-key-of-new")
        answer = prompt("import", "--url", url)
        assert "the server refused the API key" in answer.error
        assert "the-key-of-new" not in answer.err
        monkeypatch.setenv("QLOADER_IMPORT_API_KEY", "the-key-of-old")
        assert "the-key-of-old" not in prompt.ok("import", "--url", url).err


def test_a_plan_that_a_guard_refuses_is_shown_and_not_written(foreign):
    prompt, other, _ = foreign
    prompt.load()
    for path in sorted(prompt.docs.iterdir())[:20]:
        path.unlink()
    config = (prompt.folder / "qloader.yaml").read_text()
    (prompt.folder / "qloader.yaml").write_text(config.replace("max_delete_percent: null", "max_delete_percent: 25"))
    answer = prompt("import", "--url", other.url, "-o", "refused.json")
    assert answer.code == 3
    assert "applied: 6 documents; in the index already" in answer.err
    assert not (prompt.folder / "refused.json").exists()
