import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from qloader.config.load import find_config, load_config
from qloader.config.sources import DEFAULT_INCLUDE, FilesSourceConfig, GitSourceConfig
from qloader.errors import ConfigError

MINIMAL = "name: handbook\nsources:\n  docs: {type: files, path: docs}\n"


@pytest.fixture
def load(tmp_path):
    def load_text(text, **env):
        file = tmp_path / "qloader.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(file, env=env)

    return load_text


def source(text):
    return f"name: x\nsources:\n  s: {{{text}}}\n"


def test_three_lines_are_a_config_and_the_rest_is_defaults(load, tmp_path):
    config = load(MINIMAL)
    assert (config.file, config.base, config.name) == (tmp_path / "qloader.yaml", tmp_path, "handbook")
    assert (config.index.collection, config.index.location) == ("handbook", "embedded:.qloader/index")
    assert (config.index.is_embedded, config.index.timeout, config.index.api_key) == (True, 30.0, None)
    assert (config.state.path, config.state.permissions, config.state.create_if_missing) == (None, 0o600, True)
    assert (config.state.migrations.auto_migrate, config.state.migrations.backup_before_migrate) == (True, True)
    assert (config.chunking.max_chars, config.chunking.overlap_chars) == (1200, 0)
    embedding = config.embedding
    assert (embedding.sparse, embedding.language, embedding.k, embedding.b) == ("bm25", "english", 1.2, 0.75)
    assert embedding.avg_len == 256
    guards = config.guards
    assert (guards.max_delete_percent, guards.max_update_percent, guards.prevent_destroy) == (25, None, False)
    batch = config.ingestion.batch
    assert (batch.size, batch.timeout, batch.retry_attempts, batch.retry_delay) == (256, 30.0, 3, 1.0)
    docs = config.sources["docs"]
    assert isinstance(docs, FilesSourceConfig)
    assert (docs.path, docs.include, docs.exclude, docs.uri) == ("docs", DEFAULT_INCLUDE, (), "{path}")
    assert (docs.max_bytes, docs.metadata, docs.follow_symlinks) == (10_000_000, {}, True)


def test_a_git_source_has_its_defaults(load):
    config = load(source("type: git"))
    git = config.sources["s"]
    assert isinstance(git, GitSourceConfig)
    assert (git.url, git.ref, git.history, git.token, git.username) == (".", "HEAD", 10_000, None, None)


def test_a_config_cannot_be_changed(load):
    config = load(MINIMAL)
    with pytest.raises(ValidationError):
        config.name = "other"
    with pytest.raises(ValidationError):
        config.sources["docs"].uri = "other"


def test_an_empty_section_means_its_defaults(load):
    config = load(MINIMAL + "guards:\nindex:\nstate: {migrations: }\ningestion:\n  batch:\n    # size: 5\n")
    assert config.guards.max_delete_percent == 25
    assert config.state.migrations.auto_migrate
    assert config.ingestion.batch.size == 256


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("30s", 30.0), ("1m", 60.0), ("500ms", 0.5), ("1.5h", 5400.0), ("'2 S'", 2.0), ("10", 10.0), ("0.5", 0.5)],
)
def test_a_duration_is_seconds(load, written, seconds):
    assert load(MINIMAL + f"index: {{timeout: {written}}}").index.timeout == seconds


@pytest.mark.parametrize("written", ["soon", "-1", "0", "0s", "30 parsecs", "1:30", "2d", ".inf", "true", "null", "[]"])
def test_what_is_no_usable_duration_is_refused(load, written):
    with pytest.raises(ConfigError, match=r":4: index\.timeout: expected"):
        load(MINIMAL + f"index: {{timeout: {written}}}")


@pytest.mark.parametrize(
    ("written", "size"),
    [("10MB", 10_000_000), ("512KiB", 524_288), ("1.5 kB", 1500), ("7", 7), ("2GiB", 2 << 30), ("'12'", 12)],
)
def test_a_size_is_bytes(load, written, size):
    assert load(source(f"type: git, max_bytes: {written}")).sources["s"].max_bytes == size


@pytest.mark.parametrize("written", ["big", "10XB", "-5", "0", "1.5", "true", "99999999GB"])
def test_what_is_no_usable_size_is_refused(load, written):
    with pytest.raises(ConfigError, match=r":3: sources\.s\.max_bytes: expected"):
        load(source(f"type: git, max_bytes: {written}"))


@pytest.mark.parametrize(
    ("written", "mode"),
    [("0o600", 0o600), ("0600", 0o600), ("600", 0o600), ("'640'", 0o640), ("384", 0o600), ("0o777", 0o777)],
)
def test_permissions_are_octal_however_they_are_written(load, written, mode):
    assert load(MINIMAL + f"state: {{permissions: {written}}}").state.permissions == mode


@pytest.mark.parametrize("written", ["0o400", "0444", "900", "0o8", "rw", "12345", "true", "-1", "600.0"])
def test_permissions_that_are_none_or_lock_the_owner_out_are_refused(load, written):
    with pytest.raises(ConfigError, match=r"state\.permissions: expected a file mode"):
        load(MINIMAL + f"state: {{permissions: {written}}}")


