import json
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qloader.config.load import load_config
from qloader.errors import ConfigError


@pytest.fixture
def error_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def load_text(text, **env):
        (tmp_path / "qloader.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ConfigError) as caught:
            load_config(env=env)
        assert caught.value.remedy
        assert caught.value.__cause__ is None
        return str(caught.value)

    return load_text


FINE = "name: x\nsources:\n  docs: {type: files, path: docs}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "name: x\nsources:\n  docs:\n    type: git\n    inclde: ['*.md']\n",
            'qloader.yaml:5: sources.docs.inclde: unknown key; did you mean "include"?',
        ),
        (FINE + "colour: red\n", "qloader.yaml:4: colour: unknown key; the keys here are name, index, state, sources"),
        (FINE + "Chunking: {}\n", 'qloader.yaml:4: Chunking: unknown key; did you mean "chunking"?'),
        (FINE + "chunking: {max-chars: 5}\n", 'chunking.max-chars: unknown key; did you mean "max_chars"?'),
        (
            FINE + "ingestion:\n  batch: {sise: 5}\n",
            'qloader.yaml:5: ingestion.batch.sise: unknown key; did you mean "size"?',
        ),
        (FINE + "state: {migrations: {auto: 1}}\n", "state.migrations.auto: unknown key"),
        (
            "name: x\nsources:\n  d: {type: fils, path: .}\n",
            'yaml:3: sources.d.type: unknown source type; did you mean "files"?; found "fils"',
        ),
        (
            "name: x\nsources:\n  d: {type: ftp}\n",
            'unknown source type; the types are files, git, confluence, jira, web; found "ftp"',
        ),
        (
            "name: x\nsources:\n\n  d: {path: .}\n",
            "qloader.yaml:4: sources.d.type: this key is missing; expected files or git",
        ),
        (
            "name: x\nsources:\n  d: {type: files}\n",
            "qloader.yaml:3: sources.d.path: this key is missing: a folder, a list",
        ),
        ("name: x\nsources: {}\n", "qloader.yaml:2: sources: expected at least one; found an empty mapping"),
        ("name: x\nsources: [a]\n", "qloader.yaml:2: sources: expected a mapping of keys to values; found a list"),
        ("name: x\nsources: {d: docs}\n", 'sources.d: expected a mapping of keys to values; found "docs"'),
        ("name: x\n", "qloader.yaml: sources: this key is missing"),
        ("sources: {d: {type: git}}\n", "qloader.yaml: name: this key is missing"),
        ("name: a/b\nsources: {d: {type: git}}\n", "qloader.yaml:1: name: expected a name of letters, digits"),
        ("name: ..\nsources: {d: {type: git}}\n", 'found ".."'),
        ("name: 12\nsources: {d: {type: git}}\n", "name: expected text; found 12 (put it in quotes)"),
        ("name: x\nsources: {a/b: {type: git}}\n", "qloader.yaml:2: sources.a/b: expected a name of letters"),
        (
            "name: x\nsources: {d: {type: git, include: '*.md'}}\n",
            'sources.d.include: expected a list, such as ["**/*.md"]; found "*.md"',
        ),
        (
            "name: x\nsources: {d: {type: git, include: []}}\n",
            "sources.d.include: expected at least one; found an empty list",
        ),
        ("name: x\nsources: {d: {type: git, include: [a, 5]}}\n", "sources.d.include[1]: expected text; found 5"),
        (
            "name: x\nsources: {d: {type: git, uri: 'https://x'}}\n",
            "sources.d.uri: expected a template with {path} in it",
        ),
        ("name: x\nsources: {d: {type: git, uri: '{path}/{ref}'}}\n", "sources.d.uri: expected a template"),
        (
            "name: x\nsources: {d: {type: files, path: {a/b: c}}}\n",
            'sources.d.path: the name "a/b" of a folder: expected',
        ),
        ("name: x\nsources: {d: {type: files, path: []}}\n", "sources.d.path: expected a folder, a list of folders"),
        (FINE + "chunking: {max_chars: 50}\n", "chunking.max_chars: expected at least 100; found 50"),
        (
            FINE + "chunking: {max_chars: 300, overlap_chars: 150}\n",
            "chunking.overlap_chars: expected less than half of max_chars (150); found 150",
        ),
        (FINE + "ingestion: {batch: {size: true}}\n", "ingestion.batch.size: expected a whole number; found true"),
        (FINE + "guards: {max_delete_percent: false}\n", "guards.max_delete_percent: expected a number; found false"),
        (FINE + "chunking: {max_chars: 1.5}\n", "chunking.max_chars: expected a whole number; found 1.5"),
        (FINE + "guards: {max_delete_percent: 25%}\n", 'guards.max_delete_percent: expected a number; found "25%"'),
        (FINE + "guards: {max_delete_percent: 101}\n", "guards.max_delete_percent: expected at most 100; found 101"),
        (FINE + "guards: {prevent_destroy: maybe}\n", 'guards.prevent_destroy: expected true or false; found "maybe"'),
        (
            FINE + "embedding: {language: englisch}\n",
            'embedding.language: not a language of BM25; did you mean "english"?',
        ),
        (FINE + "embedding: {language: klingon}\n", "expected one of arabic, azerbaijani"),
        (FINE + "embedding: {sparse: splade}\n", "embedding.sparse: expected 'bm25'; found \"splade\""),
        (FINE + "embedding: {dense: {provider: opnai, model: m}}\n", 'unknown provider; did you mean "openai"?'),
        (FINE + "embedding: {dense: {model: m}}\n", "embedding.dense.provider: this key is missing; expected openai"),
        (
            FINE + "embedding: {dense: {provider: openai}}\n",
            "embedding.dense.model: this key is missing: the model's name, as the provider knows it",
        ),
        (
            FINE + "embedding: {dense: {provider: openai, model: m, batch: {txts: 3}}}\n",
            'embedding.dense.batch.txts: unknown key; did you mean "texts"?',
        ),
        (FINE + "embedding: {dense: openai}\n", "embedding.dense: expected a mapping of keys to values"),
        (FINE + "search: {fusion: rff}\n", "search.fusion: expected 'rrf' or 'dbsf'; found \"rff\""),
        (FINE + "search: {weights: {dense: 0}}\n", "search.weights.dense: expected more than 0; found 0"),
        (
            FINE + "search: {fusion: dbsf, weights: {dense: 2}}\n",
            "search.weights: only `fusion: rrf` takes weights",
        ),
        (FINE + "search: {rerank: {provider: coherre, model: m}}\n", 'unknown provider; did you mean "cohere"?'),
        (
            FINE + "search: {rerank: {model: m}}\n",
            "search.rerank.provider: this key is missing; expected cohere or http",
        ),
        (
            FINE + "search: {rerank: {provider: cohere}}\n",
            "search.rerank.model: this key is missing: the model's name, as the provider knows it",
        ),
        (
            FINE + "search: {rerank: {provider: cohere, model: m, topp: 3}}\n",
            'search.rerank.topp: unknown key; did you mean "top"?',
        ),
        (
            FINE + 'search: {rerank: {provider: http, url: "http://h/r", body: {q: "{query}"}, scores: s}}\n',
            'search.rerank: body: expected "{query}" and "{texts}" as values',
        ),
        (
            FINE + 'search: {rerank: {provider: http, url: "http://h/r", body: {q: "{qury}"}, scores: s}}\n',
            "search.rerank: body: there is no {qury}",
        ),
        (FINE + "index: {collection: a/b}\n", "index.collection: expected the name of a collection"),
        (FINE + "index: {path: ~/index}\n", "index.path: `~` is not expanded here; write ${HOME}"),
        (FINE + "index: {path: ''}\n", "index.path: expected some text; found an empty text"),
        (FINE + "state: {path: ./states/}\n", "state.path: expected a file such as ./state.db, not a folder"),
        (FINE + "monitor: {metrics: {enabled: true}}\n", "qloader.yaml:4: monitor: unknown key"),
        (
            FINE + "monitoring: {metrics: {intervall: 1s}}\n",
            'monitoring.metrics.intervall: unknown key; did you mean "interval"?',
        ),
        (
            FINE + "monitoring: {otlp: {headers: {}}}\n",
            "monitoring.otlp.url: this key is missing: the collector over OTLP",
        ),
        (
            FINE + "monitoring: {otlp: {url: localhost:4318}}\n",
            "monitoring.otlp.url: expected the address of a collector",
        ),
        (
            FINE + "monitoring: {otlp: {url: 'http://otel.example.com', headers: {k: v}}}\n",
            "monitoring.otlp.headers: headers may hold a key",
        ),
    ],
)
def test_a_mistake_names_line_key_expectation_and_finding(error_of, text, said):
    assert said in error_of(text)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(error_of):
    lines = error_of(
        "chunking: {max_chars: x}\nsources:\n  d: {type: git, reff: main}\n  d: {type: git}\nnmae: y\n"
        "guards: {max_delete_percent: -1}\nindex: {api_key: ${NOPE}}\n"
    ).splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["qloader.yaml:1", "chunking.max_chars"],
        ["qloader.yaml:3", "sources.d.reff"],
        ["qloader.yaml:4", "sources.d"],
        ["qloader.yaml:5", "nmae"],
        ["qloader.yaml:6", "guards.max_delete_percent"],
        ["qloader.yaml:7", "index.api_key"],
        ["qloader.yaml", "name"],
    ]


