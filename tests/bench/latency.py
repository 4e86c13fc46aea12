"""How long an event takes to the ledger, an alert and SQL, at a steady rate with everything on one machine."""

import asyncio
import time
from pathlib import Path
from typing import Any

from streams.cli.apply import publish, read_folder
from streams.cli.running import find_settings
from streams.cli.up import bring_up, take_down
from streams.demo.actual import latencies, stored
from streams.producer import UsageProducer
from streams.resources import catalog_folder
from streams.warehouse.client import connect
from tests.support.events import event

RATE, SECONDS, TEAMS = 2_000, 30, 40


async def produce(bootstrap: str, tenant: str, rate: int, seconds: int) -> int:
    """A steady rate; each team crosses its budget at a moment of its own, so that alerts are spread over the run."""
    loop = asyncio.get_running_loop()
    async with UsageProducer(bootstrap) as usage:
        started, number = loop.time(), 0
        while number < rate * seconds:
            due = min(rate * seconds, int((loop.time() - started) * rate))
            for i in range(number, due):
                team = i % TEAMS
                tokens = 12_000 * (1 + team)  # a team's budget of 40 USD is used up between 1 s and the end
                usage_json = f'{{"prompt_tokens":{tokens},"completion_tokens":100,"total_tokens":{tokens + 100}}}'
                await usage.send(
                    event(
                        i, tenant_id=tenant, event_time=int(time.time() * 1000), team=f"t{team}", usage_json=usage_json
                    )
                )
            number = max(number, due)
            await asyncio.sleep(0.005)
        await usage.flush()
    return number


def measure(folder: Path, rate: int = RATE, seconds: int = SECONDS) -> dict[str, Any]:
    """p50 and p99 in ms, per way; the stack is started and stopped here."""
    bring_up(folder)
    settings = find_settings(data=folder)
    asyncio.run(publish(settings, read_folder(catalog_folder()), dry_run=False, confirm=False))
    client = connect(settings.clickhouse_url)
    asyncio.run(produce(settings.bootstrap, "warm", 200, 8))  # the stages have started and joined their groups
    while stored(client, "warm") < 1_600:
        time.sleep(0.2)
    sent = asyncio.run(produce(settings.bootstrap, "steady", rate, seconds))
    while stored(client, "steady") < sent:
        time.sleep(0.2)
    time.sleep(2)  # alerts are copied beside
    found = latencies(client, "steady")
    take_down(folder)
    for name, took in found.items():
        print(f"event to {name:<10}p50 {took['p50_ms']:>6.0f} ms, p99 {took['p99_ms']:>6.0f} ms at {rate:,} events/s")
    return {"rate": rate, "events": sent, **found}
