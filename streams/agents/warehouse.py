"""The warehouse stage as Faust agents: ledger, corrections, JSON records into ClickHouse; nothing else waits for it."""

from dataclasses import asdict
from functools import partial
from typing import Any

import structlog
from clickhouse_connect.driver.exceptions import ClickHouseError

from streams import metrics
from streams.agents.repricer import Repricer
from streams.agents.stage import follow
from streams.agents.warehouse_partition import ChainWarehouse, Insert, LedgerWarehouse, RecordWarehouse
from streams.jobs.ports import run_ports
from streams.kafka import topics
from streams.kafka.catalog_log import CatalogLog
from streams.kafka.client import KafkaClient
from streams.outside import Away
from streams.settings import Settings
from streams.warehouse.adjustments import insert_adjustments, insert_runs
from streams.warehouse.client import ask, connect
from streams.warehouse.conservation import Difference, differences
from streams.warehouse.deliveries import insert_deliveries
from streams.warehouse.records import TABLES, insert_records

log = structlog.get_logger()
CHECK_SECONDS = 30.0
LOOK_SECONDS = 5.0


def create_warehouse(app: Any, settings: Settings, kafka: KafkaClient) -> None:
    """Register the stage on a Faust app; each partition has a client of its own, since a client serves one at a time."""
    client = partial(connect, settings.clickhouse_url)

    async def open_ledger(partition: int) -> LedgerWarehouse:
        return await LedgerWarehouse.open(client, kafka.log(topics.RATED, partition), topics.RATED, partition)

    async def open_records(topic: str, partition: int) -> RecordWarehouse:
        insert = insert_deliveries if topic == topics.DELIVERIES else insert_records
        return await RecordWarehouse.open(client, kafka.log(topic, partition), topic, partition, insert)

    async def open_chain(insert: Insert, topic: str, partition: int) -> ChainWarehouse:
        return await ChainWarehouse.open(client, kafka.log(topic, partition), topic, partition, insert)

    owned = follow(app, "warehouse", topics.RATED, settings, open_ledger)
    adjusts = follow(
        app, "warehouse", topics.ADJUSTMENTS, settings, partial(open_chain, insert_adjustments, topics.ADJUSTMENTS)
    )
    follow(app, "warehouse", topics.RUNS, settings, partial(open_chain, insert_runs, topics.RUNS))
    for topic in TABLES:
        follow(app, "warehouse", topic, settings, partial(open_records, topic))

    follow(app, "warehouse", topics.DELIVERIES, settings, partial(open_records, topics.DELIVERIES))

    own = KafkaClient(settings.bootstrap)  # a run reads the ledger for long; the lanes must not wait for it
    repricer = Repricer(partial(run_ports, own, catalogs=CatalogLog(own.log(topics.CATALOG, 0))))

    @app.timer(LOOK_SECONDS)  # type: ignore[untyped-decorator]  # faust has no types
    async def look_for_prices() -> None:
        if settings.reprice and 0 in adjusts:
            await repricer.look_calmly()

    before = set[Difference]()

    def look() -> list[Difference]:
        with client() as asked:
            return differences(asked)

    @app.timer(CHECK_SECONDS)  # type: ignore[untyped-decorator]  # faust has no types
    async def check_conservation() -> None:
        """All the time, by whoever owns the first partition."""
        if 0 not in owned:
            return
        try:
            found = await ask(look)
        except (Away, ClickHouseError) as error:  # a check that fails must not stop what it checks
            log.warning("conservation is not checked", error=str(error))
            return
        wrong = {d for d in found if not d.holds}
        lasting = wrong & before  # rows and their accounts are two inserts: a look between them sees one of them alone
        before.clear()
        before.update(wrong)
        metrics.DIFFERENCE.set(sum(d.size for d in lasting))
        for one in lasting:
            log.critical("conservation does not hold", **asdict(one))
