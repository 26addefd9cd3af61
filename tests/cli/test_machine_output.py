"""`--format json` of every command, held to its schema; and the events of an apply, as they come."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.main import get_command

from qloader import Workspace
from qloader.applying.events import BatchDone, DocumentDone, Event, Finished, Started
from qloader.cli.app import make_app
from qloader.errors import QloaderError
from support.command_line import Prompt, let_go, some_documents, start_held, until_it_holds
from support.dense_places import dense_place
from support.foreign_collections import langchain_point, plain, theirs
from support.workspaces import make_workspace, write

SCHEMAS = Path(__file__).parents[2] / "docs" / "schema"
PRINTS_A_PLAN = {"plan", "show"}
PRINTS_EVENTS = {"apply", "ingest", "destroy", "watch"}
SCHEMA_OF = {**dict.fromkeys(PRINTS_A_PLAN, "plan"), **dict.fromkeys(PRINTS_EVENTS, "output/events")}


def load(name: str) -> dict[str, Any]:
    return json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))


def strict(schema: Any) -> Any:
    """The same schema, but for keys that it does not know: every key that is printed must be explained."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: strict(value) for key, value in schema.items()}
    if "properties" in schema:
        inner["additionalProperties"] = False
    return inner


def check(name: str, value: Any) -> None:
    Draft202012Validator(strict(load(f"output/{name}"))).validate(value)


def commands(group: Any = None, path: tuple[str, ...] = ()) -> dict[str, Any]:
    found = {}
    for name, child in (group or get_command(make_app())).commands.items():
        found |= commands(child, (*path, name)) if hasattr(child, "commands") else {" ".join((*path, name)): child}
    return found


@pytest.mark.parametrize("name", commands())
def test_every_command_prints_json_and_has_a_schema_of_it(name: str) -> None:
    formats = next(p for p in commands()[name].params if "--format" in p.opts)
    assert "json" in type(formats.default).__members__
    schema = SCHEMA_OF.get(name, f"output/{name.replace(' ', '-')}")
    Draft202012Validator.check_schema(load(schema))


def test_every_schema_belongs_to_a_command() -> None:
    known = {SCHEMA_OF.get(name, f"output/{name.replace(' ', '-')}") for name in commands()}
    files = {path.relative_to(SCHEMAS).as_posix().removesuffix(".schema.json") for path in SCHEMAS.rglob("*.json")}
    assert files - known == {"config", "log", "output/run"}


def test_what_looks_prints_what_its_schema_says(prompt: Prompt) -> None:
    check("status", prompt.ok("status", "--format", "json").json)
    check("history", prompt.ok("history", "--format", "json").json)
    prompt.ok("plan", "--save", "plans")
    prompt.ok("ingest")
    write(prompt.docs, {"page-0001.md": "# One\n\nplanned"})
    prompt.ok("plan", "-o", "plan.json")
    check("verify", prompt.ok("verify", "plan.json", "--format", "json").json)
    write(prompt.docs, {"page-0001.md": "# One\n\nmoved on", "page-0002.md": None})
    answer = prompt("verify", "plan.json", "--format", "json")
    assert answer.code == 4
    check("verify", answer.json)
    assert answer.json["count"] == len(answer.json["differences"]) == 3
    assert prompt("apply", "plan.json").code == 1  # so that there are failures to show
    check("status", prompt.ok("status", "--format", "json").json)
    assert prompt.ok("status", "--format", "json").json["failures"]
    history = prompt.ok("history", "--format", "json").json
    check("history", history)
    assert [run["plan_file"] is None for run in history["runs"]] == [True, False]
    check("run", prompt.ok("history", "--run", "2", "--format", "json").json)
    check("state-list", prompt.ok("state", "list", "--format", "json").json)
    shown = prompt.ok("state", "show", "docs/page-0001.md", "--format", "json").json
    check("state-show", shown)
    assert shown["failures"]
    check("validate", prompt.ok("validate", "--format", "json").json)
    prompt.docs.rename(prompt.folder / "away")
    check("validate", prompt("validate", "--format", "json").json)


