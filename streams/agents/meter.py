"""The meter as a Faust agent: chunks of usage.events into lanes, one a partition; the protocol is in meter_partition.py."""

import json
from collections.abc import Sequence
from typing import Any

from streams import metrics
from streams.agents.adjuster import Adjuster, AdjusterPorts
from streams.agents.lanes import Partition
from streams.agents.meter_partition import MeterPartition, MeterPorts
from streams.agents.stage import follow
from streams.kafka import topics
from streams.kafka.catalog_log import CatalogLog, Published
from streams.kafka.client import KafkaClient
from streams.kafka.commits import committed_offset
from streams.kafka.registry import Registry
from streams.outside import Away
from streams.pipeline.adjust import adjusted_totals
from streams.pipeline.checks import Bounds
from streams.pipeline.decode import Decoder
from streams.pipeline.frames import Record
from streams.pipeline.seen import SeenSet
from streams.pipeline.settle import settle
from streams.pipeline.settle_outcome import Outcome
from streams.pipeline.totals import split, totals
from streams.resources import earlier_schemas, schema_text
from streams.settings import Settings


async def stream_of(catalogs: CatalogLog) -> str:
    """Identity of usage.events, once there is a catalog to work with; says in the log what it waits for."""
    await catalogs.refresh()
    await catalogs.wait_for(max(1, catalogs.sequence))
    if topics.EVENTS not in catalogs.streams:
        raise Away(f"{topics.EVENTS}: has no identity yet; run `usage-streams topics`")
    return catalogs.streams[topics.EVENTS]


class MeterFactory:
    """Opens the state of a partition from what is durable."""

    def __init__(self, settings: Settings, kafka: KafkaClient, catalogs: CatalogLog, group: str) -> None:
        self._settings, self._kafka, self._catalogs, self._group = settings, kafka, catalogs, group
        self._decoder = Decoder(
            json.loads(schema_text("usage_event")),
            [json.loads(text) for text in earlier_schemas("usage_event")],
            bounds=Bounds(skew_ms=settings.future_skew_seconds * 1000),
        )
        self._registry = Registry(settings.registry_url) if settings.registry_url else None

    def _decide(
        self, records: Sequence[Record], base: int, seen: SeenSet, published: Published, stream: str, begin: int
    ) -> Outcome:
        if self._registry:
            for number in self._decoder.unknown_ids(records):
                self._decoder.learn(number, self._registry.schema(number))
        return settle(records, base, seen, self._decoder, published.book, stream, begin)

    async def open(self, partition: int) -> MeterPartition:
        stream = await stream_of(self._catalogs)
        kafka = self._kafka
        parts = await kafka.partitions(topics.TOTALS)

        async def committed() -> int:
            return await committed_offset(self._settings.bootstrap, self._group, topics.EVENTS, partition)

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
            confirmed=self._settings.confirm_source == stream,
            committed=committed,
        )
        return await MeterPartition.open(ports, await committed(), self._settings.seen_horizon_hours * 60)

    async def open_adjustments(self, partition: int) -> Adjuster:
        """What corrects the ledger of a partition: its totals are sent by whoever has the partition of usage.adjustments."""
        stream = await stream_of(self._catalogs)
        kafka = self._kafka
        parts = await kafka.partitions(topics.TOTALS)
        ports = AdjusterPorts(
            partition=partition,
            adjustments=kafka.log(topics.ADJUSTMENTS, partition),
            totals=[kafka.log(topics.TOTALS, q) for q in parts],
            catalogs=self._catalogs,
            totals_of=lambda pairs, published: split(adjusted_totals(pairs, published.scopes), len(parts)),
            stream=stream,
        )
        bootstrap = self._settings.bootstrap
        return await Adjuster.open(ports, await committed_offset(bootstrap, self._group, topics.ADJUSTMENTS, partition))


class Publisher:
    """Counts of the partitions as metrics; counters move by what was added since the last look."""

    def __init__(self) -> None:
        self._before: dict[tuple[int, str], int] = {}

    def __call__(self, partition: int, state: Partition) -> None:
        if isinstance(state, Adjuster):
            metrics.ADJUSTED.inc(self._step(partition, "adjusted", state.rows))
        if not isinstance(state, MeterPartition):
            return
        c = state.counts
        for outcome in ("rated", "duplicate", "dead", "skipped", "lost"):
            metrics.EVENTS.labels(outcome).inc(self._step(partition, outcome, getattr(c, outcome)))
        metrics.LACKING.inc(self._step(partition, "lacking", c.lacking))
        for (dialect, field), n in c.unknown.items():
            metrics.UNKNOWN_FIELDS.labels(dialect, field).inc(self._step(partition, f"{dialect}/{field}", n))
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
    factory = MeterFactory(settings, kafka, catalogs, app.conf.id)
    publisher = Publisher()
    follow(app, "meter", topics.EVENTS, settings, factory.open, publisher, settings.linger_ms / 1000)
    follow(app, "meter", topics.ADJUSTMENTS, settings, factory.open_adjustments, publisher)

    @app.timer(1.0)  # type: ignore[untyped-decorator]  # faust has no types
    async def follow_catalog() -> None:
        await catalogs.refresh()
