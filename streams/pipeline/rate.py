"""Put the price in force at event time on every usage line; no price is null and `unpriced`, never 0.

Cost of an event = Σ quantity * unit price, exact in Decimal(38, 18). An event with one unpriced line has no cost at all
(`partial`): a sum that lacks a part is not a sum.
"""

import polars as pl

from streams.catalog.book import Book
from streams.pipeline.frames import MONEY
from streams.tokens.normalise import Usage

LINE = pl.Struct(
    {"bucket": pl.String, "quantity": pl.Int64, "unit_price": MONEY, "amount": MONEY, "price_id": pl.String}
)
ADDED = pl.Schema(
    {
        "lines": pl.List(LINE),
        "input_tokens": pl.Int64(),
        "output_tokens": pl.Int64(),
        "total_tokens": pl.Int64(),
        "list_cost": MONEY,
        "contracted_cost": MONEY,
        "effective_cost": MONEY,
        "currency": pl.String(),
        "pricing_status": pl.String(),
        "reasons": pl.List(pl.String()),
    }
)
SAME_RATE = {"output_reasoning": "output_visible"}  # providers bill both at the output rate (domain.md §1.2)

MAX_COST = 10**12  # of one event: sums over chunks, days and months stay far from where Decimal(38, 18) wraps (C6)
SERVED = ("service_tier", "processing", "speed")
STANDARD = ("", "auto", "default", "on_demand", "realtime", "standard")


def _priced(lines: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """Lines with price_id, unit_price, currency of the price in force, null where there is none."""
    near = lines.sort("event_time").join_asof(
        prices,
        left_on="event_time",
        right_on="effective_from",
        by_left=["provider", "sku_model", "bucket"],
        by_right=["provider", "model", "bucket"],
        check_sortedness=False,
    )
    live = pl.col("price_id").is_not_null() & (pl.col("event_time") < pl.col("effective_to")).fill_null(True)
    return near.with_columns(pl.when(live).then(pl.col(c)).alias(c) for c in ("price_id", "unit_price", "currency"))


def price_lines(lines: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """Lines (source_offset, provider, sku_model, event_time, bucket, quantity) with price and amount, in their order."""
    lines = lines.with_row_index("line")
    names = [*lines.columns, "price_id", "unit_price", "currency"]
    priced = _priced(lines, prices).select(names)
    again = priced.filter(pl.col("price_id").is_null() & pl.col("bucket").is_in(list(SAME_RATE)))
    if again.height:
        as_other = again.select(lines.columns).with_columns(
            asked=pl.col("bucket"), bucket=pl.col("bucket").replace(SAME_RATE)
        )
        other = _priced(as_other, prices).with_columns(bucket=pl.col("asked")).select(names)
        priced = pl.concat([priced.join(again, on="line", how="anti"), other])
    return priced.sort("line").with_columns(amount=pl.col("unit_price") * pl.col("quantity")).drop("line")


def rate(events: pl.DataFrame, usage: Usage, book: Book) -> pl.DataFrame:
    """events: attributed, in source_offset order. Adds ADDED; rows keep their order."""
    # Prices are of the standard tier; what was served otherwise is unpriced, never rated as if it were standard.
    standard = pl.all_horizontal(pl.col(c).is_null() | pl.col(c).is_in(list(STANDARD)) for c in SERVED)
    facts = events.select(
        "source_offset", "provider", "event_time", sku_model=pl.when(standard).then(pl.col("sku_model"))
    )
    lines = price_lines(usage.lines.join(facts, on="source_offset", how="inner"), book.prices)
    is_input, is_output = pl.col("bucket").str.starts_with("input_"), pl.col("bucket").str.starts_with("output_")
    sums = lines.group_by("source_offset", maintain_order=True).agg(
        lines=pl.struct("bucket", "quantity", "unit_price", "amount", "price_id"),
        input_tokens=pl.col("quantity").filter(is_input).sum(),
        output_tokens=pl.col("quantity").filter(is_output).sum(),
        cost=pl.col("amount").sum(),
        n=pl.len(),
        without=pl.col("price_id").null_count(),
        currency=pl.col("currency").drop_nulls().first(),
        currencies=pl.col("currency").drop_nulls().n_unique(),
        paid=(pl.col("unit_price") > 0).any(),
    )
    reasons = usage.problems.group_by("source_offset", maintain_order=True).agg(reasons=pl.col("reason"))
    found = events.select("source_offset")  # alone: a join copies every column that it is given
    for part in (sums, reasons):
        found = found.join(part, on="source_offset", how="left", maintain_order="left")
    whole = events.hstack(found.drop("source_offset"))
    absurd = pl.format("inconsistent: the cost would be {}, beyond 10^12", pl.col("cost").cast(pl.String))
    whole = whole.with_columns(
        reasons=pl.when(pl.col("cost") > MAX_COST)
        .then(pl.concat_list(pl.col("reasons").fill_null([]), absurd))
        .otherwise(pl.col("reasons"))
    )
    complete = (pl.col("without") == 0) & (pl.col("currencies") == 1)
    status = (
        pl.when(pl.col("reasons").is_not_null())
        .then(pl.lit("inconsistent"))
        .when(pl.col("n").is_null())
        .then(pl.lit("free"))  # nothing billable was used
        .when(pl.col("without") == pl.col("n"))
        .then(pl.lit("unpriced"))
        .when(~complete)
        .then(pl.lit("partial"))
        .when(~pl.col("paid"))
        .then(pl.lit("free"))
        .when(pl.col("usage_source") == "estimated")
        .then(pl.lit("estimated"))
        .otherwise(pl.lit("priced"))
    )
    known = status.is_in(["priced", "free", "estimated"])
    nothing = pl.lit(0, MONEY)

    def tokens(name: str) -> pl.Expr:
        """A request without usage used 0 tokens, measured; one whose usage cannot be read used we know not what."""
        return pl.when(pl.col("n").is_null() & pl.col("reasons").is_null()).then(pl.lit(0, pl.Int64)).otherwise(name)

    cost = pl.when(known).then(pl.when(pl.col("n").is_null()).then(nothing).otherwise(pl.col("cost")))
    return whole.with_columns(
        pl.col("lines").cast(ADDED["lines"]).fill_null([]),
        input_tokens=tokens("input_tokens"),
        output_tokens=tokens("output_tokens"),
        total_tokens=tokens("input_tokens") + tokens("output_tokens"),
        list_cost=cost.cast(MONEY),
        contracted_cost=cost.cast(MONEY),
        effective_cost=cost.cast(MONEY),
        pricing_status=status,
        reasons=pl.col("reasons").fill_null([]),
    ).select([*(c for c in events.columns if c != "sku_model"), "sku_model", *ADDED.names()])
