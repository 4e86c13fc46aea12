"""Rated rows as totals need them, made without a meter; and the totals of them by plain Python."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

import polars as pl

from streams.pipeline.frames import INSTANT, MONEY
from streams.pipeline.rate import LINE
from streams.tokens.buckets import NOT_TOKENS, SIDES
from streams.watch.latencies import LATENCIES, bin_of
from streams.watch.scopes import OTHERS, Scope, key_of

TEXTS = (
    "tenant_id",
    "provider",
    "model",
    "team",
    "user_id",
    "workload_id",
    "retry_of",
    "error_type",
    "completion_state",
)
COUNTS = ("attempt", "http_status", "tool_calls", "latency_ms", "time_to_first_token_ms")
RATED = pl.Schema(
    {
        "event_time": INSTANT,
        "append_time": INSTANT,
        **dict.fromkeys(TEXTS, pl.String()),
        **dict.fromkeys(COUNTS, pl.Int64()),
        "tool_call_hashes": pl.List(pl.String()),
        "attributes": pl.List(pl.Struct({"key": pl.String(), "value": pl.String()})),
        "lines": pl.List(LINE),
        "input_tokens": pl.Int64(),
        "total_tokens": pl.Int64(),
        "effective_cost": MONEY,
        "currency": pl.String(),
        "is_deleted": pl.UInt8(),
    }
)
Row = dict[str, Any]


def row(at: int, buckets: dict[str, int] | None = None, cost: str | None = "0", **other: Any) -> Row:
    """One event at `at` ms, appended at once; its lines are its buckets, its tokens their sums."""
    found = {"input_uncached": 10} if buckets is None else buckets
    lines = [
        {"bucket": b, "quantity": n, "unit_price": None, "amount": None, "price_id": None} for b, n in found.items()
    ]
    tokens = {side: sum(n for b, n in found.items() if _side(b) == side) for side in SIDES}
    empty: Row = dict.fromkeys(RATED.names())
    return empty | {
        "event_time": datetime.fromtimestamp(at / 1000, UTC),
        "append_time": datetime.fromtimestamp(at / 1000, UTC), "tenant_id": "acme", "lines": lines, "attributes": [],
        "input_tokens": tokens["input_"], "total_tokens": sum(tokens.values()), "tool_call_hashes": [],
        "effective_cost": None if cost is None else Decimal(cost), "currency": None if cost is None else "USD",
        "is_deleted": 0,
    } | other  # fmt: skip


def rated(rows: Sequence[Row]) -> pl.DataFrame:
    """The rows as a frame."""
    return pl.DataFrame(list(rows), RATED, orient="row")


def _side(bucket: str) -> str | None:
    """Whose tokens a bucket counts, if tokens it counts."""
    return next((s for s in SIDES if bucket.startswith(s) and bucket not in NOT_TOKENS), None)


def at_of(event: Row) -> int:
    """Event time in ms, that of its append where this was before."""
    found: int = round(min(event["event_time"], event["append_time"]).timestamp() * 1000)
    return found


def _is_retry(event: Row) -> bool:
    return (event["attempt"] or 0) > 1 or event["retry_of"] is not None


def _is_error(event: Row) -> bool:
    return (event["http_status"] or 0) >= 400 or event["error_type"] is not None or event["completion_state"] == "error"


def _tokens(event: Row, scope: Scope) -> int:
    if not scope.buckets:
        return int(event["total_tokens"] or 0)
    return sum(
        x["quantity"]
        for x in event["lines"]
        if _side(x["bucket"]) and any(fnmatchcase(x["bucket"], g) for g in scope.buckets)
    )


def _extras(event: Row, scope: Scope) -> dict[str, int]:
    counts = {"retries": int(_is_retry(event)), "tool_calls": event["tool_calls"] or 0, "errors": int(_is_error(event))}
    counts["throttled"] = int(event["http_status"] == 429 or "rate_limit" in (event["error_type"] or ""))

    def is_asked(name: str) -> bool:
        return any(fnmatchcase(name, g) for g in scope.measures)

    found = {name: n for name, n in counts.items() if is_asked(name)}
    for name in LATENCIES:
        if is_asked(name) and event[name] is not None:
            found[f"{name}:{bin_of(event[name])}"] = 1
    for line in event["lines"]:
        if is_asked(line["bucket"]):
            found[line["bucket"]] = found.get(line["bucket"], 0) + line["quantity"]
    for name in event["tool_call_hashes"] or () if is_asked("repeats") else ():
        found[f"tool:{name}"] = found.get(f"tool:{name}", 0) + 1
    return found


def _amount(event: Row, scope: Scope) -> Decimal:
    match scope.unit:
        case "cost":
            return event["effective_cost"] or Decimal(0)
        case "tokens":
            return Decimal(_tokens(event, scope))
        case "unpriced":
            return Decimal(event["effective_cost"] is None)
        case "retries":
            return Decimal(_is_retry(event))
        case _:
            return Decimal(1)


def value_of(event: Row, name: str) -> str | None:
    """A dimension's value."""
    if name.startswith("attributes."):
        return next((a["value"] for a in event["attributes"] if f"attributes.{a['key']}" == name), None)
    found: str | None = event[name]
    return found


