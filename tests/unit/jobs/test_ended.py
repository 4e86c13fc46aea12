"""Periods that have ended: what was used in them, and what the forecast would have said on the way."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, Lifetime, Rolling
from streams.jobs.ended import dimensions, ended, under_used, why_not
from streams.watch.scopes import key_of

FIRST = date(2026, 8, 3)  # a Monday
WEEK = Budget(id="week", each=("team",), limit=Decimal(100), period=Calendar(every="week", zone="Europe/Berlin"))


def rows(*costs: str, since: date = FIRST, team: str = "search", **other: Any) -> list[dict[str, Any]]:
    return [
        {"tenant_id": "acme", "values": [team], "day": f"{since + timedelta(days=i)}", "currency": "USD", "events": 1,
         "unpriced_events": 0, "tokens": 10, "cost": Decimal(cost)} | other
        for i, cost in enumerate(costs)
    ]  # fmt: skip


def at(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp() * 1000)


def test_a_week_is_the_sum_of_its_local_days_and_forecasts_are_those_of_its_midnights() -> None:
    found = ended(WEEK, rows(*["10"] * 21), FIRST + timedelta(days=7), at(FIRST + timedelta(days=21)))

    assert [one.used for one in found] == [70, 70]
    assert found[0].scope == key_of("week", "acme", [("team", "search")])
    assert datetime.fromtimestamp(found[0].start / 1000, UTC) == datetime(2026, 8, 9, 22, tzinfo=UTC)
    assert [(f"{s.gone}", round(s.outlook.mid, 6)) for s in found[0].said] == [("0.25", 70), ("0.5", 70), ("0.75", 70)]
    assert all(found[0].held(s) and abs(found[0].error(s) or 0) < 1e-9 for s in found[0].said)


def test_a_period_that_goes_on_is_not_there() -> None:
    found = ended(WEEK, rows(*["10"] * 21), FIRST, at(FIRST + timedelta(days=20)))

    assert len(found) == 2


def test_no_forecast_knows_what_came_after_it() -> None:
    cut = ended(WEEK, rows(*["10"] * 12, *["500"] * 2), FIRST + timedelta(days=7), at(FIRST + timedelta(days=14)))
    even = ended(WEEK, rows(*["10"] * 14), FIRST + timedelta(days=7), at(FIRST + timedelta(days=14)))

    assert cut[0].said == even[0].said
    assert cut[0].used == 1050


def test_other_tenants_values_and_currencies_are_not_counted() -> None:
    budget = WEEK.model_copy(update={"tenant": "acme", "where": {"team": "search"}, "each": ()})
    strange = [
        *rows(*["1"] * 14, team="ads"),
        *rows(*["1"] * 14, tenant_id="other"),
        *rows(*["1"] * 14, currency="EUR"),
    ]

    found = ended(budget, [*rows(*["10"] * 14), *strange], FIRST, at(FIRST + timedelta(days=14)))

    assert [(one.scope, one.used) for one in found] == [(key_of("week", "acme", []), Decimal(70))] * 2
    assert dimensions(budget) == ["team"]


def test_what_uses_a_tenth_of_its_limit_in_every_period_is_under_used() -> None:
    end = at(FIRST + timedelta(days=14))
    idle, busy, once = (
        ended(WEEK, rows(*costs), FIRST, end) for costs in (["1"] * 14, ["10"] * 14, [*["1"] * 7, *["10"] * 7])
    )

    assert [len(periods) for _, periods in under_used(idle)] == [2]
    assert under_used(busy) == under_used(once) == []
    assert under_used(ended(WEEK.model_copy(update={"limit": None}), rows(*["1"] * 14), FIRST, end)) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"period": Rolling(size="24h")}, "no end"),
        ({"period": Lifetime()}, "no end"),
        ({"period": Calendar(every="hour")}, "shorter"),
        ({"unit": "tool_calls"}, "tool_calls"),
        ({"unit": "tokens", "buckets": ("output_*",)}, "output_*"),
    ],
)
def test_budgets_that_days_cannot_tell_about_say_why(change: dict[str, Any], why: str) -> None:
    budget = WEEK.model_copy(update=change)

    assert why in (why_not(budget) or "")
    assert ended(budget, rows(*["1"] * 14), FIRST, at(FIRST + timedelta(days=14))) == []