def test_a_key_that_is_there_twice_names_both_lines(error_of):
    text = "name: x\nsources:\n  docs: {type: git}\nguards: {}\nname: y\n"
    assert error_of(text) == "qloader.yaml:5: name: the key is there twice; it is in line 1 already"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "qloader.yaml is empty"),
        ("# only a comment\n---\n", "qloader.yaml is empty"),
        ("- name: x\n", "qloader.yaml:1: expected a mapping of keys to values, found a list"),
        ("just text", "qloader.yaml:1: expected a mapping of keys to values, found a single value"),
        ("name: x\nguards: {a: b: c}\n", "qloader.yaml:2:"),
        ("name: x\nsources:\n  d: [1\n", "qloader.yaml:"),
        ("name: 'x\n", "not valid YAML"),
        ("name: x\n---\nname: y\n", "qloader.yaml:2:1: not valid YAML"),
        ("name: *nobody\n", "qloader.yaml:1:7: not valid YAML: found undefined alias"),
        ("name: x\x07\n", "qloader.yaml:1: not valid YAML"),
        ("? [a]\n: b\n", "qloader.yaml:1: a key must be text"),
        ("name: !!python/object/apply:os.system ['echo x']\n", "qloader.yaml:1: name: a config has no YAML tags"),
        ("name: !secret x\n", "qloader.yaml:1: name: a config has no YAML tags"),
        ("name: x\nsources: *nobody", "undefined alias"),
        (b"name: x\n# \xff\n", "qloader.yaml:2: not UTF-8 (byte 0xff)"),
        ("name: x\n".encode("utf-16"), "not UTF-8"),
        ("name: \U0010f841", "private character U+10F841"),
        ("#" * (1 << 20) + "\nname: x\n", "is over 1 MiB"),
    ],
)
def test_what_is_no_yaml_mapping_is_said_with_its_place(error_of, text, said):
    assert said in error_of(text)


