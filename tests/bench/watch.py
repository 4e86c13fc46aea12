"""`make bench ARGS=--watch`: what a scope costs a worker in time, in memory, on disk and on the log, and how soon a new one
knows them all.

    python -m tests.bench.watch 1000000

The broker and the protocol are real: totals of one partition are on usage.totals, a process of its own takes them one
message at a time as the agent does. Each scope is a user with a day's budget and a rolling hour.
first: every scope is new; again: every scope once more, in another order, so that most come from the local file.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil

from streams.agents.tracks import SqliteTracks
from streams.agents.watch_partition import WatchPartition, WatchPorts
from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, Rolling
from streams.catalog.models import Catalog
from streams.cli.apply import publish
from streams.cli.running import find_settings
from streams.cli.up import bring_up, take_down
from streams.kafka import topics
from streams.kafka.catalog_log import CatalogLog
from streams.kafka.client import KafkaClient
from streams.kafka.ports import append_surely
from streams.pipeline.frames import Record
from streams.pipeline.totals import TOTALS, split
from streams.settings import Settings

ROWS = 2_000  # of one message of totals: some seconds of the meter's work
RULES = ("day", "hour")  # each scope stands for one user under one of them
START = 1_794_000_000_000
STREAM = "bench"
PLACES = {"rss": "in memory", "disk": "on disk", "log": "on the log"}


def catalog() -> Catalog:
    """A day's budget and a rolling hour for each user."""
    periods = (Calendar(every="day"), Rolling(size="1h"))
    return Catalog(
        budgets=tuple(
            Budget(id=name, each=("user_id",), limit=Decimal(5), period=period, contributors=("model",))
            for name, period in zip(RULES, periods, strict=True)
        )
    )


def payload(numbers: Sequence[int], at: int) -> bytes:
    """Totals of these scopes at that moment, as the meter would send them."""
    n = len(numbers)
    cause = [{"dimension": "model", "value": f"model-{i % 7}", "amount": Decimal("0.0125")} for i in range(7)]
    frame = pl.DataFrame(
        {
            "scope": [f"{RULES[i % 2]}|tenant_id=acme|user_id=user-{i // 2:07d}" for i in numbers],
            "slice": [at - at % 60_000] * n,
            "currency": ["USD"] * n,
            "events": [2] * n,
            "tokens": [1_834] * n,
            "unpriced": [0] * n,
            "unpriced_tokens": [0] * n,
            "cost": [Decimal("0.0125")] * n,
            "first_ms": [at] * n,
            "last_ms": [at + 500] * n,
            "extras": [None] * n,
            "causes": [[cause[i % 7]] for i in numbers],
        },
        schema=TOTALS,
    )
    return split(frame, 1)[0]


