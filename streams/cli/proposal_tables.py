"""Proposals of budgets and run limits: as tables for people, as JSON for machines."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from streams.cli.query import plain
from streams.cli.screen import Screen, Table, console
from streams.jobs import ended, proposed
from streams.jobs.baseline import LEAST_DAYS, MOST_DAYS, Found, Period, Proposal, Unit, short
from streams.jobs.run_sizes import RunProposal
from streams.watch.alerts import text

MOST_ROWS = 40
Idle = list[tuple[str, list[ended.Ended]]]


class Asked(NamedTuple):
    """How proposals were asked for; `anyway`: also with too little history."""

    unit: Unit
    period: Period
    uplift: Decimal
    days: int
    anyway: bool


def show(found: Found, asked: Asked, idle: Idle, unknown: str) -> None:
    """Figures with their evidence; then what is in none of them, and why."""
    screen = console()
    ready = [p for p in found.proposals if asked.anyway or not p.is_short]
    if ready:
        _table(screen, ready, asked)
    for p in ready[:MOST_ROWS]:
        for one in p.left_out:
            screen.print(f"{_named(p)}: left out {one}")
    for line in _beside(found, asked, idle):
        screen.print(line)
    if unknown:
        screen.print(f"under-used budgets were not looked for: {unknown}")


def _table(screen: Screen, ready: Sequence[Proposal], asked: Asked) -> None:
    table = Table("scope", "of", box=None)
    for name in (f"limit a {asked.period}", "mean day", "median", "p95", "largest", "days", "unpriced", "trend"):
        table.add_column(name, justify="right")
    table.add_column("largest on")
    for p in ready[:MOST_ROWS]:
        figures = (f"{short(p.limit)} {p.currency or asked.unit}", *map(short, (p.mean, p.median, p.p95, p.largest)))
        share = f"{p.unpriced * 100:.1f} %" if p.unpriced else "-"
        more = (f"{p.used_days}/{p.days}", share, proposed.percent(p.trend), f"{p.largest_on}")
        table.add_row(_named(p), p.tenant, *figures, *more)
    screen.print(table)
    if len(ready) > MOST_ROWS:
        screen.print(f"{len(ready) - MOST_ROWS} more with --json or --out")
    first, last = min(p.first for p in ready), max(p.last for p in ready)
    months = ", ".join(sorted({m for p in ready for m in p.months}))
    screen.print(f"limit = baseline x {text(asked.uplift)}; baselines of {first} to {last}: {months}")
    if asked.period in {"month", "quarter"} and asked.days < MOST_DAYS:
        screen.print("one month is not like another; --days 60 covers two")


def _beside(found: Found, asked: Asked, idle: Idle) -> Iterator[str]:
    """What people should know of what is not in the table."""
    for p in found.short if not asked.anyway else ():
        yield f"{_named(p)}: {p.days} days since {p.first}, too few; {LEAST_DAYS} on {p.first + timedelta(days=LEAST_DAYS)}"
    for tenant, where, events in found.unpriced:
        named = ", ".join(where.values()) or tenant
        yield f"{named}: none of {events:,} events has a price; `usage-streams query unpriced_models` says why"
    if found.nameless:
        yield f"{found.nameless:,} of {found.events:,} events name no value of --by: they are in no proposal"
    for scope, periods in idle:
        most, limit = max(one.used for one in periods), periods[-1].budget.limit or Decimal(0)
        yield f"{scope}: under-used, {most / limit * 100:.0f} % of {short(limit)} at most in {len(periods)} ended periods"


def _named(p: Proposal | RunProposal) -> str:
    return ", ".join(p.where.values()) or p.tenant


def show_runs(found: Sequence[RunProposal], asked: Asked) -> None:
    """Percentiles and the limits that come of them."""
    screen = console()
    for p in found[:MOST_ROWS]:
        if p.is_short and not asked.anyway:
            screen.print(f"{_named(p)}: {p.runs} of {p.each} ended, 100 are needed")
            continue
        screen.print(f"{_named(p)} ({p.tenant})")
        for line in proposed.run_evidence(p, asked.uplift):
            screen.print(f"  {line}")
        limits = {n: proposed.shown_limit(n, v, p.currency) for n, v in p.limits.items()}
        screen.print("  limits: " + ", ".join(f"{n.removesuffix('_ms')} {said}" for n, said in limits.items()))


def as_json(found: Found, asked: Asked, idle: Idle) -> dict[str, Any]:
    """The same for machines."""
    names = [n for n in Proposal.__dataclass_fields__ if n != "left_out"]
    return {
        "period": asked.period,
        "uplift": asked.uplift,
        "events": found.events,
        "nameless_events": found.nameless,
        "proposals": [
            {**{n: getattr(p, n) for n in names}, "months": list(p.months), "left_out": list(p.left_out)}
            for p in found.proposals
        ],
        "unpriced": [{"tenant": t, "where": w, "events": n} for t, w, n in found.unpriced],
        "under_used": [
            {"scope": s, "periods": len(p), "most": max(o.used for o in p), "limit": p[-1].budget.limit}
            for s, p in idle
        ],
    }


def runs_as_json(found: Sequence[RunProposal]) -> dict[str, Any]:
    """The same for machines."""
    return {
        "proposals": [
            {n: getattr(p, n) for n in RunProposal.__dataclass_fields__} | {"is_short": p.is_short} for p in found
        ]
    }


def as_text(value: Any) -> Any:
    """What JSON has no kind for: money as a string."""
    return text(value) if isinstance(value, Decimal) else plain(value)
