"""`index.settings` through plan, apply and refresh: brought in line, told in sentences, and never embedded for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from qloader import Workspace
from qloader.errors import ConfigError, GuardError, IndexUnavailableError
from qloader.index.collection_settings import POSTPONED
from qloader.workspace.planning import PlanRequest
from support.dense_places import dense_place
from support.qdrant_loopback import Answer, Request, StandIn, serving
from support.workspaces import plan_and_apply, write

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")  # the local mode's word for it

TEAM = "payload_indexes: {metadata.team: keyword}"
SENTENCE = "Changed index.settings.payload_indexes.metadata.team from none to keyword."


@dataclass
class Place:
    """A folder of three documents, and what a config in it says of its index."""

    folder: Path
    index: str
    told: list[str] = field(default_factory=list)

    def configure(self, settings: str = "") -> Workspace:
        file = self.folder / "qloader.yaml"
        file.write_text(
            f"name: test\nindex: {{collection: test, {self.index}, settings: {{{settings}}}}}\n"
            "state: {path: .qloader/state.db}\nsources: {docs: {type: files, path: docs}}\n"
            "ingestion: {batch: {size: 1, retry_attempts: 0}}\n",
            encoding="utf-8",
        )
        return Workspace.open(file, tell=self.told.append)


@pytest.fixture
def server() -> StandIn:
    return StandIn()


@pytest.fixture(params=["embedded", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path, server: StandIn) -> Iterator[Place]:
    write(tmp_path / "docs", {f"{name}.md": f"---\nteam: x\n---\n# {name}\n" for name in ("one", "two", "three")})
    with serving(server.respond) as url:
        yield Place(tmp_path, "path: .qloader/index" if request.param == "embedded" else f"url: '{url}'")


on_a_server = pytest.mark.parametrize("place", ["server"], indirect=True)


def settings_of(workspace: Workspace) -> Any:
    index = workspace.settings.open_index()
    try:
        return index.settings()
    finally:
        index.close()


def test_settings_are_no_change_of_documents_and_the_next_apply_brings_them_in_line(place: Place) -> None:
    first = plan_and_apply(place.configure())
    assert first.settings == ()
    workspace = place.configure(TEAM)
    with workspace.temporary_plan() as planned:
        assert planned.plan.header.is_empty
        result = workspace.apply(planned.plan)
    assert result.settings == (SENTENCE,)
    assert (result.embedded, result.serial) == (0, first.serial)
    assert plan_and_apply(workspace).settings == ()
    assert settings_of(workspace)["payload_indexes.metadata.team"] == "keyword"


def test_a_first_apply_makes_the_collection_as_the_config_says(place: Place) -> None:
    workspace = place.configure(TEAM + ", on_disk: {payload: false}")
    assert plan_and_apply(workspace).settings == ()
    found = settings_of(workspace)
    assert (found["payload_indexes.metadata.team"], found["on_disk.payload"]) == ("keyword", False)


def test_an_apply_with_changes_brings_settings_in_line_too(place: Place) -> None:
    plan_and_apply(place.configure())
    write(place.folder / "docs", {"four.md": "# four\n"})
    result = plan_and_apply(place.configure(TEAM))
    assert (result.created, result.settings) == (1, (SENTENCE,))


def test_a_plan_that_the_guards_refuse_changes_no_settings(place: Place) -> None:
    plan_and_apply(place.configure())
    write(place.folder / "docs", dict.fromkeys(("one.md", "two.md", "three.md")))
    workspace = place.configure(TEAM)
    with workspace.temporary_plan() as planned, pytest.raises(GuardError):
        workspace.apply(planned.plan)
    assert "payload_indexes.metadata.team" not in settings_of(workspace)


def test_refresh_and_a_refreshed_plan_say_where_settings_differ_and_change_nothing(place: Place) -> None:
    plan_and_apply(place.configure())
    workspace = place.configure(TEAM)
    sentence = (
        "index.settings.payload_indexes.metadata.team is keyword in the config, and none in the collection: the next "
        "apply changes it."
    )
    drift = workspace.refresh()
    assert (drift.points, drift.settings) == ((), (sentence,))
    assert place.told == []
    with workspace.temporary_plan(PlanRequest(refresh=True)) as planned:
        assert planned.plan.header.is_empty
    assert place.told == [sentence]
    assert "payload_indexes.metadata.team" not in settings_of(workspace)


@on_a_server
def test_a_server_in_strict_mode_answers_searches_by_fields_that_have_an_index(place: Place, server: StandIn) -> None:
    server.is_strict = True
    plan_and_apply(place.configure())
    where: dict[str, Any] = {"metadata": {"team": "x"}, "since": datetime(2020, 1, 1, tzinfo=UTC)}
    with pytest.raises(IndexUnavailableError, match="Index required"):
        place.configure().search("one", **where)
    workspace = place.configure("payload_indexes: {metadata.team: keyword, updated_at: datetime}")
    plan_and_apply(workspace)
    assert [hit.payload["document_id"] for hit in workspace.search("one", **where)] == ["one.md"]


@on_a_server
def test_another_number_of_shards_is_refused_before_anything_is_written(place: Place, server: StandIn) -> None:
    plan_and_apply(place.configure("shards: 2"))
    assert server.keeping("test").params["shard_number"] == 2
    write(place.folder / "docs", {"four.md": "# four\n"})
    workspace = place.configure(f"shards: 3, {TEAM}")
    server.requests.clear()
    with workspace.temporary_plan() as planned, pytest.raises(ConfigError, match="has 2 shards"):
        workspace.apply(planned.plan)
    assert {request.method for request in server.requests} <= {"GET", "POST"}
    assert server.keeping("test").fields.keys() == {"source", "document_id", "qloader.lineage"}
    (sentence,) = (s for s in workspace.refresh().settings if "shards" in s)
    assert sentence == "index.settings.shards is 3 in the config, and 2 in the collection."


@pytest.mark.parametrize("engine", ["embedded", "server"])
def test_another_datatype_is_refused_in_place_and_taken_by_a_new_collection(tmp_path: Path, engine: str) -> None:
    with dense_place(tmp_path, engine) as place:
        write(tmp_path / "docs", {"one.md": "# one\n\nA lamp.\n"})
        index = place.index
        place.index = f"{index}, settings: {{datatype: float16}}"
        plan_and_apply(place.configure())
        place.index = f"{index}, settings: {{datatype: float32}}"
        write(tmp_path / "docs", {"two.md": "# two\n"})
        with pytest.raises(
            ConfigError, match=r"has float16 vectors, and index\.settings\.datatype says float32"
        ) as error:
            plan_and_apply(place.configure())
        assert "datatype to float16" in error.value.remedy
        changed = place.configure(max_chars=300)
        plan_and_apply(changed)
        assert settings_of(changed)["datatype"] == "float32"
        assert changed.search("lamp")


@on_a_server
def test_a_bulk_load_postpones_the_indexing_and_resumes_it(place: Place, server: StandIn) -> None:
    thresholds = []

    def respond(request: Request) -> Answer:
        if request.method == "PUT" and request.path.endswith("/points"):
            thresholds.append(server.keeping("test").indexing_threshold)
        return server.respond(request)

    with serving(respond) as url:
        place.index = f"url: '{url}'"
        plan_and_apply(place.configure("bulk_chunks: 3, indexing_threshold: 7000"))
        assert set(thresholds) == {POSTPONED}
        assert server.keeping("test").indexing_threshold == 7000
        thresholds.clear()
        write(place.folder / "docs", {"four.md": "# four\n"})
        plan_and_apply(place.configure("bulk_chunks: 3, indexing_threshold: 7000"))
    assert thresholds == [7000]


@on_a_server
@pytest.mark.parametrize("is_bulk_again", [True, False])
def test_a_bulk_load_that_dies_with_its_server_is_resumed_by_the_next_apply(
    place: Place, server: StandIn, is_bulk_again: bool
) -> None:
    written = 0
    is_down = False

    def respond(request: Request) -> Answer:
        nonlocal written, is_down
        written += request.method == "PUT" and request.path.endswith("/points")
        is_down = is_down or written == 2
        return Answer(503, b"{}") if is_down else server.respond(request)

    with serving(respond) as url:
        place.index = f"url: '{url}'"
        workspace = place.configure("bulk_chunks: 1")
        with pytest.raises(IndexUnavailableError):
            plan_and_apply(workspace)
        assert server.keeping("test").indexing_threshold == POSTPONED
        written, is_down = 3, False
        assert workspace.refresh().settings == (
            "The indexing is postponed by a bulk load that was cut short: the next apply resumes it.",
        )
        result = plan_and_apply(workspace if is_bulk_again else place.configure())
        assert settings_of(workspace)["indexing_threshold"] == 10_000
    resumed = "Resumed the indexing that a bulk load had postponed, which was cut short."
    assert result.settings == (() if is_bulk_again else (resumed,))
    assert server.keeping("test").indexing_threshold == 10_000
