"""Records of usage.alerts and usage.budgets as rows; `record` keeps the JSON as it was."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import polars as pl
from clickhouse_connect.driver.client import Client

from streams.kafka.ports import Message
from streams.pipeline.frames import INSTANT, MONEY
from streams.warehouse.insert import insert_frame
from streams.watch.scopes import id_and_tenant

PLACE = {"topic_partition": pl.Int32, "topic_offset": pl.Int64}
TEXT = pl.String
ALERTS: dict[str, Any] = {
    "tenant_id": TEXT, "alert_id": TEXT, "revision": pl.Int64, "state": TEXT, "kind": TEXT, "budget_id": TEXT,
    "scope": TEXT, "severity": TEXT, "threshold": MONEY, "value": MONEY, "limit": MONEY, "unit": TEXT, "currency": TEXT,
    "owner": TEXT, "accountable": TEXT, "period_start": INSTANT, "period_end": INSTANT, "occurred_at": INSTANT,
    "detected_at": INSTANT,
}  # fmt: skip
BUDGETS: dict[str, Any] = {
    "scope": TEXT, "tenant_id": TEXT, "budget_id": TEXT, "used": MONEY, "limit": MONEY, "headroom": MONEY, "unit": TEXT,
    "currency": TEXT, "verdict": TEXT, "period_start": INSTANT, "period_end": INSTANT, "as_of": INSTANT,
}  # fmt: skip
TABLES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "usage.alerts": ("usage.alerts_rows", ALERTS),
    "usage.budgets": ("usage.budgets_rows", BUDGETS),
}


def rows_of(topic: str, partition: int, messages: Sequence[Message]) -> pl.DataFrame:
    """One row a record, columns of its table; a tombstone is a row with is_deleted = 1."""
    _, columns = TABLES[topic]
    rows = []
    for m in messages:
        found = msgspec.json.decode(m.value) if m.value else _tombstone(m.key or b"")
        row = {name: _typed(found.get(name), kind) for name, kind in columns.items()}
        row |= {"topic_partition": partition, "topic_offset": m.offset, "record": (m.value or b"").decode()}
        row |= {"published_at": m.timestamp} if topic == "usage.alerts" else {"is_deleted": int(m.value is None)}
        rows.append(row)
    schema = {**columns, **PLACE, "record": TEXT}
    schema |= {"published_at": pl.Int64} if topic == "usage.alerts" else {"is_deleted": pl.Int32}
    frame = pl.DataFrame(rows, schema=pl.Schema({k: TEXT if v == MONEY else v for k, v in schema.items()}))
    money = [pl.col(name).cast(MONEY) for name, kind in columns.items() if kind == MONEY]
    frame = frame.with_columns(money)
    return frame.with_columns(pl.col("published_at").cast(INSTANT)) if topic == "usage.alerts" else frame


def _tombstone(key: bytes) -> dict[str, Any]:
    scope = key.decode()
    budget, tenant = id_and_tenant(scope)
    return {"scope": scope, "tenant_id": tenant, "budget_id": budget, "unit": "", "verdict": ""}


def _typed(value: Any, kind: Any) -> Any:
    return datetime.fromisoformat(value) if kind == INSTANT and value is not None else value


def insert_records(client: Client, topic: str, partition: int, messages: Sequence[Message]) -> None:
    """Store records of one partition; the same ones twice meet in ReplacingMergeTree."""
    table, _ = TABLES[topic]
    token = f"{topic}/{partition}/{messages[0].offset}-{messages[-1].offset}"
    insert_frame(client, table, rows_of(topic, partition, messages), token)
