"""`usage-streams tail TOPIC`: watch alerts, budgets, dead letters, the ledger, runs of corrections or commands go by."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from streams.cli.running import find_settings
from streams.cli.screen import tell
from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.kafka.ports import Message
from streams.settings import Settings
from streams.watch.freshness import is_beat

KINDS = {
    "alerts": topics.ALERTS,
    "budgets": topics.BUDGETS,
    "dead": topics.DEAD,
    "enforcements": topics.ENFORCEMENTS,
    "ledger": topics.RATED,
    "runs": topics.RUNS,
    "commands": topics.COMMANDS,
}
PAUSE_SECONDS = 0.3


def line_of(kind: str, partition: int, message: Message) -> str:
    """One record in one line; never a payload of somebody else's record."""
    headers = dict(message.headers)
    if kind == "dead":
        said = {name: headers.get(name, b"").decode() for name in ("p", "offset", "reason", "detail")}
        return json.dumps(said)
    if kind == "ledger":
        names = ("base", "to", "rated", "catalog_sequence")
        return json.dumps({"p": partition, "at": message.offset, **{n: int(headers[n]) for n in names}})
    return (message.value or b"null").decode()


def newest(lines: Sequence[str]) -> list[str]:
    """Of records of budgets the newest of each scope: what was before is history that compaction has not reached yet."""
    kept = dict[str, tuple[int, str]]()
    for line in lines:
        found = json.loads(line)
        if found is None:
            continue
        scope, at = found["scope"], found["stamp"]["offset"]
        if scope not in kept or kept[scope][0] <= at:
            kept[scope] = (at, line)
    return [line for _, line in kept.values()]


def _write(line: str) -> None:
    """Whoever reads a pipe gets the record as it is."""
    (tell if sys.stdout.isatty() else typer.echo)(line)


async def tail(settings: Settings, kind: str, follow: bool) -> None:
    """Print what is there, then what comes. Of budgets, which are states, of what is there the newest alone."""
    kafka = KafkaClient(settings.bootstrap)
    try:
        at = dict.fromkeys(await kafka.partitions(KINDS[kind]), 0)
        while True:
            for partition in at:
                log = kafka.log(KINDS[kind], partition)
                begin, end = await log.bounds()
                messages = log.read(max(begin, at[partition]), end)
                if kind == "budgets" and not at[partition]:
                    for line in newest([line_of(kind, partition, m) async for m in messages if not is_beat(m.key)]):
                        _write(line)
                else:
                    async for message in messages:
                        if not is_beat(message.key):
                            _write(line_of(kind, partition, message))
                at[partition] = end
            if not follow:
                return
            await asyncio.sleep(PAUSE_SECONDS)
    finally:
        await kafka.close()


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("tail")
    def command(
        kind: str = typer.Argument(
            "alerts", help=f"One of {', '.join(KINDS)}; of budgets the newest state of each scope."
        ),
        follow: bool = typer.Option(True, help="Go on until Ctrl-C."),
        data: Path | None = typer.Option(None, help="Folder of the stack."),
        bootstrap: str | None = typer.Option(None, help="Kafka, host:port."),
    ) -> None:
        """Watch a topic, one JSON line a record. Example: [bold]usage-streams tail alerts[/bold]"""
        if kind not in KINDS:
            raise typer.BadParameter(f"{kind}: choose from {', '.join(KINDS)}")
        try:
            asyncio.run(tail(find_settings(bootstrap, None, data), kind, follow))
        except KeyboardInterrupt:
            return
