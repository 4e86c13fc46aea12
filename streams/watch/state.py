"""The watch of one partition of totals: pure. Totals, ticks and commands in, what changed out; same in, same out.

The clock is event time: that of the newest event, or of the newest tick. Everything happens at it, so a replay of the same
messages finds the same alerts, whoever does it and however often it was interrupted. No step looks at more than it must: scopes
that a message touches, and at most STEP others that are due, or whose rule was changed or dropped. What is left over is looked
at with the next messages, in the same order by whoever reads them; it stands in `Head`.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from streams.catalog.models import Catalog
from streams.watch.alert_records import alert_record
from streams.watch.alerts import Cause
from streams.watch.apart import Apart, about_apart, look_apart, price_changes
from streams.watch.budget_record import budget_record
from streams.watch.commands import Acknowledge, AnyCommand, Commands, Decide, EndSilence, Revoke, ms_of
from streams.watch.conditions import Condition
from streams.watch.identity import since_of
from streams.watch.judge import needs_last_period
from streams.watch.kept import Scoped, Tracks
from streams.watch.look import Decisions, has_record, limited, look, position_of, record_of
from streams.watch.machine import Transition, Why, acknowledge, close
from streams.watch.raised import Ack
from streams.watch.readings import contributors, forecast, last_period
from streams.watch.scopes import rule_of
from streams.watch.tracks import NEVER, Track, add, advance, due, is_empty, past, stretches
from streams.watch.watched import PERIOD, Watched
from streams.watch.windows import Delta

STEP = 2_000  # scopes that one message looks at beyond those that it touches: 0.1 s
UNTOLD = ("stamp", "sources", "as_of")  # of a record: they move although nothing else does
SLIDING = (*UNTOLD, "period_start", "period_end")  # the same where the window is a rolling one
Record = dict[str, Any]


class Head(msgspec.Struct):
    """What the state is beside its scopes.

    clock:       event time in ms: newest event + 1 ms, or the newest tick
    applied:     "stream/p" -> last ledger offset whose totals are in
    generations: rule -> version of the catalog since which its windows have their shape
    refreshing:  rule whose scopes are judged again -> the key up to which it was done
    dropping:    rules that are no longer there and whose scopes are
    last_in:     rule that is no longer there -> last version that had it, as long as its alerts may be open
    since:       rule -> version from which on every one has it; its alerts have other ids than those of a namesake before
    apart:       alerts that no window is about; moved: vendors' prices that changed, not judged yet
    """

    sequence: int = 0
    clock: int = 0
    applied: dict[str, int] = {}
    generations: dict[str, int] = {}
    refreshing: dict[str, str] = {}
    dropping: list[str] = []
    commands: Commands = msgspec.field(default_factory=Commands)
    apart: Apart = {}
    moved: dict[str, Condition] = {}
    last_in: dict[str, int] = {}
    since: dict[str, int] = {}


@dataclass(slots=True)
class Effects:
    """What became different: records of usage.alerts and usage.enforcements in their order, the scopes that moved.

    gone: scopes that had a record on usage.budgets and are no more
    """

    alerts: list[Record] = field(default_factory=list)
    enforcements: list[Record] = field(default_factory=list)
    dirty: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)

    def add(self, other: "Effects") -> None:
        """What happened afterwards."""
        self.alerts += other.alerts
        self.enforcements += other.enforcements
        self.dirty |= other.dirty
        self.gone |= other.gone


def everything(key: str) -> bool:
    """The only partition there is."""
    return True


class WatchState:
    """Windows and alerts of the scopes of one partition. Throw it away after an error; it is a fold.

    tracks: where scopes are kept; ours: whether a key falls to this partition
    """

    def __init__(self, tracks: Tracks, ours: Callable[[str], bool] = everything) -> None:
        self.head = Head()
        self.tracks = tracks
        self.decided = Decisions.of(Catalog(), self.head.commands)
        self._ours = ours
        self._published_ms = 0
        self._former = dict[int, Decisions]()  # versions of `Head.last_in`: they say what its alerts are about

    @property
    def clock(self) -> int:
        """Event time in ms up to which everything was judged."""
        return self.head.clock

    @property
    def watched(self) -> Mapping[str, Watched]:
        """What is followed, by id."""
        return self.decided.watched

    # What people decide

    def resume(self, catalog: Catalog, published_ms: int = 0, former: Iterable[tuple[int, Catalog]] = ()) -> None:
        """Work with the version that the head names, which the broker took at `published_ms`: nothing has changed.

        former: the versions that `Head.last_in` names
        """
        self.decided = Decisions.of(catalog, self.head.commands, since=self.head.since)
        self._published_ms = published_ms
        self._former |= {sequence: Decisions.of(c, self.head.commands) for sequence, c in former}

    def adopt(
        self, sequence: int, catalog: Catalog, published_ms: int = 0, between: Mapping[int, Catalog] | None = None
    ) -> set[str]:
        """Work with a later version. Ids whose scopes must be filled from the ledger; dropped ones free their state.

        between: the versions since the last one that was adopted: ids must not depend on which of them somebody saw
        """
        head, before, old, last = self.head, self.watched, self.decided.catalog, self.head.sequence
        if head.sequence:
            head.moved |= price_changes(old, catalog, sequence, published_ms)
        self._former[last] = self.decided  # until a tick finds that nobody needs it
        head.since = since_of(head.since, old, {**(between or {}), sequence: catalog})
        self.resume(catalog, published_ms)
        head.sequence = sequence
        fresh = {i for i, w in self.watched.items() if i not in before or before[i].shape != w.shape}
        named = (
            [e.budget for e in (*old.exceptions, *catalog.exceptions)] if old.exceptions != catalog.exceptions else []
        )
        # Whoever was not told is told when a silence is taken back.
        unheard = (old.silences, old.maintenance) != (catalog.silences, catalog.maintenance)
        for name, known in self.watched.items():
            if unheard or name in fresh or before[name] != known or limited(known) in named:
                head.refreshing[name] = ""
        head.generations |= dict.fromkeys(fresh, sequence)
        gone = head.generations.keys() - self.watched.keys()
        for name in gone:
            del head.generations[name]
            head.refreshing.pop(name, None)
        head.dropping = sorted((gone | set(head.dropping)) - self.watched.keys())
        apart = {rule_of(key) for key in head.apart} - {r.id for r in catalog.rules}
        head.last_in = {name: head.last_in.get(name, last) for name in (*head.dropping, *sorted(apart))}
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
            scoped.due = NEVER
            self.tracks.put(key, scoped, scoped.due)
            touched.add(key)
        return touched

    # What comes

    def take(self, deltas: Iterable[Delta], cause: Cause, is_correction: bool = False) -> Effects:
        """One message of totals: move the clock, add it, judge what it touched and what is due."""
        rows = {k: r for k, r in _by_scope(deltas).items() if rule_of(k) in self.watched}
        newest = max((row.last_ms + 1 for of_key in rows.values() for row in of_key), default=0)
        return self._step(max(self.head.clock, newest), cause, rows, "correction" if is_correction else "usage")

    def tick(self, now: int, cause: Cause) -> Effects:
        """Time passes although nothing arrives."""
        self.head.commands.forget(max(self.head.clock, now))
        effects = self._step(max(self.head.clock, now), cause, {}, "time")
        effects.alerts += self._apart(cause, "time")
        return effects

    def command(self, offset: int, command: AnyCommand, cause: Cause) -> Effects:
        """What somebody did, from that offset of usage.commands; once, however often it comes."""
        head = self.head
        if not head.commands.take(offset, command, head.clock):
            return Effects()
        if isinstance(command, Acknowledge):
            return self._acknowledge(command, cause)
        self.decided = Decisions.of(self.decided.catalog, head.commands, self.decided)
        if isinstance(command, Decide | Revoke):
            case = head.commands.cases.get(command.request_id)
            names = [i for i, w in self.watched.items() if case and limited(w) == case.request.budget]
            head.refreshing |= dict.fromkeys(names, "")
        elif isinstance(command, EndSilence):  # whoever was not told is told now
            head.refreshing |= dict.fromkeys(self.watched, "")
        effects = self._step(head.clock, cause, {}, "command")
        effects.alerts += self._apart(cause, "command")
        return effects

    def _acknowledge(self, command: Acknowledge, cause: Cause) -> Effects:
        key, cause = command.scope, replace(cause, clock=self.clock)
        ack = Ack(command.by, ms_of(command.at), command.note)
        known, scoped = self.watched.get(rule_of(key)), self.tracks.get(key)
        if known is not None and scoped is not None:
            change = acknowledge(scoped.raised, command.alert_id, ack, self.clock)
            if change is None:
                return Effects()
            scoped.due = self.clock  # its timers have changed: it is looked at next
            self.tracks.put(key, scoped, scoped.due)
            return Effects([self._acknowledged(known, key, scoped, change, cause)], dirty={key})
        change = acknowledge(self.head.apart.get(key, {}), command.alert_id, ack, self.clock)
        if change is None:
            return Effects()
        return Effects([alert_record(about_apart(self._having(rule_of(key)), key), change, cause)])

    def _acknowledged(self, known: Watched, key: str, scoped: Scoped, change: Transition, cause: Cause) -> Record:
        track, clock = scoped.track, scoped.clock
        held, about = stretches(known, track, clock), self.decided.about(known, key)
        return record_of(about, known, change, cause, held, [], lambda name: contributors(known, track, name, clock))

    def _apart(self, cause: Cause, why: Why) -> list[Record]:
        head = self.head
        moved, head.moved = head.moved, {}
        cause = replace(cause, clock=head.clock)
        found = look_apart(
            self.decided, self._having, head.apart, self._ours, self._published_ms, cause, why, moved.items()
        )
        head.last_in = {name: last for name, last in head.last_in.items() if name in head.dropping}
        self._former = {s: d for s, d in self._former.items() if s in head.last_in.values()}
        return found

    def _having(self, rule: str) -> Decisions:
        """What was decided in the last version that had a rule."""
        return self._former.get(self.head.last_in.get(rule, -1), self.decided)

    def _step(self, clock: int, cause: Cause, rows: Mapping[str, Sequence[Delta]], why: Why) -> Effects:
        before, self.head.clock = self.head.clock, clock
        cause, effects = replace(cause, clock=clock), Effects()
        self._drop(STEP, cause, effects)
        refreshed = self._refreshed(STEP)
        for key in sorted(rows.keys() | refreshed | set(self.tracks.due(clock, STEP))):
            reason: Why = why if key in rows else "catalog" if key in refreshed else "time"
            self._look(key, rows.get(key, ()), before, cause, reason, effects)
        return effects

    def _drop(self, most: int, cause: Cause, effects: Effects) -> None:
        while self.head.dropping and most > 0:
            rule = self.head.dropping[0]
            keys = self.tracks.keys_of(rule, "", most)
            for key in keys:
                self._forget(key, self.tracks.get(key), cause, effects)
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

    def _look(self, key: str, rows: Sequence[Delta], before: int, cause: Cause, why: Why, effects: Effects) -> None:
        """Bring one scope to the clock, add the rows, judge it. before: the clock when they came"""
        known, clock = self.watched.get(rule_of(key)), cause.clock
        if known is None:  # due, and of a rule that is being dropped
            self._forget(key, self.tracks.get(key), cause, effects)
            return
        scoped = self._scoped(key, known)
        is_new = scoped is None
        scoped = scoped or self._fresh(known)
        track = scoped.track
        advance(known, track, clock)
        starts = [add(known, track, row, clock) for row in rows]
        if is_new and all(start is None for start in starts):
            return  # too late for every window
        effects.dirty.add(key)
        touched = {start for start in starts if start is not None}
        newest = max((row.last_ms for row in rows), default=0)
        held = stretches(known, track, clock)
        scoped.since = scoped.since or min((clock, *track.periods))
        seen = look(
            self.decided,
            known,
            key,
            scoped.raised,
            scoped.enforced,
            held,
            [*past(known, track, touched, clock), *last_period(known, scoped, held, touched)],
            lambda name: contributors(known, track, name, clock),
            cause,
            why,
            max(before - newest, 0) if newest else 0,
        )
        scoped.enforced, scoped.clock = seen.enforced, clock
        effects.alerts += seen.alerts
        effects.enforcements += [seen.enforcement] if seen.enforcement else []
        is_idle = is_empty(track) and not scoped.is_open and seen.enforced.verdict == "allow"
        if is_idle and not needs_last_period(known):  # whose point is that nothing comes
            self._forget(key, scoped, cause, effects)
            return
        at = min(due(known, track, clock), NEVER if seen.due is None else seen.due)
        if needs_last_period(known):
            at = min(at, held[PERIOD].end + 1)
        scoped.due = max(at, clock + 1)
        self.tracks.put(key, scoped, scoped.due)

    def _scoped(self, key: str, known: Watched) -> Scoped | None:
        """The scope, without what it used while its rule had another shape."""
        scoped = self.tracks.get(key)
        generation = self.head.generations.get(known.id, 0)
        if scoped is not None and scoped.generation != generation:
            scoped.track, scoped.generation = Track(), generation
        return scoped

    def _fresh(self, known: Watched) -> Scoped:
        return Scoped(Track(), generation=self.head.generations.get(known.id, 0))

    def _forget(self, key: str, scoped: Scoped | None, cause: Cause, effects: Effects) -> None:
        self.tracks.delete(key)
        effects.dirty.add(key)
        if scoped is None:
            return
        if scoped.is_open:  # its rule is gone
            decided = self._having(rule_of(key))
            known = decided.watched.get(rule_of(key))
            about = decided.about(known, key) if known else about_apart(decided, key)
            effects.alerts += [alert_record(about, t, cause) for t in close(scoped.raised, cause.clock)]
        if scoped.told:
            effects.gone.add(key)

    # What others read

    def records(
        self, keys: Iterable[str], gone: Iterable[str], stamp: tuple[str, int, int], again: bool = False
    ) -> dict[str, tuple[int, Record | None]]:
        """Records of usage.budgets, with the checksum of their figures, of those scopes whose figures are not what was told.

        As of the last look at each. gone: scopes that may be no more; if so their record is None. again: also what was told
        """
        found: dict[str, tuple[int, Record | None]] = dict.fromkeys(sorted(gone), (0, None))
        for key in sorted(keys):
            scoped, known = self.tracks.get(key), self.watched.get(rule_of(key))
            if scoped is None or known is None or not has_record(known):
                continue
            record = self._budget(key, known, scoped, stamp)
            if record is None:
                continue
            figures = figures_of(record, SLIDING if known.window(PERIOD).kind == "rolling" else UNTOLD)
            found.pop(key, None)
            if again or figures != scoped.told:
                scoped.told = figures
                self.tracks.put(key, scoped, scoped.due)
                found[key] = figures, record
        return found

    def _budget(self, key: str, known: Watched, scoped: Scoped, stamp: tuple[str, int, int]) -> Record | None:
        clock = scoped.clock
        held = stretches(known, scoped.track, clock)
        standing, extra, exception = position_of(self.decided, known, key, held, clock)
        if standing is None:
            return None
        parent = next(self.decided.parents(known, key), None)
        outlook = forecast(known, scoped.track, held[PERIOD], standing.limit, clock)
        return budget_record(
            known, key, held, standing, clock, extra, stamp, self.head.applied, parent, exception, outlook
        )


def figures_of(record: Record, untold: Sequence[str]) -> int:
    """Checksum of what a record says, whenever it is said; never 0."""
    return zlib.crc32(msgspec.json.encode({k: v for k, v in record.items() if k not in untold})) or 1


def _by_scope(deltas: Iterable[Delta]) -> dict[str, list[Delta]]:
    found: dict[str, list[Delta]] = {}
    for delta in deltas:
        found.setdefault(delta.scope, []).append(delta)
    return found
