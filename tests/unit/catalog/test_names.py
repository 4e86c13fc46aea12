"""A name that means something for a while leaves its other time to what else the name means."""

from datetime import UTC, datetime, timedelta
from typing import Any

from streams.catalog.models import Catalog
from streams.catalog.names import Names, Sku, compile_names
from streams.catalog.prices import Alias, Price, Seller

NOON, DAY = datetime(2026, 6, 1, 12, tzinfo=UTC), timedelta(days=1)


def names(*aliases: Alias, sellers: tuple[Seller, ...] = ()) -> Names:
    prices = tuple(
        Price(
            provider=p, model=m, bucket="input_uncached", unit_price="1", currency="USD", effective_from=NOON - DAY, source="s"
        )
        for p, m in (("p", "m"), ("p", "n"), ("q", "x"))
    )  # fmt: skip
    return compile_names(Catalog(prices=prices, aliases=aliases, sellers=sellers))


def alias(name: str, model: str, **other: Any) -> Alias:
    return Alias(provider="p", alias=name, model=model, **other)


def test_before_a_dated_alias_a_pattern_is_asked() -> None:
    found = names(alias("late", "n", effective_from=NOON), alias("la", "m", match="prefix"))

    assert found.resolve("p", "late") == [Sku("p", "n", NOON, None), Sku("p", "m", None, NOON)]


def test_an_alias_of_a_models_own_name_says_when_the_name_means_it() -> None:
    found = names(alias("n", "n", effective_from=NOON), alias("n", "m", match="prefix"))

    assert found.resolve("p", "n") == [Sku("p", "n", NOON, None), Sku("p", "m", None, NOON)]


def test_time_that_nobody_fills_stays_empty() -> None:
    found = names(alias("a", "m", effective_from=NOON, effective_to=NOON + DAY))

    assert found.resolve("p", "a") == [Sku("p", "m", NOON, NOON + DAY)]


def test_time_that_the_provider_leaves_open_is_sold_at_anothers_prices() -> None:
    found = names(alias("x", "m", effective_from=NOON), sellers=(Seller(provider="p", sells=("q",)),))

    assert found.resolve("p", "x") == [Sku("p", "m", NOON, None), Sku("q", "x", None, NOON)]
