"""Progress is cheap, quiet where nothing takes long, and gone when it is over."""

from __future__ import annotations

import io
import subprocess
import sys
import threading

import pytest
from terminal import Terminal

from qloader.render.progress import Meter, NoProgress, Progress, TerminalProgress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_importing_it_does_not_import_rich() -> None:
    code = "import sys, qloader.render.progress; assert not any(name.startswith('rich') for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_phase_that_is_over_in_time_prints_nothing_and_leaves_no_thread() -> None:
    terminal, before = Terminal(), threading.active_count()
    progress: Progress = TerminalProgress(terminal, delay=3600)
    for total in (None, 10):
        with progress.phase("snapshot docs", total) as phase:
            phase.advance(10)
    assert terminal.getvalue() == ""
    assert threading.active_count() <= before + 2  # cancelled timers may still be ending


def test_a_phase_that_takes_long_shows_a_bar_and_clears_it() -> None:
    terminal = Terminal()
    with TerminalProgress(terminal, delay=0).phase("apply", 4000) as phase:
        phase.advance(1000)
        assert terminal.written.wait(300)
        while "1,000/4,000" not in terminal.getvalue():
            terminal.written.clear()
            assert terminal.written.wait(300)
    shown = terminal.getvalue()
    assert "apply" in shown
    assert "━" in shown
    assert shown.rstrip().endswith(("\x1b[2K", "\x1b[?25h"))


def test_a_total_that_nobody_knows_has_no_bar() -> None:
    terminal = Terminal()
    with TerminalProgress(terminal, delay=0).phase("snapshot docs\x1b", None) as phase:
        phase.advance(1234)
        while "1,234" not in terminal.getvalue():
            assert terminal.written.wait(300)
            terminal.written.clear()
    assert r"snapshot docs\x1b" in terminal.getvalue()
    assert "━" not in terminal.getvalue()


def test_the_bar_vanishes_when_the_work_fails() -> None:
    terminal = Terminal()
    with pytest.raises(RuntimeError), TerminalProgress(terminal, delay=0).phase("apply", 10):
        assert terminal.written.wait(300)
        raise RuntimeError
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h")


def test_what_is_said_on_stderr_meanwhile_is_seen_and_stdout_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, stdout = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", stdout)
    with TerminalProgress(delay=0).phase("apply", 10):
        assert terminal.written.wait(300)
        print("Stopping after this batch", file=sys.stderr)
        print("{}")
    assert "Stopping after this batch" in terminal.getvalue()
    assert stdout.getvalue() == "{}\n"
    assert sys.stderr is terminal


def test_any_thread_may_advance() -> None:
    meter = Meter("apply", 8000)
    threads = [threading.Thread(target=lambda: [meter.advance(1) for _ in range(1000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert meter.count == 8000


def test_rate_and_time_left_are_those_of_the_last_seconds() -> None:
    clock = Clock()
    meter = Meter("apply", 10_000, clock)
    for _ in range(60):
        clock.now += 1
        meter.advance(1)
        meter.read()
    for _ in range(20):
        clock.now += 1
        meter.advance(100)
        reading = meter.read()
    assert (reading.count, reading.elapsed) == (2060, 80)
    assert reading.rate == 100
    assert reading.left == pytest.approx(79.4)
    assert reading.describe() == "2,060/10,000  100 documents/s  1:20, 1:20 left"


def test_a_phase_that_has_done_nothing_yet_promises_nothing() -> None:
    clock = Clock()
    unknown, known = Meter("snapshot", None, clock), Meter("apply", 5, clock)
    clock.now += 3700
    assert unknown.read().describe() == "1:01:40"
    assert known.read().describe() == "0/5  1:01:40"
    assert known.read().left is None


def test_slow_work_shows_tenths() -> None:
    clock = Clock()
    meter = Meter("snapshot", None, clock)
    clock.now += 4
    meter.advance(2)
    assert meter.read().describe() == "2  0.5 documents/s  0:04"


def test_no_progress_tells_nobody() -> None:
    progress: Progress = NoProgress()
    with progress.phase("apply", 10) as phase:
        phase.advance(10)
