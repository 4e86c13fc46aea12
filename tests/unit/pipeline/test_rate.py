"""Rating, held against a slow scalar oracle in Decimal and dicts; money worked out by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.book import Book, compile_book
from streams.catalog.models import Catalog
from streams.catalog.prices import KNOWN_BUCKETS, Price
from streams.pipeline.attribute import attribute
from streams.pipeline.rate import rate
from streams.pipeline.totals import totals
from streams.tokens.buckets import NOT_TOKENS
from streams.tokens.normalise import normalise
from streams.watch.scopes import Scope
from tests.support.events import DECODER, NOW, avro

NOON = datetime.fromtimestamp(NOW / 1000, UTC) - timedelta(hours=1)
DAY = timedelta(days=1)


def price(model: str, bucket: str, amount: str, start: datetime = NOON - DAY, end: datetime | None = None) -> Price:
    return Price(
        provider="openai",
        model=model,
        bucket=bucket,
        unit_price=Decimal(amount),
        effective_from=start,
        effective_to=end,
        currency="USD",
        source="test",
    )


def book(*prices: Price) -> Book:
    return compile_book(Catalog(prices=prices), 1, "v1")


def rated(events: list[Any], prices: Book) -> pl.DataFrame:
    frame = attribute(DECODER.decode(events).frame, prices)
    return rate(frame, normalise(frame), prices)


def used(number: int, at: datetime, model: str = "m", **amounts: int) -> Any:
    quantities = [{"bucket": b, "amount": n} for b, n in amounts.items()]
    return avro(number, model=model, event_time=at, usage_json=None, usage_dialect=None, quantities=quantities)


def test_an_event_at_the_instant_of_a_price_change_gets_the_new_price() -> None:
    #  old  [--------12:00)
    #  new          [12:00--------
    #  event         12:00:00.000
    prices = book(
        price("m", "input_uncached", "0.000001", NOON - DAY, NOON), price("m", "input_uncached", "0.000002", NOON)
    )

    frame = rated(
        [used(1, NOON, input_uncached=1_000), used(2, NOON - timedelta(milliseconds=1), input_uncached=1_000)], prices
    )

    assert frame["list_cost"].to_list() == [Decimal("0.002"), Decimal("0.001")]  # 1,000 x 0.000002 and x 0.000001


def test_no_price_is_null_and_unpriced_never_zero() -> None:
    frame = rated([used(1, NOON, model="nobody-knows", input_uncached=5)], book(price("m", "input_uncached", "1")))

    assert frame["pricing_status"].to_list() == ["unpriced"]
    assert frame["list_cost"].to_list() == [None]
    assert frame["total_tokens"].to_list() == [5]


def test_an_event_that_lacks_one_price_has_no_cost_at_all() -> None:
    frame = rated([used(1, NOON, input_uncached=5, output_visible=1)], book(price("m", "input_uncached", "1")))

    assert frame["pricing_status"].to_list() == ["partial"]
    assert frame["list_cost"].to_list() == [None]


def test_reasoning_costs_what_output_costs_unless_it_has_its_own_price() -> None:
    frame = rated([used(1, NOON, output_reasoning=3)], book(price("m", "output_visible", "0.00001")))

    assert frame["list_cost"].to_list() == [Decimal("0.00003")]
    assert frame["lines"].to_list()[0][0]["bucket"] == "output_reasoning"


def test_a_block_that_cannot_be_read_is_inconsistent_and_visible() -> None:
    frame = rated([avro(1, usage_dialect="nobody.chat")], book())

    assert frame["pricing_status"].to_list() == ["inconsistent"]
    assert frame["reasons"].to_list() == [["unknown_dialect: nobody.chat"]]
    assert frame["total_tokens"].to_list() == [None]


def test_money_is_exact_at_eighteen_digits() -> None:
    frame = rated(
        [used(1, NOON, input_uncached=10**12 - 1)], book(price("m", "input_uncached", "0.000000000000000001"))
    )

    assert frame["effective_cost"].to_list() == [Decimal("0.000000999999999999")]


def test_a_price_that_is_over_is_no_price() -> None:
    frame = rated([used(1, NOON, input_uncached=1)], book(price("m", "input_uncached", "1", NOON - DAY, NOON)))

    assert frame["pricing_status"].to_list() == ["unpriced"]


BUCKETS = ("input_uncached", "input_cache_read", "output_visible", "output_reasoning")
usage = st.dictionaries(st.sampled_from(BUCKETS), st.integers(1, 10**6), max_size=4)
hours = st.integers(-40, 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("mno"), hours, usage), min_size=1, max_size=12), st.integers(1, 5))
def test_columns_say_what_the_oracle_says_however_chunked(
    events: list[tuple[str, int, dict[str, int]]], cut: int
) -> None:
    changes = [NOON - timedelta(hours=h) for h in (38, 20, 7)]
    prices = [
        price(m, b, f"0.{i + 1}{len(m)}000{j + 3}", start, end)
        for j, (start, end) in enumerate([(changes[0], changes[1]), (changes[1], changes[2]), (changes[2], None)])
        for i, b in enumerate(BUCKETS[:3])
        for m in "mn"
    ]
    records = [
        used(i, NOON + timedelta(hours=h), model, **u) if u else avro(i, model=model, usage_json='{"prompt_tokens":0}')
        for i, (model, h, u) in enumerate(events)
    ]

    frame = rated(records, book(*prices))
    chunked = pl.concat([rated(records[i : i + cut], book(*prices)) for i in range(0, len(records), cut)])

    assert frame.equals(chunked)
    for row, (model, h, u) in zip(frame.to_dicts(), events, strict=True):
        amounts = []
        for bucket, quantity in u.items():
            name = "output_visible" if bucket == "output_reasoning" else bucket
            at = NOON + timedelta(hours=h)
            fits = [
                p for p in prices
                if (p.model, p.bucket) == (model, name)
                and p.effective_from <= at
                and (p.effective_to is None or at < p.effective_to)
            ]  # fmt: skip
            amounts.append(fits[0].unit_price * quantity if fits else None)
        want = None if None in amounts else sum((a for a in amounts if a is not None), Decimal(0))
        assert row["list_cost"] == want


LARGEST = str(10**6 - Decimal("0.000000000000000001"))


def test_a_chunk_of_maximal_events_wraps_nothing_and_costs_nothing_that_cannot_be_true() -> None:
    inputs = sorted(b for b in KNOWN_BUCKETS if b.startswith("input_"))
    prices = book(*(price("m", bucket, LARGEST) for bucket in inputs))
    all_of_them: dict[str, Any] = dict.fromkeys(inputs, 10**12)

    frame = rated([used(i, NOON, **all_of_them) for i in range(50)], prices)

    assert frame["pricing_status"].unique().to_list() == ["inconsistent"]
    assert frame["effective_cost"].null_count() == 50
    assert "beyond 10^12" in frame["reasons"][0][0]
    assert frame["input_tokens"].to_list() == [len(set(inputs) - set(NOT_TOKENS)) * 10**12] * 50


def test_sums_of_the_dearest_events_are_exact() -> None:
    prices = book(price("m", "input_uncached", LARGEST))
    dear = 10**6

    frame = rated([used(i, NOON, input_uncached=dear) for i in range(2_000)], prices)

    assert totals(frame, [Scope("s", "*", (), ())])["cost"].sum() == Decimal(LARGEST) * dear * 2_000
