import os
import shutil
import socket
import tempfile
import threading
import unicodedata
from contextlib import contextmanager
from pathlib import Path

import pytest

from qloader.documents.document import Document, Skipped
from qloader.documents.hashing import blob_id
from qloader.errors import SourceError
from qloader.sources.files import FilesSettings, FilesSource


def source(*roots, include=("*.md",), **more):
    return FilesSource("notes", FilesSettings({r.name: r for r in roots}, include=tuple(include), **more))


def write(path, text="text\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def listed(src):
    listing = src.list()
    items = dict(listing.items)
    return items, listing


def ids(src):
    return sorted(listed(src)[0])


def skips(listing):
    return {(s.id, s.reason) for s in listing.skipped}


@pytest.fixture
def settled(monkeypatch):
    """A clock an hour ahead, so that files written just now are old enough for a token."""
    import time

    now = time.time_ns
    monkeypatch.setattr("qloader.sources.files.time.time_ns", lambda: now() + 3600 * 10**9)


def test_files_are_listed_in_a_stable_order_and_read(tmp_path):
    for name in ("b.md", "a.md", "x/c.md", "x/y/d.md", "a.txt"):
        write(tmp_path / name, f"# {name}\n")
    listing = source(tmp_path).list()
    assert [item.id for item in listing.items] == ["a.md", "b.md", "x/c.md", "x/y/d.md"]
    assert listing.complete
    assert listing.skipped == []
    assert listing.revision is None
    (document,) = source(tmp_path).fetch(["x/c.md"])
    assert document.text == "# x/c.md\n"
    assert document.uri == "x/c.md"
    assert document.revision == blob_id(b"# x/c.md\n")


def test_updated_at_is_the_time_of_change_in_utc(tmp_path):
    os.utime(write(tmp_path / "a.md"), (0, 1714979289.9))
    os.utime(write(tmp_path / "b.md"), (0, 4102444800))
    assert [d.updated_at for d in source(tmp_path).fetch(["a.md", "b.md"])] == [
        "2024-05-06T07:08:09Z",
        "2100-01-01T00:00:00Z",
    ]


def test_metadata_and_uri_come_from_the_settings(tmp_path):
    write(tmp_path / "a b.md")
    src = source(tmp_path, uri="https://x.org/{path}", metadata={"team": "docs"})
    (document,) = src.fetch(["a b.md"])
    assert (document.uri, document.metadata) == ("https://x.org/a%20b.md", {"team": "docs"})


@pytest.mark.usefixtures("settled")
def test_a_token_stays_until_the_file_changes(tmp_path):
    path = write(tmp_path / "a.md", "one\n")
    first = listed(source(tmp_path))[0]
    assert first["a.md"]
    assert listed(source(tmp_path))[0] == first
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.write_text("two\n")
    os.utime(path, ns=times)  # same size, same mtime, same inode: only ctime tells
    assert listed(source(tmp_path))[0] != first


def test_a_file_that_changed_just_now_has_no_token(tmp_path, monkeypatch):
    changed = write(tmp_path / "a.md").stat().st_ctime_ns
    for after, has_token in ((0, False), (2 * 10**9 - 1, False), (2 * 10**9, True)):
        monkeypatch.setattr("qloader.sources.files.time.time_ns", lambda now=changed + after: now)
        assert bool(listed(source(tmp_path))[0]["a.md"]) == has_token


@pytest.mark.usefixtures("settled")
def test_a_file_that_is_replaced_by_a_rename_has_another_token(tmp_path):
    write(tmp_path / "a.md", "one\n")
    first = listed(source(tmp_path))[0]
    os.replace(write(tmp_path / "new", "two\n"), tmp_path / "a.md")
    assert listed(source(tmp_path))[0] != first


def test_several_roots_give_ids_with_the_roots_name(tmp_path):
    write(tmp_path / "one/a.md", "1\n")
    write(tmp_path / "two/a.md", "2\n")
    src = source(tmp_path / "one", tmp_path / "two", include=["/a.md"])
    assert ids(src) == ["one/a.md", "two/a.md"]
    assert [d.text for d in src.fetch(["two/a.md", "one/a.md"])] == ["2\n", "1\n"]
    (gone,) = src.fetch(["three/a.md"])
    assert gone.reason == "vanished"


def test_repository_data_and_our_own_are_never_read(tmp_path):
    for name in (".git/a.md", "x/.hg/a.md", ".svn/a.md", ".qloader/a.md", "a.md"):
        write(tmp_path / name)
    write(tmp_path / "x/.git")
    assert ids(source(tmp_path, include=["*"])) == ["a.md"]


@pytest.mark.parametrize(
    "document_id",
    ["../secret.md", "/etc/hostname", "a/../../secret.md", "a//b.md", "./a.md", "", "a\0.md", ".git/config"],
)
def test_no_id_leads_out_of_the_root(tmp_path, document_id):
    write(tmp_path / "secret.md", "secret\n")
    write(tmp_path / "root/a.md")
    write(tmp_path / "root/.git/config")
    (result,) = source(tmp_path / "root").fetch([document_id])
    assert isinstance(result, Skipped)


def test_a_link_within_the_root_is_followed_and_one_out_of_it_is_not(tmp_path):
    root = tmp_path / "root"
    write(root / "real.md", "real\n")
    write(tmp_path / "outside.md", "secret\n")
    write(tmp_path / "folder/b.md", "secret\n")
    (root / "in.md").symlink_to("real.md")
    (root / "out.md").symlink_to(tmp_path / "outside.md")
    (root / "dangling.md").symlink_to("nowhere.md")
    (root / "away").symlink_to(tmp_path / "folder")
    (root / "sub").mkdir()
    (root / "sub/up.md").symlink_to("../../outside.md")
    items, listing = listed(source(root))
    assert sorted(items) == ["in.md", "real.md"]
    assert listing.complete
    assert skips(listing) == {(i, "link outside") for i in ("out.md", "dangling.md", "sub/up.md")}
    results = list(source(root).fetch(["in.md", "out.md", "away/b.md", "sub/up.md"]))
    assert results[0].text == "real\n"
    assert [r.reason for r in results[1:]] == ["link outside"] * 3


def test_a_link_into_repository_data_is_not_followed(tmp_path):
    write(tmp_path / ".git/config", "token\n")
    (tmp_path / "a.md").symlink_to(".git/config")
    (tmp_path / "b").symlink_to(".git")
    items, listing = listed(source(tmp_path, include=["*"]))
    assert items == {}
    assert ("a.md", "link outside") in skips(listing)
    (result,) = source(tmp_path).fetch(["a.md"])
    assert result.reason == "link outside"


def test_linked_folders_are_walked_once_and_loops_end(tmp_path):
    write(tmp_path / "a/one.md")
    write(tmp_path / "b/two.md")
    (tmp_path / "a/self").symlink_to(".")
    (tmp_path / "a/up").symlink_to("..")
    (tmp_path / "a/b").symlink_to("../b")
    (tmp_path / "b/a").symlink_to("../a")
    (tmp_path / "loop.md").symlink_to("loop.md")
    found = ids(source(tmp_path))
    assert found == ["a/b/two.md", "a/one.md", "b/a/one.md", "b/two.md"]
    assert all(isinstance(d, Document) for d in source(tmp_path).fetch(found))


def test_links_to_links_do_not_multiply(tmp_path):
    for level in range(12):
        folder = tmp_path / f"level{level}"
        folder.mkdir()
        write(folder / "a.md")
        if level:
            (tmp_path / f"level{level - 1}/x").symlink_to(folder)
            (tmp_path / f"level{level - 1}/y").symlink_to(folder)
    assert len(ids(source(tmp_path))) <= 24  # without a bound: 2^12


def test_without_follow_symlinks_links_are_ignored(tmp_path):
    write(tmp_path / "a.md")
    (tmp_path / "b.md").symlink_to("a.md")
    items, listing = listed(source(tmp_path, follow_symlinks=False))
    assert (sorted(items), listing.skipped) == (["a.md"], [])


def test_pipes_and_sockets_are_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.md")
    with tempfile.TemporaryDirectory() as short:  # a socket's path has at most 107 bytes
        server = socket.socket(socket.AF_UNIX)
        server.bind(f"{short}/s")
        os.rename(f"{short}/s", tmp_path / "socket.md")
        items, listing = listed(source(tmp_path))
        assert items == {}
        assert skips(listing) == {("pipe.md", "binary"), ("socket.md", "binary")}
        assert [r.reason for r in source(tmp_path).fetch(["pipe.md", "socket.md"])] == ["vanished"] * 2
        server.close()


def test_a_large_file_is_skipped_by_its_size_without_reading_it(tmp_path):
    with (tmp_path / "big.md").open("wb") as file:
        file.truncate(200_000_000)
    items, listing = listed(source(tmp_path))
    assert items == {}
    assert skips(listing) == {("big.md", "too large")}
    assert listing.skipped[0].detail == "200 MB, max_bytes is 10 MB"
    assert listing.complete
    (result,) = source(tmp_path).fetch(["big.md"])
    assert result.reason == "too large"


def test_a_file_gone_or_replaced_since_the_listing_is_skipped(tmp_path):
    for name in ("gone.md", "folder.md", "parent/a.md", "kept.md"):
        write(tmp_path / name)
    found = ids(source(tmp_path))
    (tmp_path / "gone.md").unlink()
    (tmp_path / "folder.md").unlink()
    (tmp_path / "folder.md").mkdir()
    shutil.rmtree(tmp_path / "parent")
    write(tmp_path / "parent")
    results = {r.id: getattr(r, "reason", "read") for r in source(tmp_path).fetch(found)}
    assert results == {
        "folder.md": "vanished",
        "gone.md": "vanished",
        "kept.md": "read",
        "parent/a.md": "vanished",
    }


def test_a_missing_root_is_an_error_and_not_an_empty_listing(tmp_path):
    with pytest.raises(SourceError) as caught:
        source(tmp_path / "nowhere").list()
    assert "nowhere" in str(caught.value)
    assert "mounted" in caught.value.remedy
    with pytest.raises(SourceError):
        list(source(tmp_path / "nowhere").fetch(["a.md"]))


def test_a_root_that_is_a_file_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="no folder"):
        source(write(tmp_path / "a.md")).list()


