"""When which source is looked at: an agenda that is told the time, so that hours pass in no time."""

from __future__ import annotations

from qloader.watching.agenda import FIRST_RETRY, LONGEST_RETRY, OVERLAP, Agenda, Look, Pace
from qloader.watching.moments import Moment

PACE = Pace(debounce=2, interval=300, full_every=86_400)


class Clock:
    """Two clocks that a test turns."""

    def __init__(self) -> None:
        self.steady, self.wall = 1_000.0, 1_800_000_000.0

    def go(self, seconds: float) -> Moment:
        """Lets time pass."""
        self.steady += seconds
        self.wall += seconds
        return self.now

    @property
    def now(self) -> Moment:
        """The time."""
        return Moment(self.steady, self.wall)


def make(**habits: str) -> tuple[Agenda, Clock]:
    clock = Clock()
    return Agenda(habits, PACE, clock.steady, chance=lambda: 0.0), clock  # type: ignore[arg-type]


def carry_out(agenda: Agenda, clock: Clock, *, took: float = 0, left: tuple[str, ...] = ()) -> list[Look]:
    """Does all that is due, with success."""
    looks = agenda.due(clock.now)
    for look in looks:
        started = clock.now
        agenda.begin(look)
        clock.go(took)
        agenda.went_well(look, started, is_complete=set(look.sources) - set(left))
    return looks


def test_everything_is_looked_at_whole_when_the_service_begins() -> None:
    agenda, clock = make(docs="whole", wiki="changes", site="seldom")
    assert agenda.due(clock.now) == [Look(("docs", "wiki", "site"))]


def test_then_each_once_an_interval_and_a_site_once_a_day() -> None:
    agenda, clock = make(docs="whole", wiki="changes", site="seldom")
    carry_out(agenda, clock)
    assert agenda.wait(clock.steady) == 300
    assert agenda.due(clock.go(299)) == []
    clock.go(1)
    assert carry_out(agenda, clock) == [Look(("docs",)), Look(("wiki",), 300 + OVERLAP)]
    for _ in range(287 - 1):
        clock.go(300)
        assert carry_out(agenda, clock) == [Look(("docs",)), Look(("wiki",), 300 + OVERLAP)]
    clock.go(300)
    assert carry_out(agenda, clock) == [Look(("docs", "wiki", "site"))]


def test_a_burst_of_notices_is_one_look_when_it_is_quiet() -> None:
    agenda, clock = make(docs="whole", other="whole")
    carry_out(agenda, clock)
    first = clock.go(10).steady
    for _ in range(5):
        agenda.notice("docs", first, clock.go(1).steady)
        assert agenda.due(clock.now) == []
    assert agenda.wait(clock.steady) == 2
    clock.go(2)
    assert carry_out(agenda, clock) == [Look(("docs",))]
    assert agenda.due(clock.go(2)) == []


def test_a_source_that_never_is_quiet_is_looked_at_all_the_same() -> None:
    agenda, clock = make(docs="whole")
    carry_out(agenda, clock)
    first = clock.go(10).steady
    waited = 0
    while not agenda.due(clock.now):
        agenda.notice("docs", first, clock.go(1).steady)
        waited += 1
    assert waited == 20


def test_what_is_told_during_a_look_starts_the_next() -> None:
    agenda, clock = make(docs="whole")
    look = agenda.due(clock.now)[0]
    started = clock.now
    agenda.begin(look)
    agenda.notice("docs", clock.go(1).steady, clock.steady)
    clock.go(60)
    agenda.went_well(look, started, is_complete=["docs"])
    assert agenda.due(clock.now) == [Look(("docs",))]


def test_a_told_delete_has_the_source_listed_whole() -> None:
    agenda, clock = make(wiki="changes")
    carry_out(agenda, clock)
    agenda.notice("wiki", clock.go(10).steady, clock.steady, is_whole=True)
    clock.go(2)
    assert carry_out(agenda, clock) == [Look(("wiki",))]
    agenda.notice("wiki", clock.go(10).steady, clock.steady)
    clock.go(2)
    assert carry_out(agenda, clock) == [Look(("wiki",), 12 + OVERLAP)]


