"""Rules beside budgets: what one event too many is, and what too few are."""

from decimal import Decimal
from typing import Any

import pytest

from streams.catalog.alerting import Rule
from streams.catalog.calendars import Calendar
from streams.catalog.limits import Rolling
from streams.watch.conditions import Condition, Stretch
from streams.watch.judge import judge, needs_last_period, verdict_of
from streams.watch.windows import Sums
from tests.support.judging import DAY, HOUR, ms, of

TODAY = ms("2026-11-27")
NOON = TODAY + 12 * HOUR


def rule(kind: str, **other: Any) -> Rule:
    return Rule.model_validate({"id": "r", "kind": kind} | other)


def judged(given: Rule, sums: Sums, *past: Stretch) -> list[Condition]:
    return judge(of(given), {"period": Stretch(TODAY, TODAY + DAY, sums)}, past, NOON)


def test_usage_without_a_price_is_one_alert_a_day_and_says_where_to_look() -> None:
    [found] = judged(rule("unpriced"), Sums(events=5, unpriced=3))

    assert found == Condition(
        name="1", anchor=TODAY, end=TODAY + DAY, over=True, clear=False, value=Decimal(3), limit=Decimal(1), unit="unpriced",
        severity="warning", latched=True,
        said="3 of 5 events without a price; `usage-streams query unpriced_models` says why",
    )  # fmt: skip


def test_a_price_that_arrives_clears_the_day_that_it_corrects() -> None:
    yesterday = Stretch(TODAY - DAY, TODAY, Sums(events=5))

    assert [(c.anchor, c.over, c.clear) for c in judged(rule("unpriced"), Sums(events=1, unpriced=1), yesterday)] == [
        (TODAY - DAY, False, True), (TODAY, True, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (rule("context", tokens=1_000), "2 calls whose input is over 1,000 tokens, 2,500 tokens together"),
        (
            rule("policy", severity="info"),
            "2 events of what is not approved; `usage-streams query unapproved_spend` shows them",
        ),
    ],
)
def test_one_event_of_its_scope_is_one_too_many(given: Rule, said: str) -> None:
    some, none = judged(given, Sums(events=2, tokens=2_500))[0], judged(given, Sums())[0]

    assert (some.over, some.said, some.severity) == (True, said, given.severity)
    assert (none.over, none.clear) == (False, True)


def test_in_a_rolling_window_it_is_an_episode() -> None:
    [found] = judged(rule("policy", period=Rolling(size="1h")), Sums(events=1))

    assert (found.anchor, found.latched, found.over) == (None, False, True)


LOW = rule("low_usage", events=20, period=Calendar(every="day"))


@pytest.mark.parametrize(("events", "over"), [(0, True), (19, True), (20, False), (99, False)])
def test_low_usage_is_judged_by_the_last_whole_period(events: int, over: bool) -> None:
    yesterday = Stretch(TODAY - DAY, TODAY, Sums(events=events))
    before = Stretch(TODAY - 2 * DAY, TODAY - DAY, Sums(events=5))  # late data moved it; it is not the last one

    [found] = judged(LOW, Sums(), before, yesterday)

    assert (found.over, found.clear, found.end, found.anchor) == (over, not over, TODAY, None)
    assert found.value == events
    assert found.said == f"{events} events in the last whole period, 20 are expected at least"


def test_while_the_last_period_is_not_given_low_usage_changes_nothing() -> None:
    [found] = judged(LOW, Sums(events=1))

    assert (found.over, found.clear) == (False, False)
    assert needs_last_period(of(LOW))
    assert not needs_last_period(of(rule("policy")))


def test_a_rule_gives_no_verdict() -> None:
    assert verdict_of(of(LOW), {}, NOON) is None
