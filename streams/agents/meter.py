"""The meter as a Faust agent: chunks of usage.events into lanes, one a partition; the protocol is in meter_partition.py."""

import json
from collections.abc import Sequence
from typing import Any

from streams import metrics
from streams.agents.lanes import Lane, Partition
from streams.agents.meter_partition import MeterPartition, MeterPorts
from streams.kafka import topics
from streams.kafka.catalog_log import CatalogLog, Published
from streams.kafka.client import KafkaClient
from streams.kafka.commits import committed_offset
from streams.kafka.transport import chunks
from streams.pipeline.checks import Bounds
from streams.pipeline.decode import Decoder
from streams.pipeline.frames import Record
from streams.pipeline.seen import SeenSet
from streams.pipeline.settle import settle
from streams.pipeline.settle_outcome import Outcome
from streams.pipeline.totals import split, totals
from streams.resources import schema_text
from streams.settings import Settings


class MeterFactory:
    """Opens the state of a partition from what is durable."""

    def __init__(self, settings: Settings, kafka: KafkaClient, catalogs: CatalogLog, group: str) -> None:
        self._settings, self._kafka, self._catalogs, self._group = settings, kafka, catalogs, group
        self._decoder = Decoder(
            json.loads(schema_text("usage_event")), bounds=Bounds(skew_ms=settings.future_skew_seconds * 1000)
        )

    def _decide(
        self, records: Sequence[Record], base: int, seen: SeenSet, published: Published, stream: str, begin: int
    ) -> Outcome:
        return settle(records, base, seen, self._decoder, published.book, stream, begin)

    async def open(self, partition: int) -> MeterPartition:
        await self._catalogs.refresh()
        stream = self._catalogs.streams.get(topics.EVENTS)
        if stream is None or not self._catalogs.sequence:
            await self._catalogs.wait_for(1)  # says in the log what it waits for
            stream = self._catalogs.streams[topics.EVENTS]
        kafka = self._kafka
        parts = await kafka.partitions(topics.TOTALS)
        ports = MeterPorts(
            partition=partition,
            source=kafka.log(topics.EVENTS, partition),
            ledger=kafka.log(topics.RATED, partition),
            dead=kafka.log(topics.DEAD, partition),
            seen=kafka.log(topics.SEEN, partition),
            totals=[kafka.log(topics.TOTALS, q) for q in parts],
            catalogs=self._catalogs,
            decide=self._decide,
            totals_of=lambda rows, published: split(totals(rows, published.scopes), len(parts)),
            stream=stream,
        )
        committed = await committed_offset(self._settings.bootstrap, self._group, topics.EVENTS, partition)
        return await MeterPartition.open(ports, committed, self._settings.seen_horizon_hours * 60)


class Publisher:
    """Counts of the partitions as metrics; counters move by what was added since the last look."""

    def __init__(self) -> None:
        self._before: dict[tuple[int, str], int] = {}

    def __call__(self, partition: int, state: Partition) -> None:
        if not isinstance(state, MeterPartition):
            return
        c = state.counts
        for outcome in ("rated", "duplicate", "dead", "skipped", "lost"):
            metrics.EVENTS.labels(outcome).inc(self._step(partition, outcome, getattr(c, outcome)))
        metrics.APPENDS.inc(self._step(partition, "appends", c.appends))
        metrics.RECOMPUTED.inc(self._step(partition, "recomputed", c.recomputed))
        metrics.SEEN_BYTES.labels(str(partition)).set(state.seen.size_bytes)
        metrics.SEEN_IDS.labels(str(partition)).set(len(state.seen))

    def _step(self, partition: int, name: str, value: int) -> int:
        before = self._before.get((partition, name), 0)
        self._before[partition, name] = value
        return value - before if value >= before else value  # a new generation counts from 0


def create_meter(app: Any, settings: Settings, kafka: KafkaClient, catalogs: CatalogLog) -> None:
    """Register the meter on a Faust app."""
    factory, publish = MeterFactory(settings, kafka, catalogs, app.conf.id), Publisher()
    lanes: dict[int, Lane] = {}

    def lane(partition: int) -> Lane:
        if partition not in lanes:
            lanes[partition] = Lane(
                "meter",
                partition,
                factory.open,
                lambda: int(app.consumer_generation_id),
                settings.chunk,
                settings.linger_ms / 1000,
                publish,
            )
            app.add_future(lanes[partition].run())
        return lanes[partition]

    @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator]  # faust has no types
    async def assigned(_app: Any, assigned: set[Any], **_: Any) -> None:
        for tp in assigned:
            if tp.topic == topics.EVENTS:
                lane(tp.partition).wake()

    @app.agent(app.topic(topics.EVENTS, value_serializer="raw", value_type=bytes), name="meter", concurrency=1)  # type: ignore[untyped-decorator]
    async def meter(stream: Any) -> None:
        async for chunk in chunks(stream):  # leaving the loop, however, acks nothing
            await lane(chunk.partition).put(chunk)

    @app.timer(1.0)  # type: ignore[untyped-decorator]
    async def follow_catalog() -> None:
        await catalogs.refresh()
