"""Usage events as JSON with the field names of the Avro schema, and CloudEvents in binary mode."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from streams.pipeline.frames import Record

Reason = tuple[str, str]
INT64 = 1 << 63


class EventReader:
    """JSON to a row of the reader schema, or (reason, detail). Unknown fields are ignored, as Avro resolution does."""

    def __init__(self, schema: Any) -> None:
        self._kinds = {f["name"]: _kind(f["type"]) for f in schema["fields"]}
        self._required = [f["name"] for f in schema["fields"] if "default" not in f]
        self._decode = msgspec.json.Decoder(dict[str, Any]).decode

    def read(self, record: Record) -> dict[str, Any] | Reason:
        try:
            event = self._decode(record.value or b"")
        except msgspec.DecodeError as error:
            bad_text = "utf-8" in str(error).lower()
            return ("invalid_utf8" if bad_text else "undecodable"), f"json: {error}"
        if record.headers:
            self._cloud_event(event, dict(record.headers))
        row: dict[str, Any] = {}
        for name, kind in self._kinds.items():
            value = event.get(name)
            if value is None:
                if name in self._required:
                    return "missing_field", f"{name} is required"
                continue
            reason = _convert(row, name, kind, value)
            if reason:
                return reason
        return row

    @staticmethod
    def _cloud_event(event: dict[str, Any], headers: dict[str, bytes]) -> None:
        """`source` and `id` identify a CloudEvent together, so both become the event's id."""
        if "ce_id" in headers and "ce_source" in headers:
            event["event_id"] = f"{headers['ce_source'].decode()}#{headers['ce_id'].decode()}"
            if "ce_time" in headers:
                event.setdefault("event_time", headers["ce_time"].decode())


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


def _convert(row: dict[str, Any], name: str, kind: Any, value: Any) -> Reason | None:
    if kind == "instant":
        return _instant(row, name, value)
    if kind == "long":
        if type(value) is not int or not -INT64 <= value < INT64:
            return "bad_value", f"{name} is {type(value).__name__}; write a whole number of 64 bits"
    elif kind == "string":
        if type(value) is not str:
            if name != "usage_json" or not isinstance(value, dict):
                return "bad_value", f"{name} is {type(value).__name__}; write a string"
            value = msgspec.json.encode(value).decode()  # the block itself is welcome too
    elif kind == "boolean":
        if type(value) is not bool:
            return "bad_value", f"{name} is {type(value).__name__}; write true or false"
    else:
        return _items(row, name, kind, value)
    row[name] = value
    return None


def _instant(row: dict[str, Any], name: str, value: Any) -> Reason | None:
    if type(value) is int:
        if not 0 <= value < 253_402_300_800_000:
            return "bad_value", f"{name} is {value}; write ms since the epoch or RFC 3339 with a zone"
        row[name] = value
        return None
    if type(value) is not str:
        return "bad_value", f"{name} is {type(value).__name__}; write ms since the epoch or RFC 3339 with a zone"
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return "bad_value", f"{name} is not a time; write RFC 3339 with a zone, e.g. 2026-11-24T10:00:00Z"
    if moment.tzinfo is None:
        return "naive_time", f"{name} has no zone; write RFC 3339 with a zone, e.g. 2026-11-24T10:00:00Z"
    delta = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    row[name] = delta.days * 86_400_000 + delta.seconds * 1000 + delta.microseconds // 1000
    return None


def _items(row: dict[str, Any], name: str, fields: dict[str, str], value: Any) -> Reason | None:
    if name == "attributes" and isinstance(value, dict):
        value = [{"key": k, "value": v} for k, v in value.items()]
    if name == "quantities" and isinstance(value, dict):
        value = [{"bucket": k, "amount": v} for k, v in value.items()]
    if not isinstance(value, list):
        return "bad_value", f"{name} is {type(value).__name__}; write an array"
    items: list[dict[str, Any]] = []
    for item in value:
        if not isinstance(item, dict) or set(item) != set(fields):
            return "bad_value", f"{name} holds something else than {{{', '.join(fields)}}}"
        own: dict[str, Any] = {}
        for key, kind in fields.items():
            if reason := _convert(own, key, kind, item[key]):
                return reason[0], f"{name}: {reason[1]}"
        items.append(own)
    row[name] = items
    return None
