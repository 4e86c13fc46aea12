"""Judges and the state machine of alerts together: one page for one problem, from the first event to the end."""

from decimal import Decimal
from typing import Any

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, BurnRate, BurnWindow, RunLimits
from streams.watch.conditions import Stretch
from streams.watch.enforcement import Enforced, enforce
from streams.watch.judge import judge, verdict_of
from streams.watch.machine import Why, advance
from streams.watch.raised import Raised
from streams.watch.watched import Watched
from streams.watch.windows import Sums
from tests.support.judging import DAY, HOUR, month, ms, of, spent

START, KEY = ms("2026-11-27T10:00"), "agent|tenant_id=acme|run_id=r-1"


class Watch:
    """A scope that is looked at; `told` are its alerts' transitions, `verdicts` what was enforced."""

    def __init__(self, known: Watched, key: str = KEY) -> None:
        self.known, self.key = known, key
        self.raised: dict[str, Raised] = {}
        self.enforced = Enforced()
        self.told = list[tuple[str, str, str]]()
        self.verdicts = list[tuple[str, str | None]]()

    def look(
        self, stretches: dict[str, Stretch], clock: int, *past: Stretch, extra: int = 0, why: Why = "usage"
    ) -> None:
        conditions = judge(self.known, stretches, past, clock, Decimal(extra), self.key)
        changes = advance(self.raised, conditions, clock, self.known.rule, self.key, why=why)
        self.told += [(c.raised.name, c.raised.state, c.reason) for c in changes]
        standing = verdict_of(self.known, stretches, clock, Decimal(extra), self.key)
        self.enforced, record = enforce(self.enforced, self.known, self.key, standing, clock, clock)
        self.verdicts += [(record["verdict"], record["stop_reason"])] if record else []


def alive(sums: Sums, idle: int = HOUR) -> dict[str, Stretch]:
    return {"period": Stretch(sums.first_ms, sums.last_ms + idle, sums)}


def test_a_runaway_agent_is_one_page_and_a_stop_and_resolves_when_it_ends() -> None:
    watch = Watch(of(RunLimits(id="agent", iterations=200, cost="5", repeats=5)))

    for second, cost in enumerate(("1", "3.5", "6", "8", "9")):
        at = START + second * 1_000
        watch.look(alive(Sums(events=second * 9, cost=Decimal(cost), first_ms=START, last_ms=at)), at + 1)
    over = START + 4_000 + HOUR
    watch.look({"period": Stretch(over, over, Sums())}, over)

    assert watch.told == [("cost", "firing", "crossed"), ("cost", "resolved", "period_ended")]
    assert watch.verdicts == [("stop", "cost"), ("allow", None)]


def test_an_agent_in_a_loop_is_warned_of_and_then_stopped_by_its_repeats() -> None:
    watch = Watch(of(RunLimits(id="agent", repeats=5)))

    for n in range(1, 8):
        sums = Sums(events=n, first_ms=START, last_ms=START + n, extras={"tool:search:0123456789abcdef": n})
        watch.look(alive(sums), START + n + 1)

    assert watch.told == [("warn", "firing", "crossed"), ("repeats", "firing", "crossed")]
    assert watch.verdicts == [("warn", "repeats"), ("stop", "repeats")]


def budget(**other: Any) -> Watched:
    return of(Budget.model_validate({"id": "b", "limit": "40", "period": Calendar(every="month")} | other))


def test_a_threshold_alerts_once_in_its_period_and_ends_with_it() -> None:
    watch, november = Watch(budget(), "b|tenant_id=acme"), ms("2026-11-10")

    for used in (31, 33, 35, 41):
        watch.look(month(spent(used)), november)
    watch.look(month(Sums(), "2026-12-01", "2027-01-01"), ms("2026-12-01") + 1)

    assert watch.told == [
        ("0.8", "firing", "crossed"), ("1", "firing", "crossed"),
        ("0.8", "resolved", "period_ended"), ("1", "resolved", "period_ended"),
    ]  # fmt: skip
    assert watch.verdicts == [("warn", "limit"), ("stop", "limit"), ("allow", None)]


def test_what_late_events_add_to_a_period_that_was_told_of_pages_nobody_again() -> None:
    watch, december = Watch(budget(thresholds=("1",)), "b|tenant_id=acme"), ms("2026-12-01") + 1

    watch.look(month(spent(41)), ms("2026-11-10"))
    watch.look(month(Sums(), "2026-12-01", "2027-01-01"), december)
    november = Stretch(ms("2026-11-01"), ms("2026-12-01"), spent(99))
    watch.look(month(Sums(), "2026-12-01", "2027-01-01"), december + DAY, november)

    assert watch.told == [("1", "firing", "crossed"), ("1", "resolved", "period_ended")]


def test_a_correction_and_an_exception_take_a_threshold_back_and_say_so() -> None:
    watch, at = Watch(budget(thresholds=("1",)), "b|tenant_id=acme"), ms("2026-11-10")

    watch.look(month(spent(41)), at)
    watch.look(month(spent(39)), at + 1, why="correction")
    watch.look(month(spent(41)), at + 2)
    watch.look(month(spent(41)), at + 3, extra=5, why="command")

    assert [(state, reason) for _, state, reason in watch.told] == [
        ("firing", "crossed"), ("resolved", "correction"), ("firing", "crossed"), ("resolved", "limit_changed"),
    ]  # fmt: skip
    assert watch.verdicts == [("stop", "limit"), ("allow", None), ("stop", "limit"), ("allow", None)]


def test_a_burn_rate_fires_while_it_burns_and_resolves_when_the_short_window_is_calm() -> None:
    page = BurnWindow(long="1h", short="5m", share="0.02")
    known = of(
        Budget(id="b", limit="7200", period=Calendar(every="month")), BurnRate(id="fast", budget="b", windows=(page,))
    )
    watch, at = Watch(known, "fast|tenant_id=acme"), ms("2026-11-10")

    for minute, short in enumerate((13, 14, 5, 5, 13)):
        clock = at + minute * 60_000
        windows = {
            "1h": Stretch(clock - HOUR, clock, spent(150, events=50)), "5m": Stretch(clock - 300_000, clock, spent(short)),
        }  # fmt: skip
        watch.look(month(spent(500)) | windows, clock)

    assert watch.told == [
        ("1h/5m", "firing", "crossed"), ("1h/5m", "resolved", "cleared"), ("1h/5m", "firing", "crossed"),
    ]  # fmt: skip
    assert len(watch.raised) == 1  # the first episode is forgotten, the second has an id of its own
    assert watch.verdicts == []
