"""`usage-streams commitments`: what is left of credit and promises, what was free, what is due back, how full capacity is."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import polars as pl
import typer
from clickhouse_connect.driver.client import Client
from rich.text import Text

from streams.catalog.commitments import Agreements
from streams.catalog.drawdown import Position, position, pressing
from streams.catalog.usage_frames import USAGE, needed_from, slice_minutes
from streams.catalog.validate import CatalogError
from streams.cli.moments import moment, now
from streams.cli.query import plain
from streams.cli.running import find_settings
from streams.cli.screen import Screen, Table, console, marked, tell
from streams.kafka import topics
from streams.kafka.catalog_log import CatalogLog, Published
from streams.kafka.client import KafkaClient
from streams.settings import Settings
from streams.warehouse.client import connect
from streams.warehouse.queries import sql_of

BAR = 20


async def published(settings: Settings) -> Published:
    """The newest catalog."""
    kafka = KafkaClient(settings.bootstrap)
    try:
        await kafka.producer()
        log = CatalogLog(kafka.log(topics.CATALOG, 0))
        found = log.get(await log.refresh())
    finally:
        await kafka.close()
    if found is None:
        raise CatalogError("catalog: none is published; run `usage-streams apply DIR`")
    return found


def read_usage(client: Client, agreements: Agreements, since: datetime, at: datetime) -> pl.DataFrame:
    """USAGE that the agreements are about, from where their oldest open period begins."""
    all_of = agreements.agreements
    parameters = {
        "start": f"{needed_from(agreements, since, at).astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        "end": f"{at:%Y-%m-%d %H:%M:%S.%f}"[:-3],
        "minutes": slice_minutes(agreements, since, at),
        "providers": sorted({a.provider for a in all_of}),
        "tenants": sorted({a.tenant for a in all_of if a.tenant}),
        "accounts": sorted({a.account for a in all_of if a.account}),
        "regions": sorted({p.region for p in agreements.provisioned if p.region}),
    }
    found = client.query(sql_of("usage_by_hour"), parameters=parameters, column_oriented=True)
    columns = dict(zip(found.column_names, found.result_columns, strict=True))
    columns["hour"] = [h if h.tzinfo else h.replace(tzinfo=UTC) for h in columns.get("hour", [])]
    return pl.DataFrame({name: pl.Series(columns.get(name, []), dtype=kind) for name, kind in USAGE.items()})


def rows_of(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON keeps them."""
    return [{k: v if v is None or isinstance(v, int) else plain(v) for k, v in r.items()} for r in frame.to_dicts()]


def short(value: Decimal | None) -> str:
    """An amount for people: two digits, more where it is small."""
    if value is None:
        return "unknown"
    return f"{value:,.2f}" if abs(value) >= 1 or not value else f"{value.normalize():f}"


def percent(share: Decimal | None) -> str:
    """A share for people."""
    return "-" if share is None else f"{share * 100:.1f} %"


def day(when: datetime | None) -> str:
    """A moment for people, in UTC."""
    return "" if when is None else f"{when:%Y-%m-%d %H:%M}"


def bar(share: Decimal) -> str:
    """A share as a bar; only what is used up is full."""
    full = min(int(share * BAR), BAR)
    return "█" * full + "░" * (BAR - full)


def outlook(row: dict[str, Any]) -> Text:
    """What will be, or was: one clause a fact."""
    said = list[str | Text]()
    if row["ran_out"]:
        said.append(f"used up in the hour of {day(row['ran_out'])}")
    if row["expected_out"]:
        said.append(f"forecast: used up {day(row['expected_out'])}")
    if row["followed_by"]:
        said.append(f"then {row['followed_by']} pays")
    if row["unused"]:
        said.append(marked(f"{short(row['unused'])} was never used", "yellow"))
    if row["expected_unused"]:
        said.append(marked(f"forecast: {short(row['expected_unused'])} stays unused", "yellow"))
    if row["unpriced_quantity"]:
        said.append(marked(f"{row['unpriced_quantity']:,} units without a price are not counted", "yellow"))
    return Text("; ").join(Text.assemble(part) for part in said)


def due(found: Position) -> list[str]:
    """What the provider owes, per agreement and currency; what is not known is said, not left out."""
    said, sums = list[str](), dict[tuple[str, str], Decimal]()
    for row in [*found.quotas.to_dicts(), *found.volumes.to_dicts()]:
        if row["credit"] is None:
            said.append(f"{row['id']} unknown for {row['free']:,} free units of {period(row)}: they have no price")
        elif row["credit"]:
            key = (row["id"], row["currency"])
            with localcontext(prec=80):
                sums[key] = sums.get(key, Decimal(0)) + row["credit"]
    return [f"{name} {short(amount)} {currency}" for (name, currency), amount in sums.items()] + said


