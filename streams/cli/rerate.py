"""`usage-streams rerate` and `void`: what a correction would change, and with --apply the correction itself."""

import asyncio
import json
import uuid
from collections.abc import Callable, Coroutine, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from streams.cli.moments import moment_ms
from streams.cli.running import find_settings, user
from streams.cli.screen import Table, console, tell
from streams.jobs import rerate as job
from streams.jobs.ports import run_ports
from streams.jobs.rerate import UNPRICED_ONLY, Asked, Report, RunPorts, RunRefused
from streams.kafka.client import KafkaClient
from streams.pipeline.runs import FIELDS, Kind, Selection
from streams.settings import Settings
from streams.watch.alerts import text

Work = Callable[[RunPorts], Coroutine[Any, Any, Report]]
COUNTS = ("events", "unpriced_before", "unpriced_after")
MONEY = ("old", "new", "difference")


def conditions(given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """`field=value` pairs; a field that is not on the list is refused by the selection."""
    found = []
    for pair in given:
        name, sign, value = pair.partition("=")
        if not sign:
            raise typer.BadParameter(f"{pair}: write it as field=value")
        found.append((name.strip(), value))
    return tuple(found)


def selection_of(start: str | None, end: str | None, where: Sequence[tuple[str, str]]) -> Selection:
    """The selection, or one line that says what is wrong with it."""
    try:
        return Selection(moment_ms(start), moment_ms(end), tuple(where))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def as_json(report: Report) -> dict[str, Any]:
    """The report for machines: money as strings."""
    frame = report.differences
    rows = [{**row, "day": f"{row['day']}", **{n: text(row[n]) for n in MONEY}} for row in frame.iter_rows(named=True)]
    return {
        "run_id": report.run_id,
        "kind": report.kind,
        "state": report.state,
        "catalog": report.catalog_sequence,
        "left": report.left,
        **({} if report.chosen is None else {"chosen": report.chosen}),
        **{name: int(frame[name].sum()) for name in COUNTS},
        "totals": [{"currency": c, **{n: text(v) for n, v in sums.items()}} for c, sums in totals_of(frame).items()],
        "rows": rows,
    }


def totals_of(frame: pl.DataFrame) -> dict[str, dict[str, Decimal]]:
    """Old, new and difference by currency."""
    sums = frame.group_by("currency").agg(pl.col(name).sum() for name in MONEY).sort("currency")
    return {row["currency"]: {name: row[name] for name in MONEY} for row in sums.iter_rows(named=True)}


def show(report: Report) -> None:
    """The same for people."""
    screen, frame = console(), report.differences
    table = Table("team", "model", "day", "currency", box=None)
    for name in (*COUNTS[:1], *MONEY, "had no price", "has none"):
        table.add_column(name, justify="right")
    for row in frame.iter_rows(named=True):
        figures = [text(row[name]) for name in MONEY]
        if row["unpriced_before"] == row["events"]:
            figures[0] = "unknown"
        if row["unpriced_after"] == row["events"]:
            figures[1] = "unknown"
        counts = (f"{row['unpriced_before']:,}", f"{row['unpriced_after']:,}")
        names = (row["team"] or "-", row["model"], f"{row['day']}", row["currency"] or "-")
        table.add_row(*names, f"{row['events']:,}", *figures, *counts)
    if frame.height:
        screen.print(table)
    events, before, after = (int(frame[name].sum()) for name in COUNTS)
    what = {"planned": "would change", "applied": "changed", "already applied": "changed when it was applied"}
    screen.print(f"run {report.run_id} {what[report.state]} {events:,} events with catalog {report.catalog_sequence}")
    if before or after:
        screen.print(f"without a price: {before:,} before, {after:,} after")
    for currency, sums in totals_of(frame).items():
        if currency:
            screen.print(
                f"{currency}: old {text(sums['old'])}, new {text(sums['new'])}, difference {text(sums['difference'])}"
            )
    if report.left:
        screen.print(
            f"{report.left:,} events were rated with an older catalog after the run began; run it again under a new id"
        )
    if report.state == "planned" and not frame.height:
        screen.print(
            f"{report.chosen:,} events are chosen, and none changes"
            if report.chosen
            else "0 events are chosen; names are compared as events give them, days are of event time in UTC"
        )
    if report.state == "planned" and frame.height:
        screen.print(f"nothing is changed yet; add --apply --run-id {report.run_id} --reason TEXT")


async def carry_out(settings: Settings, work: Work) -> Report:
    """The work on the running stack, with a progress bar where somebody watches."""
    kafka = KafkaClient(settings.bootstrap)
    screen = console(stderr=True)
    columns = (TextColumn("ledger"), BarColumn(), MofNCompleteColumn())
    try:
        with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
            task = progress.add_task("", total=None)

            def moved(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            return await work(await run_ports(kafka, moved))
    finally:
        await kafka.close()


def run(settings: Settings, work: Work, machine: bool) -> None:
    """Carry it out and say what came of it; a refusal is one line and exit code 1."""
    try:
        report = asyncio.run(carry_out(settings, work))
    except RunRefused as error:
        tell(f"usage-streams: {error}", err=True)
        raise typer.Exit(1) from error
    if machine:
        typer.echo(json.dumps(as_json(report)))
    else:
        show(report)


def work_of(kind: Kind, selection: Selection, run_id: str | None, reason: str | None, is_apply: bool, by: str) -> Work:
    """Plan or apply."""
    if is_apply and not reason:
        raise typer.BadParameter("--reason is missing; say why, it stays with every row that is changed")
    asked = Asked(run_id or f"{kind}-{uuid.uuid4().hex[:8]}", kind, selection, reason or "", by or user())
    return lambda ports: (job.apply if is_apply else job.plan)(ports, asked)


RUN_ID = typer.Option(None, help="Name of the run; applied twice it is applied once, and a killed one goes on.")
REASON = typer.Option(None, help="Why; stays with every row that is changed.")
APPLY = typer.Option(False, "--apply", help="Change it; without, only show what would change.")
BY = typer.Option("", "--by", help="Who is accountable; your user name if left out.")
JSON = typer.Option(False, "--json", help="One JSON object.")
BOOTSTRAP = typer.Option(None, help="Kafka, host:port.")
DATA = typer.Option(None, help="Folder of the stack.")


def register(app: typer.Typer) -> None:
    """Mount the verbs."""

    @app.command("rerate")
    def rerate(
        start: str | None = typer.Option(None, "--from", help="First day or instant, of event time."),
        end: str | None = typer.Option(None, "--to", help="The day or instant after the last."),
        model: str | None = typer.Option(None, help="This model alone, by the name that events give it."),
        tenant: str | None = typer.Option(None, help="This tenant alone."),
        unpriced: bool = typer.Option(False, "--unpriced", help="Only what had no price, or not all of its prices."),
        resume: bool = typer.Option(False, "--resume", help="Finish the run that is open, whichever kind."),
        reason: str | None = REASON,
        run_id: str | None = RUN_ID,
        is_apply: bool = APPLY,
        by: str = BY,
        machine: bool = JSON,
        bootstrap: str | None = BOOTSTRAP,
        data: Path | None = DATA,
    ) -> None:
        """Rate again with the newest catalog; shows old, new and difference, changes nothing without --apply.
        Example: [bold]usage-streams rerate --from 2026-11-01 --to 2026-12-01 --model gpt-5.2[/bold]"""
        settings = find_settings(bootstrap, None, data)
        if resume:
            run(settings, job.resume, machine)
            return
        if not unpriced and (start is None or end is None):
            raise typer.BadParameter("--from and --to are missing; or take --unpriced, or --resume")
        where = [*(UNPRICED_ONLY.where if unpriced else ())]
        where += [(name, value) for name, value in (("model", model), ("tenant_id", tenant)) if value is not None]
        selection = selection_of(start, end, where)
        run(settings, work_of("rerate", selection, run_id, reason, is_apply, by), machine)

    @app.command("void")
    def void(
        where: list[str] = typer.Option(
            [], help=f"field=value, repeatable; one field twice: either value. Fields: {', '.join(FIELDS)}."
        ),
        start: str | None = typer.Option(None, "--from", help="First day or instant, of event time."),
        end: str | None = typer.Option(None, "--to", help="The day or instant after the last."),
        reason: str | None = REASON,
        run_id: str | None = RUN_ID,
        is_apply: bool = APPLY,
        by: str = BY,
        machine: bool = JSON,
        bootstrap: str | None = BOOTSTRAP,
        data: Path | None = DATA,
    ) -> None:
        """Take back usage that was wrong; it stays visible, marked, and nothing changes without --apply.
        Example: [bold]usage-streams void --where run_id=loop-7 --reason 'looping test'[/bold]"""
        if not where:
            raise typer.BadParameter("--where is missing; say which usage was wrong")
        selection = selection_of(start, end, conditions(where))
        settings = find_settings(bootstrap, None, data)
        run(settings, work_of("void", selection, run_id, reason, is_apply, by), machine)
