"""How far behind is what a check knows? Two proofs are joined, so that an idle system is fresh and a stopped one is not.

1. A heartbeat of each partition of usage.totals, on usage.budgets under the key `_heartbeat/Q`, about once a second: everything
   that the broker had of that partition at `seen` is in the records before it.
2. Whoever asks observes once in a while the ends of usage.events and what the meter has committed, which it does only after the
   totals are acknowledged: at `observed` the totals held everything that the broker had of events at `at`.

So the records of a partition hold every event up to the newest `at` whose `observed` is not after `seen`.
Decision: no clock of events, since that stands still when nothing is used, and moves on when the meter does not.
"""

import json
from bisect import bisect_right
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from streams.watch.packed_record import HEARTBEAT

KEEP = 4_096  # observations: half an hour; a watch that is further behind catches up in one step


_BEAT = HEARTBEAT.encode()


class Beat(msgspec.Struct, frozen=True):
    """clock: event time of that partition's watch; seen: see above; both in ms."""

    heartbeat: int
    clock: int
    seen: int


class Observed(NamedTuple):
    """Everything that the broker had of usage.events at `at` was in usage.totals at `observed`, both in ms."""

    observed: int
    at: int


def beat_key(partition: int) -> bytes:
    """The reserved key of one partition; no scope begins so."""
    return f"{HEARTBEAT}{partition}".encode()


def is_beat(key: bytes | None) -> bool:
    """Whether a record of usage.budgets is a heartbeat, and no scope."""
    return (key or b"").startswith(_BEAT)


def beat_record(partition: int, clock: int, seen: int) -> bytes:
    """The record under that key."""
    return json.dumps({"heartbeat": partition, "clock": clock, "seen": seen}).encode()


def read_beat(value: bytes) -> Beat:
    """What `beat_record` made."""
    return msgspec.json.decode(value, type=Beat)


class Freshness:
    """Joins both proofs as they come in."""

    def __init__(self) -> None:
        self._beats: dict[int, Beat] = {}
        self._waiting: list[tuple[int, dict[int, int]]] = []  # (at, ends) that the meter has not covered yet
        self._observed: list[Observed] = []
        self._fresh: dict[int, int] = {}

    def beat(self, beat: Beat) -> None:
        """A heartbeat came."""
        known = self._beats.get(beat.heartbeat)
        if known is None or beat.seen >= known.seen:  # of two owners for a moment the one that is further
            self._beats[beat.heartbeat] = beat
            self._join(beat)

    def observe(self, at: int, ends: Mapping[int, int], covered: Mapping[int, int], now: int) -> None:
        """ends: of usage.events at `at`, before `covered`: the meter's commits at `now`; both next offsets by partition."""
        self._waiting.append((at, dict(ends)))
        done = [i for i, (_, e) in enumerate(self._waiting) if all(covered.get(p, 0) >= end for p, end in e.items())]
        if done:  # commits never go back, so all before it are covered too
            self._observed.append(Observed(now, self._waiting[done[-1]][0]))
            del self._waiting[: done[-1] + 1], self._observed[:-KEEP]
        del self._waiting[:-KEEP]
        for beat in self._beats.values():
            self._join(beat)

    def _join(self, beat: Beat) -> None:
        i = bisect_right(self._observed, beat.seen, key=lambda o: o.observed)
        if i:
            q = beat.heartbeat
            self._fresh[q] = max(self._fresh.get(q, 0), self._observed[i - 1].at)

    def fresh_ms(self, partition: int) -> int | None:
        """Every event that the broker had then is in; None: nobody can say yet."""
        return self._fresh.get(partition)

    def clock(self, partition: int) -> int:
        """Event time up to which the watch has come; 0: unknown."""
        beat = self._beats.get(partition)
        return beat.clock if beat else 0

    def metered_ms(self) -> int | None:
        """Every event that the broker had then is in the totals; None: nobody can say yet."""
        return self._observed[-1].at if self._observed else None

    def seen_ms(self, partition: int) -> int | None:
        """The newest heartbeat of one partition; None: none came."""
        beat = self._beats.get(partition)
        return beat.seen if beat else None
