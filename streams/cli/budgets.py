"""`usage-streams budgets`: what is used, what may still be spent. `propose`: cli/baselines.py, `forecast`: cli/forecasts.py."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer
from rich.text import Text

from streams.cli import baselines, forecasts
from streams.cli.running import find_settings
from streams.cli.screen import Table, console, marked, tell
from streams.jobs.baseline import short
from streams.kafka.budgets_log import read_budgets
from streams.kafka.client import KafkaClient
from streams.settings import Settings
from streams.watch.verdicts import share_of

MOST_ROWS = 40  # for people; --json has all
COLOURS = {"allow": "green", "report": "green", "warn": "yellow", "require_approval": "yellow", "stop": "red"}
BAR = 10
BOOTSTRAP = typer.Option(None, help="Kafka, host:port.")
DATA = typer.Option(None, help="Folder of the stack.")
verbs = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
Record = dict[str, Any]


async def states(settings: Settings) -> dict[str, Record]:
    """The newest record of each scope on usage.budgets."""
    kafka = KafkaClient(settings.bootstrap)
    try:
        return await read_budgets(kafka)
    finally:
        await kafka.close()


def share(record: Mapping[str, Any]) -> Decimal | None:
    """Used of the limit; None where nothing is limited."""
    return share_of(Decimal(record["used"]), Decimal(record["limit"])) if record.get("limit") else None


def amount(record: Mapping[str, Any], value: str | None) -> str:
    """With its unit, for people."""
    if value is None:
        return "-"
    unit = record["currency"] if record["unit"] == "cost" else record["unit"]
    return f"{short(Decimal(value))} {unit}"


def gauge(part: Decimal | None) -> str:
    """A share as percent and bar; only what is used up is full."""
    if part is None:
        return "no limit"
    full = min(int(part * BAR), BAR)
    return f"{part * 100:5.1f} % {'█' * full}{'░' * (BAR - full)}"


def verdict(record: Mapping[str, Any]) -> Text:
    """Coloured; what it would be without the ladder beside it."""
    said = str(record["verdict"])
    would = record.get("would_be")
    also = f" ({would})" if would and would != said else ""
    return Text.assemble(marked(said, COLOURS.get(said, "white")), also)


def expected(record: Mapping[str, Any]) -> str:
    """The forecast of the period's end, in one cell."""
    found = record.get("forecast")
    return (
        f"{short(Decimal(found['mid']))} ({short(Decimal(found['low']))} to {short(Decimal(found['high']))})"
        if found
        else "-"
    )


def when(text: str | None) -> str:
    """RFC 3339 as people read it, UTC."""
    return "" if text is None else text[:16].replace("T", " ")


def exhausts(record: Mapping[str, Any]) -> str:
    """When the limit is expected to be reached."""
    found = record.get("forecast") or {}
    if found.get("exhausts_at"):
        return when(found["exhausts_at"])
    return f"perhaps {when(found['exhausts_from'])}" if found.get("exhausts_from") else ""


def _fits(record: Record, tenant: str | None, budget: str | None, verdicts: Sequence[str]) -> bool:
    return (
        tenant in {None, record["tenant_id"]}
        and budget in {None, record["budget_id"]}
        and (not verdicts or record["verdict"] in verdicts)
    )


@verbs.command("list")
def list_command(
    tenant: str | None = typer.Option(None, help="Of one tenant."),
    budget: str | None = typer.Option(None, help="Of one budget, by its id."),
    verdicts: list[str] = typer.Option([], "--verdict", help="With this verdict; may be given again."),
    as_json: bool = typer.Option(False, "--json", help="A JSON list of the records."),
    bootstrap: str | None = BOOTSTRAP,
    data: Path | None = DATA,
) -> None:
    """Show used, limit, verdict and forecast of every scope, the fullest first.

    Example: [bold]usage-streams budgets list --verdict stop[/bold]
    """
    if unknown := sorted({*verdicts} - {*COLOURS}):
        raise typer.BadParameter(f"verdict {unknown[0]}: there is none; take one of {', '.join(COLOURS)}")
    every = asyncio.run(states(find_settings(bootstrap, None, data)))
    found = [r for r in every.values() if _fits(r, tenant, budget, verdicts)]
    found.sort(key=lambda r: (-(share(r) if share(r) is not None else Decimal(-1)), r["scope"]))  # type: ignore[operator]
    if as_json:
        typer.echo(json.dumps(found))
        return
    screen = console()
    if not found:
        screen.print("no budget has use yet" if not every else "none of that kind; leave out a condition")
        return
    table = Table("scope", box=None)
    for name in ("used", "limit"):
        table.add_column(name, justify="right")
    for name in ("of it", "verdict", "expected at the end", "used up, UTC"):
        table.add_column(name)
    for r in found[:MOST_ROWS]:
        figures = (amount(r, r["used"]), amount(r, r.get("limit")), gauge(share(r)))
        table.add_row(r["scope"], *figures, verdict(r), expected(r), exhausts(r))
    screen.print(table)
    if len(found) > MOST_ROWS:
        screen.print(f"{len(found) - MOST_ROWS} more with --json, or choose with --tenant, --budget, --verdict")