def test_what_asks_the_index_prints_what_its_schema_says(applied: Prompt) -> None:
    check("search", applied.ok("search", "gardens", "--format", "json").json)
    check("refresh", applied.ok("refresh", "--format", "json").json)
    with contextlib.closing(applied.workspace.settings.open_index(guard=lambda: None)) as index:
        index.delete(applied.ok("state", "show", "docs/page-0003.md", "--format", "json").json["points"])
        index.flush()
    drift = applied.ok("refresh", "--format", "json").json
    check("refresh", drift)
    assert drift["documents"] == ["docs/page-0003.md"]
    check("optimize", applied.ok("optimize", "--format", "json").json)
    assert "Tidied up" in applied.ok("optimize").err


def test_what_is_about_dense_vectors_prints_what_its_schema_says(prompt: Prompt) -> None:
    with dense_place(prompt.folder) as place:
        place.configure()
        (prompt.folder / "test.yaml").rename(prompt.folder / "qloader.yaml")
        (prompt.folder / "questions.yaml").write_text("[{query: gardens, relevant: [docs/page-0001.md]}]")
        events = prompt.ok("ingest", "--format", "json").events
        check_events(events)
        assert events[-1]["dense"]["tokens"] > 0
        found = prompt.ok("search", "gardens", "--explain", "--format", "json").json
        check("search", found)
        assert {one["vector"] for hit in found["hits"] for one in hit["found_by"]} == {"bm25", "dense"}
        check("eval", prompt.ok("eval", "questions.yaml", "--format", "json").json)
        check("refresh", prompt.ok("refresh", "--deep", "--format", "json").json)
        check("cache-stats", prompt.ok("cache", "stats", "--format", "json").json)
        check("cache-export", prompt.ok("cache", "export", "vectors.db", "--format", "json").json)
        check("cache-prune", prompt.ok("cache", "prune", "--max-size", "0", "--format", "json").json)
        check("cache-import", prompt.ok("cache", "import", "vectors.db", "--format", "json").json)


def test_an_import_prints_what_its_schema_says(prompt: Prompt) -> None:
    with dense_place(prompt.folder) as place, theirs() as other:
        place.configure()
        (prompt.folder / "test.yaml").rename(prompt.folder / "qloader.yaml")
        other.create("old", plain())
        pages = {path.name: path.read_text().strip() for path in sorted(prompt.docs.iterdir())[:7]}
        other.add("old", [langchain_point(f"/x/{page}", text, title="A page") for page, text in pages.items()])
        other.add("old", [langchain_point("/x/gone.md", "Gone.", title="Gone")])
        found = prompt.ok("import", "--url", other.url, "--format", "json").json
        check("import", found)
        assert {one["fate"] for one in found["documents"]} == {"kept", "new"}
        assert found["dropped"] == [{"name": "/x/gone.md", "title": "Gone", "points": 1}]
        assert (found["dense"]["taken"], found["dense"]["to_embed"]) == (2, 5)
        place.configure(dense=False)
        (prompt.folder / "test.yaml").rename(prompt.folder / "qloader.yaml")
        other.add("old", [langchain_point("", "Nobody's.")])
        found = prompt.ok("import", "--url", other.url, "--format", "json").json
        check("import", found)
        assert (found["dense"], len(found["dropped"])) == (None, 2)


def test_what_mends_the_state_prints_what_its_schema_says(applied: Prompt) -> None:
    check("state-backup", applied.ok("state", "backup", "--format", "json").json)
    removed = applied.ok("state", "rm", "docs/page-0001.md", "--format", "json").json
    check("state-rm", removed)
    assert removed["removed"] == ["docs/page-0001.md"]
    check("state-migrate", applied.ok("state", "migrate", "--format", "json").json)
    check("state-rebuild", applied.ok("state", "rebuild", "--format", "json").json)
    with applied.workspace.settings.write_state() as state:
        lease = state.lock()
        check("state-unlock", applied.ok("state", "unlock", lease.id, "--format", "json").json)


def test_what_is_about_a_replaced_collection_prints_what_its_schema_says(applied: Prompt) -> None:
    config = (applied.folder / "qloader.yaml").read_text()
    applied.configure(config.replace("max_chars: 200", "max_chars: 300"))
    check_events(applied.ok("ingest", "--format", "json").events)
    status = applied.ok("status", "--format", "json").json
    check("status", status)
    assert (status["replaced"], status["replacement"]) == ("test", None)
    found = applied.ok("rollback", "--format", "json").json
    check("rollback", found)
    assert (found["target"], found["documents"], found["is_configured"]) == ("test", 12, False)
    assert applied.ok("status", "--format", "json").json["replaced"] == found["replaced"]
    removed = applied.ok("prune", "--auto-approve", "--format", "json").json
    check("prune", removed)
    assert removed == {"collections": [found["replaced"]]}
    check("prune", applied.ok("prune", "--format", "json").json)
    assert applied.ok("status", "--format", "json").json["replaced"] is None


