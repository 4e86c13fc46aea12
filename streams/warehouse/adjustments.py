"""Corrections as rows: the new row under a higher version, old beside new in adjustment_rows, the audit in runs_rows.

Rows, then the mark; every step may be repeated. A corrected row keeps the key and the ledger offset of the batch that first
rated the event, so that it takes that row's place whichever of the two is stored first.
"""

from collections.abc import Sequence

import msgspec
import polars as pl
from clickhouse_connect.driver.client import Client

from streams.kafka.ports import Message
from streams.pipeline.adjust import COSTS, Pairs, read_pairs
from streams.pipeline.frames import INSTANT
from streams.pipeline.runs import AdjustmentStamp, read_adjustment, read_run
from streams.warehouse.insert import insert_frame
from streams.warehouse.marks import Mark, write_mark

EVENT = ("tenant_id", "event_time", "source_offset", "ledger_offset", "event_id", "provider", "model", "team")
BEFORE_AFTER = ("pricing_status", "currency", *COSTS, "input_tokens", "output_tokens", "total_tokens", "lines")


def new_rows(pairs: Pairs, stamp: AdjustmentStamp, partition: int) -> pl.DataFrame:
    """Rows of rated_rows; their version is the run's number."""
    return pairs.new.with_columns(
        stream=pl.lit(stamp.stream),
        partition=pl.lit(partition, pl.Int32),
        version=pl.lit(stamp.run, pl.UInt64),
    )


def old_and_new(pairs: Pairs, stamp: AdjustmentStamp, partition: int, at: int, appended_at: int) -> pl.DataFrame:
    """Rows of adjustment_rows: what every figure was, what it became, by which run and why."""
    return pairs.new.select(
        *EVENT,
        *(pairs.old[name].alias(f"old_{name}") for name in BEFORE_AFTER),
        *(pl.col(name).alias(f"new_{name}") for name in BEFORE_AFTER),
        stream=pl.lit(stamp.stream),
        partition=pl.lit(partition, pl.Int32),
        run=pl.lit(stamp.run, pl.UInt64),
        run_id=pl.lit(stamp.run_id),
        kind=pl.lit(stamp.kind),
        reason=pl.lit(stamp.reason),
        adjustment_offset=pl.lit(at, pl.Int64),
        adjusted_at=pl.lit(appended_at).cast(INSTANT),
    )


def insert_adjustments(client: Client, topic: str, partition: int, messages: Sequence[Message], mark: int) -> None:
    """Store counted neighbours in order and mark them; `mark` is where their chain then stands."""
    rows, audit, stream = list[pl.DataFrame](), list[pl.DataFrame](), ""
    for message in messages:
        stamp, pairs = read_adjustment(message.headers), read_pairs(message.value)
        stream = stamp.stream
        if pairs.height:
            rows.append(new_rows(pairs, stamp, partition))
            audit.append(old_and_new(pairs, stamp, partition, message.offset, message.timestamp))
    token = f"{topic}/{stream}/{partition}/{messages[0].offset}-{messages[-1].offset}"
    if rows:
        insert_frame(client, "usage.rated_rows", pl.concat(rows, how="diagonal"), token)
        insert_frame(client, "usage.adjustment_rows", pl.concat(audit, how="diagonal"), token)
    write_mark(client, Mark(topic, partition, messages[-1].offset, stream, mark))


def insert_runs(client: Client, topic: str, partition: int, messages: Sequence[Message], mark: int) -> None:
    """Store counted records of usage.runs, one row a start and one an end, and mark them."""
    found = [(m, read_run(m.value, m.headers)) for m in messages]
    rows = [
        {
            "run": record.run.number,
            "run_id": record.run.run_id,
            "kind": record.run.kind,
            "state": "ended" if record.ended else "started",
            "reason": record.run.reason,
            "started_by": record.run.by,
            "stream": record.run.stream,
            "catalog_sequence": record.run.catalog_sequence,
            "selection": msgspec.json.encode(record.run.selection).decode(),
            "vector": list(record.run.vector),
            "adjusted": record.adjusted,
            "topic_offset": message.offset,
            "recorded_at": message.timestamp,
        }
        for message, record in found
    ]
    frame = pl.DataFrame(rows, schema_overrides={"vector": pl.List(pl.Int64)})
    token = f"{topic}/{partition}/{messages[0].offset}-{messages[-1].offset}"
    insert_frame(client, "usage.runs_rows", frame.with_columns(pl.col("recorded_at").cast(INSTANT)), token)
    write_mark(client, Mark(topic, partition, messages[-1].offset, found[-1][1].run.stream, mark))
