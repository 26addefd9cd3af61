import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qloader.config import inspection
from qloader.config.inspection import Findings, make_name
from qloader.config.load import load_config
from qloader.config.sources import DEFAULT_INCLUDE
from qloader.config.starter import inspect_folder, starter_text, write_starter
from qloader.errors import ConfigError
from qloader.sources.registry import open_source
from support.git_builder import Builder


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "Hand Book"
    path.mkdir()
    return path


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("# Text\n")


def started(folder, target=None):
    """The config that `qloader init` writes for a folder, loaded."""
    target = target or folder / "qloader.yaml"
    text = write_starter(target, inspect_folder(folder))
    assert target.read_text(encoding="utf-8") == text
    return load_config(target, env={})


def ids(config, tmp_path):
    source = open_source("docs", config.sources["docs"], base=config.base, cache_dir=tmp_path / "cache")
    return sorted(item.id for item in source.list().items)


def test_a_folder_of_markdown_becomes_a_files_source_with_the_suffixes_found(folder, tmp_path):
    write(folder, "a.md", "b/c.md", "b/d.txt", "e.MD", "image.png", "code.py")
    findings = inspect_folder(folder)
    assert findings.describe() == "a folder with 4 documents (2 .md, 1 .MD, 1 .txt)"
    config = started(folder)
    assert config.name == "hand-book"
    assert config.sources["docs"].type == "files"
    assert config.sources["docs"].include == ("**/*.md", "**/*.MD", "**/*.txt")
    assert ids(config, tmp_path) == ["a.md", "b/c.md", "b/d.txt", "e.MD"]


def test_where_all_documents_lie_in_one_folder_the_patterns_begin_there(folder, tmp_path):
    write(folder, "docs/guide/a.md", "docs/guide/more/b.md", "src/x.py")
    config = started(folder)
    assert config.sources["docs"].include == ("docs/guide/**/*.md",)
    assert ids(config, tmp_path) == ["docs/guide/a.md", "docs/guide/more/b.md"]


@pytest.mark.parametrize(
    "name", ["a [b] {c}", "#x", "!x", "a*b?", "back\\slash", "${HOME}", 'it\'s "so"', "é ü", "- x: y"]
)
def test_a_folder_with_an_odd_name_is_found_again_and_nothing_else(folder, tmp_path, name):
    write(folder, f"{name}/a.md", f"{name}/deep/b.md", "code.py")
    config = started(folder)
    assert ids(config, tmp_path) == [f"{name}/a.md", f"{name}/deep/b.md"]


def test_an_empty_folder_gets_the_default_patterns(folder):
    assert inspect_folder(folder).describe() == "a folder without documents yet"
    assert started(folder).sources["docs"].include == DEFAULT_INCLUDE


def test_what_other_tools_left_there_is_excluded_only_where_it_is(folder, tmp_path):
    write(folder, "a.md", "node_modules/x/README.md", "sub/.venv/lib/LICENSE.txt", "requirements-dev.txt", "b.txt")
    findings = inspect_folder(folder)
    assert findings.excludes == (".venv/", "node_modules/", "requirements*.txt")
    assert findings.documents == 2
    assert ids(started(folder), tmp_path) == ["a.md", "b.txt"]


def test_a_git_repository_with_commits_becomes_a_git_source(folder, tmp_path):
    with Builder(folder) as git:
        git.commit({"docs/a.md": "# A", "docs/b/c.md": "# C", "code.py": "x"})
    write(folder, "uncommitted.md")
    assert inspect_folder(folder).describe() == "a git repository with 2 documents (2 .md)"
    config = started(folder)
    source = config.sources["docs"]
    assert (source.type, source.url, source.ref, source.include) == ("git", ".", "HEAD", ("docs/**/*.md",))
    assert ids(config, tmp_path) == ["docs/a.md", "docs/b/c.md"]


