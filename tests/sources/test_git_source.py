import os
import shutil
import subprocess
import sys
import unicodedata

import pytest

from qloader.documents.document import Document
from qloader.documents.hashing import blob_id
from qloader.errors import SourceError
from qloader.sources.git import GitSettings, GitSource
from support.git_builder import Builder, Link, Submodule


def source(url, *, include=("*.md",), cache=None, base=None, **more):
    url = str(url)
    settings = GitSettings(url=url, base=base or cache, cache_dir=cache, include=tuple(include), **more)
    return GitSource("docs", settings)


@pytest.fixture
def builder(tmp_path):
    with Builder(tmp_path / "repo") as builder:
        yield builder


@pytest.fixture
def open_source(tmp_path):
    opened = []

    def open_it(url=None, **more):
        opened.append(source(url or tmp_path / "repo", cache=tmp_path / "cache", **more))
        return opened[-1]

    yield open_it
    for one in opened:
        one.close()


def listed(src):
    listing = src.list()
    return dict(listing.items), listing


def skips(listing):
    return {(s.id, s.reason) for s in listing.skipped}


def test_a_commit_is_listed_with_blob_ids_and_read_without_a_work_tree(builder, open_source):
    commit = builder.commit({"docs/a.md": "# A\r\n", "docs/x/b.md": "# B\n", "c.txt": "c\n"})
    items, listing = listed(open_source())
    assert items == {"docs/a.md": blob_id(b"# A\r\n"), "docs/x/b.md": blob_id(b"# B\n")}
    assert listing.revision == commit
    assert listing.complete
    (document,) = open_source().fetch(["docs/a.md"])
    assert document == Document(
        id="docs/a.md",
        title="A",
        uri="docs/a.md",
        text="# A\n",
        revision=blob_id(b"# A\r\n"),
        bytes=5,
        syntax="markdown",
    )
    assert os.listdir(builder.path) == [".git"]


def test_the_proof_is_the_commit(builder, open_source):
    first = builder.commit({"a.md": "1"})
    src = open_source()
    assert src.proof() == first
    second = builder.commit({"a.md": "2"})
    assert src.proof() == first  # one run sees one commit
    assert open_source().proof() == second


def test_the_work_tree_and_the_index_are_not_looked_at(builder, open_source):
    builder.commit({"a.md": "committed"})
    (builder.path / "a.md").write_text("edited")
    (builder.path / "new.md").write_text("untracked")
    assert list(listed(open_source())[0]) == ["a.md"]
    assert next(open_source().fetch(["a.md"])).text == "committed\n"


def test_every_kind_of_ref_names_its_commit(builder, open_source):
    one = builder.commit({"a.md": "1"})
    two = builder.commit({"a.md": "2"})
    side = builder.commit({"a.md": "3"}, branch="team/side", parents=[one])
    tag = builder.tag("v1.0", one)
    refs = builder.repo.refs
    refs[b"refs/tags/light"] = side.encode()
    refs[b"refs/remotes/origin/main"] = one.encode()
    for packed in (False, True):
        if packed:
            builder.pack()
        for ref, commit in {
            "HEAD": two,
            "main": two,
            "refs/heads/main": two,
            "team/side": side,
            "v1.0": one,
            "light": side,
            "origin/main": one,
            one: one,
            one[:7]: one,
            tag: one,
        }.items():
            assert open_source(ref=ref).proof() == commit, (ref, packed)


def test_a_tag_of_a_tag_is_peeled(builder, open_source):
    from dulwich.objects import Tag

    commit = builder.commit({"a.md": "1"})
    inner = builder.tag("inner", commit)
    outer = Tag()
    outer.tagger, outer.tag_time, outer.tag_timezone = b"A <a@x>", 1, 0
    outer.name, outer.message, outer.object = b"outer", b"", (Tag, inner.encode())
    builder.repo.object_store.add_object(outer)
    builder.repo.refs[b"refs/tags/outer"] = outer.id
    assert open_source(ref="outer").proof() == commit


def test_a_detached_head_is_read(builder, open_source):
    one = builder.commit({"a.md": "1"})
    builder.commit({"a.md": "2"})
    (builder.path / ".git/HEAD").write_text(one + "\n")
    assert open_source().proof() == one


