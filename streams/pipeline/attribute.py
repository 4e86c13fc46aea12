"""Who an event belongs to, beyond what it says itself. First cut: the event's own fields stand as they are."""

import polars as pl

from streams.catalog.book import Book


def attribute(events: pl.DataFrame, book: Book) -> pl.DataFrame:
    """The events with the model under which prices know them (`sku_model`), by the catalog's aliases."""
    if not book.aliases.height:
        return events.with_columns(sku_model=pl.col("model"))
    named = events.join(
        book.aliases, left_on=["provider", "model"], right_on=["provider", "alias"], how="left", maintain_order="left"
    )
    return named.with_columns(sku_model=pl.coalesce("sku_model", "model"))
