"""The exit codes, the JSON shapes and the two streams, as the contract has them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qloader.watching.looking import explain
from support.command_line import CONTROLS, QLOADER, Prompt, let_go, some_documents, start_held, until_it_holds
from support.workspaces import write

needs_script = pytest.mark.skipif(shutil.which("script") is None, reason="script makes the terminal")
COMMIT = "qloader.state.store:StateStore.commit_batch"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def lock_as(folder: Path, *, host: str, pid: int, since: float = 0, expires: float = 120) -> None:
    """Puts a lease into the state as another writer would; times are seconds from now."""
    now = int(time.time() * 1000)
    with sqlite3.connect(folder / ".qloader" / "state.db") as state:
        state.execute(
            "INSERT OR REPLACE INTO lease (only_one, id, holder, host, pid, since, expires_at) "
            "VALUES (1, 'the-lease', 'ada', ?, ?, ?, ?)",
            (host, pid, now + int(since * 1000), now + int(expires * 1000)),
        )


# Exit codes


def test_0_and_2_tell_changes_apart_with_detailed_exitcode(prompt: Prompt) -> None:
    assert prompt("plan").code == 0
    assert prompt("plan", "--detailed-exitcode").code == 2
    prompt.load()
    assert prompt("plan", "--detailed-exitcode").code == 0


@pytest.mark.parametrize(
    ("arguments", "error", "command"),
    [
        (["frobnicate"], "No such command 'frobnicate'", "qloader"),
        (["plan", "--nope"], "No such option: --nope", "qloader plan"),
        (["plan", "extra"], "Got unexpected extra argument", "qloader plan"),
        (["search"], "Missing argument 'QUERY'", "qloader search"),
        (["search", "-k", "0", "x"], "Invalid value for '-k'", "qloader search"),
        (["search", "-k", "many", "x"], "Invalid value for '-k'", "qloader search"),
        (["plan", "--format", "xml"], "Invalid value for '--format': 'xml' is not one of", "qloader plan"),
        (["--config"], "Option '--config' requires an argument", "qloader"),
        (["state", "frobnicate"], "No such command 'frobnicate'", "qloader state"),
        (["apply", "a", "b"], "Got unexpected extra argument", "qloader apply"),
    ],
)
def test_1_is_wrong_usage_which_names_the_help(prompt: Prompt, arguments: list[str], error: str, command: str) -> None:
    answer = prompt(*arguments)
    assert answer.code == 1
    assert answer.out == ""
    assert answer.error.startswith(f"Error: {error}")
    assert answer.remedy == f"See `{command} --help`.\n"


def test_3_is_a_guard_that_refuses(applied: Prompt) -> None:
    for path in applied.docs.iterdir():
        path.unlink()
    assert applied("plan").code == 3
    assert applied("apply", "--auto-approve").code == 3
    assert applied("ingest").code == 3


def test_4_is_a_plan_that_is_stale_or_no_plan(applied: Prompt) -> None:
    write(applied.docs, {"a.md": "a"})
    applied.ok("plan", "-o", "old.json")
    write(applied.docs, {"b.md": "b"})
    applied.load()
    answer = applied("apply", "old.json")
    assert answer.code == 4
    assert re.fullmatch(
        r"Error: the plan rests on serial 4 of the state, which is at 6 now: run 2 \(complete\) of the plan "
        r"[0-9a-f]{12} changed 2 documents",
        answer.error,
    )
    assert applied("verify", "old.json").code == 4
    assert applied("apply", "qloader.yaml").code == 4
    assert applied("show", "nosuch.json").code == 4


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A living process that is none of ours."""
    with subprocess.Popen(["sleep", "3600"]) as process:
        yield process
        process.kill()