def test_init_prints_what_its_schema_says(prompt: Prompt) -> None:
    (prompt.folder / "qloader.yaml").unlink()
    found = prompt.ok("init", "--format", "json").json
    check("init", found)
    assert (prompt.folder / found["config"]).exists()


def check_events(events: list[Any]) -> list[str]:
    validator = Draft202012Validator(strict(load("output/events")))
    for event in events:
        validator.validate(event)
    return [event["event"] for event in events]


def test_an_apply_tells_what_it_does_a_line_at_a_time(applied: Prompt) -> None:
    write(applied.docs, {"page-0000.md": None, "page-0001.md": "# One\n\nanew", "binary.md": "# B"})
    (applied.docs / "page-0002.md").rename(applied.docs / "moved.md")
    (applied.docs / "skipped.md").write_bytes(b"\x00")
    events = applied.ok("apply", "--auto-approve", "--format", "json").events
    assert check_events(events) == ["started", "warning", *["document"] * 4, "batch", "finished"]
    started, warning, *documents, batch, finished = events
    assert (started["changes"], started["resumed"], started["summary"]["move"]) == (4, False, 1)
    assert (warning["source"], warning["kind"]) == ("docs", "skipped")
    assert [(d["action"], d["address"], d.get("from"), d["outcome"]) for d in documents] == [
        ("create", "docs/binary.md", None, "applied"),
        ("move", "docs/moved.md", "docs/page-0002.md", "applied"),
        ("delete", "docs/page-0000.md", None, "applied"),
        ("update", "docs/page-0001.md", None, "applied"),
    ]
    assert (batch["documents"], batch["done"], batch["chunks_embedded"]) == (4, 4, 2)
    assert (finished["created"], finished["moved"], finished["serial"]) == (1, 1, batch["serial"])


def test_an_ingest_and_a_destroy_tell_the_same_events(prompt: Prompt) -> None:
    names = check_events(prompt.ok("ingest", "--format", "json").events)
    assert names == [
        "started",
        *["document"] * 5,
        "batch",
        *["document"] * 5,
        "batch",
        *["document"] * 2,
        "batch",
        "finished",
    ]
    assert check_events(prompt.ok("ingest", "--format", "json").events) == ["started", "finished"]
    names = check_events(prompt.ok("destroy", "--auto-approve", "--format", "json").events)
    assert (names.count("document"), names[-1]) == (12, "finished")


def test_what_was_left_is_told_with_the_reason_and_the_exit_code_says_so(applied: Prompt) -> None:
    write(applied.docs, {"page-0001.md": "# One\n\nplanned"})
    applied.ok("plan", "-o", "plan.json")
    write(applied.docs, {"page-0001.md": "# One\n\nmoved on"})
    answer = applied("apply", "plan.json", "--format", "json")
    check_events(answer.events)
    (document,) = [event for event in answer.events if event["event"] == "document"]
    assert (document["outcome"], document["reason"]) == ("left", "changed")
    assert (answer.code, len(answer.events[-1]["failures"])) == (1, 1)
    assert answer.events[-1]["serial"] == applied.workspace.status().header.serial


@pytest.mark.parametrize("command", ["apply nowhere.json", "-c nowhere.yaml ingest", "apply"])
def test_an_error_is_the_last_event_and_stands_on_stderr_too(applied: Prompt, command: str) -> None:
    write(applied.docs, {"new.md": "# New"})
    answer = applied(*command.split(), "--format", "json")
    assert check_events(answer.events) == ["error"]
    (event,) = answer.events
    assert event["exit_code"] == answer.code
    assert answer.err == f"Error: {event['message']}\n{event['remedy']}\n"


