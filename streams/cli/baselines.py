"""`usage-streams budgets propose`: limits from what was used, for people, for machines, as a file to apply."""

import json
import shlex
import sys
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

import typer

from streams.catalog.dimensions import DIMENSIONS
from streams.catalog.models import Catalog
from streams.catalog.registries import is_attribute
from streams.cli.forecasts import HISTORY_DAYS, catalog_of, ended_periods, one_of
from streams.cli.moments import now
from streams.cli.proposal_tables import Asked, as_json, as_text, runs_as_json, show, show_runs
from streams.cli.running import find_settings
from streams.cli.screen import tell
from streams.jobs import baseline, ended, proposed, run_sizes
from streams.jobs.baseline import LEAST_DAYS, MOST_DAYS, Period, Unit
from streams.warehouse.client import connect


def _dimensions(given: str) -> list[str]:
    found = [name.strip() for name in given.split(",") if name.strip()]
    for name in found:
        if not is_attribute(name):
            one_of(name, DIMENSIONS, "dimension")
    return list(dict.fromkeys(n for n in found if n != "tenant_id"))  # a proposal is of one tenant anyway


def _uplift(given: str) -> Decimal:
    try:
        found = Decimal(given)
        is_usual = Decimal(1) <= found <= Decimal(2)  # NaN is not to be compared
    except InvalidOperation as error:
        raise typer.BadParameter(f"uplift {given}: is no factor; write 1.15 for 15 % on top") from error
    if not is_usual:
        raise typer.BadParameter(
            f"uplift {given}: is out of bounds; 1.10 to 1.20 of the baseline is usual, 1 to 2 possible"
        )
    return found


def _zone(given: str) -> str:
    try:
        ZoneInfo(given)
    except (KeyError, ValueError, OSError) as error:
        raise typer.BadParameter(f"zone {given}: is unknown; write an IANA name such as Europe/Berlin") from error
    return given


def propose_command(
    by: str = typer.Option("team", help="Dimensions: a budget for each value, such as team or team,model."),
    each: str | None = typer.Option(
        None, help="Limits of runs instead: run_id, conversation_id, session_id, workflow_id."
    ),
    days: int = typer.Option(60, min=LEAST_DAYS, max=MOST_DAYS, help="How far back, without today."),
    uplift: str = typer.Option("1.15", help="On top of the baseline; 1.10 to 1.20 is usual."),
    period: str = typer.Option("month", help="day, week, month or quarter."),
    unit: str = typer.Option("cost", help="cost or tokens."),
    zone: str = typer.Option("UTC", help="In which days and periods begin."),
    tenant: list[str] = typer.Option([], help="Of these tenants only; may be given again."),
    anyway: bool = typer.Option(False, help="Also what has too little history."),
    out: Path | None = typer.Option(None, help="Write a catalog file, ready to apply."),
    machine: bool = typer.Option(False, "--json", help="One JSON object."),
    bootstrap: str | None = typer.Option(None, help="Kafka, host:port."),
    clickhouse_url: str | None = typer.Option(None, help="ClickHouse over HTTP."),
    data: Path | None = typer.Option(None, help="Folder of the stack."),
) -> None:
    """Propose limits from 30 to 60 days of usage, with the evidence; exit 1 when there is too little of it.

    Example: [bold]usage-streams budgets propose --by team --uplift 1.15 --out proposed.toml[/bold]
    """
    if each is not None:
        one_of(each, run_sizes.RUNS, "each")
    if out is not None and out.exists():
        raise typer.BadParameter(f"{out}: is there already; choose another name or remove it")
    every: Period = one_of(period, get_args(Period), "period")  # type: ignore[assignment]
    what: Unit = one_of(unit, get_args(Unit), "unit")  # type: ignore[assignment]
    asked = Asked(what, every, _uplift(uplift), days, anyway)
    dims, settings = [d for d in _dimensions(by) if d != each], find_settings(bootstrap, clickhouse_url, data)
    client, today = connect(settings.clickhouse_url), now().astimezone(ZoneInfo(_zone(zone))).date()
    first = today - timedelta(days=days)
    catalog, unknown = catalog_of(settings)
    if each is not None:
        rows = run_sizes.read_runs(client, each, dims, baseline.span(first, today, zone), tenant)
        sizes = run_sizes.propose_runs(rows, each, dims, asked.uplift)
        runs = [p for p in sizes if anyway or not p.is_short]
        toml = proposed.runs_toml(runs, _command(), asked.uplift, first, today, _ids(catalog)) if runs else ""
        if not machine:
            show_runs(sizes, asked)
        _tell(runs_as_json(sizes) if machine else None, toml, out)
        _refuse(bool(runs), f"{sum(p.runs for p in sizes):,} of {each} ended in {days} days", "100", bool(sizes))
        return
    rows = baseline.read_days(client, dims, first, today, zone, tenant)
    found = baseline.propose(rows, dims, what, every, asked.uplift, first, today)
    budgets = [p for p in found.proposals if anyway or not p.is_short]
    toml = (
        proposed.budgets_toml(budgets, _command(), what, every, zone, asked.uplift, today, _ids(catalog))
        if budgets
        else ""
    )
    since = today - timedelta(days=HISTORY_DAYS)
    idle = ended.under_used(ended_periods(client, catalog, since, today, tenants=tenant)) if catalog else []
    if not machine:
        show(found, asked, idle, unknown)
    _tell(as_json(found, asked, idle) if machine else None, toml, out)
    most = max((p.days for p in found.proposals), default=0)
    _refuse(bool(budgets), f"{most} days of usage at most", f"{LEAST_DAYS} days", bool(found.proposals))


def _command() -> str:
    """For the head of the file: how it came about."""
    return (
        f"usage-streams {shlex.join(sys.argv[1:])}" if sys.argv[1:2] == ["budgets"] else "usage-streams budgets propose"
    )


def _ids(catalog: Catalog | None) -> list[str]:
    """That are taken."""
    sections = (catalog.budgets, catalog.burn_rates, catalog.runs, catalog.rules) if catalog else ()
    return [thing.id for section in sections for thing in section]


def _tell(seen: dict[str, Any] | None, toml: str, out: Path | None) -> None:
    """What machines read, unless people were shown it; and the file."""
    if seen is not None:
        typer.echo(json.dumps(seen, default=as_text))
    if out is not None and toml:
        out.write_text(toml)
        if seen is None:
            tell(
                f"wrote {out}; move it into your catalog folder, then `usage-streams apply FOLDER --dry-run` shows the plan"
            )


def _refuse(is_ready: bool, there: str, wanted: str, is_some: bool) -> None:
    if not is_ready:
        remedy = "--anyway proposes from what there is" if is_some else "choose another --by, or send usage first"
        tell(f"usage-streams: too little history: {there}, a baseline takes {wanted}; {remedy}", err=True)
        raise typer.Exit(1)


def register(verbs: typer.Typer) -> None:
    """Mount the verb under `budgets`."""
    verbs.command("propose")(propose_command)