def test_5_is_another_writer_at_work_who_is_named(applied: Prompt, other: subprocess.Popen[bytes]) -> None:
    write(applied.docs, {"a.md": "a"})
    applied.ok("plan", "-o", "plan.json")
    lock_as(applied.folder, host=socket.gethostname(), pid=other.pid)
    answer = applied("apply", "plan.json")
    assert (answer.code, applied("ingest").code) == (5, 5)
    assert f"the state is locked by ada on {socket.gethostname()} (process {other.pid}) since 20" in answer.error
    assert "qloader state unlock the-lease" in answer.remedy
    assert f"An apply is running: ada on {socket.gethostname()} (process {other.pid})." in applied.ok("status").err
    applied.ok("plan")  # readers never wait
    applied.ok("search", "gardens")
    assert applied("state", "unlock", "another").code == 1
    assert applied.ok("state", "unlock", "the-lease").err == "Unlocked.\n"
    applied.ok("apply", "plan.json")


def test_a_rebuild_beside_a_writer_is_told_who_that_is_although_the_index_is_held_too(
    applied: Prompt, other: subprocess.Popen[bytes]
) -> None:
    with contextlib.closing(applied.workspace.settings.open_index()) as index:
        index.describe()
        lock_as(applied.folder, host=socket.gethostname(), pid=other.pid)
        answer = applied("state", "rebuild")
    assert (answer.code, f"(process {other.pid})" in answer.error) == (5, True)


def test_of_two_applies_at_once_one_is_locked_out_and_loses_nothing(prompt: Prompt) -> None:
    write(prompt.docs, some_documents(400))
    prompt.ok("plan", "-o", "plan.json")
    with start_held(prompt.folder, COMMIT, "2", "apply", "plan.json") as first:
        until_it_holds(first)
        second = prompt("apply", "plan.json")
        let_go(first)
        _, errors = first.communicate()
    assert (first.returncode, second.code) == (0, 5), errors.decode()
    assert f"(process {first.pid})" in second.error
    assert prompt.ok("apply", "plan.json").err.startswith("400 changes of this plan had been applied before.\n")
    assert prompt.ok("status", "--format", "json").json["points"] == 400


def test_whoever_looks_beside_a_running_apply_sees_something_whole_or_is_told_why_not(prompt: Prompt) -> None:
    write(prompt.docs, some_documents(200))
    prompt.ok("plan", "-o", "plan.json")
    with prompt.start("apply", "plan.json") as apply:
        while apply.poll() is None:
            plan = prompt("plan")
            assert plan.code in (0, 4), plan.err
            assert plan.code == 0 or plan.error.startswith("Error: the state changed while the plan was made")
            documents = prompt.ok("state", "list", "--format", "json").json["documents"]
            assert len(documents) % 5 == 0  # whole batches
            prompt.ok("status")
            prompt.ok("history")
    assert apply.returncode == 0
    assert prompt.ok("plan").last == "No changes. The index matches the sources."


def test_the_lock_of_a_dead_process_of_this_host_is_taken_over(applied: Prompt) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    lock_as(applied.folder, host=socket.gethostname(), pid=dead.pid)
    assert "An apply is running" not in applied.ok("status").err
    applied.ok("apply", "--auto-approve")


def test_the_lock_of_a_process_whose_number_another_one_has_by_now_is_taken_over(
    applied: Prompt, other: subprocess.Popen[bytes]
) -> None:
    # A container that is started again: every process has the number of its predecessor.
    lock_as(applied.folder, host=socket.gethostname(), pid=other.pid, since=-3600)
    applied.ok("apply", "--auto-approve")


def test_a_living_process_of_this_host_keeps_its_lock_however_long_its_batch_takes(
    applied: Prompt, other: subprocess.Popen[bytes]
) -> None:
    lock_as(applied.folder, host=socket.gethostname(), pid=other.pid, expires=-60)
    assert applied("apply", "--auto-approve").code == 5


def test_the_lock_of_another_host_is_taken_over_when_it_has_run_out(applied: Prompt) -> None:
    lock_as(applied.folder, host="elsewhere", pid=1, expires=110)
    answer = applied("apply", "--auto-approve")
    assert answer.code == 5
    assert "its lease runs out at 20" in answer.remedy
    lock_as(applied.folder, host="elsewhere", pid=1, expires=-1)
    applied.ok("apply", "--auto-approve")


# JSON


