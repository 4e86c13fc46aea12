"""A record of usage.budgets as a check keeps it: packed, since a million of them stand in the memory of a door."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

HEARTBEAT = "_heartbeat/"  # keys of usage.budgets that are no scope: one a partition of usage.totals


class PackedRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the watch last published of one scope; amounts are decimal strings, instants are ms since the epoch.

    limits, used: of a run, by measure; a budget has one of each in `limit` and `used`
    until:        when the exception in force ends
    """

    tenant_id: str
    budget_id: str
    kind: str
    dimensions: dict[str, str]
    unit: str
    currency: str | None
    used: str
    limit: str | None
    base_limit: str | None
    headroom: str | None
    percent: str | None
    verdict: str
    would_be: str | None
    step: str | None
    text: str | None
    binding: str | None
    parent: str | None
    exception: dict[str, Any] | None
    until: int | None
    forecast: dict[str, Any] | None
    limits: dict[str, str]
    used_by: dict[str, str]
    measures: dict[str, Any]
    events: int
    unpriced_events: int
    unpriced_tokens: int
    foreign_events: int
    period_start: int | None
    period_end: int | None
    as_of: int
    stream: str
    offset: int
    sources: dict[str, int]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(PackedRecord)


def pack(standing: PackedRecord) -> bytes:
    """A few hundred bytes instead of a tree of objects."""
    return _ENCODER.encode(standing)


def unpack(packed: bytes) -> PackedRecord:
    """What `pack` made."""
    return _DECODER.decode(packed)


def ms_of(instant: str | None) -> int | None:
    """RFC 3339 -> ms since the epoch."""
    return None if instant is None else round(datetime.fromisoformat(instant).timestamp() * 1000)


def standing_of(record: Mapping[str, Any]) -> PackedRecord:
    """A record of usage.budgets. What older writers left out is null; KeyError or ValueError: it is none."""
    exception, stamp = record.get("exception"), record["stamp"]
    limits, used_by = _measures(record)
    return PackedRecord(
        tenant_id=record["tenant_id"],
        budget_id=record["budget_id"],
        kind=record.get("kind", "budget"),
        dimensions=record.get("dimensions") or {},
        unit=record["unit"],
        currency=record.get("currency"),
        used=record["used"],
        limit=record.get("limit"),
        base_limit=record.get("base_limit") or record.get("limit"),
        headroom=record.get("headroom"),
        percent=record.get("percent"),
        verdict=record["verdict"],
        would_be=record.get("would_be"),
        step=record.get("step"),
        text=record.get("text"),
        binding=record.get("binding"),
        parent=record.get("parent"),
        exception=exception,
        until=ms_of(exception.get("until")) if exception else None,
        forecast=record.get("forecast"),
        limits=limits,
        used_by=used_by,
        measures=record.get("measures") or {},
        events=record.get("events", 0),
        unpriced_events=record.get("unpriced_events", 0),
        unpriced_tokens=record.get("unpriced_tokens", 0),
        foreign_events=record.get("foreign_events", 0),
        period_start=ms_of(record.get("period_start")),
        period_end=ms_of(record.get("period_end")),
        as_of=ms_of(record["as_of"]) or 0,
        stream=stamp["stream"],
        offset=stamp["offset"],
        sources=record.get("sources") or {},
    )


def _measures(record: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Limits of a run and what is used of each: side by side under `limits`, or apart."""
    limits, used = dict[str, str](), {k: str(v) for k, v in (record.get("used_by") or {}).items()}
    for name, found in (record.get("limits") or {}).items():
        if isinstance(found, Mapping):
            limits[name], used[name] = str(found["limit"]), str(found["used"])
        else:
            limits[name] = str(found)
    return limits, used
