"""`make bench`: what an event costs the meter, beside reading alone and beside other ways to do the same job.

Rates are of this machine and this run, so only ratios say something. The last line is one JSON object.
    python -m tests.bench.meter --events 600000 --memory --latency
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget
from streams.catalog.models import Catalog
from streams.catalog.prices import Price
from streams.cli.apply import publish
from streams.cli.running import find_settings
from streams.cli.up import bring_up, take_down
from streams.cli.worker import environment_of, stage_command
from streams.jobs.conservation import accounts, conservation
from streams.kafka.client import KafkaClient
from streams.kafka.commits import committed_offsets
from streams.pipeline.seen import SeenSet
from streams.settings import Settings, group_of
from tests.bench import latency, pricing, watch
from tests.bench.load import MODELS, fill

ENOUGH = {"by_hand": 400_000, "stock_faust": 15_000}  # these are slow and steady from the first second
BUCKETS = {"input_uncached": "0.000002", "input_cache_read": "0.0000002", "output_visible": "0.00001"}
Row = dict[str, Any]


def catalog() -> Catalog:
    """Prices of the models of the load, and one budget a team."""
    start = datetime(2025, 1, 1, tzinfo=UTC)
    prices = [
        Price(
            provider="openai",
            model=m,
            bucket=b,
            unit_price=Decimal(p),
            effective_from=start,
            source="bench",
            currency="USD",
        )
        for m in MODELS
        for b, p in BUCKETS.items()
    ]
    budget = Budget(id="team-day", each=("team",), limit=Decimal(10**9), period=Calendar(every="day"))
    return Catalog(prices=tuple(prices), budgets=(budget,))


class Bench:
    """One stack; a topic of its own for each kind of load, since a ledger belongs to its topic."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        bring_up(folder, stages=())
        self.settings: Settings = find_settings(data=folder)
        asyncio.run(publish(self.settings, catalog(), dry_run=False, confirm=False))

    def peer(self, name: str, count: int) -> Row:
        command = [sys.executable, "-m", "tests.bench.peers", name, self.settings.bootstrap, str(count)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr[-2000:]}")
        found = json.loads(done.stdout.splitlines()[-1])
        return {"rate": found["events"] / found["seconds"], "cpu_us": found["cpu_us"], "events": found["events"]}

    def meter(self, count: int) -> Row:
        """The real worker, from before its first batch until the totals of the last one are acknowledged; then committed."""
        log = (self.folder / "bench-meter.log").open("ab")
        process = subprocess.Popen(stage_command("meter"), env=environment_of(self.settings), stdout=log, stderr=log)
        try:
            return asyncio.run(self._follow(psutil.Process(process.pid), count))
        finally:
            process.terminate()
            process.wait(30)
            log.close()

    async def _follow(self, process: psutil.Process, count: int) -> Row:
        kafka = KafkaClient(self.settings.bootstrap)
        try:
            await kafka.producer()
            parts = await kafka.partitions("usage.rated")
            first: tuple[float, float] | None = None
            covered = 0
            while covered < count:
                ends = [(await kafka.log("usage.rated", p).bounds())[1] for p in parts]
                now = time.perf_counter(), sum(process.cpu_times()[:2])
                if first is None:
                    if not any(ends):
                        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                            raise SystemExit(f"the meter ended; see {self.folder}/bench-meter.log")
                        start = now
                        await asyncio.sleep(0.02)
                        continue
                    first = start
                covered = sum([await self._mark(kafka, p, end) for p, end in zip(parts, ends, strict=True)])
                await asyncio.sleep(0.05)
            while not await self._totals_hold(kafka, dict(zip(parts, ends, strict=True))):
                await asyncio.sleep(0.05)
            wall, cpu = (
                b - a for a, b in zip(first or now, (time.perf_counter(), sum(process.cpu_times()[:2])), strict=True)
            )
            async with asyncio.timeout(30):  # commits come once a second, so they do not end the clock
                group = group_of(self.settings, "meter")
                while sum((await committed_offsets(self.settings.bootstrap, group)).values()) < count:
                    await asyncio.sleep(0.2)
            found = await accounts(kafka, group, 0, {})
            account = conservation(found, None)
            memory = process.memory_info().rss >> 20
            return {
                "rate": count / wall,
                "cpu_us": cpu / count * 1e6,
                "events": count,
                "rss_mib": memory,
                "account": dict(account),
            }
        finally:
            await kafka.close()

    @staticmethod
    async def _mark(kafka: KafkaClient, partition: int, end: int) -> int:
        """What the last ledger message covers; the bench has one writer, so every message counts."""
        if not end:
            return 0
        async for message in kafka.log("usage.rated", partition).read(end - 1, end):
            return int(dict(message.headers)["to"]) + 1
        return 0

    @staticmethod
    async def _totals_hold(kafka: KafkaClient, ends: dict[int, int]) -> bool:
        """Does every partition of totals hold the last message of every partition of the ledger?"""
        for q in await kafka.partitions("usage.totals"):
            log = kafka.log("usage.totals", q)
            begin, end = await log.bounds()
            last: dict[int, int] = {}
            async for message in log.read(max(begin, end - 64), end):
                headers = dict(message.headers)
                last[int(headers["p"])] = int(headers["at"])
            if any(last.get(p, -1) != end - 1 for p, end in ends.items()):
                return False
        return True

    def close(self) -> None:
        take_down(self.folder)


