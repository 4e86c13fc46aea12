"""Base prices: exact, dated, never a guess."""

from datetime import UTC, datetime
from decimal import Decimal

from streams.catalog.base_prices import base_catalog, with_base
from streams.catalog.models import Catalog, Price
from streams.catalog.validate import problems


def of(provider: str, model: str) -> list[Price]:
    return [p for p in base_catalog().prices if (p.provider, p.model) == (provider, model)]


def test_the_base_holds_as_a_catalog_and_is_large() -> None:
    assert problems(base_catalog()) == []
    assert len(base_catalog().prices) > 5_000


def test_a_price_for_a_million_becomes_the_exact_price_of_one() -> None:
    prices = {p.bucket: p.unit_price for p in of("openai", "gpt-5-mini")}

    assert prices["input_uncached"] == Decimal("0.00000025")
    assert prices["output_visible"] == Decimal("0.000002")


def test_a_price_that_changed_is_two_entries_that_meet() -> None:
    prices = [p for p in of("quicksilverpro", "claude-haiku-4-5") if p.bucket == "input_uncached"]
    first, second = prices[:2]

    assert first.effective_to == second.effective_from == datetime(2026, 10, 19, tzinfo=UTC)
    assert (first.unit_price, second.unit_price) == (Decimal("0.0000008"), Decimal("0.00000025"))


def test_what_depends_on_the_context_length_or_the_hour_is_left_unpriced() -> None:
    assert of("anthropic", "claude-sonnet-4-5") == [
        p for p in of("anthropic", "claude-sonnet-4-5") if p.bucket == "web_searches"
    ]
    assert of("deepseek", "deepseek-chat") == []


def test_no_price_is_zero_unless_the_model_is_marked_as_free() -> None:
    assert all(p.free == (p.unit_price == 0) for p in base_catalog().prices)
    assert all(p.model.endswith(":free") for p in base_catalog().prices if p.free)


def test_own_prices_replace_the_base_of_that_model_only() -> None:
    own = of("openai", "gpt-5-mini")[0].model_copy(update={"unit_price": Decimal("0.5"), "source": "contract"})

    merged = with_base(Catalog(prices=(own,)))

    assert [p for p in merged.prices if (p.provider, p.model) == ("openai", "gpt-5-mini")] == [own]
    assert len(merged.prices) > 5_000
    assert problems(merged) == []
