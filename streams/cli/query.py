"""`usage-streams query NAME`: one named question, answered by SQL."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from streams.cli.running import find_settings
from streams.cli.screen import console
from streams.warehouse.client import connect
from streams.warehouse.queries import UnknownQuery, names, run_query, sql_of


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


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("query")
    def command(
        name: str = typer.Argument("", help="The question; none lists them."),
        param: list[str] = typer.Option([], help="name=value; start and end default to the last 30 days."),
        as_json: bool = typer.Option(False, "--json", help="A JSON list of rows."),
        show_sql: bool = typer.Option(False, "--sql", help="Print the SQL instead."),
        data: Path | None = typer.Option(None, help="Folder of the stack."),
        clickhouse_url: str | None = typer.Option(None, help="ClickHouse over HTTP."),
    ) -> None:
        """Ask the warehouse. Example: [bold]usage-streams query cost_by_team --param start='2026-11-01 00:00:00'[/bold]"""
        if not name:
            typer.echo("\n".join(names()))
            return
        try:
            sql = sql_of(name)
        except UnknownQuery as error:
            typer.echo(f"usage-streams: {error}", err=True)
            raise typer.Exit(2) from error
        if show_sql:
            typer.echo(sql)
            return
        rows = run_query(connect(find_settings(None, clickhouse_url, data).clickhouse_url), name, parameters_of(param))
        if as_json:
            typer.echo(json.dumps(rows, default=plain))
            return
        table = Table(*(rows[0] if rows else ["no rows"]), box=None)
        for row in rows:
            table.add_row(
                *("" if v is None else str(plain(v)) if not isinstance(v, int) else f"{v:,}" for v in row.values())
            )
        console().print(table)
