from types import SimpleNamespace

import pytest

from qloader.errors import ConfigError
from qloader.sources.registry import open_source

SHARED = {"include": ["*.md"], "exclude": [], "max_bytes": 10_000_000, "uri": "{path}", "metadata": {}}


def files(path):
    return SimpleNamespace(type="files", path=path, follow_symlinks=True, **SHARED)


def opened(config, base):
    return open_source("docs", config, base=base, cache_dir=base / "cache")


@pytest.fixture
def base(tmp_path):
    for name in ("a/notes", "b/notes", "c"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "x.md").write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("c", ["x.md"]),
        ("./c/", ["x.md"]),
        (["c"], ["x.md"]),
        (["c", "a/notes"], ["c/x.md", "notes/x.md"]),
        ({"first": "a/notes", "second": "b/notes"}, ["first/x.md", "second/x.md"]),
    ],
)
def test_a_path_a_list_or_a_mapping_gives_roots(base, path, ids):
    assert [item.id for item in opened(files(path), base).list().items] == ids


def test_two_roots_of_one_name_are_an_error_that_shows_the_way_out(base):
    with pytest.raises(ConfigError, match="'notes'") as caught:
        opened(files(["a/notes", "b/notes"]), base)
    assert "path: {" in caught.value.remedy


def test_a_git_source_gets_its_token_in_clear_and_hides_it(base):
    from pydantic import SecretStr

    config = SimpleNamespace(
        type="git", url="https://x.org/r", ref="main", history=5, username="me", token=SecretStr("t0ken"), **SHARED
    )
    source = opened(config, base)
    assert (source.name, source.type, source.settings.ref, source.settings.token) == ("docs", "git", "main", "t0ken")
    assert "t0ken" not in repr(source.settings)


def test_an_unknown_type_is_an_error(base):
    with pytest.raises(ConfigError, match="'ftp'"):
        opened(SimpleNamespace(type="ftp"), base)
