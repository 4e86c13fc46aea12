"""Credit and promised spend: figures by hand, and what holds for any usage."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.book import compile_book
from streams.catalog.calendars import Calendar
from streams.catalog.commitments import Agreements, Commitment, Quota
from streams.catalog.drawdown import drawdowns, position, pressing
from streams.catalog.models import Catalog
from streams.catalog.usage_frames import gathered, needed_from, windows
from tests.support.usage import usage, used

MAY = datetime(2026, 5, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
BOOK = compile_book(Catalog(), 1, "v1")


def credit(amount: str, name: str = "credit", **other: Any) -> Commitment:
    return Commitment.model_validate(
        {"id": name, "provider": "openai", "kind": "prepaid", "amount": amount, "currency": "USD", "effective_from": MAY,
         "source": "test"} | other
    )  # fmt: skip


def promise(amount: str, every: str = "month", **other: Any) -> Commitment:
    period = {"every": every, "zone": other.pop("zone", "UTC")}
    return credit(amount, "promise", **{"kind": "commitment", "period": period} | other)


def stand(rows: pl.DataFrame, at: datetime, *agreed: Commitment, since: datetime = MAY) -> list[dict[str, Any]]:
    return drawdowns(gathered(rows, at), agreed, since, at).to_dicts()


def test_a_credit_is_drawn_down_and_is_expected_to_last_as_long_as_its_pace_says() -> None:
    #  day   1     2     3        10
    #  USD   10    10    at       ran out
    rows = usage(used(MAY, 1_000), used(MAY + DAY, 1_000))

    [row] = stand(rows, MAY + 2 * DAY, credit("100"))

    assert (row["used"], row["left"], row["overage"], row["share"]) == (20, 80, 0, Decimal("0.2"))
    assert (row["state"], row["ran_out"], row["expected_out"]) == ("running", None, MAY + 10 * DAY)  # 10 USD a day
    assert (row["unused"], row["expected_unused"], row["end"]) == (None, None, None)


def test_the_pace_is_counted_from_the_first_use() -> None:
    rows = usage(used(MAY + 4 * DAY, 1_000))

    [row] = stand(rows, MAY + 5 * DAY, credit("100"))

    assert row["expected_out"] == MAY + 14 * DAY


def test_a_credit_runs_out_in_the_hour_in_which_the_last_of_it_is_used() -> None:
    rows = usage(used(MAY, 900), used(MAY + 5 * HOUR, 100), used(MAY + 6 * HOUR, 250))

    [row] = stand(rows, MAY + DAY, credit("10"))

    assert (row["used"], row["left"], row["overage"]) == (10, 0, Decimal("2.5"))
    assert (row["state"], row["ran_out"], row["expected_out"]) == ("exhausted", MAY + 5 * HOUR, None)


def test_what_a_credit_does_not_pay_draws_the_next_one() -> None:
    #  first    [--------------June)   10
    #  second   [---------------------  10
    #  usage    8   8   8
    rows = usage(*(used(MAY + i * DAY, 800) for i in range(3)))
    second, first = credit("10", "second"), credit("10", "first", effective_to=MAY + 31 * DAY)

    found = {row["id"]: row for row in stand(rows, MAY + 3 * DAY, second, first)}

    assert (found["first"]["used"], found["first"]["overage"], found["first"]["ran_out"]) == (10, 0, MAY + DAY)
    assert (found["second"]["used"], found["second"]["overage"], found["second"]["ran_out"]) == (10, 4, MAY + 2 * DAY)
    assert (found["first"]["followed_by"], found["second"]["followed_by"]) == (None, None)  # the second is used up too


def test_a_credit_that_another_follows_presses_nobody() -> None:
    rows = usage(used(MAY, 1_000))
    first, second = credit("10", "first", effective_to=MAY + 31 * DAY), credit("10", "second")

    alone = drawdowns(gathered(rows, MAY + DAY), [first], MAY, MAY + DAY)
    both = drawdowns(gathered(rows, MAY + DAY), [first, second], MAY, MAY + DAY)

    assert pressing(alone, MAY + DAY)["id"].to_list() == ["first"]
    assert pressing(both, MAY + DAY)["id"].to_list() == []


@pytest.mark.parametrize(("amount", "presses"), [("80", True), ("80.01", False)], ids=["7 days", "just more"])
def test_a_credit_presses_when_it_is_expected_to_run_out_within_a_week(amount: str, presses: bool) -> None:
    rows = usage(used(MAY, 1_000))  # 10 USD a day; 7 days more make 80

    found = drawdowns(gathered(rows, MAY + DAY), [credit(amount)], MAY, MAY + DAY)

    assert bool(pressing(found, MAY + DAY).height) is presses


def test_promised_spend_is_counted_in_each_month_of_its_zone() -> None:
    #  Berlin: May ends at 22:00 UTC of the 31st
    june = datetime(2026, 5, 31, 22, tzinfo=UTC)
    rows = usage(used(june - HOUR, 3_000), used(june, 20_000))

    may, now = stand(rows, june + 10 * DAY, promise("100", zone="Europe/Berlin"))

    assert (may["start"], may["end"], may["state"]) == (MAY, june, "ended")
    assert (may["used"], may["left"], may["unused"], may["expected_unused"]) == (30, 70, 70, None)
    assert (now["start"], now["used"], now["left"], now["overage"]) == (june, 100, 0, 100)
    assert (now["state"], now["ran_out"], now["unused"]) == ("exhausted", june, 0)


def test_what_will_be_lost_at_the_end_is_forecast_linearly() -> None:
    june = datetime(2026, 6, 1, tzinfo=UTC)
    rows = usage(used(june, 3_000))

    [row] = stand(rows, june + 10 * DAY, promise("100"), since=june)

    assert (row["expected_out"], row["expected_unused"]) == (None, 10)  # 30 USD in 10 of 30 days: 90 in all


def test_usage_in_another_currency_of_another_model_or_without_a_price_draws_nothing() -> None:
    rows = usage(
        used(MAY, 100, currency="EUR"), used(MAY, 100, model="other"), used(MAY, 100, tenant_id="else"),
        used(MAY, 7, None, tenant_id="acme"), used(MAY - HOUR, 100, tenant_id="acme"),
    )  # fmt: skip

    [row] = stand(rows, MAY + DAY, credit("10", models=["m"], tenant="acme"))

    assert (row["used"], row["left"], row["unpriced_quantity"]) == (0, 10, 7)


def test_units_that_are_free_draw_no_credit() -> None:
    quota = Quota.model_validate(
        {"id": "free", "provider": "openai", "model": "*", "buckets": ["input_uncached"], "amount": 400,
         "period": {"every": "day"}, "effective_from": MAY, "source": "test"}
    )  # fmt: skip
    agreed = Agreements(commitments=(credit("10"),), quotas=(quota,))

    found = position(usage(used(MAY, 1_000)), agreed, BOOK, MAY, MAY + HOUR)

    assert found.quotas["credit"].to_list() == [4]
    assert found.drawdowns["used"].to_list() == [6]


def test_usage_is_read_from_where_the_oldest_open_period_begins() -> None:
    at = datetime(2026, 6, 10, tzinfo=UTC)
    ended = credit("1", "old", effective_from=MAY - 30 * DAY, effective_to=MAY)

    assert needed_from(Agreements(commitments=(promise("1"),)), at, at) == datetime(2026, 6, 1, tzinfo=UTC)
    assert needed_from(Agreements(commitments=(ended, credit("1"))), at, at) == MAY - 30 * DAY
    assert needed_from(Agreements(commitments=(ended,)), at, at) == at


def test_periods_are_cut_where_the_agreement_begins_and_ends() -> None:
    start, end = MAY + 10 * DAY, MAY + 40 * DAY

    found = windows(promise("1", effective_from=start, effective_to=end), Calendar(every="month"), MAY, MAY + 90 * DAY)

    assert [(w.start, w.end) for w in found] == [(start, MAY + 31 * DAY), (MAY + 31 * DAY, end)]


hours = st.integers(0, 40 * 24)
some_usage = st.lists(
    st.builds(
        lambda h, q, price, model, tenant: used(MAY + h * HOUR, q, price, model=model, tenant_id=tenant),
        hours,
        st.integers(0, 10**6),
        st.sampled_from(["0.000000000000000001", "0.01", "3.7", None]),
        st.sampled_from(["m", "n"]),
        st.sampled_from(["acme", "beta"]),
    ),
    max_size=30,
)
amounts = st.sampled_from(["0.000000000000000001", "1", "12345.678901234567890123", "999999999999999"])
some_credits = st.lists(
    st.builds(
        lambda amount, start, days, model, tenant: (amount, start, days, model, tenant),
        amounts,
        st.integers(0, 20),
        st.sampled_from([None, 5, 30]),
        st.sampled_from(["m", "*"]),
        st.sampled_from(["", "acme"]),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(some_usage, some_credits, st.integers(0, 40 * 24), st.randoms())
def test_used_and_left_make_the_amount_and_no_money_is_drawn_twice(
    rows: list[dict[str, Any]], drawn: list[tuple[str, int, int | None, str, str]], hour: int, shuffle: Any
) -> None:
    at = MAY + hour * HOUR
    agreed = [
        credit(a, f"c{i}", effective_from=MAY + s * DAY, effective_to=d and MAY + (s + d) * DAY, models=[m], tenant=t)
        for i, (a, s, d, m, t) in enumerate(drawn)
    ]
    mixed = shuffle.sample(rows, len(rows))
    whole = gathered(usage(*rows), at)

    found = drawdowns(whole, agreed, MAY, at)
    again = drawdowns(gathered(pl.concat([usage(*mixed[:7]), usage(*mixed[7:])]), at), agreed[::-1], MAY, at)

    def pays(row: dict[str, Any], c: Commitment) -> bool:
        here = c.effective_from <= row["hour"] and (c.effective_to is None or row["hour"] < c.effective_to)
        return here and c.models in (("*",), (row["model"],)) and c.tenant in ("", row["tenant_id"])

    fitting = [r["cost"] for r in rows if r["cost"] is not None and r["hour"] < at and any(pays(r, c) for c in agreed)]
    with localcontext(prec=60):
        assert all(row["used"] + row["left"] == row["amount"] and row["left"] >= 0 for row in found.to_dicts())
    assert sum(found["used"].to_list()) + sum(found["overage"].to_list()) == sum(fitting)
    assert found.equals(again)


@settings(max_examples=60, deadline=None)
@given(some_usage, st.sampled_from(["day", "week", "month"]), st.sampled_from(["UTC", "Asia/Kathmandu"]))
def test_the_periods_of_a_promise_have_all_of_its_spend(rows: list[dict[str, Any]], every: str, zone: str) -> None:
    at = MAY + 41 * DAY

    found = stand(usage(*rows), at, promise("5", every, zone=zone))

    assert sum(r["used"] + r["overage"] for r in found) == sum(r["cost"] for r in rows if r["cost"] is not None)
    assert all(r["used"] + r["left"] == 5 for r in found)
    assert all(a["end"] == b["start"] for a, b in pairwise(found))
