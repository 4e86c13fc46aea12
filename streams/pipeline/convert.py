"""Costs in a tenant's own currency, beside those in which they were priced, by the dated rate of the catalog that holds."""

import polars as pl

from streams.catalog.book import Book
from streams.pipeline.frames import INSTANT, MONEY

RATES = pl.Schema(
    {
        "currency": pl.String(),
        "converted_currency": pl.String(),
        "rate_from": INSTANT,
        "rate_to": INSTANT,
        "rate": MONEY,
        "rate_id": pl.String(),
    }
)


def converted(rated: pl.DataFrame, book: Book) -> pl.DataFrame:
    """rated: tenant_id, event_time, currency, effective_cost. Adds converted_cost, converted_currency, rate_id.

    All null where the tenant names no currency, where it is the same, or where no rate is in force.
    """
    nothing = {
        "converted_cost": pl.lit(None, MONEY),
        "converted_currency": pl.lit(None, pl.String),
        "rate_id": pl.lit(None, pl.String),
    }
    if not book.currency_of:
        return rated.with_columns(**nothing)
    wanted = pl.col("tenant_id").replace_strict(dict(book.currency_of), default=None, return_dtype=pl.String)
    rates = pl.DataFrame(
        [(r.base, r.quote, r.effective_from, r.effective_to, r.rate, r.rate_id) for r in book.rates],
        RATES,
        orient="row",
    )
    facts = rated.select("source_offset", "currency", "event_time", "effective_cost", converted_currency=wanted)
    facts = facts.filter(pl.col("converted_currency") != pl.col("currency"))
    held = facts.join(rates, on=["currency", "converted_currency"]).filter(
        pl.col("rate_from") <= pl.col("event_time"), (pl.col("rate_to") > pl.col("event_time")).fill_null(True)
    )
    found = held.select(
        "source_offset",
        "converted_currency",
        "rate_id",
        converted_cost=(pl.col("effective_cost") * pl.col("rate")).cast(MONEY),
    )
    return rated.join(found, on="source_offset", how="left", maintain_order="left", validate="1:1")
