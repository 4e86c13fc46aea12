"""Records of usage.deliveries as rows; `record` keeps the JSON as it was."""

from collections.abc import Sequence
from typing import Any

import msgspec
import polars as pl
from clickhouse_connect.driver.client import Client

from streams.kafka.ports import Message
from streams.pipeline.frames import INSTANT
from streams.warehouse.insert import insert_frame

TIMES = ("detected_at", "queued_at", "at", "next_at")
SCHEMA: dict[str, Any] = {
    "tenant_id": pl.String, "delivery_id": pl.String, "topic_offset": pl.Int64, "alert_id": pl.String, "revision": pl.Int64,
    "endpoint": pl.String, "route": pl.String, "status": pl.String, "attempt": pl.Int32, "again": pl.Int32, "code": pl.Int32,
    "error": pl.String, "state": pl.String, "kind": pl.String, "severity": pl.String, "budget_id": pl.String,
    "owner": pl.String, "detected_at": INSTANT, "queued_at": INSTANT, "at": INSTANT,
    "next_at": INSTANT, "asked_by": pl.String, "record": pl.String,
}  # fmt: skip
TEXTS = ("state", "kind", "severity", "budget_id", "owner")
SAME = (
    "delivery_id",
    "alert_id",
    "revision",
    "endpoint",
    "route",
    "status",
    "code",
    "error",
    "queued_at",
    "at",
    "next_at",
)


def rows_of(messages: Sequence[Message]) -> pl.DataFrame:
    """One row a record; what cannot be read is left out, as whoever delivers leaves it out."""
    rows = []
    for message in messages:
        try:
            found = msgspec.json.decode(message.value or b"null")
        except msgspec.DecodeError:
            continue
        if not isinstance(found, dict) or "delivery_id" not in found:
            continue
        facts = found.get("facts") or {}
        row = {name: found.get(name) for name in SAME} | {name: str(facts.get(name) or "") for name in TEXTS}
        row |= {"tenant_id": str(facts.get("tenant_id") or ""), "topic_offset": message.offset}
        row |= {"attempt": found.get("attempt", 0), "again": found.get("again", 0), "asked_by": found.get("by") or ""}
        row |= {"detected_at": facts.get("detected_at"), "record": (message.value or b"").decode()}
        rows.append(row)
    texts = {name: pl.Int64 if name in TIMES else kind for name, kind in SCHEMA.items()} | {"detected_at": pl.String}
    frame = pl.DataFrame(rows, schema=texts, orient="row")
    moment = pl.col("detected_at").str.to_datetime("%+", time_unit="ms", time_zone="UTC", strict=False)
    return frame.with_columns(moment, *(pl.col(name).cast(INSTANT) for name in TIMES[1:])).select(*SCHEMA)


def insert_deliveries(client: Client, topic: str, partition: int, messages: Sequence[Message]) -> None:
    """Store records of one partition; the same ones twice meet in ReplacingMergeTree."""
    rows = rows_of(messages)
    if not rows.is_empty():
        insert_frame(
            client, "usage.deliveries_rows", rows, f"{topic}/{partition}/{messages[0].offset}-{messages[-1].offset}"
        )
