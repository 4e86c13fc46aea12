"""The state machine of alerts, pending → firing → acknowledged → resolved: pure, conditions and a clock in, transitions out.

An id names the scope, the condition and its period, or the slice in which an episode began: a replay finds it again. Every
transition has the next revision, so that readers keep one record for each (alert_id, revision). What was told in its period and
ended with it is never told again; what late data opens in a period that is over says so and stays open for an hour, so that
somebody can see it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from msgspec.structs import replace

from streams.catalog.limits import Paged
from streams.watch.alerts import id_of
from streams.watch.conditions import Condition
from streams.watch.raised import ACKNOWLEDGED, FIRING, PENDING, RESOLVED, Ack, Hush, Raised

LATE_MS = 60_000  # what comes so far behind the clock, or its period, is called late
LATE_OPEN_MS = 3_600_000  # so long stays open what was opened in a period that is over
KEEP_MS = 8 * 86_400_000  # as windows do: what ended before is not opened any more, and its alerts are forgotten

Why = Literal["usage", "correction", "time", "catalog", "command"]  # what made the watch look
Reason = Literal[
    "crossed", "pending_over", "acknowledged", "reminder", "escalated", "silence_over",
    "cleared", "period_ended", "late_data", "correction", "limit_changed", "rule_gone",
]  # fmt: skip


class Transition(NamedTuple):
    """A change that is published: the alert as it stands after it, and what was seen.

    before:      its state before; "" = it is new
    condition:   None where nobody looked: its period or its rule is gone
    lateness_ms: how far behind the clock, or the end of its period, lies what caused it
    silenced:    why nobody is told; None also for the end of what somebody was told of
    """

    alert_id: str
    raised: Raised
    before: str
    reason: Reason
    clock: int
    condition: Condition | None = None
    lateness_ms: int = 0
    silenced: Hush | None = None

    @property
    def late(self) -> bool:
        return self.lateness_ms >= LATE_MS


Delays = Callable[[str, str], Sequence[int]]


def never(severity: str, condition: str) -> Sequence[int]:
    """No escalation at all."""
    return ()


def nothing(severity: str) -> Hush | None:
    """No silence at all."""
    return None


def audible(severity: str, since: int) -> int:
    """No silence since then either."""
    return 0


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at a scope."""

    clock: int
    policy: Paged
    escalate_after: Delays
    why: Why
    lateness_ms: int
    hush: Callable[[str], Hush | None]
    quiet: Callable[[str, int], int]

    def behind(self, end: int | None) -> int:
        """Lateness of what concerns a period that ends there; None: an episode."""
        return self.lateness_ms if end is None else max(self.lateness_ms, self.clock - end, 0)

    def cause(self, lateness_ms: int, otherwise: Reason) -> Reason:
        """The reason for a change, where data alone can be one."""
        if self.why == "correction":
            return "correction"
        return "late_data" if self.why == "usage" and lateness_ms >= LATE_MS else otherwise


def advance(
    raised: dict[str, Raised],
    conditions: Sequence[Condition],
    clock: int,
    policy: Paged,
    identity: str,
    escalate_after: Delays = never,
    *,
    why: Why = "usage",
    lateness_ms: int = 0,
    hush: Callable[[str], Hush | None] = nothing,
    quiet: Callable[[str, int], int] = audible,
) -> list[Transition]:
    """What changes now; `raised` holds the alerts of the scope, by id, and is brought up to date.

    conditions:     all of the scope as they stand, the current period of each among them; what is missing is gone
    identity:       of the scope, what ids of its alerts are made of
    escalate_after: of an alert of a severity and condition: ms outside silences since somebody was first told, rising; each
                    reached without an acknowledgement is a level, told by itself: other people are behind each
    lateness_ms:    how far behind the clock lies the newest of what came
    hush:           the silence in force for an alert of a severity, at this clock
    quiet:          for how many ms since a clock before it alerts of a severity were silenced
    """
    if not raised and not any(c.over for c in conditions):
        return []
    look, seen, found = (
        _Look(clock, policy, escalate_after, why, lateness_ms, hush, quiet),
        set[str](),
        list[Transition](),
    )
    for condition in conditions:
        name = _name_of(raised, condition, identity, clock)
        seen.add(name)
        known = raised.get(name)
        if known is not None and known.is_open:
            found += _apply(raised, name, _go_on(name, known, condition, look))
        elif condition.over:
            found += _apply(raised, name, _open(name, known, condition, look))
    there = {(c.name, c.anchor is None) for c in conditions}
    for name in sorted(n for n, r in raised.items() if r.is_open and n not in seen):
        known = raised[name]
        if (end := _end(known)) is not None and end <= clock:
            found += _apply(raised, name, _resolve(name, known, look, "period_ended"))
        elif (known.name, known.episode) not in there:
            found += _apply(raised, name, _resolve(name, known, look, "rule_gone"))
    _forget(raised, clock)
    return found


