"""JSON records of topics as rows; `record` keeps the JSON as it was. One entry of TABLES is all that a further topic needs.

A column is read from the field of its name, or from where its path points (`silenced.id`). What is not there, or cannot be what
the column holds, is null: the warehouse stores whatever the topic holds and never stops at it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Context, Decimal, InvalidOperation
from typing import Any, NamedTuple

import msgspec
import polars as pl
import structlog
from clickhouse_connect.driver.client import Client

from streams.kafka.ports import Message
from streams.pipeline.frames import INSTANT, MONEY
from streams.warehouse.insert import insert_frame
from streams.watch.scopes import id_and_tenant

log = structlog.get_logger()
Record = dict[str, Any]
TEXT, INT, FLAG = pl.String(), pl.Int64(), pl.Int32()
PAIRS = pl.List(
    pl.Struct({"name": pl.String(), "value": pl.String()})
)  # of an object; a map in ClickHouse needs no type here
NO_PERIOD = "1970-01-01T00:00:00Z"
YEARS = (1900, 2299)
PLACES, MOST_MONEY, WIDE = Decimal("1e-18"), Decimal("1e20"), Context(prec=40)  # what MONEY holds


class Column(NamedTuple):
    """What a column holds, and where in the record it stands; "" = under its own name."""

    kind: Any
    path: str = ""


def of(kind: Any, *names: str) -> dict[str, Column]:
    """Columns of one kind, each under its own name."""
    return {name: Column(kind) for name in names}


def whole(record: Record, key: str) -> Iterable[Record]:
    """One row a record."""
    yield record


@dataclass(frozen=True, slots=True)
class Table:
    """Where records of a topic go. Every table has topic_partition, topic_offset and record besides.

    rows:    what becomes of a record: one row, several, or none; key is the message's
    deletes: a message without a value is a row with is_deleted = 1; else it is none
    dated:   has published_at, the broker's append time
    """

    name: str
    columns: Mapping[str, Column]
    rows: Callable[[Record, str], Iterable[Record]] = whole
    deletes: bool = False
    dated: bool = True


def command_of(record: Record, key: str) -> Iterable[Record]:
    """A command says what it is about under a name of its own."""
    silence = _inside(record, "silence")
    about = ("alert_id", "silence_id", "request_id", "annotation_id")
    subject = next((record[k] for k in about if record.get(k)), silence.get("id", ""))
    match = _inside(silence, "match") or _inside(record, "match")
    tenant = record.get("tenant") or match.get("tenant") or _whose(record.get("scope"))[1]
    said = next((record[k] for k in ("justification", "note", "text") if record.get(k)), silence.get("reason", ""))
    yield record | {
        "command_id": record.get("command_id") or key,
        "subject": subject,
        "tenant_id": tenant,
        "said": said,
    }


def period_of(record: Record, key: str) -> Iterable[Record]:
    """What a budget came to in a period of the calendar: its last record is how that ended."""
    if record.get("period") == "calendar":
        yield record


def exceptions_of(record: Record, key: str) -> Iterable[Record]:
    """What was used of each exception in force. A rolling window has no periods: of it the newest record alone is kept."""
    periods = {} if record.get("period") == "calendar" else dict.fromkeys(("period_start", "period_end"), NO_PERIOD)
    parts = _inside(record, "exception").get("parts")
    for part in parts if isinstance(parts, list) else ():
        yield record | periods | {"exception": part}


ALERTS = {
    **of(TEXT, "tenant_id", "alert_id"), **of(INT, "revision"), **of(TEXT, "state", "kind", "budget_id", "scope", "severity"),
    **of(MONEY, "threshold", "value", "limit", "percent"), **of(TEXT, "unit", "currency", "owner", "accountable", "reason"),
    **of(INSTANT, "period_start", "period_end", "occurred_at", "detected_at", "since"), **of(FLAG, "late", "told"),
    **of(INT, "lateness_ms", "escalation"), "condition": Column(TEXT, "threshold"), "silenced": Column(TEXT, "silenced.id"),
    "acknowledged_by": Column(TEXT, "acknowledged.by"), "acknowledged_at": Column(INSTANT, "acknowledged.at"),
    "dimensions": Column(PAIRS), **of(TEXT, "summary"),
}  # fmt: skip
BUDGETS = {
    **of(TEXT, "scope", "tenant_id", "budget_id"), **of(MONEY, "used", "limit", "headroom"),
    **of(TEXT, "unit", "currency", "verdict"), **of(INSTANT, "period_start", "period_end", "as_of"),
}  # fmt: skip
PERIODS = {
    **of(TEXT, "scope", "tenant_id", "budget_id", "unit", "currency"), **of(INSTANT, "period_start", "period_end", "as_of"),
    **of(MONEY, "used", "limit", "base_limit"), **of(INT, "events", "unpriced_events", "unpriced_tokens"),
}  # fmt: skip
EXCEPTIONS = {
    **of(TEXT, "scope", "tenant_id", "budget_id", "unit", "currency"), **of(INSTANT, "period_start", "period_end", "as_of"),
    "exception_id": Column(TEXT, "exception.id"), "extra": Column(MONEY, "exception.extra"),
    "used": Column(MONEY, "exception.used"), "expires": Column(INSTANT, "exception.until"),
}  # fmt: skip
COMMANDS = {**of(TEXT, "command_id", "kind", "subject", "tenant_id", "by", "said"), "asked_at": Column(INSTANT, "at")}
ENFORCEMENTS = {
    **of(TEXT, "tenant_id", "scope", "enforcement_id", "budget_id", "kind", "verdict", "previous", "stop_reason"),
    **of(MONEY, "limit", "value"), **of(TEXT, "unit", "currency"), **of(INSTANT, "at", "detected_at"),
    **of(TEXT, "text", "exception"), "dimensions": Column(PAIRS),
}  # fmt: skip
TABLES: dict[str, tuple[Table, ...]] = {
    "usage.alerts": (Table("usage.alerts_rows", ALERTS),),
    "usage.budgets": (
        Table("usage.budgets_rows", BUDGETS, deletes=True, dated=False),
        Table("usage.budget_periods_rows", PERIODS, period_of),
        Table("usage.exception_use_rows", EXCEPTIONS, exceptions_of),
    ),
    "usage.enforcements": (Table("usage.enforcements_rows", ENFORCEMENTS),),
    "usage.commands": (Table("usage.commands_rows", COMMANDS, command_of),),
}


def rows_of(table: Table, partition: int, messages: Sequence[Message]) -> pl.DataFrame:
    """Rows of a table, in its columns."""
    rows = list[Record]()
    for m in messages:
        key, text = (m.key or b"").decode(errors="replace"), (m.value or b"").decode(errors="replace")
        if m.value is None and not table.deletes:
            continue
        found = _record(m) if m.value is not None else _tombstone(key)
        for row in table.rows(found, key):
            cells = {name: _cell(row, name, column) for name, column in table.columns.items()}
            cells |= {"topic_partition": partition, "topic_offset": m.offset, "record": text}
            cells |= {"is_deleted": int(m.value is None)} if table.deletes else {}
            rows.append(cells | ({"published_at": m.timestamp} if table.dated else {}))
    schema = {name: column.kind for name, column in table.columns.items()}
    schema |= {"topic_partition": pl.Int32(), "topic_offset": INT, "record": TEXT}
    schema |= {"is_deleted": FLAG} if table.deletes else {}
    schema |= {"published_at": INT} if table.dated else {}
    frame = pl.DataFrame(rows, schema=pl.Schema({k: TEXT if v == MONEY else v for k, v in schema.items()}))
    frame = frame.with_columns(pl.col(name).cast(MONEY) for name, kind in schema.items() if kind == MONEY)
    return frame.with_columns(pl.col("published_at").cast(INSTANT)) if table.dated else frame


def _record(m: Message) -> Record:
    try:
        return msgspec.json.decode(m.value or b"", type=Record)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        log.warning("a record cannot be read; its text is kept", offset=m.offset, error=str(error))
        return {}


def _tombstone(key: str) -> Record:
    budget, tenant = _whose(key)
    return {"scope": key, "tenant_id": tenant, "budget_id": budget, "unit": "", "verdict": ""}


def _inside(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object that a field holds; empty where it holds anything else."""
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}