def show(found: Position, press: set[tuple[Any, ...]], screen: Screen) -> None:
    """Everything for people."""
    if found.drawdowns.height:
        table = Table("commitment", "period", "", "used", "left", "overage", "currency", "state", box=None)
        for row in found.drawdowns.to_dicts():
            state = marked(row["state"], "red" if (row["id"], row["start"]) in press else "")
            figures = (short(row["used"]), short(row["left"]), short(row["overage"]), row["currency"])
            drawn = f"{bar(row['share'])} {percent(row['share'])}"
            table.add_row(row["id"], period(row), drawn, *figures, state)
        screen.print(table)
        for row in found.drawdowns.to_dicts():  # in lines of their own: sentences do not fit beside figures
            if ahead := outlook(row):
                screen.print(Text.assemble(f"  {row['id']}, {period(row)}: ", ahead), soft_wrap=True)
    if found.quotas.height:
        table = Table("quota", "period", "used", "free", "left", "credit due", "currency", box=None)
        last = {row["id"]: row["start"] for row in found.quotas.sort("start").to_dicts()}
        for row in (r for r in found.quotas.to_dicts() if r["used"] or r["start"] == last[r["id"]]):
            units = (f"{row['used']:,}", f"{row['free']:,}", f"{row['left']:,}")
            table.add_row(row["id"], period(row), *units, short(row["credit"]), row["currency"] or "")
        screen.print(table)
        if hidden := found.quotas.height - table.row_count:
            screen.print(f"  {hidden:,} periods that nothing used are left out; --json has them")
    if found.volumes.height:
        table = Table("volume", "period", "volume", "multiplier", "next above", "credit due", "currency", box=None)
        for row in found.volumes.to_dicts():
            above = "-" if row["next_above"] is None else short(row["next_above"])
            figures = (short(row["volume"]), f"{row['multiplier'].normalize():f}", above, short(row["credit"]))
            table.add_row(row["id"], period(row), *figures, row["currency"])
        screen.print(table)
    for said in due(found):
        screen.print(f"  credit due in these periods: {said}", soft_wrap=True)
    total = found.provisioned.total
    if total.height:
        table = Table(
            "provisioned", "period", "", "cost", "a million", "pay as you go", "breaks even at", "spilled", box=None
        )
        for row in total.to_dicts():
            full = f"{bar(row['utilisation'])} {percent(row['utilisation'])}"
            dear = ("-" if row[k] is None else short(row[k]) for k in ("per_million", "payg_per_million"))
            even = percent(row["break_even"])
            cost = f"{short(row['cost'])} {row['currency']}"
            table.add_row(row["id"], period(row), full, cost, *dear, even, percent(row["spillover"]))
        screen.print(table)


def period(row: dict[str, Any]) -> str:
    """A period for people."""
    return f"{day(row['start'])} - {day(row['end'])}".rstrip()


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("commitments")
    def command(
        at: str | None = typer.Option(None, help="As of this day or moment, with its zone; default now."),
        days: int = typer.Option(35, min=0, help="Show periods that ended within so many days, too."),
        as_json: bool = typer.Option(False, "--json", help="One JSON object, with each hour of provisioned capacity."),
        data: Path | None = typer.Option(None, help="Folder of the stack."),
        bootstrap: str | None = typer.Option(None, help="Kafka, host:port."),
        clickhouse_url: str | None = typer.Option(None, help="ClickHouse over HTTP."),
    ) -> None:
        """Credit, promises, free units, capacity: used, left, due; exit 1 when one is used up or credit ends within 7 days.

        Example: [bold]usage-streams commitments --at 2026-11-24T12:00:00Z[/bold]
        """
        when = moment(at) if at else now()
        since = (when - timedelta(days=days)).replace(minute=0, second=0, microsecond=0)
        settings = find_settings(bootstrap, clickhouse_url, data)
        catalog = asyncio.run(published(settings))
        usage = pl.DataFrame(schema=USAGE)
        if catalog.catalog.agreements:
            usage = read_usage(connect(settings.clickhouse_url), catalog.catalog, since, when)
        found = position(usage, catalog.catalog, catalog.book, since, when)
        press = pressing(found.drawdowns, when)
        if as_json:
            frames = {
                "drawdowns": found.drawdowns,
                "quotas": found.quotas,
                "volumes": found.volumes,
                "provisioned": found.provisioned.total,
                "hours": found.provisioned.hours,
                "pressing": press.select("id", "start"),
            }
            said = {"at": plain(when), "catalog": catalog.version}
            typer.echo(json.dumps(said | {name: rows_of(frame) for name, frame in frames.items()}))
        elif not catalog.catalog.agreements:
            tell(
                "the catalog has no commitments, quotas, volumes or provisioned capacity; commitments.toml of `init` shows how"
            )
        else:
            show(found, set(press.select("id", "start").iter_rows()), console())
        raise typer.Exit(1 if press.height else 0)
