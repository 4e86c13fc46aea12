"""Put the price in force at event time on every usage line; no price is null and `unpriced`, never 0.

Cost of an event = Σ quantity * unit price, exact in Decimal(38, 18). An event with one unpriced line has no cost at all
(`partial`): a sum that lacks a part is not a sum. list_cost: at public prices; contracted_cost: at what this tenant or account
has agreed; effective_cost: what is spent, 0 where the tokens belong to a plan.
"""

from collections import Counter
from datetime import UTC, datetime

import polars as pl

from streams.catalog.book import Book
from streams.pipeline.convert import converted
from streams.pipeline.frames import MONEY
from streams.pipeline.select import offers, price_lines, sales
from streams.tokens.buckets import SIDES
from streams.tokens.normalise import UNKNOWN, Usage, of_tokens

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
        "tier_source": pl.String(),
        "converted_cost": MONEY,
        "converted_currency": pl.String(),
        "rate_id": pl.String(),
    }
)
MAX_COST = 10**12  # of one event: sums over chunks, days and months stay far from where Decimal(38, 18) wraps (C6)
TOKENS = ("input_tokens", "output_tokens")
# List prices in another currency than the contract's, or in several: a sum of them would be an amount of nothing.
LIST_FOREIGN = (pl.col("list_currency") != pl.col("currency")) | (pl.col("list_other") != pl.col("currency"))
SUBSCRIPTION = "subscription: tokens of a plan, which never become spend; list_cost is what they would cost"


def served(events: pl.DataFrame, usage: Usage) -> pl.DataFrame:
    """The events with what their responses say of tier, speed, place and cost, and `tier_source`: response, event or null."""
    found = events
    if usage.served.height:
        found = events.join(usage.served, on="source_offset", how="left", maintain_order="left")
        place = pl.when(~pl.col("served_geo").is_in(["global", "not_available"])).then("served_geo")
        found = found.with_columns(
            service_tier=pl.coalesce("served_tier", "service_tier"),
            speed=pl.coalesce("served_speed", "speed"),
            region=pl.coalesce("region", place),
            billed_cost=pl.coalesce("billed_cost", "told_cost"),
            billed_currency=pl.coalesce("billed_currency", "told_currency"),
            tier_source=pl.when(pl.col("served_tier").is_not_null())
            .then(pl.lit("response"))
            .when(pl.col("service_tier").is_not_null())
            .then(pl.lit("event")),
        )
        return found.select(*events.columns, "tier_source")
    return found.with_columns(tier_source=pl.when(pl.col("service_tier").is_not_null()).then(pl.lit("event")))


def tokens_by_event(lines: pl.DataFrame) -> pl.DataFrame:
    """source_offset, input_tokens, output_tokens: one row an event with usage."""
    is_input, is_output = map(of_tokens, SIDES)
    quantity = pl.col("quantity")
    return (
        lines.select(
            "source_offset",
            input_tokens=pl.when(is_input).then(quantity),
            output_tokens=pl.when(is_output).then(quantity),
        )
        .group_by("source_offset", maintain_order=True)
        .sum()
    )


