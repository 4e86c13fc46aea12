"""`usage-streams emit FILE`: send JSON Lines of usage events; wrong lines are named and left out."""

import asyncio
import json
import sys
import time
from pathlib import Path

import typer
from aiokafka import AIOKafkaProducer
from rich.progress import Progress

from streams.cli.events import checked
from streams.cli.running import find_settings
from streams.cli.screen import tell
from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.settings import Settings


async def emit(settings: Settings, path: str) -> tuple[int, int]:
    """How many were acknowledged, and how many lines are not events."""
    kafka = KafkaClient(settings.bootstrap)
    sent = wrong = 0
    try:
        producer: AIOKafkaProducer = await kafka.producer()
        with Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
            task = progress.add_task("events", total=None)
            for chunk in checked(path, int(time.time() * 1000)):
                for problem in chunk.problems:
                    tell(problem, err=True)
                wrong += len(chunk.problems)
                futures = [
                    await producer.send(topics.EVENTS, line, key=str(json.loads(line)["event_id"]).encode())
                    for line in chunk.lines.values()
                ]
                await asyncio.gather(*futures)
                sent += len(futures)
                progress.update(task, completed=sent)
    finally:
        await kafka.close()
    return sent, wrong


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("emit")
    def command(
        file: str = typer.Argument(help="JSON Lines of usage events; - is standard input."),
        data: Path | None = typer.Option(None, help="Folder of the stack."),
        bootstrap: str | None = typer.Option(None, help="Kafka, host:port."),
    ) -> None:
        """Send usage events; exit 1 when a line is not one. Example: [bold]usage-streams emit events.jsonl[/bold]"""
        sent, wrong = asyncio.run(emit(find_settings(bootstrap, None, data), file))
        tell(f"acknowledged {sent}" + (f", not events {wrong}" if wrong else ""))
        raise typer.Exit(1 if wrong else 0)
