"""Prepaid credit that usage draws down, and spend that is promised for a period. Frames and agreements in, frames out.

Order: free units first, they are never billed; then spend counts. A volume discount is credited after its period, so it does
not slow a drawdown. A unit of money draws one prepaid credit: of several that fit, the one that ends first pays first. Promised
spend is no purse: usage counts towards every promise that it fits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

import polars as pl

from streams.catalog.book import Book
from streams.catalog.capacity import Capacity, capacity, paid_by_hour
from streams.catalog.commitments import Agreements, Commitment
from streams.catalog.credits import free_units, volume_credits
from streams.catalog.usage_frames import (
    OF_PERIOD,
    Window,
    about,
    added,
    frame,
    gathered,
    instant,
    ms_of,
    placed,
    ratio,
    rounded,
    windows,
)
from streams.pipeline.frames import INSTANT, MONEY

DRAWDOWNS = pl.Schema(
    {
        **OF_PERIOD,  # end is null: open
        "kind": pl.String(),
        "provider": pl.String(),
        "currency": pl.String(),
        "amount": MONEY,
        "used": MONEY,  # used + left = amount
        "left": MONEY,
        "overage": MONEY,  # what came on top; used + overage = what was spent
        "share": pl.Decimal(38, 6),
        "state": pl.String(),  # waiting, running, exhausted, ended
        "ran_out": INSTANT,  # the slice in which the last of it was used
        "expected_out": INSTANT,  # a forecast, linear from what was used so far; null: not before the end
        "unused": MONEY,  # lost at the end; null while that is not known
        "expected_unused": MONEY,  # a forecast, linear
        "followed_by": pl.String(),  # the credit that pays when this one is used up
        "unpriced_quantity": pl.Int64(),  # units that would count if they had a price
    }
)
LAST_MS = 253_402_300_799_000  # the end of the year 9999
OPEN = instant(LAST_MS)
SOON = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Position:
    """Where every agreement stands at a moment, as frames."""

    drawdowns: pl.DataFrame
    quotas: pl.DataFrame
    volumes: pl.DataFrame
    provisioned: Capacity


def position(usage: pl.DataFrame, agreements: Agreements, book: Book, since: datetime, at: datetime) -> Position:
    """usage: USAGE from `needed_from` on. Periods that hold some of [since, at], by what was used before `at`."""
    rows = gathered(usage, at)
    metered = rows.filter(~paid_by_hour(agreements.provisioned))
    quotas, billed = free_units(metered, agreements.quotas, since, at)
    return Position(
        drawdowns(billed, agreements.commitments, since, at),
        quotas,
        volume_credits(billed, agreements.volumes, since, at),
        capacity(rows, agreements.provisioned, book, since, at),
    )


def drawdowns(rows: pl.DataFrame, commitments: Sequence[Commitment], since: datetime, at: datetime) -> pl.DataFrame:
    """DRAWDOWNS, of rows as `gathered` gives them."""
    found = _prepaid(rows, [c for c in commitments if c.kind == "prepaid"], since, at)
    for promise in (c for c in commitments if c.kind == "commitment"):
        held = windows(promise, promise.period, since, at)
        near = placed(rows.filter(about(promise, promise.models)), held)
        spent = near.filter(pl.col("currency") == promise.currency)
        hours = spent.group_by("window", "hour").agg(pl.col("cost").sum()).sort("window", "hour")
        by_window = hours.partition_by("window", as_dict=True)
        bare = _without_price(near)
        for i, window in enumerate(held):
            used = by_window.get((i,), hours.clear())
            with localcontext(prec=80):
                overage = max(Decimal(0), added(used["cost"]) - promise.amount)
            found.append(_row(promise, window, used, overage, window.start, at, None, bare.get(i, 0)))
    return frame(found, DRAWDOWNS)


def _without_price(near: pl.DataFrame) -> dict[int, int]:
    """window -> units that have no price."""
    return dict(near.filter(pl.col("cost").is_null()).group_by("window").agg(pl.col("quantity").sum()).iter_rows())


def _turn(credit: Commitment) -> tuple[datetime, datetime, str]:
    """Which of several credits pays first: the one that ends first, then the older one."""
    return credit.effective_to or OPEN, credit.effective_from, credit.id


def _prepaid(rows: pl.DataFrame, credits: list[Commitment], since: datetime, at: datetime) -> list[tuple[Any, ...]]:
    """Each credit takes, in turn and in order of time, what those before it left. The last that fits has what nobody paid."""
    rest = rows.with_columns(payer=pl.lit(None, pl.Int64))
    order, drawn, bare = sorted(credits, key=_turn), list[pl.DataFrame](), list[int]()
    for n, credit in enumerate(order):
        near = placed(rest.filter(about(credit, credit.models)), [Window(credit.effective_from, credit.effective_to)])
        bare.append(_without_price(near).get(0, 0))
        mine = near.filter(pl.col("currency") == credit.currency)
        total, cap = pl.col("cost").cum_sum(), pl.lit(credit.amount, MONEY)
        paid = pl.min_horizontal(total, cap) - pl.min_horizontal(total - pl.col("cost"), cap)
        mine = mine.select("row", "hour", paid=paid)
        drawn.append(mine.group_by("hour").agg(cost=pl.col("paid").sum()).filter(pl.col("cost") > 0).sort("hour"))
        joined = rest.join(mine.select("row", "paid"), on="row", how="left", maintain_order="left")
        fits = pl.col("paid").is_not_null()
        rest = joined.with_columns(
            cost=pl.when(fits).then(pl.col("cost") - pl.col("paid")).otherwise("cost"),
            payer=pl.when(fits).then(pl.lit(n, pl.Int64)).otherwise("payer"),
        ).drop("paid")
    over = dict(rest.filter(pl.col("payer").is_not_null()).group_by("payer").agg(pl.col("cost").sum()).iter_rows())
    with localcontext(prec=80):
        left = [c.amount - added(hours["cost"]) for c, hours in zip(order, drawn, strict=True)]
    found = []
    for n, credit in enumerate(order):
        begin = drawn[n]["hour"][0] if drawn[n].height else credit.effective_from
        for window in windows(credit, None, since, at):
            after = _next(order, left, n, at)
            found.append(_row(credit, window, drawn[n], over.get(n, Decimal(0)), begin, at, after, bare[n]))
    return found


def _next(order: list[Commitment], left: list[Decimal], n: int, at: datetime) -> str | None:
    """The credit that pays for all of this one's usage when this one is used up."""
    credit = order[n]
    for other, rest in zip(order[n + 1 :], left[n + 1 :], strict=True):
        same = (other.provider, other.currency) == (credit.provider, credit.currency) and rest > 0
        whose = other.tenant in ("", credit.tenant) and other.account in ("", credit.account)
        wide = "*" in other.models or set(credit.models) <= set(other.models)
        live = other.effective_from <= at and (other.effective_to is None or other.effective_to > at)
        if same and whose and wide and live:
            return other.id
    return None


