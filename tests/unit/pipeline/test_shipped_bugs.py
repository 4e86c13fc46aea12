"""What other meters got wrong, with the numbers of their reports (PEERS.md, I-1 to I-14): each is right here, or this fails."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from streams.catalog.base_prices import base_catalog
from streams.catalog.book import Book, compile_book
from streams.tokens.read import read_block
from tests.unit.pipeline.test_select import book, one, price

JULY = datetime(2026, 7, 1, tzinfo=UTC)


@cache
def base() -> Book:
    return compile_book(base_catalog(), 1, "base")


def rated(
    dialect: str, provider: str, model: str, block: dict[str, Any], prices: Book | None = None, **more: Any
) -> dict[str, Any]:
    said = {"usage_dialect": dialect, "usage_json": json.dumps(block), "provider": provider}
    return one(prices or base(), JULY, model, **said | more)


CACHE_WRITE = {
    "input_tokens": 3,
    "cache_creation_input_tokens": 12304,
    "cache_read_input_tokens": 0,
    "output_tokens": 550,
}


def test_i1_cache_writes_are_charged_once() -> None:
    # BerriAI/litellm#9812: reported $0.091311, the console said $0.04614 written and $0.00825 put out
    found = rated("anthropic.messages", "anthropic", "claude-3-7-sonnet-20250219", CACHE_WRITE)

    amounts = {line["bucket"]: line["amount"] for line in found["lines"]}
    assert amounts["input_cache_write_5m"] == Decimal("0.04614")
    assert amounts["output_visible"] == Decimal("0.00825")
    assert found["effective_cost"] == Decimal("0.054399")


def test_i1_cache_writes_are_charged_once_behind_litellm_too() -> None:
    block = {
        "prompt_tokens": 12307,
        "completion_tokens": 550,
        "total_tokens": 12857,
        "cache_creation_input_tokens": 12304,
    }

    found = rated("litellm", "anthropic", "claude-3-7-sonnet-20250219", block)

    assert found["effective_cost"] == Decimal("0.054399")


def test_i2_the_parts_of_litellms_usage_add_up_to_its_total() -> None:
    # BerriAI/litellm#11364, comment of 2026-01-19
    block = {
        "total_tokens": 103925,
        "prompt_tokens": 98805,
        "completion_tokens": 5120,
        "cache_read_input_tokens": 66360,
        "cache_creation_input_tokens": 32435,
        "prompt_tokens_details": {"cached_tokens": 66360, "cache_creation_tokens": 32435},
        "completion_tokens_details": {"reasoning_tokens": 1710},
    }

    found = read_block("litellm", json.dumps(block)).quantities

    assert found == {
        "input_uncached": 10,
        "input_cache_read": 66360,
        "input_cache_write_5m": 32435,
        "output_reasoning": 1710,
        "output_visible": 3410,
    }
    assert sum(found.values()) == 103925


def test_i3_an_input_that_includes_the_cache_is_not_counted_twice() -> None:
    # langfuse/langfuse#12306: about twice the cost
    block = {
        "gen_ai.usage.input_tokens": 10_000,
        "gen_ai.usage.output_tokens": 0,
        "gen_ai.usage.cache_read.input_tokens": 9_000,
    }
    prices = book(price("0.000003"), price("0.0000003", "input_cache_read"))

    found = rated("otel.gen_ai", "openai", "m", block, prices)

    assert found["effective_cost"] == Decimal("0.003") + Decimal("0.0027")  # not 0.030 + 0.0027


def test_i4_a_price_of_ones_own_goes_the_way_of_every_price() -> None:
    # BerriAI/litellm PR #40016: 1.9 times too much with custom prices
    own = book(
        price("0.000003"),
        price("0.00000375", "input_cache_write_5m"),
        price("0.000003", tenant="acme"),
        price("0.00000375", "input_cache_write_5m", tenant="acme"),
    )
    block = {"input_tokens": 3, "cache_creation_input_tokens": 12304, "output_tokens": 0}
    own_provider = {"provider": "openai"}

    found = [
        one(
            own,
            JULY,
            "m",
            usage_dialect="anthropic.messages",
            usage_json=json.dumps(block),
            tenant_id=t,
            **own_provider,
        )
        for t in ("acme", "b")
    ]

    assert found[0]["contracted_cost"] == found[1]["contracted_cost"] == Decimal("0.046149")


def test_i5_otel_includes_the_cache_and_anthropic_excludes_it() -> None:
    ours = {"input_uncached": 3, "input_cache_write_5m": 12304, "output_visible": 550}
    otel = {
        "gen_ai.usage.input_tokens": 12307,
        "gen_ai.usage.output_tokens": 550,
        "gen_ai.usage.cache_creation.input_tokens": 12304,
    }

    assert read_block("anthropic.messages", json.dumps(CACHE_WRITE)).quantities == ours
    assert read_block("otel.gen_ai", json.dumps(otel)).quantities == ours


def test_i6_times_to_live_modalities_and_reasoning_are_buckets_of_their_own() -> None:
    block = {
        "input_tokens": 1,
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 4},
        "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 6},
    }

    found = read_block("anthropic.messages", json.dumps(block)).quantities

    assert found["input_cache_write_5m"] == 5
    assert found["input_cache_write_1h"] == 6
    assert found["output_reasoning"] == 4


def test_i7_a_negative_rest_is_inconsistent_and_not_clamped_to_a_price_of_nothing() -> None:
    # thoughtbot/opentelemetry-instrumentation-ruby_llm PR #38; langsmith-sdk#2519 charged 19 real tokens $0
    block = {
        "prompt_tokens": 19,
        "completion_tokens": 5,
        "total_tokens": 24,
        "prompt_tokens_details": {"cached_tokens": 39_000},
    }

    found = rated("openai.chat", "openai", "gpt-5-mini", block)

    assert (found["pricing_status"], found["effective_cost"]) == ("inconsistent", None)
    assert found["reasons"] == ["inconsistent: input_uncached would be -38981"]


def test_i8_flex_costs_what_flex_costs() -> None:
    # BerriAI/litellm#37647: Google said ON_DEMAND_FLEX and the standard price was taken, twice as much
    block = {
        "promptTokenCount": 4061,
        "candidatesTokenCount": 25,
        "totalTokenCount": 4086,
        "trafficType": "ON_DEMAND_FLEX",
    }
    since: dict[str, Any] = {"provider": "google", "per": 1_000_000}
    prices = book(
        price("0.30", **since),
        price("2.50", "output_visible", **since),
        price("0.15", service_tier="flex", **since),
        price("1.25", "output_visible", service_tier="flex", **since),
    )

    flex = rated("google.generate_content", "google", "m", block, prices)
    standard = rated("google.generate_content", "google", "m", block | {"trafficType": "ON_DEMAND"}, prices)

    assert standard["effective_cost"] == Decimal("0.0012808")
    assert flex["effective_cost"] == Decimal("0.0006404")


def test_i9_a_batch_beyond_272_000_tokens_takes_the_price_of_its_band_for_input_and_output() -> None:
    # BerriAI/litellm PR #39861: half of the input and two thirds of the output were charged
    batch: dict[str, Any] = {"processing": "batch"}
    prices = book(
        price("1", context_to=272_001, **batch),
        price("2", context_from=272_001, **batch),
        price("4", "output_visible", context_to=272_001, **batch),
        price("6", "output_visible", context_from=272_001, **batch),
    )

    found = one(prices, amounts={"input_uncached": 300_000, "output_visible": 10}, **batch)

    assert found["effective_cost"] == 300_000 * 2 + 10 * 6


def test_i10_a_tier_without_its_long_context_price_is_unpriced() -> None:
    # BerriAI/litellm PR #39245: flex and priority rates beyond the threshold were missing
    prices = book(
        price("1", context_to=200_001),
        price("2", context_from=200_001),
        price("0.5", service_tier="flex", context_to=200_001),
    )

    found = one(prices, amounts={"input_uncached": 200_001}, service_tier="flex")

    assert (found["pricing_status"], found["effective_cost"]) == ("unpriced", None)


def test_i11_i13_an_unknown_model_has_no_cost_and_counts_in_tokens_and_as_unpriced() -> None:
    # BerriAI/litellm PR #35914: $1.16 was logged in seven days where about $185 was spent
    found = one(base(), JULY, "the-model-that-works", amounts={"input_uncached": 1_000, "output_visible": 500})

    assert (found["pricing_status"], found["effective_cost"], found["total_tokens"]) == ("unpriced", None, 1_500)


def test_i12_a_zero_price_must_be_said() -> None:
    # openclaw/openclaw#85858: a table of zeros disabled the budgets while $11 a day were spent
    with pytest.raises(ValueError, match="say free = true"):
        price("0")


def test_i14_no_model_borrows_the_price_of_another() -> None:
    # nbramia/LifeOS#669: a fallback rate in real spend
    assert one(book(price("1")), model="m-2")["effective_cost"] is None
