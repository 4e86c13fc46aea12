"""What the watch publishes, as every reader takes it: checked once, where it enters. Anybody may write to a topic; a record
that is none is left out by all readers alike, with a word in the log, and stops nobody.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from streams.watch.coverage import TENANT, parse_key
from streams.watch.packed_record import PackedRecord, pack, standing_of, unpack
from streams.watch.scopes import dimensions_of, rule_of

Record = dict[str, Any]
Text = str | None
Name = Annotated[str, msgspec.Meta(min_length=1)]
COUNTS = ("events", "unpriced_events", "unpriced_tokens", "foreign_events")
INSTANTS = ("occurred_at", "detected_at", "since", "period_start", "period_end", "at")
AMOUNTS = ("value", "limit", "percent")
MOST_ZEROS = 1_000  # of an amount, before or behind the point: who shows it writes all of them


class Unreadable(ValueError):
    """No record of this topic; the message says why."""


class _Window(msgspec.Struct):
    name: Text = None
    kind: Text = None
    size: Text = None
    zone: Text = None


class _Contributor(msgspec.Struct):
    dimension: str
    value: Text = None
    amount: Text = None
    share: Text = None


class _Silenced(msgspec.Struct):
    id: str
    until: str
    reason: Text = None


class _Acknowledged(msgspec.Struct):
    by: Text = None
    at: Text = None
    note: Text = None


class _Forecast(msgspec.Struct):
    low: str
    mid: str
    high: str
    method: Text = None
    error_percent: Text = None
    exhausts_at: Text = None
    exhausts_from: Text = None


class _Raised(msgspec.Struct):
    """An exception in force."""

    id: str
    extra: str
    until: str
    used: str


class _Told(msgspec.Struct, kw_only=True):
    """Fields that alerts and enforcements share; what older writers left out is null."""

    tenant_id: str
    budget_id: str
    scope: str
    dimensions: dict[str, str] | None = None
    value: Text = None
    limit: Text = None
    unit: Text = None
    currency: Text = None
    detected_at: Text = None


class _Alert(_Told, kw_only=True):
    alert_id: Name
    revision: Annotated[int, msgspec.Meta(ge=0, le=2**31)]
    state: Literal["pending", "firing", "acknowledged", "resolved"]
    kind: str
    severity: str
    reason: Text = None
    threshold: Text = None
    percent: Text = None
    events: int | None = None
    unpriced_events: int | None = None
    owner: Text = None
    accountable: Text = None
    runbook: Text = None
    window: _Window | None = None
    period_start: Text = None
    period_end: Text = None
    occurred_at: str
    since: Text = None
    late: bool = False
    lateness_ms: int | None = None
    contributors: list[_Contributor] | None = None
    query: Text = None
    link: Text = None
    silenced: _Silenced | None = None
    acknowledged: _Acknowledged | None = None
    escalation: int | None = None
    deduplication_key: Text = None
    summary: Text = None
    parents: list[str] | None = None


class _Enforcement(_Told, kw_only=True):
    enforcement_id: Name
    kind: Text = None
    verdict: str
    previous: Text = None
    stop_reason: Text = None
    at: str
    text: Text = None
    exception: Text = None


_JSON = msgspec.json.Decoder()


def alert_of(value: bytes | None) -> Record:
    """A record of usage.alerts with all that it says. Raises Unreadable."""
    return _told(value, _Alert)


def read_alert(value: bytes | None) -> Record | None:
    """As `alert_of`; None when it is none."""
    try:
        return alert_of(value)
    except Unreadable:
        return None


def enforcement_of(value: bytes | None) -> Record:
    """A record of usage.enforcements with all that it says. Raises Unreadable."""
    return _told(value, _Enforcement)


def budget_of(key: bytes | None, value: bytes) -> Record:
    """A record of usage.budgets with all that it says, and what older writers left out. Raises Unreadable."""
    record = _decoded(value)
    found, _ = _standing(key, record)
    counts = {name: getattr(found, name) for name in COUNTS}
    return {"scope": (key or b"").decode(), "kind": found.kind, "currency": None} | counts | record


def standing_budget(key: bytes | None, value: bytes) -> tuple[PackedRecord, bytes]:
    """A record of usage.budgets as a check takes it, and the same packed. Raises Unreadable."""
    return _standing(key, _decoded(value))


def _decoded(value: bytes | None) -> Record:
    try:
        found = _JSON.decode(value or b"null")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Unreadable(str(error)) from error
    if not isinstance(found, dict):
        raise Unreadable(f"a {type(found).__name__}, no object")
    return found


def _told(value: bytes | None, shape: type[_Told]) -> Record:
    record = _decoded(value)
    try:
        found = msgspec.convert(record, shape)
        if TENANT not in dimensions_of(found.scope) or not rule_of(found.scope):
            raise Unreadable(f"scope {found.scope} is none")
        for name in INSTANTS:
            if (at := record.get(name)) is not None:
                datetime.fromisoformat(at).astimezone(UTC)
        _amounts(record.get(name) for name in AMOUNTS)
        _amounts(one.get("share") for one in record.get("contributors") or ())
    except (ArithmeticError, RecursionError, TypeError, ValueError) as error:
        raise Unreadable(str(error)) from error
    return dict.fromkeys(shape.__struct_fields__) | record


def _standing(key: bytes | None, record: Record) -> tuple[PackedRecord, bytes]:
    try:
        scope = (key or b"").decode()
        parse_key(scope)
        if record.get("scope", scope) != scope:
            raise Unreadable(f"says scope {record['scope']} under key {scope}")
        found = standing_of(record)
        packed = pack(found)
        unpack(packed)  # which checks what every field is
        _amounts((found.used, found.limit, found.base_limit, found.headroom, found.percent))
        _amounts((*found.limits.values(), *found.used_by.values()))
        if found.forecast:
            said = msgspec.convert(found.forecast, _Forecast)
            _amounts((said.low, said.mid, said.high))
        if found.exception:
            _amounts((msgspec.convert(found.exception, _Raised).used,))
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error
    return found, packed


def _amounts(given: Iterable[str | None]) -> None:
    for amount in given:
        if amount is None:
            continue
        number = Decimal(amount)
        if not number.is_finite() or abs(number.adjusted()) > MOST_ZEROS or len(amount) > MOST_ZEROS:
            raise Unreadable(f"{amount[:40]} is no amount")
