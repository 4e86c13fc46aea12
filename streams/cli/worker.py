"""`usage-streams worker`: one process a stage; when one ends all end, and whoever supervises this command starts it again."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import typer

from streams.cli.running import find_settings, stages_of
from streams.kafka.client import answers
from streams.settings import STAGES, Settings

POLL_SECONDS = 0.1


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment in which a child finds the same settings."""
    given = {f"USAGE_STREAMS_{k.upper()}": str(v) for k, v in settings.model_dump().items()}
    # glibc gives back what is large, and keeps few arenas, or each thread holds what it needed at most.
    tuned = {"POLARS_MAX_THREADS": "2", "MALLOC_ARENA_MAX": "2"}
    tuned |= dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(1 << 20))
    return {**tuned, **os.environ, **given}


def stage_command(stage: str) -> list[str]:
    """What starts one stage."""
    return [sys.executable, "-m", "streams.worker", stage]


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("worker")
    def command(
        stages: str = typer.Option(",".join(STAGES), help="Stages to run, comma separated; a process each."),
        bootstrap: str | None = typer.Option(None, help="Kafka, host:port."),
        clickhouse_url: str | None = typer.Option(None, help="ClickHouse over HTTP."),
        data: Path | None = typer.Option(None, help="Folder of the local stack."),
    ) -> None:
        """Run stages against a stack. Example: [bold]usage-streams worker --stages meter[/bold]"""
        settings = find_settings(bootstrap, clickhouse_url, data)
        names = stages_of(stages)
        if not names:
            raise typer.BadParameter("no stage; name one or more")
        asyncio.run(answers(settings.bootstrap))
        raise typer.Exit(run([subprocess.Popen(stage_command(n), env=environment_of(settings)) for n in names]))


def run(children: Sequence[subprocess.Popen[bytes]]) -> int:
    """Until a signal, or until one of them ends; the others are asked to end. The code of the first one that failed."""

    def stop(*_: object) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while all(child.poll() is None for child in children):
        time.sleep(POLL_SECONDS)
    failed = [child.returncode for child in children if child.returncode]
    stop()
    codes = [*failed, *(child.wait() for child in children)]
    first = next((code for code in codes if code), 0)
    return first if first >= 0 else 128 - first  # as a shell says it of a signal
