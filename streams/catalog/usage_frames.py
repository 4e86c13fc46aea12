"""Stored usage as a frame of slices of time, and the periods of agreements that its rows lie in.

The order of rows and how they are cut do not matter: rows of one key are added up, then stand in the order of time and names.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import polars as pl

from streams.catalog.calendars import Calendar
from streams.catalog.commitments import Agreement, Agreements
from streams.catalog.money import MAX_SCALE
from streams.pipeline.frames import INSTANT, MONEY
from streams.watch.periods import HOUR_MS, period_of

USAGE = pl.Schema(
    {
        "tenant_id": pl.String(),
        "account_id": pl.String(),
        "provider": pl.String(),
        "model": pl.String(),
        "region": pl.String(),
        "service_tier": pl.String(),
        "bucket": pl.String(),
        "hour": INSTANT,  # the start of the slice, which is an hour or a part of one
        "unit_price": MONEY,  # contracted; null: no price
        "currency": pl.String(),
        "quantity": pl.Int64(),
        "cost": MONEY,
    }
)
KEY = [c for c in USAGE.names() if c not in ("quantity", "cost")]
OF_PERIOD = {"id": pl.String(), "start": INSTANT, "end": INSTANT}
EXACT = Decimal(1).scaleb(-MAX_SCALE)


def rounded(amount: Decimal) -> Decimal:
    """At 18 digits, half to even: the one place where a product needs more."""
    with localcontext(prec=80):
        return amount.quantize(EXACT, ROUND_HALF_EVEN)


def ratio(part: Decimal | int, whole: Decimal | int) -> Decimal | None:
    """A share at 6 digits; null of nothing."""
    with localcontext(prec=80):
        return (Decimal(part) / whole).quantize(Decimal("0.000001")) if whole else None


def instant(ms: int) -> datetime:
    """An instant of ms since the epoch."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def ms_of(moment: datetime) -> int:
    """Whole ms since the epoch."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def added(amounts: pl.Series) -> Decimal:
    """The sum of money, exact at any size; 0 of none."""
    with localcontext(prec=80):
        return sum(amounts.drop_nulls().to_list(), Decimal(0))


@dataclass(frozen=True, slots=True)
class Window:
    """A period as far as its agreement is in force: [start, end); an end of null is open."""

    start: datetime
    end: datetime | None


def windows(agreement: Agreement, calendar: Calendar | None, since: datetime, at: datetime) -> list[Window]:
    """The periods that hold some of [since, at], in order; without a calendar the whole agreement."""
    first, last = agreement.effective_from, agreement.effective_to
    if last is not None and last <= since:
        return []
    if calendar is None:
        return [Window(first, last)]
    found, cursor = list[Window](), max(since, first)
    while cursor <= at and (last is None or cursor < last):
        start, end = map(instant, period_of(calendar, ms_of(cursor)))
        found.append(Window(max(start, first), end if last is None else min(end, last)))
        cursor = end
    return found


def needed_from(agreements: Agreements, since: datetime, at: datetime) -> datetime:
    """Where usage must be read from, so that every period of [since, at] is whole."""
    starts = [since]
    for each in agreements.agreements:
        calendar = getattr(each, "period", None)
        if calendar is not None:
            starts += [w.start for w in windows(each, calendar, since, at)]
    prepaid = [c for c in agreements.commitments if c.kind == "prepaid"]
    if any(c.effective_to is None or c.effective_to > since for c in prepaid):
        starts += [c.effective_from for c in prepaid]  # the ended ones too: what they paid draws no other credit
    return min(starts)


def slice_minutes(agreements: Agreements, since: datetime, at: datetime) -> int:
    """How fine usage must be read so that no slice lies in two periods: an hour, or a quarter where a zone is between hours."""
    moments = [since]
    for each in agreements.agreements:
        calendar = getattr(each, "period", None)
        moments += [m for w in windows(each, calendar, since, at) for m in (w.start, w.end) if m is not None]
        # What ended long ago is read too, if credit of then is still counted.
        moments += [m for m in (each.effective_from, each.effective_to) if m is not None]
    return 15 if any(ms_of(m) % HOUR_MS for m in moments) else 60


def gathered(usage: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """USAGE before `at`, one row a key, in an order that does not depend on the rows'; `row` numbers them."""
    rows = usage.select(USAGE.names()).cast(USAGE).filter(pl.col("hour") < at)
    # A sum of nulls is 0, but a row without a price has no cost.
    sums = rows.group_by(KEY).agg(pl.col("quantity").sum(), cost=pl.col("cost").sum())
    sums = sums.with_columns(cost=pl.when(pl.col("unit_price").is_not_null()).then("cost"))
    return sums.sort("hour", *[c for c in KEY if c != "hour"], nulls_last=True).with_row_index("row")


def about(agreement: Agreement, models: Sequence[str], buckets: Sequence[str] = ()) -> pl.Expr:
    """Whether a row is usage that the agreement is about, but for time and currency."""
    fits = pl.col("provider") == agreement.provider
    if "*" not in models:
        fits &= pl.col("model").is_in(list(models))
    if buckets:
        fits &= pl.col("bucket").is_in(list(buckets))
    if agreement.tenant:
        fits &= pl.col("tenant_id") == agreement.tenant
    if agreement.account:
        fits &= pl.col("account_id") == agreement.account
    return fits


def placed(rows: pl.DataFrame, held: Sequence[Window]) -> pl.DataFrame:
    """The rows that lie in a window, with `window`, its number; windows are in order and apart. Rows keep their order."""
    spans = pl.DataFrame(
        [(w.start, w.end, i) for i, w in enumerate(held)],
        {"span_start": INSTANT, "span_end": INSTANT, "window": pl.Int64()},
        orient="row",
    )
    found = rows.join_asof(spans, left_on="hour", right_on="span_start", check_sortedness=False)
    inside = pl.col("window").is_not_null() & (pl.col("hour") < pl.col("span_end")).fill_null(True)
    return found.filter(inside).drop("span_start", "span_end")


def frame(rows: Iterable[tuple[Any, ...]], schema: pl.Schema) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema, orient="row").sort("id", "start", maintain_order=True)
