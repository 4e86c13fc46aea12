"""`usage-streams backtest RULE`: what a rule would have said of the past, before anybody is paged by it."""

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import typer
from rich.progress import Progress

from streams.catalog.durations import duration_ms
from streams.catalog.limits_problems import named_rules, near
from streams.catalog.models import Catalog
from streams.cli.apply import read_folder
from streams.cli.backtest_tables import as_json, show, show_both
from streams.cli.commitments import published
from streams.cli.consent import refuse
from streams.cli.moments import moment, now
from streams.cli.running import find_settings
from streams.cli.screen import console, tell
from streams.jobs.backtest import from_topic, from_warehouse
from streams.kafka.client import KafkaClient
from streams.settings import Settings
from streams.warehouse.client import connect
from streams.watch.backtest import Backtest, NoRule
from streams.watch.noise import Report

SOURCES = ("clickhouse", "topic")


class Version(NamedTuple):
    """A rule of a catalog, and what people call it here."""

    name: str
    catalog: Catalog
    rule: str


def versions(settings: Settings, rule: str, folder: Path | None, compare: str | None) -> list[Version]:
    """One, or two to compare: the other is a folder with the same rule, or another rule of the same catalog."""
    catalog = read_folder(folder) if folder else asyncio.run(published(settings)).catalog
    found = [Version(f"{rule} of {folder or 'what is published'}", catalog, rule)]
    if compare is not None:
        is_folder = Path(compare).is_dir()
        if not is_folder and compare not in (known := named_rules(catalog)):
            what = "is no folder here and no rule has this id; give a folder with a changed copy of the catalog, or a rule's id"
            refuse(f"--compare {compare}: {what}: {near(compare, known)}")
        other = read_folder(Path(compare)) if is_folder else catalog
        found.append(Version(f"{rule} of {compare}" if is_folder else compare, other, rule if is_folder else compare))
    return found


def run(settings: Settings, tests: Sequence[Backtest], source: str) -> list[Report]:
    """Through history once, with a progress bar on a terminal."""
    with Progress(console=console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("usage", total=None)

        def moved(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        if source == "clickhouse":
            from_warehouse(connect(settings.clickhouse_url), tests, moved)
        else:
            asyncio.run(_from_topic(settings, tests, moved))
    return [test.report() for test in tests]


async def _from_topic(settings: Settings, tests: Sequence[Backtest], moved: Any) -> None:
    kafka = KafkaClient(settings.bootstrap)
    try:
        await from_topic(kafka, tests, moved)
    finally:
        await kafka.close()


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("backtest")
    def command(
        rule: str = typer.Argument(help="Id of a budget, burn rate, limit of runs or rule."),
        catalog: Path | None = typer.Option(None, help="Folder of the catalog; what is published if left out."),
        days: int = typer.Option(30, min=1, max=400, help="How far back."),
        start: str | None = typer.Option(None, "--from", help="First day or instant, instead of --days."),
        end: str | None = typer.Option(None, "--to", help="The day or instant after the last; now if left out."),
        source: str = typer.Option("clickhouse", help="clickhouse, or topic: the ledger, as the live watch got it."),
        compare: str | None = typer.Option(
            None, help="Folder with a changed copy of the catalog, or the id of another rule."
        ),
        step: str | None = typer.Option(None, help="How often windows are looked at, such as 10s; 1m to 5m by itself."),
        machine: bool = typer.Option(False, "--json", help="One JSON object."),
        bootstrap: str | None = typer.Option(None, help="Kafka, host:port."),
        clickhouse_url: str | None = typer.Option(None, help="ClickHouse over HTTP."),
        data: Path | None = typer.Option(None, help="Folder of the stack."),
    ) -> None:
        """Run a rule over past usage: when it fires, for whom, what is at risk, how noisy it is. Tells nobody.

        Example: [bold]usage-streams backtest team-rolling-day --days 14 --compare my-catalog[/bold]
        """
        if source not in SOURCES:
            raise typer.BadParameter(f"source {source}: there is none; take one of {', '.join(SOURCES)}")
        try:
            step_ms = None if step is None else duration_ms(step)
        except ValueError as error:
            raise typer.BadParameter(f"step: {error}") from error
        if step_ms is not None and not 1_000 <= step_ms <= 3_600_000:
            raise typer.BadParameter(f"step {step}: is out of bounds; 1s to 1h")
        until = moment(end) if end else now() + timedelta(seconds=1)  # this second too
        since = moment(start) if start else until - timedelta(days=days)
        if since >= until:
            raise typer.BadParameter(
                f"--from {since:%Y-%m-%dT%H:%M:%SZ}: is not before {until:%Y-%m-%dT%H:%M:%SZ}; swap them"
            )
        settings = find_settings(bootstrap, clickhouse_url, data)
        chosen = versions(settings, rule, catalog, compare)
        bounds = int(since.timestamp() * 1000), int(until.timestamp() * 1000)
        try:
            tests = [Backtest(one.catalog, one.rule, *bounds, step_ms) for one in chosen]
        except NoRule as error:
            refuse(str(error))
        reports = run(settings, tests, source)
        names = [one.name for one in chosen]
        if machine:
            tell(
                json.dumps(
                    [as_json(n, r) for n, r in zip(names, reports, strict=True)]
                    if compare
                    else as_json(names[0], reports[0])
                )
            )
        elif compare:
            show_both(names, reports, console())
        else:
            show(names[0], reports[0], console())
