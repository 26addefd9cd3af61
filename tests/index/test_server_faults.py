"""Whole applies through a network that fails: every request may be lost, refused or answered into the void.

The proxy of support/faulty_proxy.py stands before the server. Nothing here waits for real: the waits between
two tries are written down instead.
"""

from __future__ import annotations

import contextlib
import email.utils
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from qloader import Workspace
from qloader.errors import ForeignIndexError, IndexUnavailableError, QloaderError
from qloader.index.server_errors import Trouble, understand
from qloader.planning.planfile import FilePlan
from qloader.retrying import JITTER, LONGEST_WAIT, RetryPolicy
from qloader.workspace.settings import Settings
from support.faulty_proxy import (
    DROPPED_AFTER,
    DROPPED_BEFORE,
    HALF_ANSWERED,
    RESET_AFTER,
    RESET_BEFORE,
    Fault,
    FaultyProxy,
    refusal,
    standing_before,
)
from support.qdrant_loopback import StandIn, serving
from support.workspaces import assert_index_is_a_fresh_load, make_workspace, plan_and_apply, replace_all

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

TEXT = "\n\n".join(f"Paragraph {n} is about {w} at some length. {'It goes on. ' * 10}" for n, w in enumerate("abcd"))
BEFORE = {
    "edited.md": f"# Edited\n\n{TEXT}\n\nThe old end.",
    "gone.md": "# Gone\n\nThis one will be deleted.",
    "moved.md": f"# Moved\n\n{TEXT}",
    "same.md": "# Same\n\nThis one stays.",
}
AFTER = {
    "edited.md": f"# Edited\n\n{TEXT}\n\nA new end, and a better one.",
    "elsewhere/moved.md": f"# Moved\n\n{TEXT}",
    "new.md": "# New\n\nThis one is new.",
    "same.md": "# Same\n\nThis one stays.",
}
ONE_BY_ONE = {f"{n}.md": f"# Page {n}\n\nThere is little on it." for n in range(4)}

PASSING = [
    DROPPED_BEFORE,
    RESET_BEFORE,
    DROPPED_AFTER,
    RESET_AFTER,
    HALF_ANSWERED,
    refusal(429),
    refusal(429, "Too many requests", retry_after="2"),
    refusal(408, "Timeout"),
    refusal(500, "Service internal error"),
    refusal(500, "Service internal error", reaches=True),
    refusal(502),
    refusal(503),
    refusal(503, retry_after="2"),
    refusal(504, reaches=True),
]


@dataclass
class Stage:
    """A workspace whose index is behind a proxy.

    Attributes:
        workspace: The workspace.
        proxy: What stands between it and the server.
        waits: The waits between two tries, in seconds; jitter is left out.
    """

    workspace: Workspace
    proxy: FaultyProxy
    waits: list[float]

    def write(self, files: dict[str, str]) -> None:
        folder = self.workspace.settings.config.base / "docs"
        replace_all(folder, files)
        for path in folder.rglob("*.md"):  # so that a file whose text stays is the same file
            os.utime(path, (1_700_000_000, 1_700_000_000))

    def plan(self) -> FilePlan:
        return self.workspace.plan(self.workspace.settings.config.base / "plan.json").plan

    def configure(self, **batch: Any) -> None:
        """Changes `ingestion.batch`."""
        file = self.workspace.settings.config.file
        settings = ", ".join(f"{name}: {value}" for name, value in batch.items())
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("batch: {size: 2}", f"batch: {{{settings}}}"), encoding="utf-8")
        self.workspace = Workspace.open(file)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    waits: list[float] = []
    told = Settings.retries.fget
    assert told is not None
    unhurried = property(lambda self: replace(told(self), sleep=waits.append, chance=lambda: 0.0))
    monkeypatch.setattr(Settings, "retries", unhurried)
    with serving(StandIn().respond) as server, standing_before(server) as proxy:
        stage = Stage(make_workspace(tmp_path, url=proxy.url), proxy, waits)
        stage.write(BEFORE)
        yield stage


# What passes


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_an_apply_whose_every_request_fails_once_does_what_an_undisturbed_one_does(stage: Stage, fault: Fault) -> None:
    for files in (BEFORE, AFTER):
        stage.write(files)
        plan = stage.plan()
        stage.proxy.seen.clear()
        stage.waits.clear()
        stage.proxy.break_requests("", [fault, Fault()] * 100)
        result = stage.workspace.apply(plan)
        stage.proxy.mend()
        assert result.is_complete
        assert_asked_twice(stage)
        assert_index_is_a_fresh_load(stage.workspace)
    assert stage.workspace.refresh(deep=True).points == ()


