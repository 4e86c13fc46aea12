"""The watch as a Faust agent: totals into lanes; the protocol is in watch_partition.py."""

from typing import Any

from streams.agents.meter import stream_of
from streams.agents.stage import follow
from streams.agents.tracks import SqliteTracks
from streams.agents.watch_partition import WatchPartition, WatchPorts
from streams.kafka import topics
from streams.kafka.catalog_log import CatalogLog
from streams.kafka.client import KafkaClient
from streams.settings import Settings


def create_watch(app: Any, settings: Settings, kafka: KafkaClient, catalogs: CatalogLog) -> None:
    """Register the watch on a Faust app."""
    files: dict[int, SqliteTracks] = {}

    def tracks(partition: int) -> SqliteTracks:
        if partition in files:
            files.pop(partition).close()
        files[partition] = SqliteTracks.of_partition(
            settings.data / "state", partition, settings.watch_memory_mib << 20
        )
        return files[partition]

    async def open_partition(partition: int) -> WatchPartition:
        stream = await stream_of(catalogs)
        ports = WatchPorts(
            partition=partition,
            partitions=len(await kafka.partitions(topics.TOTALS)),
            totals=kafka.log(topics.TOTALS, partition),
            state=kafka.log(topics.STATE, partition),
            alerts=kafka.log(topics.ALERTS, partition),
            budgets=kafka.log(topics.BUDGETS, partition),
            enforcements=kafka.log(topics.ENFORCEMENTS, 0),
            commands=kafka.log(topics.COMMANDS, 0),
            ledger=lambda p: kafka.log(topics.RATED, p),
            adjustments=lambda p: kafka.log(topics.ADJUSTMENTS, p),
            catalogs=catalogs,
            stream=stream,
            tracks=lambda: tracks(partition),
        )
        return await WatchPartition.open(ports)

    follow(app, "watch", topics.TOTALS, settings, open_partition)
