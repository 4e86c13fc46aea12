"""Credits that are due at the end of a period: units that were free, discounts by volume. Frames and agreements in, frames out.

A unit is free once: the quota of one account goes first, then that of one tenant. What was free is no volume.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any

import polars as pl

from streams.catalog.commitments import Quota, Tier, Volume
from streams.catalog.usage_frames import OF_PERIOD, about, frame, placed, rounded, windows
from streams.pipeline.frames import MONEY

QUOTAS = pl.Schema(
    {
        **OF_PERIOD,
        "amount": pl.Int64(),
        "left": pl.Int64(),
        "used": pl.Int64(),  # of this currency, like the columns after it
        "free": pl.Int64(),
        "currency": pl.String(),  # null: nothing was used, or what was has no price
        "credit": MONEY,  # null: not known, for want of a price
    }
)
VOLUMES = pl.Schema(
    {
        **OF_PERIOD,
        "measure": pl.String(),
        "mode": pl.String(),
        "volume": MONEY,  # spend or units
        "currency": pl.String(),
        "spend": MONEY,
        "multiplier": MONEY,  # of the highest tier that was reached; 1: none
        "next_above": MONEY,
        "credit": MONEY,
        "unpriced_quantity": pl.Int64(),
    }
)
ZERO = pl.lit(Decimal(0), MONEY)


def _reached(total: pl.Expr, cap: Decimal | int, kind: pl.DataType) -> pl.Expr:
    return pl.min_horizontal(total, pl.lit(cap, kind))


def free_units(
    rows: pl.DataFrame, quotas: Sequence[Quota], since: datetime, at: datetime
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """QUOTAS, and the rows without the units that were free. The quota of one account goes first, then of one tenant."""
    found = list[tuple[Any, ...]]()
    for quota in sorted(quotas, key=lambda q: (not q.account, not q.tenant, q.model == "*", q.id)):
        held = windows(quota, quota.period, since, at)
        mine = placed(rows.filter(about(quota, quota.models, quota.buckets)), held)
        total = pl.col("quantity").cum_sum().over("window")
        before, whole = total - pl.col("quantity"), pl.Int64()
        mine = mine.with_columns(free=_reached(total, quota.amount, whole) - _reached(before, quota.amount, whole))
        nothing = pl.col("free") == 0
        mine = mine.with_columns(credit=pl.when(nothing).then(ZERO).otherwise(pl.col("unit_price") * pl.col("free")))
        unknown = pl.col("credit").null_count() > 0
        sums = mine.group_by("window", "currency").agg(
            pl.col("quantity").sum(), pl.col("free").sum(), credit=pl.when(~unknown).then(pl.col("credit").sum())
        )
        of_window = sums.sort("window", "currency", nulls_last=True).partition_by("window", as_dict=True)
        for i, window in enumerate(held):
            part = of_window.get((i,))
            span = (quota.id, window.start, window.end, quota.amount)
            if part is None:
                found.append((*span, quota.amount, 0, 0, None, Decimal(0)))
                continue
            left = quota.amount - int(part["free"].sum())
            found += [
                (*span, left, *part) for part in part.select("quantity", "free", "currency", "credit").iter_rows()
            ]
        rows = rows.join(mine.select("row", "free"), on="row", how="left", maintain_order="left")
        free = pl.col("free").fill_null(0)  # a row that this quota is not about has no free units: 0 is known
        less = pl.when(free > 0).then(pl.col("cost") - pl.col("unit_price") * free).otherwise("cost")
        rows = rows.with_columns(quantity=pl.col("quantity") - free, cost=less).drop("free")
    return frame(found, QUOTAS), rows


def volume_credits(rows: pl.DataFrame, volumes: Sequence[Volume], since: datetime, at: datetime) -> pl.DataFrame:
    """VOLUMES: what each period's discount is worth so far."""
    found = list[tuple[Any, ...]]()
    for volume in volumes:
        held = windows(volume, volume.period, since, at)
        near = placed(rows.filter(about(volume, volume.models, volume.buckets)), held)
        mine = near.filter(pl.col("currency") == volume.currency)
        bare = dict(near.filter(pl.col("cost").is_null()).group_by("window").agg(pl.col("quantity").sum()).iter_rows())
        sums = {w: (q, c) for w, q, c in mine.group_by("window").agg(pl.col("quantity", "cost").sum()).iter_rows()}
        parts = _parts(mine, volume) if volume.measure == "units" else {}
        for i, window in enumerate(held):
            units, spend = sums.get(i, (0, Decimal(0)))
            amount = Decimal(units) if volume.measure == "units" else spend
            over = [t for t in volume.tiers if amount > t.above]
            ahead = [t.above for t in volume.tiers if t.above >= amount]
            paid = (
                [parts.get((i, n), Decimal(0)) for n in range(len(volume.tiers))] if parts else _slices(volume, spend)
            )
            found.append(
                (volume.id, window.start, window.end, volume.measure, volume.mode, amount, volume.currency, spend,
                 over[-1].multiplier if over else Decimal(1), ahead[0] if ahead else None,
                 _due(volume, over, spend, paid), bare.get(i, 0))
            )  # fmt: skip
    return frame(found, VOLUMES)


def _slices(volume: Volume, spend: Decimal) -> list[Decimal]:
    """Of this spend what lies in each tier."""
    with localcontext(prec=80):
        ends = [*(t.above for t in volume.tiers[1:]), max(spend, volume.tiers[-1].above)]
        return [max(Decimal(0), min(spend, e) - t.above) for t, e in zip(volume.tiers, ends, strict=True)]


def _due(volume: Volume, over: Sequence[Tier], spend: Decimal, paid: Sequence[Decimal]) -> Decimal:
    """The credit: of everything by the highest tier reached, or of what was paid in each tier."""
    with localcontext(prec=80):
        if volume.mode == "cliff":
            return rounded(spend * (1 - over[-1].multiplier)) if over else Decimal(0)
        parts = zip(volume.tiers, paid, strict=True)
        return rounded(sum(((1 - t.multiplier) * p for t, p in parts), Decimal(0)))


def _parts(mine: pl.DataFrame, volume: Volume) -> dict[tuple[int, int], Decimal]:
    """(window, tier) -> what was paid for the units that lie in the tier."""
    total, found = pl.col("quantity").cum_sum().over("window"), dict[tuple[int, int], Decimal]()
    before, whole = total - pl.col("quantity"), pl.Int64()
    for n, tier in enumerate(volume.tiers):
        floor = pl.lit(int(tier.above), whole)
        part = pl.max_horizontal(total, floor) - pl.max_horizontal(before, floor)
        if n + 1 < len(volume.tiers):
            cap = pl.lit(int(volume.tiers[n + 1].above), whole)
            part -= pl.max_horizontal(total, cap) - pl.max_horizontal(before, cap)
        paid = mine.with_columns(paid=pl.col("unit_price") * part).group_by("window").agg(pl.col("paid").sum())
        found |= {(w, n): p for w, p in paid.iter_rows()}
    return found
