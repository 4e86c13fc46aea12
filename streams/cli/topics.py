"""`usage-streams topics`: list the topics, create what is missing, mint the identity of the source stream."""

import asyncio
import uuid
from pathlib import Path

import typer

from streams.cli.running import find_settings
from streams.cli.screen import tell
from streams.kafka import topics
from streams.kafka.catalog_log import CatalogLog
from streams.kafka.client import KafkaClient
from streams.settings import Settings


async def prepare(settings: Settings) -> list[str]:
    """Topics and the identity of usage.events; harmless to repeat. The names of new topics."""
    kafka = KafkaClient(settings.bootstrap)
    try:
        await kafka.producer()  # says in one line when no broker answers
        made = await topics.create_topics(settings)
        await CatalogLog(kafka.log(topics.CATALOG, 0)).identify(topics.EVENTS, uuid.uuid4().hex)
    finally:
        await kafka.close()
    return made


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("topics")
    def command(
        data: Path | None = typer.Option(None, help="Folder of the stack."),
        bootstrap: str | None = typer.Option(None, help="Kafka, host:port."),
    ) -> None:
        """Create the topics that are missing. Example: [bold]usage-streams topics[/bold]"""
        made = asyncio.run(prepare(find_settings(bootstrap, None, data)))
        tell(f"created {', '.join(made)}" if made else "all topics are there")
