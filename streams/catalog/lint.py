"""What a catalog holds and yet should not pass review: cells that are missing, sources nobody has read for long, alarms that
ordinary use sets off. Pure.

A cell that is missing is not a slip that can be refused: it is usage without a price. So it is a finding, not a problem.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Literal, NamedTuple

from streams.catalog.book import SAME_RATE, expanded
from streams.catalog.calendars import Calendar
from streams.catalog.changes import holds
from streams.catalog.durations import duration_ms
from streams.catalog.limits import Lifetime, Rolling
from streams.catalog.models import Catalog
from streams.catalog.prices import Price
from streams.tokens.buckets import NOT_TOKENS, SIDES

STALE_DAYS = 90
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
Class = tuple[str, str, str, str]
STANDARD: Class = ("standard", "online", "standard", "")
Span = tuple[int, int | None]


class Finding(NamedTuple):
    """One thing to look at. A `note` is worth knowing and needs no change."""

    kind: Literal["problem", "missing", "gap", "stale", "hidden", "disagreement", "noise"]
    subject: str
    said: str
    level: Literal["error", "warning", "note"] = "warning"

    def __str__(self) -> str:
        return f"{self.subject}: {self.said}"


def lint(own: Catalog, at: datetime, base: Catalog | None = None) -> list[Finding]:
    """Findings on own entries; `base` is what they hide."""
    return [*missing(own, at), *gaps(own), *stale(own, at), *noise(own), *(hidden(own, base, at) if base else ())]


def missing(catalog: Catalog, at: datetime) -> Iterator[Finding]:
    """Cells (band x bucket) that a class of service lacks although its standard class or another of its bands has them."""
    of_sku = defaultdict[tuple[str, str], dict[Class, list[Price]]](dict)
    for price in _offered(catalog, at):
        service: Class = (price.service_tier, price.processing, price.speed, price.region)
        of_sku[price.provider, price.model].setdefault(service, []).append(price)
    for (provider, model), classes in of_sku.items():
        standard = {p.bucket for p in classes.get(STANDARD, ())}
        for service, prices in classes.items():
            if service[3]:
                continue  # what no region says is said by the cells without one
            wanted = standard | {p.bucket for p in prices}
            for band in _bands(prices):
                there = {p.bucket for p in prices if p.context_from <= band[0] and _reaches(p, band[1])}
                there |= {b for b, other in SAME_RATE.items() if other in there}
                if lacks := sorted(wanted - there):
                    said = f"no price for {', '.join(lacks)}{_named(service, band)}; add it, or such usage is unpriced"
                    yield Finding("missing", f"prices {provider}/{model}", said)


def _offered(catalog: Catalog, at: datetime) -> Iterator[Price]:
    """List prices of tokens that hold then outside special hours, those that factors make included."""
    for price, _, _ in expanded(catalog):
        tokens = price.bucket.startswith(SIDES) and price.bucket not in NOT_TOKENS
        if tokens and holds(price, at) and not price.contract and not price.schedule:
            yield price


def _bands(prices: Sequence[Price]) -> list[Span]:
    """The stretches of input size between which a price may change."""
    edges = sorted({0, *(p.context_from for p in prices), *(p.context_to for p in prices if p.context_to is not None)})
    return list(zip(edges, [*edges[1:], None], strict=True))


def _reaches(price: Price, end: int | None) -> bool:
    return price.context_to is None or (end is not None and end <= price.context_to)


def _named(service: Class, band: Span) -> str:
    words = [w for w, usual in zip(service, STANDARD, strict=True) if w != usual]
    if band != (0, None):
        words.append(f"input from {band[0]}" + ("" if band[1] is None else f" to {band[1]}"))
    return f" ({', '.join(words)})" if words else ""


def gaps(catalog: Catalog) -> Iterator[Finding]:
    """Times between two prices of a cell in which none holds."""
    cells = defaultdict[tuple[str | int, ...], list[Price]](list)
    for price in catalog.prices:
        cells[price.cell].append(price)
    for prices in cells.values():
        prices.sort(key=lambda p: p.effective_from)
        for a, b in pairwise(prices):
            if a.effective_to is not None and a.effective_to < b.effective_from:
                span = f"{a.effective_to:%Y-%m-%dT%H:%M:%SZ} and {b.effective_from:%Y-%m-%dT%H:%M:%SZ}"
                said = f"no price between {span}; let the intervals meet, or usage of that time is unpriced"
                yield Finding("gap", f"prices {a.price_id}", said)


def stale(catalog: Catalog, at: datetime) -> Iterator[Finding]:
    """Own list prices in force whose source is not named by an address, or was read long ago."""
    of_sku = defaultdict[tuple[str, str], list[Price]](list)
    for price in catalog.prices:
        if price.origin == "own" and holds(price, at) and not price.contract:
            of_sku[price.provider, price.model].append(price)
    oldest = (at - timedelta(days=STALE_DAYS)).date()
    for (provider, model), prices in of_sku.items():
        subject = f"prices {provider}/{model}"
        if unsaid := _buckets(p for p in prices if not p.source_url):
            yield Finding("stale", subject, f"no source_url for {unsaid}; write where the price can be read")
        if unread := _buckets(p for p in prices if p.checked is None):
            yield Finding("stale", subject, f"no checked for {unread}; write the day on which the source was read")
        if old := [p for p in prices if p.checked and p.checked < oldest]:
            day = min(p.checked for p in old if p.checked)
            said = f"{_buckets(old)} last checked on {day}, more than {STALE_DAYS} days ago; read the source again"
            yield Finding("stale", subject, said)


def noise(catalog: Catalog) -> Iterator[Finding]:
    """Burn rates that page at the even speed or below: a share that is right for a month is ordinary use of a day."""
    budgets = {b.id: b for b in catalog.budgets}
    for burn in catalog.burn_rates:
        period = _length(budgets[burn.budget].period) if burn.budget in budgets else None
        for window in burn.windows if period else ():
            if window.share is None or period is None:
                continue
            even = Decimal(duration_ms(window.long)) / period  # the share that an even use takes
            if window.share <= even:
                what = f"share {window.share} of {window.long}/{window.short} is {window.share / even:.2f} times an even use"
                said = f"{what} of budget {burn.budget}, so it fires all the time; give more than {even:.3f}"
                yield Finding("noise", f"burn_rates {burn.id}", said)


def _length(period: Calendar | Rolling | Lifetime) -> int | None:
    """The shortest length in ms; None: a lifetime has none."""
    match period:
        case Calendar():
            days = {"hour": None, "day": 1, "week": 7, "month": 28, "quarter": 90}[period.every]
            return HOUR_MS if days is None else days * DAY_MS
        case Rolling():
            return duration_ms(period.size)
    return None


def _buckets(prices: Iterable[Price]) -> str:
    return ", ".join(sorted({p.bucket for p in prices}))


def hidden(own: Catalog, base: Catalog, at: datetime) -> Iterator[Finding]:
    """Own prices take the place of all base prices of their model: cells of the base that they do not say."""
    mine = defaultdict[tuple[str, str], set[tuple[str, ...]]](set)
    for price, _, _ in expanded(own):
        if not price.contract:
            mine[price.provider, price.model].add(_cell(price))
    theirs = defaultdict[tuple[str, str], set[tuple[str, ...]]](set)
    for price in base.prices:
        if (price.provider, price.model) in mine and holds(price, at):
            theirs[price.provider, price.model].add(_cell(price))
    for (provider, model), cells in theirs.items():
        if lost := cells - mine[provider, model]:
            classes = sorted({"/".join(w for w in cell[1:] if w not in ("standard", "online")) for cell in lost} - {""})
            said = f"own prices hide {len(lost)} of its base prices"
            said += (
                f", all of {', '.join(classes)} among them" if classes else f": {', '.join(sorted(c[0] for c in lost))}"
            )
            yield Finding("hidden", f"prices {provider}/{model}", f"{said}; such usage is unpriced", "note")


def _cell(price: Price) -> tuple[str, ...]:
    return price.bucket, price.service_tier, price.processing, price.speed
