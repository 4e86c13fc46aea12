"""`usage-streams catalog`: what prices say, whether they hold, what newer ones change, and what they would have cost."""

import asyncio
import json
import sys
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer
from rich.progress import Progress

from streams.catalog import cross_check, simulate, wire
from streams.catalog.base_prices import base_catalog, with_base
from streams.catalog.book import Book, compile_book
from streams.catalog.changes import Change, changes, in_force, marks
from streams.catalog.lint import Finding, lint, missing
from streams.catalog.models import Catalog
from streams.catalog.names import compile_names
from streams.catalog.prices import Price
from streams.catalog.update import updated
from streams.catalog.validate import CatalogError
from streams.cli import history
from streams.cli.apply import based, publish, read_folder
from streams.cli.consent import must_ask, refuse
from streams.cli.moments import moment, now
from streams.cli.packages import litellm_list, newer_base
from streams.cli.running import find_settings
from streams.cli.screen import Screen, Table, console, percent, tell
from streams.kafka import topics
from streams.kafka.catalog_log import CatalogLog, PublishConflict
from streams.kafka.client import KafkaClient
from streams.settings import Settings
from streams.warehouse.client import connect
from streams.warehouse.usage_pages import count, pages
from streams.watch.alerts import text

MOST_ROWS = 40  # of a table for people; --json has all
BOOTSTRAP = typer.Option(None, help="Kafka, host:port.")
DATA = typer.Option(None, help="Folder of the stack.")
verbs = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


async def known(settings: Settings) -> Catalog | None:
    """The published catalog; None: nothing was published yet."""
    kafka = KafkaClient(settings.bootstrap)
    try:
        log = CatalogLog(kafka.log(topics.CATALOG, 0))
        found = log.get(await log.refresh())
        return found.catalog if found else None
    finally:
        await kafka.close()


def per_million(amount: Decimal | None) -> str:
    """A price of one unit as people compare it."""
    return "-" if amount is None else text(amount * 1_000_000)


def _problem(line: str) -> Finding:
    subject, _, said = line.partition(": ")
    return Finding("problem", subject, said, "error")


def _disagreements(catalog: Catalog, against: str, at: datetime) -> cross_check.CrossCheck:
    return cross_check.compare(catalog, litellm_list(against), at)


