"""Many states in one collection: each tenant plans, applies, searches and is mended as if it were alone there."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qloader import Workspace
from qloader.config.load import load_config
from qloader.documents.hashing import point_ids
from qloader.errors import ConfigError, ForeignIndexError, QloaderError, StalePlanError
from qloader.planning.planfile import read_plan
from qloader.workspace.planning import PlanRequest
from qloader.workspace.validating import validate_workspace
from support.faults import Killed, called_methods, faulty, recording, sample
from support.qdrant_loopback import StandIn, serving
from support.workspaces import dump, plan_and_apply, replace_all

CONFIG = """\
name: {name}
index: {{url: "{url}", collection: docs{index}}}
state: {{path: .qloader/state.db}}
sources:
  docs: {{type: files, path: docs}}
chunking: {{max_chars: {max_chars}}}
ingestion: {{batch: {{size: 2}}}}
"""
SHARED = ", shared: true"

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


def text(word: str, number: int) -> str:
    paragraphs = (f"Paragraph {n} says how a {word} is looked after, at some length." for n in range(3))
    return f"# Page {number}\n\n" + "\n\n".join(paragraphs)


def pages(*words: str) -> dict[str, str]:
    return {f"page-{number}.md": text(word, number) for number, word in enumerate(words)}


def put(workspace: Workspace, files: dict[str, str]) -> None:
    """Makes the workspace's folder hold these files alone, all of one age."""
    folder = workspace.settings.config.base / "docs"
    replace_all(folder, files)
    for path in folder.iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000))


class Place:
    """A server, and configs in folders of their own whose documents have the same names."""

    def __init__(self, folder: Path, url: str, server: StandIn) -> None:
        self.folder = folder
        self.url = url
        self.server = server

    def configure(
        self, name: str, *, index: str = SHARED, max_chars: int = 200, url: str | None = None, folder: str = ""
    ) -> Workspace:
        base = self.folder / (folder or name)
        (base / "docs").mkdir(parents=True, exist_ok=True)
        config = base / "qloader.yaml"
        config.write_text(CONFIG.format(name=name, url=url or self.url, index=index, max_chars=max_chars))
        return Workspace.open(config)

    def load(self, name: str, *words: str, **options: Any) -> Workspace:
        workspace = self.configure(name, **options)
        put(workspace, pages(*words))
        plan_and_apply(workspace)
        return workspace

    def alone(self, workspace: Workspace) -> dict[str, Any]:
        """What the tenant would have if it were the only one, on another server."""
        base = workspace.settings.config.base
        with serving(StandIn().respond) as url:
            index = f"{SHARED}, tenant: {workspace.settings.tenant}"
            other = self.configure(workspace.settings.config.name, index=index, url=url, folder="alone")
            shutil.rmtree(self.folder / "alone" / ".qloader", ignore_errors=True)
            shutil.rmtree(self.folder / "alone" / "docs")
            shutil.copytree(base / "docs", self.folder / "alone" / "docs")
            plan_and_apply(other)
            return dump(other)

    def assert_well(self, workspace: Workspace) -> None:
        assert dump(workspace) == self.alone(workspace)
        status = workspace.status()
        assert (status.points, status.interrupted) == (len(dump(workspace)), 0)
        assert workspace.refresh().points == ()
        with workspace.temporary_plan() as result:
            assert result.plan.header.is_empty

    def points(self) -> int:
        return self.server.client.count("docs").count

    def payload_values(self, key: str) -> set[str]:
        records, _ = self.server.client.scroll("docs", limit=1000, with_payload=True)
        return {str((record.payload or {}).get(key)) for record in records}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    server = StandIn()
    with serving(server.respond) as url:
        yield Place(tmp_path, url, server)


def found_by(workspace: Workspace, query: str) -> set[str]:
    return {hit.payload["text"] for hit in workspace.search(query, limit=20)}