@pytest.mark.parametrize(
    ("index", "location"),
    [
        ("{path: ./data/index}", "embedded:./data/index"),
        ("{path: null}", "embedded:.qloader/index"),
        ("{url: 'http://localhost:6333'}", "server:http://localhost:6333"),
        ("{url: 'http://localhost:6333/', path: null}", "server:http://localhost:6333"),
        ("{url: 'https://me:s3cret@q.example.org/qdrant/'}", "server:https://q.example.org/qdrant"),
        ("{url: 'http://[::1]:6333'}", "server:http://[::1]:6333"),
        ("{url: '', path: here}", "embedded:here"),
    ],
)
def test_the_location_is_what_was_configured_without_credentials(load, index, location):
    assert load(MINIMAL + f"index: {index}").index.location == location


@pytest.mark.parametrize("url", ["localhost:6333", "ftp://x", "http://", "http://x:port", "http://a b", "http://x:0x"])
def test_a_url_that_is_no_address_of_a_server_is_refused(load, url):
    with pytest.raises(ConfigError, match=r":4: index\.url: expected the address of a Qdrant server"):
        load(MINIMAL + f"index: {{url: '{url}'}}")


@pytest.mark.parametrize("order", ["url: http://x, path: y", "path: y, url: http://x"])
def test_url_and_path_exclude_each_other(load, order):
    with pytest.raises(ConfigError, match=r"index\.path: `url` and `path` exclude each other"):
        load(MINIMAL + f"index: {{{order}}}")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("./notes", "./notes"),
        ("[a, b/c]", ("a", "b/c")),
        ("{x: a/docs, y: b/docs}", {"x": "a/docs", "y": "b/docs"}),
    ],
)
def test_a_path_is_a_folder_a_list_or_a_mapping(load, path, value):
    assert load(source(f"type: files, path: {path}")).sources["s"].path == value


def test_two_folders_of_one_name_are_an_error_that_shows_the_way_out(load):
    with pytest.raises(ConfigError) as caught:
        load("name: x\nsources:\n  s:\n    type: files\n    path:\n      - a/docs\n      - other\n      - b/docs/\n")
    assert ":8: sources.s.path[2]: a second folder of the same name" in str(caught.value)
    assert "path: {docs: a/docs, docs-2: b/docs/}" in str(caught.value)


def test_the_config_s_own_folder_counts_as_a_name(load, tmp_path):
    with pytest.raises(ConfigError, match="a second folder"):
        load(source(f"type: files, path: [., x/{tmp_path.name}]"))


def test_the_file_is_the_argument_then_the_variable_then_the_folder_s(tmp_path, monkeypatch):
    for name in ("a.yaml", "b.yaml", "qloader.yaml"):
        (tmp_path / name).write_text(MINIMAL)
    monkeypatch.chdir(tmp_path)
    env = {"QLOADER_CONFIG": "b.yaml"}
    assert find_config(Path("a.yaml"), env=env) == tmp_path / "a.yaml"
    assert find_config(None, env=env) == tmp_path / "b.yaml"
    assert find_config(None, env={}) == tmp_path / "qloader.yaml"
    assert load_config(env=env).file == tmp_path / "b.yaml"


@pytest.mark.parametrize(
    ("argument", "env", "said"),
    [
        (None, {}, "there is no qloader.yaml in this folder"),
        (Path("x.yaml"), {}, "there is no config x.yaml"),
        (None, {"QLOADER_CONFIG": "y.yaml"}, "y.yaml, which QLOADER_CONFIG names"),
    ],
)
def test_a_missing_file_points_to_init(tmp_path, monkeypatch, argument, env, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(argument, env=env)
    assert "qloader init" in caught.value.remedy


def test_relative_paths_start_from_the_link_that_names_the_config_not_from_its_target(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "qloader.yaml").write_text(MINIMAL)
    (tmp_path / "qloader.yaml").symlink_to("real/qloader.yaml")
    assert load_config(tmp_path / "qloader.yaml", env={}).base == tmp_path


def test_a_folder_in_place_of_a_file_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="is a folder") as caught:
        load_config(tmp_path, env={})
    assert "qloader.yaml" in caught.value.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_an_error(load, tmp_path):
    (tmp_path / "qloader.yaml").write_text(MINIMAL)
    (tmp_path / "qloader.yaml").chmod(0)
    with pytest.raises(ConfigError, match="cannot be read: permission denied"):
        load_config(tmp_path / "qloader.yaml", env={})


def test_a_byte_order_mark_and_windows_line_ends_are_no_matter(load):
    assert load(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode()).name == "handbook"


def test_every_language_of_the_engine_is_known_and_no_other():
    import qdrant_edge

    from qloader.config.models import LANGUAGES

    engine = {name.lower() for name in dir(qdrant_edge.Language) if not name.startswith("_")}
    assert set(LANGUAGES) == engine
    assert list(LANGUAGES) == sorted(LANGUAGES)
    for language in LANGUAGES:
        qdrant_edge.Bm25(qdrant_edge.Bm25Config(language=language))


def test_loading_imports_no_engine_and_no_client(tmp_path):
    import subprocess
    import sys

    (tmp_path / "qloader.yaml").write_text(MINIMAL)
    script = (
        "import sys; from pathlib import Path; from qloader.config.load import load_config;"
        "load_config(Path(sys.argv[1]), env={});"
        "print(sorted({'qdrant_edge', 'qdrant_client', 'dulwich', 'rich', 'pathspec'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "qloader.yaml")], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
