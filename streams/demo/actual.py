"""What came of the replay, asked of the product by SQL, beside what it must be."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from clickhouse_connect.driver.client import Client

from streams.demo.expected import Expected
from streams.warehouse.queries import run_query

RUNS = "SELECT uniqExact(run_id) FROM usage.usage_events WHERE tenant_id = {t:String}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    what: str
    expected: int | Decimal | str
    actual: int | Decimal | str

    @property
    def same(self) -> bool:
        return self.expected == self.actual


def stored(client: Client, tenant: str) -> int:
    """Events of the tenant that SQL can see."""
    return int(_one(client, "SELECT count() FROM usage.usage_events WHERE tenant_id = {t:String}", tenant))


def firing(client: Client, tenant: str, ever: bool = False) -> set[tuple[str, str, str]]:
    """(budget or rule, what it is about, threshold) of the tenant's alerts that fire, or that ever did.

    A rule of a day resolves when its day ends, which may be in the middle of a demo.
    """
    rows = client.query(
        "SELECT budget_id, scope, toString(threshold) FROM usage.alerts"
        " WHERE tenant_id = {t:String} AND (state = 'firing' OR {ever:Bool})",
        parameters={"t": tenant, "ever": ever},
    ).result_rows
    return {(b, scope.rpartition("=")[2], str(Decimal(t).normalize())) for b, scope, t in rows}


def cost_of_run(client: Client, tenant: str, run: str) -> Decimal:
    """What a run costs as it stands now; what was voided is none of it."""
    sql = "SELECT sum(effective_cost) FROM usage.usage_events WHERE tenant_id = {t:String} AND run_id = {r:String}"
    return Decimal(client.query(sql, parameters={"t": tenant, "r": run}).result_rows[0][0] or 0)


def _one(client: Client, sql: str, tenant: str) -> Any:
    return client.query(sql, parameters={"t": tenant}).result_rows[0][0]


def _sums(client: Client, column: str, tenant: str) -> dict[str, Decimal]:
    sql = (
        f"SELECT {column}, sum(effective_cost) FROM usage.usage_daily"  # noqa: S608 - a column of ours
        f" WHERE tenant_id = {{t:String}} AND effective_cost IS NOT NULL GROUP BY {column}"
    )
    return {str(name): cost for name, cost in client.query(sql, parameters={"t": tenant}).result_rows}


def compare(client: Client, tenant: str, wanted: Expected, must_fire: set[tuple[str, str, str]]) -> list[Line]:
    """Every figure that the demo promises."""
    lines = [
        Line("events", wanted.events, stored(client, tenant)),
        Line("runs", len(wanted.runs), int(_one(client, RUNS, tenant))),
        Line(
            "without a price",
            wanted.unpriced,
            int(
                _one(client, "SELECT sum(unpriced_events) FROM usage.usage_daily WHERE tenant_id = {t:String}", tenant)
            ),
        ),
    ]
    found = client.query(
        "SELECT bucket, sum(quantity) FROM usage.usage_lines WHERE tenant_id = {t:String} GROUP BY bucket",
        parameters={"t": tenant},
    ).result_rows
    tokens = {str(bucket): int(count) for bucket, count in found}
    lines += [
        Line(f"tokens {bucket}", wanted.tokens.get(bucket, 0), tokens.get(bucket, 0))
        for bucket in sorted({*wanted.tokens, *tokens})
    ]
    for title, column, sums in (("team", "team", wanted.by_team), ("model", "model", wanted.by_model)):
        there = _sums(client, column, tenant)
        for name in sorted({*sums, *there}):
            nothing = Decimal(0)
            lines.append(Line(f"USD {title} {name}", sums.get(name, nothing), there.get(name, nothing).normalize()))
    alarms = firing(client, tenant, ever=True)
    for budget, about, threshold in sorted({*must_fire, *alarms}):
        this = (budget, about, threshold)
        words = ["fires" if this in group else "silent" for group in (must_fire, alarms)]
        lines.append(Line(f"alert {budget} {about} at {threshold}", *words))
    return lines


def latencies(client: Client, tenant: str) -> dict[str, dict[str, float]]:
    """until -> p50_ms, p99_ms."""
    rows = [r for r in run_query(client, "latency") if r["tenant_id"] == tenant]
    return {str(r["until"]): {k: float(str(r[k])) for k in ("p50_ms", "p99_ms")} for r in rows}


def unpriced(client: Client, tenant: str) -> int:
    """Events of the tenant without a cost."""
    sql = "SELECT count() FROM usage.usage_events WHERE tenant_id = {t:String} AND effective_cost IS NULL"
    return int(_one(client, sql, tenant))


def corrected(client: Client, tenant: str) -> Decimal:
    """What runs of corrections added to the tenant's cost, as the audit table has it."""
    sql = (
        "SELECT sum(ifNull(new_effective_cost, toDecimal128(0, 18)) - ifNull(old_effective_cost, toDecimal128(0, 18)))"
        " FROM usage.adjustments WHERE tenant_id = {t:String}"
    )
    return Decimal(_one(client, sql, tenant))


def compare_after(client: Client, tenant: str, before: Expected, after: Expected, model: str) -> list[Line]:
    """Every figure that a price for `model` changes, and that the others stand."""
    there, teams = _sums(client, "model", tenant), _sums(client, "team", tenant)
    lines = [
        Line("without a price", after.unpriced, unpriced(client, tenant)),
        Line(f"USD model {model}", after.by_model[model], there.get(model, Decimal(0)).normalize()),
        Line(
            "USD the difference", after.by_model[model] - before.by_model[model], corrected(client, tenant).normalize()
        ),
    ]
    lines += [
        Line(f"USD team {t}", after.by_team[t], teams.get(t, Decimal(0)).normalize()) for t in sorted(after.by_team)
    ]
    return lines
