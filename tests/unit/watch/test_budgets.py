"""What a budget says of a period: thresholds, shares, exceptions, the guard, and the verdict of the ladder's step."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, Lifetime, Rolling, Rung, Split
from streams.watch.budget_record import budget_record
from streams.watch.budgets import limit_of
from streams.watch.conditions import Condition, Stretch
from streams.watch.judge import judge, next_look, verdict_of
from streams.watch.verdicts import VERDICTS, Standing
from streams.watch.windows import Sums
from tests.support.judging import DAY, HOUR, by_name, month, ms, of, spent

MONTH = Calendar(every="month")
NOON = ms("2026-11-10T12:00")
KEY = "b|tenant_id=acme|team=search"


def budget(**other: Any) -> Budget:
    return Budget.model_validate({"id": "b", "each": ("team",), "limit": "40", "period": MONTH} | other)


def conditions(given_: Budget, sums: Sums, extra: int = 0, key: str = KEY) -> dict[str, Condition]:
    return dict(by_name(judge(of(given_), month(sums), [], NOON, Decimal(extra), key)))


def standing(given_: Budget, sums: Sums, clock: int = NOON, extra: int = 0, key: str = KEY) -> Standing:
    found = verdict_of(of(given_), month(sums), clock, Decimal(extra), key)
    assert found is not None
    return found


def test_each_threshold_is_one_condition_latched_to_its_period() -> None:
    found = conditions(budget(), spent(33, events=7))

    assert {n: (c.over, c.clear) for n, c in found.items()} == {"0.8": (True, False), "1": (False, True)}
    assert found["0.8"] == Condition(
        name="0.8", anchor=ms("2026-11-01"), end=ms("2026-12-01"), over=True, clear=False, value=Decimal(33),
        limit=Decimal(40), unit="cost", severity="warning", latched=True, said="82.5 % of 40 USD",
    )  # fmt: skip


def test_exactly_the_threshold_is_over() -> None:
    assert conditions(budget(), spent(32))["0.8"].over
    assert not conditions(budget(), spent("31.999999999999999999"))["0.8"].over


def test_a_share_that_is_not_whole_is_never_rounded_up_to_a_hundred() -> None:
    assert conditions(budget(), spent("39.999"))["1"].said == "99.9 % of 40 USD"


def test_a_rolling_budget_has_episodes_and_clears_below_its_hysteresis() -> None:
    given_ = budget(period=Rolling(size="24h"), hysteresis="0.1", thresholds=("1",))
    stretches = [{"period": Stretch(NOON - DAY, NOON, spent(used))} for used in ("40", "36", "35.99")]

    found = [judge(of(given_), s, [], NOON)[0] for s in stretches]

    assert [(c.over, c.clear) for c in found] == [(True, False), (False, False), (False, True)]
    assert {(c.anchor, c.latched, c.end) for c in found} == {(None, False, NOON)}


def test_a_lifetime_has_one_alert_a_threshold_named_by_its_first_event() -> None:
    given_ = budget(each=("conversation_id",), period=Lifetime(), unit="tokens", limit="100")

    [low, full] = judge(of(given_), month(Sums(events=1, tokens=100)), [], NOON)

    assert {(c.anchor, c.latched) for c in (low, full)} == {(ms("2026-11-01"), True)}
    assert (full.over, full.said) == (True, "100.0 % of 100 tokens")


def test_earlier_periods_that_late_data_touched_are_judged_under_their_own_anchor() -> None:
    october = Stretch(ms("2026-10-01"), ms("2026-11-01"), spent(50))

    found = judge(of(budget(thresholds=("1",))), month(spent(1)), [october], NOON, Decimal(20))

    assert [(c.anchor, c.over, c.limit) for c in found] == [
        (ms("2026-10-01"), True, Decimal(40)),  # what is granted now was not granted then
        (ms("2026-11-01"), False, Decimal(60)),
    ]


def test_what_an_exception_added_in_an_earlier_period_still_holds_there() -> None:
    october = Stretch(ms("2026-10-01"), ms("2026-11-01"), spent(50))
    known = of(budget(thresholds=("1",)))

    [then, _] = judge(known, month(spent(1)), [october], NOON, past_extra={ms("2026-10-01"): Decimal(20)})

    assert (then.over, then.limit) == (False, Decimal(60))


def test_without_a_limit_nothing_is_raised_and_nothing_capped() -> None:
    given_ = budget(limit=None)

    assert judge(of(given_), month(spent(10**6)), [], NOON) == []
    assert standing(given_, spent(10**6))[:6] == ("allow", "allow", "stop", Decimal(10**6), None, None)


SPLIT = Split(by="application", shares={"portal": "0.5", "*": "0.2"})


@pytest.mark.parametrize(
    ("key", "limit"),
    [
        ("b|tenant_id=acme|team=a|application=portal", 20),
        ("b|tenant_id=acme|team=a|application=*", 8),
        ("b|tenant_id=acme|team=a|application=mobile", 8),
    ],
)
def test_a_split_gives_each_listed_value_its_share_and_the_others_one_together(key: str, limit: int) -> None:
    given_ = budget(split=SPLIT)

    assert limit_of(given_, key) == limit
    assert conditions(given_, spent(limit), key=key)["1"].over
    assert standing(given_, spent(limit - 1), extra=2, key=key).headroom == 3  # 2 by exception


def test_who_has_no_share_in_a_split_without_others_is_not_capped() -> None:
    given_ = budget(split=Split(by="application", shares={"portal": "0.5"}))

    assert limit_of(given_, "b|tenant_id=acme|team=a|application=*") is None
    assert judge(of(given_), month(spent(99)), [], NOON, key="b|tenant_id=acme|team=a|application=*") == []


def test_an_exception_raises_the_limit_that_thresholds_are_shares_of() -> None:
    found = conditions(budget(), spent(41), extra=10)

    assert (found["0.8"].over, found["1"].over, found["1"].limit) == (True, False, Decimal(50))
    assert standing(budget(), spent(41), extra=10)[:2] == ("warn", "warn")


def test_tokens_without_a_price_reach_the_limit_by_their_guard() -> None:
    given_ = budget(guard_tokens=1_000)
    blind = Sums(events=2, unpriced=1, unpriced_tokens=1_000, cost=Decimal(3))

    found, where = conditions(given_, blind)["guard"], standing(given_, blind)

    assert (found.over, found.value, found.limit, found.unit) == (
        True,
        Decimal(1_000),
        Decimal(1_000),
        "unpriced_tokens",
    )
    assert found.said == "1,000 tokens have no price in force, 1,000 are allowed: what they cost is not known"
    assert (where.verdict, where.binding, where.headroom) == ("stop", "guard", Decimal(0))
    assert not conditions(given_, Sums(unpriced_tokens=999))["guard"].over


def test_money_that_is_known_binds_before_the_guard() -> None:
    assert standing(budget(guard_tokens=1), Sums(unpriced_tokens=5, cost=Decimal(41))).binding == "limit"


LADDER = (
    Rung(step="report", since="2026-01-01"),
    Rung(step="warn", since="2026-02-01"),
    Rung(step="require_approval", since="2026-03-01"),
    Rung(step="stop", since="2026-04-01"),
)


@pytest.mark.parametrize(
    ("at", "step", "verdict"),
    [
        ("2025-12-31T23:59", "report", "allow"),  # before the first rung
        ("2026-01-01", "report", "allow"),
        ("2026-02-01", "warn", "warn"),
        ("2026-02-28T23:59", "warn", "warn"),
        ("2026-03-01", "require_approval", "require_approval"),
        ("2026-04-01", "stop", "stop"),
        ("2030-01-01", "stop", "stop"),
    ],
)
def test_the_ladder_decides_what_a_limit_that_is_reached_means(at: str, step: str, verdict: str) -> None:
    found = standing(budget(ladder=LADDER), spent(40), ms(at))

    assert (found.step, found.verdict, found.would_be) == (step, verdict, "stop")


@pytest.mark.parametrize(("used", "verdict"), [("31.9", "allow"), ("32", "warn"), ("40", "stop")])
def test_without_a_ladder_the_first_threshold_warns_and_the_limit_stops(used: str, verdict: str) -> None:
    assert standing(budget(), spent(used)).verdict == verdict


def test_the_next_rung_is_a_moment_to_look_although_nothing_comes() -> None:
    known = of(budget(ladder=LADDER))

    assert next_look(known, ms("2026-02-01")) == ms("2026-03-01")
    assert next_look(known, ms("2026-04-01")) is None
    assert next_look(of(budget()), 0) is None


def test_the_record_says_where_a_scope_stands() -> None:
    given_ = budget(measures=("retries", "latency_ms"), text="Ask Ann.")
    known = of(given_)
    sums = Sums(
        events=9, tokens=70, unpriced=2, unpriced_tokens=8, foreign=1, cost=Decimal("45.5"),
        extras={"retries": 3, "latency_ms:100": 9},
    )  # fmt: skip
    where = verdict_of(known, month(sums), NOON, Decimal(10))
    assert where is not None

    found = budget_record(
        known, KEY, month(sums), where, NOON, Decimal(10), ("s", 1, 7), {"s/0": 5},
        parent="org|tenant_id=acme", exception={"id": "e"},
    )  # fmt: skip

    assert found == {
        "scope": KEY, "tenant_id": "acme", "budget_id": "b", "kind": "budget",
        "dimensions": {"tenant_id": "acme", "team": "search"}, "unit": "cost", "currency": "USD",
        "used": "45.5", "limit": "50", "base_limit": "40", "headroom": "4.5", "percent": "91.0", "limits": {}, "used_by": {},
        "binding": "limit", "verdict": "warn", "would_be": "warn", "step": "stop", "stop_reason": "limit",
        "fail": "open", "stale_after_ms": 60_000, "text": "Ask Ann.", "parent": "org|tenant_id=acme", "exception": {"id": "e"},
        "period": "calendar",
        "forecast": None, "measures": {"retries": 3, "latency_ms": {"p50": 101, "p95": 101, "p99": 101}},
        "events": 9, "unpriced_events": 2, "unpriced_tokens": 8, "foreign_events": 1,
        "period_start": "2026-11-01T00:00:00.000Z", "period_end": "2026-12-01T00:00:00.000Z",
        "as_of": "2026-11-10T12:00:00.000Z", "stamp": {"stream": "s", "partition": 1, "offset": 7}, "sources": {"s/0": 5},
    }  # fmt: skip


def test_a_budget_that_discovers_has_a_record_with_nothing_capped() -> None:
    known = of(budget(limit=None))
    where = verdict_of(known, month(spent(3)), NOON)
    assert where is not None

    found = budget_record(known, KEY, month(spent(3)), where, NOON, Decimal(0), ("s", 0, 0), {})

    assert (found["used"], found["limit"], found["headroom"], found["verdict"], found["text"]) == (
        "3", None, None, "allow", "",
    )  # fmt: skip


AMOUNTS = st.decimals("0", "100", places=6)
BUDGETS = st.builds(
    budget,
    limit=st.decimals("0.01", "90", places=2).map(str),
    thresholds=st.lists(st.decimals("0.01", "2", places=2), min_size=1, max_size=4, unique=True).map(sorted),
    hysteresis=st.sampled_from(["0", "0.05", "0.5"]),
    guard_tokens=st.none() | st.integers(1, 50),
    ladder=st.sampled_from([(), LADDER, LADDER[:2]]),
    period=st.sampled_from([MONTH, Rolling(size="7d")]),
)
SUMS = st.builds(
    Sums, events=st.integers(0, 9), unpriced_tokens=st.integers(0, 99), cost=AMOUNTS, tokens=st.integers(0, 99)
)


def moved(sums: Sums, by: Sums) -> Sums:
    return Sums(
        events=sums.events + by.events, unpriced_tokens=sums.unpriced_tokens + by.unpriced_tokens,
        cost=sums.cost + by.cost, tokens=sums.tokens + by.tokens,
    )  # fmt: skip


@given(BUDGETS, SUMS, SUMS)
def test_more_use_never_lowers_a_verdict_nor_clears_a_condition(given_: Budget, sums: Sums, more: Sums) -> None:
    before, after = (conditions(given_, s) for s in (sums, moved(sums, more)))

    assert VERDICTS.index(standing(given_, sums).verdict) <= VERDICTS.index(standing(given_, moved(sums, more)).verdict)
    assert all(after[n].over for n, c in before.items() if c.over)
    assert all(before[n].clear for n, c in after.items() if c.clear)
    assert not any(c.over and c.clear for c in before.values())


@given(BUDGETS, SUMS, st.integers(0, 50))
def test_a_higher_limit_never_opens_an_alert(given_: Budget, sums: Sums, extra: int) -> None:
    before, after = conditions(given_, sums), conditions(given_, sums, extra)

    assert all(before[n].over for n, c in after.items() if c.over)
    assert VERDICTS.index(standing(given_, sums, extra=extra).verdict) <= VERDICTS.index(standing(given_, sums).verdict)


@given(BUDGETS, st.lists(SUMS, min_size=1, max_size=5), st.randoms())
def test_conditions_depend_on_sums_alone_not_on_the_order_in_which_they_came(
    given_: Budget, parts: list[Sums], random: Any
) -> None:
    other = list(parts)
    random.shuffle(other)
    one, two = Sums(), Sums()
    for part, its in zip(parts, other, strict=True):
        one, two = moved(one, part), moved(two, its)

    assert conditions(given_, one) == conditions(given_, two)


@given(BUDGETS, SUMS, st.integers(0, 5 * 365 * 24))
def test_a_step_says_nothing_more_sharply_than_it_may(given_: Budget, sums: Sums, hours: int) -> None:
    found = standing(given_, sums, ms("2025-06-01") + hours * HOUR)

    assert VERDICTS.index(found.verdict) <= VERDICTS.index(found.would_be)
    assert found.step != "stop" or found.verdict == found.would_be
    assert found.step != "report" or found.verdict == "allow"
