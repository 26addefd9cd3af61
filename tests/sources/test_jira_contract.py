"""The contract of a source, kept by `jira` in both editions."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from qloader.testing import Site, SourceContract
from servers.atlassian import Fault, refuse
from support.atlassian_sites import run_jira

LISTS = "/search"


class JiraSite(Site):
    page_size = 5

    def __init__(self, running):
        self.running = running
        self.model = running.model
        self.model.now = datetime.now(UTC) - timedelta(minutes=30)
        self.model.projects |= {"ENG": "Engineering", "OPS": "Operations"}
        self.model.max_results = self.model.max_ids = self.page_size
        self.keys = {}
        self.deleted = {}

    def open(self):
        return self.running.source(projects=["ENG", "OPS"], retry_attempts=0)

    def write(self, key, text):
        if key in self.keys:
            self.model.edit(self.keys[key], description=text)
        else:
            self.keys[key] = self.model.add("ENG", key, text)

    def write_many(self, texts):
        self.model.max_results = self.model.max_ids = max(self.page_size, len(texts) // 40)
        super().write_many(texts)

    def delete(self, key):
        self.deleted[key] = self.model.delete(self.keys[key])

    def restore(self, key, text):
        self.model.restore(self.deleted[key])

    def id_of(self, key):
        return self.keys[key]

    def tag(self, key, label):
        self.model.edit(self.keys[key], labels=[label])

    def move(self, key):
        self.keys[key] = self.model.move(self.keys[key], "OPS")
        return self.keys[key]

    @contextmanager
    def _with(self, fault):
        self.running.site.fail(fault)
        yield
        self.running.site.faults.clear()

    def breaks_on_page(self, number):
        return self._with(refuse(LISTS, 503, after=number - 1, times=None))

    def denied(self):
        return self._with(refuse("", 403, times=None))

    def while_paging(self, edit):
        return self._with(Fault(LISTS, after=1, before=edit))

    @contextmanager
    def clock_ahead(self, by):
        self.model.now += by
        yield
        self.model.now -= by


class TestJiraCloud(SourceContract):
    @pytest.fixture
    def site(self):
        with run_jira("cloud") as running:
            yield JiraSite(running)


class TestJiraDataCenter(SourceContract):
    many = 1_000

    @pytest.fixture
    def site(self):
        with run_jira("data_center") as running:
            yield JiraSite(running)
