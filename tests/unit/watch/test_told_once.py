"""From totals to who is told: every step of an escalation once, one page for a problem whatever becomes of its period."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from streams.catalog.alerting import Silence
from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget
from streams.catalog.models import Catalog
from streams.catalog.routes import Escalation, Route, route
from streams.watch.alerts import Cause
from streams.watch.kept import MemoryTracks
from streams.watch.periods import MINUTE_MS
from streams.watch.scopes import key_of
from streams.watch.state import WatchState
from streams.watch.windows import Delta

START = 1_790_000_000_000 // 86_400_000 * 1440  # minute of a midnight
KEY = key_of("team-day", "acme", [("team", "a")])
ROUTE = Route(
    id="r",
    endpoints=("chat",),
    escalate=(Escalation(after="10m", endpoints=("lead",)), Escalation(after="30m", endpoints=("manager",))),
)


def catalog(every: str = "day", **more: Any) -> Catalog:
    budget = Budget(id="team-day", each=("team",), limit=Decimal(10), period=Calendar(every=every), thresholds=(1,))
    return Catalog(budgets=(budget,), routes=(ROUTE,), **more)


def row(minute: int, cost: str) -> Delta:
    at = (START + minute) * MINUTE_MS
    return Delta(KEY, at - at % 900_000, "USD", 1, 10, 0, 0, Decimal(cost), at, at)


def cause(at: int = 0) -> Cause:
    return Cause(0, at, "s", 0, at)


def silence(begin: int, end: int) -> Silence:
    starts, ends = (datetime.fromtimestamp((START + m) * 60, UTC) for m in (begin, end))
    return Silence(id="s", starts=starts, ends=ends, reason="deploy")


@pytest.mark.parametrize(
    ("silences", "looks", "told"),
    [
        ((), range(1, 60), [(11, "lead"), (31, "manager")]),  # the clock is a millisecond after the first event
        ((), [40], [(40, "lead"), (40, "manager")]),  # the watch was down
        ((silence(5, 65),), range(1, 100), [(71, "lead"), (91, "manager")]),
        ((silence(2, 8),), [10, 15, 17, 37], [(17, "lead"), (37, "manager")]),
        ((silence(5, 25),), [40, 55], [(40, "lead"), (55, "manager")]),
    ],
)
def test_every_step_of_an_escalation_is_told_and_silence_delays_it(
    silences: tuple[Silence, ...], looks: Any, told: list[tuple[int, str]]
) -> None:
    state = WatchState(MemoryTracks())
    state.adopt(1, catalog(silences=silences))
    state.take([row(0, "11")], cause())

    found = [(m, a) for m in looks for a in state.tick((START + m) * MINUTE_MS, cause()).alerts]

    assert [(m, *e) for m, a in found for _, e in route(a, [ROUTE])] == told


def test_an_alert_whose_period_became_a_day_outlives_a_late_event_of_yesterday() -> None:
    #  month   [---------------- 11 of 10 ----- ...
    #  day                  [ 3 )[ 11 )
    #  late                    ^ 0.5
    state = WatchState(MemoryTracks())
    state.adopt(1, catalog("month"))
    first = state.take([row(600, "11")], cause()).alerts
    state.adopt(2, catalog("day"))
    state.fill([row(600, "11"), row(-300, "3")])

    later = state.tick((START + 700) * MINUTE_MS, cause()).alerts
    later += state.take([row(-200, "0.5")], cause()).alerts
    later += state.tick((START + 720) * MINUTE_MS, cause()).alerts
    over = state.tick((START + 1440) * MINUTE_MS, cause()).alerts

    assert [a["reason"] for a in first] == ["crossed"]
    assert [a["reason"] for a in later if a["reason"] != "escalated"] == []
    assert [(a["alert_id"], a["reason"]) for a in over] == [(first[0]["alert_id"], "period_ended")]
    assert state.take([row(1450, "0"), row(1430, "1")], cause()).alerts == []  # told in its period, and over with it
