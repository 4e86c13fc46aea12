"""What a change of prices changes at a moment: cells added, removed, and at another price; and what a model costs then."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from streams.catalog.models import Catalog
from streams.catalog.prices import Price


class Change(NamedTuple):
    """One cell of the price book before and after; null is no price."""

    provider: str
    model: str
    bucket: str
    where: str
    old: Decimal | None
    new: Decimal | None
    currency: str
    starts: datetime

    @property
    def kind(self) -> str:
        """added, removed or changed."""
        return "added" if self.old is None else "removed" if self.new is None else "changed"

    @property
    def relative(self) -> Decimal | None:
        """By how much it changed, 0.1 = 10 % more; null where one of the two is missing or was free."""
        return (self.new - self.old) / self.old if self.old and self.new is not None else None


def marks(price: Price) -> str:
    """What of the cell is not the default, in words: `batch, region eu, from 200001 units`."""
    words = [v for v in (price.service_tier, price.speed) if v != "standard"]
    words += [price.processing] if price.processing != "online" else []
    words += [f"{k} {v}" for k in ("region", "tenant", "account", "schedule") if (v := getattr(price, k))]
    if price.context_from or price.context_to is not None:
        most = "" if price.context_to is None else f" to {price.context_to}"
        words.append(f"{price.context} input from {price.context_from}{most}")
    return ", ".join(words)


def holds(price: Price, at: datetime) -> bool:
    """Whether the price is in force then."""
    return price.effective_from <= at and (price.effective_to is None or at < price.effective_to)


def in_force(prices: Iterable[Price], at: datetime) -> Iterator[Price]:
    """Those that hold at the moment."""
    return (p for p in prices if holds(p, at))


def changes(old: Catalog | None, new: Catalog, at: datetime) -> list[Change]:
    """Of the prices in force at `at` and of those that start later; the largest relative change first."""
    before, after = _cells(old, at) if old else {}, _cells(new, at)
    found = []
    for key in {*before, *after}:
        was, now = before.get(key), after.get(key)
        some = now or was
        if some is None or (was and now and (was.each, was.currency) == (now.each, now.currency)):
            continue
        where = marks(some)
        if was and now and was.currency != now.currency:  # amounts of two currencies are two prices
            found.append(_change(some, where, was.each, None, was.currency, at))
            found.append(_change(some, where, None, now.each, now.currency, at))
        else:
            amounts = was.each if was else None, now.each if now else None
            found.append(_change(some, where, *amounts, some.currency, at))
    return sorted(found, key=_largest_first)


def _cells(catalog: Catalog, at: datetime) -> dict[tuple[object, ...], Price]:
    """A cell is also the hours in which it holds: their ids are free, so the key has the price's own."""
    held = (p for p in catalog.prices if p.effective_to is None or at < p.effective_to)
    return {(*p.cell, p.context_to, max(p.effective_from, at)): p for p in held}


def _change(price: Price, where: str, old: Decimal | None, new: Decimal | None, currency: str, at: datetime) -> Change:
    return Change(price.provider, price.model, price.bucket, where, old, new, currency, max(price.effective_from, at))


def _largest_first(change: Change) -> tuple[object, ...]:
    size = change.relative
    return (size is None, -abs(size) if size is not None else 0, change[:4], change.starts)