def chosen(every: Mapping[str, Record], asked: str) -> Record:
    """The scope of that key, or the only one that contains the words."""
    if asked in every:
        return every[asked]
    near = sorted(scope for scope in every if all(word in scope for word in asked.split()))
    if len(near) == 1:
        return every[near[0]]
    more = f"and {len(near) - 5} more" if len(near) > 5 else ""
    said = (
        f"is {len(near)} scopes: {', '.join(filter(None, [*near[:5], more]))}; name one"
        if near
        else "is no scope with use"
    )
    tell(f"usage-streams: scope {asked}: {said}; `usage-streams budgets list` shows them", err=True)
    raise typer.Exit(1)


def lines_of(record: Record, every: Mapping[str, Record]) -> list[tuple[str, str | Text]]:
    """Everything that is known of a scope, a line each."""
    currency = record["currency"] if record["unit"] == "cost" else record["unit"]
    lines: list[tuple[str, str | Text]] = [
        ("scope", record["scope"]),
        (
            "used",
            f"{amount(record, record['used'])} of {amount(record, record.get('limit'))}, {gauge(share(record)).strip()}",
        ),
        ("headroom", amount(record, record.get("headroom"))),
        ("verdict", verdict(record)),
        (
            "period",
            f"{when(record['period_start'])} to {when(record['period_end'])}, as of {when(record['as_of'])} UTC",
        ),
        ("events", f"{record['events']:,}, {record['unpriced_events']:,} of them without a price"),
    ]
    if record.get("foreign_events"):
        lines.append(("not counted", f"{record['foreign_events']:,} events in other currencies than {currency}"))
    if found := record.get("forecast"):
        said = f"{expected(record)} {currency} at the end; the interval holds in {found.get('coverage_percent', 80)} % of cases"
        error = found.get("error_percent")
        tested = f"; by {found['method']}, error {error} % at {found.get('origins', '?')} earlier days" if error else ""
        lines.append(("forecast", said + tested))
        if found.get("exhausts_at"):
            lines.append(
                ("used up", f"{when(found['exhausts_at'])} UTC, at the earliest {when(found.get('exhausts_from'))}")
            )
        elif found.get("exhausts_from"):
            lines.append(("used up", f"not expected; at the earliest {when(found['exhausts_from'])} UTC"))
    else:
        lines.append(("forecast", "none: too little history, or a window without an end"))
    if exception := record.get("exception"):
        extra = f"{exception['id']}: {exception['extra']} more until {when(exception['until'])}, {exception['used']} of it used"
        lines.append(("exception", extra))
    for name, limit in (record.get("limits") or {}).items():
        lines.append((name, f"{limit['used']} of {limit['limit']}"))
    parent = record.get("parent")
    while parent and (above := every.get(parent)):
        lines.append(("parent", f"{parent}: {amount(above, above.get('headroom'))} left, {above['verdict']}"))
        parent = above.get("parent")
    return lines


@verbs.command("show")
def show_command(
    scope: str = typer.Argument(help="The scope's key, or words of it that no other has."),
    as_json: bool = typer.Option(False, "--json", help="The record as it is."),
    bootstrap: str | None = BOOTSTRAP,
    data: Path | None = DATA,
) -> None:
    """Show everything about one scope: headroom, forecast, exception, parents.

    Example: [bold]usage-streams budgets show 'tenant-month tenant_id=acme'[/bold]
    """
    every = asyncio.run(states(find_settings(bootstrap, None, data)))
    record = chosen(every, scope)
    if as_json:
        typer.echo(json.dumps(record))
        return
    table = Table(box=None, show_header=False)
    for name, said in lines_of(record, every):
        table.add_row(name, said)
    console().print(table)


def register(app: typer.Typer) -> None:
    """Mount the verbs."""
    baselines.register(verbs)
    forecasts.register(verbs)
    app.add_typer(
        verbs,
        name="budgets",
        help="Limits: used, left, expected, proposed. Example: [bold]usage-streams budgets list[/bold]",
    )