def assert_asked_twice(stage: Stage) -> None:
    """Each request was sent once more, and there was one wait before it."""
    asked = [(seen.method, seen.path, seen.size) for seen in stage.proxy.seen]
    assert asked[::2] == asked[1::2]
    assert len(stage.waits) == len(asked) / 2
    assert len(stage.proxy.writes()) >= 4


@pytest.mark.parametrize("fault", [DROPPED_AFTER, HALF_ANSWERED, refusal(500, reaches=True)], ids=str)
@pytest.mark.parametrize("write", ["PUT .*/points$", "POST .*/points/batch$", "POST .*/points/delete$"])
def test_a_write_that_was_done_and_not_acknowledged_is_done_again_without_a_duplicate(
    stage: Stage, write: str, fault: Fault
) -> None:
    plan_and_apply(stage.workspace)
    stage.write(AFTER)
    plan = stage.plan()
    stage.proxy.seen.clear()
    stage.proxy.break_requests(write, [fault] * 3)
    stage.workspace.apply(plan)
    broken = [seen for seen in stage.proxy.seen if seen.fault]
    assert len(broken) == 3
    assert len({(seen.path, seen.size) for seen in broken}) == 1
    assert stage.waits == [1.0, 2.0, 4.0]
    assert_index_is_a_fresh_load(stage.workspace)


def test_a_server_that_answers_too_late_is_asked_again_after_the_batch_s_timeout(stage: Stage) -> None:
    stage.configure(size=2, timeout="300ms", retry_attempts=100)
    stage.proxy.break_requests("PUT .*/points$", [Fault(delay=1.0)])
    plan_and_apply(stage.workspace)
    # On a busy machine another request may be late too: each is asked again after a second, at first.
    assert stage.waits
    assert stage.waits[0] == 1.0
    late = [place for place, seen in enumerate(stage.proxy.seen) if seen.fault]
    assert [seen.size for seen in stage.proxy.seen].count(stage.proxy.seen[late[0]].size) > 1
    assert_index_is_a_fresh_load(stage.workspace)


def test_a_request_that_the_server_gets_after_its_repeat_changes_nothing(stage: Stage) -> None:
    stage.configure(size=10, timeout="300ms", retry_attempts=100)
    stage.proxy.break_requests("PUT .*/points$", [Fault(delay=1.0)])
    plan_and_apply(stage.workspace)
    late = [seen for seen in stage.proxy.writes() if seen.fault]
    assert len(late) == 1
    stage.proxy.wait_for_late_ones()
    assert_index_is_a_fresh_load(stage.workspace)


def test_a_timeout_of_the_batch_does_not_bind_a_search(stage: Stage) -> None:
    plan_and_apply(stage.workspace)
    stage.configure(size=2, timeout="50ms")
    stage.proxy.break_requests("query", [Fault(delay=0.2)])
    assert stage.workspace.search("little page stays")


# What does not pass


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        (refusal(400, "Wrong input: no such thing"), "1.16"),
        (refusal(401, "Invalid API key"), "index.api_key"),
        (refusal(403, "Forbidden"), "index.api_key"),
        (refusal(404), "index.url"),
        (refusal(404, "Not found: Collection `test` doesn't exist!"), "index.collection"),
        (refusal(501), "log"),
    ],
    ids=str,
)
def test_a_refusal_is_not_asked_for_twice(stage: Stage, fault: Fault, remedy: str) -> None:
    stage.proxy.break_requests("PUT .*/points$", [fault] * 10)
    with pytest.raises((IndexUnavailableError, ForeignIndexError)) as raised:
        plan_and_apply(stage.workspace)
    assert remedy in raised.value.remedy
    assert "in a row" not in str(raised.value)
    assert len(stage.proxy.writes()) == 1
    assert stage.waits == []


@pytest.mark.parametrize("fault", [RESET_BEFORE, DROPPED_AFTER, refusal(503), refusal(429, "Too many")], ids=str)
def test_after_the_last_try_the_run_ends_at_a_batch_edge_and_the_same_plan_goes_on(stage: Stage, fault: Fault) -> None:
    stage.write(ONE_BY_ONE)
    plan = stage.plan()
    stage.proxy.break_requests("PUT .*/points$", [fault] * 1000, passing=1)
    with pytest.raises(QloaderError, match="4 times in a row") as raised:
        stage.workspace.apply(plan)
    assert raised.value.exit_code == 1
    assert "run the same command again: what was done is kept" in raised.value.remedy
    assert stage.waits == [1.0, 2.0, 4.0]
    assert [seen.fault for seen in stage.proxy.writes()] == [None, *[fault] * 4]
    assert [d.id for d in stage.workspace.documents()] == ["0.md", "1.md"]
    (run,) = stage.workspace.history()
    assert (run.status, "4 times in a row" in str(run.error)) == ("failed", True)

    stage.proxy.mend()
    result = stage.workspace.apply(plan)
    assert (result.created, result.already) == (2, 2)
    assert_index_is_a_fresh_load(stage.workspace)