def test_a_bare_repository_is_read(tmp_path, open_source):
    with Builder(tmp_path / "bare.git", bare=True) as bare:
        commit = bare.commit({"a.md": "1"})
    assert open_source(tmp_path / "bare.git").proof() == commit


def test_a_linked_worktree_is_read_at_its_own_head(builder, open_source, tmp_path):
    from dulwich.worktree import add_worktree

    builder.commit({"a.md": "1"})
    other = builder.commit({"b.md": "2"}, branch="other", parents=[])
    worktree = add_worktree(builder.repo, str(tmp_path / "linked"), branch="other")
    worktree.close()
    assert (tmp_path / "linked/.git").is_file()
    src = open_source(tmp_path / "linked")
    assert src.proof() == other
    assert list(listed(src)[0]) == ["b.md"]


def test_objects_of_an_alternate_are_read(builder, open_source, tmp_path):
    commit = builder.commit({"a.md": "1"})
    builder.pack()
    with Builder(tmp_path / "borrowing") as borrowing:
        borrowing.repo.object_store.add_alternate_path(str(builder.path / ".git/objects"))
        borrowing.repo.refs[b"refs/heads/main"] = commit.encode()
    assert next(open_source(tmp_path / "borrowing").fetch(["a.md"])).text == "1\n"


def test_a_subfolder_stands_for_its_repository_and_ids_start_at_the_root(builder, open_source):
    builder.commit({"docs/a.md": "1", "b.md": "2"})
    (builder.path / "docs").mkdir()
    assert sorted(listed(open_source(builder.path / "docs"))[0]) == ["b.md", "docs/a.md"]
    assert sorted(listed(open_source(".", base=builder.path / "docs"))[0]) == ["b.md", "docs/a.md"]


def test_documents_are_read_at_the_planned_commit(builder, open_source):
    planned = builder.commit({"a.md": "old", "gone.md": "x"})
    builder.commit({"a.md": "new"})
    assert next(open_source().fetch(["a.md"])).text == "new\n"
    old = list(open_source().fetch(["a.md", "gone.md", "never.md"], revision=planned))
    assert [d.text for d in old[:2]] == ["old\n", "x\n"]
    assert (old[2].id, old[2].reason) == ("never.md", "vanished")


def test_results_come_in_the_order_asked(builder, open_source):
    files = {f"f{i}/d{i % 3}.md": f"text {i}" for i in range(30)}
    builder.commit(files)
    asked = sorted(files, key=lambda path: path[::-1])
    assert [d.id for d in open_source().fetch(asked)] == asked


def test_links_are_resolved_within_the_tree(builder, open_source):
    builder.commit(
        {
            "real.md": "real",
            "docs/in.md": Link("../real.md"),
            "docs/chain.md": Link("in.md"),
            "docs/out.md": Link("../../etc/passwd"),
            "docs/absolute.md": Link("/etc/passwd"),
            "docs/nowhere.md": Link("missing.md"),
            "docs/folder.md": Link("."),
            "docs/loop.md": Link("loop.md"),
            "docs/unselected.txt": Link("/etc/passwd"),
        }
    )
    items, listing = listed(open_source())
    assert sorted(items) == ["docs/chain.md", "docs/in.md", "real.md"]
    assert set(items.values()) == {blob_id(b"real")}
    outside = {f"docs/{n}.md" for n in ("out", "absolute", "nowhere", "folder", "loop")}
    assert skips(listing) == {(i, "link outside") for i in outside}
    assert listing.complete
    results = {r.id: r for r in open_source().fetch(["docs/chain.md", *sorted(outside)])}
    assert results.pop("docs/chain.md").text == "real\n"
    assert {r.reason for r in results.values()} == {"link outside"}


def test_a_submodule_is_skipped(builder, open_source):
    builder.commit({"a.md": "1", "vendor/lib": Submodule("1" * 40), "hidden/lib": Submodule("2" * 40)})
    items, listing = listed(open_source(exclude=("hidden/",)))
    assert list(items) == ["a.md"]
    assert skips(listing) == {("vendor/lib", "submodule")}
    assert listing.complete


