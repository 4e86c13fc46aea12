"""What-ifs go through the one pricing function; capacity is compared with pay as you go exactly."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.pipeline.attribute import attribute
from streams.pipeline.estimate import VARIANTS, Capacity, Variant, cached, estimated, provisioned
from streams.pipeline.rate import rate
from streams.tokens.normalise import LINES, normalise
from tests.support.events import DECODER, avro
from tests.unit.pipeline.test_select import NOON, book, price

BATCH = {"processing": "batch"}
PRICES = book(
    price("1"), price("0.1", "input_cache_read"), price("4", "output_visible"),
    price("0.5", **BATCH), price("0.1", "input_cache_read", **BATCH), price("2", "output_visible", **BATCH),
    price("3", model="n"), price("9", "output_visible", model="n"),
)  # fmt: skip
BY_NAME = {v.name: v for v in VARIANTS}


def events(**more: Any) -> pl.DataFrame:
    quantities = [{"bucket": "input_uncached", "amount": 1_000}, {"bucket": "output_visible", "amount": 100}]
    usage = {"usage_json": None, "usage_dialect": None, "quantities": quantities}
    return DECODER.decode([avro(1, model="m", event_time=NOON, **usage | more)]).frame


def cost(variant: Variant, frame: pl.DataFrame | None = None, model: tuple[str, str] | None = None) -> Decimal | None:
    frame = events() if frame is None else frame
    found: Decimal | None = estimated(frame, normalise(frame), PRICES, variant, Fraction(3, 5), model)["list_cost"][0]
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("online", 1_000 + 400),
        ("cached", 400 + 60 + 400),  # 600 x 0.1
        ("batch", 500 + 200),
        ("batch, cached", 200 + 60 + 200),  # what is cached is not halved here
        ("flex", None),  # nobody wrote such a price
        ("flex, cached", None),
    ],
)
def test_a_variant_costs_what_its_own_entries_say(name: str, expected: int | None) -> None:
    assert cost(BY_NAME[name]) == expected


def test_the_same_usage_on_another_model_takes_that_model_s_prices() -> None:
    assert cost(BY_NAME["online"], model=("openai", "n")) == 3_000 + 900
    assert cost(BY_NAME["cached"], model=("openai", "n")) is None


def test_what_a_response_said_of_its_tier_is_not_true_of_another_run() -> None:
    block = '{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100}'
    frame = events(usage_json=block, usage_dialect="openai.chat", quantities=[], service_tier="priority")

    assert cost(BY_NAME["online"], frame) is None
    assert cost(BY_NAME["batch"], frame) == 700


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["input_uncached", "input_cache_read", "output_visible"]), st.integers(1, 10**12)),
             max_size=3, unique_by=lambda x: x[0]),
    st.fractions(0, 1, max_denominator=10**6),
)  # fmt: skip
def test_caching_moves_whole_tokens_and_loses_none(found: list[tuple[str, int]], share: Fraction) -> None:
    lines = pl.DataFrame([(1, *line) for line in sorted(found)], LINES, orient="row")

    after = dict(cached(lines, share).select("bucket", "quantity").iter_rows())

    before = dict(found)
    moved = before.get("input_uncached", 0) * share.numerator // share.denominator
    assert sum(after.values()) == sum(before.values())
    assert after.get("input_cache_read", 0) == before.get("input_cache_read", 0) + moved


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_the_plain_variant_is_what_rate_says(tokens_in: int, tokens_out: int) -> None:
    frame = events(
        quantities=[
            {"bucket": "input_uncached", "amount": tokens_in},
            {"bucket": "output_visible", "amount": tokens_out},
        ]
    )
    attributed = attribute(frame, PRICES)

    assert estimated(frame, normalise(frame), PRICES).equals(rate(attributed, normalise(attributed), PRICES))


HALF_A_MILLION_AN_HOUR = Capacity(Decimal(60), 2, 500_000, 10)  # 2 x 500,000 x 60 x 10 = 600,000,000 tokens for 1,200


@pytest.mark.parametrize(
    ("tokens", "utilisation", "spillover", "per_million", "total"),
    [
        (300_000_000, "0.5", "0", 4, 1_200),
        (600_000_000, "1", "0", 2, 1_200),
        (1_200_000_000, "1", "0.5", 2, 1_200 + 2_400),  # 600 million beyond it, at 4 a million
    ],
)
def test_capacity_costs_the_more_per_token_the_less_it_is_used(
    tokens: int, utilisation: str, spillover: str, per_million: int, total: int
) -> None:
    found = provisioned(HALF_A_MILLION_AN_HOUR, tokens, Fraction(4, 10**6))

    assert (found.utilisation, found.spillover) == (Decimal(utilisation), Decimal(spillover))
    assert [found.per_million, found.total, found.break_even] == [per_million, total, Decimal("0.5")]


def test_without_a_price_there_is_no_break_even_and_spillover_has_no_total() -> None:
    found = provisioned(HALF_A_MILLION_AN_HOUR, 10**9, None)

    assert (found.break_even, found.total, found.as_you_go) == (None, None, None)
    assert found.per_million == 2
