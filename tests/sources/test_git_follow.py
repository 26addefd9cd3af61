"""After a commit a git source tells what changed, by the folders that differ; the manifest is as if it were listed."""

from __future__ import annotations

import random

import pytest

from qloader.errors import SourceError
from qloader.manifest.cache import Cache
from qloader.manifest.snapshot import take_snapshot
from qloader.sources import git_objects
from qloader.sources.git import GitSettings, GitSource
from qloader.sources.protocol import Item
from support.git_builder import Builder, Link, Submodule
from support.model import CHUNKING


class Watched(GitSource):
    """Counts its listings; its reading breaks off after so many documents."""

    def __init__(self, settings, breaks_after=None):
        super().__init__("docs", settings)
        self.listings = 0
        self.breaks_after = breaks_after

    def list(self):
        self.listings += 1
        return super().list()

    def fetch(self, ids, *, revision=None):
        for number, result in enumerate(super().fetch(ids, revision=revision)):
            if number == self.breaks_after:
                raise SourceError("the source broke off")
            yield result


class Place:
    """A repository and a cache."""

    def __init__(self, folder, **settings):
        self.builder = Builder(folder / "repo")
        self.cache = folder / "cache.db"
        self.settings = {"include": ("*.md",), **settings}

    def snapshot(self, *, fresh=False, **more):
        """The manifest, the rows behind it, and how often the source was listed whole."""
        path = self.builder.path
        source = Watched(GitSettings(url=str(path), base=path, cache_dir=path, **self.settings), **more)
        try:
            with Cache.empty() if fresh else Cache.open(self.cache) as cache:
                manifest = take_snapshot(source, cache, CHUNKING)
                rows = cache.connection.execute(
                    "SELECT id, token, skip, content, metadata, revision, bytes, chunks, title, keys FROM entry"
                ).fetchall()
        finally:
            source.close()
        return manifest, rows, source.listings

    def check(self, *, listings):
        """The snapshot is what an empty cache finds, by so many listings of the whole."""
        manifest, rows, listed = self.snapshot()
        assert (manifest, rows) == self.snapshot(fresh=True)[:2]
        assert listed == listings


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.builder.repo.close()


NAMES = ("a.md", "b.md", "c.txt", "x", "y", "z.md")


def grow(random_, depth=0):
    """A tree at random: a name may be a file in one and a folder in another."""
    files = {}
    for name in random_.sample(NAMES, random_.randint(1, 5)):
        if depth < 3 and random_.random() < 0.4:
            files |= {f"{name}/{path}": text for path, text in grow(random_, depth + 1).items()}
        else:
            files[name] = f"text {random_.randint(0, 3)}"
    return files


@pytest.mark.parametrize("seed", range(6))
def test_whatever_changed_the_manifest_is_that_of_a_listing(tmp_path, seed):
    random_ = random.Random(seed)
    place = Place(tmp_path, include=("*.md", "/x/**"), exclude=("y/x/",))
    place.builder.commit(files := grow(random_))
    place.check(listings=1)
    for _ in range(12):
        other = grow(random_)
        kept = {path: text for path, text in files.items() if random_.random() < 0.8}
        taken = {p: t for p, t in other.items() if not any(p == k or p.startswith(k + "/") or k.startswith(p + "/")
                                                           for k in kept)}  # fmt: skip
        place.builder.commit(files := kept | taken)
        place.check(listings=0)
    place.builder.repo.close()


def test_only_folders_that_differ_are_read(place, monkeypatch):
    files = {
        f"part-{part}/sub-{sub}/page-{page}.md": "text" for part in range(6) for sub in range(6) for page in range(3)
    }
    place.builder.commit(files)
    place.snapshot()
    read = []
    parse = git_objects.parse_tree
    monkeypatch.setattr(git_objects, "parse_tree", lambda data, *more: read.append(data) or parse(data, *more))
    place.builder.commit(files | {"other.txt": "nothing of the source"})
    assert place.snapshot()[2] == 0
    assert len(read) == 2  # both roots
    read.clear()
    place.builder.commit(files | {"other.txt": "nothing of the source", "part-3/sub-2/page-1.md": "another text"})
    assert place.snapshot()[2] == 0
    assert len(read) <= 6 + 3  # root, part and sub of both commits, and those of the new one on the way to the text


