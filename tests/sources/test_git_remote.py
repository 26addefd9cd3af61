import os
import shutil
import sys
import threading

import pytest

from qloader.errors import ConfigError, SourceError
from qloader.sources.git import GitSettings, GitSource
from qloader.sources.git_remote import is_remote, parse_remote
from support.git_builder import Builder, http_server

TOKEN = "s3cr3t/tok+en"


@pytest.fixture
def builder(tmp_path):
    with Builder(tmp_path / "origin.git", bare=True) as builder:
        yield builder


@pytest.fixture
def open_source(tmp_path):
    opened = []

    def open_it(url, **more):
        settings = GitSettings(url=url, base=tmp_path, cache_dir=tmp_path / "cache", include=("*.md",), **more)
        opened.append(GitSource("docs", settings))
        return opened[-1]

    yield open_it
    for one in opened:
        one.close()


def fetches(requests):
    return [path for method, path, _ in requests if method == "POST" and path.endswith("upload-pack")]


def test_a_remote_is_fetched_once_and_then_updated(builder, open_source, tmp_path):
    first = builder.commit({"a.md": "1"})
    with http_server(builder.repo) as (url, requests):
        assert open_source(url).proof() == first
        clones = list((tmp_path / "cache/git").iterdir())
        assert len(clones) == 1
        marker = clones[0] / "marker"
        marker.touch()
        second = builder.commit({"a.md": "2"})
        src = open_source(url)
        assert src.proof() == second
        assert [d.text for d in src.fetch(["a.md"], revision=second)] == ["2\n"]
        assert marker.exists()  # the same clone
        requests.clear()
        assert src.list().revision == second
        assert requests == []  # one look at the remote a run


def test_a_planned_commit_in_the_clone_needs_no_network(builder, open_source):
    commit = builder.commit({"a.md": "1"})
    with http_server(builder.repo) as (url, _):
        open_source(url).proof()
    (document,) = open_source(url).fetch(["a.md"], revision=commit)
    assert document.text == "1\n"


def test_a_planned_commit_is_fetched_where_the_cache_is_gone(builder, open_source):
    commit = builder.commit({"a.md": "1"})
    with http_server(builder.repo) as (url, _):
        assert next(open_source(url).fetch(["a.md"], revision=commit)).text == "1\n"


def test_branches_and_tags_of_a_remote_are_refs(builder, open_source):
    one = builder.commit({"a.md": "1"})
    two = builder.commit({"a.md": "2"}, branch="team/side")
    builder.tag("v1", one)
    with http_server(builder.repo) as (url, _):
        for ref, commit in {
            "HEAD": one,
            "main": one,
            "origin/main": one,
            "team/side": two,
            "v1": one,
            two[:8]: two,
        }.items():
            assert open_source(url, ref=ref).proof() == commit, ref


def test_a_rewritten_branch_and_a_deleted_one_are_followed(builder, open_source):
    builder.commit({"a.md": "1"})
    builder.commit({"a.md": "side"}, branch="side")
    with http_server(builder.repo) as (url, _):
        open_source(url, ref="side").proof()
        rewritten = builder.commit({"a.md": "other"}, parents=[])
        del builder.repo.refs[b"refs/heads/side"]
        assert open_source(url).proof() == rewritten
        with pytest.raises(SourceError, match="'side'"):
            open_source(url, ref="side").proof()


def test_a_file_address_is_cloned_like_any_other(builder, open_source, tmp_path):
    commit = builder.commit({"a.md": "1"})
    src = open_source(f"file://{builder.path}")
    assert src.proof() == commit
    assert len(list((tmp_path / "cache/git").iterdir())) == 1
    assert open_source(f"file://{builder.path}").proof() == commit


