"""`usage-streams tail TOPIC`: watch alerts, budgets, dead letters, the ledger, runs of corrections or commands go by."""

import asyncio
import heapq
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
    return (message.value or b"null").decode(errors="replace")


def newest(lines: Sequence[str]) -> list[str]:
    """Of records of budgets the newest of each scope: what was before is history that compaction has not reached yet."""
    kept = dict[str, tuple[int, str]]()
    for line in lines:
        try:
            found = json.loads(line)
            scope, at = str(found["scope"]), int(found["stamp"]["offset"])
        except (KeyError, TypeError, ValueError):  # a tombstone, or what no watch wrote
            continue
        if scope not in kept or kept[scope][0] <= at:
            kept[scope] = (at, line)
    return [line for _, line in kept.values()]


def _write(line: str) -> None:
    """Whoever reads a pipe gets the record as it is."""
    (tell if sys.stdout.isatty() else typer.echo)(line)


class Backlog:
    """Of what was there before, the last `most` lines in the order of the broker's clock, and how many were left out."""

    def __init__(self, most: int) -> None:
        self.most, self.seen = most, 0
        self._kept = list[
            tuple[int, int, str]
        ]()  # a heap: the oldest first, in the order of arrival where they are as old

    def add(self, at: int, line: str) -> None:
        """at: when the broker took it."""
        self.seen += 1
        keep = heapq.heappush if len(self._kept) < self.most else heapq.heappushpop
        keep(self._kept, (at, self.seen, line))

    def lines(self) -> list[str]:
        return [line for _, _, line in sorted(self._kept)]

    @property
    def left_out(self) -> int:
        return self.seen - len(self._kept)


async def tail(settings: Settings, kind: str, follow: bool, most: int) -> None:
    """Print the last of what is there, then what comes. Of budgets, which are states, of what is there the newest alone.

    most: so many of what is there; 0 = all, as it comes
    """
    kafka = KafkaClient(settings.bootstrap)
    backlog: Backlog | None = Backlog(most) if most else None
    try:
        at = dict.fromkeys(await kafka.partitions(KINDS[kind]), 0)
        while True:
            for partition in at:
                log = kafka.log(KINDS[kind], partition)
                begin, end = await log.bounds()
                found = (
                    (m.timestamp, line_of(kind, partition, m))
                    async for m in log.read(max(begin, at[partition]), end)
                    if not is_beat(m.key)
                )
                if kind == "budgets" and not at[partition]:
                    times = {line: taken async for taken, line in found}
                    for line in newest([*times]):
                        backlog.add(times[line], line) if backlog else _write(line)
                else:
                    async for taken, line in found:
                        backlog.add(taken, line) if backlog else _write(line)
                at[partition] = end
            if backlog:
                for line in backlog.lines():
                    _write(line)
                if backlog.left_out:
                    tell(
                        f"usage-streams: {backlog.left_out:,} older records are left out; --most 0 prints all", err=True
                    )
                backlog = None  # what comes from here on is printed as it comes
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
        most: int = typer.Option(200, min=0, help="So many of those that are there, the newest; 0 for all."),
        data: Path | None = typer.Option(None, help="Folder of the stack."),
        bootstrap: str | None = typer.Option(None, help="Kafka, host:port."),
    ) -> None:
        """Watch a topic, one JSON line a record. Example: [bold]usage-streams tail alerts[/bold]"""
        if kind not in KINDS:
            raise typer.BadParameter(f"{kind}: choose from {', '.join(KINDS)}")
        try:
            asyncio.run(tail(find_settings(bootstrap, None, data), kind, follow, most))
        except KeyboardInterrupt:
            return
