"""One lane a partition: gathers what arrives, hands it over in order, acknowledges by hand.

A lane opens its state anew whenever the consumer's generation changes, also before the first chunk arrives, so that a new
owner pays the debt of the former one at once. Trouble outside is retried with the same records for as long as it lasts; a
broken log ends the worker for good, anything unexpected ends it so that a supervisor starts it again.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

import structlog
from aiokafka.errors import KafkaError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from streams.kafka.chained_log import Superseded
from streams.kafka.transport import Chunk
from streams.outside import Away
from streams.pipeline.chain import LogBroken
from streams.pipeline.frames import Record

log = structlog.get_logger()
CRASH_EXIT, BROKEN_EXIT = 1, 3
OUTSIDE = (KafkaError, OSError, TimeoutError, Away, Superseded)


class Partition(Protocol):
    """State of one partition that brings records to where they belong."""

    async def settle(self, records: list[Record]) -> None:
        """Bring them in; with none, do what time alone asks for."""


@runtime_checkable
class Held(Protocol):
    """A state that holds more than memory."""

    def close(self) -> None:
        """Let go of it; the state is not used any more."""


class Lane:
    """Queue and task of one partition. `open_state(partition)` folds what is durable and gives the state."""

    def __init__(
        self,
        stage: str,
        partition: int,
        open_state: Callable[[int], Awaitable[Partition]],
        generation: Callable[[], int],
        chunk: int,
        linger_seconds: float,
        publish: Callable[[int, Partition], None] = lambda partition, state: None,
    ) -> None:
        self.stage, self.partition = stage, partition
        self._open_state, self._generation, self._publish = open_state, generation, publish
        self._chunk, self._linger = chunk, linger_seconds
        self._queue: asyncio.Queue[Chunk | None] = asyncio.Queue(8)
        self._state: Partition | None = None
        self._opened_in = -1
        self._carry: Chunk | None = None
        self._is_left = False
        self._oldest_ms: int | None = None  # append time of the first record in hand

    async def put(self, chunk: Chunk) -> None:
        """Hand a chunk over; waits when the lane is behind."""
        await self._queue.put(chunk)

    def wake(self) -> None:
        """Open the state, or let it do what time asks for, although nothing has arrived."""
        if self._queue.empty():
            self._queue.put_nowait(None)

    def leave(self) -> None:
        """Somebody else has the partition: the state is let go, between two rounds of work."""
        self._is_left = True
        self.wake()

    def lag_seconds(self) -> float:
        """Age of the oldest record in hand; 0 when there is none."""
        return 0.0 if self._oldest_ms is None else max(0.0, time.time() - self._oldest_ms / 1000)

    async def run(self) -> None:
        """For ever. Never raises for trouble outside; ends the process when a log is broken."""
        try:
            while True:
                gathered = await self._gather()
                generation = self._generation()
                gathered = [c for c in gathered if c.generation == generation]  # older ones are fetched again
                records = [r for c in gathered for r in c.records]
                if self._is_left and not records:
                    self._let_go()
                    continue
                self._oldest_ms = records[0].timestamp if records else None
                await self._with_retries(generation, records)
                for chunk in gathered:
                    chunk.ack()
                self._oldest_ms = None
        except asyncio.CancelledError:
            raise
        except LogBroken as error:
            log.critical("a log is broken; stopping", stage=self.stage, partition=self.partition, error=str(error))
            code = BROKEN_EXIT
        except BaseException:
            log.critical("unexpected; stopping", stage=self.stage, partition=self.partition, exc_info=True)
            code = CRASH_EXIT
        os._exit(code)  # nothing that was not acknowledged is lost; a supervisor sees the exit code

    async def _gather(self) -> list[Chunk]:
        """What arrives within the linger, up to a chunk's worth of records."""
        first = self._carry or await self._queue.get()
        self._carry = None
        if first is None:
            return []
        gathered, size = [first], len(first.records)
        until = asyncio.get_running_loop().time() + self._linger
        while size < self._chunk and (left := until - asyncio.get_running_loop().time()) > 0:
            try:
                more = await asyncio.wait_for(self._queue.get(), left)
            except TimeoutError:
                break
            if more is None:
                continue
            if size + len(more.records) > self._chunk:
                self._carry = more
                break
            gathered.append(more)
            size += len(more.records)
        return gathered

    async def _with_retries(self, generation: int, records: list[Record]) -> None:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(OUTSIDE),
            wait=wait_exponential_jitter(0.2, 10),
            before_sleep=self._drop_state,
        ):
            with attempt:
                if self._state is None or self._opened_in != generation:
                    self._let_go()
                    self._state = await self._open_state(self.partition)
                    self._opened_in = generation
                await self._state.settle(records)
                self._publish(self.partition, self._state)

    def _let_go(self) -> None:
        if isinstance(self._state, Held):
            self._state.close()
        self._state, self._is_left = None, False

    def _drop_state(self, retry: RetryCallState) -> None:
        """After an error nobody knows what landed: the state is folded anew from what is durable."""
        error = retry.outcome.exception() if retry.outcome else None
        log.warning(
            "waiting for what is outside",
            stage=self.stage,
            partition=self.partition,
            attempt=retry.attempt_number,
            error=str(error) or repr(error),
        )
        self._let_go()
