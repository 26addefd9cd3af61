"""Figures of runs: kept in the state, shown by `history --metrics`, written to a file, traced by `--profile`."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from test_machine_output import check

from qloader import Workspace
from qloader.applying.events import BatchDone, Event, Started
from qloader.errors import QloaderError
from qloader.state.store import StateStore
from qloader.telemetry.measured import Measured
from support.command_line import Prompt, some_documents
from support.dense_places import dense_place
from support.traces import TRACE, roots_of, spans_by_thread
from support.workspaces import make_workspace, write

APPLIED_STAGES = {"fetch", "chunk", "embed", "write", "commit"}
PLANNED_STAGES = {"snapshot", "compare"}


def monitor(prompt: Prompt, text: str) -> None:
    """Adds a section `monitoring` to the config."""
    file = prompt.folder / "qloader.yaml"
    prompt.configure(file.read_text() + f"monitoring: {text}\n")


def kept(workspace: Workspace) -> dict[int, Measured]:
    return workspace.measurements(workspace.history())


def test_an_apply_keeps_what_it_cost_by_stage_and_source(prompt: Prompt) -> None:
    prompt.ok("ingest")
    (measured,) = kept(prompt.workspace).values()
    assert measured.counts["documents", "docs"] == measured.counts["chunks", "docs"] == 12
    assert measured.count("embeds") == 12
    size = sum(file.stat().st_size for file in prompt.docs.iterdir())
    assert 0 < measured.counts["bytes", "docs"] <= size
    assert measured.busy.keys() - {"wait"} == APPLIED_STAGES | PLANNED_STAGES
    assert {source for stage, source in measured.spans if stage in ("snapshot", "fetch", "chunk")} == {"docs"}
    assert 0 < measured.covered <= measured.seconds
    assert all(0 < seconds <= measured.seconds for seconds in measured.busy.values())
    assert measured.memory_peak >= measured.levels["memory"].most > 1 << 20
    assert measured.samples[-1].values["documents"] == 12


def test_a_plan_that_is_applied_later_is_no_part_of_the_run(prompt: Prompt) -> None:
    prompt.load()
    (measured,) = kept(prompt.workspace).values()
    assert measured.busy.keys() - {"wait"} == APPLIED_STAGES


def test_nothing_is_kept_where_the_config_says_so(prompt: Prompt) -> None:
    monitor(prompt, "{metrics: {enabled: false}}")
    prompt.ok("ingest")
    assert kept(prompt.workspace) == {}
    assert "Nothing was measured of this run" in prompt.ok("history", "--run", "1", "--metrics").err


def test_what_dense_vectors_took_is_counted_and_so_is_what_was_waited_for(prompt: Prompt) -> None:
    with dense_place(prompt.folder) as place:
        # One text a request, 10 ms from one request to the next.
        workspace = place.configure(limits={"requests_per_minute": 6000}, batch={"texts": 1}, parallel=2)
        place.model.fail(503)
        workspace.apply(workspace.plan())
        (first,) = kept(workspace).values()
        assert first.count("requests") == place.model.requests == 13
        assert (first.count("retries"), first.count("cache_hits"), first.count("embeds")) == (1, 0, 12)
        assert first.spans["retry", ""].count == 1
        assert first.spans["limit", ""].count > 0
        assert first.busy["limit"] <= first.seconds
        (prompt.folder / "test.yaml").rename(prompt.folder / "qloader.yaml")
        prompt.ok("destroy", "--auto-approve")
        prompt.ok("ingest")
        last = kept(workspace)[3]
        assert (last.count("requests"), last.count("cache_hits"), last.count("embeds")) == (0, 12, 12)


def test_documents_that_were_left_as_they_were_are_failures(prompt: Prompt) -> None:
    prompt.ok("plan", "-o", "plan.json")
    write(prompt.docs, {"page-0001.md": "# One\n\nmoved on"})
    assert prompt("apply", "plan.json").code == 1
    (measured,) = kept(prompt.workspace).values()
    assert (measured.counts["failures", "docs"], measured.counts["documents", "docs"]) == (1, 11)


def test_a_run_that_is_killed_leaves_the_figures_of_its_last_batch(prompt: Prompt) -> None:
    monitor(prompt, "{metrics: {interval: 1ms}}")
    workspace = prompt.workspace

    def die(event: Event) -> None:
        if isinstance(event, BatchDone) and event.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workspace.apply(workspace.plan(), listener=die)
    (measured,) = kept(prompt.workspace).values()
    assert measured.counts["documents", "docs"] == 5, "the batch that was over, of those of five"
    prompt.ok("ingest")
    assert [found.count("documents") for found in kept(prompt.workspace).values()] == [2, 5]


def test_a_run_that_fails_keeps_its_figures(prompt: Prompt) -> None:
    with dense_place(prompt.folder) as place:
        workspace = place.configure(batch={"texts": 1}, parallel=1, retry_attempts=0)
        place.model.revoked_after = 4
        with pytest.raises(QloaderError):
            workspace.apply(workspace.plan())
        (measured,) = kept(workspace).values()
        assert measured.count("documents") < 12
        assert measured.busy["embed"] > 0


def test_figures_are_forgotten_when_they_are_old_and_their_runs_are_not(prompt: Prompt) -> None:
    prompt.ok("ingest")
    workspace = prompt.workspace
    ((run, measured),) = kept(workspace).items()
    with StateStore.write(workspace.settings.state) as state:
        state.lock()
        old = state.begin_other("test")
        state.record_measured(old, measured)
        state.record_measured(run, measured, keep=3600)
        assert state.measured([run, old]).keys() == {run, old}
        state.record_measured(run, measured, keep=0)
        assert run in state.measured([run, old])
        assert [found.id for found in state.runs()] == [old, run]


def test_history_shows_figures_and_the_runs_before(prompt: Prompt) -> None:
    prompt.ok("ingest")
    write(prompt.docs, some_documents(8, first=20))
    prompt.ok("ingest")
    prompt.ok("ingest")  # nothing to do, so nothing is measured
    shown = prompt.ok("history", "--metrics").err
    assert [line.split()[0] for line in shown.splitlines()[1:4]] == ["3", "2", "1"]
    assert "documents a second" in shown
    assert any(bar in shown for bar in "▁█")
    one = prompt.ok("history", "--run", "2", "--metrics").err
    assert all(stage in one for stage in (*APPLIED_STAGES, *PLANNED_STAGES, "other", "p95"))
    assert "documents 8" in one


def test_history_tells_programs_the_figures_and_how_they_compare(prompt: Prompt) -> None:
    check("history", prompt.ok("history", "--metrics", "--format", "json").json)
    prompt.ok("ingest")
    write(prompt.docs, some_documents(8, first=20))
    prompt.ok("ingest")
    told = prompt.ok("history", "--metrics", "--format", "json").json
    check("history", told)
    documents = next(series for series in told["compared"] if series["name"] == "documents")
    assert documents["values"] == [12, 8]
    assert documents["change"] == pytest.approx(-1 / 3)
    last, first = told["runs"]
    assert last["metrics"]["counts"]["documents"] == {"docs": 8}
    before = {(line["stage"], line["source"]): line["before"] for line in last["metrics"]["stages"]}
    own = {(line["stage"], line["source"]): line for line in first["metrics"]["stages"]}
    assert before["fetch", "docs"]["count"] == own["fetch", "docs"]["count"]
    one = prompt.ok("history", "--run", "2", "--metrics", "--format", "json").json
    check("run", one)
    assert one["metrics"]["counts"] == last["metrics"]["counts"]
    assert "metrics" not in prompt.ok("history", "--format", "json").json["runs"][0]


def samples(path: Path) -> dict[str, float]:
    families = text_string_to_metric_families(path.read_text())
    return {s.name: s.value for f in families for s in f.samples if "stage" not in s.labels}


def test_the_openmetrics_file_holds_the_last_apply_and_how_it_ended(prompt: Prompt) -> None:
    monitor(prompt, "{openmetrics: qloader.prom}")
    path = prompt.folder / "qloader.prom"
    prompt.ok("plan", "-o", "plan.json")
    assert not path.exists(), "a plan is no run"
    prompt.ok("apply", "plan.json")
    found = samples(path)
    assert (found["qloader_run_documents"], found["qloader_run_over"], found["qloader_run_success"]) == (12, 1, 1)
    prompt.ok("plan", "-o", "plan.json")
    write(prompt.docs, {"page-0001.md": None})
    assert prompt("ingest", "--source", "nope").code == 1
    assert (samples(path)["qloader_run_over"], samples(path)["qloader_run_success"]) == (1, 0)


def test_an_openmetrics_file_that_cannot_be_written_is_said_and_ends_nothing(prompt: Prompt) -> None:
    monitor(prompt, "{openmetrics: gone/qloader.prom}")
    answer = prompt.ok("ingest")
    assert "monitoring.openmetrics: " in answer.err
    assert "gone/qloader.prom was not written: No such file or directory." in answer.err
    assert len(kept(prompt.workspace)) == 1


@pytest.mark.parametrize("command", [("plan",), ("ingest",), ("apply", "--auto-approve")])
def test_a_profile_is_a_trace_of_the_command(prompt: Prompt, command: tuple[str, ...]) -> None:
    said = prompt.ok(*command, "--profile", "trace.json").err
    assert "Trace written to trace.json" in said
    events = json.loads((prompt.folder / "trace.json").read_text())
    Draft202012Validator(TRACE).validate(events)
    found = spans_by_thread(events)
    spans = [span for spans in found.values() for span in spans]
    wanted = PLANNED_STAGES if command == ("plan",) else PLANNED_STAGES | APPLIED_STAGES
    assert {span["name"] for span in spans} - {"wait"} == wanted
    roots = {thread: roots_of(spans) for thread, spans in found.items()}
    if command == ("plan",):
        assert prompt.workspace.history() == []
        return
    (measured,) = kept(prompt.workspace).values()
    # No thread is at more than the run lasted, and together they are at it as long as was measured.
    longest = max(sum(root["dur"] for root in of_one) / 1e6 for of_one in roots.values())
    assert longest <= measured.seconds + 0.05
    for stage in APPLIED_STAGES:
        together = sum(span["dur"] for span in spans if span["name"] == stage) / 1e6
        assert together == pytest.approx(measured.stages()[stage].total, abs=0.01)


def test_a_profile_that_cannot_be_written_is_refused_before_anything_is_done(prompt: Prompt) -> None:
    answer = prompt("ingest", "--profile", "gone/trace.json")
    assert answer.code == 1
    assert answer.error == "Error: --profile: the trace gone/trace.json cannot be written: No such file or directory"
    assert prompt.workspace.history() == []


def test_an_apply_that_replaces_the_collection_is_measured_as_any(prompt: Prompt) -> None:
    prompt.ok("ingest")
    file = prompt.folder / "qloader.yaml"
    prompt.configure(file.read_text().replace("max_chars: 200", "max_chars: 300"))
    prompt.ok("ingest")
    found = kept(prompt.workspace)
    assert [measured.count("documents") for measured in found.values()] == [12, 12]
    assert found[2].busy.keys() >= APPLIED_STAGES


def test_a_plan_in_another_thread_is_no_part_of_the_run(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    write(tmp_path / "docs", some_documents(3))
    plans = []

    def plan_beside(event: Event) -> None:
        if isinstance(event, Started):
            with ThreadPoolExecutor(1) as pool:
                plans.append(pool.submit(workspace.plan).result())

    workspace.apply(workspace.plan(), listener=plan_beside)
    assert len(plans) == 1
    (measured,) = kept(workspace).values()
    assert not measured.busy.keys() & PLANNED_STAGES


def test_a_program_measures_a_plan_and_its_apply_as_one_run(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    write(tmp_path / "docs", some_documents(3))
    with workspace.measured(is_apply=True):
        workspace.apply(workspace.plan())
        assert workspace.advice() == ()
    (measured,) = kept(workspace).values()
    assert measured.busy.keys() >= PLANNED_STAGES
