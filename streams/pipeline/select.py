"""Which price holds for a line: by SKU, class of service, region, contract, hour, size and event time. Columns, no guesses.

A chunk has few distinct sales; each finds its offers once (catalog/book.py). Where a sale has one offer for a bucket over the
whole of the chunk's time, the line takes it by one join; only the others are compared one by one.
"""

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import polars as pl

from streams.catalog.book import CELLS, Book, Sale
from streams.catalog.prices import Schedule
from streams.pipeline.frames import INSTANT

OFFERS = pl.Schema({"sale": pl.UInt32(), **CELLS})
PRICED = ("price_id", "unit_price", "currency")
UNIT = "\x1f"
# What providers call the classes of service. `auto` and null name no rate: the standard one is meant.
TIERS = {
    "": "standard", "auto": "standard", "default": "standard", "standard_only": "standard", "on_demand": "standard",
    "on_demand_priority": "priority", "on_demand_flex": "flex", "on_demand_offpeak": "offpeak",
    "provisioned_throughput": "provisioned", "not_available": "standard",
}  # fmt: skip
PROCESSINGS = {"": "online", "realtime": "online", "standard": "online", "sync": "online"}


def _scoped(name: str, values: frozenset[str]) -> pl.Expr:
    """The value where some price is for it, else empty: so that a sale stays a kind, not a customer."""
    wild = [v[:-1] for v in values if v.endswith("*")]
    known = pl.col(name).is_in(list(values))
    for prefix in wild:
        known = known | pl.col(name).str.starts_with(prefix)
    return pl.when(known).then(pl.col(name)).otherwise(pl.lit("")) if values else pl.lit("")


def sales(events: pl.DataFrame, book: Book) -> tuple[pl.DataFrame, list[Sale]]:
    """events: provider, model, service_tier, processing, speed, region, tenant_id, account_id.

    Returns the events with `sale`, the index into the list.
    """
    said = ("provider", "model", "service_tier", "processing", "speed")
    key = pl.concat_str(
        *(pl.col(c).fill_null("") for c in said),
        _scoped("region", book.regions),
        _scoped("tenant_id", book.tenants),
        _scoped("account_id", book.accounts),
        separator=UNIT,
    )
    keys = events.select(key=key)
    distinct = keys.select(pl.col("key").unique(maintain_order=True)).with_row_index("sale")
    index = keys.join(distinct, on="key", how="left", maintain_order="left")["sale"]
    return events.with_columns(index), [_sale(k) for k in distinct["key"].to_list()]


def _sale(key: str) -> Sale:
    """Names may hold the separator: then there is no such sale, and no price."""
    parts = key.split(UNIT)
    if len(parts) != len(Sale._fields):
        return Sale("", "")
    provider, model, tier, processing, speed, *whom = parts
    tier, processing, speed = tier.lower(), processing.lower(), speed.lower()
    tier, processing = TIERS.get(tier, tier), PROCESSINGS.get(processing, processing)
    if tier == "batch":  # Anthropic names it among the tiers
        tier, processing = "standard", "batch"
    return Sale(provider, model, tier, processing, speed or "standard", *whom)


def offers(found: list[Sale], book: Book, first: datetime, last: datetime) -> pl.DataFrame:
    """OFFERS of these sales that hold somewhere in [first, last]."""
    named = [(i, sku, at) for i, sale in enumerate(found) for sku, at in book.offers(sale).found if at.size]
    if not named:
        return pl.DataFrame(schema=OFFERS)
    places = np.concatenate([at for _, _, at in named])
    sale = np.repeat(np.array([i for i, _, _ in named], np.uint32), [at.size for _, _, at in named])
    held = book.frame[places].insert_column(0, pl.Series("sale", sale))
    if any(sku.effective_from or sku.effective_to for _, sku, _ in named):
        times = [(sku.effective_from, sku.effective_to) for _, sku, at in named for _ in range(at.size)]
        given = pl.DataFrame(times, {"named_from": INSTANT, "named_to": INSTANT}, orient="row")
        held = held.hstack(given).with_columns(
            effective_from=pl.max_horizontal("effective_from", "named_from"),
            effective_to=pl.min_horizontal("effective_to", "named_to"),
        )
    return held.select(OFFERS.names()).filter(
        pl.col("effective_from") <= last, (pl.col("effective_to") > first).fill_null(True)
    )


