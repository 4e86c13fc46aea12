"""`usage-streams worker`: one process a stage, restarted by whoever supervises this command, stopped together."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import typer

from streams.cli.running import find_settings
from streams.settings import Settings


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment in which a child finds the same settings."""
    given = {f"USAGE_STREAMS_{k.upper()}": str(v) for k, v in settings.model_dump().items()}
    return {**os.environ, **given, "POLARS_MAX_THREADS": os.environ.get("POLARS_MAX_THREADS", "1")}


def stage_command(stage: str) -> list[str]:
    """What starts one stage."""
    return [sys.executable, "-m", "streams.worker", stage]


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("worker")
    def command(
        stages: str = typer.Option("meter,watch,warehouse", help="Stages to run, comma separated; a process each."),
        bootstrap: str | None = typer.Option(None, help="Kafka, host:port."),
        clickhouse_url: str | None = typer.Option(None, help="ClickHouse over HTTP."),
        data: Path | None = typer.Option(None, help="Folder of the local stack."),
    ) -> None:
        """Run stages against a stack. Example: [bold]usage-streams worker --stages meter[/bold]"""
        settings = find_settings(bootstrap, clickhouse_url, data)
        children = {
            name: subprocess.Popen(stage_command(name), env=environment_of(settings)) for name in stages.split(",")
        }

        def stop(*_: object) -> None:
            for child in children.values():
                child.send_signal(signal.SIGTERM)

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        codes = [child.wait() for child in children.values()]
        raise typer.Exit(max(abs(code) for code in codes))
