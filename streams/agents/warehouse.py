"""The warehouse stage as Faust agents: ledger, alerts and budgets into ClickHouse; nothing else waits for it."""

from functools import partial
from typing import Any

from streams.agents.stage import follow
from streams.agents.warehouse_partition import LedgerWarehouse, RecordWarehouse
from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.settings import Settings
from streams.warehouse.client import connect


def create_warehouse(app: Any, settings: Settings, kafka: KafkaClient) -> None:
    """Register the stage on a Faust app; each partition has a client of its own, since a client serves one at a time."""
    client = partial(connect, settings.clickhouse_url)

    async def open_ledger(partition: int) -> LedgerWarehouse:
        return await LedgerWarehouse.open(client, kafka.log(topics.RATED, partition), topics.RATED, partition)

    async def open_records(topic: str, partition: int) -> RecordWarehouse:
        return await RecordWarehouse.open(client, kafka.log(topic, partition), topic, partition)

    follow(app, "warehouse", topics.RATED, settings, open_ledger)
    follow(app, "warehouse", topics.ALERTS, settings, partial(open_records, topics.ALERTS))
    follow(app, "warehouse", topics.BUDGETS, settings, partial(open_records, topics.BUDGETS))
