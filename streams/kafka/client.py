"""Kafka as the ports want it: partition logs over one idempotent producer and groupless consumers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaConnectionError, KafkaError

from streams.kafka.ports import Headers, Message
from streams.outside import Away

log = structlog.get_logger()
FETCH_BYTES = 8 << 20
# Whoever waits for room in a batch is woken with all others each time that one is sent: of 1,000 records sent side by side
# each cost 285 us of CPU with the default of 16 KiB, 25 us with this. A topic's own limit is 1 MiB.
BATCH_BYTES = 500_000
START_SECONDS = 10  # a broker answers within ms; a port that something else holds never does
REQUEST_BYTES = 9 << 20  # a dead letter is as large as the record that it buries; all else keeps under 1 MiB


class BrokerAway(Away):
    """No broker answers at the configured address."""


class KafkaClient:
    """One producer and one groupless consumer a topic, opened on demand."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None
        self._consumers: dict[str, AIOKafkaConsumer] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._opening = asyncio.Lock()

    async def producer(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self.bootstrap,
                    enable_idempotence=True,
                    acks="all",
                    max_request_size=REQUEST_BYTES,
                    max_batch_size=BATCH_BYTES,
                    request_timeout_ms=30_000,
                )
                try:
                    await asyncio.wait_for(producer.start(), START_SECONDS)
                except (KafkaConnectionError, TimeoutError) as error:
                    await producer.stop()
                    silent = f"says nothing for {START_SECONDS} s, perhaps another program has its port"
                    why = silent if isinstance(error, TimeoutError) else "no broker answers"
                    raise BrokerAway(
                        f"kafka {self.bootstrap}: {why}; start one with `usage-streams up` or set USAGE_STREAMS_BOOTSTRAP"
                    ) from error
                self._producer = producer
        return self._producer

    async def partitions(self, topic: str) -> list[int]:
        found = await (await self.producer()).partitions_for(topic)
        return sorted(found)

    def log(self, topic: str, partition: int) -> "PartitionLog":
        return PartitionLog(self, topic, partition)

    async def consumer(self, topic: str, lane: str = "") -> tuple[AIOKafkaConsumer, asyncio.Lock]:
        """A groupless consumer; readers of one lane take turns, since a consumer has one assignment."""
        name = f"{topic}/{lane}"
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            if name not in self._consumers:
                consumer = AIOKafkaConsumer(
                    bootstrap_servers=self.bootstrap,
                    group_id=None,
                    auto_offset_reset="none",  # else a lost offset becomes a silent jump
                    enable_auto_commit=False,
                    max_partition_fetch_bytes=FETCH_BYTES,
                    fetch_max_wait_ms=100,
                )
                await consumer.start()
                self._consumers[name] = consumer
        return self._consumers[name], lock

    async def close(self) -> None:
        for consumer in self._consumers.values():
            await consumer.stop()
        self._consumers.clear()
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None


async def answers(bootstrap: str) -> None:
    """BrokerAway when no broker is there: at the start a wrong address must not look like waiting."""
    kafka = KafkaClient(bootstrap)
    try:
        await kafka.producer()
    finally:
        await kafka.close()


class PartitionLog:
    """One partition of one topic; implements `streams.kafka.ports.Log`."""

    def __init__(self, client: KafkaClient, topic: str, partition: int) -> None:
        self._client, self.topic, self.partition = client, topic, partition

    async def append(self, value: bytes | None, headers: Headers, key: bytes | None = None) -> int | None:
        producer = await self._client.producer()
        try:
            sent: Any = await producer.send_and_wait(
                self.topic, value, key=key, partition=self.partition, headers=list(headers)
            )
        except KafkaError as error:
            log.warning("append: the answer is unknown", topic=self.topic, partition=self.partition, error=repr(error))
            return None
        # An idempotent producer's duplicate answer succeeds without a valid offset (facts/ledger.md).
        return int(sent.offset) if sent.offset >= 0 else None

    async def bounds(self) -> tuple[int, int]:
        tp = TopicPartition(self.topic, self.partition)
        consumer, lock = await self._client.consumer(self.topic, str(self.partition))
        async with lock:
            begin = (await consumer.beginning_offsets([tp]))[tp]
            return int(begin), int((await consumer.end_offsets([tp]))[tp])

    async def trim(self, before: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._client.bootstrap)
        await admin.start()
        try:
            await admin.delete_records({TopicPartition(self.topic, self.partition): RecordsToDelete(before)})
        finally:
            await admin.close()

    async def read(self, start: int, stop: int | None = None) -> AsyncIterator[Message]:
        tp = TopicPartition(self.topic, self.partition)
        if stop is None:
            _, stop = await self.bounds()
        if start >= stop:
            return
        consumer, lock = await self._client.consumer(self.topic, str(self.partition))
        async with lock:
            consumer.assign([tp])
            consumer.seek(tp, start)
            at = start
            while at < stop:
                for raw in (await consumer.getmany(tp, timeout_ms=500)).get(tp, ()):
                    if raw.offset < stop:
                        yield Message(raw.offset, raw.timestamp, raw.key, raw.value, tuple(raw.headers))
                at = await consumer.position(tp)  # not the last record: markers take offsets too
