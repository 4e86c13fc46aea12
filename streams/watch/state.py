"""The watch of one partition of totals: pure. Totals and ticks in, changes of alerts and budgets out; same in, same out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, Lifetime
from streams.catalog.models import Catalog, Tenant
from streams.watch.alerts import Cause, alert_record, budget_record, judge
from streams.watch.periods import period_of
from streams.watch.scopes import id_and_tenant
from streams.watch.watched import Watched, watched
from streams.watch.windows import MINUTE_MS, Delta, Sums, Track, forget, is_forgotten, start_of


def budget_of(known: Watched) -> Budget | None:
    """What is judged: a budget with a limit and a period that is not a lifetime, or the rule about prices as one."""
    if known.kind == "unpriced":
        return Budget(
            id=known.id,
            each=known.scope.each,
            unit="unpriced",
            limit=Decimal(1),
            period=Calendar(every="day"),
            thresholds=(Decimal(1),),
            severity=known.rule.severity,
        )
    budget = known.budget if known.kind == "budget" else None
    return budget if budget and budget.limit is not None and not isinstance(budget.period, Lifetime) else None


class Saved(msgspec.Struct):
    """What usage.state holds: all of it in a snapshot, the changed scopes in a message; None = the scope is gone."""

    sequence: int
    clock: int
    applied: dict[str, int]
    tracks: dict[str, Track | None]


@dataclass(slots=True)
class Effects:
    """What became different; alerts in the order in which they changed."""

    alerts: list[dict[str, Any]] = field(default_factory=list)
    dirty: set[str] = field(default_factory=set)


class WatchState:
    """Windows and alerts of the scopes of one partition. Throw it away after an error; it is a fold."""

    def __init__(self) -> None:
        self.sequence = 0
        self.clock = 0  # event time in ms: end of the newest minute seen, or the newest tick
        self.applied: dict[str, int] = {}  # "stream/p" -> last ledger offset whose totals are in
        self.tracks: dict[str, Track] = {}
        self.watched: dict[str, Watched] = {}
        self._tenants: dict[str, Tenant] = {}

    def adopt(self, sequence: int, catalog: Catalog) -> set[str]:
        """Work with this version. Ids whose scopes must be filled from the ledger; dropped ones free their state."""
        before, self.watched = self.watched, watched(catalog)
        self._tenants = {t.id: t for t in catalog.tenants}
        self.sequence = sequence
        fresh = {i for i, w in self.watched.items() if i not in before or before[i].shape != w.shape}
        return fresh

    def drop(self, ids: Iterable[str]) -> set[str]:
        """Forget the scopes of these ids and of everything that is no longer watched; the keys that went."""
        gone = set(ids)
        keys = {k for k in self.tracks if (i := id_and_tenant(k)[0]) in gone or i not in self.watched}
        for key in keys:
            del self.tracks[key]
        return keys

    def fill(self, deltas: Iterable[Delta]) -> set[str]:
        """Add history without judging it; the keys that were touched."""
        touched = set()
        for delta in deltas:
            self._add(delta)
            touched.add(delta.scope)
        return touched

    def _add(self, delta: Delta) -> int | None:
        budget = self._budget(delta.scope)
        if budget is None:
            return None  # of a rule that was dropped since
        track = self.tracks.setdefault(delta.scope, Track())
        start = start_of(budget, delta.minute)
        track.sums.setdefault(start, Sums()).add(delta, budget.currency)
        return start

    def take(self, deltas: Iterable[Delta], cause: Cause, is_correction: bool = False) -> Effects:
        """One message of totals: add it, move the clock, judge what it touched.

        What a correction says of a stretch that was forgotten is dropped: its sums are gone, the difference is none of them.
        """
        touched: dict[str, set[int]] = {}
        newest = 0
        for delta in deltas:
            newest = max(newest, delta.minute)
            if is_correction and self._is_gone(delta):
                continue
            start = self._add(delta)
            if start is not None:
                touched.setdefault(delta.scope, set()).add(start)
        return self._judge(touched, max(self.clock, (newest + 1) * MINUTE_MS if newest else 0), cause)

    def _is_gone(self, delta: Delta) -> bool:
        budget = self._budget(delta.scope)
        return budget is not None and is_forgotten(budget, start_of(budget, delta.minute), self.clock)

    def _budget(self, key: str) -> Budget | None:
        known = self.watched.get(id_and_tenant(key)[0])
        return budget_of(known) if known else None

    def tick(self, now: int, cause: Cause) -> Effects:
        """Time passes although nothing arrives."""
        return self._judge({}, max(self.clock, now - now % MINUTE_MS), cause)

    def refresh(self, keys: Iterable[str], cause: Cause) -> Effects:
        """Judge scopes again: after a fill, or since a limit changed."""
        return self._judge({k: set() for k in keys if k in self.tracks}, self.clock, cause)

    def _judge(self, touched: Mapping[str, set[int]], clock: int, cause: Cause) -> Effects:
        before, self.clock = self.clock, clock
        moved = clock > before
        cause = Cause(clock, cause.detected, cause.stream, cause.partition, cause.ledger_offset)
        looked = set(touched)
        if moved:  # windows that slide, and periods that ended
            turned = {i for i, w in self.watched.items() if self._turned(w, before)}
            looked |= {k for k, t in self.tracks.items() if id_and_tenant(k)[0] in turned and t.sums}
        effects = Effects(dirty=looked)
        for key in sorted(looked):
            which, tenant = id_and_tenant(key)
            known, track = self.watched[which], self.tracks[key]
            budget = budget_of(known)
            if budget is None:
                continue
            for name, sums in judge(budget, key, track, touched.get(key, set()), cause):
                who = self._tenants.get(tenant) or Tenant(id=tenant)
                effects.alerts.append(alert_record(budget, known.kind, key, who, name, track.alerts[name], sums, cause))
            if moved:
                forget(budget, track, clock)
        return effects

    def _turned(self, known: Watched, before: int) -> bool:
        """Did the window move since `before`? A rolling one always does, a calendar one with its period."""
        budget = budget_of(known)
        if budget is None:
            return False
        period = budget.period
        return not isinstance(period, Calendar) or period_of(period, max(before - 1, 0)) != period_of(
            period, self.clock - 1
        )

    def budgets(self, keys: Iterable[str], stamp: tuple[str, int, int]) -> dict[str, dict[str, Any] | None]:
        """Records of usage.budgets for these scopes, None for a scope that is gone."""
        found: dict[str, dict[str, Any] | None] = {}
        for key in sorted(keys):
            which, tenant = id_and_tenant(key)
            known, track = self.watched.get(which), self.tracks.get(key)
            if known is None or track is None:
                found[key] = None
            elif known.kind == "budget" and known.budget and known.budget.limit is not None:
                found[key] = budget_record(known.budget, key, tenant, track, self.clock, stamp)
        return found

    def dump(self, keys: Iterable[str] | None = None) -> bytes:
        """Bytes of the whole, or of the scopes given."""
        names = self.tracks if keys is None else keys
        saved = Saved(self.sequence, self.clock, self.applied, {k: self.tracks.get(k) for k in sorted(names)})
        return msgspec.msgpack.encode(saved)

    def load(self, body: bytes) -> None:
        """Add what `dump` wrote: a snapshot first, then the messages after it."""
        saved = msgspec.msgpack.decode(body, type=Saved)
        self.sequence, self.clock, self.applied = saved.sequence, saved.clock, saved.applied
        for key, track in saved.tracks.items():
            if track is None:
                self.tracks.pop(key, None)
            else:
                self.tracks[key] = track
