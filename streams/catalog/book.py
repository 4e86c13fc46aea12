"""The price book: a catalog version compiled into frames that rating can join. A value, never changed."""

from dataclasses import dataclass

import polars as pl

from streams.catalog.models import Catalog
from streams.catalog.registry_frames import RegistryFrames, compile_registries
from streams.pipeline.frames import INSTANT, MONEY

PRICES = pl.Schema(
    {
        "provider": pl.String(),
        "model": pl.String(),
        "bucket": pl.String(),
        "effective_from": INSTANT,
        "effective_to": INSTANT,
        "price_id": pl.String(),
        "unit_price": MONEY,
        "currency": pl.String(),
        "free": pl.Boolean(),
    }
)


@dataclass(frozen=True, slots=True)
class Book:
    """`prices`: PRICES, sorted by effective_from; `aliases`: provider, alias, model."""

    sequence: int
    version: str
    prices: pl.DataFrame
    aliases: pl.DataFrame
    registries: RegistryFrames


def compile_book(catalog: Catalog, sequence: int, version: str) -> Book:
    """Frames of the catalog's prices and aliases."""
    rows = [
        (p.provider, p.model, p.bucket, p.effective_from, p.effective_to, p.price_id, p.unit_price, p.currency, p.free)
        for p in catalog.prices
    ]
    prices = pl.DataFrame(rows, PRICES, orient="row").sort("effective_from")
    aliases = pl.DataFrame(
        [(a.provider, a.alias, a.model) for a in catalog.aliases],
        {"provider": pl.String, "alias": pl.String, "sku_model": pl.String},
        orient="row",
    )
    registries = compile_registries(catalog, {t.id: t.accountable for t in catalog.tenants})
    return Book(sequence, version, prices, aliases, registries)
