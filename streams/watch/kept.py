"""What is kept of each scope, and where: the place is a Protocol, since a worker spills to disk what is idle.

A store of tracks finds them by key, by rule, and by when something is due. Everything that it says is a function of what was
put: whether a scope was in memory or not can never be told apart.
"""

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from typing import NamedTuple, Protocol

import msgspec

from streams.watch.enforcement import Enforced
from streams.watch.raised import Raised
from streams.watch.tracks import NEVER, Track


class Scoped(msgspec.Struct, array_like=True):
    """Everything that is known of one scope. New fields come last and have a default, so that what is stored can be read.

    raised:     its alerts by id; enforced: its verdict as last told
    told:       checksum of the figures in its last record on usage.budgets; 0: there is none
    generation: catalog version since which its windows have their shape
    clock:      of the last look at it; since: clock from which on it is known; due: when it is looked at again
    """

    track: Track
    raised: dict[str, Raised] = {}
    told: int = 0
    generation: int = 0
    enforced: Enforced = Enforced()
    clock: int = 0
    since: int = 0
    due: int = NEVER

    @property
    def is_open(self) -> bool:
        """Whether one of its alerts is."""
        return any(r.is_open for r in self.raised.values())


class Row(NamedTuple):
    """A scope as it is stored: `body` is the packed Scoped, None when it is gone."""

    key: str
    due: int
    told: int
    body: bytes | None


class Tracks(Protocol):
    """Where the scopes of one partition are. What `get` gives may be changed, and is then `put`."""

    def get(self, key: str) -> Scoped | None:
        """The scope, if it is known."""

    def put(self, key: str, scoped: Scoped, due: int) -> None:
        """Keep it; `due` is the clock at which it must be looked at, NEVER if no time changes it."""

    def delete(self, key: str) -> None:
        """Forget it; harmless when it is not known."""

    def keys_of(self, rule_id: str, after: str, most: int) -> list[str]:
        """The first `most` keys of a rule above `after`, in order."""

    def due(self, clock: int, most: int) -> list[str]:
        """The first `most` keys that are due, by due time and key; each is then put or deleted."""

    def items(self) -> Iterator[tuple[str, Scoped]]:
        """All of them, in the order of their keys."""

    def rows(self, keys: Iterable[str]) -> Iterator[Row]:
        """As they would be stored; a key that is not known is gone."""

    def above(self, key: str) -> Iterator[Row]:
        """All above a key, in order."""

    def load(self, rows: Iterable[Row]) -> None:
        """What `rows` gave."""

    def __len__(self) -> int:
        """How many there are."""


def pack(scoped: Scoped) -> bytes:
    """The body of a Row."""
    return _ENCODER.encode(scoped)


def unpack(body: bytes) -> Scoped:
    """What `pack` gave."""
    return _DECODER.decode(body)


_ENCODER, _DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Scoped)


class Dues:
    """When each of many keys is due: the next ones without looking at all. A heap whose stale entries are skipped."""

    def __init__(self) -> None:
        self._at: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def set(self, key: str, due: int) -> None:
        """It is due then, and no other time."""
        if self._at.get(key) == due:
            return
        self._at[key] = due
        if due < NEVER:
            heappush(self._heap, (due, key))
        if len(self._heap) > 64 + 4 * len(self._at):
            self._heap = [(at, key) for key, at in self._at.items() if at < NEVER]
            heapify(self._heap)

    def drop(self, key: str) -> None:
        """It is not waited for any more."""
        self._at.pop(key, None)

    def get(self, key: str) -> int:
        """When it is due."""
        return self._at[key]

    def soonest(self) -> int | None:
        """When the first one is due; None: none ever."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def until(self, clock: int, most: int) -> list[tuple[int, str]]:
        """The first `most` at or before `clock`, in order; they stay due."""
        found = list[tuple[int, str]]()
        while self._heap and self._heap[0][0] <= clock and len(found) < most:
            item = heappop(self._heap)
            if self._at.get(item[1]) == item[0] and (not found or found[-1] != item):
                found.append(item)
        for item in found:
            heappush(self._heap, item)
        return found


class MemoryTracks:
    """All in memory: for tests, for history that is judged at once, and as the measure of every other store."""

    def __init__(self) -> None:
        self._scopes: dict[str, Scoped] = {}
        self._dues = Dues()

    def get(self, key: str) -> Scoped | None:
        return self._scopes.get(key)

    def put(self, key: str, scoped: Scoped, due: int) -> None:
        self._scopes[key] = scoped
        self._dues.set(key, due)

    def delete(self, key: str) -> None:
        self._scopes.pop(key, None)
        self._dues.drop(key)

    def keys_of(self, rule_id: str, after: str, most: int) -> list[str]:
        return sorted(k for k in self._scopes if k.startswith(f"{rule_id}|") and k > after)[:most]

    def due(self, clock: int, most: int) -> list[str]:
        return [key for _, key in self._dues.until(clock, most)]

    def soonest(self) -> int | None:
        """The next clock at which one is due; None: time changes nothing any more."""
        return self._dues.soonest()

    def items(self) -> Iterator[tuple[str, Scoped]]:
        yield from sorted(self._scopes.items())

    def rows(self, keys: Iterable[str]) -> Iterator[Row]:
        for key in keys:
            scoped = self._scopes.get(key)
            gone = Row(key, NEVER, 0, None)
            yield gone if scoped is None else Row(key, self._dues.get(key), scoped.told, pack(scoped))

    def above(self, key: str) -> Iterator[Row]:
        yield from self.rows(sorted(k for k in self._scopes if k > key))

    def load(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if row.body is None:
                self.delete(row.key)
            else:
                self.put(row.key, unpack(row.body), row.due)

    def __len__(self) -> int:
        return len(self._scopes)
