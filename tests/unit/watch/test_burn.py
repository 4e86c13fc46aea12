"""Burn rates: the numbers of the SRE Workbook for money, of real periods, in two windows at once (domain.md §5)."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, BurnRate, BurnWindow, Rolling, Split
from streams.watch.burn import threshold
from streams.watch.conditions import Condition, Stretch
from streams.watch.judge import judge, verdict_of
from streams.watch.periods import period_of
from streams.watch.windows import Sums
from tests.support.judging import DAY, HOUR, by_name, ms, of, spent

PAGE = BurnWindow(long="1h", short="5m", share="0.02")
TICKET = BurnWindow(long="3d", short="6h", factor="1.1", against="remaining", severity="warning")
MONTH = Calendar(every="month")


def budget(**other: Any) -> Budget:
    return Budget.model_validate({"id": "b", "limit": "7200", "period": MONTH} | other)


def burn(*windows: BurnWindow, **other: Any) -> BurnRate:
    return BurnRate.model_validate({"id": "fast", "budget": "b", "windows": windows or (PAGE,)} | other)


def judged(
    windows: dict[str, Sums],
    of_: Budget | None = None,
    rate: BurnRate | None = None,
    now: str = "2026-11-11",
    spent_before: Sums | None = None,
    extra: int = 0,
    key: str = "",
) -> dict[str, Condition]:
    """windows: sums by size; spent_before: in the period, with what the windows hold of it."""
    own, clock = of_ or budget(), ms(now)
    if isinstance(own.period, Calendar):
        start, end = period_of(own.period, clock - 1)
    else:
        start, end = clock - 7 * DAY, clock
    sizes = {"5m": 300_000, "30m": 1_800_000, "1h": HOUR, "6h": 6 * HOUR, "3d": 3 * DAY}
    stretches = {n: Stretch(clock - sizes[n], clock, s) for n, s in windows.items()}
    stretches["period"] = Stretch(start, end, spent_before or Sums())
    return dict(by_name(judge(of(own, rate or burn()), stretches, [], clock, Decimal(extra), key)))


@pytest.mark.parametrize(
    ("days", "share", "times"),
    [(30, "0.02", "14.4"), (28, "0.02", "13.44"), (31, "0.02", "14.88"), (7, "0.02", "3.36"), (1, "0.02", "0.48"),
     (30, "0.05", "36"), (1, "0.1", "2.4")],
)  # fmt: skip
def test_the_threshold_follows_from_the_share_and_the_actual_period(days: int, share: str, times: str) -> None:
    assert threshold(BurnWindow(long="1h", short="5m", share=share), days * DAY) == Decimal(times)


@pytest.mark.parametrize(
    ("every", "zone", "at", "times"),
    [
        ("month", "UTC", "2026-02-10", "13.44"),  # 28 days
        ("month", "UTC", "2028-02-10", "13.92"),  # 29 days
        ("month", "UTC", "2026-12-10", "14.88"),  # 31 days
        ("month", "Europe/Berlin", "2026-03-10", "14.86"),  # 31 days less an hour: clocks go forward
        ("month", "Europe/Berlin", "2026-10-10", "14.90"),  # 31 days and an hour
        ("day", "Europe/Berlin", "2026-03-29", "0.46"),  # 23 hours
        ("day", "Europe/Berlin", "2026-10-25", "0.50"),  # 25 hours
        ("week", "UTC", "2026-11-11", "3.36"),
        ("quarter", "UTC", "2026-11-11", "44.16"),  # 92 days
    ],
)
def test_months_and_days_have_the_length_that_they_have(every: Any, zone: str, at: str, times: str) -> None:
    own = budget(period=Calendar(every=every, zone=zone))

    assert judged({"1h": Sums(), "5m": Sums()}, own, now=f"{at}T12:00")["1h/5m"].limit == Decimal(times)


def test_six_hours_at_five_percent_are_six_times() -> None:
    assert threshold(BurnWindow(long="6h", short="30m", share="0.05"), 30 * DAY) == 6
    assert threshold(BurnWindow(long="3d", short="6h", share="0.1"), 30 * DAY) == 1


def test_both_windows_must_exceed() -> None:
    #  7,200 USD in 30 days are 10 an hour; 14.4 times that are 144 in 1 h and 12 in 5 m
    over, calm = spent("144.01", events=50), spent("144", events=50)

    assert judged({"1h": over, "5m": spent("12.01")})["1h/5m"].over
    assert not judged({"1h": over, "5m": spent("12")})["1h/5m"].over  # it stopped: the short window ends the alert
    assert not judged({"1h": calm, "5m": spent("99")})["1h/5m"].over
    assert judged({"1h": over, "5m": spent("12")})["1h/5m"].clear


def test_the_condition_says_what_decided_and_when_the_money_is_gone() -> None:
    #  4,000 left at 200 an hour are 20 hours; the month ends in 20 days
    found = judged({"1h": spent(200, events=50), "5m": spent(20)}, spent_before=spent(3200))["1h/5m"]

    assert (found.value, found.limit, found.unit, found.severity) == (
        Decimal(20),
        Decimal("14.4"),
        "times_even",
        "critical",
    )
    assert (found.anchor, found.latched) == (None, False)
    assert found.said == (
        "20.00 and 24.00 times an even use in 1h and 5m, 14.40 are allowed: 200 USD in 1h, 4000 USD of 7200 USD are left;"
        " at this speed it is exhausted at 2026-11-11T20:00Z, 19d before its period ends"
    )


def test_floors_keep_one_big_call_from_paging() -> None:
    fast = {"1h": spent(200, events=9), "5m": spent(20)}

    assert not judged(fast)["1h/5m"].over  # fewer than 10 events
    assert judged(fast)["1h/5m"].clear
    assert judged(fast, rate=burn(min_events=9))["1h/5m"].over
    assert not judged(fast, rate=burn(min_events=9, min_spend="200.01"))["1h/5m"].over


def test_an_empty_window_divides_nothing() -> None:
    found = judged({"1h": Sums(), "5m": Sums(), "3d": Sums(), "6h": Sums()}, rate=burn(PAGE, TICKET))

    assert {n: (c.over, c.clear, str(c.value)) for n, c in found.items()} == {
        "1h/5m": (False, True, "0.00"), "3d/6h": (False, True, "0.00"),
    }  # fmt: skip


def test_against_what_remains_the_even_speed_is_that_of_the_rest() -> None:
    #  4,800 left for the 20 days from 11 November: 240 a day, 720 in 3 d, 60 in 6 h; 1.1 times that are 792 and 66
    windows = {"3d": spent("792.01", events=50), "6h": spent("66.01")}

    found = judged(windows, rate=burn(TICKET), spent_before=spent(2400))["3d/6h"]

    assert (found.over, found.value, found.limit, found.severity) == (True, Decimal("1.10"), Decimal("1.1"), "warning")
    assert "times an even use of what is left in 3d and 6h" in found.said
    assert not judged(windows, rate=burn(TICKET), spent_before=spent(2300))["3d/6h"].over  # more is left


def test_when_nothing_is_left_any_spending_is_too_fast_until_it_stops() -> None:
    going_on = {"3d": spent(900, events=50), "6h": spent("0.01")}

    found = judged(going_on, rate=burn(TICKET), spent_before=spent(7200))["3d/6h"]

    assert found.over
    assert found.said.endswith("900 USD in 3d, 0 USD of 7200 USD are left; it is exhausted")
    assert judged(going_on | {"6h": Sums()}, rate=burn(TICKET), spent_before=spent(9000))["3d/6h"].clear


def test_at_the_last_moment_of_a_period_nothing_can_be_too_fast_any_more() -> None:
    windows = {"3d": spent(900, events=50), "6h": spent(90)}

    assert not judged(windows, rate=burn(TICKET), now="2026-12-01", spent_before=spent(7000))["3d/6h"].over


def test_a_rolling_budget_has_its_size_as_period() -> None:
    #  7,200 in 7 days; 2 % in 1 h are 3.36 times the even speed
    own = budget(period=Rolling(size="7d"))

    found = judged({"1h": spent("144.01", events=50), "5m": spent("12.01")}, own, spent_before=spent(7000))["1h/5m"]

    assert (found.over, found.limit) == (True, Decimal("3.36"))
    assert found.said.endswith("200 USD of 7200 USD are left; at this speed it is exhausted at 2026-11-11T01:23Z")


def test_hysteresis_keeps_the_alert_until_the_speed_is_clearly_lower() -> None:
    rate = burn(hysteresis="0.5")
    between, below = {"1h": spent(100, events=50), "5m": spent(10)}, {"1h": spent(72, events=50), "5m": spent(6)}

    assert [judged(w, rate=rate)["1h/5m"].clear for w in (between, below)] == [False, True]
    assert not judged(between, rate=rate)["1h/5m"].over


def test_an_exception_and_a_share_change_the_budget_that_burns() -> None:
    windows = {"1h": spent(200, events=50), "5m": spent(20)}
    own = budget(split=Split(by="application", shares={"a": "0.5", "*": "0.1"}))

    assert judged(windows, extra=7200)["1h/5m"].value == 10
    assert judged(windows, own, key="fast|tenant_id=acme|application=a")["1h/5m"].value == 40
    assert judged(windows, own, key="fast|tenant_id=acme|application=*")["1h/5m"].value == 200


def test_tokens_burn_like_money() -> None:
    own = budget(unit="tokens", limit="7200")
    windows = {"1h": Sums(events=50, tokens=145), "5m": Sums(events=4, tokens=13)}

    assert judged(windows, own)["1h/5m"].over
    assert "145 tokens in 1h" in judged(windows, own)["1h/5m"].said


def test_a_burn_rate_gives_no_verdict() -> None:
    assert verdict_of(of(budget(), burn()), {}, 0) is None


MONEY = st.decimals("0", "5000", places=4)
WINDOWS = st.sampled_from([PAGE, TICKET, BurnWindow(long="6h", short="30m", share="0.05")])


@given(WINDOWS, st.tuples(MONEY, MONEY), st.tuples(MONEY, MONEY), MONEY, st.integers(0, 50), st.integers(0, 7200))
def test_more_spending_never_clears_and_a_higher_limit_never_opens(
    window: BurnWindow,
    before: tuple[Decimal, Decimal],
    more: tuple[Decimal, Decimal],
    used: Decimal,
    events: int,
    extra: int,
) -> None:
    def look(long: Decimal, short: Decimal, period: Decimal, events: int, extra: int = 0) -> Condition:
        sums: dict[str, Sums] = {window.long: spent(long, events=events), window.short: spent(short)}
        [found] = judged(sums, rate=burn(window), spent_before=spent(period), extra=extra).values()
        return found

    one = look(*before, used, events)
    faster = look(before[0] + more[0], before[1] + more[1], used + more[0], events + 1)
    wider = look(*before, used, events, extra)

    assert not (one.over and one.clear)
    assert faster.over or not one.over
    assert one.over or not wider.over


@given(st.sampled_from(["2026-02-10", "2026-11-11", "2026-12-10"]), st.decimals("143.99", "144.01", places=18))
def test_the_comparison_is_exact_whatever_the_month(at: str, spend: Decimal) -> None:
    #  2 % of 7,200 are 144, in every month
    assert judged({"1h": spent(spend, events=50), "5m": spent(99)}, now=at)["1h/5m"].over == (spend > 144)
