"""`qloader watch` as a process: how it starts, tells, stops and is killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from qloader.watching.server import listen
from support.command_line import Prompt, let_go, some_documents, start_held, until_it_holds, wait_until
from support.workspaces import assert_index_is_a_fresh_load, write

COMMIT = "qloader.state.store:StateStore.commit_batch"
STOPPING = "Stopping after this batch; press Ctrl-C again to stop at once (also safe).\n"
SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "output" / "events.schema.json"


@pytest.fixture
def prompt(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Prompt:
    """A command line in a folder with a config and some documents."""
    here = Prompt(tmp_path, capsys, monkeypatch)
    configure(here)
    write(here.docs, some_documents(12))
    return here


def configure(prompt: Prompt, watch: str = "{debounce: 50ms, interval: 1h}", *, batch: int = 5) -> None:
    prompt.configure(
        "name: test\nindex: {path: .qloader/index}\nstate: {path: .qloader/state.db}\n"
        "sources:\n  docs: {type: files, path: docs}\n"
        f"ingestion: {{batch: {{size: {batch}}}}}\nwatch: {watch}\n"
    )


class Process:
    """A service that runs, and what it tells line by line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []

    def until(self, name: str, **facts: Any) -> dict[str, Any]:
        """Reads on until it tells of this."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == name and facts.items() <= self.events[-1].items():
                return self.events[-1]
        raise AssertionError(f"it ended without {name}: {self.events[-3:]}")

    def holds(self) -> None:
        """Reads on until it holds where it was told to."""
        self.events += [json.loads(line) for line in until_it_holds(self.process)]

    def hears(self, number: int) -> str:
        """Sends a signal; the line that it says to that."""
        self.process.send_signal(number)
        assert self.process.stderr is not None
        return self.process.stderr.readline().decode()

    def ends(self, *signals: int) -> tuple[int, str]:
        """Sends signals, reads to the end; the exit code and what it said."""
        for number in signals:
            self.process.send_signal(number)
        assert self.process.stdout is not None
        self.events += [json.loads(line) for line in self.process.stdout]
        assert self.process.stderr is not None
        errors = self.process.stderr.read().decode()
        return self.process.wait(300), errors


@contextlib.contextmanager
def watching(
    prompt: Prompt, *, env: dict[str, str] | None = None, held: tuple[str, str] | None = None
) -> Iterator[Process]:
    environment = {**os.environ, **(env or {})}
    command = ("watch", "--format", "json")
    with (
        start_held(prompt.folder, *held, *command, env=environment)
        if held
        else prompt.start(*command, stdout=subprocess.PIPE, env=environment)
    ) as process:
        try:
            yield Process(process)
        finally:
            process.kill()


def test_it_tells_what_it_does_line_by_line_and_stops_when_it_is_told(prompt: Prompt) -> None:
    with watching(prompt) as service:
        assert service.until("watching")["sources"] == ["docs"]
        looked = service.until("looked")
        assert (looked["sources"], looked["outcome"], looked["by"]) == (["docs"], "applied", [])
        write(prompt.folder, {"new.md": "# New\n\nA page."})
        (prompt.folder / "new.md").rename(prompt.docs / "new.md")
        assert service.until("looked", outcome="applied")["by"] == ["files"]
        (prompt.docs / "page-0001.md").unlink()
        assert service.until("looked", outcome="applied")["by"] == ["files"]
        code, errors = service.ends(signal.SIGTERM)
        assert (code, errors) == (0, "")
    assert service.events[-1] == {"event": "stopped"}
    finished = [event for event in service.events if event["event"] == "finished"]
    assert [(event["created"], event["deleted"]) for event in finished] == [(12, 0), (1, 0), (0, 1)]
    schema = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    for event in service.events:
        schema.validate(event)
    assert_index_is_a_fresh_load(prompt.workspace)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_in_a_run_ends_it_at_a_batch_edge(prompt: Prompt, number: int) -> None:
    write(prompt.docs, some_documents(100))
    with watching(prompt, held=(COMMIT, "3")) as service:
        service.holds()
        assert service.hears(number) == STOPPING
        let_go(service.process)
        assert service.ends() == (0, "")
    status = prompt.ok("status", "--format", "json").json
    assert status["points"] == 3 * 5  # the batch that was under way is whole
    assert prompt.workspace.status().interrupted == 0
    assert prompt.workspace.status().lease is None
    assert service.events[-1] == {"event": "stopped"}


def test_two_signals_end_it_at_once_and_what_was_committed_stays(prompt: Prompt) -> None:
    write(prompt.docs, some_documents(100))
    with watching(prompt, held=(COMMIT, "3")) as service:
        service.holds()
        assert service.hears(signal.SIGTERM) == STOPPING  # so that the second is not taken for the first
        code, errors = service.ends(signal.SIGTERM)
    assert code == 130, errors
    assert "Traceback" not in errors
    assert service.events[-1]["event"] == "error"
    assert prompt.workspace.status().lease is None
    with watching(prompt) as service:
        assert service.until("looked")["outcome"] == "applied"
        assert service.ends(signal.SIGTERM)[0] == 0
    assert_index_is_a_fresh_load(prompt.workspace)


def test_a_plan_is_given_up_at_once(prompt: Prompt) -> None:
    with watching(prompt, held=("qloader.sources.files:FilesSource.list", "1")) as service:
        service.holds()
        assert service.ends(signal.SIGTERM) == (0, "")
    assert [event["event"] for event in service.events] == ["watching", "stopped"]
    assert prompt.workspace.status().header is None


def test_one_that_was_killed_in_the_middle_goes_on_when_it_is_started_again(prompt: Prompt) -> None:
    write(prompt.docs, some_documents(100))
    for _ in range(2):
        with watching(prompt, held=(COMMIT, "3")) as service:
            service.holds()
            service.process.kill()
            assert service.process.wait() == -signal.SIGKILL
    with watching(prompt) as service:
        looked = service.until("looked")
        assert looked["outcome"] == "applied", looked
        assert service.ends(signal.SIGTERM)[0] == 0
    assert_index_is_a_fresh_load(prompt.workspace)


def test_what_a_person_allowed_by_hand_is_seen_at_a_hang_up_signal(prompt: Prompt) -> None:
    write(prompt.docs / "old", some_documents(11, first=100))
    write(prompt.docs, {f"page-{n:04}.md": None for n in range(11)})
    with watching(prompt) as service:
        service.until("looked")
        (prompt.docs / "old").rename(prompt.folder / "old")
        assert "would be deleted" in service.until("looked", outcome="refused")["message"]
        prompt.ok("ingest", "--allow-deletes", "docs")
        service.process.send_signal(signal.SIGHUP)
        while (looked := service.until("looked"))["by"] != ["signal"]:  # the system told of the folder twice
            service.process.send_signal(signal.SIGHUP)
        assert looked["outcome"] == "unchanged"
        assert service.ends(signal.SIGTERM)[0] == 0


def test_people_read_sentences(prompt: Prompt) -> None:
    with prompt.start("watch", "--listen", "127.0.0.1:0") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"Watching 1 source: docs.\n"
        assert process.stderr.readline().startswith(b"Listening at http://127.0.0.1:")
        assert process.stderr.readline().startswith(b"docs: 12 created, in ")
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"Stopped.\n"
    assert process.returncode == 0


def test_once_is_a_run_like_any_other_with_its_exit_codes(prompt: Prompt) -> None:
    answer = prompt.ok("watch", "--once", "--format", "json")
    assert [event["event"] for event in answer.events][-2:] == ["finished", "looked"]
    write(prompt.docs, {f"page-{n:04}.md": None for n in range(11)})
    answer = prompt("watch", "--once")
    assert answer.code == 3
    assert "would be deleted" in answer.err
    write(prompt.docs, {"page-0011.md": None})
    prompt.docs.rmdir()
    answer = prompt("watch", "--once")
    assert (answer.code, answer.error.startswith("Error: Source docs: the folder")) == (1, True)


def test_what_is_wrong_from_the_start_is_an_error(prompt: Prompt) -> None:
    assert prompt("watch", "--interval", "soon").error.startswith("Error: --interval 'soon': expected a duration")
    assert prompt("watch", "--interval", "0").error == "Error: --interval '0': expected more than nothing"
    assert "expected a host and a port" in prompt("watch", "--listen", "here").error
    with contextlib.closing(listen("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        answer = prompt("watch", "--listen", address)
    assert answer.code == 1
    assert answer.error == f"Error: nothing can listen at {address}: Address already in use"
    assert "--listen" in answer.remedy
    configure(prompt, "{hooks: {github: geheim}}")
    answer = prompt("watch")
    assert answer.error == "Error: watch.hooks has secrets, and nothing listens for the hooks"
    assert "geheim" not in answer.err


def test_systemd_is_told_when_it_is_ready_what_it_does_that_it_lives_and_that_it_ends(prompt: Prompt) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        # The name of a socket may be 107 bytes long, which a temporary folder's may be over.
        address = f"\0qloader-test-{os.getpid()}"
        supervisor.bind(address)
        heard: set[str] = set()

        def hear() -> None:  # all the while: where some ten messages wait, the system takes no more
            while (message := supervisor.recv(1000)) != b"over":
                heard.add(message.decode())

        hearing = threading.Thread(target=hear)
        hearing.start()
        env = {"NOTIFY_SOCKET": f"@{address[1:]}", "WATCHDOG_USEC": "1000000"}
        try:
            with watching(prompt, env=env) as service:
                service.until("looked")
                wait_until(lambda: heard >= {"READY=1", "WATCHDOG=1", "STATUS=ready, 12 points"})
                assert service.ends(signal.SIGTERM)[0] == 0
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                end.sendto(b"over", address)
            hearing.join()
    assert heard == {"READY=1", "WATCHDOG=1", "STATUS=ready, 12 points", "STOPPING=1"}
    assert prompt.workspace.status().points == 12


def test_a_supervisor_that_is_gone_does_not_matter(prompt: Prompt) -> None:
    with watching(prompt, env={"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "100000"}) as service:
        service.until("looked")
        assert service.ends(signal.SIGTERM) == (0, "")
    wait_until(lambda: prompt.workspace.status().lease is None)
