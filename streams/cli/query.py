"""`usage-streams query NAME`: one named question, answered by SQL."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer
from rich.measure import Measurement

from streams.cli.moments import DAY
from streams.cli.running import find_settings
from streams.cli.screen import Screen, Table, console, tell
from streams.warehouse.client import connect
from streams.warehouse.queries import UnknownQuery, names, optional_in, parameters_in, question_of, run_query, sql_of


def plain(value: Any) -> Any:
    """A value as JSON keeps it: money as a string, times in RFC 3339."""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def parameters_of(pairs: Sequence[str]) -> dict[str, str]:
    """`k=v` pairs; start and end default to the last 30 days and tomorrow."""
    now = datetime.now(UTC)
    given = {
        "start": f"{now - timedelta(days=30):%Y-%m-%d %H:%M:%S}",
        "end": f"{now + timedelta(days=1):%Y-%m-%d %H:%M:%S}",
    }
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign:
            raise typer.BadParameter(f"{pair}: write it as name=value")
        given[name] = value
    return given


def checked(given: Mapping[str, str], sql: str) -> dict[str, str | list[str]]:
    """Values as the query takes them. Every parameter is there and none is a slip, which would answer another question."""
    wanted = parameters_in(sql)
    given = {**dict.fromkeys(optional_in(sql), ""), **given}
    if unknown := sorted({*given} - {*wanted, "start", "end"}):
        raise typer.BadParameter(f"parameter {unknown[0]}: the query has none of that name; take {', '.join(wanted)}")
    if missing := [f"--param {name}=" for name in wanted if name not in given]:
        raise typer.BadParameter(f"parameters are missing; add {' '.join(missing)}")
    lists = {name for name, kind in wanted.items() if kind.startswith("Array")}
    given |= {name: _typed(name, given[name], kind) for name, kind in wanted.items()}
    return {name: [v for v in value.split(",") if v] if name in lists else value for name, value in given.items()}


def _typed(name: str, value: str, kind: str) -> str:
    """A value as the server reads it; what is none of its kind would come back as an exception of many lines."""
    if kind.startswith("UInt") and not value.isdecimal():
        raise typer.BadParameter(f"{name} {value}: is no number; write it as {name}=60")
    if not kind.startswith("DateTime"):
        return value
    try:
        found = datetime.fromisoformat(value)
    except ValueError as error:
        raise typer.BadParameter(
            f"{name} {value}: is no time; write {DAY}, '{DAY} 12:00:00' (in UTC) or {DAY}T12:00:00+01:00"
        ) from error
    return f"{found.astimezone(UTC) if found.tzinfo else found:%Y-%m-%d %H:%M:%S.%f}"[:-3]


def shown(value: Any) -> str:
    """A value for people."""
    match value:
        case None:
            return ""
        case int():
            return f"{value:,}"
        case list() | tuple():
            return ", ".join(map(shown, value))
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
    return str(plain(value))


def show(rows: Sequence[Mapping[str, Any]], screen: Screen) -> None:
    """A table; where that is too wide for the screen, each row as a list, so that nothing is cut off."""
    texts = [{name: shown(value) for name, value in row.items()} for row in rows]
    table = Table(*(rows[0] if rows else ["no rows"]), box=None)
    for text in texts:
        table.add_row(*text.values())
    if Measurement.get(screen, screen.options.update(max_width=10_000), table).maximum <= screen.width:
        screen.print(table)
        return
    for text in texts:
        listed = Table(box=None, show_header=False)
        for name, said in text.items():
            listed.add_row(name, said)
        screen.print(listed)
        screen.print()


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("query")
    def command(
        name: str = typer.Argument("", help="The question; none lists them."),
        param: list[str] = typer.Option(
            [], help="name=value; start and end default to the last 30 days, a list is a,b."
        ),
        as_json: bool = typer.Option(False, "--json", help="A JSON list of rows, all of them."),
        most: int = typer.Option(200, min=0, help="So many rows for people, the first ones; 0 for all."),
        show_sql: bool = typer.Option(False, "--sql", help="Print the SQL instead."),
        data: Path | None = typer.Option(None, help="Folder of the stack."),
        clickhouse_url: str | None = typer.Option(None, help="ClickHouse over HTTP."),
    ) -> None:
        """Ask the warehouse. Example: [bold]usage-streams query cost_by_team --param start='2026-11-01 00:00:00'[/bold]"""
        if not name:
            for known in names():
                tell(f"{known}: {question_of(known)}")
            return
        try:
            sql = sql_of(name)
        except UnknownQuery as error:
            tell(f"usage-streams: {error}", err=True)
            raise typer.Exit(2) from error
        if show_sql:
            tell(sql)
            return
        given = checked(parameters_of(param), sql)
        rows = run_query(connect(find_settings(None, clickhouse_url, data).clickhouse_url), name, given)
        if as_json:
            typer.echo(json.dumps(rows, default=plain))
            return
        show(rows[: most or None], console())
        if 0 < most < len(rows):
            tell(f"usage-streams: {len(rows) - most:,} more rows are left out; --most 0 or --json gives all", err=True)