def test_search_prints_hits_as_the_contract_has_them(applied: Prompt) -> None:
    answer = applied.ok("search", "page 3 gardens", "-k", "2", "--format", "json")
    assert set(answer.json) == {"hits"}
    assert len(answer.json["hits"]) == 2
    best = answer.json["hits"][0]
    assert list(best) == ["address", "score", "title", "uri", "text"]
    assert (best["address"], best["title"], best["uri"]) == ("docs/page-0003.md", "Page 3", "page-0003.md")
    assert best["text"].startswith("# Page 3\n\nWhat page 3 says")
    assert best["score"] >= answer.json["hits"][1]["score"] > 0
    assert answer.err == ""


def test_status_is_as_the_contract_has_it(prompt: Prompt) -> None:
    contract = {"name": "test", "lineage": None, "serial": 0, "sources": [], "points": 0, "failures": []}
    nothing = prompt.ok("status", "--format", "json").json
    assert {key: value for key, value in nothing.items() if value is not None or key in contract} == contract
    prompt.load()
    status = prompt.ok("status", "--format", "json").json
    assert [key for key in status if key in contract] == list(contract)
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", status["lineage"])
    (source,) = status["sources"]
    assert list(source) == ["name", "type", "documents", "chunks", "last_success"]
    assert TIME.fullmatch(source.pop("last_success"))
    assert source == {"name": "docs", "type": "files", "documents": 12, "chunks": 12}
    assert status["points"] == 12
    assert status["serial"] == 1 + 3  # a run, and its three batches of five


def test_history_is_as_the_contract_has_it(prompt: Prompt) -> None:
    assert prompt.ok("history", "--format", "json").json == {"runs": []}
    assert prompt.ok("history").err == "No runs yet.\n"
    prompt.load()
    (run,) = prompt.ok("history", "--format", "json").json["runs"]
    assert list(run) == ["id", "plan", "status", "started_at", "finished_at", "summary", "error", "plan_file"]
    assert TIME.fullmatch(run["started_at"])
    assert TIME.fullmatch(run["finished_at"])
    plan = prompt.ok("show", "plan.json", "--format", "json").json
    assert (run["id"], run["plan"], run["status"], run["error"]) == (1, plan["digest"], "complete", None)
    assert (run["summary"]["create"], run["summary"]["embedded"]) == (12, 12)


def test_state_list_and_show_are_as_the_contract_has_them(applied: Prompt) -> None:
    documents = applied.ok("state", "list", "--format", "json").json["documents"]
    assert [d["address"] for d in documents] == [f"docs/page-{n:04}.md" for n in range(12)]
    assert all(list(d) == ["address", "content", "chunks"] and d["chunks"] == 1 for d in documents)
    shown = applied.ok("state", "show", "docs/page-0004.md", "--format", "json").json
    assert shown["content"] == documents[4]["content"]
    assert len(shown["points"]) == 1
    plan = applied.ok("show", "plan.json", "--format", "json").json
    assert plan["changes"][4]["after"]["content"] == documents[4]["content"]
    answer = applied("state", "show", "docs/nosuch.md")
    assert (answer.code, answer.error) == (1, "Error: the state has no document docs/nosuch.md")


def test_apply_prints_what_it_did_as_json(applied: Prompt) -> None:
    write(applied.docs, {"new.md": "# New\n\nnew", "page-0000.md": None})
    assert applied.ok("apply", "--auto-approve", "--format", "json").events[-1] == {
        "event": "finished",
        "created": 1,
        "updated": 0,
        "moved": 0,
        "deleted": 1,
        "repaired": 0,
        "already_applied": 0,
        "chunks_embedded": 1,
        "serial": 6,
        "failures": [],
    }


def test_validate_lists_each_check_and_its_remedy(applied: Prompt) -> None:
    answer = applied.ok("validate", "--format", "json").json
    assert answer["valid"] is True
    assert [check["what"] for check in answer["checks"]] == ["config", "source docs", "state", "index"]
    applied.docs.rename(applied.folder / "gone")
    answer = applied("validate", "--format", "json")
    assert answer.code == 1
    assert answer.json["valid"] is False
    assert [check["ok"] for check in answer.json["checks"]] == [True, False, True, True]
    assert "sources.docs.path" in answer.json["checks"][1]["remedy"]


