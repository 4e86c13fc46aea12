"""What one scope has used, by period or by minute: exact sums that are the same in any order."""

from decimal import Context, Decimal
from typing import NamedTuple

import msgspec

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget
from streams.watch.periods import period_of, size_of

EXACT = Context(prec=60)  # Python's default of 28 digits would round money
KEEP_MS = 8 * 86_400_000  # how long a period that has ended can still be reached by late events
MINUTE_MS = 60_000


class Delta(NamedTuple):
    """One row of usage.totals; `minute` counts minutes since the epoch."""

    scope: str
    minute: int
    currency: str
    events: int
    tokens: int
    unpriced: int
    cost: Decimal


class Sums(msgspec.Struct):
    """Sums of one stretch of time; `cost` is in the budget's currency, `foreign` counts priced events in others."""

    events: int = 0
    tokens: int = 0
    unpriced: int = 0
    foreign: int = 0
    cost: Decimal = Decimal(0)

    def add(self, delta: Delta, currency: str) -> None:
        self.events += delta.events
        self.tokens += delta.tokens
        self.unpriced += delta.unpriced
        if delta.currency in {currency, ""}:
            self.cost = EXACT.add(self.cost, delta.cost)
        else:
            self.foreign += delta.events - delta.unpriced

    def join(self, other: "Sums") -> "Sums":
        """Both together; neither is changed."""
        return Sums(
            self.events + other.events,
            self.tokens + other.tokens,
            self.unpriced + other.unpriced,
            self.foreign + other.foreign,
            EXACT.add(self.cost, other.cost),
        )

    def value(self, unit: str) -> Decimal:
        """In the unit of a budget."""
        match unit:
            case "cost":
                return self.cost
            case "tokens":
                return Decimal(self.tokens)
            case "unpriced":
                return Decimal(self.unpriced)
            case _:
                return Decimal(self.events)


class Raised(msgspec.Struct):
    """An alert of a scope as it stands; `revision` counts its changes, so that each is published under its own number."""

    state: str
    revision: int
    threshold: str
    start: int
    end: int
    since: int


class Track(msgspec.Struct):
    """Everything that is known of one scope: sums by start of their stretch (ms), alerts by id."""

    sums: dict[int, Sums] = {}
    alerts: dict[str, Raised] = {}


def start_of(budget: Budget, minute: int) -> int:
    """Start of the stretch that a minute belongs to: its calendar period, or itself for a rolling window."""
    at = minute * MINUTE_MS
    return period_of(budget.period, at)[0] if isinstance(budget.period, Calendar) else at


def current(budget: Budget, track: Track, clock: int) -> tuple[int, int, Sums]:
    """Start, end and sums of the window as of `clock`."""
    if isinstance(budget.period, Calendar):
        start, end = period_of(budget.period, max(clock - 1, 0))
        return start, end, track.sums.get(start, Sums())
    start, found = clock - size_of(budget.period), Sums()
    for at, sums in track.sums.items():
        if start <= at < clock:
            found = found.join(sums)
    return start, clock, found


def forget(budget: Budget, track: Track, clock: int) -> None:
    """Drop what no event within the horizon can reach, and alerts that ended there."""
    for at in [at for at in track.sums if is_forgotten(budget, at, clock)]:
        del track.sums[at]
    for name in [n for n, a in track.alerts.items() if a.state == "resolved" and a.end < clock - KEEP_MS]:
        del track.alerts[name]


def is_forgotten(budget: Budget, start: int, clock: int) -> bool:
    """Whether the stretch that begins there lies where nothing is kept."""
    keep = KEEP_MS if isinstance(budget.period, Calendar) else size_of(budget.period)
    return _end(budget, start) < clock - keep


def _end(budget: Budget, start: int) -> int:
    return period_of(budget.period, start)[1] if isinstance(budget.period, Calendar) else start + MINUTE_MS
