"""Our prices beside an excerpt of LiteLLM's list, written by hand."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from streams.catalog.cross_check import compare
from streams.catalog.models import Catalog
from streams.catalog.prices import Alias, Price

AT = datetime(2026, 11, 1, tzinfo=UTC)
LISTING = json.loads(
    """{
    "sample_spec": {"litellm_provider": "openai", "input_cost_per_token": 1.0},
    "gpt-x": {"litellm_provider": "openai", "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05,
        "cache_read_input_token_cost": 1.2499999999999999e-07, "cache_creation_input_token_cost": 2e-06},
    "gpt-x-2026-01-01": {"litellm_provider": "openai", "input_cost_per_token": 2.5e-06},
    "gpt-unknown": {"litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 0.0},
    "gemini/gem": {"litellm_provider": "gemini", "input_cost_per_token": 1e-07, "input_cost_per_token_batches": 5e-08},
    "azure/eu/gpt-x": {"litellm_provider": "azure", "input_cost_per_token": 9.0},
    "other": {"litellm_provider": "somebody", "input_cost_per_token": 1.0}
}""",
    parse_float=Decimal,
)


def price(provider: str, model: str, bucket: str, amount: str, **other: Any) -> Price:
    given = {
        "provider": provider,
        "model": model,
        "bucket": bucket,
        "unit_price": Decimal(amount),
        "currency": "USD",
        "source": "s",
    }
    return Price(**{"effective_from": datetime(2026, 1, 1, tzinfo=UTC), **given, **other})


CATALOG = Catalog(
    prices=(
        price("openai", "gpt-x", "input_uncached", "0.00000125"),
        price("openai", "gpt-x", "output_visible", "0.000008"),
        price("openai", "gpt-x", "input_cache_read", "0.000000125"),
        price("openai", "gpt-x", "input_cache_write_30m", "0.000002"),
        price("openai", "gpt-x", "input_uncached", "0.0000006", processing="batch"),
        price("openai", "gpt-only", "input_uncached", "0.000001"),
        price("google", "gem", "input_uncached", "0.0000001", context_to=200_001),
        price("google", "gem", "input_uncached", "0.0000002", context_from=200_001),
        price("azure", "gpt-x", "input_uncached", "0.000001"),
    ),
    aliases=(Alias(provider="openai", alias="gpt-x-2026", model="gpt-x", match="prefix"),),
)


def test_prices_that_differ_are_listed_with_their_ratio_and_the_rest_is_counted() -> None:
    found = compare(CATALOG, LISTING, AT)

    assert [(r.name, r.bucket, r.ours, r.theirs, r.ratio) for r in found.different] == [
        ("gpt-x-2026-01-01", "input_uncached", Decimal("0.00000125"), Decimal("0.0000025"), 2),
        ("gpt-x", "output_visible", Decimal("0.000008"), Decimal("0.00001"), Decimal("1.25")),
    ]
    assert {(r.model, r.bucket) for r in found.equal} == {
        ("gpt-x", "input_uncached"),
        ("gpt-x", "input_cache_read"),  # but for the noise of their float
        ("gpt-x", "input_cache_write_30m"),  # they do not say how long a write lasts
        ("gem", "input_uncached"),  # the lowest band
    }
    assert found.only_ours == [("openai", "gpt-only", "input_uncached")]
    assert found.only_theirs == [("openai", "gpt-unknown", "input_uncached")]


def test_a_price_that_is_over_is_not_ours_any_more() -> None:
    ended = price("openai", "gpt-x", "input_uncached", "0.00000125", effective_to=AT)

    found = compare(Catalog(prices=(ended, price("openai", "m", "output_visible", "1"))), LISTING, AT)
    before = compare(Catalog(prices=(ended,)), LISTING, AT - timedelta(days=1))

    assert (len(found.equal), len(found.different)) == (0, 0)
    assert len(before.equal) == 1
