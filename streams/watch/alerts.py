"""Alerts of budgets and rules: states with deterministic ids, so that a replay raises the same alert, not another one.

An id names the scope, the threshold and the period (calendar) or the minute of the crossing (rolling). A change of state is a
record with the next `revision`; readers keep one record for each (alert_id, revision).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget
from streams.catalog.models import Tenant
from streams.watch.tracks import KEEP_MS
from streams.watch.windows import EXACT, Stretch, Sums

FIRING, RESOLVED = "firing", "resolved"


class Raised(msgspec.Struct):
    """An alert of a scope as it stands; `revision` counts its changes, so that each is published under its own number."""

    state: str
    revision: int
    threshold: str
    start: int
    end: int
    since: int


@dataclass(frozen=True, slots=True)
class Cause:
    """What made the watch look: event time as of then, the broker's time, and the ledger batch behind it."""

    clock: int
    detected: int
    stream: str
    partition: int
    ledger_offset: int


def id_of(scope: str, threshold: str, start: int) -> str:
    """24 hex digits that every replay finds again."""
    return hashlib.sha256(f"{scope}\n{threshold}\n{start}".encode()).hexdigest()[:24]


def text(amount: Decimal) -> str:
    """Plain digits, no exponent, no trailing zeros."""
    plain = f"{amount:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def instant(ms: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def judge(
    budget: Budget, scope: str, raised: dict[str, Raised], stretches: Sequence[Stretch], cause: Cause
) -> Iterator[tuple[str, Sums]]:
    """Ids of alerts whose state changes now, with the sums that decided; `raised` holds their new state.

    stretches: of the budget's period, the current one last; before it those that late data moved
    """
    for stretch in stretches:
        value = stretch.sums.value(budget.unit)
        for threshold in budget.thresholds:
            over = value >= EXACT.multiply(limit_of(budget), threshold)
            yield from _step(budget, scope, raised, text(threshold), over, stretch, cause)
    yield from _close(budget, raised, {s.start: s.sums for s in stretches}, cause.clock)


def limit_of(budget: Budget) -> Decimal:
    """The limit of a budget that is judged."""
    if budget.limit is None:
        raise ValueError(f"budget {budget.id}: has no limit, so that nothing is judged")
    return budget.limit


def _step(
    budget: Budget, scope: str, raised: dict[str, Raised], threshold: str, over: bool, stretch: Stretch, cause: Cause
) -> Iterator[tuple[str, Sums]]:
    if isinstance(budget.period, Calendar):
        name = id_of(scope, threshold, stretch.start)
    else:  # an episode: goes on while it is over, a new one begins with a new crossing
        open_ones = [n for n, a in raised.items() if a.threshold == threshold and a.state == FIRING]
        name = open_ones[0] if open_ones else id_of(scope, threshold, stretch.end)
    known = raised.get(name)
    if over and (known is None or known.state == RESOLVED):
        revision = known.revision + 1 if known else 1
        if isinstance(budget.period, Calendar) and stretch.end <= cause.clock and known is not None:
            return  # it ended with its period; late events are in the sums, nobody is paged again
        raised[name] = Raised(FIRING, revision, threshold, stretch.start, stretch.end, cause.clock)
        yield name, stretch.sums
    elif not over and known is not None and known.state == FIRING:
        raised[name] = Raised(RESOLVED, known.revision + 1, threshold, known.start, cause.clock, known.since)
        yield name, stretch.sums


def _close(
    budget: Budget, raised: dict[str, Raised], sums: Mapping[int, Sums], clock: int
) -> Iterator[tuple[str, Sums]]:
    """A calendar alert ends with its period."""
    if not isinstance(budget.period, Calendar):
        return
    for name in sorted(raised):
        known = raised[name]
        if known.state == FIRING and known.end <= clock:
            known.state, known.revision = RESOLVED, known.revision + 1
            yield name, sums.get(known.start, Sums())


def forget(raised: dict[str, Raised], clock: int) -> None:
    """Drop what ended so long ago that no event can reach it."""
    for name in [n for n, a in raised.items() if a.state == RESOLVED and a.end < clock - KEEP_MS]:
        del raised[name]


def alert_record(
    budget: Budget, kind: str, scope: str, tenant: Tenant, name: str, raised: Raised, sums: Sums, cause: Cause
) -> dict[str, Any]:
    """The record on usage.alerts: JSON, money as strings."""
    limit, value = limit_of(budget), sums.value(budget.unit)
    percent = f"{value / limit * 100:.1f}"
    said = f"{percent} % of {text(limit)} {budget.currency if budget.unit == 'cost' else budget.unit}"
    if budget.unit == "unpriced":
        said = f"{sums.unpriced:,} of {sums.events:,} events without a price; `usage-streams query unpriced_models` says why"
    return {
        "alert_id": name,
        "revision": raised.revision,
        "state": raised.state,
        "kind": kind,
        "tenant_id": tenant.id,
        "budget_id": budget.id,
        "scope": scope,
        "severity": budget.severity,
        "threshold": raised.threshold,
        "value": text(value),
        "limit": text(limit),
        "percent": percent,
        "unit": budget.unit,
        "currency": budget.currency if budget.unit == "cost" else None,
        "events": sums.events,
        "unpriced_events": sums.unpriced,
        "owner": budget.owner or None,
        "accountable": budget.accountable or tenant.accountable or None,
        "period_start": instant(raised.start),
        "period_end": instant(raised.end),
        "occurred_at": instant(cause.clock),
        "detected_at": instant(cause.detected),
        "ledger": {"stream": cause.stream, "partition": cause.partition, "offset": cause.ledger_offset},
        "summary": f"{scope}: {said}",
    }


def budget_record(
    budget: Budget, scope: str, tenant: str, stretch: Stretch, clock: int, stamp: tuple[str, int, int]
) -> dict[str, Any]:
    """The record on usage.budgets: what is used and what may still be spent; readers keep the highest stamp a scope."""
    start, end, sums = stretch
    limit, used = limit_of(budget), sums.value(budget.unit)
    verdict = "stop" if used >= limit else "warn" if used >= EXACT.multiply(limit, budget.thresholds[0]) else "allow"
    return {
        "scope": scope,
        "tenant_id": tenant,
        "budget_id": budget.id,
        "used": text(used),
        "limit": text(limit),
        "headroom": text(max(EXACT.subtract(limit, used), Decimal(0))),
        "unit": budget.unit,
        "currency": budget.currency if budget.unit == "cost" else None,
        "events": sums.events,
        "unpriced_events": sums.unpriced,
        "foreign_events": sums.foreign,
        "verdict": verdict,
        "period_start": instant(start),
        "period_end": instant(end),
        "as_of": instant(clock),
        "stamp": {"stream": stamp[0], "partition": stamp[1], "offset": stamp[2]},
    }
