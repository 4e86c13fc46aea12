"""The record on usage.budgets of one scope: what gateways, agents and the check read. JSON; amounts are decimal strings."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from streams.catalog.limits import Budget, RunLimits
from streams.watch.alerts import instant
from streams.watch.budgets import figures_of_budget
from streams.watch.conditions import Stretch
from streams.watch.enforcement import user_text
from streams.watch.latencies import LATENCIES
from streams.watch.runs import TOOL, figures_of_run
from streams.watch.scopes import dimensions_of
from streams.watch.verdicts import Standing
from streams.watch.watched import PERIOD, Watched
from streams.watch.windows import Sums

PERCENTILES = {"p50": Decimal("0.5"), "p95": Decimal("0.95"), "p99": Decimal("0.99")}


def budget_record(
    known: Watched,
    key: str,
    stretches: Mapping[str, Stretch],
    standing: Standing,
    clock: int,
    extra: Decimal,
    stamp: tuple[str, int, int],
    sources: Mapping[str, int],
    parent: str | None = None,
    exception: Mapping[str, Any] | None = None,
    forecast: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Of a budget or a run; readers keep the highest stamp of a scope.

    extra:   what exceptions in force add to the limit; `exception` is the one that is shown
    stamp:   stream, partition and offset of usage.totals up to which everything is in
    sources: the same in offsets of the ledger, by "stream/partition"
    """
    rule, (start, end, sums) = known.rule, stretches[PERIOD]
    if not isinstance(rule, Budget | RunLimits):
        raise TypeError(f"{known.kind} {known.id}: has no record on usage.budgets; only budgets and runs have")
    figures = (
        figures_of_run(rule, sums, extra)
        if isinstance(rule, RunLimits)
        else figures_of_budget(rule, sums, standing, extra, key)
    )
    dimensions = dimensions_of(key)
    blocks = standing.verdict != "allow"
    return {
        "scope": key,
        "tenant_id": dimensions["tenant_id"],
        "budget_id": known.id,
        "kind": known.kind,
        "dimensions": dimensions,
        **figures,
        "percent": None if standing.percent is None else str(standing.percent),
        "binding": standing.binding or None,
        "verdict": standing.verdict,
        "would_be": standing.would_be,
        "step": standing.step,
        "stop_reason": standing.binding if blocks else None,
        "fail": rule.fail,
        "stale_after_ms": rule.stale_after,
        "text": user_text(known, key, standing) if blocks else "",
        "parent": parent,
        "exception": None if exception is None else dict(exception),
        "forecast": None if forecast is None else dict(forecast),
        "measures": measures_of(known, sums),
        "period": known.window(PERIOD).kind,
        "events": sums.events,
        "unpriced_events": sums.unpriced,
        "unpriced_tokens": sums.unpriced_tokens,
        "foreign_events": sums.foreign,
        "period_start": instant(start),
        "period_end": instant(end),
        "as_of": instant(clock),
        "stamp": {"stream": stamp[0], "partition": stamp[1], "offset": stamp[2]},
        "sources": dict(sources),
    }


def measures_of(known: Watched, sums: Sums) -> dict[str, Any]:
    """What the scope counts beside its limit: counters by name, latencies as percentiles in ms, repeats as the largest."""
    asked = known.scope.measures
    found: dict[str, Any] = {name: amount for name, amount in sorted(sums.extras.items()) if ":" not in name}
    for name in LATENCIES:
        if any(key.startswith(f"{name}:") for key in sums.extras):
            found[name] = {label: sums.percentile(name, q) for label, q in PERCENTILES.items()}
    if "repeats" in asked:
        found["repeats"] = max((n for key, n in sums.extras.items() if key.startswith(TOOL)), default=0)
    return found