def test_a_server_that_is_not_there_is_asked_as_often_as_the_config_says(stage: Stage) -> None:
    stage.configure(size=2, retry_attempts=5, retry_delay="100ms")
    stage.proxy.break_requests("", [RESET_BEFORE] * 1000)
    with pytest.raises(IndexUnavailableError, match="6 times in a row"):
        plan_and_apply(stage.workspace)
    assert stage.waits == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert len(stage.proxy.seen) == 6


def test_no_retries_are_none(stage: Stage) -> None:
    stage.configure(size=2, retry_attempts=0)
    stage.proxy.break_requests("PUT .*/points$", [refusal(503)])
    with pytest.raises(IndexUnavailableError):
        plan_and_apply(stage.workspace)
    assert stage.waits == []


def test_a_person_who_waits_for_one_answer_is_told_at_once(stage: Stage) -> None:
    plan_and_apply(stage.workspace)
    stage.proxy.seen.clear()
    stage.proxy.break_requests("", [refusal(503)] * 10)
    with pytest.raises(IndexUnavailableError):
        stage.workspace.search("page")
    assert len(stage.proxy.seen) == 1


def test_a_refresh_goes_on_after_a_page_that_was_lost(stage: Stage) -> None:
    plan_and_apply(stage.workspace)
    stage.proxy.break_requests("scroll", [RESET_AFTER, HALF_ANSWERED])
    assert stage.workspace.refresh().points == ()
    assert stage.waits == [1.0, 2.0]


# Waiting


@pytest.mark.parametrize(
    ("status", "said", "waited"),
    [
        (429, "7", 7.0),
        (503, "7", 7.0),
        (429, "0", 1.0),
        (503, "3600", LONGEST_WAIT),
        (429, "9" * 400, LONGEST_WAIT),
        (503, email.utils.format_datetime(email.utils.parsedate_to_datetime("Sun, 06 Nov 1994 08:49:37 GMT")), 1.0),
        (429, email.utils.format_datetime(email.utils.parsedate_to_datetime("Fri, 31 Dec 9998 23:59:59 GMT")), 60.0),
        (503, "soon", 1.0),
        (429, "soon", 1.0),
        (503, "-5", 1.0),
        (503, "", 1.0),
    ],
)
def test_a_server_that_says_how_long_is_waited_for(stage: Stage, status: int, said: str, waited: float) -> None:
    stage.proxy.break_requests("PUT .*/points$", [refusal(status, retry_after=said)])
    plan_and_apply(stage.workspace)
    assert stage.waits == [waited]


def test_a_date_is_counted_from_now() -> None:
    policy = RetryPolicy(clock=lambda: 784111777.0 - 12, delay=0)
    for date in ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 09:49:37 +0100", "Sun, 06 Nov 1994 08:49:37 -0000"):
        assert policy.wait(1, date) == 12.0


def test_waits_grow_twofold_up_to_the_longest() -> None:
    policy = RetryPolicy(delay=1.5, chance=lambda: 0.0)
    assert [policy.wait(n) for n in range(1, 9)] == [1.5, 3.0, 6.0, 12.0, 24.0, 48.0, 60.0, 60.0]
    assert policy.wait(100) == LONGEST_WAIT


def test_chance_makes_a_wait_longer_and_never_shorter() -> None:
    policy = RetryPolicy(delay=4.0)
    waits = [policy.wait(1) for _ in range(200)]
    assert min(waits) >= 4.0
    assert max(waits) <= 4.0 * (1 + JITTER)
    assert len(set(waits)) > 100


def test_a_delay_that_somebody_chose_is_kept_however_long() -> None:
    policy = RetryPolicy(delay=600.0, chance=lambda: 0.5)
    assert [policy.wait(1), policy.wait(3), policy.wait(1, "3600")] == [600.0] * 3


def test_no_delay_is_none() -> None:
    assert RetryPolicy(delay=0.0).wait(50) == 0.0


# What is too large