class Worker:
    """One watch in a process of its own, over the real broker."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.kafka, self.folder, self.process = KafkaClient(settings.bootstrap), folder, psutil.Process()
        self.empty = self.process.memory_info().rss
        self.watch: WatchPartition | None = None
        self.sent = 0

    async def open(self) -> float:
        """Seconds."""
        kafka = self.kafka
        await kafka.producer()
        catalogs = CatalogLog(kafka.log(topics.CATALOG, 0))
        await catalogs.refresh()
        ports = WatchPorts(
            partition=0, partitions=1, totals=kafka.log(topics.TOTALS, 0), state=kafka.log(topics.STATE, 0),
            alerts=kafka.log(topics.ALERTS, 0), budgets=kafka.log(topics.BUDGETS, 0),
            enforcements=kafka.log(topics.ENFORCEMENTS, 0), commands=kafka.log(topics.COMMANDS, 0),
            ledger=lambda p: kafka.log(topics.RATED, p), adjustments=lambda p: kafka.log(topics.ADJUSTMENTS, p),
            catalogs=catalogs, stream=STREAM, tracks=lambda: SqliteTracks.of_partition(self.folder, 0),
            now_ms=lambda: START,
        )  # fmt: skip
        began = time.perf_counter()
        self.watch = await WatchPartition.open(ports)
        return time.perf_counter() - began

    async def fill(self, order: Sequence[int]) -> None:
        """Totals of every scope, in that order, as the meter would have sent them."""
        assert self.watch is not None
        for first in range(0, len(order), ROWS):
            at, self.sent = self.sent, self.sent + 1
            headers = [("stream", STREAM.encode()), ("p", b"0"), ("at", str(at).encode()),
                       ("previous", str(at - 1).encode()), ("catalog_sequence", b"1")]  # fmt: skip
            await append_surely(self.watch.ports.totals, payload(order[first : first + ROWS], START + at * 20), headers)

    async def take(self) -> dict[str, float]:
        """Everything that was sent: what a scope takes, the budget's record and the state included."""
        assert self.watch is not None
        self.watch.ticked_at = time.monotonic() + 86_400  # ticks would be messages of our own in between
        began, cpu, count = time.perf_counter(), sum(self.process.cpu_times()[:2]), 0
        for at in range(
            self.watch.at + 1, (await self.watch.ports.totals.bounds())[1]
        ):  # the log has one reader, and the watch reads while it works
            for m in [m async for m in self.watch.ports.totals.read(at, at + 1)]:
                await self.watch.settle([Record(m.offset, m.timestamp, m.value, m.headers)])
            count += ROWS
        self.watch.saved_at = 0.0
        await self.watch._save()
        wall, used = time.perf_counter() - began, sum(self.process.cpu_times()[:2]) - cpu
        return {"scopes_per_s": round(count / wall), "cpu_us_a_scope": round(used / count * 1e6, 1)}

    async def figures(self) -> dict[str, float]:
        """What the worker holds now."""
        assert self.watch is not None
        scopes = len(self.watch.state.tracks)
        begin, end = await self.watch.ports.state.bounds()
        log = 0
        async for message in self.watch.ports.state.read(begin, end):
            log += len(message.value or b"")
        disk = sum(path.stat().st_size for path in self.folder.glob("*.sqlite*"))
        rss = self.process.memory_info().rss - self.empty
        return {
            "scopes": scopes,
            "rss_mib": rss >> 20,
            "rss_bytes_a_scope": round(rss / scopes),
            "disk_bytes_a_scope": round(disk / scopes),
            "log_bytes_a_scope": round(log / scopes),
        }

    async def close(self) -> None:
        if self.watch is not None:
            self.watch.close()
        await self.kafka.close()


async def part(name: str, data: Path, folder: Path, scopes: int) -> dict[str, Any]:
    """What one process does: take everything, or open what is there."""
    worker, found = Worker(find_settings(data=data), folder), dict[str, Any]()
    try:
        found["open_s"] = round(await worker.open(), 2)
        if name == "take":
            shuffled = np.random.default_rng(1).permutation(scopes).tolist()
            for turn, order in (("first", range(scopes)), ("again", shuffled)):
                await worker.fill(order)
                found[turn] = await worker.take()
        found |= await worker.figures()
    finally:
        await worker.close()
    return found


def in_process(name: str, data: Path, folder: Path, scopes: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.watch", f"--{name}", str(data), str(folder), str(scopes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3_600, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(root: Path, scopes: int) -> dict[str, Any]:
    """Take them, open them from the local file, open them on an empty machine."""
    data = root / "stack"
    bring_up(data, ())
    try:
        settings = find_settings(data=data)
        asyncio.run(publish(settings, catalog(), dry_run=False, confirm=False))
        found = {
            name: in_process(part, data, root / folder, scopes)
            for name, part, folder in (("take", "take", "a"), ("from_file", "open", "a"), ("from_log", "open", "b"))
        }
    finally:
        take_down(data)
    take = found["take"]
    for name in ("first", "again"):
        print(
            f"watch {name:<10}{take[name]['scopes_per_s']:>10,} scopes/s{take[name]['cpu_us_a_scope']:>8.1f} us CPU a scope"
        )
    size = ", ".join(f"{take[f'{what}_bytes_a_scope']} {where}" for what, where in PLACES.items())
    print(f"state of {take['scopes']:,} scopes, bytes a scope: {size}; {take['rss_mib']} MiB resident in all")
    for name in ("from_file", "from_log"):
        print(f"known again {name.replace('_', ' the ')} after {found[name]['open_s']} s")
    return found


def main(arguments: Sequence[str]) -> None:
    match arguments:
        case ["--take" | "--open" as name, data, folder, scopes]:
            print(json.dumps(asyncio.run(part(name[2:], Path(data), Path(folder), int(scopes)))))
        case [] | [_]:
            count = int(arguments[0]) if arguments else 1_000_000
            with tempfile.TemporaryDirectory(prefix="bench-watch-") as root:
                print(json.dumps(measure(Path(root), count)))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
