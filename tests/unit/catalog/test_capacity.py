"""Provisioned throughput: how full, how dear, when it pays off, what spills over; figures by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from streams.catalog.book import Book, compile_book
from streams.catalog.capacity import Capacity, capacity
from streams.catalog.commitments import Provisioned
from streams.catalog.models import Catalog
from streams.catalog.prices import Price
from streams.catalog.usage_frames import gathered
from tests.support.usage import usage, used

MAY = datetime(2026, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def price(bucket: str, amount: str, **other: Any) -> Price:
    return Price.model_validate(
        {"provider": "openai", "model": "m", "bucket": bucket, "unit_price": amount, "currency": "USD",
         "effective_from": MAY, "source": "test"} | other
    )  # fmt: skip


def book(*prices: Price) -> Book:
    return compile_book(Catalog(prices=prices), 1, "v1")


BOOK = book(price("input_uncached", "0.00001"), price("output_visible", "0.00004"))


def ptu(**other: Any) -> Provisioned:
    """Two units of 1,000 tokens a minute: 120,000 an hour, for 1 USD an hour."""
    return Provisioned.model_validate(
        {"id": "ptu", "provider": "openai", "model": "m", "units": 2, "hourly_cost": "0.5", "currency": "USD",
         "tokens_per_minute": 1_000, "effective_from": MAY, "source": "test"} | other
    )  # fmt: skip


def stand(rows: pl.DataFrame, at: datetime, agreed: Provisioned, prices: Book = BOOK) -> Capacity:
    return capacity(gathered(rows, at), [agreed], prices, MAY, at)


def total(rows: pl.DataFrame, at: datetime, agreed: Provisioned, prices: Book = BOOK) -> dict[str, Any]:
    [row] = stand(rows, at, agreed, prices).total.to_dicts()
    return row


def test_a_capacity_has_a_price_for_a_million_at_its_real_utilisation_and_a_break_even() -> None:
    rows = usage(
        used(MAY, 90_000, None, service_tier="provisioned"),
        used(MAY + HOUR, 30_000, None, service_tier="provisioned_throughput"),
        used(MAY + HOUR, 40_000),
    )

    row = total(rows, MAY + 2 * HOUR, ptu())

    assert (row["cost"], row["capacity"], row["tokens"], row["spilled"]) == (2, 240_000, 120_000, 40_000)
    assert (row["utilisation"], row["spillover"]) == (Decimal("0.5"), Decimal("0.25"))
    assert row["per_million"] == Decimal("16.666666666666666667")  # 2 USD for 120,000
    assert row["payg_per_million"] == 10
    assert row["break_even"] == Decimal("0.833333")  # 2 USD buy 200,000 of 240,000


def test_output_may_take_more_of_the_capacity() -> None:
    #  60,000 in and 15,000 out at burndown 4 take 120,000 of 120,000; by pay-as-you-go 0.60 + 0.60
    rows = usage(
        used(MAY, 60_000, service_tier="provisioned"),
        used(MAY, 15_000, service_tier="provisioned", bucket="output_visible"),
    )

    row = total(rows, MAY + HOUR, ptu(burndown={"output_visible": "4"}))

    assert (row["utilisation"], row["payg_per_million"]) == (1, 16)
    assert row["break_even"] == Decimal("0.833333")  # 1 of 1.20


def test_hours_without_usage_are_empty_and_paid() -> None:
    found = stand(usage(used(MAY + HOUR, 60_000, service_tier="provisioned")), MAY + 3 * HOUR, ptu())

    assert found.hours["utilisation"].to_list() == [0, Decimal("0.5"), 0]
    assert found.hours["cost"].to_list() == [1, 1, 1]


def test_a_first_hour_that_is_paid_in_part_has_a_part_of_the_capacity() -> None:
    start = MAY + timedelta(minutes=45)
    rows = usage(used(start, 15_000, service_tier="provisioned"), used(MAY, 99, service_tier="provisioned"))

    found = stand(rows, MAY + 2 * HOUR, ptu(effective_from=start))

    assert found.hours["capacity"].to_list() == [30_000, 120_000]
    assert found.hours["utilisation"].to_list() == [Decimal("0.5"), 0]
    assert found.total["cost"].to_list() == [Decimal("1.25")]


def test_a_capacity_that_nothing_uses_breaks_even_by_the_mix_that_it_could_serve() -> None:
    row = total(usage(used(MAY, 1_000)), MAY + HOUR, ptu())

    assert (row["per_million"], row["utilisation"], row["spillover"]) == (None, 0, 1)
    assert (row["payg_per_million"], row["break_even"]) == (10, Decimal("0.833333"))


def test_without_a_price_in_its_currency_there_is_no_break_even() -> None:
    rows = usage(used(MAY, 1_000, service_tier="provisioned"))

    bare = total(rows, MAY + HOUR, ptu(), book())
    other = total(rows, MAY + HOUR, ptu(currency="EUR"))

    assert [(r["payg_per_million"], r["break_even"]) for r in (bare, other)] == [(None, None)] * 2


def test_the_price_is_the_one_in_force_and_of_the_region() -> None:
    prices = book(
        price("input_uncached", "0.00001", effective_to=MAY + HOUR),
        price("input_uncached", "0.00002", effective_from=MAY + HOUR),
        price("input_uncached", "0.00003", region="eu"),
        price("input_uncached", "0.00000001", tenant="acme"),
    )
    rows = usage(used(MAY, 1_000, service_tier="provisioned", region="eu"))

    assert total(rows, MAY + HOUR, ptu(region="eu"), prices)["payg_per_million"] == 30
    assert total(usage(used(MAY, 9)), MAY + HOUR, ptu(), prices)["payg_per_million"] == 10
    assert total(usage(used(MAY, 9)), MAY + 2 * HOUR, ptu(), prices)["payg_per_million"] == 20


def test_other_models_regions_and_what_is_no_token_do_not_count() -> None:
    rows = usage(
        used(MAY, 9, model="n"), used(MAY, 9, region="us"), used(MAY, 9, bucket="requests", region="eu"),
        used(MAY, 8, region="eu"),
    )  # fmt: skip

    assert total(rows, MAY + HOUR, ptu(region="eu"))["spilled"] == 8
