"""`usage-streams budgets forecast`: what forecasts would have said of periods that have ended, beside what came."""

import asyncio
import json
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer
from clickhouse_connect.driver.client import Client

from streams.catalog.calendars import Calendar
from streams.catalog.models import Catalog
from streams.catalog.validate import CatalogError
from streams.cli.commitments import published
from streams.cli.moments import now
from streams.cli.proposal_tables import as_text
from streams.cli.running import find_settings
from streams.cli.screen import Table, console, tell
from streams.jobs import baseline, ended
from streams.jobs.baseline import short
from streams.outside import Away
from streams.settings import Settings
from streams.warehouse.client import connect
from streams.watch.alerts import instant

MOST_ROWS = 40
HISTORY_DAYS = 92  # of ended periods that are looked at


def catalog_of(settings: Settings) -> tuple[Catalog | None, str]:
    """What is published, or why it is not known."""
    try:
        return asyncio.run(published(settings)).catalog, ""
    except (Away, CatalogError) as error:
        return None, str(error)


def ended_periods(
    client: Client, catalog: Catalog, first: date, today: date, ids: Sequence[str] = (), tenants: Sequence[str] = ()
) -> list[ended.Ended]:
    """Of every budget that days of usage can tell about; one query for each zone and set of dimensions. No tenants: all."""
    found, rows = list[ended.Ended](), dict[tuple[str, tuple[str, ...]], list[dict[str, Any]]]()
    end = int(now().timestamp() * 1000)
    for budget in catalog.budgets:
        if (ids and budget.id not in ids) or ended.why_not(budget) or not isinstance(budget.period, Calendar):
            continue
        key = budget.period.zone, tuple(ended.dimensions(budget))
        if key not in rows:
            since = first - timedelta(days=baseline.MOST_DAYS)
            rows[key] = baseline.read_days(client, key[1], since, today + timedelta(days=1), key[0], tenants)
        found += ended.ended(budget, rows[key], first, end)
    return [one for one in found if not tenants or one.tenant in tenants]


def one_of(given: str, known: Sequence[str], what: str) -> str:
    """What is not on the list is refused with the list."""
    if given not in known:
        raise typer.BadParameter(f"{what} {given}: there is none; take one of {', '.join(known)}")
    return given


def forecast_command(
    budget: list[str] = typer.Option([], help="Only this budget, by its id; may be given again."),
    days: int = typer.Option(HISTORY_DAYS, min=7, max=400, help="How far back periods are looked at."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object."),
    bootstrap: str | None = typer.Option(None, help="Kafka, host:port."),
    clickhouse_url: str | None = typer.Option(None, help="ClickHouse over HTTP."),
    data: Path | None = typer.Option(None, help="Folder of the stack."),
) -> None:
    """Show what forecasts would have said of periods that have ended, beside what came.

    Example: [bold]usage-streams budgets forecast --budget tenant-month[/bold]
    """
    settings, today = find_settings(bootstrap, clickhouse_url, data), now().date()
    catalog = asyncio.run(published(settings)).catalog
    known = [b.id for b in catalog.budgets]
    for name in budget:
        one_of(name, known, "budget")
    client = connect(settings.clickhouse_url)
    found = [one for one in ended_periods(client, catalog, today - timedelta(days=days), today, budget) if one.said]
    silent = {b.id: why for b in catalog.budgets if (not budget or b.id in budget) and (why := ended.why_not(b))}
    if as_json:
        tell(
            json.dumps(
                {"periods": [_period(one) for one in found], "without": silent, **_summary(found)}, default=as_text
            )
        )
        return
    screen = console()
    if found:
        table = Table("scope", "period", box=None)
        for name in ("used", *(f"said at {g * 100:.0f} %" for g in ended.ASKED)):
            table.add_column(name, justify="right")
        for one in found[-MOST_ROWS:]:
            table.add_row(one.scope, f"{instant(one.start)[:10]}", short(one.used), *_cells(one))
        screen.print(table)
        summary = _summary(found)
        for gone in summary["at"]:
            screen.print(
                f"at {gone['gone']} of a period: mean error {gone['error']} of what was used, the interval of 80 % held in"
                f" {gone['held']} of {gone['asked']}"
            )
    else:
        screen.print(f"no period of a budget ended within {days} days with enough history before it")
    for name, why in silent.items():
        screen.print(f"{name}: {why}")


def _cells(one: ended.Ended) -> list[str]:
    by_share = {said.gone: said for said in one.said}
    cells = []
    for gone in ended.ASKED:
        said = by_share.get(gone)
        error = one.error(said) if said else None
        mark = "" if said is None or one.held(said) else " !"
        cells.append(
            "-"
            if said is None
            else f"{short(Decimal(str(said.outlook.mid)))} ({'' if error is None else f'{error:+.0%}'}){mark}"
        )
    return cells


def _period(one: ended.Ended) -> dict[str, Any]:
    said = [
        {"gone": s.gone, "low": f"{s.outlook.low:.6g}", "mid": f"{s.outlook.mid:.6g}", "high": f"{s.outlook.high:.6g}",
         "held": one.held(s), "error": None if (e := one.error(s)) is None else f"{e:.4f}"}
        for s in one.said
    ]  # fmt: skip
    return {"scope": one.scope, "start": instant(one.start), "end": instant(one.end), "used": one.used, "said": said}


def _summary(found: Sequence[ended.Ended]) -> dict[str, Any]:
    rows = []
    for gone in ended.ASKED:
        asked = [(one, s) for one in found for s in one.said if s.gone == gone]
        if not asked:
            continue
        errors = [abs(e) for one, s in asked if (e := one.error(s)) is not None]
        held = sum(one.held(s) for one, s in asked)
        error = f"{sum(errors) / len(errors):.0%}" if errors else "unknown"
        rows.append({"gone": f"{gone:.0%}", "asked": len(asked), "held": held, "error": error})
    return {"at": rows}


def register(verbs: typer.Typer) -> None:
    """Mount the verb under `budgets`."""
    verbs.command("forecast")(forecast_command)