def acknowledge(raised: dict[str, Raised], alert_id: str, ack: Ack, clock: int) -> Transition | None:
    """Somebody takes it on: no more reminders, no escalation. Nothing changes unless it fires."""
    known = raised.get(alert_id)
    if known is None or known.state != FIRING:
        return None
    after = replace(known, state=ACKNOWLEDGED, revision=known.revision + 1, ack=ack)
    raised[alert_id] = after
    return Transition(alert_id, after, FIRING, "acknowledged", clock)


def close(raised: dict[str, Raised], clock: int, reason: Reason = "rule_gone") -> list[Transition]:
    """Everything that is open ends: its rule was dropped. `raised` is empty afterwards."""
    look = _Look(clock, Paged(), never, "catalog", 0, nothing, audible)
    found = [
        t for name in sorted(raised) if raised[name].is_open for t in _resolve(name, raised[name], look, reason)[1]
    ]
    raised.clear()
    return found


def next_due(raised: dict[str, Raised], policy: Paged, escalate_after: Delays = never) -> int | None:
    """The next clock at which time alone may change something; None: never. The watch looks then, if nothing comes before."""
    return min(
        (at for known in raised.values() if known.is_open for at in _dues(known, policy, escalate_after)), default=None
    )


def _dues(known: Raised, policy: Paged, escalate_after: Delays) -> Iterator[int]:
    if (end := _end(known)) is not None:
        yield end
    if known.state == PENDING:
        yield known.since + policy.pending
        return
    if known.clear:
        yield known.clear + policy.resolve_after
    if known.state == FIRING and known.hushed:
        yield known.hushed
    elif known.state == FIRING:
        if policy.renotify:
            yield known.told + policy.renotify
        delays = escalate_after(known.severity, known.name)
        if known.level < len(delays):
            yield known.paged + delays[known.level]


_Change = tuple[Raised, list[Transition]]


def _apply(raised: dict[str, Raised], name: str, change: _Change | None) -> list[Transition]:
    if change is None:
        return []
    raised[name] = change[0]
    return change[1]


def _name_of(raised: dict[str, Raised], c: Condition, identity: str, clock: int) -> str:
    """The id of the alert that a condition is about: of its period; of the episode that is open, else of one that begins.

    A period may move while its alert is open: a run got an earlier event, a day became a week. That is the same alert, and it
    goes with the current period. A past one, of which late data came, takes only what ended with it, to tell nobody again.
    """
    if c.anchor is None:
        running = [n for n, r in raised.items() if r.name == c.name and r.episode and r.is_open]
        return running[0] if running else id_of(identity, c.name, c.end)
    name = id_of(identity, c.name, c.anchor)
    if name in raised:
        return name
    is_past = c.end <= clock
    for moved, r in raised.items():
        if r.name != c.name or r.episode or not (r.start < c.end and c.anchor < r.end):
            continue
        if (r.is_open and not (is_past and r.end > c.end)) or (is_past and r.end == c.end):
            return moved
    return name


def _end(known: Raised) -> int | None:
    """When it ends with its period; None: it is an episode."""
    if known.episode:
        return None
    return known.since + LATE_OPEN_MS if known.is_late else known.end


def _open(name: str, known: Raised | None, c: Condition, look: _Look) -> _Change | None:
    """It crosses. `known` was resolved: it opens again, unless its period is over."""
    is_over = c.anchor is not None and c.end <= look.clock
    if is_over and (known is not None or c.end < look.clock - KEEP_MS):
        return None
    lateness_ms = look.behind(c.end if is_over else None)
    state = PENDING if look.policy.pending and not is_over else FIRING
    silenced = look.hush(c.severity)
    told = look.clock if state == FIRING and silenced is None else 0
    after = Raised(
        state=state,
        revision=known.revision + 1 if known else 1,
        name=c.name,
        start=c.end if c.anchor is None else c.anchor,
        end=c.end,
        since=look.clock,
        value=c.value,
        limit=c.limit,
        unit=c.unit,
        severity=c.severity,
        episode=c.anchor is None,
        paged=told,
        told=told,
        seen=told,
        hushed=silenced.until if silenced else 0,
    )
    reason = look.cause(lateness_ms, "crossed")
    before = known.state if known else ""
    return after, [Transition(name, after, before, reason, look.clock, c, lateness_ms, silenced)]


