"""Free units and volume discounts: figures by hand, and what holds for any usage."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.commitments import Quota, Volume
from streams.catalog.credits import free_units, volume_credits
from streams.catalog.usage_frames import gathered, rounded
from tests.support.usage import usage, used

MAY = datetime(2026, 5, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
TIERS = [{"above": "100", "multiplier": "0.9"}, {"above": "300", "multiplier": "0.5"}]


def quota(amount: int, name: str = "free", **other: Any) -> Quota:
    return Quota.model_validate(
        {"id": name, "provider": "openai", "model": "m", "buckets": ["input_uncached"], "amount": amount,
         "period": {"every": "day"}, "effective_from": MAY, "source": "test"} | other
    )  # fmt: skip


def volume(mode: str, measure: str = "spend", **other: Any) -> Volume:
    return Volume.model_validate(
        {"id": "bulk", "provider": "openai", "measure": measure, "mode": mode, "currency": "USD", "tiers": TIERS,
         "period": {"every": "month"}, "effective_from": MAY, "source": "test"} | other
    )  # fmt: skip


def free(rows: pl.DataFrame, at: datetime, *quotas: Quota) -> list[dict[str, Any]]:
    return free_units(gathered(rows, at), quotas, MAY, at)[0].to_dicts()


def credit_of(rows: pl.DataFrame, at: datetime, agreed: Volume) -> dict[str, Any]:
    [row] = volume_credits(gathered(rows, at), [agreed], MAY, at).to_dicts()
    return row


def test_the_first_units_of_a_day_are_free_at_the_price_that_each_was_paid_at() -> None:
    #  day 1:  60 at 0.01, then 60 at 0.02: free are 60 and 40
    rows = usage(used(MAY, 60), used(MAY + HOUR, 60, "0.02"), used(MAY + DAY, 5))

    first, second = free(rows, MAY + 2 * DAY - HOUR, quota(100))

    assert (first["used"], first["free"], first["left"], first["credit"]) == (120, 100, 0, Decimal("1.4"))
    assert (second["used"], second["free"], second["left"], second["credit"]) == (5, 5, 95, Decimal("0.05"))


def test_what_has_no_price_uses_up_the_quota_and_its_credit_is_unknown() -> None:
    priced, bare = free(usage(used(MAY, 30, None), used(MAY + HOUR, 90)), MAY + DAY - HOUR, quota(100))

    assert (priced["free"], priced["credit"], priced["currency"]) == (70, Decimal("0.7"), "USD")
    assert (bare["free"], bare["credit"], bare["currency"]) == (30, None, None)
    assert priced["left"] == bare["left"] == 0


def test_a_day_without_usage_has_its_whole_quota() -> None:
    [row] = free(usage(), MAY + HOUR, quota(100))

    assert (row["used"], row["free"], row["left"], row["credit"], row["currency"]) == (0, 0, 100, 0, None)


def test_a_unit_is_free_once() -> None:
    rows = usage(used(MAY, 100, tenant_id="acme"))

    found = free(rows, MAY + HOUR, quota(80, "everybody"), quota(30, "acme", tenant="acme"))

    assert [(r["id"], r["used"], r["free"]) for r in found] == [("acme", 100, 30), ("everybody", 70, 70)]


def test_a_quota_of_a_day_in_kathmandu_ends_at_a_quarter_past() -> None:
    midnight = MAY + timedelta(hours=18, minutes=15)  # 00:00 at UTC+5:45
    rows = usage(used(midnight - timedelta(minutes=15), 70), used(midnight, 70))

    before, after = free(rows, midnight + HOUR, quota(50, period={"every": "day", "zone": "Asia/Kathmandu"}))

    assert (before["end"], before["used"], before["free"]) == (midnight, 70, 50)
    assert (after["start"], after["used"], after["free"]) == (midnight, 70, 50)


@pytest.mark.parametrize(
    ("spend", "marginal", "cliff"),
    [
        (100, "0", "0"),  # above is above
        (200, "10", "20"),  # 10 % of 100; 10 % of 200
        (400, "70", "200"),  # 10 % of 200 and 50 % of 100; 50 % of 400
    ],
)
def test_a_discount_by_spend(spend: int, marginal: str, cliff: str) -> None:
    rows = usage(used(MAY, spend * 100))

    first = credit_of(rows, MAY + DAY, volume("marginal"))
    second = credit_of(rows, MAY + DAY, volume("cliff"))

    assert (first["credit"], second["credit"]) == (Decimal(marginal), Decimal(cliff))
    assert first["volume"] == first["spend"] == spend


def test_the_units_above_a_threshold_are_those_that_came_last() -> None:
    #  150 at 0.01, then 250 at 0.02: 50 x 0.01 and 150 x 0.02 lie in the first tier, 100 x 0.02 in the second
    rows = usage(used(MAY, 150), used(MAY + HOUR, 250, "0.02"))

    marginal = credit_of(rows, MAY + DAY, volume("marginal", "units"))
    cliff = credit_of(rows, MAY + DAY, volume("cliff", "units"))

    assert marginal["credit"] == Decimal("1.35")  # 10 % of 3.50 and 50 % of 2.00
    assert cliff["credit"] == Decimal("3.25")  # 50 % of 6.50
    assert (marginal["volume"], marginal["multiplier"], marginal["next_above"]) == (400, Decimal("0.5"), None)


def test_the_next_threshold_and_what_has_no_price_are_said() -> None:
    rows = usage(used(MAY, 5_000), used(MAY, 9, None), used(MAY, 900_000, currency="EUR"))

    row = credit_of(rows, MAY + DAY, volume("marginal"))

    assert (row["spend"], row["multiplier"], row["next_above"], row["unpriced_quantity"]) == (50, 1, 100, 9)


some_usage = st.lists(
    st.builds(
        lambda h, q, price: used(MAY + h * HOUR, q, price),
        st.integers(0, 71),
        st.integers(0, 300),
        st.sampled_from(["0.000000000000000001", "0.01", "3.7"]),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(some_usage, st.integers(1, 900), st.randoms())
def test_units_are_free_up_to_the_quota_whatever_the_order_of_rows(
    rows: list[dict[str, Any]], amount: int, shuffle: Any
) -> None:
    at, mixed = MAY + 3 * DAY, shuffle.sample(rows, len(rows))

    found, billed = free_units(gathered(usage(*rows), at), [quota(amount)], MAY, at)
    again, _ = free_units(gathered(usage(*mixed), at), [quota(amount)], MAY, at)

    assert found.equals(again)
    for row in found.to_dicts():
        in_day = sum(r["quantity"] for r in rows if row["start"] <= r["hour"] < row["end"])
        assert (row["used"], row["free"], row["left"]) == (in_day, min(in_day, amount), amount - min(in_day, amount))
    assert sum(found["credit"].to_list()) + sum(billed["cost"].to_list()) == sum(r["cost"] for r in rows)


@settings(max_examples=60, deadline=None)
@given(some_usage, st.sampled_from(["spend", "units"]), st.randoms())
def test_a_discount_is_never_more_than_its_best_tier_gives(
    rows: list[dict[str, Any]], measure: str, shuffle: Any
) -> None:
    at, mixed = MAY + 3 * DAY, shuffle.sample(rows, len(rows))

    marginal = credit_of(usage(*rows), at, volume("marginal", measure))
    cliff = credit_of(usage(*rows), at, volume("cliff", measure))

    assert marginal == credit_of(usage(*mixed), at, volume("marginal", measure))
    assert 0 <= marginal["credit"] <= cliff["credit"] <= rounded(marginal["spend"] * Decimal("0.5"))
