"""A rule over history, through the code of the live watch: rows → totals → WatchState → alerts, in virtual time. Pure.

Totals of a page are made at the grain of the scope, of a minute at most, and taken a step at a time in the order of event time,
as the live watch takes batches; what time alone changes happens at ticks as a live watch appends them. Nobody is told. Scopes
of a tenant know nothing of another's, so a source may come tenant after tenant, each in the order of its events.
"""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import polars as pl
from xxhash import xxh3_64_intdigest

from streams.catalog.models import Catalog
from streams.pipeline.dimensions import OF_ATTRIBUTES
from streams.pipeline.measures import inputs
from streams.pipeline.totals import COLUMNS, totals
from streams.watch.alerts import Cause
from streams.watch.kept import MemoryTracks
from streams.watch.noise import ZERO, Episode, Report, Seen
from streams.watch.periods import MINUTE_MS, period_of
from streams.watch.raised import PENDING, RESOLVED
from streams.watch.state import Effects, WatchState
from streams.watch.tracks import NEVER
from streams.watch.watched import RULES, Watched, watched
from streams.watch.windows import Delta

TICK_MS = 10_000  # as the live watch ticks
COLUMNS_OF_PICTURE = 60
MOST_SEEN = 50_000  # scopes whose spend is kept; of others only the count
LEAST_WARM_MS = 3_600_000


class NoRule(Exception):
    """The catalog has no such rule, or none that usage can test; the message lists those that there are."""


def only(catalog: Catalog, rule: str) -> Catalog:
    """The catalog with that rule alone, and what it rests on: its budget, that budget's parents, exceptions, owners.

    Silences are left out: a back-test shows what a rule would say, not who was spared it.
    """
    burns = tuple(b for b in catalog.burn_rates if b.id == rule)
    wanted = {rule, *(b.budget for b in burns)}
    by_id = {b.id: b for b in catalog.budgets}
    while above := {by_id[name].parent or "" for name in wanted if name in by_id and by_id[name].parent} - wanted:
        wanted |= above
    return Catalog(
        tenants=catalog.tenants,
        workloads=catalog.workloads,
        budgets=tuple(b for b in catalog.budgets if b.id in wanted),
        burn_rates=burns,
        runs=tuple(r for r in catalog.runs if r.id == rule),
        rules=tuple(r for r in catalog.rules if r.id == rule),
        exceptions=tuple(e for e in catalog.exceptions if e.budget in wanted),
    )


def known_rule(catalog: Catalog, rule: str) -> Watched:
    """The rule as the watch follows it; NoRule when it has no windows."""
    every = watched(catalog)
    if rule in every:
        return every[rule]
    apart = next((r for r in catalog.rules if r.id == rule), None)
    if apart is not None:
        raise NoRule(f"rule {rule}: {apart.kind} is not about usage; take one of kind {', '.join(RULES)}, or a limit")
    raise NoRule(f"rule {rule}: there is none; take one of {', '.join(every) or 'none, the catalog has no limit'}")


def columns_of(known: Watched) -> list[str]:
    """Columns of rated rows that its totals are made of."""
    scope = known.scope
    names = ["tenant_id", *COLUMNS, *(n for n, _ in scope.where), *scope.names, *scope.contributors, *inputs(scope)]
    return list(dict.fromkeys("attributes" if n.startswith(OF_ATTRIBUTES) else n for n in names))


def warm_from(known: Watched, start: int) -> int:
    """From where on (ms) usage must be read so that its windows are true at `start`."""
    found = start - LEAST_WARM_MS
    for spec in known.windows:
        match spec.kind:
            case "calendar" if spec.calendar is not None:
                first = period_of(spec.calendar, start)[0]
                whole = period_of(spec.calendar, first - 1)[0] if known.kind == "low_usage" else first
                found = min(found, whole)
            case "rolling":
                found = min(found, start - spec.size_ms - spec.hop_ms)
            case _:
                found = min(found, start - 2 * spec.idle_ms)
    return found


def _hash(scope: str) -> int:
    return xxh3_64_intdigest(scope.encode())