def test_a_syntax_error_shows_the_line_with_a_mark_below(error_of):
    message = error_of("name: x\nsources:\n  docs: {type: git, ref: @main}\n")
    _, line, mark = message.split("\n")
    assert line == "      docs: {type: git, ref: @main}"
    assert line[mark.index("^")] == "@"


def test_a_tab_is_called_a_tab(tmp_path):
    (tmp_path / "q.yaml").write_text("name: x\nsources:\n\tdocs: {type: git}\n")
    with pytest.raises(ConfigError, match=r":3:") as caught:
        load_config(tmp_path / "q.yaml", env={})
    assert "spaces" in caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 300,
        "a: " + "[" * 100_000,
        "a: &a [*a]",
        "a: &a {b: *a}",
        "a: &a {<<: *a}",
        "a: &a [[*a, *a], [*a, *a]]",
        "a:\n" + "\n".join("  " * i + "b:" for i in range(1, 100)),
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "\n".join(f"{n}: &{n} [{', '.join([f'*{p}'] * 10)}]" for p, n in pairwise("abcdefghi")),
        "a: &a {k0: x}\n"
        + "\n".join(f"{n}: &{n} {{<<: [{', '.join([f'*{p}'] * 10)}]}}" for p, n in pairwise("abcdefghi")),
    ],
)
def test_bombs_and_bottomless_files_are_refused_quickly(error_of, text):
    assert error_of(text)


SECRET = "hunter2-very-secret"


