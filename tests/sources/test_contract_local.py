"""The contract of a source, for folders and git repositories."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from qloader.sources.files import FilesSettings, FilesSource
from qloader.sources.git import GitSettings, GitSource
from qloader.testing import Site, SourceContract, Unsupported
from support.git_builder import Builder


class Folder(Site):
    def __init__(self, path):
        self.path = path
        self.names = {}
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
        (self.path / "elsewhere").mkdir()
        (self.path / self.id_of(key)).rename(self.path / "elsewhere" / f"{key}.md")
        self.names[key] = f"elsewhere/{key}.md"
        return self.names[key]

    def denied(self):
        raise Unsupported("tests may run as root, who may read everything")


class Repository(Site):
    def __init__(self, path):
        self.builder = Builder(path)
        self.files = {}
        self.names = {}
        self.builder.commit({})

    def open(self):
        settings = GitSettings(
            url=str(self.builder.path), base=self.builder.path, cache_dir=self.builder.path, include=("**/*.md",)
        )
        return GitSource("docs", settings)

    def id_of(self, key):
        return self.names.get(key, f"{key}.md")

    def commit(self):
        self.builder.commit(self.files, at=int(time.time()))

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
        self.names[key] = f"elsewhere/{key}.md"
        self.write(key, text)
        return self.names[key]

    def clock_ahead(self, by):
        from contextlib import contextmanager

        @contextmanager
        def ahead():
            commit, self.commit = (
                self.commit,
                lambda: self.builder.commit(self.files, at=int((datetime.now(UTC) + by).timestamp())),
            )
            try:
                yield
            finally:
                self.commit = commit

        return ahead()


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