def is_in(event: Row, scope: Scope) -> bool:
    """Whether an event belongs to one of the scope's totals."""
    return (
        scope.tenant in {"*", event["tenant_id"]}
        and all(value_of(event, name) == value for name, value in scope.where)
        and all(value_of(event, name) is not None for name in scope.each)
        and (scope.above is None or (event["input_tokens"] or 0) > scope.above)
    )


def scope_key(event: Row, scope: Scope) -> str:
    """Canonical key of the total that an event belongs to."""
    values = [(name, str(value_of(event, name))) for name in scope.each if name != "tenant_id"]
    if scope.split:
        value = value_of(event, scope.split[0])
        values.append((scope.split[0], value if value in scope.split[1] else OTHERS))
    return key_of(scope.id, event["tenant_id"], values)


def oracle(rows: Sequence[Row], scopes: Sequence[Scope]) -> dict[tuple[str, int, str], Row]:
    """TOTALS by key, as dicts; causes are all there, extras without zeros."""
    found: dict[tuple[str, int, str], Row] = {}
    for scope in scopes:
        for event in (e for e in rows if is_in(e, scope)):
            at, cost = at_of(event), event["effective_cost"]
            key = scope_key(event, scope), at - at % scope.slice_ms, event["currency"] or ""
            zero = {"events": 0, "tokens": 0, "unpriced": 0, "unpriced_tokens": 0, "cost": Decimal(0)}
            sums = found.setdefault(key, {**zero, "first_ms": at, "last_ms": at, "extras": {}, "causes": {}})
            sums["events"] += 1
            sums["tokens"] += _tokens(event, scope)
            sums["unpriced"] += cost is None
            sums["unpriced_tokens"] += _tokens(event, scope) if cost is None else 0
            sums["cost"] += cost or Decimal(0)
            sums["first_ms"], sums["last_ms"] = min(sums["first_ms"], at), max(sums["last_ms"], at)
            for name, n in _extras(event, scope).items():
                sums["extras"][name] = sums["extras"].get(name, 0) + n
            for name in scope.contributors:
                if (value := value_of(event, name)) is not None:
                    sums["causes"][name, value] = sums["causes"].get((name, value), 0) + _amount(event, scope)
    for sums in found.values():
        sums["extras"] = {name: n for name, n in sums["extras"].items() if n}
        sums["causes"] = {name: n for name, n in sums["causes"].items() if n}
    return found


def as_found(frame: pl.DataFrame) -> dict[tuple[str, int, str], Row]:
    """A frame of TOTALS in the oracle's form."""
    found = {}
    for r in frame.iter_rows(named=True):
        extras = {x["name"]: x["amount"] for x in r["extras"] or ()}
        causes = {(x["dimension"], x["value"]): x["amount"] for x in r["causes"] or ()}
        key = r["scope"], r["slice"], r["currency"]
        found[key] = {k: v for k, v in r.items() if k not in {"scope", "slice", "currency"}} | {
            "extras": extras,
            "causes": causes,
        }
    return found
