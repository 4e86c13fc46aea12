"""Usage events as JSON with the field names of the Avro schema, and CloudEvents in binary mode."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from streams.pipeline.frames import Record

INT64 = 1 << 63
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Refusal(NamedTuple):
    """Why a record is refused: a code that keeps its meaning, and a line for people without content."""

    reason: str
    detail: str


class CloudEvent(NamedTuple):
    """Of CloudEvents headers; empty where there are none."""

    event_id: str = ""
    time: str = ""


class EventReader:
    """JSON to a row of the reader schema, or its refusal. Unknown fields are ignored, as Avro resolution does."""

    def __init__(self, schema: Any) -> None:
        self._kinds = {f["name"]: _kind(f["type"]) for f in schema["fields"]}
        self._required = [f["name"] for f in schema["fields"] if "default" not in f]
        self._decode = msgspec.json.Decoder(dict[str, Any]).decode

    def read(self, record: Record) -> dict[str, Any] | Refusal:
        try:
            event = self._decode(record.value or b"")
        except UnicodeDecodeError:
            return Refusal("invalid_utf8", "json: a string is not UTF-8")
        except RecursionError:
            return Refusal("undecodable", "json: nested too deep")
        except msgspec.DecodeError as error:
            bad_text = "utf-8" in str(error).lower()
            return Refusal("invalid_utf8" if bad_text else "undecodable", f"json: {error}")
        if record.headers:
            named = cloud_event(record.headers)
            if isinstance(named, Refusal):
                return named
            event |= {"event_time": named.time} if named.time and "event_time" not in event else {}
            event |= {"event_id": named.event_id} if named.event_id else {}
        row: dict[str, Any] = {}
        for name, kind in self._kinds.items():
            value = event.get(name)
            if value is None:
                if name in self._required:
                    return Refusal("missing_field", f"{name} is required")
                continue
            reason = _convert(row, name, kind, value)
            if reason:
                return reason
        return row


def cloud_event(headers: Sequence[tuple[str, bytes]]) -> "CloudEvent | Refusal":
    """What the headers of binary mode say. `source` and `id` identify a CloudEvent together: both become the event's id."""
    found = dict(headers)
    if "ce_id" not in found or "ce_source" not in found:
        return CloudEvent()
    try:
        source, name, time = (found.get(n, b"").decode() for n in ("ce_source", "ce_id", "ce_time"))
    except UnicodeDecodeError:
        return Refusal("invalid_utf8", "a CloudEvents header is not UTF-8")
    return CloudEvent(f"{source}#{name}", time)


def _kind(avro: Any) -> Any:
    match avro:
        case ["null", inner]:
            return _kind(inner)
        case {"logicalType": "timestamp-millis"}:
            return "instant"
        case {"type": "array", "items": {"fields": fields}}:
            return {f["name"]: f["type"] for f in fields}
        case _:
            return avro


def _convert(row: dict[str, Any], name: str, kind: Any, value: Any) -> Refusal | None:
    if kind == "instant":
        return _instant(row, name, value)
    if kind == "long":
        if type(value) is not int or not -INT64 <= value < INT64:
            return Refusal("bad_value", f"{name} is {type(value).__name__}; write a whole number of 64 bits")
    elif kind == "string":
        if type(value) is not str:
            if name != "usage_json" or not isinstance(value, dict):
                return Refusal("bad_value", f"{name} is {type(value).__name__}; write a string")
            value = msgspec.json.encode(value).decode()  # the block itself is welcome too
    elif kind == "boolean":
        if type(value) is not bool:
            return Refusal("bad_value", f"{name} is {type(value).__name__}; write true or false")
    else:
        return _items(row, name, kind, value)
    row[name] = value
    return None


def _instant(row: dict[str, Any], name: str, value: Any) -> Refusal | None:
    if type(value) is int:
        if not 0 <= value < 253_402_300_800_000:
            return Refusal("bad_value", f"{name} is {value}; write ms since the epoch or RFC 3339 with a zone")
        row[name] = value
        return None
    if type(value) is not str:
        return Refusal(
            "bad_value", f"{name} is {type(value).__name__}; write ms since the epoch or RFC 3339 with a zone"
        )
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return Refusal("bad_value", f"{name} is not a time; write RFC 3339 with a zone, e.g. 2026-11-24T10:00:00Z")
    if moment.tzinfo is None:
        return Refusal("naive_time", f"{name} has no zone; write RFC 3339 with a zone, e.g. 2026-11-24T10:00:00Z")
    delta = moment - EPOCH  # of two aware times: no conversion that could leave the years 1 to 9999
    row[name] = delta.days * 86_400_000 + delta.seconds * 1000 + delta.microseconds // 1000
    return None


def _items(row: dict[str, Any], name: str, fields: dict[str, str], value: Any) -> Refusal | None:
    if name == "attributes" and isinstance(value, dict):
        value = [{"key": k, "value": v} for k, v in value.items()]
    if name == "quantities" and isinstance(value, dict):
        value = [{"bucket": k, "amount": v} for k, v in value.items()]
    if not isinstance(value, list):
        return Refusal("bad_value", f"{name} is {type(value).__name__}; write an array")
    items: list[dict[str, Any]] = []
    for item in value:
        if not isinstance(item, dict) or set(item) != set(fields):
            return Refusal("bad_value", f"{name} holds something else than {{{', '.join(fields)}}}")
        own: dict[str, Any] = {}
        for key, kind in fields.items():
            if reason := _convert(own, key, kind, item[key]):
                return Refusal(reason.reason, f"{name}: {reason.detail}")
        items.append(own)
    row[name] = items
    return None