def _whose(scope: object) -> tuple[str, str]:
    """Rule and tenant of a scope's key; empty where it is none."""
    try:
        return id_and_tenant(str(scope or ""))
    except (KeyError, ValueError):
        return "", ""


def _cell(record: Record, name: str, column: Column) -> Any:
    """A value as its column takes it; None where there is none."""
    value: Any = record
    for step in (column.path or name).split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    if value is None:
        return None
    match column.kind:
        case pl.Datetime():
            return _instant(value)
        case pl.Decimal():
            return _money(value)
        case pl.List():
            return [{"name": k, "value": str(v)} for k, v in value.items()] if isinstance(value, Mapping) else None
        case pl.Int64() | pl.Int32():
            most = 63 if column.kind == INT else 31
            return int(value) if isinstance(value, int) and -(1 << most) <= value < 1 << most else None
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _instant(value: Any) -> datetime | None:
    """Within what DateTime64 holds."""
    try:
        found = datetime.fromisoformat(value)
        at = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    return at if YEARS[0] <= at.year <= YEARS[1] else None


def _money(value: Any) -> str | None:
    """A threshold may have a name instead, such as `1h/5m`; what has more places than MONEY is rounded, what is larger null."""
    try:
        found = Decimal(value) if isinstance(value, str | int) else None
    except InvalidOperation:
        return None
    if found is None or not found.is_finite() or (found and found.adjusted() >= MOST_MONEY.adjusted()):
        return None
    rounded = found.quantize(PLACES, context=WIDE) if found else Decimal(0)
    return f"{rounded:f}" if abs(rounded) < MOST_MONEY else None


def insert_records(client: Client, topic: str, partition: int, messages: Sequence[Message]) -> None:
    """Store records of one partition; the same ones twice meet in ReplacingMergeTree."""
    token = f"{topic}/{partition}/{messages[0].offset}-{messages[-1].offset}"
    for table in TABLES[topic]:
        rows = rows_of(table, partition, messages)
        if not rows.is_empty():
            insert_frame(client, table.name, rows, token)
