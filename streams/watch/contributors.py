"""Who caused it: for each dimension the values that used most of a window, in bounded memory.

A summary holds CAPACITY values a dimension. What does not fit pushes out the smallest and takes over its amount (Space Saving,
Metwally 2005), so a value is never shown too small, and too large by the N / CAPACITY of what a dimension used at most.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from streams.watch.alert_records import Contributor
from streams.watch.windows import EXACT, ZERO

CAPACITY = 24
PARTS = 8  # of a rolling window: what is named lies in the window, give or take one of its parts

Summary = dict[str, dict[str, Decimal]]  # dimension -> value -> amount


def note(summary: Summary, causes: Iterable[Mapping[str, Any]]) -> None:
    """Add what a row of totals says, {dimension, value, amount}; corrections take away."""
    for cause in causes:
        _add(summary.setdefault(cause["dimension"], {}), cause["value"], cause["amount"])


def _add(values: dict[str, Decimal], value: str, amount: Decimal) -> None:
    if value in values:
        left = EXACT.add(values[value], amount)
        if left > 0:
            values[value] = left
        else:
            del values[value]
    elif amount > 0:
        if len(values) >= CAPACITY:
            least = min(values, key=lambda name: (values[name], name))
            amount = EXACT.add(amount, values.pop(least))
        values[value] = amount


def merged(summaries: Iterable[Summary]) -> Summary:
    """Several parts of a window as one."""
    found: Summary = {}
    for summary in summaries:
        for dimension, values in summary.items():
            into = found.setdefault(dimension, {})
            for value, amount in values.items():
                into[value] = EXACT.add(into.get(value, ZERO), amount)
    return found


def top(summary: Summary, total: Decimal, each: int = 2) -> list[Contributor]:
    """The largest values, `each` of a dimension, the largest first; share: of `total`, capped at 1."""
    found = []
    for dimension, values in summary.items():
        largest = sorted(values.items(), key=lambda item: (-item[1], item[0]))[:each]
        found += [Contributor(dimension, value, amount, _share(amount, total)) for value, amount in largest]
    return sorted(found, key=lambda c: (-c.amount, c.dimension, c.value))


def _share(amount: Decimal, total: Decimal) -> Decimal | None:
    return min(EXACT.divide(amount, total), Decimal(1)).quantize(Decimal("0.001")) if total > 0 else None