def test_what_was_left_out_is_asked_for_again_in_the_same_way() -> None:
    agenda, clock = make(wiki="changes")
    carry_out(agenda, clock, left=("wiki",))
    clock.go(300)
    assert carry_out(agenda, clock) == [Look(("wiki",))]
    clock.go(300)
    carry_out(agenda, clock, left=("wiki",))
    clock.go(300)
    assert carry_out(agenda, clock) == [Look(("wiki",), 600 + OVERLAP)]
    clock.go(300)
    assert carry_out(agenda, clock) == [Look(("wiki",), 300 + OVERLAP)]


def test_a_failure_is_tried_again_later_each_time_by_itself_and_as_it_was_to_be() -> None:
    agenda, clock = make(docs="whole", wiki="changes")
    look = agenda.due(clock.now)[0]
    agenda.begin(look)
    docs, wiki = agenda.split(look)
    agenda.went_well(docs, clock.now, is_complete=["docs"])
    waits = []
    for _ in range(10):
        waits.append(agenda.failed(wiki, clock.steady))
        assert agenda.due(clock.go(waits[-1] - 0.5)) in ([], [Look(("docs",))])
        clock.go(0.5)
        carried = [look for look in agenda.due(clock.now) if "wiki" in look.sources]
        assert carried == [Look(("wiki",))]
    assert waits[:3] == [FIRST_RETRY, 2 * FIRST_RETRY, 4 * FIRST_RETRY]
    assert waits[-1] == min(LONGEST_RETRY, PACE.interval)
    carry_out(agenda, clock)
    clock.go(300)
    assert carry_out(agenda, clock) == [Look(("docs",)), Look(("wiki",), 300 + OVERLAP)]


def test_notices_do_not_hasten_what_failed() -> None:
    agenda, clock = make(wiki="changes")
    agenda.failed(agenda.due(clock.now)[0], clock.steady)
    for _ in range(40):
        agenda.notice("wiki", clock.steady, clock.steady)
        assert agenda.due(clock.now) == []
        clock.go(0.1)


def test_services_that_failed_together_do_not_come_back_together() -> None:
    waits = set()
    for chance in (0.0, 0.25, 0.5, 0.99):
        agenda = Agenda({"wiki": "whole"}, PACE, 0, chance=lambda chance=chance: chance)  # type: ignore[misc]
        waits.add(agenda.failed(Look(("wiki",)), 0))
    assert len(waits) == 4
    assert all(FIRST_RETRY / 2 <= wait <= FIRST_RETRY for wait in waits)


def test_a_refused_source_is_looked_at_less_and_less_and_at_once_where_it_changes() -> None:
    agenda, clock = make(docs="whole")
    carry_out(agenda, clock)
    for wait in (300, 600, 1200):
        clock.go(agenda.wait(clock.steady))
        look = agenda.due(clock.now)[0]
        agenda.begin(look)
        agenda.refused(look, clock.steady)
        assert agenda.wait(clock.steady) == wait
    agenda.notice("docs", clock.steady, clock.steady)
    clock.go(2)
    assert carry_out(agenda, clock) == [Look(("docs",))]
    assert agenda.wait(clock.steady) == 300


def test_what_was_refused_as_a_whole_does_not_pass_as_changes() -> None:
    agenda, clock = make(wiki="changes")
    carry_out(agenda, clock)
    agenda.notice("wiki", clock.steady, clock.steady, is_whole=True)
    clock.go(2)
    look = agenda.due(clock.now)[0]
    agenda.begin(look)
    agenda.refused(look, clock.steady)
    clock.go(300)
    assert agenda.due(clock.now) == [Look(("wiki",))]


def test_a_clock_that_is_set_and_a_machine_that_slept_miss_nothing_and_hasten_nothing() -> None:
    agenda, clock = make(wiki="changes")
    carry_out(agenda, clock)
    clock.wall -= 40 * 86_400  # set back by far
    assert agenda.due(clock.go(299)) == []
    clock.go(1)
    assert carry_out(agenda, clock) == [Look(("wiki",), 300 + OVERLAP)]
    clock.wall += 8 * 3600  # slept, or set forward: the longer time is asked for, no look comes sooner
    assert agenda.due(clock.go(299)) == []
    clock.go(1)
    assert carry_out(agenda, clock) == [Look(("wiki",), 300 + 8 * 3600 + OVERLAP)]
