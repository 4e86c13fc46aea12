"""`usage-streams migrate`: bring the tables of a ClickHouse to this version."""

from pathlib import Path

import typer

from streams.cli.running import find_settings
from streams.cli.screen import tell
from streams.warehouse.client import connect
from streams.warehouse.migrate import MigrationError, migrate, pending


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("migrate")
    def command(
        dry_run: bool = typer.Option(False, help="Say what would run, run nothing."),
        data: Path | None = typer.Option(None, help="Folder of the stack."),
        clickhouse_url: str | None = typer.Option(None, help="ClickHouse over HTTP."),
    ) -> None:
        """Create or bring forward the tables. Example: [bold]usage-streams migrate --dry-run[/bold]"""
        client = connect(find_settings(None, clickhouse_url, data).clickhouse_url)
        try:
            names = pending(client) if dry_run else migrate(client)
        except MigrationError as error:
            tell(f"usage-streams: {error}", err=True)
            raise typer.Exit(2) from error
        verb = "would run" if dry_run else "ran"
        tell(f"{verb} {', '.join(names)}" if names else "the tables are up to date")
