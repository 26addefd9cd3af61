"""The contract of a source, kept by `confluence` in both editions."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from html import escape

import pytest

from qloader.testing import Site, SourceContract
from servers.atlassian import Fault, refuse
from support.atlassian_sites import run_confluence

LISTS = r"/spaces/\d+/pages|/rest/api/content(/scan)?\?"


class ConfluenceSite(Site):
    page_size = 5

    def __init__(self, running):
        self.running = running
        self.model = running.model
        self.model.now = datetime.now(UTC) - timedelta(minutes=30)
        self.model.max_limit = self.page_size
        self.model.add_space("ENG")
        self.ids = {}

    def open(self):
        return self.running.source(label_changes=True, retry_attempts=0, time_zone="UTC")

    def write(self, key, text):
        if key in self.ids:
            self.model.edit(self.ids[key], f"<p>{escape(text)}</p>")
        else:
            self.ids[key] = self.model.add("ENG", key, f"<p>{escape(text)}</p>")

    def write_many(self, texts):
        self.model.max_limit = max(self.page_size, len(texts) // 40)
        super().write_many(texts)

    def delete(self, key):
        self.model.set_status(self.ids[key], "trashed")

    def restore(self, key, text):
        self.model.set_status(self.ids[key], "current")

    def id_of(self, key):
        return self.ids[key]

    def retitle(self, key, title):
        self.model.edit(self.ids[key], title=title)

    def tag(self, key, label):
        self.model.label(self.ids[key], label)

    def move(self, key):
        self.model.move(self.ids[key], parent=next(one for other, one in self.ids.items() if other != key))
        return self.ids[key]

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


class TestConfluenceCloud(SourceContract):
    @pytest.fixture
    def site(self):
        with run_confluence("cloud") as running:
            yield ConfluenceSite(running)


class TestConfluenceDataCenter(SourceContract):
    many = 1_000

    @pytest.fixture
    def site(self):
        with run_confluence("data_center") as running:
            yield ConfluenceSite(running)


class TestConfluenceBeforeScan(SourceContract):
    many = 1_000

    @pytest.fixture
    def site(self):
        with run_confluence("data_center", has_scan=False) as running:
            yield ConfluenceSite(running)
