"""Base prices of genai-prices as entries of our catalog, with their effective dates; what cannot be said exactly is left out.

Left out, and so `unpriced` instead of wrong: prices by context band, by time of day and by service tier, zero prices of models
that are not marked as free, and models that are recognised by a pattern only (facts/domain.md §2).
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from itertools import pairwise
from typing import Any

from genai_prices import data, types

from streams.catalog.models import MAX_SCALE, Alias, Catalog, Price

MILLION, THOUSAND = Decimal(1_000_000), Decimal(1_000)
START = datetime(2020, 1, 1, tzinfo=UTC)  # of entries whose first day is not recorded
# Price key there -> bucket here, and the number of units that the price is for. Reasoning without a price of its own is
# billed as output, which rating knows.
UNITS: dict[str, tuple[str, Decimal]] = {
    "input_mtok": ("input_uncached", MILLION),
    "cache_read_mtok": ("input_cache_read", MILLION),
    "cache_write_mtok": ("input_cache_write_5m", MILLION),
    "cache_write_1h_mtok": ("input_cache_write_1h", MILLION),
    "output_mtok": ("output_visible", MILLION),
    "output_reasoning_mtok": ("output_reasoning", MILLION),
    "input_audio_mtok": ("input_uncached_audio", MILLION),
    "cache_audio_read_mtok": ("input_cache_read_audio", MILLION),
    "output_audio_mtok": ("output_visible_audio", MILLION),
    "requests_kcount": ("requests", THOUSAND),
    "web_searches_kcount": ("web_searches", THOUSAND),
}


@lru_cache(maxsize=1)
def base_catalog() -> Catalog:
    """Every price and alias that can be stated exactly, about 5,000 entries."""
    source = f"genai-prices {version('genai-prices')}"
    prices, aliases = list[Price](), list[Alias]()
    for provider in data.providers:
        for model in provider.models:
            found = list(_prices(provider.id, model, source))
            prices += found
            if found:
                aliases += [
                    Alias(provider=provider.id, alias=n, model=model.id) for n in _names(model) if n != model.id
                ]
    return Catalog(prices=tuple(prices), aliases=tuple(_unambiguous(aliases, {(p.provider, p.model) for p in prices})))


def with_base(own: Catalog) -> Catalog:
    """Own entries, and the base for every model for which there is no own price."""
    base = base_catalog()
    priced = {(p.provider, p.model) for p in own.prices}
    named = {(a.provider, a.alias) for a in own.aliases} | priced
    prices = [p for p in base.prices if (p.provider, p.model) not in priced]
    aliases = [a for a in base.aliases if (a.provider, a.alias) not in named]
    return own.model_copy(update={"prices": (*own.prices, *prices), "aliases": (*own.aliases, *aliases)})


def _unambiguous(aliases: Iterable[Alias], models: set[tuple[str, str]]) -> Iterator[Alias]:
    """An alias that is a model of its own, or was given before, would make the price a guess."""
    seen = set(models)
    for alias in aliases:
        if (alias.provider, alias.alias) not in seen:
            seen.add((alias.provider, alias.alias))
            yield alias


def _names(model: Any) -> list[str]:
    clauses = model.match.or_ if isinstance(model.match, types.ClauseOr) else [model.match]
    return [c.equals for c in clauses if isinstance(c, types.ClauseEquals)]


def _prices(provider: str, model: Any, source: str) -> Iterator[Price]:
    free = model.id.endswith(":free")
    for start, end, prices in _stretches(model.prices):
        for key, (bucket, per) in UNITS.items():
            amount = getattr(prices, key, None)
            if not isinstance(amount, Decimal) or (amount == 0 and not free):
                continue
            unit_price = amount / per
            if -int(unit_price.normalize().as_tuple().exponent) > MAX_SCALE:
                continue  # 0.18000000000000002 is a slip of somebody's float, not a price
            yield Price(
                provider=provider,
                model=model.id,
                bucket=bucket,
                unit_price=unit_price,
                effective_from=start,
                effective_to=end,
                free=amount == 0,
                source=source,
            )


def _stretches(prices: Any) -> list[tuple[datetime, datetime | None, Any]]:
    """[from, to) and prices; empty when something other than the day decides."""
    if not isinstance(prices, list):
        return [(START, None, prices)]
    starts = []
    for entry in prices:
        if entry.constraint is None:
            starts.append((START, entry.prices))
        elif isinstance(entry.constraint, types.StartDateConstraint):
            starts.append((_midnight(entry.constraint.start_date), entry.prices))
        else:
            return []
    starts.sort(key=lambda s: s[0])
    ends = [b[0] for _, b in pairwise(starts)]
    return [(at, end, found) for (at, found), end in zip(starts, [*ends, None], strict=True) if end is None or end > at]


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