def test_plan_and_show_print_the_plan_file_itself(prompt: Prompt) -> None:
    planned = prompt.ok("plan", "-o", "plan.json", "--format", "json")
    text = Path("plan.json").read_text()
    assert planned.out == text
    assert prompt.ok("show", "plan.json", "--format", "json").out == text
    assert prompt.ok("ingest", "--dry-run", "--format", "json").out == text


# Streams


def test_people_read_stderr_and_programs_stdout(applied: Prompt) -> None:
    write(applied.docs, {"new.md": "new"})
    commands = [
        ["plan", "-o", "plan.json"],
        ["show", "plan.json"],
        ["verify", "plan.json"],
        ["validate"],
        ["apply", "plan.json"],
        ["search", "gardens"],
        ["status"],
        ["history"],
        ["state", "list"],
        ["state", "show", "docs/new.md"],
        ["state", "backup"],
    ]
    for command in commands:
        answer = applied.ok(*command)
        assert answer.out == "", command
        assert answer.err, command
        assert not CONTROLS.search(answer.err), command  # nor colours: this is no terminal


def test_an_error_in_a_json_command_leaves_stdout_empty(prompt: Prompt) -> None:
    prompt.docs.rename(prompt.folder / "gone")
    answer = prompt("plan", "--format", "json")
    assert (answer.code, answer.out) == (1, "")
    assert prompt("search", "x", "--format", "json").out == ""


def test_a_refused_plan_is_still_printed_as_json_and_not_written(applied: Prompt) -> None:
    for path in applied.docs.iterdir():
        path.unlink()
    answer = applied("plan", "-o", "refused.json", "--format", "json")
    assert answer.code == 3
    assert answer.json["summary"]["delete"] == 12
    assert not (applied.folder / "refused.json").exists()


def on_a_terminal(prompt: Prompt, *arguments: str, env: dict[str, str] | None = None) -> str:
    """What a command shows on a terminal, controls included."""
    line = " ".join([*QLOADER, *arguments])
    done = subprocess.run(
        ["script", "-qec", line, "/dev/null"], capture_output=True, cwd=prompt.folder, timeout=300, env=env, check=False
    )
    return done.stdout.decode()


