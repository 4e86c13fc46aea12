"""What is kept of each scope, and what a store of a million of them must be able to do."""

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Protocol

import msgspec

from streams.watch.enforcement import Enforced
from streams.watch.raised import Raised
from streams.watch.scopes import rule_of
from streams.watch.tracks import Track, is_empty


class ScopeState(msgspec.Struct, array_like=True):
    """Everything that is known of one scope.

    track:    what it used, by window; alerts: by id; enforced: its verdict as last told
    clock:    of the last look at it
    due:      the next clock at which something may change although nothing comes; 0 = never
    """

    track: Track = msgspec.field(default_factory=Track)
    alerts: dict[str, Raised] = {}
    enforced: Enforced = Enforced()
    clock: int = 0
    due: int = 0

    @property
    def is_open(self) -> bool:
        """Whether one of its alerts is."""
        return any(r.is_open for r in self.alerts.values())

    @property
    def is_idle(self) -> bool:
        """Whether a new one would know as much."""
        return is_empty(self.track) and not self.alerts and self.enforced.verdict == "allow"


class Scopes(Protocol):
    """A store by scope key. What was got and changed must be put back; a key that is put or deleted is dirty for its owner."""

    def get(self, key: str) -> ScopeState | None: ...

    def put(self, key: str, state: ScopeState) -> None: ...

    def delete(self, key: str) -> None: ...

    def keys_of(self, rule: str) -> Iterator[str]:
        """Keys of the scopes of one budget or rule; they may be changed on the way."""
        ...

    def due(self, clock: int) -> list[str]:
        """Keys whose time has come, in order."""
        ...

    def open_keys(self) -> list[str]:
        """Keys of scopes with an open alert, in order."""
        ...

    def __iter__(self) -> Iterator[str]: ...

    def __len__(self) -> int: ...


class MemoryScopes:
    """All in memory: for a backtest, and for tests."""

    def __init__(self) -> None:
        self._states = dict[str, ScopeState]()
        self._dues = list[tuple[int, str]]()
        self._open = set[str]()

    def get(self, key: str) -> ScopeState | None:
        return self._states.get(key)

    def put(self, key: str, state: ScopeState) -> None:
        self._states[key] = state
        if state.due:
            heappush(self._dues, (state.due, key))
        if state.is_open:
            self._open.add(key)
        else:
            self._open.discard(key)

    def delete(self, key: str) -> None:
        self._states.pop(key, None)
        self._open.discard(key)

    def keys_of(self, rule: str) -> Iterator[str]:
        return (key for key in sorted(self._states) if rule_of(key) == rule)

    def due(self, clock: int) -> list[str]:
        found = set[str]()
        while self._dues and self._dues[0][0] <= clock:
            at, key = heappop(self._dues)
            if (state := self._states.get(key)) is not None and state.due == at:
                found.add(key)
        return sorted(found)

    def open_keys(self) -> list[str]:
        return sorted(self._open)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._states))

    def __len__(self) -> int:
        return len(self._states)