def price_lines(
    lines: pl.DataFrame,
    found: pl.DataFrame,
    tokens: pl.DataFrame,
    schedules: Mapping[str, Schedule],
    first: datetime,
    last: datetime,
) -> pl.DataFrame:
    """Lines with price_id, unit_price, currency, amount; all null where no offer holds. Order is kept.

    lines:  source_offset, sale, event_time, bucket, quantity, sorted by source_offset and bucket
    tokens: source_offset, input_tokens: how large the whole request is
    found:  OFFERS. A line whose price has bands for the excess becomes one line a band.
    """
    alone = (
        (pl.len().over("sale", "bucket") == 1)
        & (pl.col("effective_from") <= first)
        & (pl.col("effective_to") > last).fill_null(True)
        & (pl.col("context_from") == 0)
        & pl.col("context_to").is_null()
        & (pl.col("schedule") == "")
    )
    found = found.with_columns(alone=alone)
    simple = found.filter("alone").select("sale", "bucket", *PRICED, hard=pl.lit(False))
    hard = found.filter(~pl.col("alone"))
    if not hard.height:
        priced = lines.join(simple.drop("hard"), on=["sale", "bucket"], how="left", maintain_order="left")
        return priced.with_columns(amount=pl.col("unit_price") * pl.col("quantity"))
    keys = hard.select("sale", "bucket").unique().with_columns(hard=pl.lit(True))
    marked = lines.with_row_index("line").join(
        pl.concat([simple, keys], how="diagonal"), on=["sale", "bucket"], how="left", maintain_order="left"
    )
    compared = _compare(marked.filter("hard").drop(*PRICED, "hard"), hard, tokens, schedules)
    if not hard["excess"].any():  # one offer a line at most: put them where they belong
        found = marked.drop("hard").join(
            compared.select("line", *PRICED), on="line", how="left", suffix=" compared", maintain_order="left"
        )
        found = found.with_columns(pl.coalesce(c, f"{c} compared").alias(c) for c in PRICED)
        return found.select(*lines.columns, *PRICED, amount=pl.col("unit_price") * pl.col("quantity"))
    rest = marked.filter(~pl.col("hard").fill_null(False)).drop("hard")
    priced = pl.concat([rest, compared.select(rest.columns)]).sort("line", maintain_order=True).drop("line")
    return priced.with_columns(amount=pl.col("unit_price") * pl.col("quantity"))


def _compare(
    asked: pl.DataFrame, hard: pl.DataFrame, tokens: pl.DataFrame, schedules: Mapping[str, Schedule]
) -> pl.DataFrame:
    """The most specific offer that holds for each line, or for each part of it where bands price the excess."""
    whole = tokens.select("source_offset", whole="input_tokens")
    asked = asked.join(whole, on="source_offset", how="left", maintain_order="left")
    both = asked.join(hard, on=["sale", "bucket"], how="inner", maintain_order="left")
    at, upper = pl.col("event_time"), pl.col("context_to")
    in_band = (pl.col("whole") >= pl.col("context_from")) & (pl.col("whole") < upper).fill_null(True)
    part = pl.min_horizontal(pl.col("quantity"), upper) - pl.col("context_from")
    held = both.filter(
        pl.col("effective_from") <= at,
        (pl.col("effective_to") > at).fill_null(True),
        pl.when("excess").then(part > 0).otherwise(in_band),
        _in_hours(both["schedule"].unique().to_list(), schedules),
    )
    best = held.filter(pl.col("rank") == pl.col("rank").min().over("line"))
    best = best.with_columns(part=pl.when("excess").then(part).otherwise("quantity"))
    best = best.filter(pl.col("part").sum().over("line") == pl.col("quantity"))  # bands with a gap price nothing
    best = best.with_columns(quantity=pl.col("part"))
    none = asked.join(best.select("line"), on="line", how="anti", maintain_order="left")
    empty = none.with_columns(pl.lit(None, OFFERS[c]).alias(c) for c in PRICED)
    return pl.concat([best.select(empty.columns), empty])


def _in_hours(ids: list[str], schedules: Mapping[str, Schedule]) -> pl.Expr:
    """Whether an offer's hours hold at event_time; one without hours always does."""
    holds = pl.col("schedule") == ""
    for name in ids:
        if name in schedules:
            holds = holds | ((pl.col("schedule") == name) & inside(schedules[name]))
    return holds


def inside(schedule: Schedule) -> pl.Expr:
    """Whether event_time lies in the schedule's hours; hours over midnight belong to the day on which they start."""
    # Without its zone, so that the day before is always there: in Samoa 2011-12-30 was not.
    local = pl.col("event_time").dt.convert_time_zone(schedule.zone).dt.replace_time_zone(None)
    now = local.dt.time()

    def on(day: pl.Expr) -> pl.Expr:
        works = day.dt.weekday().is_in(list(schedule.weekdays))
        return works & ~day.dt.date().is_in(list(schedule.holidays)) if schedule.holidays else works

    found = pl.lit(False)
    for hours in schedule.hours:
        if hours.end > hours.start:
            found = found | (on(local) & (now >= hours.start) & (now < hours.end))
        else:
            yesterday = local.dt.offset_by("-1d")
            found = found | (on(local) & (now >= hours.start)) | (on(yesterday) & (now < hours.end))
    return found