@contextlib.contextmanager
def left_alone(*workspaces: Workspace) -> Iterator[None]:
    """What these tenants have stays as it is, point by point."""
    before = [dump(workspace) for workspace in workspaces]
    yield
    assert [dump(workspace) for workspace in workspaces] == before


def test_three_tenants_with_documents_of_the_same_names(place: Place) -> None:
    acme = place.load("acme", "lamp", "garden", "river")
    bond = place.load("bond", "stone", "garden")
    carol = place.load("carol", "lamp", index=', shared: true, tenant: "carols"')
    tenants = [acme, bond, carol]
    for workspace in tenants:
        place.assert_well(workspace)
    assert place.points() == sum(workspace.status().points for workspace in tenants)
    assert place.payload_values("tenant") == {"acme", "bond", "carols"}
    assert [one.name for one in place.server.client.get_collections().collections] == ["docs"]
    # equal chunks of equal documents are points of their own
    assert not dump(acme).keys() & dump(carol).keys()
    assert any("lamp" in hit for hit in found_by(acme, "how is a lamp looked after"))
    assert not any("lamp" in hit for hit in found_by(bond, "how is a lamp looked after"))

    with left_alone(bond, carol):
        put(acme, {**pages("lamp", "bridge"), "page-9.md": text("river", 2)})
        plan_and_apply(acme, allow_deletes=("docs",))
    place.assert_well(acme)
    record = acme.document("docs/page-9.md")
    assert record is not None
    assert record.point_ids() == point_ids("docs", "page-9.md", record.chunks, tenant="acme")

    with left_alone(acme, carol):
        plan_and_apply(bond, destroy=True)
    assert dump(bond) == {}
    assert place.points() == acme.status().points + carol.status().points
    plan_and_apply(bond)
    place.assert_well(bond)
    assert place.load("dora", "lamp").status().points == 3


def test_a_lost_state_is_rebuilt_from_the_points_of_its_tenant(place: Place) -> None:
    acme = place.load("acme", "lamp", "garden")
    bond = place.load("bond", "lamp", "river", "stone")
    before = bond.status()
    assert before.header is not None
    shutil.rmtree(bond.settings.state.parent)
    with pytest.raises(ForeignIndexError, match="the tenant bond of the collection docs belongs to the state"):
        plan_and_apply(bond)
    with left_alone(acme):
        rebuilt = bond.rebuild_state()
    assert (rebuilt.lineage, rebuilt.documents) == (before.header.lineage, 3)
    after = bond.status()
    assert after.header is not None
    assert (after.header.tenant, after.points) == ("bond", before.points)
    place.assert_well(bond)
    place.assert_well(acme)
    carol = place.configure("carol")
    with pytest.raises(ForeignIndexError, match="no point of the tenant carol is in the collection docs"):
        carol.rebuild_state()
    assert not carol.settings.state.exists()


def test_what_drifted_under_one_tenant_is_repaired_there(place: Place) -> None:
    acme, bond = place.load("acme", "lamp", "garden"), place.load("bond", "lamp", "garden")
    (first, second, third, *_) = sorted(dump(acme))
    client = place.server.client
    client.delete("docs", [first])
    client.set_payload("docs", {"text": "Somebody wrote this."}, [second])
    client.set_payload("docs", {"tenant": "bond"}, [third])
    with left_alone(bond):
        drift = acme.refresh()
        assert (len(drift.of("missing")), len(drift.of("altered")), len(drift.of("orphaned"))) == (2, 1, 0)
        plan_and_apply(acme)
    place.assert_well(acme)
    with left_alone(bond):
        acme.remove_from_state(["docs/page-0.md"])
        put(acme, pages("stone", "garden"))  # the points of the text before are nobody's now
        plan_and_apply(acme)
    place.assert_well(acme)
    with pytest.raises(ForeignIndexError, match="all points of the tenant acme are gone from the collection docs"):
        client.delete("docs", list(dump(acme)))
        plan_and_apply(acme)


