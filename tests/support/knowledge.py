"""What a door knows, made up: records of usage.budgets by scope, and how fresh they are."""

from dataclasses import dataclass, field
from typing import Any

from streams.watch.alerts import instant
from streams.watch.coverage import parse_key
from streams.watch.packed_record import PackedRecord, standing_of

NOW = 1_790_000_000_000
DAY = 86_400_000


@dataclass
class Known:
    """Implements `streams.watch.check.Knowledge`."""

    records: dict[str, PackedRecord] = field(default_factory=dict)
    fresh: int | None = NOW

    def standing(self, scope: str) -> PackedRecord | None:
        return self.records.get(scope)

    def fresh_ms(self, scope: str) -> int | None:
        return self.fresh

    def clock(self, scope: str) -> int:
        return NOW


def record(scope: str, used: str, limit: str | None = "10", **more: Any) -> dict[str, Any]:
    """A record as the watch writes it; it stops at the limit and warns at 80 %."""
    name, dims = parse_key(scope)
    share = float(used) / float(limit) if limit else 0
    verdict = "stop" if share >= 1 else "warn" if share >= 0.8 else "allow"
    return {
        "scope": scope,
        "tenant_id": dims["tenant_id"],
        "budget_id": name,
        "kind": "budget",
        "dimensions": dims,
        "unit": "cost",
        "currency": "USD",
        "used": used,
        "limit": limit,
        "base_limit": limit,
        "verdict": verdict,
        "would_be": verdict,
        "step": "stop",
        "events": 3,
        "period_start": instant(NOW - DAY),
        "period_end": instant(NOW + DAY),
        "as_of": instant(NOW - 500),
        "stamp": {"stream": "s1", "partition": 0, "offset": 7},
        "sources": {"s1/0": 41},
        **more,
    }


def knowing(*records: dict[str, Any], fresh: int | None = NOW) -> Known:
    return Known({r["scope"]: standing_of(r) for r in records}, fresh)
