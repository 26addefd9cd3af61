"""A secret is in nothing that a run writes, whatever goes wrong."""

from __future__ import annotations

import base64
import socket

import pytest

from servers.embeddings import MODEL, EmbeddingsModel, make_app
from servers.serving import serve
from support.command_line import Prompt, some_documents
from support.git_builder import Builder, http_server

TOKEN = "canary-token-7f3a9c"
KEY = "canary-key-51d0be"
FORMS = [form for word in (TOKEN, KEY) for form in (word.encode(), word[::-1].encode())]
FORMS += [base64.b64encode(f"oauth2:{TOKEN}".encode()), base64.b64encode(TOKEN.encode())]

CONFIG = """\
name: canary
index: {index}
state: {{path: .qloader/state.db}}
monitoring:
  openmetrics: run.prom
  logs: {{path: log.jsonl, level: debug}}
sources:
  remote: {{type: git, url: "{url}", token: "${{TOKEN}}"}}
"""


@pytest.fixture
def prompt(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TOKEN", TOKEN)
    monkeypatch.setenv("API_KEY", KEY)
    monkeypatch.setenv("QLOADER_HOME", str(tmp_path / "home"))
    prompt = Prompt(tmp_path, capsys, monkeypatch)
    monkeypatch.setenv("QLOADER_HOME", str(tmp_path / "home"))
    return prompt


def assert_clean(folder, *answers):
    for answer in answers:
        said = (answer.out + answer.err).encode("utf-8", "surrogateescape")
        assert not [form for form in FORMS if form in said], said
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not [form for form in FORMS if form in data], path


@pytest.fixture
def closed_port():
    """A port that nobody listens on, and that nobody else is given."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield nobody.getsockname()[1]


def test_a_whole_run_writes_its_token_nowhere(prompt, tmp_path):
    with Builder(tmp_path.with_name(f"{tmp_path.name}-repo"), bare=True) as repo:
        repo.commit(some_documents(5))
        with http_server(repo.repo, token=TOKEN) as (url, requests):
            prompt.configure(CONFIG.format(index="{path: .qloader/index}", url=url))
            answers = [
                prompt("--debug", *command)
                for command in (
                    ("validate",), ("plan", "-o", "plan.json"), ("apply", "plan.json", "--profile", "trace.json"),
                    ("search", "page"), ("history", "--metrics"), ("status", "--format", "json"),
                    ("history",), ("refresh",), ("state", "list"), ("state", "backup"), ("plan", "--no-cache"),
                    ("destroy", "--auto-approve"),
                )
            ]  # fmt: skip
    assert any(sent for _, _, sent in requests), "the token was needed and sent"
    written = ("run.prom", "log.jsonl", "trace.json")
    assert [name for name in written if not (tmp_path / name).stat().st_size] == []
    assert {answer.code for answer in answers} == {0}
    assert_clean(tmp_path, *answers)


@pytest.mark.parametrize("command", [("validate",), ("plan", "--refresh"), ("ingest",), ("search", "x"), ("refresh",)])
def test_a_server_that_is_down_and_a_traceback_show_no_key(prompt, tmp_path, closed_port, command):
    index = f'{{url: "http://127.0.0.1:{closed_port}", api_key: "${{API_KEY}}"}}'
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("# Page\n")
    text = CONFIG.format(index=index, url="x").partition("sources:")[0]
    prompt.configure(text + "sources:\n  docs: {type: files, path: docs}\n")
    assert_clean(tmp_path, prompt("--debug", *command))


def test_the_key_of_a_provider_of_vectors_is_written_nowhere(prompt, tmp_path):
    model = EmbeddingsModel(key=KEY)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("# Page\n\nwith words\n")
    (tmp_path / "questions.yaml").write_text("[{query: words, relevant: [docs/page.md]}]")
    with serve(make_app(model)) as url:
        dense = f"{{provider: openai, model: {MODEL}, url: '{url}/v1', api_key: '${{API_KEY}}', retry_attempts: 0}}"
        text = CONFIG.format(index="{path: .qloader/index}", url="x").partition("sources:")[0]
        prompt.configure(f"{text}sources:\n  docs: {{type: files, path: docs}}\nembedding:\n  dense: {dense}\n")
        answers = [
            prompt("--debug", *command)
            for command in (
                ("validate",), ("plan", "-o", "plan.json"), ("apply", "plan.json"), ("search", "page", "--explain"),
                ("eval", "questions.yaml"), ("refresh", "--deep"), ("cache", "stats"),
                ("cache", "export", "vectors.db"), ("status",), ("history",),
            )
        ]  # fmt: skip
        assert {answer.code for answer in answers} == {0}
        assert model.tokens
        model.key = "another"  # from here on the provider refuses the key, and quotes it
        (tmp_path / "docs" / "page.md").write_text("# Page\n\nwith other words\n")
        refused = [prompt("--debug", *c) for c in (("validate",), ("ingest",), ("search", "never asked"))]
        told = prompt("--log-format", "json", "ingest")
    assert {answer.code for answer in refused} == {1}
    assert all("401" in answer.err + answer.out for answer in refused)
    assert '"event": "error"' in told.err
    assert_clean(tmp_path, *answers, *refused, told)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_headers_for_a_collector_are_written_nowhere(prompt, tmp_path, closed_port, scheme):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("# Page\n")
    otlp = f"{{url: '{scheme}://127.0.0.1:{closed_port}', headers: {{api-key: '${{API_KEY}}'}}, timeout: 100ms}}"
    text = CONFIG.format(index="{path: .qloader/index}", url="x").partition("sources:")[0]
    prompt.configure(f"{text}  otlp: {otlp}\nsources:\n  docs: {{type: files, path: docs}}\n")
    answer = prompt("--debug", "ingest", "--profile", "trace.json")
    assert answer.code == 0
    assert "did not take the figures" in answer.err
    assert_clean(tmp_path, answer)


def test_a_refused_token_is_not_shown(prompt, tmp_path, closed_port):
    url = f"https://127.0.0.1:{closed_port}/repo"
    prompt.configure(CONFIG.format(index="{path: .qloader/index}", url=url))
    answer = prompt("--debug", "plan", "-o", "plan.json")
    assert answer.code == 1
    assert_clean(tmp_path, answer)


@pytest.mark.parametrize(
    "text", ["sources: {d: {type: git, tokn: '${TOKEN}'}}", "name: '${TOKEN} /'", "name: ['${TOKEN}"]
)
def test_a_mistake_in_the_config_does_not_show_it(prompt, tmp_path, text):
    prompt.configure(f"index: {{api_key: '${{API_KEY}}'}}\n{text}\n")
    answer = prompt("--debug", "plan")
    assert answer.code == 1
    assert_clean(tmp_path, answer)
