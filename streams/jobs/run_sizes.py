"""Limits of runs, conversations and sessions proposed from how large they were: 99 % of them stay below, with room on top."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from clickhouse_connect.driver.client import Client

from streams.jobs.baseline import rounded_up
from streams.warehouse.queries import run_query

RUNS = ("run_id", "conversation_id", "session_id", "workflow_id")
LEAST_RUNS = 100  # of fewer the 99th percentile is the largest one
OPEN_MS = 3_600_000  # what was active so recently may go on
FIGURES = ("iterations", "tokens", "tool_calls", "retries", "elapsed_ms", "cost")
STEPS = ((1_000, 120_000), (60_000, 7_200_000), (3_600_000, 10**15))  # ms: elapsed is told in these, up to there


@dataclass(frozen=True, slots=True)
class RunProposal:
    """Limits for each `each` of one value of `where`.

    sizes:  by figure [p50, p95, p99, largest]; cost in `currency`, of the `priced` runs only
    limits: by figure, p99 x uplift rounded up to three digits, elapsed to seconds, minutes or hours; none where p99 is 0
    open:   runs that were still going, so not counted
    """

    tenant: str
    where: dict[str, str]
    each: str
    currency: str | None
    runs: int
    open: int
    priced: int
    events: int
    sizes: dict[str, tuple[Decimal, ...]]
    limits: dict[str, Decimal]

    @property
    def is_short(self) -> bool:
        """Too few to speak of one in a hundred."""
        return self.runs < LEAST_RUNS


def read_runs(
    client: Client, each: str, by: Sequence[str], bounds: Mapping[str, str], tenants: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Rows of the query `usage_by_run`; `bounds`: its start and end."""
    asked = {"by": [*by, each], "each": each, "tenants": list(tenants), "open_ms": OPEN_MS, **bounds}
    return run_query(client, "usage_by_run", {name: value for name, value in asked.items() if name != "each"})


def propose_runs(rows: Sequence[Mapping[str, Any]], each: str, by: Sequence[str], uplift: Decimal) -> list[RunProposal]:
    """By tenant and value, those with most runs first; what names no value of `by` is left out."""
    found = [_proposal(row, each, by, uplift) for row in rows if int(row["runs"]) and "" not in row["values"]]
    return sorted(found, key=lambda p: (p.tenant, -p.runs, *p.where.values()))


def _proposal(row: Mapping[str, Any], each: str, by: Sequence[str], uplift: Decimal) -> RunProposal:
    currencies = sorted(row["in_currencies"])
    currency = currencies[0] if len(currencies) == 1 else None  # money of several is never compared
    sizes = {name: tuple(Decimal(str(v)) for v in row[name]) for name in FIGURES if name != "cost" or currency}
    limits = {name: rounded_up(found[2] * uplift) for name, found in sizes.items() if found[2] > 0}
    if "elapsed_ms" in limits:
        step = next(size for size, upto in STEPS if limits["elapsed_ms"] <= upto)
        limits["elapsed_ms"] = (limits["elapsed_ms"] / step).to_integral_value(ROUND_CEILING) * step
    for name in limits.keys() - {"cost"}:
        limits[name] = limits[name].to_integral_value(ROUND_CEILING)
    return RunProposal(
        tenant=row["tenant_id"],
        where=dict(zip(by, row["values"], strict=True)),
        each=each,
        currency=currency,
        runs=int(row["runs"]),
        open=int(row["open"]),
        priced=int(row["priced"]),
        events=int(row["events"]),
        sizes=sizes,
        limits=limits,
    )
