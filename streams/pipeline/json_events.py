"""Usage events as JSON with the field names of the Avro schema, and CloudEvents in binary mode.

One typed struct, made from the schema, decodes each record strictly; columns are cut from the structs afterwards.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from typing import Annotated, Any, NamedTuple

import msgspec
import polars as pl

from streams.pipeline.checks import WRITE_BLOCK
from streams.pipeline.frames import INSTANT, Record

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MS = 253_402_300_799_999  # of the year 9999
Int64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
KINDS: dict[str, Any] = {"string": str, "long": Int64, "int": Int64, "boolean": bool}


class Refusal(NamedTuple):
    """Why a record is refused: a code that keeps its meaning, and a line for people without content."""

    reason: str
    detail: str


class CloudEvent(NamedTuple):
    """Of CloudEvents headers; empty where there are none."""

    event_id: str = ""
    time: str = ""


def cloud_event(headers: Sequence[tuple[str, bytes]]) -> CloudEvent | Refusal:
    """What the headers of binary mode say. `source` and `id` identify a CloudEvent together: both become the event's id."""
    found = dict(headers)
    if "ce_id" not in found or "ce_source" not in found:
        return CloudEvent()
    try:
        source, name, time = (found.get(n, b"").decode() for n in ("ce_source", "ce_id", "ce_time"))
    except UnicodeDecodeError:
        return Refusal("invalid_utf8", "a CloudEvents header is not UTF-8")
    return CloudEvent(f"{source}#{name}", time)


class EventReader:
    """JSON to rows of the reader schema, or their refusals. Unknown fields are ignored, as Avro resolution does."""

    def __init__(self, schema: Any, columns: Mapping[str, Any]) -> None:
        """columns: polars types of the schema's fields."""
        names = [f["name"] for f in schema["fields"]]
        self._columns = {name: columns[name] for name in names}
        self._required = [f["name"] for f in schema["fields"] if "default" not in f]
        self._instants = [name for name, kind in self._columns.items() if kind == INSTANT]
        struct = msgspec.defstruct("Event", [(f["name"], _kind(f) | None, None) for f in schema["fields"]], gc=False)
        self._decode = msgspec.json.Decoder(struct, float_hook=Decimal).decode
        self._values = attrgetter(*names)

    def read(self, records: Sequence[Record]) -> tuple[list[Record], pl.DataFrame, list[tuple[Record, Refusal]]]:
        """Records that are events, their rows in the same order, and the others."""
        kept, rows, refused = list[Record](), list[Any](), list[tuple[Record, Refusal]]()
        for record in records:
            found = self._read(record)
            if isinstance(found, Refusal):
                refused.append((record, found))
            else:
                kept.append(record)
                rows.append(self._values(found))
        table = list(zip(*rows, strict=True)) if rows else [()] * len(self._columns)
        columns = [
            _column(name, kind, values) for (name, kind), values in zip(self._columns.items(), table, strict=True)
        ]
        return kept, pl.DataFrame(columns), refused

    def _read(self, record: Record) -> Any | Refusal:
        try:
            event: Any = self._decode(record.value or b"")
        except UnicodeDecodeError:
            return Refusal("invalid_utf8", "json: a string is not UTF-8")
        except (RecursionError, ArithmeticError):
            return Refusal("undecodable", "json: nested too deep, or a number without value")
        except msgspec.ValidationError as error:
            return Refusal("bad_value", f"json: {error}")
        except msgspec.DecodeError as error:
            return Refusal("invalid_utf8" if "utf-8" in str(error).lower() else "undecodable", f"json: {error}")
        if record.headers:
            named = cloud_event(record.headers)
            if isinstance(named, Refusal):
                return named
            event.event_time = event.event_time if event.event_time is not None else named.time or None
            event.event_id = named.event_id or event.event_id
        if isinstance(event.usage_json, dict):
            event.usage_json = WRITE_BLOCK(event.usage_json).decode()  # the block itself is welcome too
        for name in self._required:
            if getattr(event, name) is None:
                return Refusal("missing_field", f"{name} is required")
        for name in self._instants:
            moment = _instant(name, getattr(event, name))
            if isinstance(moment, Refusal):
                return moment
            setattr(event, name, moment)
        return event


def _kind(field: Any) -> Any:
    """What JSON may hold for a field: the type of its schema, and what people write instead."""
    match field["type"]:
        case ["null", inner]:
            return _kind(field | {"type": inner})
        case {"logicalType": "timestamp-millis"}:
            return int | str
        case {"type": "array", "items": {"name": name, "fields": [key, value]}}:
            item = msgspec.defstruct(name, [(f["name"], KINDS[f["type"]]) for f in (key, value)], gc=False)
            return list[item] | dict[KINDS[key["type"]], KINDS[value["type"]]]  # type: ignore[valid-type]  # made just above
        case {"type": "array", "items": str() as item}:
            return list[KINDS[item]]  # type: ignore[valid-type]  # what the schema says
        case "string" if field["name"] == "usage_json":
            return str | dict[str, Any]
        case kind:
            return KINDS[kind]


def _instant(name: str, value: Any) -> int | Refusal | None:
    """ms since the epoch."""
    if value is None or isinstance(value, int):
        if value is not None and not 0 <= value <= LAST_MS:
            return Refusal("bad_value", f"{name} is {value}; write ms since the epoch or RFC 3339 with a zone")
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return Refusal("bad_value", f"{name} is not a time; write RFC 3339 with a zone, e.g. 2026-11-24T10:00:00Z")
    if moment.tzinfo is None:
        return Refusal("naive_time", f"{name} has no zone; write RFC 3339 with a zone, e.g. 2026-11-24T10:00:00Z")
    delta = moment - EPOCH  # of two aware times: no conversion that could leave the years 1 to 9999
    return delta.days * 86_400_000 + delta.seconds * 1000 + delta.microseconds // 1000


def _column(name: str, kind: Any, values: Sequence[Any]) -> pl.Series:
    if isinstance(kind, pl.List):
        if not isinstance(kind.inner, pl.Struct):
            return pl.Series(name, [value or [] for value in values], kind)
        return _lists(name, kind, values)
    if values.count(None) == len(values):
        return pl.Series(name, [None], kind).new_from_index(0, len(values))
    return (
        pl.Series(name, list(values), pl.Int64).cast(INSTANT)
        if kind == INSTANT
        else pl.Series(name, list(values), kind)
    )


def _lists(name: str, kind: pl.List, values: Sequence[Any]) -> pl.Series:
    """Arrays of pairs; an object stands for the pairs that it holds. Built flat: a list of dicts a row costs ten times more."""
    first, second = (f.name for f in kind.inner.fields)  # type: ignore[union-attr]  # our arrays hold structs
    rows, pairs = list[int](), list[tuple[Any, Any]]()
    for row, value in enumerate(values):
        if value:
            found = (
                value.items() if isinstance(value, dict) else [(getattr(v, first), getattr(v, second)) for v in value]
            )
            pairs += found
            rows += [row] * len(found)
    empty = pl.Series(name, [[]], kind).new_from_index(0, len(values))
    if not rows:
        return empty
    flat = pl.DataFrame(pairs, kind.inner.to_schema(), orient="row")  # type: ignore[union-attr]
    grouped = flat.to_struct(name).to_frame().with_columns(row=pl.Series(rows, dtype=pl.UInt32))
    filled = grouped.group_by("row", maintain_order=True).agg(pl.col(name))
    return empty.to_frame().with_row_index("row").update(filled, on="row")[name]
