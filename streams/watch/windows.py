"""What one scope has used, window by window: exact sums that are the same in any order of what came.

Rolling windows keep the slices of their hop and a running total: a slice is added when it comes and subtracted when it leaves,
so a look costs what changed and not what is kept. Calendar periods stay for eight days after their end, for late events.
"""

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from typing import Any, NamedTuple

import msgspec

from streams.watch.latencies import percentile
from streams.watch.scopes import rule_of

EXACT = Context(prec=60)  # Python's default of 28 digits would round money
KEEP_MS = 8 * 86_400_000  # how long a period that has ended can still be reached by late events
KEEP_DAYS_MS = 36 * 86_400_000  # of days for forecasts: 35 that are over, and today
ZERO = Decimal(0)


class Delta(NamedTuple):
    """One row of usage.totals (pipeline/totals.py); extras are {name, amount}, causes {dimension, value, amount}."""

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
    extras: Sequence[Mapping[str, Any]] | None = None
    causes: Sequence[Mapping[str, Any]] | None = None

    @property
    def rule(self) -> str:
        return rule_of(self.scope)


class Sums(msgspec.Struct, array_like=True):
    """Sums of one stretch of time; `cost` is in the rule's currency, `foreign` counts priced events in others.

    first_ms, last_ms: of the events in it; 0 where nobody can say, as of a running total
    extras:            counters by name, see pipeline/totals.py
    """

    events: int = 0
    tokens: int = 0
    unpriced: int = 0
    unpriced_tokens: int = 0
    foreign: int = 0
    cost: Decimal = ZERO
    first_ms: int = 0
    last_ms: int = 0
    extras: dict[str, int] = {}

    def add(self, delta: Delta, currency: str) -> None:
        """One row of totals."""
        self.events += delta.events
        self.tokens += delta.tokens
        self.unpriced += delta.unpriced
        self.unpriced_tokens += delta.unpriced_tokens
        if delta.currency == currency or not delta.currency:
            if delta.cost:
                self.cost = EXACT.add(self.cost, delta.cost)
        else:
            self.foreign += delta.events - delta.unpriced
        self._seen(delta.first_ms, delta.last_ms)
        for extra in delta.extras or ():
            self._count(extra["name"], extra["amount"])

    def join(self, other: "Sums") -> "Sums":
        """Both together; neither is changed. Associative and commutative, with `Sums()` as its zero."""
        both = msgspec.structs.replace(self, extras=dict(self.extras))
        both.include(other)
        both._seen(other.first_ms, other.last_ms)
        return both

    def include(self, other: "Sums", sign: int = 1) -> None:
        """Add or take away, sign = -1. Times cannot be taken away and are left alone."""
        self.events += sign * other.events
        self.tokens += sign * other.tokens
        self.unpriced += sign * other.unpriced
        self.unpriced_tokens += sign * other.unpriced_tokens
        self.foreign += sign * other.foreign
        if other.cost:
            self.cost = EXACT.add(self.cost, other.cost if sign > 0 else -other.cost)
        for name, amount in other.extras.items():
            self._count(name, sign * amount)

    def _count(self, name: str, amount: int) -> None:
        if total := self.extras.get(name, 0) + amount:
            self.extras[name] = total
        else:
            self.extras.pop(name, None)

    def _seen(self, first_ms: int, last_ms: int) -> None:
        if first_ms:
            self.first_ms = min(self.first_ms, first_ms) if self.first_ms else first_ms
            self.last_ms = max(self.last_ms, last_ms)

    @property
    def is_zero(self) -> bool:
        """Nothing is in it, or everything that was has been taken back."""
        return not (self.events or self.tokens or self.cost or self.foreign or self.extras)

    def value(self, unit: str) -> Decimal:
        """In a unit of budgets."""
        match unit:
            case "cost":
                return self.cost
            case "tokens":
                return Decimal(self.tokens)
            case "unpriced":
                return Decimal(self.unpriced)
            case "unpriced_tokens":
                return Decimal(self.unpriced_tokens)
            case "events":
                return Decimal(self.events)
            case _:
                return Decimal(self.extras.get(unit, 0))

    def percentile(self, name: str, q: Decimal) -> int | None:
        """Of a latency, ms; see latencies.py."""
        return percentile(self.extras, name, q)


class Kept(msgspec.Struct, array_like=True):
    """One window of one scope.

    slices: by start (ms): periods of a calendar, hops of a rolling window; a lifetime has none
    total:  of a rolling window what lies in it, of a lifetime what its life has used
    edge:   start of a rolling window as of the last look: what lies before has left it
    causes: what contributed most, by start of a part of the window (contributors.py)
    """

    slices: dict[int, Sums] = {}
    total: Sums = msgspec.field(default_factory=Sums)
    edge: int = 0
    causes: dict[int, dict[str, dict[str, Decimal]]] = {}