def test_another_pipeline_is_refused_by_apply_and_by_plan(place: Place) -> None:
    acme = place.load("acme", "lamp")
    bond = place.configure("bond", max_chars=300)
    put(bond, pages("river"))
    with left_alone(acme), pytest.raises(ForeignIndexError, match="shared collection docs is filled with") as raised:
        plan_and_apply(bond)
    assert "index.collection" in raised.value.remedy
    assert bond.status().header is None
    checks = {check.what: check for check in validate_workspace(bond.settings)}
    assert "is filled with the pipeline" in checks["index"].message

    changed = place.configure("acme", max_chars=300)
    with pytest.raises(ConfigError, match="the collection docs is shared") as refused, changed.temporary_plan():
        pass
    assert "another name in index.collection" in refused.value.remedy
    place.assert_well(place.configure("acme"))
    with changed.temporary_plan(PlanRequest(destroy=True)) as result:
        assert result.plan.header.summary.delete == 1


def test_a_plan_that_would_replace_is_refused_by_apply_too(place: Place, tmp_path: Path) -> None:
    """One that was made while the collection was this state's own, say."""
    place.load("acme", "lamp")
    changed = place.configure("acme", index="", max_chars=300)
    with pytest.raises(ForeignIndexError, match=r"the state is that of the tenant acme .* the config names no tenant"):
        changed.plan(tmp_path / "plan.json")


def test_a_tenant_belongs_to_one_state(place: Place) -> None:
    acme = place.load("acme", "lamp")
    second = place.configure("second", index=", shared: true, tenant: acme")
    put(second, pages("river"))
    with left_alone(acme), pytest.raises(ForeignIndexError, match=r"the tenant acme .* there is no state here"):
        plan_and_apply(second)
    assert second.status().header is None
    other = place.load("second", "river")
    moved = place.configure("second", index=", shared: true, tenant: third")
    with pytest.raises(
        ForeignIndexError, match=r"the state is that of the tenant second .* the config's tenant is third"
    ):
        plan_and_apply(moved)
    place.assert_well(place.configure("second"))
    place.assert_well(acme)
    assert other.status().points == 3


def test_two_states_that_began_a_tenant_at_once_are_told(place: Place) -> None:
    """Neither found a point of the other when it looked; whoever ends first is well, and then both are told."""
    first, second = (place.configure(name, index=f"{SHARED}, tenant: acme") for name in ("first", "second"))
    for workspace, word in ((first, "lamp"), (second, "river")):
        put(workspace, pages(word))
    loaded: list[object] = []

    def load_the_other() -> bool:
        if not loaded:
            loaded.append(plan_and_apply(second))
        return False

    with first.temporary_plan() as result, pytest.raises(ForeignIndexError, match="two states have points"):
        first.apply(result.plan, should_stop=load_the_other)
    put(second, pages("stone"))
    with pytest.raises(ForeignIndexError, match="two states have points under the tenant acme"):
        plan_and_apply(second)


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ("", SHARED, "belongs to the state .* alone, and the config says index.shared"),
        (SHARED, "", "is shared by several states, and the config has no index.shared"),
    ],
)
def test_a_collection_is_shared_or_one_states_own(place: Place, first: str, then: str, message: str) -> None:
    acme = place.load("acme", "lamp", index=first)
    bond = place.configure("bond", index=then)
    put(bond, pages("river"))
    for act in (lambda: plan_and_apply(bond), bond.rebuild_state):
        with left_alone(acme), pytest.raises(ForeignIndexError, match=message):
            act()
    assert bond.status().header is None


def test_a_plan_says_whose_points_they_are(place: Place, tmp_path: Path) -> None:
    acme = place.load("acme", "lamp")
    put(acme, pages("lamp", "river"))
    path = tmp_path / "plan.json"
    assert acme.plan(path).plan.header.index.tenant == "acme"
    assert '"tenant": "acme"' in path.read_text()
    assert read_plan(path).header.index.tenant == "acme"
    with pytest.raises(StalePlanError, match="its tenant is acme, the config's is none"):
        place.configure("acme", index="").apply(path)
    with pytest.raises(QloaderError, match="its tenant is acme, the config's is bond"):
        place.configure("acme", index=", shared: true, tenant: bond").apply(path)


