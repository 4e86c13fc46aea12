"""The watch of one partition of totals: pure. Totals and ticks in, changes of alerts and budgets out; same in, same out.

No step looks at more than it must: scopes that a message touches, and at most STEP others that are due, that belong to a rule
that was changed or to one that was dropped. What is left over is looked at with the next messages, in the same order by whoever
reads them; it stands in `Head`, so that a new owner goes on where the former one was.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, Lifetime
from streams.catalog.models import Catalog, Tenant
from streams.watch.alerts import FIRING, Cause, alert_record, budget_record, forget, judge
from streams.watch.kept import Scoped, Tracks
from streams.watch.scopes import id_and_tenant, rule_of
from streams.watch.tracks import NEVER, Track, add, advance, due, is_empty, past, stretches
from streams.watch.watched import PERIOD, Watched, watched
from streams.watch.windows import Delta

STEP = 2_000  # scopes that one message looks at beyond those that it touches: 0.1 s
UNTOLD = ("stamp", "as_of")  # of a record: they move although nothing else does


class Head(msgspec.Struct):
    """What the state is beside its scopes.

    clock:       event time in ms: newest event + 1 ms, or the newest tick
    applied:     "stream/p" -> last ledger offset whose totals are in
    generations: rule -> version of the catalog since which its windows have their shape
    refreshing:  rule whose scopes are judged again -> the key up to which it was done
    dropping:    rules that are no longer there and whose scopes are
    """

    sequence: int = 0
    clock: int = 0
    applied: dict[str, int] = {}
    generations: dict[str, int] = {}
    refreshing: dict[str, str] = {}
    dropping: list[str] = []


@dataclass(slots=True)
class Effects:
    """What became different; alerts in the order in which they changed. `gone`: scopes that had a record and are no more."""

    alerts: list[dict[str, Any]] = field(default_factory=list)
    dirty: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)

    def add(self, other: "Effects") -> None:
        """What happened afterwards."""
        self.alerts += other.alerts
        self.dirty |= other.dirty
        self.gone |= other.gone


class WatchState:
    """Windows and alerts of the scopes of one partition. Throw it away after an error; it is a fold."""

    def __init__(self, tracks: Tracks) -> None:
        self.head = Head()
        self.tracks = tracks
        self.watched: dict[str, Watched] = {}
        self._judged: dict[str, Budget | None] = {}
        self._tenants: dict[str, Tenant] = {}

    @property
    def clock(self) -> int:
        """Event time in ms up to which everything was judged."""
        return self.head.clock

    def resume(self, catalog: Catalog) -> None:
        """Work with the version that the head names: nothing has changed."""
        self.watched = watched(catalog)
        self._judged = {i: _budget_of(w) for i, w in self.watched.items()}
        self._tenants = {t.id: t for t in catalog.tenants}

    def adopt(self, sequence: int, catalog: Catalog) -> set[str]:
        """Work with a later version. Ids whose scopes must be filled from the ledger; dropped ones free their state."""
        head, before = self.head, self.watched
        self.resume(catalog)
        head.sequence = sequence
        fresh = {i for i, w in self.watched.items() if i not in before or before[i].shape != w.shape}
        for name in (n for n, w in self.watched.items() if n in fresh or before[n] != w):
            head.refreshing[name] = ""
        head.generations |= dict.fromkeys(fresh, sequence)
        gone = head.generations.keys() - self.watched.keys()
        for name in gone:
            del head.generations[name]
            head.refreshing.pop(name, None)
        head.dropping = sorted((gone | set(head.dropping)) - self.watched.keys())
        return fresh

    def is_behind(self) -> bool:
        """Whether scopes are waiting to be looked at, which the next message or tick does."""
        head = self.head
        return bool(head.refreshing or head.dropping or self.tracks.due(head.clock, 1))

    def fill(self, deltas: Iterable[Delta]) -> set[str]:
        """Add history, in any order, of rules that `adopt` called fresh; `take` judges it. The keys that were touched."""
        touched = set()
        for key, rows in _by_scope(deltas).items():
            known = self.watched[rule_of(key)]
            scoped = self._scoped(key, known) or self._fresh(known)
            self.head.clock = max(self.head.clock, *(row.last_ms + 1 for row in rows))
            for row in rows:
                add(known, scoped.track, row, self.head.clock, filling=True)
            self.tracks.put(key, scoped, NEVER)
            touched.add(key)
        return touched

    def take(self, deltas: Iterable[Delta], cause: Cause) -> Effects:
        """One message of totals: move the clock, add it, judge what it touched and what is due."""
        rows = {k: r for k, r in _by_scope(deltas).items() if rule_of(k) in self.watched}
        newest = max((row.last_ms + 1 for of_key in rows.values() for row in of_key), default=0)
        return self._step(max(self.head.clock, newest), cause, rows)

    def tick(self, now: int, cause: Cause) -> Effects:
        """Time passes although nothing arrives."""
        return self._step(max(self.head.clock, now), cause, {})

    def _step(self, clock: int, cause: Cause, rows: dict[str, list[Delta]]) -> Effects:
        self.head.clock = clock
        cause = Cause(clock, cause.detected, cause.stream, cause.partition, cause.ledger_offset)
        effects = Effects()
        self._drop(STEP, effects)
        looked = rows.keys() | self._refreshed(STEP) | set(self.tracks.due(clock, STEP))
        for key in sorted(looked):
            self._look(key, rows.get(key, []), cause, effects)
        return effects

    def _drop(self, most: int, effects: Effects) -> None:
        while self.head.dropping and most > 0:
            rule = self.head.dropping[0]
            keys = self.tracks.keys_of(rule, "", most)
            for key in keys:
                self._forget(key, self.tracks.get(key), effects)
            most -= len(keys)
            if most > 0:
                self.head.dropping.pop(0)

    def _refreshed(self, most: int) -> set[str]:
        """The next scopes of rules that were changed."""
        found, refreshing = set[str](), self.head.refreshing
        for rule in sorted(refreshing):
            keys = self.tracks.keys_of(rule, refreshing[rule], most - len(found))
            found.update(keys)
            if len(found) >= most:
                refreshing[rule] = keys[-1] if keys else refreshing[rule]
                break
            del refreshing[rule]
        return found

    def _look(self, key: str, rows: list[Delta], cause: Cause, effects: Effects) -> None:
        """Bring one scope to the clock, add the rows, judge it."""
        which, tenant = id_and_tenant(key)
        known, clock = self.watched.get(which), cause.clock
        if known is None:  # due, and of a rule that is being dropped
            self._forget(key, self.tracks.get(key), effects)
            return
        scoped = self._scoped(key, known)
        is_new = scoped is None
        scoped = scoped or self._fresh(known)
        advance(known, scoped.track, clock)
        found = [add(known, scoped.track, row, clock) for row in rows]
        if is_new and all(start is None for start in found):
            return  # too late for every window
        effects.dirty.add(key)
        touched = {start for start in found if start is not None}
        budget = self._judged[which]
        if budget is not None:
            of_period = [*past(known, scoped.track, touched, clock), stretches(known, scoped.track, clock)[PERIOD]]
            for name, sums in judge(budget, key, scoped.raised, of_period, cause):
                who = self._tenants.get(tenant) or Tenant(id=tenant)
                effects.alerts.append(
                    alert_record(budget, known.kind, key, who, name, scoped.raised[name], sums, cause)
                )
            forget(scoped.raised, clock)
        is_open = any(a.state == FIRING for a in scoped.raised.values())
        if is_empty(scoped.track) and not is_open and known.kind != "low_usage":  # whose point is that nothing comes
            self._forget(key, scoped, effects)
        else:
            self.tracks.put(key, scoped, due(known, scoped.track, clock))

    def _scoped(self, key: str, known: Watched) -> Scoped | None:
        """The scope, without what it used while its rule had another shape."""
        scoped = self.tracks.get(key)
        generation = self.head.generations.get(known.id, 0)
        if scoped is not None and scoped.generation != generation:
            scoped.track, scoped.generation = Track(), generation
        return scoped

    def _fresh(self, known: Watched) -> Scoped:
        return Scoped(Track(), generation=self.head.generations.get(known.id, 0))

    def _forget(self, key: str, scoped: Scoped | None, effects: Effects) -> None:
        self.tracks.delete(key)
        effects.dirty.add(key)
        if scoped is not None and scoped.told:
            effects.gone.add(key)

    def records(
        self, keys: Iterable[str], gone: Iterable[str], stamp: tuple[str, int, int], again: bool = False
    ) -> dict[str, tuple[int, dict[str, Any] | None]]:
        """Records of usage.budgets, with the checksum of their figures, of those scopes whose figures are not what was told.

        gone: scopes that may be no more; if so their record is None. again: also what was told
        """
        found: dict[str, tuple[int, dict[str, Any] | None]] = dict.fromkeys(sorted(gone), (0, None))
        for key in sorted(keys):
            which, tenant = id_and_tenant(key)
            scoped, known, budget = self.tracks.get(key), self.watched.get(which), self._judged.get(which)
            if scoped is None or known is None or budget is None or known.kind != "budget":
                continue
            stretch = stretches(known, scoped.track, self.clock)[PERIOD]
            record = budget_record(budget, key, tenant, stretch, self.clock, stamp)
            figures = figures_of(record)
            found.pop(key, None)
            if again or figures != scoped.told:
                scoped.told = figures
                self.tracks.put(key, scoped, due(known, scoped.track, self.clock))
                found[key] = figures, record
        return found


def figures_of(record: dict[str, Any]) -> int:
    """Checksum of what a record says, whenever it is said; never 0."""
    return zlib.crc32(msgspec.json.encode({k: v for k, v in record.items() if k not in UNTOLD})) or 1


def _by_scope(deltas: Iterable[Delta]) -> dict[str, list[Delta]]:
    found: dict[str, list[Delta]] = {}
    for delta in deltas:
        found.setdefault(delta.scope, []).append(delta)
    return found


def _budget_of(known: Watched) -> Budget | None:
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