def rated_lines(
    events: pl.DataFrame, usage: Usage, tokens: pl.DataFrame, book: Book
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Events with `sale`; lines at list prices; lines at what this tenant and account pay."""
    sold, found = sales(events, book)
    first, last = events["event_time"].min(), events["event_time"].max()
    lines = usage.lines.join(
        sold.select("source_offset", "sale", "event_time"), on="source_offset", how="inner", maintain_order="left"
    )
    if not isinstance(first, datetime) or not isinstance(last, datetime):  # no events
        first = last = datetime.fromtimestamp(0, UTC)
    offered = offers(found, book, first, last)
    list_lines = price_lines(lines, offered.filter(~pl.col("contract")), tokens, book.schedules, first, last)
    if offered["contract"].any():
        return sold, list_lines, price_lines(lines, offered, tokens, book.schedules, first, last)
    return sold, list_lines, list_lines


def _sums(lines: pl.DataFrame, list_lines: pl.DataFrame, tokens: pl.DataFrame) -> pl.DataFrame:
    """One row an event with usage: its lines, tokens and costs."""
    kinds = lines["currency"].drop_nulls().unique().to_list()
    free = (lines["unit_price"] == 0).any()
    rare = {}  # a chunk of one currency and without free prices need not look at either event by event
    if len(kinds) > 1:
        rare = {"currency": pl.col("currency").max(), "other_currency": pl.col("currency").min()}
    if free:
        rare["dearest"] = pl.col("unit_price").max()
    sums = lines.group_by("source_offset", maintain_order=True).agg(
        lines=pl.struct("bucket", "quantity", "unit_price", "amount", "price_id"),
        cost=pl.col("amount").sum(),
        n=pl.len(),
        without=pl.col("price_id").null_count(),
        **rare,
    )
    if len(kinds) <= 1:
        only = pl.when(pl.col("without") < pl.col("n")).then(pl.lit(kinds[0] if kinds else None, pl.String))
        sums = sums.with_columns(currency=only, other_currency=only)
    if not free:
        sums = sums.with_columns(dearest=pl.lit(None, MONEY))
    sums = sums.hstack(tokens.drop("source_offset"))  # both are by event, in the order of the lines
    if list_lines is lines:
        every = pl.col("without") == 0
        whose = {"list_currency": pl.col("currency"), "list_other": pl.col("other_currency")}
        return sums.with_columns(at_list=pl.when(every).then("cost"), **whose)
    whole = pl.col("price_id").null_count() == 0
    at_list = list_lines.group_by("source_offset").agg(
        at_list=pl.when(whole).then(pl.col("amount").sum()),
        list_currency=pl.col("currency").max(),
        list_other=pl.col("currency").min(),
    )
    return sums.join(at_list, on="source_offset", how="left", maintain_order="left")


def _reasons(events: pl.DataFrame, usage: Usage, sums: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Why a row is what it is, problems first: source_offset, reasons, and whether one is a `problem`. Most rows have none."""
    most = pl.max_horizontal("cost", "at_list")
    absurd = sums.filter(most > MAX_COST).select(
        "source_offset", reason=pl.format("inconsistent: the cost would be {}, beyond 10^12", most.cast(pl.String))
    )
    bare = lines.filter(pl.col("price_id").is_null()).group_by("source_offset", maintain_order=True)
    unpriced = bare.agg(reason=pl.format("no price in force: {}", pl.col("bucket").str.join(", ")).first())
    who = pl.col("completion_state").fill_null("unknown")
    guessed = events.filter(pl.col("usage_source") == "estimated").select(
        "source_offset", reason=pl.format("estimated: the producer counted the tokens, the response is {}", who)
    )
    planned = events.filter(pl.col("billing_mode") == "subscription").select(
        "source_offset", reason=pl.lit(SUBSCRIPTION)
    )
    mixed = sums.filter((pl.col("without") == 0) & (pl.col("currency") != pl.col("other_currency"))).select(
        "source_offset", reason=pl.format("prices in {} and {} have no sum", "other_currency", "currency")
    )
    foreign = sums.filter(
        LIST_FOREIGN & pl.col("at_list").is_not_null() & (pl.col("currency") == pl.col("other_currency"))
    ).select(
        "source_offset",
        reason=pl.format(
            "list prices in {} have no sum in {}",
            pl.concat_list("list_other", "list_currency").list.unique(maintain_order=True).list.join(" and "),
            "currency",
        ),
    )
    problems = pl.concat([usage.problems, absurd]).with_columns(problem=pl.lit(True))
    notes = pl.concat([usage.notes, unpriced, mixed, foreign, guessed, planned]).with_columns(problem=pl.lit(False))
    found = pl.concat([problems, notes]).group_by("source_offset", maintain_order=True)
    return found.agg(reasons=pl.col("reason"), problem=pl.col("problem").any())


def rate(events: pl.DataFrame, usage: Usage, book: Book) -> pl.DataFrame:
    """events: attributed, in source_offset order. Adds ADDED; rows keep their order."""
    columns = events.columns
    tokens = tokens_by_event(usage.lines)
    events, list_lines, lines = rated_lines(served(events, usage), usage, tokens, book)
    sums = _sums(lines, list_lines, tokens)
    found = events.select("source_offset")  # alone: a join copies every column that it is given
    for part in (sums, _reasons(events, usage, sums, lines)):
        found = found.join(part, on="source_offset", how="left", maintain_order="left")
    facts = found.hstack(events.select("usage_source", "billing_mode"))
    unused, problem = pl.col("n").is_null(), pl.col("problem").fill_null(False)
    complete = (pl.col("without") == 0) & (pl.col("currency") == pl.col("other_currency"))
    facts = facts.with_columns(
        pricing_status=pl.when(problem)
        .then(pl.lit("inconsistent"))
        .when(unused)
        .then(pl.lit("free"))  # nothing billable was used
        .when(pl.col("without") == pl.col("n"))
        .then(pl.lit("unpriced"))
        .when(~complete)
        .then(pl.lit("partial"))
        .when(pl.col("dearest") == 0)
        .then(pl.lit("free"))
        .when(pl.col("usage_source") == "estimated")
        .then(pl.lit("estimated"))
        .otherwise(pl.lit("priced"))
    )
    known, nothing = pl.col("pricing_status").is_in(["priced", "free", "estimated"]), pl.lit(0, MONEY)
    planned = (pl.col("billing_mode") == "subscription").fill_null(False)
    # A request without usage used 0 tokens, measured; one whose usage cannot be read used we know not what.
    used = [pl.when(unused & ~problem).then(pl.lit(0, pl.Int64)).otherwise(c).alias(c) for c in TOKENS]
    pays = pl.when(known).then(pl.when(unused | planned).then(nothing).otherwise("cost"))
    facts = facts.select(
        pl.col("lines").cast(ADDED["lines"]).fill_null([]),
        *used,
        "currency",
        "pricing_status",
        pl.col("reasons").fill_null([]),
        list_cost=pl.when(known).then(pl.when(unused).then(nothing).when(~LIST_FOREIGN).then("at_list")).cast(MONEY),
        contracted_cost=pays.cast(MONEY),
    )
    facts = facts.with_columns(
        total_tokens=pl.col("input_tokens") + pl.col("output_tokens"), effective_cost=pl.col("contracted_cost")
    )
    return converted(events.hstack(facts), book).select(*columns, *ADDED.names())


def unknown_fields(rated: pl.DataFrame) -> Counter[tuple[str, str]]:
    """(dialect, field) -> rows whose usage block held a field that no struct knows."""
    said = rated.filter(pl.col("reasons").list.len() > 0).select("usage_dialect", "reasons").explode("reasons")
    named = said.filter(pl.col("reasons").str.starts_with(UNKNOWN))
    rows = named.select("usage_dialect", pl.col("reasons").str.strip_prefix(UNKNOWN)).iter_rows()
    return Counter((str(dialect), field) for dialect, field in rows)