def test_a_folder_in_a_repository_gets_its_own_documents_only(folder, tmp_path):
    with Builder(folder) as git:
        git.commit({"docs/a.md": "# A", "docs/b/c.md": "# C", "notes/d.md": "# D", "e.md": "# E"})
    (folder / "docs").mkdir()
    assert ids(started(folder / "docs"), tmp_path) == ["docs/a.md", "docs/b/c.md"]


def test_a_bare_repository_is_a_git_source(folder, tmp_path):
    with Builder(folder, bare=True) as git:
        git.commit({"a.md": "# A"})
    config = started(folder, tmp_path / "qloader.yaml")
    assert (config.sources["docs"].type, config.sources["docs"].url) == ("git", "Hand Book")
    assert ids(config, tmp_path) == ["a.md"]


def test_a_repository_without_commits_is_read_as_a_folder(folder, tmp_path):
    with Builder(folder):
        pass
    write(folder, "a.md")
    config = started(folder)
    assert config.sources["docs"].type == "files"
    assert ids(config, tmp_path) == ["a.md"]


def test_a_repository_whose_documents_are_not_committed_is_read_as_a_folder_and_says_why(folder, tmp_path):
    with Builder(folder) as git:
        git.commit({"code.py": "x"})
    write(folder, "a.md")
    findings = inspect_folder(folder)
    assert findings.describe().startswith("a git repository, read as a folder since no document is committed yet")
    assert "no document is committed yet" in starter_text(folder / "qloader.yaml", findings)
    assert ids(started(folder), tmp_path) == ["a.md"]


@pytest.mark.parametrize(
    ("address", "uri"),
    [
        ("https://github.com/acme/handbook.git", "https://github.com/acme/handbook/blob/main/{path}"),
        ("git@github.com:acme/handbook.git", "https://github.com/acme/handbook/blob/main/{path}"),
        ("ssh://git@gitlab.com/a/b/c", "https://gitlab.com/a/b/c/-/blob/main/{path}"),
        ("https://me:s3cret@github.com/acme/handbook", "https://github.com/acme/handbook/blob/main/{path}"),
        ("https://git.example.org/acme/handbook", ""),
        ("../elsewhere", ""),
    ],
)
def test_the_pages_of_a_known_host_are_proposed_as_links_without_credentials(folder, address, uri):
    with Builder(folder) as git:
        git.commit({"a.md": "# A"})
        config = git.repo.get_config()
        config.set((b"remote", b"origin"), b"url", address.encode())
        config.write_to_path()
    findings = inspect_folder(folder)
    assert findings.uri == uri
    text = starter_text(folder / "qloader.yaml", findings)
    assert (f'# uri: "{uri}"' in text) == bool(uri)
    assert "s3cret" not in text
    (folder / "on.yaml").write_text(text.replace("    # uri:", "    uri:"))
    assert load_config(folder / "on.yaml", env={}).sources["docs"].uri == (uri or "{path}")


def test_every_commented_line_is_a_valid_setting_too(folder):
    write(folder, "a.md")
    text = starter_text(folder / "qloader.yaml", inspect_folder(folder))
    lines = []
    for line in text.splitlines():
        bare = line.replace("# ", "", 1) if ":" in line.partition("# ")[2] else line
        is_setting = line.lstrip().startswith("# ") and not line.startswith("# What") and not line.startswith("# All")
        lines.append(bare if is_setting else line)
    changed = "\n".join(lines).replace("#   ", "  ").replace("  path: .qloader/index", "  # path")
    (folder / "on.yaml").write_text(changed)
    config = load_config(folder / "on.yaml", env={"QDRANT_API_KEY": "k", "OPENAI_API_KEY": "o"})
    assert config.index.location == "server:http://localhost:6333"
    assert config.index.api_key.get_secret_value() == "k"
    assert config.sources["docs"].exclude == ("drafts/",)
    assert config.guards.max_delete_percent == 25
    assert "max_delete_percent" in config.guards.model_fields_set
    assert "max_chars" in config.chunking.model_fields_set
    assert "language" in config.embedding.model_fields_set
    assert config.embedding.names == ("bm25", "openai/text-embedding-3-small")


