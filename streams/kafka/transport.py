"""Chunk transport for Faust: one Faust message per fetched (partition, chunk of records).

Decision: Faust costs 150-240 µs a message in asyncio plumbing, so a message is a chunk; assignment, generations, fencing and
commits stay Faust's. `event.value` is the list of aiokafka records, `message.offset` that of the last. What this relies on in
Faust is pinned in pyproject.toml and held by tests/contract/test_faust_internals.py.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from streams import metrics
from streams.pipeline.frames import Record

CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive records of one partition as one fetch gave them; `ack` lets the source offset move past them."""

    topic: str
    partition: int
    generation: int
    records: list[Record]  # aiokafka's own, which have the same attributes: another object each costs half a µs
    event: Any

    def ack(self) -> None:
        self.event.ack()


async def chunks(stream: Any) -> AsyncIterator[Chunk]:
    """The chunks of a Faust stream; leaving the loop, however, acknowledges nothing (C11)."""
    async for event in stream.noack().events():
        message = event.message
        yield Chunk(message.topic, message.partition, message.generation_id, event.value, event)


class ChunkConsumer(driver.Consumer):
    """Delivers chunks, in order, one queue a partition; commits the longest acknowledged prefix of that queue.

    Records fetched before or during a seek or a rebalance are thrown away, and the position is sought back to what was
    delivered: throwing away alone would be loss, since the fetcher has moved past them.
    """

    chunk_size = CHUNK

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._delivered: dict[TP, deque[ConsumerMessage]] = defaultdict(deque)
        self._epoch = 0  # moves with every seek and revocation

    def ack(self, message: ConsumerMessage) -> bool:
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        self._n_acked += 1
        return True

    def _filter_tps_with_pending_acks(self, topics: Iterable[Any] | None = None) -> list[TP]:
        wanted = None if topics is None else set(topics)
        return [
            tp
            for tp, queue in self._delivered.items()
            if queue and queue[0].acked and (wanted is None or tp in wanted or tp.topic in wanted)
        ]

    def _new_offset(self, tp: TP) -> int | None:
        queue, offset = self._delivered[tp], None
        while queue and queue[0].acked:
            offset = queue.popleft().offset + 1
        return offset

    def _moved(self) -> None:
        self._epoch += 1
        self._delivered.clear()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        self._moved()
        await super().on_partitions_revoked(revoked)

    async def perform_seek(self) -> None:
        self._moved()
        await super().perform_seek()
        self._moved()

    async def seek(self, partition: TP, offset: int) -> None:
        self._moved()
        await super().seek(partition, offset)
        self._moved()

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                if not self.flow_active:
                    await self.wait(self.can_resume_flow)
                # Taken before the wait: a whole rebalance fits into one fetch.
                at = self._epoch, self.app.consumer_generation_id
                fetched, active = await self._wait_next_records(1.0)
                await asyncio.sleep(0)
                if not fetched or self.should_stop:
                    continue
                if not self._still(at):
                    await self._seek_back()
                    continue
                for raw, records in fetched.items():
                    tp = TP(raw.topic, raw.partition)
                    if not self._still(at):
                        metrics.STALE_FETCHES.inc()
                        break
                    if active is None or tp in active or tp in self._buffered_partitions:
                        await self._deliver(tp, records, at)
        except (asyncio.CancelledError, *self.consumer_stopped_errors):
            if not self.transport.app.should_stop:
                raise

    def _still(self, at: tuple[int, int]) -> bool:
        return bool(self.flow_active) and at == (self._epoch, self.app.consumer_generation_id)

    async def _seek_back(self) -> None:
        metrics.STALE_FETCHES.inc()
        try:
            await self.perform_seek()
        except Exception as error:  # the assignment is moving under us; the next fetch looks again
            self.log.warning("seek after a rebalance: %r", error)

    async def _deliver(self, tp: TP, records: Sequence[Any], at: tuple[int, int]) -> None:
        position = self._read_offset[tp]
        if position is not None:
            records = [r for r in records if r.offset >= position]
        if not self.app.topics.acks_enabled_for(tp.topic):  # Faust's own topics: one by one, as it expects
            for record in records:
                await self.callback(self._to_message(tp, record))
                self._read_offset[tp] = record.offset + 1
            return
        for i in range(0, len(records), self.chunk_size):
            message = self._chunk_message(tp, list(records[i : i + self.chunk_size]), at[1])
            self._delivered[tp].append(message)
            await self.wait_first(self.callback(message), self.suspend_flow.wait())
            if not self._still(at):
                metrics.STALE_FETCHES.inc()
                return
            self._read_offset[tp] = message.offset + 1

    @staticmethod
    def _chunk_message(tp: TP, records: list[Any], generation: int) -> ConsumerMessage:
        last = records[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            (last.timestamp or 0) / 1000.0,
            last.timestamp_type,
            (),
            None,
            records,
            None,
            0,
            0,
            tp,
            generation_id=generation,
        )


class ChunkTransport(driver.Transport):
    """Faust's aiokafka transport with chunks."""

    Consumer = ChunkConsumer
