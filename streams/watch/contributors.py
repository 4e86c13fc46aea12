"""Who caused it: of each dimension the values with the largest amounts, in bounded memory (SpaceSaving, Metwally 2005).

Each dimension has MOST counters. A value that finds none free takes over the smallest one and carries its amount as error. So a
listed amount is never more than what the rows named, at most `error` less, and a value with more than 1/MOST of the named
amount is always listed. Rows of usage.totals name their 8 largest values (pipeline/totals.py): what they leave out, less than
a ninth of a row for any one value, is in the total but under no name. Corrections of values that are not listed are dropped.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from streams.watch.windows import EXACT, ZERO, plain

MOST = 16
SHOWN = 3


class Contributor(NamedTuple):
    """A value of a dimension, what it surely used, and its share of the whole."""

    dimension: str
    value: str
    amount: Decimal
    share: Decimal


class Top(msgspec.Struct, array_like=True):
    """The counters of one dimension; `errors` only where they are not 0."""

    amounts: dict[str, Decimal] = {}
    errors: dict[str, Decimal] = {}

    def add(self, value: str, amount: Decimal, error: Decimal = ZERO) -> None:
        """Count an amount, which a correction may make negative."""
        amounts = self.amounts
        known = amounts.get(value)
        if known is None:
            if amount <= 0:
                return
            if len(amounts) >= MOST:
                smallest = min(amounts, key=lambda name: (amounts[name], name))
                known = amounts.pop(smallest)
                self.errors.pop(smallest, None)
                error = EXACT.add(error, known)
        left = amount if known is None else EXACT.add(known, amount)
        if error:
            self.errors[value] = EXACT.add(self.errors.get(value, ZERO), error)
        if left > 0:
            amounts[value] = plain(left)
        else:
            amounts.pop(value, None)
            self.errors.pop(value, None)

    def sure(self) -> list[tuple[str, Decimal]]:
        """By value what it used at least, the largest first."""
        found = [(v, EXACT.subtract(a, self.errors[v]) if v in self.errors else a) for v, a in self.amounts.items()]
        return sorted(found, key=lambda item: (-item[1], item[0]))


class Causes(msgspec.Struct, array_like=True):
    """The contributors of one stretch of time, and the whole amount in it."""

    total: Decimal = ZERO
    tops: dict[str, Top] = {}

    def add(self, amount: Decimal, causes: Iterable[Mapping[str, Any]] | None) -> None:
        """A row of usage.totals: its amount in the scope's unit, and what it says of it.

        causes: {dimension, value, amount}; in an order of its own, so that no order of rows of a frame can matter
        """
        self.total = plain(EXACT.add(self.total, amount))
        for cause in sorted(causes, key=_largest_first) if causes else ():
            dimension = cause["dimension"]
            top = self.tops.get(dimension)
            if top is None:
                top = self.tops[dimension] = Top()
            top.add(cause["value"], cause["amount"])

    def join(self, other: "Causes") -> "Causes":
        """Both together; neither is changed. The errors add up."""
        found = Causes(EXACT.add(self.total, other.total), {d: _copy(top) for d, top in self.tops.items()})
        for dimension, theirs in other.tops.items():
            top = found.tops.setdefault(dimension, Top())
            for value, amount in sorted(theirs.amounts.items(), key=lambda item: (-item[1], item[0])):
                top.add(value, amount, theirs.errors.get(value, ZERO))
        return found


def top(causes: Causes | None, dimensions: Sequence[str], shown: int = SHOWN) -> list[Contributor]:
    """The largest contributors, by dimension in the order given; the share is of the whole amount."""
    if causes is None:
        return []
    return [
        Contributor(dimension, value, amount, EXACT.divide(amount, causes.total) if causes.total > 0 else ZERO)
        for dimension in dimensions
        if dimension in causes.tops
        for value, amount in causes.tops[dimension].sure()[:shown]
        if amount > 0
    ]


def _largest_first(cause: Mapping[str, Any]) -> tuple[Decimal, str, str]:
    return -cause["amount"], cause["dimension"], cause["value"]


def _copy(top: Top) -> Top:
    return Top(dict(top.amounts), dict(top.errors))