@pytest.mark.parametrize(
    "text",
    [
        f"name: x\nsources: {{d: {{type: git, token: [{SECRET}]}}}}\n",
        f"name: x\nsources: {{d: {{type: git, token: {{a: {SECRET}}}}}}}\n",
        f"name: x\nsources: {{d: {{type: git, tokne: {SECRET}}}}}\n",
        f"name: x\nindex: {{url: 'ftp://me:{SECRET}@host'}}\n",
        f"name: x\nindex: {{url: 'http://me:{SECRET}@host', path: x}}\n",
        f"name: x\nindex: {{url: 'https://me:{SECRET}@'}}\n",
        f"name: x\nsources: {{w: {{type: web, url: 'https://x.org/guide?token={SECRET}'}}}}\n",
        f"name: x\nsources: {{w: {{type: jira, projects: [A], url: 'https://x.org?token={SECRET}'}}}}\n",
        f"name: x\nindex:\n  api_key: a: {SECRET}\n",
        f"name: x\nindex:\n  api_key:\n    '{SECRET}\n",
        f"name: x\nindex:\n  api_key: *{SECRET}\n",
        f"name: x\nindex:\n  api_key: !{SECRET} x\n",
        f"name: x\nindex:\n  api_key: !!{SECRET} x\n",
        "name: ${V}\n",
        "name: x\nindex: {timeout: '${V}'}\n",
        "name: x\nindex: {url: '${V}'}\n",
        "name: x\nindex: {prefer_grpc: '${V}'}\n",
        "name: x\nindex: {collection: 'a/${V}'}\n",
        "name: x\nchunking: {max_chars: '${V}'}\n",
        "name: x\nsources: {d: {type: '${V}'}}\n",
        "name: x\nsources: {d: {type: git, uri: '${V}'}}\n",
        "name: x\nsources: {d: {type: git, include: '${V}'}}\n",
        "name: x\nsources: {d: {type: files, path: ['${V}', 5]}}\n",
        "name: x\nsources: {d: {type: files, path: ['a/${V}', 'b/${V}']}}\n",
        "name: x\nsources: '${V}'\n",
        "name: x\nembedding: {language: '${V}', sparse: '${V}'}\n",
        "name: x\nstate: {path: '${V}/', permissions: '${V}'}\n",
    ],
)
def test_a_secret_is_in_no_error(error_of, text):
    assert SECRET not in error_of(text, V=SECRET)


def test_a_secret_is_in_no_repr_of_a_config(tmp_path):
    (tmp_path / "q.yaml").write_text(
        f"name: x\nindex: {{url: 'http://me:{SECRET}@host', api_key: '{SECRET}'}}\n"
        f"sources: {{d: {{type: git, url: 'https://me:{SECRET}@host/r', token: {SECRET}}}}}\n"
    )
    config = load_config(tmp_path / "q.yaml", env={})
    assert config.sources["d"].token.get_secret_value() == SECRET
    assert config.index.api_key.get_secret_value() == SECRET
    assert SECRET not in repr(config)
    assert SECRET not in config.index.location


KEYS = [
    "name",
    "index",
    "sources",
    "type",
    "path",
    "url",
    "include",
    "uri",
    "metadata",
    "state",
    "permissions",
    "migrations",
    "chunking",
    "max_chars",
    "overlap_chars",
    "embedding",
    "language",
    "guards",
    "ingestion",
    "batch",
    "timeout",
    "token",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("${A}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(
    st.dictionaries(st.sampled_from(KEYS), VALUES).map(json.dumps)
    | st.text(max_size=40)
    | st.builds(
        lambda at, new, n: FINE[:at] + new + FINE[at + n :], st.integers(0, 60), st.text(max_size=4), st.integers(0, 9)
    )
    | st.binary(max_size=40)
)
def test_whatever_a_file_holds_the_answer_is_a_config_or_a_config_error(tmp_path, content):
    file = tmp_path / "any.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    try:
        config = load_config(file, env={"A": "a\x00\ud800"})
    except ConfigError:
        return
    assert config.sources


@pytest.mark.parametrize(
    "address", ["http://[::1", "https://x.org:99999/guide", "https://x.org:port", "x.org", "ftp://x"]
)
def test_an_address_that_cannot_be_one_is_told_with_an_example(error_of, address):
    said = error_of(f"name: x\nsources: {{w: {{type: web, url: '{address}'}}}}\n")
    assert "expected the address of a site, such as https://docs.example.com/guide/" in said
    assert f'found "{address}"' in said
