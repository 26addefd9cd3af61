"""The contract of a source, for folders and git repositories."""

from __future__ import annotations

import contextlib
import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from qloader.sources.files import FilesSettings, FilesSource
from qloader.sources.git import GitSettings, GitSource
from qloader.testing import Site, SourceContract
from support.git_builder import Builder


@contextlib.contextmanager
def not_mounted(path):
    """Tests may run as root, who may read everything; what is not there nobody can read."""
    elsewhere = path.rename(path.with_name("elsewhere"))
    yield
    elsewhere.rename(path)


class Folder(Site):
    def __init__(self, path):
        self.path = path
        self.names = {}
        self.ahead = timedelta()
        path.mkdir()

    def open(self):
        settings = FilesSettings(roots={"": self.path}, include=("**/*.md",), metadata={})
        return FilesSource("docs", settings)

    def id_of(self, key):
        return self.names.get(key, f"{key}.md")

    def write(self, key, text):
        file = self.path / self.id_of(key)
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        if self.ahead:
            modified = time.time() + self.ahead.total_seconds()
            os.utime(file, (modified, modified))

    def delete(self, key):
        (self.path / self.id_of(key)).unlink()

    def retitle(self, key, title):
        file = self.path / self.id_of(key)
        text = file.read_text(encoding="utf-8")
        file.write_text(f"---\ntitle: {title}\n---\n{text}", encoding="utf-8")

    def tag(self, key, label):
        file = self.path / self.id_of(key)
        text = file.read_text(encoding="utf-8")
        file.write_text(f"---\ntags: [{label}]\n---\n{text}", encoding="utf-8")

    def move(self, key):
        old, new = self.id_of(key), f"elsewhere/{self.id_of(key)}"
        (self.path / new).parent.mkdir(parents=True, exist_ok=True)
        (self.path / old).rename(self.path / new)
        self.names[key] = new
        return new

    def denied(self):
        return not_mounted(self.path)

    @contextlib.contextmanager
    def clock_ahead(self, by):
        self.ahead = by
        yield
        self.ahead = timedelta()


class Repository(Site):
    def __init__(self, path):
        self.builder = Builder(path)
        self.files = {}
        self.names = {}
        # Commits say themselves when they were made; in the past there is room for those that come later.
        self.clock = int(time.time()) - 100 * 86_400
        self.builder.commit({}, at=self.clock)

    def open(self):
        settings = GitSettings(
            url=str(self.builder.path), base=self.builder.path, cache_dir=self.builder.path, include=("**/*.md",)
        )
        return GitSource("docs", settings)

    def id_of(self, key):
        return self.names.get(key, f"{key}.md")

    def commit(self):
        self.clock += 60
        self.builder.commit(self.files, at=self.clock)

    def write(self, key, text):
        self.write_many({key: text})

    def write_many(self, texts):
        self.files |= {self.id_of(key): text for key, text in texts.items()}
        self.commit()

    def delete(self, key):
        del self.files[self.id_of(key)]
        self.commit()

    def retitle(self, key, title):
        self.write(key, f"---\ntitle: {title}\n---\n{self.files[self.id_of(key)]}")

    def tag(self, key, label):
        self.write(key, f"---\ntags: [{label}]\n---\n{self.files[self.id_of(key)]}")

    def move(self, key):
        text = self.files.pop(self.id_of(key))
        self.names[key] = f"elsewhere/{key}.md" if key not in self.names else f"elsewhere/{self.names[key]}"
        self.write(key, text)
        return self.names[key]

    def denied(self):
        return not_mounted(self.builder.path)

    @contextlib.contextmanager
    def clock_ahead(self, by):
        self.wait(by)
        yield
        self.wait(-by)

    def now(self):
        return datetime.fromtimestamp(self.clock, UTC)

    def wait(self, by):
        self.clock += int(by.total_seconds())


class TestFiles(SourceContract):
    @pytest.fixture
    def site(self, tmp_path):
        return Folder(tmp_path / "docs")


class TestGit(SourceContract):
    @pytest.fixture
    def site(self, tmp_path):
        site = Repository(tmp_path / "repo")
        yield site
        site.builder.repo.close()