def step_of(known: Watched) -> int:
    """How often (ms) it is looked at, unless somebody says: of its shortest window a 288th, between one and five minutes."""
    sizes = [period_of(w.calendar, 0) if w.calendar else (0, w.size_ms or w.idle_ms) for w in known.windows]
    shortest = min(end - start for start, end in sizes)
    return min(max(shortest // 288 // MINUTE_MS * MINUTE_MS, MINUTE_MS), 5 * MINUTE_MS)


class Backtest:
    """One rule over [start, end); give it rows from `warm_from` on, then ask for the report."""

    def __init__(self, catalog: Catalog, rule: str, start: int, end: int, step_ms: int | None = None) -> None:
        self.known = known_rule(catalog, rule)
        self.catalog = only(catalog, rule)
        self.start, self.end = start, end
        self.step_ms = step_ms or step_of(self.known)
        self.events = 0
        self._first = NEVER
        grain = min(
            self.known.scope.slice_ms, self.step_ms, MINUTE_MS
        )  # slices of a scope are multiples of the finer one
        self._scope = replace(self.known.scope, slice_ms=grain)
        self._tenant: str | None = None
        self._episodes: list[Episode] = []
        self._seen: dict[str, Seen] = {}
        self._keys: set[int] = set()
        self._spent = ZERO
        self._begin()

    def _begin(self) -> None:
        self._scopes = MemoryTracks()
        self._state = WatchState(self._scopes)
        self._state.adopt(1, self.catalog)
        self._since: dict[str, int] = {}  # of alerts that are pending or open: when they crossed
        self._firing: dict[str, dict[str, Episode]] = {}  # by scope, by id
        self._step: list[Delta] = []  # the last one, which the next page may go on with

    def take(self, rows: pl.DataFrame) -> None:
        """Rated rows, those of one tenant together and in the order of event time."""
        for part in rows.partition_by("tenant_id", maintain_order=True):
            tenant = part["tenant_id"][0]
            if tenant != self._tenant and self._tenant is not None:
                self._finish()
                self._begin()
            self._tenant = tenant
            self._take_in_steps(part)

    def take_batch(self, rows: pl.DataFrame, cause: Cause) -> None:
        """A batch of the ledger, of all tenants, as the live watch got it: when the broker took it, at `cause.detected`."""
        self._tick_until(cause.detected)
        self._count(rows)
        self._take([Delta(*row) for row in totals(rows, [self.known.scope]).iter_rows()], cause)

    def _take_in_steps(self, rows: pl.DataFrame) -> None:
        self._count(rows)
        deltas = totals(rows, [self._scope]).sort("slice", "scope", "currency")
        for row in map(Delta._make, deltas.iter_rows()):
            if self._step and row.slice // self.step_ms != self._step[0].slice // self.step_ms:
                self._take_step()
            self._step.append(row)

    def _count(self, rows: pl.DataFrame) -> None:
        at = rows["event_time"].dt.epoch("ms")
        at = at.filter(at.is_between(self.start, self.end, closed="left"))
        self.events += len(at)
        self._first = min([self._first, *at.bottom_k(1)])

    def _take_step(self) -> None:
        step, self._step = self._step, []
        self._tick_until(step[0].slice)
        self._take(step, Cause(0, max(d.last_ms for d in step), "backtest", 0, -1))

    def _take(self, deltas: list[Delta], cause: Cause) -> None:
        for delta in deltas:
            self._spend(delta)
        self._follow(self._state.take(deltas, cause))
        for scope in {d.scope for d in deltas} & self._firing.keys():
            self._look_at(scope)

    def _tick_until(self, now: int) -> None:
        """Where time alone may change something, at the ticks of a live watch, or a step apart if that is more."""
        apart = max(TICK_MS, self.step_ms)
        while (due := self._scopes.soonest()) is not None:
            at = -(-due // apart) * apart
            if at > now:
                return
            self._follow(self._state.tick(at, Cause(0, at, "", -1, -1)))

    def _spend(self, delta: Delta) -> None:
        """Count it for its scope, before it is judged: what makes an alert fire was not spent while that was open."""
        if not self.start <= delta.slice < self.end:
            return
        amount = delta.value(self.known.scope.unit, self.known.currency)
        self._keys.add(_hash(delta.scope))
        self._spent += amount
        seen = self._seen.get(delta.scope)
        if seen is None:
            if len(self._seen) >= MOST_SEEN:
                return
            seen = self._seen[delta.scope] = Seen(columns=[ZERO] * COLUMNS_OF_PICTURE)
        seen.spent += amount
        seen.columns[(delta.slice - self.start) * COLUMNS_OF_PICTURE // (self.end - self.start)] += amount
        if open_ones := self._firing.get(delta.scope):
            seen.at_risk += amount
            for one in open_ones.values():
                one.spent += amount

    def _follow(self, effects: Effects) -> None:
        clock = self._state.clock
        for alert in effects.alerts:
            if alert["budget_id"] == self.known.id:
                self._note(alert, clock)

    def _note(self, alert: dict[str, Any], clock: int) -> None:
        name, scope, state = alert["alert_id"], alert["scope"], alert["state"]
        if state == RESOLVED:
            self._since.pop(name, None)
            if (one := self._firing.get(scope, {}).pop(name, None)) is not None:
                one.closed, one.reason = clock, alert["reason"]
            return
        since = self._since.setdefault(name, clock)
        if state == PENDING or clock >= self.end or name in self._firing.get(scope, {}):
            return
        one = Episode(
            alert_id=name,
            scope=scope,
            threshold=alert["threshold"],
            severity=alert["severity"],
            since=since,
            opened=clock,
            limit=Decimal(alert["limit"]),
            peak=Decimal(alert["value"]),
            before=clock < self.start,
        )
        self._firing.setdefault(scope, {})[name] = one
        self._episodes.append(one)

    def _finish(self) -> None:
        """To the end of the time, with nothing more to come; what is open then stays open."""
        if self._step:
            self._take_step()
        self._tick_until(self.end - 1)

    def _look_at(self, scope: str) -> None:
        """The most that open alerts have seen; between two records nobody is told of it."""
        state = self._scopes.get(scope)
        for name, one in self._firing[scope].items():
            if state is not None and name in state.raised:
                one.peak = max(one.peak, state.raised[name].value)

    def report(self) -> Report:
        """Once, after the last row."""
        self._finish()
        fired = {e.scope for e in self._episodes}
        for scope in fired:
            self._seen.setdefault(scope, Seen(columns=[ZERO] * COLUMNS_OF_PICTURE))
        episodes = (e for e in self._episodes if e.closed is None or e.closed >= self.start)
        return Report(
            rule=self.known.id,
            kind=self.known.kind,
            unit=self.known.scope.unit,
            currency=self.known.currency,
            start=self.start,
            end=self.end,
            events=self.events,
            scopes=len(self._keys | {_hash(scope) for scope in fired}),
            spent=self._spent,
            episodes=tuple(sorted(episodes, key=lambda e: (e.opened, e.scope, e.threshold))),
            seen=self._seen,
            first=self._first if self.events else None,
        )


def replay(
    catalog: Catalog, rule: str, pages: Iterable[pl.DataFrame], start: int, end: int, step_ms: int | None = None
) -> Report:
    """All of it at once."""
    test = Backtest(catalog, rule, start, end, step_ms)
    for page in pages:
        test.take(page)
    return test.report()
