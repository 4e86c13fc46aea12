"""What runs of corrections need of a running stack: its logs, its catalog, and the columns of an event."""

import json
from collections.abc import Callable

import polars as pl

from streams.jobs.rerate import RunPorts
from streams.kafka import topics
from streams.kafka.catalog_log import CatalogLog
from streams.kafka.client import KafkaClient
from streams.outside import Away
from streams.pipeline.decode import frame_schema
from streams.resources import schema_text

HASHES = {"id_hash": pl.UInt64(), "fingerprint": pl.UInt64()}  # made by dedupe, kept by whatever rates


def event_columns() -> pl.Schema:
    """What an event brings into the ledger before anything is put on it."""
    return pl.Schema({**frame_schema(json.loads(schema_text("usage_event"))), **HASHES})


async def run_ports(
    kafka: KafkaClient,
    moved: Callable[[int, int], None] = lambda done, total: None,
    catalogs: CatalogLog | None = None,
) -> RunPorts:
    """Ports of the stack behind a client of its own: a run holds the ledger's reader for long. Away when it is not ready."""
    await kafka.producer()  # says in one line when no broker answers
    catalogs = catalogs or CatalogLog(kafka.log(topics.CATALOG, 0))
    await catalogs.refresh()
    if topics.EVENTS not in catalogs.streams:
        raise Away(f"{topics.EVENTS}: has no identity yet; run `usage-streams topics`")
    if not catalogs.sequence:
        raise Away(f"{topics.CATALOG}: no catalog was published yet; run `usage-streams apply`")
    return RunPorts(
        partitions=await kafka.partitions(topics.RATED),
        runs=kafka.log(topics.RUNS, 0),
        ledger=lambda p: kafka.log(topics.RATED, p),
        adjustments=lambda p: kafka.log(topics.ADJUSTMENTS, p),
        catalogs=catalogs,
        stream=catalogs.streams[topics.EVENTS],
        event=event_columns(),
        moved=moved,
    )
