"""The scene of the runaway agent: it asks before each request, crosses the budget of its run, and is told to stop.

The agent loop is what a user would write: ask `GET /v1/check`, obey, send the usage event. Nothing here knows how a verdict
comes about; what must come is computed from the catalog's prices and the limit in its TOML.
"""

import asyncio
import json
import time
import tomllib
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, localcontext
from typing import Any
from urllib.parse import urlencode

import urllib3

from streams.demo.expected import prices_of
from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.producer import UsageProducer, tool_call_hash

RUNS = "agent-run"
MODEL, TOKENS = "claude-sonnet-4-5", {"input_uncached": 60_000, "output_visible": 1_500}
BLOCK = {"input_tokens": 60_000, "cache_read_input_tokens": 0, "output_tokens": 1_500}
THINK_SECONDS = 0.1  # between two requests of the agent
MOST = 200  # requests, should nobody ever stop it


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of it. crossing: number of the request that reached the limit; stopped_ms: from sending it to the verdict.

    cost: of all requests that were made, the overshoot included
    """

    requests: int
    crossing: int
    stopped_ms: float
    cost: Decimal
    verdict: str
    text: str


def price(toml: str) -> Decimal:
    """What one request costs, by the catalog's prices."""
    prices = prices_of(toml)
    with localcontext(prec=60):
        return sum((prices[MODEL, bucket] * count for bucket, count in TOKENS.items()), Decimal(0))


def limit(toml: str) -> Decimal:
    """What a run may cost, by the catalog's limits."""
    return next(Decimal(r["cost"]) for r in tomllib.loads(toml)["runs"] if r["id"] == RUNS)


def ask(api: str, tenant: str, run: str) -> dict[str, Any]:
    """May the run go on?"""
    found = urllib3.request("GET", f"{api}/v1/check?{urlencode({'tenant_id': tenant, 'run_id': run})}", timeout=5)
    answer: dict[str, Any] = json.loads(found.data)
    return answer


async def run_away(bootstrap: str, api: str, tenant: str, run: str, each: Decimal, most: Decimal) -> Ran:
    """Requests until the verdict is stop, one after the other; every one is asked for."""
    crossing, sent_at, stopped_at = (most / each).to_integral_value(ROUND_CEILING), 0.0, 0.0
    number, answer = 0, await asyncio.to_thread(ask, api, tenant, run)
    async with UsageProducer(bootstrap) as usage:
        while answer["verdict"] != "stop" and number < MOST:
            number += 1
            acknowledged = await usage.send(_event(tenant, run, number))
            if number == crossing:
                sent_at = time.monotonic()
            await acknowledged
            until = time.monotonic() + THINK_SECONDS
            while (
                answer["verdict"] != "stop" and time.monotonic() < until
            ):  # an agent asks once; the scene wants the moment
                await asyncio.sleep(0.01)
                answer = await asyncio.to_thread(ask, api, tenant, run)
            stopped_at = time.monotonic()
    with localcontext(prec=60):
        cost = each * number
    took = (stopped_at - sent_at) * 1000 if sent_at else 0.0
    return Ran(number, int(crossing), took, cost, answer["verdict"], answer["text"])


def _event(tenant: str, run: str, number: int) -> dict[str, Any]:
    return {
        "event_id": f"{run}-{number}",
        "tenant_id": tenant,
        "event_time": int(time.time() * 1000),
        "provider": "anthropic",
        "model": MODEL,
        "usage_dialect": "anthropic.messages",
        "usage_json": json.dumps(BLOCK, separators=(",", ":")),
        "application": "refunds",
        "environment": "production",
        "team": "support",
        "agent_id": "refund-agent",
        "user_id": "user-7",
        "run_id": run,
        "iteration": number,
        "tool_calls": 1,
        "tool_call_hashes": [tool_call_hash("look_up_order", {"page": number})],
        "usage_source": "provider",
    }


async def told(bootstrap: str, scope: str) -> list[dict[str, Any]]:
    """What was told of a scope on usage.notifications until now, in its order: records of alerts."""
    kafka = KafkaClient(bootstrap)
    log = kafka.log(topics.NOTIFICATIONS, 0)
    try:
        begin, end = await log.bounds()
        found: list[dict[str, Any]] = [json.loads(m.value or b"{}").get("data", {}) async for m in log.read(begin, end)]
    finally:
        await kafka.close()
    return [record for record in found if record.get("scope") == scope]
