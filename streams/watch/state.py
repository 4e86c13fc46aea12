"""The watch of one partition of totals: pure. Totals, ticks and commands in, what changed out; same in, same out.

The clock is event time: that of the newest event, or of the newest tick. Everything happens at it, so a replay of the same
messages finds the same alerts, whoever does it and however often it was interrupted.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import msgspec

from streams.catalog.models import Catalog
from streams.watch.alert_records import About, alert_record
from streams.watch.alerts import Cause
from streams.watch.apart import Apart, look_apart, price_changes
from streams.watch.budget_record import budget_record
from streams.watch.commands import Acknowledge, AnyCommand, Commands, Decide, Revoke, ms_of
from streams.watch.conditions import Condition, Stretch
from streams.watch.contributors import Contributor, top
from streams.watch.exceptions import exception_field, extra_of, uses
from streams.watch.forecast import outlook
from streams.watch.forecast import record as forecast_record
from streams.watch.judge import needs_last_period, verdict_of
from streams.watch.look import Decisions, has_record, look
from streams.watch.machine import Transition, Why, acknowledge, close
from streams.watch.periods import period_of
from streams.watch.raised import Ack
from streams.watch.scopes import dimensions_of, rule_of
from streams.watch.store import MemoryScopes, Scopes, ScopeState
from streams.watch.tracks import NEVER, Track, add, advance, causes_of, days, due, past, stretches
from streams.watch.watched import PERIOD, Watched
from streams.watch.windows import Delta, Sums

Record = dict[str, Any]


class Head(msgspec.Struct, array_like=True):
    """What usage.state holds beside the tracks.

    clock:   ms of event time; applied: "stream/p" -> last ledger offset whose totals are in
    apart:   alerts that no window is about
    """

    sequence: int = 0
    clock: int = 0
    applied: dict[str, int] = {}
    commands: Commands = msgspec.field(default_factory=Commands)
    apart: Apart = {}


class Saved(msgspec.Struct, array_like=True):
    """A message of usage.state: the head, and scopes that changed; None = the scope is gone."""

    head: Head
    scopes: dict[str, ScopeState | None]


@dataclass(frozen=True, slots=True)
class Adopted:
    """What a new version asks for, by ids: windows to be filled from the ledger, scopes to be judged again (those of the
    filled ones among them), scopes to be forgotten."""

    fresh: set[str]
    changed: set[str]
    gone: set[str]


@dataclass(slots=True)
class Effects:
    """What became different: records of usage.alerts and usage.enforcements in their order, and the scopes that moved."""

    alerts: list[Record] = field(default_factory=list)
    enforcements: list[Record] = field(default_factory=list)
    dirty: set[str] = field(default_factory=set)

    def include(self, other: "Effects") -> None:
        self.alerts += other.alerts
        self.enforcements += other.enforcements
        self.dirty |= other.dirty


def everything(key: str) -> bool:
    """The only partition there is."""
    return True


class WatchState:
    """Windows and alerts of the scopes of one partition. Throw it away after an error; it is a fold.

    scopes: where they are kept; ours: whether a key falls to this partition
    """

    def __init__(self, scopes: Scopes | None = None, ours: Callable[[str], bool] = everything) -> None:
        self.scopes: Scopes = MemoryScopes() if scopes is None else scopes
        self.head = Head()
        self.decided = Decisions.of(Catalog(), self.head.commands)
        self._ours = ours
        self._published_ms = 0
        self._moved: dict[str, Condition] = {}  # prices that changed with the version adopted last, not judged yet

    @property
    def clock(self) -> int:
        return self.head.clock

    @property
    def watched(self) -> Mapping[str, Watched]:
        return self.decided.watched

    # What people decide

    def adopt(self, sequence: int, catalog: Catalog, published_ms: int = 0) -> Adopted:
        """Work with this version, which the broker took at `published_ms`; what it asks for is the caller's to do."""
        before, old = self.decided.watched, self.decided.catalog
        if self.head.sequence and sequence > self.head.sequence:
            self._moved |= price_changes(old, catalog, sequence, published_ms)
        self.decided = Decisions.of(catalog, self.head.commands)
        self.head.sequence, self._published_ms = sequence, published_ms
        now = self.decided.watched
        fresh = {i for i, w in now.items() if i not in before or before[i].shape != w.shape}
        changed = fresh | {i for i, w in now.items() if before.get(i) != w}
        if old.exceptions != catalog.exceptions:
            named = {e.budget for e in (*old.exceptions, *catalog.exceptions)}
            changed |= {i for i, w in now.items() if (w.budget.id if w.budget else i) in named}
        return Adopted(fresh, changed, set(before) - set(now))

    def drop(self, adopted: Adopted, cause: Cause) -> Effects:
        """Fresh windows start empty; what is no longer watched is forgotten, its alerts are resolved."""
        found = Effects()
        for rule in sorted(adopted.fresh):
            for key in self.scopes.keys_of(rule):
                if (state := self.scopes.get(key)) is not None:
                    state.track = Track()
                    self.scopes.put(key, state)
                    found.dirty.add(key)
        for rule in sorted(adopted.gone):
            for key in self.scopes.keys_of(rule):
                if (state := self.scopes.get(key)) is not None:
                    found.include(self._gone(key, state, cause))
        return found

    def _gone(self, key: str, state: ScopeState, cause: Cause) -> Effects:
        """Nothing watches this scope any more."""
        dims = dimensions_of(key)
        about = About("", rule_of(key), dims["tenant_id"], key, dims)
        cause = replace(cause, clock=self.clock)
        found = Effects([alert_record(about, t, cause) for t in close(state.alerts, self.clock)], dirty={key})
        self.scopes.delete(key)
        return found

    def fill(self, deltas: Iterable[Delta]) -> set[str]:
        """Add history without judging it; the keys that were touched."""
        touched = set()
        for delta in deltas:
            if (known := self.watched.get(rule_of(delta.scope))) is not None:
                state = self.scopes.get(delta.scope) or ScopeState()
                add(known, state.track, delta, self.clock, filling=True)
                self.scopes.put(delta.scope, state)
                touched.add(delta.scope)
        return touched

    # What comes

    def take(self, deltas: Iterable[Delta], cause: Cause, is_correction: bool = False) -> Effects:
        """One message of totals: add it, move the clock, judge what it touched."""
        touched: dict[str, set[int]] = {}
        newest: dict[str, int] = {}
        for delta in deltas:
            known = self.watched.get(rule_of(delta.scope))
            if known is None:
                continue  # of a rule that was dropped since
            state = self.scopes.get(delta.scope) or ScopeState()
            start = add(known, state.track, delta, self.clock)
            touched.setdefault(delta.scope, set()).update(() if start is None else (start,))
            newest[delta.scope] = max(newest.get(delta.scope, 0), delta.last_ms)
            self.scopes.put(delta.scope, state)
        lateness = {key: max(self.clock - at, 0) for key, at in newest.items() if at}
        clock = max(self.clock, max(newest.values(), default=-1) + 1)
        return self._judge(touched, clock, cause, "correction" if is_correction else "usage", lateness)

    def tick(self, now: int, cause: Cause) -> Effects:
        """Time passes although nothing arrives."""
        found = self._judge({}, max(self.clock, now), cause, "time")
        found.alerts += self._apart(cause, "time")
        return found

    def refresh(self, keys: Iterable[str], cause: Cause, why: Why = "catalog") -> Effects:
        """Judge scopes again: after a fill, or since something about them was decided."""
        found = self._judge({key: set() for key in keys}, self.clock, cause, why)
        found.alerts += self._apart(cause, why)
        return found

    def keys_of(self, rules: Iterable[str]) -> set[str]:
        """Keys of all scopes of these ids."""
        return {key for rule in rules for key in self.scopes.keys_of(rule)}

    def command(self, offset: int, command: AnyCommand, cause: Cause) -> Effects:
        """What somebody did, from that offset of usage.commands; once, however often it comes."""
        if not self.head.commands.take(offset, command):
            return Effects()
        if isinstance(command, Acknowledge):
            return self._acknowledge(command, cause)
        self.decided = Decisions.of(self.decided.catalog, self.head.commands, self.decided)
        keys = set(self.scopes.open_keys())
        if isinstance(command, Decide | Revoke):
            case = self.head.commands.cases.get(command.request_id)
            asked = case.request if case else None
            ids = {i for i, w in self.watched.items() if asked and (w.budget.id if w.budget else i) == asked.budget}
            keys |= self.keys_of(ids)
        return self.refresh(sorted(keys), cause, "command")

    def _acknowledge(self, command: Acknowledge, cause: Cause) -> Effects:
        key, cause = command.scope, replace(cause, clock=self.clock)
        ack = Ack(command.by, ms_of(command.at), command.note)
        known, state = self.watched.get(rule_of(key)), self.scopes.get(key)
        if known is not None and state is not None:
            change = acknowledge(state.alerts, command.alert_id, ack, self.clock)
            if change is None:
                return Effects()
            self.scopes.put(key, state)
            return Effects([self._acknowledged(known, key, state, change, cause)], dirty={key})
        change = acknowledge(self.head.apart.get(key, {}), command.alert_id, ack, self.clock)
        rule = next((r for r in self.decided.catalog.rules if r.id == rule_of(key)), None)
        if change is None or rule is None:
            return Effects()
        dims = dimensions_of(key)
        about = About(rule.kind, rule.id, dims["tenant_id"], key, dims, rule.owner, rule.accountable)
        return Effects([alert_record(about, change, cause)])

    def _acknowledged(self, known: Watched, key: str, state: ScopeState, change: Transition, cause: Cause) -> Record:
        sums = stretches(known, state.track, state.clock)[PERIOD].sums
        causes = _contributors(known, state.track, PERIOD, state.clock)
        return alert_record(self.decided.about(known, key), change, cause, None, sums, causes)

    def _apart(self, cause: Cause, why: Why) -> list[Record]:
        moved, self._moved = self._moved, {}
        cause = replace(cause, clock=self.clock)
        return look_apart(self.decided, self.head.apart, self._ours, self._published_ms, cause, why, moved.items())

    def _judge(
        self,
        touched: Mapping[str, set[int]],
        clock: int,
        cause: Cause,
        why: Why,
        lateness: Mapping[str, int] | None = None,
    ) -> Effects:
        self.head.clock = clock
        cause, found = replace(cause, clock=clock), Effects()
        for key in sorted({*touched, *self.scopes.due(clock)}):
            known, state = self.watched.get(rule_of(key)), self.scopes.get(key)
            if known is None or state is None:
                continue
            starts, reason = touched.get(key, set()), why if key in touched else "time"
            self._look(key, known, state, starts, cause, reason, (lateness or {}).get(key, 0), found)
        return found

    def _look(
        self,
        key: str,
        known: Watched,
        state: ScopeState,
        starts: set[int],
        cause: Cause,
        why: Why,
        lateness_ms: int,
        found: Effects,
    ) -> None:
        clock, track = cause.clock, state.track
        advance(known, track, clock)
        held = stretches(known, track, clock)
        seen = look(
            self.decided,
            known,
            key,
            state.alerts,
            state.enforced,
            held,
            [*past(known, track, starts, clock), *_last_period(known, track, held, starts)],
            lambda name: _contributors(known, track, name, clock),
            cause,
            why,
            lateness_ms,
        )
        dues = [at for at in (seen.due, due(known, track, clock)) if at is not None and at != NEVER]
        state.enforced, state.clock, state.due = seen.enforced, clock, max(min(dues), clock + 1) if dues else 0
        found.alerts += seen.alerts
        found.enforcements += [seen.enforcement] if seen.enforcement else []
        found.dirty.add(key)
        if state.is_idle:
            self.scopes.delete(key)
        else:
            self.scopes.put(key, state)

    # What is kept

    def dump(self, keys: Iterable[str] | None = None) -> bytes:
        """Bytes of the whole, or of the scopes given."""
        names = self.scopes if keys is None else keys
        return msgspec.msgpack.encode(Saved(self.head, {key: self.scopes.get(key) for key in sorted(names)}))

    def load(self, body: bytes) -> None:
        """Add what `dump` wrote: a snapshot first, then the messages after it."""
        saved = msgspec.msgpack.decode(body, type=Saved)
        self.head = saved.head
        for key, track in saved.scopes.items():
            if track is None:
                self.scopes.delete(key)
            else:
                self.scopes.put(key, track)

    # What others read

    def budgets(self, keys: Iterable[str], stamp: tuple[str, int, int]) -> dict[str, Record | None]:
        """Records of usage.budgets for these scopes, None for a scope that is gone. As of the last look at each."""
        found: dict[str, Record | None] = {}
        for key in sorted(keys):
            known, state = self.watched.get(rule_of(key)), self.scopes.get(key)
            if known is None or state is None:
                found[key] = None
            elif has_record(known):
                found[key] = self._budget(key, known, state, stamp)
        return found

    def _budget(self, key: str, known: Watched, state: ScopeState, stamp: tuple[str, int, int]) -> Record | None:
        clock, dims = state.clock, self.decided.dimensions(known, key)
        held = stretches(known, state.track, clock)
        in_force = self.decided.grants.in_force(known.id, dims["tenant_id"], dims, clock)
        extra = extra_of(in_force)
        standing = verdict_of(known, held, clock, extra, key)
        if standing is None:
            return None
        used = held[PERIOD].sums.value(known.budget.unit if known.budget else "cost")
        exception = None
        if in_force and standing.limit is not None:
            exception = exception_field(uses(in_force, used, standing.limit - extra))
        return budget_record(
            known,
            key,
            held,
            standing,
            clock,
            extra,
            stamp,
            self.head.applied,
            next(self.decided.parents(known, key), None),
            exception,
            _forecast(known, state.track, held[PERIOD], standing.limit, clock),
        )


def _contributors(known: Watched, track: Track, name: str, clock: int) -> list[Contributor]:
    start = stretches(known, track, clock)[name].start
    return top(causes_of(known, track, name, start), known.scope.contributors)


def _last_period(known: Watched, track: Track, held: Mapping[str, Stretch], touched: set[int]) -> list[Stretch]:
    """The period that ended last, for whoever judges whole ones: only where the scope was known before it ended."""
    calendar = known.windows[0].calendar
    if calendar is None or not needs_last_period(known) or not track.periods:
        return []
    start, end = period_of(calendar, held[PERIOD].start - 1)
    if start in touched or min(track.periods) > start:
        return []
    part = track.periods.get(start)
    return [Stretch(start, end, part.sums if part else Sums())]


def _forecast(known: Watched, track: Track, period: Stretch, limit: Decimal | None, clock: int) -> Record | None:
    if known.days is None or known.budget is None or not track.days:
        return None
    used = period.sums.value(known.budget.unit)
    found = outlook(list(days(track).items()), period.start, period.end, used, limit, clock)
    return None if found is None else forecast_record(found)