@pytest.mark.parametrize(
    "odd", [{"guide.md": Link("other/text.md")}, {"lib": Submodule("1" * 40)}, {"lost.md": Link("nowhere")}]
)
def test_where_a_document_depends_on_another_place_the_source_is_listed(place, odd):
    files = {"a/one.md": "one", "other/text.md": "text"}
    place.builder.commit(files)
    place.check(listings=1)
    place.builder.commit(files | odd)
    place.check(listings=1)
    place.builder.commit(files | odd | {"other/text.md": "changed"})
    place.check(listings=1)
    place.builder.commit(files | {"other/text.md": "changed again"})
    place.check(listings=1)
    place.builder.commit(files)
    place.check(listings=0)


def test_what_the_patterns_leave_out_does_not_matter(tmp_path):
    place = Place(tmp_path, include=("docs/*.md",))
    odd = {"lib": Submodule("1" * 40), "other/here.md": Link("nowhere")}
    place.builder.commit({"docs/a.md": "a", **odd})
    place.check(listings=1)
    place.builder.commit({"docs/a.md": "b", **odd, "other/there.md": Link("nowhere")})
    place.check(listings=0)
    place.builder.repo.close()


def test_without_the_earlier_commit_the_source_is_listed(place):
    first = place.builder.commit({"a.md": "a", "x/b.md": "b"})
    place.check(listings=1)
    place.builder.commit({"a.md": "a", "x/b.md": "c"}, parents=[])
    place.builder.object_path(first).unlink()
    place.check(listings=1)


def test_a_folder_that_cannot_be_read_any_more_is_told_as_by_a_listing(place):
    place.builder.commit({"a.md": "a", "x/b.md": "b"})
    place.check(listings=1)
    commit = place.builder.commit({"a.md": "a", "x/b.md": "c"})
    tree = place.builder.repo[place.builder.repo[commit.encode()].tree]
    place.builder.object_path(tree[b"x"][1].decode()).unlink()
    manifest, _, listings = place.snapshot()
    assert listings == 1
    assert not manifest.complete


def test_a_snapshot_that_was_cut_short_is_made_good(place):
    files = {f"{name}.md": name for name in "abcdef"}
    place.builder.commit(files)
    place.snapshot()
    place.builder.commit({name: f"{text} changed" for name, text in files.items()} | {"g.md": "new"})
    with pytest.raises(SourceError):
        place.snapshot(breaks_after=3)
    place.check(listings=1)
    place.builder.commit(files)
    place.check(listings=0)


def test_a_file_that_became_a_link_to_one_like_it_is_followed_no_more(place):
    """The listing says the same: the same names under the same contents. What stands behind one of them is another."""
    place.builder.commit({"a.md": "the same", "x/b.md": "the same"})
    place.check(listings=1)
    place.builder.commit({"a.md": "the same", "x/b.md": Link("../a.md")})
    place.check(listings=1)
    place.builder.commit({"a.md": "edited", "x/b.md": Link("../a.md")})
    place.check(listings=1)


def test_ids_of_a_class_of_their_own_are_texts(tmp_path):
    class Text(str):
        __slots__ = ()

    class Parsed(Watched):
        def list(self):
            listing = super().list()
            listing.items = iter([Item(Text(one), Text(token)) for one, token in listing.items])
            return listing

    place = Place(tmp_path)
    place.builder.commit({"a.md": "text"})
    path = place.builder.path
    source = Parsed(GitSettings(url=str(path), base=path, cache_dir=path, **place.settings))
    with Cache.open(place.cache) as cache:
        assert take_snapshot(source, cache, CHUNKING).documents == 1
    source.close()
    place.builder.repo.close()