@verbs.command("lint")
def lint_command(
    folder: Path = typer.Argument(help="Folder of the catalog."),
    against: str | None = typer.Option(None, help="litellm, or a file with its price list: compare prices with it."),
    base: bool = typer.Option(False, help="Look for missing cells in the base prices too."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object."),
) -> None:
    """Find what is wrong or missing in a catalog; exit 1 when there is something.

    Example: [bold]usage-streams catalog lint deploy/catalog --against litellm[/bold]
    """
    at = now()
    try:
        own = read_folder(folder)
        found = lint(own, at, base_catalog())
    except CatalogError as error:  # the rest can be judged when these are mended
        found = list(map(_problem, str(error).splitlines()))
        own, against, base = Catalog(), None, False
    if base:
        found += missing(base_catalog(), at)
    check = _disagreements(with_base(own), against, at) if against else None
    counts = {name: len(getattr(check, name)) for name in check._fields} if check else {}
    if as_json:
        rows = [row._asdict() | {"ratio": f"{row.ratio:.4f}"} for row in check.different] if check else []
        said = {"findings": [f._asdict() for f in found], "against": counts, "different": rows}
        typer.echo(json.dumps(said, default=lambda v: text(v) if isinstance(v, Decimal) else str(v)))
    else:
        for one in found:
            tell(f"{one.level}: {one}")
        if check:
            _show_check(check, counts, console())
        if not found and not counts.get("different"):
            tell("nothing to mend")
    raise typer.Exit(1 if [f for f in found if f.level != "note"] or counts.get("different") else 0)


def _show_check(check: cross_check.CrossCheck, counts: dict[str, int], screen: Screen) -> None:
    table = Table("model", "theirs", "bucket", "ours", "theirs", "ratio", box=None, title_justify="left")
    for row in check.different[:MOST_ROWS]:
        amounts = (per_million(row.ours), per_million(row.theirs), f"{row.ratio:.3f}")
        table.add_row(f"{row.provider}/{row.model}", row.name, row.bucket, *amounts)
    if check.different:
        screen.print(table)
        screen.print("prices of a million, USD, at standard service, in the lowest band, as of now")
    if len(check.different) > MOST_ROWS:
        screen.print(f"{len(check.different) - MOST_ROWS} more with --json")
    screen.print(", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in counts.items()))


def described(at: datetime, old: Catalog | None, new: Catalog) -> list[str]:
    """What an update changes, as lines for people; empty when nothing does."""
    found = changes(old, new, at)
    if not found:
        return [] if old == new else ["no price changes; names and hours do"]
    kinds = [sum(c.kind == kind for c in found) for kind in ("changed", "added", "removed")]
    lines = [_line(c, at) for c in found[:MOST_ROWS]]
    if len(found) > MOST_ROWS:
        lines.append(f"and {len(found) - MOST_ROWS} more, with --json")
    return [*lines, "{} changed, {} added, {} removed; prices of a million".format(*kinds)]


def _line(change: Change, at: datetime) -> str:
    where = f" ({change.where})" if change.where else ""
    later = f" from {change.starts:%Y-%m-%d %H:%M}" if change.starts > at else ""
    amounts = f"{per_million(change.old)} -> {per_million(change.new)} {change.currency}"
    return (
        f"{change.provider}/{change.model} {change.bucket}{where}: {amounts} {percent(change.relative)}{later}".rstrip()
    )


@verbs.command("update")
def update_command(
    source: str = typer.Option(
        "installed", "--from", help="A catalog as JSON, a genai-prices wheel, or pypi for the newest one."
    ),
    dry_run: bool = typer.Option(False, help="Show what would change, publish nothing."),
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask; needed where no terminal is."),
    as_json: bool = typer.Option(False, "--json", help="The changes as one JSON object; publishes with --yes only."),
    bootstrap: str | None = BOOTSTRAP,
    data: Path | None = DATA,
) -> None:
    """Take newer base prices: show what they change, publish on confirmation.

    Example: [bold]usage-streams catalog update --from pypi[/bold]
    """
    settings, at = find_settings(bootstrap, None, data), now()
    newer = base_catalog() if source == "installed" else newer_base(source)
    seen = dict[str, list[Change]]()

    def compose(published: Catalog | None) -> Catalog:
        if published is None:
            raise CatalogError(
                "catalog: nothing is published yet; `usage-streams apply DIR` publishes the first version"
            )
        return updated(published, newer, at)

    def describe(old: Catalog | None, new: Catalog) -> list[str]:
        seen["changes"] = changes(old, new, at)
        return described(at, old, new)

    looks = dry_run or (as_json and not yes)
    confirm = must_ask("catalog update", yes or looks)
    try:
        lines, sequence = asyncio.run(publish(settings, compose, looks, confirm, describe))
    except PublishConflict as error:
        refuse(str(error), 1)
    if as_json:
        rows = [c._asdict() | {"kind": c.kind, "relative": c.relative} for c in seen.get("changes", [])]
        typer.echo(json.dumps({"changes": rows, "version": sequence}, default=_plain))
        return
    tell("\n".join(lines) or "nothing changes")
    if sequence is not None:
        tell(f"published version {sequence}")


def _plain(value: object) -> str:
    return text(value) if isinstance(value, Decimal) else str(value)


@verbs.command("diff")
def diff_command(
    folder: Path = typer.Argument(help="Folder of the candidate catalog."),
    days: int = typer.Option(30, min=1, max=3660, help="How far back usage is rated again."),
    base: bool = typer.Option(True, help="Over the published base prices, as `apply` would publish it."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object."),
    bootstrap: str | None = BOOTSTRAP,
    clickhouse_url: str | None = typer.Option(None, help="ClickHouse over HTTP."),
    data: Path | None = DATA,
) -> None:
    """Rate the last days of usage with a candidate, by team and model; change nothing.

    Example: [bold]usage-streams catalog diff my-catalog --days 7[/bold]
    """
    settings, own, end = find_settings(bootstrap, clickhouse_url, data), read_folder(folder), now()
    found = asyncio.run(known(settings))
    if found is None:
        raise CatalogError("catalog: nothing is published yet; `usage-streams apply DIR` publishes the first version")
    candidate = based(own, found) if base else own
    simulation = simulated(settings, found, candidate, end - timedelta(days=days), end)
    if as_json:
        typer.echo(json.dumps(_as_json(simulation, days)))
        return
    screen = console()
    if not simulation.events:
        screen.print(f"no usage in the last {days} days: nothing to compare")
    for dimension in simulate.BY:
        table = Table(
            dimension, "currency", *("events", "current", "candidate", "difference", "newly unpriced"), box=None
        )
        table.add_column("newly priced")
        for value, currency, t in simulation.of(dimension)[:MOST_ROWS]:
            amounts = (text(t.current), text(t.candidate), text(t.difference)) if currency else ("-", "-", "-")
            table.add_row(
                value or "(none)",
                currency or "unpriced",
                f"{t.events:,}",
                *amounts,
                f"{t.newly_unpriced:,}",
                f"{t.newly_priced:,}",
            )
        screen.print(table)
    screen.print(f"{simulation.events:,} events of {days} days; nothing was published or rated anew")


def simulated(
    settings: Settings, current: Catalog, candidate: Catalog, start: datetime, end: datetime
) -> simulate.Simulation:
    """The usage of [start, end) rated with both, with a progress bar on a terminal."""
    books = book_of(current), book_of(candidate)
    client, found = connect(settings.clickhouse_url), simulate.Simulation()
    with Progress(console=console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("events", total=count(client, start, end))
        for page in pages(client, simulate.EVENTS, start, end):
            found.add(page, *books)
            progress.update(task, completed=found.events)
    return found


def book_of(catalog: Catalog) -> Book:
    """The catalog compiled, under a number of its own."""
    return compile_book(catalog, 0, wire.version_of(wire.dump(catalog)))


def _as_json(found: simulate.Simulation, days: int) -> dict[str, Any]:
    rows = {
        f"by_{dimension}": [
            {
                dimension: value,
                "currency": currency or None,
                "events": t.events,
                "current": text(t.current) if currency else None,
                "candidate": text(t.candidate) if currency else None,
                "difference": text(t.difference) if currency else None,
                "newly_unpriced": t.newly_unpriced,
                "newly_priced": t.newly_priced,
            }
            for value, currency, t in found.of(dimension)
        ]
        for dimension in simulate.BY
    }
    return {"days": days, "events": found.events, **rows}


@verbs.command("show")
def show_command(
    model: str | None = typer.Option(
        None, help="A model, by any name that prices know; without it a count by provider."
    ),
    provider: str | None = typer.Option(None, help="Of this provider alone."),
    at: str | None = typer.Option(None, help="In force at this time; now by default."),
    folder: Path | None = typer.Option(None, "--catalog", help="Of a folder over the base prices, without a broker."),
    as_json: bool = typer.Option(False, "--json", help="A JSON list of prices."),
    bootstrap: str | None = BOOTSTRAP,
    data: Path | None = DATA,
) -> None:
    """The prices in force of a model at a time.

    Example: [bold]usage-streams catalog show --model gpt-5-mini --at 2026-11-01[/bold]
    """
    when = moment(at) if at else now()
    if folder is not None:
        catalog = with_base(read_folder(folder))
    else:
        catalog = asyncio.run(known(find_settings(bootstrap, None, data))) or Catalog()
    held = [p for p in in_force(catalog.prices, when) if provider in (None, p.provider)]
    if model is not None:
        held = _meant(catalog, held, model, when)
    if as_json:
        rows = [p.model_dump(mode="json") | {"price_id": p.price_id, "each": text(p.each)} for p in held]
        typer.echo(json.dumps(rows))
    elif model is None:
        table = Table("provider", "models", "prices", box=None)
        for name in sorted({p.provider for p in held}):
            of_it = [p for p in held if p.provider == name]
            table.add_row(name, f"{len({p.model for p in of_it}):,}", f"{len(of_it):,}")
        console().print(table)
    else:
        table = Table("model", "bucket", "where", "a million", "currency", "since", "until", "source", box=None)
        for p in sorted(held, key=lambda p: (p.provider, p.model, marks(p), p.bucket)):
            until = f"{p.effective_to:%Y-%m-%d %H:%M}" if p.effective_to else ""
            dates = (f"{p.effective_from:%Y-%m-%d %H:%M}", until)
            amounts = ("free" if p.free else per_million(p.each), p.currency)
            table.add_row(f"{p.provider}/{p.model}", p.bucket, marks(p), *amounts, *dates, p.source)
        console().print(table)
    if model is not None and not held:
        tell(f"model {model}: no price in force at {when.isoformat()}; such usage is unpriced", err=True)
        raise typer.Exit(1)


def _meant(catalog: Catalog, held: list[Price], model: str, at: datetime) -> list[Price]:
    """Prices of the models that the name means then, at any provider that has prices there."""
    names = compile_names(catalog)
    skus = {
        (sku.provider, sku.model)
        for provider in {p.provider for p in held}
        for sku in names.resolve(provider, model)
        if (sku.effective_from is None or sku.effective_from <= at)
        and (sku.effective_to is None or at < sku.effective_to)
    }
    return [p for p in held if (p.provider, p.model) in skus]


def register(app: typer.Typer) -> None:
    """Mount the verbs."""
    history.register(verbs)
    app.add_typer(
        verbs,
        name="catalog",
        help="Prices: look, check, update, try on past usage. Example: [bold]usage-streams catalog show[/bold]",
    )
