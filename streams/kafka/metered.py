"""What the meter has covered of usage.events, beside where that ends: two small requests, for whoever vouches for freshness."""

import time
from collections.abc import Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.kafka.client import KafkaClient
from streams.kafka.topics import EVENTS
from streams.outside import Away


class Covered(NamedTuple):
    """`ends` as of `at`, then `covered` as of `now` (both ms): next offsets by partition."""

    at: int
    ends: Mapping[int, int]
    covered: Mapping[int, int]
    now: int


class Metered:
    """Keeps its connections; after an error they are opened anew."""

    def __init__(self, client: KafkaClient, group: str) -> None:
        self._client, self._group = client, group
        self._consumer: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None
        self._partitions: list[TopicPartition] = []

    async def look(self) -> Covered | None:
        """None: the broker does not say now."""
        try:
            return await self._look()
        except (KafkaError, Away, OSError):
            await self.stop()
            return None

    async def _look(self) -> Covered | None:
        if self._consumer is None or self._admin is None:
            self._consumer = AIOKafkaConsumer(bootstrap_servers=self._client.bootstrap, group_id=None)
            await self._consumer.start()
            self._admin = AIOKafkaAdminClient(bootstrap_servers=self._client.bootstrap)
            await self._admin.start()
            self._partitions = [TopicPartition(EVENTS, p) for p in await self._client.partitions(EVENTS)]
        at = int(time.time() * 1000)
        ends = await self._consumer.end_offsets(self._partitions)
        commits = await self._admin.list_consumer_group_offsets(self._group)
        covered = {tp.partition: int(meta.offset) for tp, meta in commits.items() if tp.topic == EVENTS}
        return Covered(at, {tp.partition: int(end) for tp, end in ends.items()}, covered, int(time.time() * 1000))

    async def stop(self) -> None:
        for one in (self._consumer, self._admin):
            if one is not None:
                await (one.stop() if isinstance(one, AIOKafkaConsumer) else one.close())
        self._consumer = self._admin = None