def test_a_git_address_is_fetched_over_tcp(builder, open_source):
    from dulwich.server import DictBackend, TCPGitServer

    commit = builder.commit({"a.md": "1"})
    server = TCPGitServer(DictBackend({b"/repo": builder.repo}), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        src = open_source(f"git://127.0.0.1:{server.server_address[1]}/repo")
        assert src.proof() == commit
        assert next(src.fetch(["a.md"])).text == "1\n"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("address", ["ssh://git@example.org{path}", "git@example.org:{path}"])
def test_an_ssh_address_is_fetched_through_the_users_ssh_command(builder, open_source, tmp_path, monkeypatch, address):
    # In place of ssh: a program that runs the far side's command here.
    ssh = tmp_path / "ssh"
    ssh.write_text(
        f"#!{sys.executable}\nimport shlex, sys\nfrom dulwich.repo import Repo\n"
        "from dulwich.server import FileSystemBackend, UploadPackHandler, serve_command\n"
        "command = shlex.split(sys.argv[-1])\n"
        f"open({str(tmp_path / 'called')!r}, 'w').write(sys.argv[-2] + ' ' + command[0])\n"
        "sys.exit(serve_command(UploadPackHandler, argv=['upload-pack', command[1]]))\n"
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    commit = builder.commit({"a.md": "1"})
    assert open_source(address.format(path=builder.path)).proof() == commit
    assert (tmp_path / "called").read_text() == "git@example.org git-upload-pack"


def test_two_processes_that_clone_at_once_both_end_well(builder, open_source, tmp_path):
    from qloader.sources import git_remote

    commit = builder.commit({"a.md": "1"})
    url = f"file://{builder.path}"
    remote = parse_remote("docs", url)
    one, two = open_source(url), open_source(url)
    assert one.proof() == commit
    late = tmp_path / "cache/git/cloning-late"
    shutil.copytree(git_remote.clone_folder(tmp_path / "cache", remote), late)
    git_remote._put_in_place(late, git_remote.clone_folder(tmp_path / "cache", remote), remote, tmp_path / "cache")
    assert next(one.fetch(["a.md"])).text == "1\n"
    assert two.proof() == commit


def test_a_clone_that_is_being_updated_is_an_error_that_names_the_lock(builder, open_source, tmp_path):
    builder.commit({"a.md": "1"})
    url = f"file://{builder.path}"
    open_source(url).proof()
    (clone,) = (tmp_path / "cache/git").iterdir()
    (clone / "refs/heads/main.lock").touch()
    builder.commit({"a.md": "2"})
    with pytest.raises(SourceError, match="another process") as caught:
        open_source(url).proof()
    assert "main.lock" in caught.value.remedy


def test_a_remote_without_commits_says_so(builder, open_source):
    with http_server(builder.repo) as (url, _), pytest.raises(SourceError, match="no commits yet"):
        open_source(url).proof()


def test_a_token_opens_a_private_repository(builder, open_source):
    commit = builder.commit({"a.md": "1"})
    with http_server(builder.repo, token=TOKEN) as (url, _):
        assert open_source(url, token=TOKEN).proof() == commit
        in_address = url.replace("//", "//me:s3cr3t%2Ftok%2Ben@")
        assert open_source(in_address).proof() == commit


@pytest.mark.parametrize("given", [None, "wrong-t0ken"])
def test_a_refusal_names_the_setting_and_never_the_token(builder, open_source, given):
    builder.commit({"a.md": "1"})
    with http_server(builder.repo, token=TOKEN) as (url, _):
        with pytest.raises(SourceError, match="refuses access") as caught:
            open_source(url, token=given).proof()
        assert "sources.docs.token" in caught.value.remedy
        assert "wrong-t0ken" not in f"{caught.value} {caught.value.remedy} {caught.value.__cause__!r}"


def test_a_remote_that_is_down_is_an_error_without_the_token(open_source, tmp_path):
    with pytest.raises(SourceError, match="cannot be fetched") as caught:
        open_source("http://me:s3cr3t@127.0.0.1:9/repo", token="t0ken").proof()
    assert "s3cr3t" not in str(caught.value)
    assert "t0ken" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert list((tmp_path / "cache/git").iterdir()) == []  # no half clone is left


def test_a_remote_without_a_repository_is_an_error(builder, open_source):
    with http_server(builder.repo) as (url, _), pytest.raises(SourceError):
        open_source(url + "-other").proof()


def test_a_broken_clone_is_made_again(builder, open_source, tmp_path):
    commit = builder.commit({"a.md": "1"})
    url = f"file://{builder.path}"
    open_source(url).proof()
    (clone,) = (tmp_path / "cache/git").iterdir()
    for name in ("refs", "HEAD"):
        os.rename(clone / name, clone / f"{name}.gone")
    assert open_source(url).proof() == commit


def test_the_token_is_in_no_representation():
    settings = GitSettings(url="https://x.org/r", base=None, cache_dir=None, include=(), token="t0ken")
    assert "t0ken" not in repr(settings)
    assert "t0ken" not in repr(parse_remote("docs", "https://a:t0ken@x.org/r"))


def test_a_token_never_travels_unencrypted():
    with pytest.raises(ConfigError, match="unencrypted"):
        parse_remote("docs", "http://example.org/r.git", token="t0ken")


def test_an_unknown_scheme_is_an_error():
    with pytest.raises(ConfigError, match="ftp://"):
        parse_remote("docs", "ftp://example.org/r.git")


@pytest.mark.parametrize(
    ("location", "remote"),
    [
        ("https://x.org/r.git", True),
        ("ssh://git@x.org/r.git", True),
        ("git@github.com:o/r.git", True),
        ("file:///r", True),
        (".", False),
        ("/abs/path", False),
        ("../a:b", False),
        ("~/r", False),
    ],
)
def test_an_address_is_told_from_a_path(location, remote):
    assert is_remote(location) is remote
