"""usage.budgets as its owner keeps it: the last record of every scope is the owner's own value.

A record carries a checksum of its figures in the header `figures`, and the scope keeps the checksum of what was told last, so
that a million records are compared without one being parsed. All before `end` is known to be ours. As long as the broker
answers with the offsets that must be next, nobody else writes; otherwise what lies between is read and, where it differs, told
again. So a late record of a former owner, which compaction could keep, is outlived.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from streams.agents.tracks import SqliteTracks
from streams.kafka.ports import Log, Message, append_surely
from streams.watch.freshness import is_beat
from streams.watch.state import WatchState

TOGETHER = 1_000  # records on their way at once
MOST_DIGITS = 18  # of a checksum
Records = Mapping[str, tuple[int, dict[str, Any] | None]]


class Told:
    """One partition of usage.budgets. `end` -1: nothing is known of it."""

    def __init__(self, log: Log, state: WatchState, tracks: SqliteTracks, end: int) -> None:
        self._log, self._state, self._tracks, self.end = log, state, tracks, end
        self._is_mixed = True  # records that are not ours may lie above `end`

    async def publish(self, records: Records) -> None:
        """Tell; acknowledged when it returns."""
        names = list(records)
        for at in range(0, len(names), TOGETHER):
            some = names[at : at + TOGETHER]
            offsets = await asyncio.gather(*(self._append(name, *records[name]) for name in some))
            if sorted(offsets) == list(range(self.end, self.end + len(offsets))):
                self.end += len(offsets)
            else:
                self._is_mixed = True

    def passed(self, offset: int) -> None:
        """A heartbeat of ours lies there: it is about no scope, and shows in a quiet time too that somebody else wrote."""
        if offset == self.end:
            self.end += 1
        else:
            self._is_mixed = True

    async def _append(self, scope: str, figures: int, record: dict[str, Any] | None) -> int:
        value = None if record is None else msgspec.json.encode(record)
        return await append_surely(self._log, value, [("figures", str(figures).encode())], key=scope.encode())

    async def claim(self, stamp: tuple[str, int, int]) -> None:
        """Tell again what the last record says otherwise; nothing is read while nobody else writes."""
        while self._is_mixed:
            begin, end = await self._log.bounds()
            is_all = not begin <= self.end <= end
            said = list[tuple[str, int]]()
            async for message in self._log.read(begin if is_all else self.end, end):
                if is_beat(message.key):
                    continue
                said.append(((message.key or b"").decode(errors="replace"), _figures(message)))
                if len(said) >= TOGETHER:
                    self._tracks.hear(said)
                    said = []
            self._tracks.hear(said)
            other, gone = self._tracks.unlike(is_all)
            self.end, self._is_mixed = end, False
            for at in range(0, len(other), TOGETHER):
                await self.publish(self._state.records(other[at : at + TOGETHER], (), stamp, again=True))
            for at in range(0, len(gone), TOGETHER):
                await self.publish(self._state.records((), gone[at : at + TOGETHER], stamp))


def _figures(message: Message) -> int:
    """What its writer says that it is made of; of a tombstone 0, of what no watch wrote -1."""
    said = dict(message.headers).get("figures") or b""
    return 0 if message.value is None else int(said) if said.isdigit() and len(said) <= MOST_DIGITS else -1
