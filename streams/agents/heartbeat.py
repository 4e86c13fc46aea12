"""The watch's proof of life for whoever checks: up to when everything of its partition of totals is in (watch/freshness.py)."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from streams.kafka.ports import Log, append_surely
from streams.watch.freshness import beat_key, beat_record

BEAT_SECONDS = 0.8  # a lane looks once a second, a little more or less


@dataclass(slots=True)
class Heartbeat:
    """One partition's; `beat` is called whenever its lane looks, after the records that it vouches for are acknowledged."""

    partition: int
    totals: Log
    budgets: Log
    now_ms: Callable[[], int] = lambda: int(time.time() * 1000)
    monotonic: Callable[[], float] = time.monotonic
    _beaten_at: float = float("-inf")
    _seen: int = 0

    async def beat(self, taken: int, taken_ms: int, clock: int) -> int | None:
        """Not more often than a lane looks; its offset, if it was time.

        taken, taken_ms: offset and append time of the last message of totals that is in
        With nothing more in the log it has seen everything until now, so an idle watch looks as alive as it is.
        """
        now = self.monotonic()
        if now - self._beaten_at < BEAT_SECONDS:
            return None
        self._beaten_at = now
        before = self.now_ms()
        _, end = await self.totals.bounds()
        self._seen = max(self._seen, before if taken + 1 >= end else taken_ms)
        return await append_surely(
            self.budgets, beat_record(self.partition, clock, self._seen), [], key=beat_key(self.partition)
        )