def test_a_refusal_by_a_guard_is_an_event(applied: Prompt) -> None:
    for path in sorted(applied.docs.iterdir())[:6]:
        path.unlink()
    answer = applied("ingest", "--format", "json")
    assert (answer.code, check_events(answer.events), answer.events[0]["exit_code"]) == (3, ["error"], 3)


def test_an_apply_that_was_interrupted_tells_what_was_done_before(prompt: Prompt) -> None:
    workspace = prompt.workspace
    plan = workspace.plan(prompt.folder / "plan.json").plan
    told: list[Event] = []
    with pytest.raises(QloaderError, match="stopped after 5 of 12 changes"):
        workspace.apply(
            plan, listener=told.append, should_stop=lambda: any(isinstance(event, BatchDone) for event in told)
        )
    assert [type(event) for event in told] == [Started, *[DocumentDone] * 5, BatchDone]
    answer = prompt.ok("apply", "plan.json", "--format", "json")
    outcomes = [event["outcome"] for event in answer.events if event["event"] == "document"]
    assert outcomes == [*["already"] * 5, *["applied"] * 7]
    assert answer.events[0]["resumed"] is True
    assert answer.events[-1]["already_applied"] == 5
    # Once more: there is nothing left to tell of, but that it was done.
    again = prompt.ok("apply", "plan.json", "--format", "json").events
    assert check_events(again) == ["started", "finished"]
    assert (again[0]["resumed"], again[-1]["already_applied"]) == (True, 12)


def test_a_document_is_told_only_when_it_is_in_the_state(prompt: Prompt) -> None:
    workspace = prompt.workspace
    missing: list[str] = []

    def look(event: Event) -> None:
        if isinstance(event, DocumentDone) and Workspace(workspace.settings).document(event.change.address) is None:
            missing.append(event.change.address)

    result = workspace.apply(workspace.plan(), listener=look)
    assert (result.created, missing) == (12, [])


def test_a_listener_that_fails_ends_the_apply_like_a_crash_which_loses_nothing(prompt: Prompt) -> None:
    workspace = prompt.workspace
    plan = workspace.plan(prompt.folder / "plan.json").plan

    def fail(event: Event) -> None:
        if isinstance(event, BatchDone):
            raise RuntimeError("the listener is broken")  # noqa: TRY004

    with pytest.raises(RuntimeError, match="the listener is broken"):
        workspace.apply(plan, listener=fail)
    assert (workspace.apply(plan).already, workspace.status().points) == (5, 12)


def test_a_reader_that_leaves_does_not_stop_the_apply(prompt: Prompt) -> None:
    write(prompt.docs, some_documents(300))
    prompt.ok("plan", "-o", "plan.json")
    process = prompt.start("apply", "plan.json", "--format", "json", stdout=subprocess.PIPE)
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())  # comes before the apply is over: each line is written at once
    assert first["event"] == "started"
    process.stdout.close()
    _, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, b"")
    assert prompt.ok("status", "--format", "json").json["points"] == 300


def test_ctrl_c_is_told_as_the_last_event(prompt: Prompt) -> None:
    write(prompt.docs, some_documents(600))
    prompt.ok("plan", "-o", "plan.json")
    commit = "qloader.state.store:StateStore.commit_batch"
    with start_held(prompt.folder, commit, "3", "apply", "plan.json", "--format", "json") as process:
        lines = until_it_holds(process)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"Stopping after this batch")
        let_go(process)
        out, _ = process.communicate(timeout=300)
    events = [json.loads(line) for line in (*lines, *out.splitlines())]
    names = check_events(events)
    assert (process.returncode, names[-1], events[-1]["exit_code"]) == (130, "error", 130)
    assert names.count("document") == next(e["done"] for e in reversed(events) if e["event"] == "batch")


def test_events_need_no_memory(tmp_path: Path) -> None:
    """An apply that is listened to holds no more than a batch of events."""
    workspace = make_workspace(tmp_path, batch=50)
    write(tmp_path / "docs", some_documents(400))
    alive: list[int] = []
    seen = 0

    def count(event: Event) -> None:
        nonlocal seen
        seen += 1
        if isinstance(event, Finished | BatchDone):
            import gc

            alive.append(sum(isinstance(thing, DocumentDone) for thing in gc.get_objects()))

    workspace.apply(workspace.plan(), listener=count)
    assert seen == 400 + 8 + 2
    assert max(alive) <= 1