def show(name: str, row: Row, base: float) -> None:
    print(
        f"{name:<14}{row['rate']:>12,.0f}/s{row['cpu_us']:>10.1f} us CPU{row['rate'] / base:>8.2f} of reading",
        flush=True,
    )


def run(count: int, with_memory: bool, with_latency: bool, with_check: bool, with_watch: bool) -> dict[str, Any]:
    """Every variant; each kind of load has a stack of its own."""
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        root = Path(name)
        bench = Bench(root / "avro")
        fill(bench.settings.bootstrap, "usage.events", count)
        rows["raw_read"] = bench.peer("raw_read", count)
        base = rows["raw_read"]["rate"]
        show("raw_read", rows["raw_read"], base)
        for variant in ("meter", "by_hand", "stock_faust"):
            at = min(count, ENOUGH.get(variant, count))
            rows[variant] = bench.meter(at) if variant == "meter" else bench.peer(variant, at)
            show(variant, rows[variant], base)
        bench.close()
        for variant, options in (("meter_bad", {"bad": 0.005}), ("meter_json", {"as_json": True})):
            bench = Bench(root / variant)
            fill(bench.settings.bootstrap, "usage.events", count, **options)
            rows[variant] = bench.meter(count)
            show(variant, rows[variant], base)
            bench.close()
        report: dict[str, Any] = {"variants": rows, "ratios": ratios(rows), "pricing": pricing.measure()}
        if with_memory:
            report["memory"] = memory(root)
        if with_latency:
            report["latency"] = latency.measure(root / "latency")
        if with_check:
            from tests.bench import check  # which takes its prices from here

            report["check"] = check.measure(root / "check")
        if with_watch:
            report["watch"] = watch.measure(root / "watch", 1_000_000)
    return report


def ratios(rows: dict[str, Row]) -> dict[str, float]:
    """The figures that the project promises."""
    rate = {name: row["rate"] for name, row in rows.items()}
    return {
        "meter_of_raw_read": round(rate["meter"] / rate["raw_read"], 3),
        "meter_of_by_hand": round(rate["meter"] / rate["by_hand"], 2),
        "meter_of_stock_faust": round(rate["meter"] / rate["stock_faust"], 1),
        "bad_of_meter": round(rate["meter_bad"] / rate["meter"], 3),
        "json_of_meter": round(rate["meter_json"] / rate["meter"], 3),
    }


def memory(root: Path) -> dict[str, int]:
    """Resident MiB of the meter after 1 and after 5 million events of one topic, and what its seen set holds of that."""
    bench = Bench(root / "memory")
    found: dict[str, int] = {}
    fill(bench.settings.bootstrap, "usage.events", 1_000_000)
    found["rss_mib_1m"] = bench.meter(1_000_000)["rss_mib"]
    bench.close()
    bench = Bench(root / "memory5")
    fill(bench.settings.bootstrap, "usage.events", 5_000_000)
    found["rss_mib_5m"] = bench.meter(5_000_000)["rss_mib"]
    bench.close()
    found |= {"seen_mib_1m": seen_mib(1_000_000), "seen_mib_5m": seen_mib(5_000_000)}
    grew, seen = (found[f"{what}_mib_5m"] - found[f"{what}_mib_1m"] for what in ("rss", "seen"))
    print(f"memory        {found['rss_mib_1m']} MiB after 1 million, {found['rss_mib_5m']} MiB after 5 million:")
    print(f"              {grew} MiB more, of which the seen set explains {seen} MiB")
    return found


def seen_mib(count: int) -> int:
    """Of the ids of `count` events, added chunk by chunk as the meter does."""
    seen, rng, step = SeenSet(168 * 60), np.random.default_rng(1), 10_000
    for _ in range(count // step):
        keys, prints = (rng.integers(0, 2**63, step).astype(np.uint64) for _ in range(2))
        seen = seen.add(keys, prints, np.full(step, 29_000_000, np.uint32))
    return int(seen.size_bytes >> 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_500_000)
    parser.add_argument("--memory", action="store_true", help="also fill 6 million events; takes minutes")
    parser.add_argument("--latency", action="store_true", help="also 2,000 events/s through everything")
    parser.add_argument("--check", action="store_true", help="also 2,000 checks/s over HTTP beside the stages")
    parser.add_argument("--watch", action="store_true", help="also one worker with a million scopes")
    given = parser.parse_args()
    report = run(given.events, given.memory, given.latency, given.check, given.watch)
    flat = {name: round(row["rate"]) for name, row in report["variants"].items()}
    cpu = {name: round(row["cpu_us"], 2) for name, row in report["variants"].items()}
    print(json.dumps({**flat, "cpu_us": cpu, **{k: v for k, v in report.items() if k != "variants"}}))


if __name__ == "__main__":
    main()