def test_a_request_that_is_too_large_is_sent_in_parts(stage: Stage) -> None:
    stage.configure(size=50)
    stage.write({f"{n}.md": f"# Page {n}\n\n{TEXT}" for n in range(12)})
    stage.proxy.largest = 20_000
    plan_and_apply(stage.workspace)
    assert stage.waits == []
    assert_index_is_a_fresh_load(stage.workspace)
    refused = [seen for seen in stage.proxy.writes() if seen.fault]
    taken = [seen for seen in stage.proxy.writes() if not seen.fault]
    assert refused
    assert len(taken) > 1
    assert max(seen.size for seen in taken) <= 20_000

    # The lesson is kept as long as the index is open: here for the second batch of a run.
    stage.configure(size=6)
    stage.write({f"{n}.md": f"# Page {n}, changed\n\n{TEXT}" for n in range(12)})
    stage.proxy.seen.clear()
    plan_and_apply(stage.workspace)
    by_batch = Counter(seen.fault is not None for seen in stage.proxy.writes())
    assert by_batch[True] <= len(refused)
    assert_index_is_a_fresh_load(stage.workspace)


@pytest.mark.parametrize(
    "fault",
    [
        refusal(413),
        refusal(400, "JSON payload (50 bytes) is larger than allowed (limit: 20 bytes)."),
        refusal(
            400, 'Limit exceeded 9 > 5 for "upsert limit". Help: Reduce the "upsert limit" parameter to or below 5.'
        ),
        refusal(429, "Write rate limit exceeded, request larger than rate limiter capacity, please try to split it"),
    ],
    ids=["413", "JSON", "strict mode", "rate limit"],
)
@pytest.mark.parametrize("write", ["PUT .*/points$", "POST .*/points/batch$", "POST .*/points/delete$"])
def test_whatever_the_server_calls_too_large_is_sent_in_halves(stage: Stage, write: str, fault: Fault) -> None:
    fault = replace(fault, body=fault.body.replace("split it", "split your request"))
    stage.configure(size=50)
    plan_and_apply(stage.workspace)
    stage.write(AFTER)
    plan = stage.plan()
    stage.proxy.seen.clear()
    stage.proxy.break_requests(write, [fault, fault])
    stage.workspace.apply(plan)
    assert stage.waits == []
    broken = [seen.size for seen in stage.proxy.seen if seen.fault]
    assert len(broken) == 2
    assert broken[1] < broken[0]
    assert_index_is_a_fresh_load(stage.workspace)


def test_a_single_point_that_is_too_large_is_an_error_that_says_what_to_change(stage: Stage) -> None:
    stage.proxy.largest = 300
    with pytest.raises(IndexUnavailableError, match="larger than the server takes") as raised:
        plan_and_apply(stage.workspace)
    assert "chunking.max_chars" in raised.value.remedy
    assert stage.waits == []


# gRPC


class Status(grpc.RpcError):  # type: ignore[misc]
    def __init__(self, code: grpc.StatusCode, details: str = "") -> None:
        self.code = lambda: code
        self.details = lambda: details


@pytest.mark.parametrize(
    ("code", "details", "trouble", "may_pass"),
    [
        ("UNAVAILABLE", "Connection refused", Trouble.UNREACHABLE, True),
        ("UNAVAILABLE", "Ssl handshake failed: SSL_ERROR_SSL", Trouble.TLS, False),
        ("DEADLINE_EXCEEDED", "", Trouble.SLOW, True),
        ("RESOURCE_EXHAUSTED", "Rate limited", Trouble.BUSY, True),
        ("RESOURCE_EXHAUSTED", "please try to split your request", Trouble.LARGE, False),
        ("INTERNAL", "Service internal error", Trouble.FAILED, True),
        ("OUT_OF_RANGE", "Error, decoded message length too large: found 9 bytes", Trouble.LARGE, False),
        ("INVALID_ARGUMENT", 'Limit exceeded 9 > 5 for "upsert limit"', Trouble.LARGE, False),
        ("INVALID_ARGUMENT", "Wrong input", Trouble.REFUSED, False),
        ("UNAUTHENTICATED", "", Trouble.KEY, False),
        ("PERMISSION_DENIED", "", Trouble.KEY, False),
        ("NOT_FOUND", "", Trouble.GONE, False),
    ],
)
def test_a_status_of_grpc_may_pass_or_not(code: str, details: str, trouble: Trouble, may_pass: bool) -> None:
    failure = understand(Status(grpc.StatusCode[code], details))
    assert failure is not None
    assert (failure.trouble, failure.may_pass) == (trouble, may_pass)


def test_the_proxy_itself_passes_on_what_it_is_given(stage: Stage) -> None:
    plan_and_apply(stage.workspace)
    assert_index_is_a_fresh_load(stage.workspace)
    assert {seen.fault for seen in stage.proxy.seen} == {None}
    with contextlib.closing(stage.workspace.settings.open_index()) as index:
        assert index.describe() is not None