@pytest.fixture
def terminal_env(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    return {**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm-256color"}


@needs_script
def test_a_terminal_gets_colours_unless_no_color_is_set(prompt: Prompt, terminal_env: dict[str, str]) -> None:
    coloured = on_a_terminal(prompt, "plan", env=terminal_env)
    assert "\x1b[" in coloured
    assert "\x1b[1;31mError:" in on_a_terminal(prompt, "show", "nosuch", env=terminal_env)
    plain = on_a_terminal(prompt, "plan", env={**terminal_env, "NO_COLOR": "1"})
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", plain)
    assert "Error:" in (text := on_a_terminal(prompt, "show", "nosuch", env={**terminal_env, "NO_COLOR": "1"}))
    assert "\x1b" not in text


@needs_script
def test_apply_asks_on_a_terminal_and_takes_no_for_an_answer(prompt: Prompt) -> None:
    with subprocess.Popen(
        ["script", "-qec", " ".join([*QLOADER, "apply"]), "/dev/null"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=prompt.folder,
    ) as process:
        out, _ = process.communicate(b"n\n", timeout=300)
    assert b"Apply this plan? [y/N]:" in out
    assert b"Error: not applied" in out.replace(b"\x1b[1;31m", b"").replace(b"\x1b[0m", b"")
    assert process.returncode == 1
    assert prompt.ok("status").err.startswith("test: nothing has been applied yet")


@pytest.mark.parametrize("command", [["plan", "--format", "json"], ["show", "plan.json", "--format", "markdown"]])
def test_a_reader_who_has_seen_enough_is_no_error(prompt: Prompt, command: list[str]) -> None:
    prompt.ok("plan", "-o", "plan.json")
    with prompt.start(*command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()  # as `head -1` does, only sooner
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    assert process.returncode == 0


def test_an_apply_goes_on_when_nobody_reads_what_it_says(prompt: Prompt) -> None:
    with prompt.start("apply", "--auto-approve") as process:
        assert process.stderr is not None
        process.stderr.close()
    assert process.returncode == 0
    assert prompt.ok("status", "--format", "json").json["points"] == 12


def test_the_exit_code_is_that_of_the_work_also_where_nobody_reads(prompt: Prompt) -> None:
    with prompt.start("plan", "--detailed-exitcode") as process:
        assert process.stderr is not None
        process.stderr.close()
    assert process.returncode == 2


@pytest.mark.parametrize("closing", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(prompt: Prompt, closing: str) -> None:
    line = f"{' '.join(QLOADER)} apply --auto-approve {closing}"
    assert subprocess.run(["sh", "-c", line], cwd=prompt.folder, timeout=300, check=False).returncode == 0
    assert prompt.ok("status", "--format", "json").json["points"] == 12
    assert prompt.ok("plan", "--detailed-exitcode").code == 0  # no message went into a database


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the disk that is always full is Linux's")
def test_output_that_finds_a_full_disk_is_an_error_and_a_log_that_does_is_none(applied: Prompt) -> None:
    with open("/dev/full", "wb") as full:
        answer = applied.process(
            "status", "--format", "json", stdout=full, stderr=subprocess.PIPE, capture_output=False
        )
        assert answer.code == 1
        assert answer.err.startswith("Error: No space left on device\n")
        assert "Traceback" not in answer.err
        write(applied.docs, {"new.md": "new"})
        code = applied.process("apply", "--auto-approve", stderr=full, capture_output=False).code
    assert code == 0
    assert applied.ok("status", "--format", "json").json["points"] == 13


def test_json_is_utf_8_whatever_the_locale_and_the_terminal(applied: Prompt) -> None:
    write(applied.docs, {"ü ↔ 水.md": "# Wasser 水\n\nTief."})
    applied.load()
    answer = applied.process(
        "search", "Tief", "--format", "json", env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    )
    assert answer.json["hits"][0]["address"] == "docs/ü ↔ 水.md"


def test_debug_shows_where_an_error_came_from_and_its_exit_code_stays(applied: Prompt) -> None:
    for arguments in (["--debug", "show", "nosuch.json"], ["show", "nosuch.json", "--debug"]):
        answer = applied(*arguments)
        assert answer.code == 4
        assert "Traceback (most recent call last)" in answer.err
        assert answer.error == "Error: there is no plan at nosuch.json"
    assert "Traceback" not in applied("show", "nosuch.json").err
    assert "Traceback" not in applied("plan", "--nope", "--debug").err  # usage needs none
    assert applied("search", "--", "--debug").code == 0  # a query


def test_a_kill_leaves_no_word_of_a_running_apply(prompt: Prompt) -> None:
    write(prompt.docs, {f"more-{n}.md": f"# {n}\n\nmore {n}" for n in range(300)})
    prompt.ok("plan", "-o", "plan.json")
    with start_held(prompt.folder, COMMIT, "2", "apply", "plan.json") as process:
        until_it_holds(process)
        assert "An apply is running" in prompt.ok("status").err
        process.kill()
    status = prompt.ok("status")
    assert "An apply is running" not in status.err
    run = prompt.ok("history", "--format", "json").json["runs"][0]
    assert (run["status"], run["error"]) == ("failed", "interrupted")


@pytest.mark.parametrize(
    ("error", "words"),
    [(MemoryError(), ""), (RuntimeError("can't start new thread"), " (can't start new thread)")],
)
def test_a_process_without_memory_says_so_and_is_no_bug(
    prompt: Prompt, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def have_none(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("qloader.applying.executor.Lookahead", have_none)
    answer = prompt("ingest")
    assert (answer.code, answer.error) == (1, f"Error: there is no memory left for this process{words}")
    assert answer.remedy.startswith("What was committed is kept. Give it more memory")
    assert explain(error) == (answer.error.removeprefix("Error: "), answer.remedy.strip())
    monkeypatch.undo()
