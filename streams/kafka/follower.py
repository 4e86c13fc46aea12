"""Whole topics without a group: from their beginning, then whatever comes. The broker away means that nothing comes."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, UnknownTopicOrPartitionError

from streams.kafka.client import KafkaClient
from streams.kafka.ports import Message
from streams.outside import Away

log = structlog.get_logger()
POLL_MS = 200
CATCHING_UP, LIVE = 2_000, 20  # records at once: whoever shares this process with a door must get its turn
PAUSE_SECONDS = 1.0
Batch = tuple[str, int, list[Message]]


class Follower:
    """`start` once, then iterate `batches`. `behind` counts partitions that have not reached the end they had at the start."""

    def __init__(self, client: KafkaClient, topics: Sequence[str]) -> None:
        self._client, self._topics = client, tuple(topics)
        self._consumer: AIOKafkaConsumer | None = None
        self._ends: dict[TopicPartition, int] = {}
        self.partitions: dict[str, int] = {}

    @property
    def behind(self) -> int:
        """0: everything that was there at the start is read."""
        return len(self._ends)

    async def start(self) -> None:
        """Raises BrokerAway, and Away when a topic is missing."""
        tps = [TopicPartition(topic, p) for topic in self._topics for p in await self._found(topic)]
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._client.bootstrap,
            group_id=None,
            auto_offset_reset="none",
            enable_auto_commit=False,
            max_partition_fetch_bytes=1 << 20,
            fetch_max_wait_ms=POLL_MS,
        )
        self._consumer = consumer
        await consumer.start()
        consumer.assign(tps)
        begins = await consumer.beginning_offsets(tps)
        for tp, begin in begins.items():
            consumer.seek(tp, begin)
        self._ends = {tp: end for tp, end in (await consumer.end_offsets(tps)).items() if end > begins[tp]}

    async def _found(self, topic: str) -> list[int]:
        try:
            found = await self._client.partitions(topic)
        except UnknownTopicOrPartitionError as error:
            raise Away(f"topic {topic}: is not there; run `usage-streams topics`") from error
        self.partitions[topic] = len(found)
        return found

    async def batches(self) -> AsyncIterator[Batch]:
        """Topic, partition, records in order; also an empty one now and then, so that whoever follows can look at its watch."""
        if self._consumer is None:
            raise RuntimeError("follower: start it before it is read")
        consumer = self._consumer
        while True:
            try:
                found = await consumer.getmany(timeout_ms=POLL_MS, max_records=CATCHING_UP if self._ends else LIVE)
            except OffsetOutOfRangeError as error:  # compaction or a re-created topic took what we would read next
                for tp in error.args[0]:
                    await consumer.seek_to_beginning(tp)
                continue
            except KafkaError as error:
                log.warning("follower waits", error=repr(error))
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            for tp, raw in found.items():
                messages = [Message(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in raw]
                yield tp.topic, tp.partition, messages
            for tp in [tp for tp, end in self._ends.items() if tp in found and found[tp][-1].offset + 1 >= end]:
                del self._ends[tp]
            for tp in list(self._ends):  # compaction may have taken the last record
                if await consumer.position(tp) >= self._ends[tp]:
                    del self._ends[tp]
            if not found:
                yield "", 0, []

    async def stop(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None
