"""Capacity that is paid by the hour: how full it was, what a token cost there, when it pays off. Frames in, frames out.

A token takes `burndown` of what the capacity can serve; utilisation is what was taken of what was there. Break-even is the
utilisation at which the same mix of tokens costs as much by pay-as-you-go, at the list prices in force at the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

import polars as pl

from streams.catalog.book import Book, Sale
from streams.catalog.commitments import Provisioned
from streams.catalog.usage_frames import OF_PERIOD, about, added, frame, ms_of, ratio, rounded
from streams.pipeline.frames import INSTANT, MONEY
from streams.tokens.dialects import BUCKETS

HOUR_MS, MINUTE_MS = 3_600_000, 60_000
SHARE = pl.Decimal(38, 6)
BURN = pl.Decimal(38, 6)
# What providers call it; a request that names no class of service may still say how its account is paid (usage_by_hour.sql).
TIERS = ("provisioned", "provisioned_throughput", "reserved")
HOURS = pl.Schema(
    {
        "id": pl.String(),
        "start": INSTANT,
        "capacity": pl.Int64(),  # tokens of burndown 1 that the hour could have served
        "burned": BURN,
        "tokens": pl.Int64(),  # that it served
        "spilled": pl.Int64(),  # of the same model, served elsewhere
        "utilisation": SHARE,
        "cost": MONEY,
    }
)
CAPACITIES = pl.Schema(
    {
        **OF_PERIOD,
        "currency": pl.String(),
        "cost": MONEY,
        "capacity": pl.Int64(),
        "burned": BURN,
        "tokens": pl.Int64(),
        "spilled": pl.Int64(),
        "utilisation": SHARE,
        "spillover": SHARE,  # of all tokens of the model
        "per_million": MONEY,  # effective, at this utilisation; null: nothing was served
        "payg_per_million": MONEY,  # the same mix by pay-as-you-go; null: a bucket has no price, or none in this currency
        "break_even": SHARE,  # above 1: this mix never pays it off
    }
)


@dataclass(frozen=True, slots=True)
class Capacity:
    """total: CAPACITIES, one row a capacity; hours: HOURS, one row an hour, empty ones too."""

    total: pl.DataFrame
    hours: pl.DataFrame


def capacity(
    rows: pl.DataFrame, provisioned: Sequence[Provisioned], book: Book, since: datetime, at: datetime
) -> Capacity:
    """Each capacity over the part of [since, at) in which it is paid. rows: as `gathered` gives them."""
    totals, hours = list[tuple[Any, ...]](), [pl.DataFrame(schema=HOURS)]
    for each in provisioned:
        start, end = max(since, each.effective_from), min(at, each.effective_to or at)
        if start >= end:
            continue
        mine = rows.filter(
            about(each, each.models, sorted(BUCKETS)),
            (pl.col("hour") >= start) & (pl.col("hour") < end),
            (pl.col("region") == each.region) if each.region else pl.lit(True),
        )
        weights = {b: each.burndown.get(b, Decimal(1)) for b in mine["bucket"].unique().to_list()}
        weight = pl.col("bucket").replace_strict(weights, return_dtype=BURN) if weights else pl.lit(Decimal(1), BURN)
        mine = mine.with_columns(served=pl.col("service_tier").is_in(TIERS), burned=weight * pl.col("quantity"))
        totals.append(_total(each, mine, book, start, end))
        hours.append(_hours(each, mine, start, end))
    return Capacity(frame(totals, CAPACITIES), pl.concat(hours).sort("id", "start"))


def paid_by_hour(provisioned: Sequence[Provisioned]) -> pl.Expr:
    """Whether a row was served by one of these, and so has no price of its own: it is no gap in the price book."""
    found = pl.lit(False)
    for each in provisioned:
        here = about(each, each.models, sorted(BUCKETS)) & pl.col("service_tier").is_in(TIERS)
        here &= (pl.col("hour") >= each.effective_from) & pl.col("cost").is_null()
        if each.effective_to is not None:
            here &= pl.col("hour") < each.effective_to
        found |= (here & (pl.col("region") == each.region)) if each.region else here
    return found


def _grid(each: Provisioned, start: datetime, end: datetime) -> pl.DataFrame:
    """Every hour that is paid, the first and last one as far as they are."""
    found, cursor = [], start
    while cursor < end:
        after = min(end, cursor.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1))
        ms = ms_of(after) - ms_of(cursor)
        top = cursor.replace(minute=0, second=0, microsecond=0)
        found.append((each.id, top, _served(each, ms), _paid(each, ms)))
        cursor = after
    return pl.DataFrame(found, {"id": pl.String, "start": INSTANT, "capacity": pl.Int64, "cost": MONEY}, orient="row")


def _served(each: Provisioned, ms: int) -> int:
    return each.units * each.tokens_per_minute * ms // MINUTE_MS


def _paid(each: Provisioned, ms: int) -> Decimal:
    with localcontext(prec=80):
        return rounded(each.units * each.hourly_cost * ms / HOUR_MS)


def _hours(each: Provisioned, mine: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """HOURS of one capacity."""
    served = pl.col("served")
    by_hour = mine.group_by(start=pl.col("hour").dt.truncate("1h")).agg(
        burned=pl.col("burned").filter(served).sum(),
        tokens=pl.col("quantity").filter(served).sum(),
        spilled=pl.col("quantity").filter(~served).sum(),
    )
    found = _grid(each, start, end).join(by_hour, on="start", how="left", maintain_order="left")
    found = found.with_columns(
        pl.col("burned", "tokens", "spilled").fill_null(0)
    )  # no row: nothing was used, a measured 0
    return found.with_columns(
        utilisation=pl.Series([ratio(b, c) for b, c in found.select("burned", "capacity").iter_rows()], dtype=SHARE)
    ).select(pl.col(c).cast(t) for c, t in HOURS.items())


def _total(each: Provisioned, mine: pl.DataFrame, book: Book, start: datetime, end: datetime) -> tuple[Any, ...]:
    """One of CAPACITIES."""
    ms = ms_of(end) - ms_of(start)
    cost, room = _paid(each, ms), _served(each, ms)
    served, spilled = mine.filter("served"), mine.filter(~pl.col("served"))
    tokens, elsewhere = int(served["quantity"].sum()), int(spilled["quantity"].sum())
    mix = served if tokens else spilled  # nothing served yet: what it could have served
    payg = _payg(each, mix, book, end)
    with localcontext(prec=80):
        burned, of_mix = added(served["burned"]), added(mix["burned"])
        count = tokens or elsewhere
        per_million = rounded(cost * 10**6 / tokens) if tokens else None
        payg_per_million = rounded(payg * 10**6 / count) if payg is not None and count else None
        full = payg * room / of_mix if payg and of_mix else None  # what a full capacity would cost by pay-as-you-go
        break_even = ratio(cost, full) if full else None
    return (
        each.id, start, end, each.currency, cost, room, burned, tokens, elsewhere, ratio(burned, room),
        ratio(elsewhere, tokens + elsewhere), per_million, payg_per_million, break_even,
    )  # fmt: skip


def _payg(each: Provisioned, mix: pl.DataFrame, book: Book, end: datetime) -> Decimal | None:
    """What these tokens cost by pay-as-you-go; null when one of them has no price in this currency."""
    total = Decimal(0)
    for region, bucket, quantity in mix.group_by("region", "bucket").agg(pl.col("quantity").sum()).iter_rows():
        price = list_price(
            book, Sale(each.provider, each.model, region=region), bucket, end - timedelta(milliseconds=1)
        )
        if price is None or price[1] != each.currency:
            return None
        with localcontext(prec=80):
            total += price[0] * quantity
    return total


def list_price(book: Book, sale: Sale, bucket: str, at: datetime) -> tuple[Decimal, str] | None:
    """The public price of a unit in force at the moment, with its currency: of the first context band, outside of schedules."""
    cells = [
        cell
        for sku, places in book.offers(sale).found
        if (sku.effective_from or at) <= at and (sku.effective_to is None or sku.effective_to > at)
        for cell in (book.cells[i] for i in places)
        if cell.bucket == bucket and not cell.contract and not cell.schedule and cell.context_from == 0
        if cell.effective_from <= at and (cell.effective_to is None or cell.effective_to > at)
    ]
    best = min(cells, key=lambda cell: cell.rank, default=None)
    return None if best is None else (best.unit_price, best.currency)