def test_settings_that_differ_are_told_and_left_as_they_are(place: Place) -> None:
    first = ", shared: true, settings: {shards: 1, indexing_threshold: 5000}"
    acme = place.load("acme", "lamp", index=first)
    wanted = (
        ", shared: true, settings: {shards: 2, indexing_threshold: 7000, payload_indexes: {metadata.team: keyword}}"
    )
    bond = place.load("bond", "river", index=wanted)
    put(bond, pages("stone"))
    done = plan_and_apply(bond)
    assert done.settings == ()
    assert set(bond.refresh().settings) == {
        "index.settings.shards is 2 in the config, and 1 in the shared collection, which stays as it is.",
        "index.settings.indexing_threshold is 7000 in the config, and 5000 in the shared collection, which stays as "
        "it is.",
    }
    assert acme.refresh().settings == ()
    assert place.server.keeping("docs").fields["metadata.team"] == "keyword"


def test_a_shared_collection_indexes_through_a_bulk_load(place: Place) -> None:
    index = ", shared: true, settings: {bulk_chunks: 1}"
    acme = place.configure("acme", index=index)
    put(acme, pages("lamp"))
    thresholds = []
    with acme.temporary_plan() as result:
        acme.apply(result.plan, should_stop=lambda: thresholds.append(place.server.keeping("docs").indexing_threshold))
    assert thresholds == [10_000]


def test_whoever_is_killed_leaves_the_others_alone_and_goes_on(place: Place) -> None:
    acme = place.load("acme", "lamp", "garden", "river", "stone")
    bond = place.load("bond", "lamp", "garden", "river", "stone")

    def change(step: int) -> None:
        changed = pages("lamp", f"garden {step}", "bridge")
        titled = f"---\ntitle: Number {step}\n---\nThis text stays."
        put(bond, {**changed, f"moved-{step}.md": text("stone", 3), "titled.md": titled})

    def apply() -> None:
        plan_and_apply(bond, allow_deletes=("docs",))

    change(0)
    apply()
    change(1)
    methods = [m for m in called_methods(apply) if m[0].__name__ in ("ServerIndex", "StateStore")]
    change(2)
    with recording(methods) as calls:
        apply()
    writing = ("upsert", "set_payloads", "delete", "commit_batch")
    points = sample([call for call in calls if call.name.rpartition(".")[2] in writing])
    assert {p.name.rpartition(".")[2] for p in points} == set(writing)
    happened = 0
    with left_alone(acme):
        for step, point in enumerate(points, 3):
            change(step)
            fault = ("kill before", "kill after", "kill half")[step % (3 if point.takes_many else 2)]
            with faulty(methods, point, fault) as killed, contextlib.suppress(Killed):
                apply()
            happened += bool(killed)
            if step % 4 == 0:
                shutil.rmtree(bond.settings.state.parent)
                bond.rebuild_state()
            apply()
            place.assert_well(bond)
    place.assert_well(acme)
    assert happened > len(points) / 2
    assert place.points() == acme.status().points + bond.status().points


MISTAKES: list[tuple[str, str]] = [
    ("{shared: true}", "only a collection on a Qdrant server"),
    ("{path: .qloader/index, shared: true}", "only a collection on a Qdrant server"),
    ("{url: 'http://localhost:6333', tenant: acme}", "only a collection with `shared: true` has tenants"),
    ("{url: 'http://localhost:6333', shared: true, tenant: 'a b'}", "expected a name of letters"),
]


@pytest.mark.parametrize(("index", "message"), MISTAKES)
def test_what_cannot_be_shared_is_refused_by_the_config(tmp_path: Path, index: str, message: str) -> None:
    config = tmp_path / "qloader.yaml"
    config.write_text(f"name: test\nindex: {index}\nsources:\n  docs: {{type: files, path: docs}}\n")
    with pytest.raises(ConfigError, match=message):
        load_config(config)
