"""What was used in one stretch of time: exact sums that are the same in any order, and counters that add up."""

from collections.abc import Iterable
from decimal import Context, Decimal
from typing import Any, NamedTuple

import msgspec

from streams.watch.latencies import percentile

EXACT = Context(prec=60)  # Python's default of 28 digits would round money
ZERO = Decimal(0)
MOST_EXTRAS = (
    1_000  # different counters of one stretch, most of them calls of tools; beyond it the smallest are forgotten
)
TOOL = "tool:"


def plain(amount: Decimal) -> Decimal:
    """The same amount in the fewest digits: what is stored stays small, and equal amounts look alike."""
    return amount.normalize(EXACT) if amount else ZERO


class Delta(NamedTuple):
    """One row of usage.totals, see TOTALS."""

    scope: str
    slice: int
    currency: str
    events: int
    tokens: int
    unpriced: int
    unpriced_tokens: int
    cost: Decimal
    first_ms: int
    last_ms: int
    extras: list[dict[str, Any]] | None = None
    causes: list[dict[str, Any]] | None = None

    def value(self, unit: str, currency: str) -> Decimal:
        """In a unit; money of another currency is none."""
        match unit:
            case "cost":
                return self.cost if self.currency in {currency, ""} else ZERO
            case "tokens":
                return Decimal(self.tokens)
            case "events":
                return Decimal(self.events)
            case "unpriced":
                return Decimal(self.unpriced)
            case counter:
                return Decimal(sum(x["amount"] for x in self.extras or () if x["name"] == counter))


class Sums(msgspec.Struct, array_like=True):
    """Sums of one stretch of time; `cost` is in the watched currency, `foreign` counts priced events in others.

    first_ms, last_ms: event times, 0 where there was none; corrections cannot take them back
    extras:            counters by name: buckets, retries, `latency_ms:<bin>`, `tool:<fingerprint>`; none is 0
    """

    events: int = 0
    tokens: int = 0
    cost: Decimal = ZERO
    first_ms: int = 0
    last_ms: int = 0
    unpriced: int = 0
    unpriced_tokens: int = 0
    foreign: int = 0
    extras: dict[str, int] = {}

    def add(self, delta: Delta, currency: str) -> None:
        """Count a row of totals, and when it was."""
        self.count(delta, currency)
        self._stretch(delta.first_ms, delta.last_ms)

    def count(self, delta: Delta, currency: str) -> None:
        """Count a row of totals; first and last stay as they are."""
        self.events += delta.events
        self.tokens += delta.tokens
        self.unpriced += delta.unpriced
        self.unpriced_tokens += delta.unpriced_tokens
        if delta.currency in {currency, ""}:
            self.cost = plain(EXACT.add(self.cost, delta.cost))
        else:
            self.foreign += delta.events - delta.unpriced
        if delta.extras:
            self._count([(x["name"], x["amount"]) for x in delta.extras])

    def take(self, other: "Sums", sign: int = 1) -> None:
        """Add another one, or take it off (-1), which leaves first and last as they are."""
        self.events += sign * other.events
        self.tokens += sign * other.tokens
        self.cost = plain(EXACT.add(self.cost, other.cost) if sign > 0 else EXACT.subtract(self.cost, other.cost))
        self.unpriced += sign * other.unpriced
        self.unpriced_tokens += sign * other.unpriced_tokens
        self.foreign += sign * other.foreign
        if sign > 0:
            self._stretch(other.first_ms, other.last_ms)
        if other.extras:
            self._count([(name, sign * amount) for name, amount in other.extras.items()])

    def join(self, other: "Sums") -> "Sums":
        """Both together; neither is changed."""
        found = msgspec.structs.replace(self, extras=dict(self.extras))
        found.take(other)
        return found

    def value(self, unit: str) -> Decimal:
        """In the unit of a budget."""
        match unit:
            case "cost":
                return self.cost
            case "tokens":
                return Decimal(self.tokens)
            case "events":
                return Decimal(self.events)
            case "unpriced":
                return Decimal(self.unpriced)
            case counter:
                return Decimal(self.extras.get(counter, 0))

    def percentile(self, name: str, q: Decimal) -> int | None:
        """The `latency_ms`, or another one of LATENCIES, that a share `q` does not exceed, ms; None: not measured."""
        return percentile(self.extras, name, q)

    def forget_smallest(self) -> None:
        """Stay small, whatever a run calls: a loop of more than MOST_EXTRAS different calls is not seen as one."""
        if len(self.extras) > MOST_EXTRAS:
            smallest = sorted(self.extras, key=lambda name: (not name.startswith(TOOL), self.extras[name], name))
            for name in smallest[: len(self.extras) - MOST_EXTRAS // 2]:
                del self.extras[name]

    def _stretch(self, first_ms: int, last_ms: int) -> None:
        if first_ms and (not self.first_ms or first_ms < self.first_ms):
            self.first_ms = first_ms
        self.last_ms = max(self.last_ms, last_ms)

    def _count(self, items: Iterable[tuple[str, int]]) -> None:
        for name, amount in items:
            left = self.extras.get(name, 0) + amount
            if left:
                self.extras[name] = left
            else:
                self.extras.pop(name, None)


class Stretch(NamedTuple):
    """A window as of some clock, `[start, end)` in ms of event time, with what was used in it."""

    start: int
    end: int
    sums: Sums