def test_names_of_a_hostile_tree_are_never_paths(builder, open_source):
    from dulwich.objects import Tree

    blob = builder.blob("evil")
    names = [b"..", b".", b".git", b"a/b.md", b"caf\xe9.md", b"fine.md"]
    tree = Tree.from_string(b"".join(b"100644 " + n + b"\0" + bytes.fromhex(blob.decode()) for n in names))
    builder.repo.object_store.add_object(tree)
    builder.commit(tree.id)
    items, listing = listed(open_source(include=["*"]))
    assert list(items) == ["fine.md"]
    assert skips(listing) == {(n, "bad name") for n in ("..", ".", ".git", "a/b.md", "caf\\xe9.md")}
    assert [r.reason for r in open_source().fetch(["../x.md", "/x.md", "a//b.md", ".."])] == ["bad name"] * 4
    assert next(open_source().fetch(["a/b.md"])).reason == "vanished"


def test_ids_are_nfc_whatever_the_tree_holds(builder, open_source):
    decomposed = unicodedata.normalize("NFD", "Übersicht/é.md")
    builder.commit({decomposed: "text", "é.md": "composed", unicodedata.normalize("NFD", "é.md"): "other"})
    items, listing = listed(open_source())
    assert sorted(items) == sorted(["é.md", "Übersicht/é.md"])
    assert [s.reason for s in listing.skipped] == ["bad name"]
    assert [d.text for d in open_source().fetch(["Übersicht/é.md", "é.md"])] == ["text\n", "composed\n"]


def test_what_is_no_text_is_skipped_when_it_is_read(builder, open_source):
    builder.commit({"big.md": "x" * 2000, "binary.md": b"a\0b", "latin.md": b"caf\xe9"})
    results = list(open_source(max_bytes=1000).fetch(["big.md", "binary.md", "latin.md"]))
    assert [r.reason for r in results] == ["too large", "binary", "undecodable"]


def test_documents_carry_the_settings(builder, open_source):
    builder.commit({"docs/a b.md": "---\nx: 1\n---\n"})
    src = open_source(uri="https://x.org/blob/main/{path}", metadata={"team": "docs"})
    (document,) = src.fetch(["docs/a b.md"])
    assert document.uri == "https://x.org/blob/main/docs/a%20b.md"
    assert document.metadata == {"x": 1, "team": "docs"}


def test_a_folder_that_is_no_repository_is_an_error(tmp_path, open_source):
    (tmp_path / "plain").mkdir()
    with pytest.raises(SourceError, match="not in a git repository") as caught:
        open_source(tmp_path / "plain").list()
    assert "type: files" in caught.value.remedy
    with pytest.raises(SourceError, match="does not exist"):
        open_source(tmp_path / "nowhere").list()


def test_a_repository_without_commits_is_an_error(builder, open_source):
    with pytest.raises(SourceError, match="no commits yet"):
        open_source().list()


def test_an_unknown_ref_is_an_error_that_names_near_ones(builder, open_source):
    commit = builder.commit({"a.md": "1"})
    builder.tag("v1.0.0", commit)
    with pytest.raises(SourceError, match="'mian'") as caught:
        open_source(ref="mian").proof()
    assert "main" in caught.value.remedy
    with pytest.raises(SourceError) as caught:
        open_source(ref="v1.0.1").proof()
    assert "v1.0.0" in caught.value.remedy


@pytest.mark.parametrize("ref", ["0" * 40, "config", "../HEAD", "", "a b", "refs/heads/..", "abcd", "HEAD.lock", "ü"])
def test_an_odd_ref_is_an_error_and_never_a_crash(builder, open_source, ref):
    builder.commit({"a.md": "1"})
    with pytest.raises(SourceError):
        open_source(ref=ref).proof()


def test_a_ref_to_a_tree_or_a_file_is_an_error(builder, open_source):
    builder.commit({"a.md": "1"})
    builder.repo.refs[b"refs/tags/blob"] = builder.blob("1")
    with pytest.raises(SourceError, match="names no commit"):
        open_source(ref="blob").proof()


def test_a_planned_commit_that_is_gone_is_an_error_with_a_way_out(builder, open_source):
    builder.commit({"a.md": "1"})
    with pytest.raises(SourceError, match="111111111111 is not in the repository") as caught:
        list(open_source().fetch(["a.md"], revision="1" * 40))
    assert "git fetch" in caught.value.remedy


