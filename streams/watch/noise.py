"""What a back-test found, in figures: how often a rule fires, for whom, for how long, what is at risk, and how much is noise.

Decision: an alert is noise when nobody would have missed it: it is brief (over by itself within BRIEF_MS), small (what its
scope spent while it was open is less than SMALL of its mean day), or a flap (back within FLAP_MS). The score is the share of
alerts that are any of these. Alerts per scope and week stand beside: a rule may be right and still too loud.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

BRIEF_MS = 15 * 60_000
FLAP_MS = 60 * 60_000
SMALL = Decimal("0.05")
DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
ZERO = Decimal(0)


@dataclass(slots=True)
class Episode:
    """One alert, from when it fires until it resolves; ms of event time.

    since:    when it crossed; opened: when it fired, after `pending`; closed: None while it is open
    before:   it was open already when the back-test began
    peak:     the most that it saw; over: of that what is above the limit
    spent:    by its scope while it was open, in the rule's unit
    """

    alert_id: str
    scope: str
    threshold: str
    severity: str
    since: int
    opened: int
    limit: Decimal
    peak: Decimal
    closed: int | None = None
    reason: str = ""
    before: bool = False
    spent: Decimal = ZERO

    @property
    def over(self) -> Decimal:
        """At its worst."""
        return max(self.peak - self.limit, ZERO)

    def lasted(self, end: int) -> int:
        """Until it resolved, or until `end`."""
        return (end if self.closed is None else self.closed) - self.opened


@dataclass(slots=True)
class Seen:
    """One scope: what it spent in all, while an alert of its was open, and in each of the columns of its picture."""

    spent: Decimal = ZERO
    at_risk: Decimal = ZERO
    columns: list[Decimal] = field(default_factory=list)


class Noise(NamedTuple):
    """Shares of the alerts; score: of those that are any of the three, None without alerts."""

    per_scope_week: float
    brief: int
    small: int
    flaps: int
    score: float | None


@dataclass(frozen=True)
class Report:
    """One rule over [start, end), ms.

    events:    rows of usage in that time, whether the rule is about them or not; scopes: that the rule is about
    first:     when the first of them was; None: there is none
    seen:      by scope, of those that fired, and of others as far as memory is bounded
    spent:     of all its scopes, in the rule's unit
    """

    rule: str
    kind: str
    unit: str
    currency: str
    start: int
    end: int
    events: int
    scopes: int
    spent: Decimal
    episodes: tuple[Episode, ...]
    seen: dict[str, Seen]
    first: int | None = None

    @property
    def fired(self) -> list[Episode]:
        """Those that opened in that time."""
        return [e for e in self.episodes if not e.before]

    @property
    def fired_scopes(self) -> list[str]:
        """Those with most alerts first."""
        counts: dict[str, int] = {}
        for one in self.fired:
            counts[one.scope] = counts.get(one.scope, 0) + 1
        return sorted(counts, key=lambda scope: (-counts[scope], scope))

    @property
    def still_open(self) -> int:
        return sum(e.closed is None for e in self.episodes)

    @property
    def open_ms(self) -> int:
        """All alerts together."""
        return sum(e.lasted(self.end) for e in self.fired)

    @property
    def at_risk(self) -> Decimal:
        """Spent by scopes while an alert of theirs was open: what action at the first crossing could have stopped."""
        return sum((seen.at_risk for seen in self.seen.values()), ZERO)

    @property
    def over(self) -> Decimal:
        """Above the limit: of alerts of a scope that are open at the same time the one that saw most."""
        return sum((max(e.over for e in group) for group in _together(self.episodes, self.end)), ZERO)

    @property
    def noise(self) -> Noise:
        """See the module."""
        fired = self.fired
        flaps = {id(e) for e in _flaps(self.episodes)}
        brief = [e for e in fired if e.closed is not None and e.lasted(self.end) < BRIEF_MS]
        days = Decimal(max(self.end - self.start, DAY_MS)) / DAY_MS
        small = [e for e in fired if e.closed is not None and e.spent < SMALL * self.seen[e.scope].spent / days]
        noisy = {id(e) for e in (*brief, *small)} | flaps
        weeks = max(self.end - self.start, 1) / WEEK_MS
        return Noise(
            len(fired) / max(self.scopes, 1) / weeks,
            len(brief),
            len(small),
            len(flaps),
            len(noisy) / len(fired) if fired else None,
        )


def _flaps(episodes: Iterable[Episode]) -> list[Episode]:
    """Those that fire soon after the same condition of the same scope was resolved."""
    last: dict[tuple[str, str], int] = {}
    found = []
    for one in sorted(episodes, key=lambda e: e.opened):
        key = one.scope, one.threshold
        if not one.before and key in last and one.opened - last[key] < FLAP_MS:
            found.append(one)
        if one.closed is not None:
            last[key] = one.closed
    return found


def _together(episodes: Iterable[Episode], end: int) -> list[list[Episode]]:
    """Alerts of one scope that are open at the same time, as one."""
    found: list[list[Episode]] = []
    scope, until = "", 0
    for one in sorted(episodes, key=lambda e: (e.scope, e.opened)):
        if one.scope != scope or one.opened >= until:
            found.append([])
            scope, until = one.scope, 0
        found[-1].append(one)
        until = max(until, one.opened + one.lasted(end))
    return found