def _go_on(name: str, known: Raised, c: Condition, look: _Look) -> _Change:
    """It is open, and its condition was looked at."""
    now = replace(
        known, end=c.end, value=c.value, unit=c.unit, severity=c.severity, limit=c.limit if c.over else known.limit
    )
    if (end := _end(now)) is not None and end <= look.clock:
        return _resolve(name, now, look, "period_ended", c)
    if known.state == PENDING:
        if not c.over:
            return _resolve(name, now, look, _why_clear(known, c, look), c)
        if look.clock - known.since < look.policy.pending:
            return now, []
        return _tell(name, replace(now, state=FIRING), look, "pending_over", c)
    reason = _why_clear(known, c, look)
    if c.clear and (known.clear or not (c.latched and reason == "cleared")):
        if not known.clear:
            now = replace(now, clear=look.clock, clearing=reason)
        if look.clock - now.clear >= look.policy.resolve_after:
            return _resolve(name, now, look, now.clearing, c)  # type: ignore[arg-type]  # a reason was put there
    elif known.clear:
        now = replace(now, clear=0, clearing="")
    return _timers(name, now, c, look) if known.state == FIRING else (now, [])


def _why_clear(known: Raised, c: Condition, look: _Look) -> Reason:
    if c.limit != known.limit or c.unit != known.unit or (c.latched and look.why in {"catalog", "command"}):
        return "limit_changed"
    return look.cause(look.behind(c.end if known.is_late else None), "cleared")


def _timers(name: str, now: Raised, c: Condition, look: _Look) -> _Change:
    """It fires, and perhaps somebody is to be told again. In a silence nobody is, and time does not count against anybody."""
    silenced, now = look.hush(c.severity), _heard(now, c, look)
    if silenced is not None:
        return replace(now, hushed=silenced.until), []
    if now.hushed:
        now = replace(now, hushed=0)
    if not now.paged:
        return _tell(name, now, look, "silence_over", c)
    level = sum(1 for delay in look.escalate_after(c.severity, c.name) if look.clock - now.paged >= delay)
    told = list[Transition]()
    while now.level < level:  # however long nobody looked, no step is passed over
        now, said = _tell(name, replace(now, level=now.level + 1), look, "escalated", c)
        told += said
    if told:
        return now, told
    if look.policy.renotify and look.clock - now.told >= look.policy.renotify:
        return _tell(name, now, look, "reminder", c)
    return now, []


def _heard(now: Raised, c: Condition, look: _Look) -> Raised:
    """Time in a silence taken out: of the one that held at the last look, whatever became of it, and of those since."""
    if not now.paged:
        return now
    seen = max(now.seen, now.told)
    held = max(min(now.hushed, look.clock) - seen, 0)
    out = held + look.quiet(c.severity, seen + held)
    return replace(now, paged=now.paged + out, told=now.told + out, seen=look.clock)


def _tell(name: str, now: Raised, look: _Look, reason: Reason, c: Condition) -> _Change:
    silenced = look.hush(c.severity)
    if silenced is None:
        now = replace(now, paged=now.paged or look.clock, told=look.clock, seen=look.clock)
    after = replace(now, revision=now.revision + 1, hushed=silenced.until if silenced else 0)
    before = PENDING if reason == "pending_over" else FIRING
    return after, [Transition(name, after, before, reason, look.clock, c, 0, silenced)]


def _resolve(name: str, known: Raised, look: _Look, reason: Reason, c: Condition | None = None) -> _Change:
    after = replace(known, state=RESOLVED, revision=known.revision + 1, hushed=0)
    silenced = None if known.paged else look.hush(known.severity)  # who was told is told of the end too
    lateness_ms = look.behind(known.end if known.is_late else None) if reason == "late_data" else 0
    return after, [Transition(name, after, known.state, reason, look.clock, c, lateness_ms, silenced)]


def _forget(raised: dict[str, Raised], clock: int) -> None:
    """Drop what is resolved and cannot open again under its id: an episode whose slice is over, a period out of reach."""
    for name in [
        n for n, r in raised.items() if not r.is_open and (r.start < clock if r.episode else r.end < clock - KEEP_MS)
    ]:
        del raised[name]
