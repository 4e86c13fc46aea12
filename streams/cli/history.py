"""`usage-streams catalog log`: who published which version, when, why, what it changed. The topic is the audit log."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from streams.cli.apply import plan
from streams.cli.running import find_settings
from streams.cli.screen import Table, console
from streams.kafka import topics
from streams.kafka.catalog_log import CatalogLog
from streams.kafka.client import KafkaClient
from streams.pipeline.chain import LogBroken
from streams.settings import Settings


async def versions(settings: Settings, last: int) -> list[dict[str, Any]]:
    """The newest `last` versions, the newest first: sequence, published, by, reason, changes."""
    kafka = KafkaClient(settings.bootstrap)
    try:
        log = CatalogLog(kafka.log(topics.CATALOG, 0))
        newest = await log.refresh()
        found: list[dict[str, Any]] = []
        before = log.catalog(newest - last)
        for sequence in range(max(1, newest - last + 1), newest + 1):
            this = log.catalog(sequence)
            if this is None:
                raise LogBroken(f"usage.catalog: version {sequence} is not there; restore the topic")
            at = datetime.fromtimestamp(log.published_ms[sequence] / 1000, UTC)
            by, reason = log.signed[sequence]
            row = {"sequence": sequence, "published": f"{at:%Y-%m-%dT%H:%M:%SZ}", "by": by, "reason": reason}
            found.insert(0, {**row, "changes": plan(before, this)})
            before = this
        return found
    finally:
        await kafka.close()


def register(app: typer.Typer) -> None:
    """Mount the verb under `catalog`."""

    @app.command("log")
    def command(
        last: int = typer.Option(20, min=1, help="How many versions."),
        as_json: bool = typer.Option(False, "--json", help="For machines."),
        bootstrap: str | None = typer.Option(None, help="Kafka, host:port."),
        data: Path | None = typer.Option(None, help="Folder of the local stack."),
    ) -> None:
        """Who changed prices, budgets and rules. Example: [bold]usage-streams catalog log --last 5[/bold]"""
        found = asyncio.run(versions(find_settings(bootstrap, None, data), last))
        if as_json:
            typer.echo(json.dumps(found))
            return
        table = Table("version", "published", "by", "why", "what changed", box=None)
        for row in found:
            table.add_row(str(row["sequence"]), row["published"], row["by"], row["reason"], ", ".join(row["changes"]))
        console().print(table)
