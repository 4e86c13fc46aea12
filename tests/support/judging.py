"""Windows as judges see them, without a watch: sums of one or more windows at one clock."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from streams.catalog.alerting import Rule
from streams.catalog.limits import Budget, BurnRate, RunLimits
from streams.catalog.models import Catalog
from streams.watch.conditions import Condition, Stretch
from streams.watch.watched import Watched, watched
from streams.watch.windows import Sums

DAY = 86_400_000
HOUR = 3_600_000


def ms(text: str) -> int:
    """`2026-11-01` or an instant in UTC, in ms since the epoch."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def of(*things: Budget | BurnRate | RunLimits | Rule) -> Watched:
    """The last thing, watched; the others are what it refers to."""
    catalog = Catalog(
        budgets=tuple(t for t in things if isinstance(t, Budget)),
        burn_rates=tuple(t for t in things if isinstance(t, BurnRate)),
        runs=tuple(t for t in things if isinstance(t, RunLimits)),
        rules=tuple(t for t in things if isinstance(t, Rule)),
    )
    return watched(catalog)[things[-1].id]


def spent(cost: str | int | Decimal = 0, events: int = 1, **other: Any) -> Sums:
    """Sums of so much money."""
    return Sums(events=events, cost=Decimal(cost), **other)


def month(sums: Sums, start: str = "2026-11-01", end: str = "2026-12-01") -> dict[str, Stretch]:
    """The window of a calendar period alone."""
    return {"period": Stretch(ms(start), ms(end), sums)}


def by_name(conditions: list[Condition]) -> Mapping[str, Condition]:
    """Conditions of one stretch."""
    return {c.name: c for c in conditions}
