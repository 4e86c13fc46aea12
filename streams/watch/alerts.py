"""Alerts of budgets and rules: states with deterministic ids, so that a replay raises the same alert, not another one.

An id names the scope, the threshold and the period (calendar) or the minute of the crossing (rolling). A change of state is a
record with the next `revision`; readers keep one record for each (alert_id, revision).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget
from streams.catalog.models import Tenant
from streams.watch.periods import period_of
from streams.watch.windows import EXACT, Raised, Sums, Track, current

FIRING, RESOLVED = "firing", "resolved"


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


def judge(budget: Budget, scope: str, track: Track, touched: set[int], cause: Cause) -> Iterator[tuple[str, Sums]]:
    """Ids of alerts whose state changes now, with the sums that decided; `track.alerts` holds their new state.

    touched: starts of the calendar periods whose sums moved, late ones too; the period of the clock is always judged.
    """
    start, end, sums = current(budget, track, cause.clock)
    stretches = {start: (end, sums)}
    if isinstance(budget.period, Calendar):
        for at in sorted(touched - {start}):
            if at in track.sums:
                stretches[at] = (period_of(budget.period, at)[1], track.sums[at])
    for at, (until, found) in sorted(stretches.items()):
        value = found.value(budget.unit)
        for threshold in budget.thresholds:
            over = value >= EXACT.multiply(budget.limit, threshold)
            yield from _step(budget, scope, track, text(threshold), (at, until), over, found, cause)
    yield from _close(budget, track, cause.clock)


def _step(
    budget: Budget,
    scope: str,
    track: Track,
    threshold: str,
    stretch: tuple[int, int],
    over: bool,
    sums: Sums,
    cause: Cause,
) -> Iterator[tuple[str, Sums]]:
    start, end = stretch
    if isinstance(budget.period, Calendar):
        name = id_of(scope, threshold, start)
    else:  # an episode: goes on while it is over, a new one begins with a new crossing
        open_ones = [n for n, a in track.alerts.items() if a.threshold == threshold and a.state == FIRING]
        name = open_ones[0] if open_ones else id_of(scope, threshold, end)
    known = track.alerts.get(name)
    if over and (known is None or known.state == RESOLVED):
        revision = known.revision + 1 if known else 1
        if isinstance(budget.period, Calendar) and end <= cause.clock and known is not None:
            return  # it ended with its period; late events are in the sums, nobody is paged again
        track.alerts[name] = Raised(FIRING, revision, threshold, start, end, cause.clock)
        yield name, sums
    elif not over and known is not None and known.state == FIRING:
        track.alerts[name] = Raised(RESOLVED, known.revision + 1, threshold, known.start, cause.clock, known.since)
        yield name, sums


def _close(budget: Budget, track: Track, clock: int) -> Iterator[tuple[str, Sums]]:
    """A calendar alert ends with its period."""
    if not isinstance(budget.period, Calendar):
        return
    for name in sorted(track.alerts):
        known = track.alerts[name]
        if known.state == FIRING and known.end <= clock:
            known.state, known.revision = RESOLVED, known.revision + 1
            yield name, track.sums.get(known.start, Sums())


def alert_record(
    budget: Budget, kind: str, scope: str, tenant: Tenant, name: str, raised: Raised, sums: Sums, cause: Cause
) -> dict[str, Any]:
    """The record on usage.alerts: JSON, money as strings."""
    limit, value = budget.limit, sums.value(budget.unit)
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
    budget: Budget, scope: str, tenant: str, track: Track, clock: int, stamp: tuple[str, int, int]
) -> dict[str, Any]:
    """The record on usage.budgets: what is used and what may still be spent; readers keep the highest stamp a scope."""
    start, end, sums = current(budget, track, clock)
    used = sums.value(budget.unit)
    verdict = (
        "stop"
        if used >= budget.limit
        else "warn"
        if used >= EXACT.multiply(budget.limit, budget.thresholds[0])
        else "allow"
    )
    return {
        "scope": scope,
        "tenant_id": tenant,
        "budget_id": budget.id,
        "used": text(used),
        "limit": text(budget.limit),
        "headroom": text(max(EXACT.subtract(budget.limit, used), Decimal(0))),
        "unit": budget.unit,
        "currency": budget.currency if budget.unit == "cost" else None,
        "events": sums.events,
        "unpriced_events": sums.unpriced,
        "foreign_events": sums.foreign,
        "verdict": verdict,
        "period": budget.period.kind,
        "period_start": instant(start),
        "period_end": instant(end),
        "as_of": instant(clock),
        "stamp": {"stream": stamp[0], "partition": stamp[1], "offset": stamp[2]},
    }
