"""Base prices: exact, dated, never a guess."""

from datetime import UTC, datetime
from decimal import Decimal

from streams.catalog.base_prices import base_catalog, with_base
from streams.catalog.models import Catalog
from streams.catalog.names import Sku, compile_names
from streams.catalog.prices import Price
from streams.catalog.validate import problems


def of(provider: str, model: str) -> list[Price]:
    return [p for p in base_catalog().prices if (p.provider, p.model) == (provider, model)]


def test_the_base_holds_as_a_catalog_and_is_large() -> None:
    assert problems(base_catalog()) == []
    assert len(base_catalog().prices) > 5_000


def test_a_price_for_a_million_becomes_the_exact_price_of_one() -> None:
    prices = {
        p.bucket: p.each
        for p in of("openai", "gpt-5-mini")
        if p.service_tier == "standard" and p.processing == "online"
    }

    assert prices["input_uncached"] == Decimal("0.00000025")
    assert prices["output_visible"] == Decimal("0.000002")


def test_a_price_that_changed_is_two_entries_that_meet() -> None:
    prices = [p for p in of("quicksilverpro", "claude-haiku-4-5") if p.bucket == "input_uncached"]
    first, second = prices[:2]

    assert first.effective_to == second.effective_from == datetime(2026, 10, 19, tzinfo=UTC)
    assert (first.each, second.each) == (Decimal("0.0000008"), Decimal("0.00000025"))


def test_a_long_context_is_a_band_of_its_own_that_begins_above_the_threshold() -> None:
    bands = [
        p for p in of("anthropic", "claude-sonnet-4-5") if (p.bucket, p.processing) == ("input_uncached", "online")
    ]

    assert [(p.context_from, p.context_to, p.each) for p in bands] == [
        (0, 200_001, Decimal("0.000003")),
        (200_001, None, Decimal("0.000006")),
    ]


def test_hours_of_the_day_are_schedules_over_the_other_hours() -> None:
    prices = [p for p in of("deepseek", "deepseek-chat") if p.bucket == "input_uncached"]

    assert {p.schedule: p.each for p in prices} == {"": Decimal("0.000000135"), "utc-0030-1630": Decimal("0.00000027")}


def test_a_batch_price_is_what_the_source_states_never_half_of_the_online_price() -> None:
    batch = {p.bucket: p.each for p in of("anthropic", "claude-fable-5-1") if p.processing == "batch"}

    assert batch["input_cache_read"] == Decimal("0.000000125")
    assert batch["output_visible"] == Decimal("0.000025")


def test_no_price_is_zero_unless_the_model_is_marked_as_free() -> None:
    assert all(p.free == (p.unit_price == 0) for p in base_catalog().prices)
    assert all(p.model.endswith(":free") for p in base_catalog().prices if p.free)


def test_own_prices_replace_the_base_of_that_model_only() -> None:
    own = of("openai", "gpt-5-mini")[0].model_copy(update={"unit_price": Decimal("0.5"), "source": "contract"})

    merged = with_base(Catalog(prices=(own,)))

    assert [p for p in merged.prices if (p.provider, p.model) == ("openai", "gpt-5-mini")] == [own]
    assert len(merged.prices) > 5_000
    assert problems(merged) == []


def test_a_model_with_own_prices_keeps_its_dated_names() -> None:
    own = of("anthropic", "claude-haiku-4-5")[0].model_copy(update={"source": "contract"})

    names = compile_names(with_base(Catalog(prices=(own,))))

    for name in ("claude-haiku-4-5", "claude-haiku-4-5-20251001"):  # answers say the second; the base has a prefix
        assert names.resolve("anthropic", name) == [Sku("anthropic", "claude-haiku-4-5")]