def test_ids_are_the_same_whatever_unicode_form_the_disk_uses(tmp_path):
    decomposed = unicodedata.normalize("NFD", "Übersicht/é.md")
    write(tmp_path / decomposed, "text\n")
    assert ids(source(tmp_path)) == ["Übersicht/é.md"]
    (document,) = source(tmp_path).fetch(["Übersicht/é.md"])
    assert (document.id, document.title, document.text) == ("Übersicht/é.md", "é", "text\n")


def test_two_names_that_differ_only_in_unicode_form_do_not_collide(tmp_path):
    write(tmp_path / unicodedata.normalize("NFC", "é.md"), "composed\n")
    write(tmp_path / unicodedata.normalize("NFD", "é.md"), "decomposed\n")
    if len(os.listdir(tmp_path)) == 1:
        pytest.skip("this file system holds one of them")
    items, listing = listed(source(tmp_path))
    assert list(items) == ["é.md"]
    assert [s.reason for s in listing.skipped] == ["bad name"]
    (document,) = source(tmp_path).fetch(["é.md"])
    assert document.text == "composed\n"


def test_a_name_that_is_not_utf8_is_skipped_with_a_printable_id(tmp_path):
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.md")).write_text("x")
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("not selected")
    items, listing = listed(source(tmp_path))
    assert items == {}
    assert [(s.id, s.reason) for s in listing.skipped] == [("caf\\xe9.md", "bad name")]