def damage(path):
    os.chmod(path, 0o644)
    path.write_bytes(b"rubbish")


def test_a_damaged_file_is_a_failure_and_the_rest_is_read(builder, open_source):
    builder.commit({"a.md": "one", "b.md": "two"})
    damage(builder.object_path(blob_id(b"one")))
    broken, whole = open_source().fetch(["a.md", "b.md"])
    assert (broken.reason, broken.is_failure) == ("unreadable", True)
    assert "git fsck" in broken.detail
    assert whole.text == "two\n"


def test_a_missing_file_object_is_a_failure(builder, open_source):
    builder.commit({"a.md": "one"})
    builder.object_path(blob_id(b"one")).unlink()
    (result,) = open_source().fetch(["a.md"])
    assert result.is_failure


def test_a_damaged_folder_makes_the_listing_incomplete(builder, open_source):
    builder.commit({"a.md": "1", "x/b.md": "2"})
    damage(builder.object_path(builder.tree({"b.md": "2"}).decode()))
    items, listing = listed(open_source())
    assert list(items) == ["a.md"]
    assert len(listing.problems) == 1
    assert skips(listing) == {("x", "unreadable")}


@pytest.mark.parametrize("which", ["commit", "tree"])
def test_a_damaged_commit_or_root_tree_is_an_error(builder, open_source, which):
    tree = builder.tree({"a.md": "1"})
    commit = builder.commit(tree)
    damage(builder.object_path(commit if which == "commit" else tree.decode()))
    with pytest.raises(SourceError) as caught:
        open_source().list()
    assert "git fsck" in caught.value.remedy


def test_the_selection_changes_with_every_setting_and_not_with_the_place(builder, open_source, tmp_path):
    base = open_source().selection()
    assert open_source(tmp_path / "elsewhere", ref="main", history=1, token="t").selection() == base
    others = [
        open_source(include=["*.txt"]),
        open_source(exclude=("x",)),
        open_source(max_bytes=1),
        open_source(uri="x/{path}"),
        open_source(metadata={"a": 1}),
    ]
    assert len({base, *(o.selection() for o in others)}) == len(others) + 1


@pytest.mark.skipif(shutil.which("git") is None, reason="compares with git itself")
def test_git_itself_sees_the_same_tree(tmp_path, open_source):
    repo = tmp_path / "repo"
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}

    def git(*args):
        command = ["git", "-c", "user.name=A", "-c", "user.email=a@x", "-c", "commit.gpgsign=false", *args]
        return subprocess.run(command, cwd=repo, env=env, check=True, capture_output=True, text=True).stdout

    repo.mkdir()
    git("init", "-q")
    for i in range(50):
        path = repo / f"d{i % 7}/e{i % 3}/Ü {i}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text {i}\n" * 50)
    git("add", "-A")
    git("commit", "-qm", "one")
    (repo / "d1/e1/Ü 1.md").write_text("changed\n" * 50)
    git("commit", "-qam", "two")
    git("gc", "-q")  # packs with deltas, a commit graph, packed refs
    src = open_source()
    tree = [line.split("\t") for line in git("ls-tree", "-r", "-z", "HEAD").split("\0") if line]
    assert listed(src)[0] == {unicodedata.normalize("NFC", path): facts.split()[2] for facts, path in tree}
    for document in src.fetch(listed(src)[0]):
        assert document.text == git("show", f"HEAD:{document.id}")


def test_a_process_that_read_packed_objects_ends_without_noise(builder):
    builder.commit({"a.md": "1"})
    builder.pack()
    code = f"""
from pathlib import Path
from qloader.sources.git import GitSettings, GitSource
here = Path({str(builder.path)!r})
source = GitSource("docs", GitSettings(url=".", base=here, cache_dir=here, include=("*.md",)))
print([item.id for item in source.list().items], [d.text for d in source.fetch(["a.md"])])
"""
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("['a.md'] ['1\\n']", "")


def test_importing_the_files_source_does_not_import_dulwich():
    code = "import sys, qloader.sources.files; print('dulwich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