def test_an_existing_file_is_never_overwritten(folder):
    (folder / "qloader.yaml").write_text("mine")
    with pytest.raises(ConfigError, match="exists, and is left as it is") as caught:
        write_starter(folder / "qloader.yaml", inspect_folder(folder))
    assert "-c" in caught.value.remedy
    assert (folder / "qloader.yaml").read_text() == "mine"


def test_a_dangling_link_is_not_written_through(folder, tmp_path):
    (folder / "qloader.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    with pytest.raises(ConfigError, match="exists"):
        write_starter(folder / "qloader.yaml", inspect_folder(folder))
    assert not (tmp_path / "elsewhere.yaml").exists()


def test_a_config_elsewhere_points_to_the_folder(folder, tmp_path):
    write(folder, "a.md")
    (tmp_path / "configs").mkdir()
    config = started(folder, tmp_path / "configs" / "x.yaml")
    assert config.sources["docs"].path == "../Hand Book"
    assert ids(config, tmp_path) == ["a.md"]


@pytest.mark.parametrize("target", ["missing/qloader.yaml", "file/qloader.yaml"])
def test_a_place_that_cannot_be_written_is_an_error(folder, target):
    (folder / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_starter(folder / target, inspect_folder(folder))


@pytest.mark.parametrize("name", ["missing", "a.md"])
def test_what_is_no_folder_is_an_error(folder, name):
    write(folder, "a.md")
    with pytest.raises(ConfigError, match="is no folder"):
        inspect_folder(folder / name)


def test_a_count_that_was_cut_off_says_so(folder, monkeypatch):
    write(folder, *(f"{number}.md" for number in range(8)))
    monkeypatch.setattr(inspection, "MAX_ENTRIES", 5)
    findings = inspect_folder(folder)
    assert findings.describe() == "a folder with at least 5 documents (5 .md)"
    assert "5 files at least" in starter_text(folder / "q.yaml", findings)


def test_links_are_not_followed_while_looking(folder):
    write(folder, "a.md")
    (folder / "loop").symlink_to(folder)
    (folder / "up").symlink_to("/")
    assert inspect_folder(folder).documents == 1


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Hand Book", "hand-book"),
        ("déjà vu", "deja-vu"),
        ("日本", "documents"),
        ("", "documents"),
        ("..", "documents"),
        (".dotfiles", "dotfiles"),
        ("a//b", "a-b"),
        ("v1.2_x", "v1.2_x"),
        ("x" * 300, "x" * 60),
    ],
)
def test_a_name_is_made_valid(text, name):
    assert make_name(text) == name


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_starter_of_any_folder_loads(tmp_path, text):
    place = tmp_path / "x.yaml"
    below = text.replace("/", "").replace("\x00", "")
    findings = Findings(
        folder=tmp_path / (below or "f"), name=make_name(text), kind="files", suffixes=((".md", 1),), below=""
    )
    place.write_text(starter_text(place, findings), encoding="utf-8")
    config = load_config(place, env={})
    assert config.name == make_name(text)
    assert os.path.normpath(tmp_path / config.sources["docs"].path) == os.path.normpath(findings.folder)


def test_starting_writes_nothing_but_the_config(folder):
    write(folder, "a.md")
    with Builder(folder) as git:
        git.commit({"a.md": "# Text"})
    before = {path for path in folder.rglob("*") if ".git" not in path.parts}
    started(folder)
    assert {path for path in folder.rglob("*") if ".git" not in path.parts} - before == {folder / "qloader.yaml"}


def test_a_linked_worktree_is_a_git_source(folder, tmp_path):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", os.fspath(folder)]
    if subprocess.run(["git", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("needs git")
    write(folder, "a.md")
    for command in (["init", "-q"], ["add", "a.md"], ["commit", "-qm", "x"], ["worktree", "add", "-q", "../tree"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    config = started(Path(tmp_path / "tree"))
    assert config.sources["docs"].type == "git"
    assert ids(config, tmp_path) == ["a.md"]