def test_odd_names_are_ids_like_any_other(tmp_path):
    names = ["a b.md", "q\"uo'te.md", "new\nline.md", "#1.md", "-rf.md", "Ünï/日本.md", "back\\slash.md"]
    for name in names:
        write(tmp_path / name, name)
    assert ids(source(tmp_path)) == sorted(names)
    assert [d.text for d in source(tmp_path).fetch(names)] == [f"{n}\n" for n in names]


@contextmanager
def as_nobody():
    """Without root's right to read everything."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        yield


@pytest.fixture
def public():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_a_folder_without_permission_makes_the_listing_incomplete(public):
    write(public / "a.md")
    write(public / "closed/b.md")
    os.chmod(public / "closed", 0)
    try:
        with as_nobody():
            items, listing = listed(source(public))
        assert list(items) == ["a.md"]
        assert not listing.complete
        assert listing.problems == ["closed could not be listed: permission denied"]
        assert listing.skipped[0].is_failure
    finally:
        os.chmod(public / "closed", 0o755)


def test_a_file_without_permission_is_a_failure_and_not_a_crash(public):
    os.chmod(write(public / "a.md"), 0)
    with as_nobody():
        (result,) = source(public).fetch(["a.md"])
    assert (result.reason, result.is_failure, result.detail) == ("unreadable", True, "permission denied")


def test_a_file_that_is_written_all_the_time_is_read_whole_or_fails(tmp_path):
    path = write(tmp_path / "a.md", "0" * 4000)
    stop = threading.Event()

    def keep_writing():
        digit = 0
        while not stop.is_set():
            digit = (digit + 1) % 10
            with path.open("r+") as file:
                file.write(str(digit) * 4000)

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        for _ in range(50):
            (result,) = source(tmp_path).fetch(["a.md"])
            if isinstance(result, Document):
                assert set(result.text.strip()) <= set("0123456789")
                assert result.bytes == 4000
            else:
                assert result.is_failure
    finally:
        stop.set()
        writer.join()


def test_the_selection_changes_with_every_setting_and_not_with_the_place(tmp_path):
    (tmp_path / "one").mkdir()
    base = source(tmp_path / "one").selection()
    assert source(tmp_path / "elsewhere").selection() == base
    others = [
        source(tmp_path, include=["*.txt"]),
        source(tmp_path, exclude=("x",)),
        source(tmp_path, max_bytes=1),
        source(tmp_path, uri="x/{path}"),
        source(tmp_path, metadata={"a": 1}),
        source(tmp_path, follow_symlinks=False),
        source(tmp_path / "one", tmp_path / "two"),
    ]
    assert len({base, *(o.selection() for o in others)}) == len(others) + 1


def test_a_folder_has_neither_proof_nor_identity(tmp_path):
    src = source(tmp_path)
    assert src.proof() is None
    assert src.identity() == ""