def _row(
    commitment: Commitment,
    window: Window,
    hours: pl.DataFrame,
    overage: Decimal,
    begin: datetime,
    at: datetime,
    after: str | None,
    bare: int,
) -> tuple[Any, ...]:
    """One of DRAWDOWNS. hours: what was spent in each, in order; begin: since when it is drawn, for the forecast."""
    amount, end = commitment.amount, window.end
    with localcontext(prec=80):
        spent = added(hours["cost"])
        used = min(spent, amount)
        left = amount - used
        out = hours.filter(pl.col("cost").cum_sum() >= pl.lit(amount, MONEY))["hour"].min() if left == 0 else None
        state = "running" if left else "exhausted"
        if at < window.start:
            state = "waiting"
        elif end is not None and end <= at:
            state = "ended"
        expected_out, expected_unused = None, None
        if state == "running" and at > begin:
            elapsed = ms_of(at) - ms_of(begin)
            if used:
                whole, rest = divmod(elapsed * amount, used)
                reach = ms_of(begin) + int(whole) + bool(rest)  # never sooner than the line says
                limit = ms_of(end) if end is not None else LAST_MS
                expected_out = instant(reach) if reach < limit else None
            if end is not None:
                length = ms_of(end) - ms_of(begin)
                expected_unused = rounded(max(Decimal(0), amount - used * length / elapsed))
        unused = left if state == "ended" else Decimal(0) if left == 0 else None
    return (
        commitment.id, window.start, end, commitment.kind, commitment.provider, commitment.currency, amount, used, left,
        overage, ratio(used, amount), state, out, expected_out, unused, expected_unused, after, bare,
    )  # fmt: skip


def pressing(drawdowns: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """The drawdowns that somebody must act on: used up while in force, or credit that is expected to be within 7 days.

    Credit that another one follows is none: the other one pays on.
    """
    alone = pl.col("followed_by").is_null()
    soon = (pl.col("kind") == "prepaid") & (pl.col("expected_out") <= at + SOON)
    return drawdowns.filter(alone & ((pl.col("state") == "exhausted") | soon))
