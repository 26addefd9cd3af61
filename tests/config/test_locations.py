import pytest

from qloader.config.load import cache_path, load_config, state_path
from qloader.state.store import StateStore


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))

    def state_and_cache(rest="", *, name="handbook", **env):
        file = tmp_path / f"{name}.yaml"
        file.write_text(f"name: {name}\nsources: {{docs: {{type: files, path: docs}}}}\n{rest}\n")
        config = load_config(file, env=env)
        return tuple(path.relative_to(tmp_path).as_posix() for path in (state_path(config), cache_path(config)))

    return state_and_cache


SERVER = "index: {url: 'http://localhost:6333'}"


def test_state_and_cache_lie_beside_an_embedded_index(places):
    assert places() == (".qloader/state.db", ".qloader/cache.db")
    assert places("index: {path: data/index}") == ("data/state.db", "data/cache.db")


@pytest.mark.usefixtures("linux")
def test_for_a_server_they_lie_in_the_user_s_folders_under_the_name(places):
    assert places(SERVER) == ("user-state/qloader/handbook/state.db", "user-cache/qloader/handbook/cache.db")


@pytest.mark.parametrize("index", ["", SERVER])
def test_qloader_home_moves_both(places, tmp_path, index):
    home = str(tmp_path / "home")
    assert places(index, QLOADER_HOME=home) == ("home/handbook/state.db", "home/handbook/cache.db")


@pytest.mark.parametrize("index", ["", SERVER])
def test_a_path_in_the_config_comes_first_and_the_cache_lies_beside_it(places, tmp_path, index):
    config = f"{index}\nstate: {{path: ./states/mine.sqlite}}"
    assert places(config, QLOADER_HOME=str(tmp_path)) == ("states/mine.sqlite", "states/mine.cache.db")


@pytest.mark.usefixtures("linux")
def test_the_cache_of_a_server_stays_in_the_user_s_folder_wherever_the_state_is(places):
    config = f"{SERVER}\nstate: {{path: ./states/mine.sqlite}}"
    assert places(config) == ("states/mine.sqlite", "user-cache/qloader/handbook/cache.db")


@pytest.mark.usefixtures("linux")
def test_the_copy_of_a_state_in_a_store_lies_in_a_folder_of_its_url(places, tmp_path):
    remote = "state: {url: 's3://bucket/handbook'}"
    assert places(remote) == (".qloader/remote/dd52dd88d223/state.db", ".qloader/remote/dd52dd88d223/cache.db")
    other = places("state: {url: 's3://bucket/other'}")
    assert other[0] != places(remote)[0]
    server = f"{SERVER}\n{remote}"
    assert places(server) == (
        "user-state/qloader/handbook/remote/dd52dd88d223/state.db", "user-cache/qloader/handbook/cache.db"
    )  # fmt: skip
    home = str(tmp_path / "home")
    assert places(server, QLOADER_HOME=home)[0] == "home/handbook/remote/dd52dd88d223/state.db"


def test_two_states_in_one_folder_have_two_caches(places):
    assert places("state: {path: s/a.state.db}") == ("s/a.state.db", "s/a.cache.db")
    assert places("state: {path: s/b.db}") == ("s/b.db", "s/b.cache.db")


def test_a_second_name_in_one_folder_gets_a_state_of_its_own(places, tmp_path):
    assert places(name="first")[0] == places(name="second")[0] == ".qloader/state.db"
    begin_state(tmp_path / ".qloader" / "state.db", "first")
    assert places(name="first") == (".qloader/state.db", ".qloader/cache.db")
    assert places(name="second") == (".qloader/second.state.db", ".qloader/second.cache.db")
    begin_state(tmp_path / ".qloader" / "second.state.db", "second")
    (tmp_path / ".qloader" / "state.db").unlink()
    assert places(name="second") == (".qloader/second.state.db", ".qloader/second.cache.db")
    assert places(name="first") == (".qloader/state.db", ".qloader/cache.db")


@pytest.mark.parametrize("content", [b"", b"no database at all", b"SQLite format 3\x00 cut short"])
def test_a_file_that_is_no_state_is_left_for_the_state_to_complain_about(places, tmp_path, content):
    (tmp_path / ".qloader").mkdir()
    (tmp_path / ".qloader" / "state.db").write_bytes(content)
    assert places()[0] == ".qloader/state.db"
    assert (tmp_path / ".qloader" / "state.db").read_bytes() == content


@pytest.fixture
def linux():
    import sys

    if sys.platform != "linux":
        pytest.skip("the user's folders are elsewhere on this system")


def begin_state(path, name):
    with StateStore.write(path) as state:
        state.lock()
        state.begin_run(
            plan="0" * 32,
            name=name,
            collection=name,
            location="embedded:.qloader/index",
            pipeline="f",
            pipeline_settings={},
            sources={},
        )
