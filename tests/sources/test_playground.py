"""`make playground`, as a person starts it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from servers.playground import Playground
from support.git_builder import Builder

TESTS = Path(__file__).parents[1]


@pytest.fixture
def start(tmp_path):
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "servers.playground", "--folder", "play", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(TESTS), "HOME": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def qloader(folder, *arguments):
    done = subprocess.run([sys.executable, "-m", "qloader", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_once_plans_applies_and_searches_over_all_sources_twice(start):
    out, err = start("--once").communicate(timeout=300)
    sources = ("firmware", "helpdesk", "intranet", "manual", "notes", "tracker", "wiki")
    assert [name for name in sources if f"ok      source {name} " not in err] == []
    assert "Plan: 38 to create, 0 to update, 0 to move, 0 to delete (46 chunks to embed)." in err
    assert "Apply complete: 38 created, 0 updated, 0 moved, 0 deleted." in err
    assert out.count("(nothing to embed)") == 3
    assert "Apply complete: 2 created, 4 updated, 2 moved, 1 deleted." in err
    assert err.rstrip().endswith("No changes. The index matches the sources.")


def test_it_stays_open_lets_things_happen_and_ends_with_ctrl_c(start, tmp_path):
    process = start("--port", "0")
    printed = []
    while not printed or not printed[-1].startswith("Press Enter"):
        printed.append(process.stdout.readline())
        assert printed[-1], process.stderr.read()
    assert next(line.strip().partition(" ")[2] for line in printed if "qloader" in line) == "validate"
    assert qloader(tmp_path / "play", "ingest").rstrip().endswith("38 created, 0 updated, 0 moved, 0 deleted.")
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "wiki: the page Deploy a release was edited. Plan again.\n"
    assert "Plan: 0 to create, 1 to update, 0 to move, 0 to delete" in qloader(tmp_path / "play", "plan")
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 0
    assert "Traceback" not in process.stderr.read()


def test_a_second_start_keeps_notes_and_commits(tmp_path):
    addresses = dict.fromkeys(("wiki", "intranet", "tracker", "helpdesk", "manual"), "http://127.0.0.1:1")
    Playground(tmp_path).lay_out(addresses)
    (tmp_path / "notes" / "standup.md").write_text("# At ten now\n", encoding="utf-8")
    with Builder(tmp_path / "firmware") as builder:
        commit = builder.commit({"README.md": "# Another\n"})
    Playground(tmp_path).lay_out(addresses)
    assert (tmp_path / "notes" / "standup.md").read_text(encoding="utf-8") == "# At ten now\n"
    with Builder(tmp_path / "firmware") as builder:
        assert builder.repo.head().decode() == commit


def test_a_taken_port_is_said(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        out, _ = start("--port", str(taken.getsockname()[1])).communicate(timeout=300)
    assert "make playground PORT=9100" in out
