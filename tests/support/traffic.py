"""Traffic with everything that happens: Avro, JSON, repeats, poison, a model without a price; and what must come of it."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from clickhouse_connect.driver.client import Client

from streams.cli.status import look
from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.settings import Settings
from tests.support.events import ENCODE, event, text
from tests.support.stages import Stage, until

COST = Decimal("0.00000175") * 100 + Decimal("0.000014") * 20  # of tests.support.events.OPENAI_USAGE with gpt-5.2
TEAMS = 5
TAKEN = set[str]()


@dataclass
class Sent:
    """What was produced, and so what must be there."""

    tenant: str
    good: int = 0
    repeats: int = 0
    poison: int = 0
    unpriced: int = 0
    by_team: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.good + self.repeats + self.poison

    def costs(self) -> dict[str, Decimal]:
        return {team: COST * n for team, n in self.by_team.items()}


async def produce(settings: Settings, tenant: str, count: int, start: int = 0, sent: Sent | None = None) -> Sent:
    """Numbers [start, start + count): each 50th poison, each 40th twice, each 30th without price, each 7th JSON."""
    if sent is None:
        if tenant in TAKEN:  # ids of the one would be conflicts of the other, and their costs one sum
            raise ValueError(f"tenant {tenant}: another test of this run has it; give each its own")
        TAKEN.add(tenant)
        sent = Sent(tenant)
    kafka = KafkaClient(settings.bootstrap)
    try:
        producer = await kafka.producer()
        futures, now = [], int(time.time() * 1000)
        for i in range(start, start + count):
            partition = i % settings.source_partitions
            if i % 50 == 49:
                futures.append(await producer.send(topics.EVENTS, b"poison", partition=partition))
                sent.poison += 1
                continue
            team, model = f"t{i % TEAMS}", "house-7b" if i % 30 == 29 else "gpt-5.2"
            other = {"tenant_id": tenant, "team": team, "event_time": now - i % 1000, "model": model}
            value = text(i, **other).value if i % 7 == 0 else ENCODE(event(i, **other))
            times = 2 if i % 40 == 39 else 1
            futures += [await producer.send(topics.EVENTS, value, partition=partition) for _ in range(times)]
            sent.repeats += i % 40 == 39
            sent.good += 1
            if model == "gpt-5.2":
                sent.by_team[team] += 1
            else:
                sent.unpriced += 1
        await asyncio.gather(*futures)
    finally:
        await kafka.close()
    return sent


async def account(settings: Settings) -> dict[str, int | None]:
    """The conservation account of the whole stack, as `status` gives it."""
    return dict((await look(settings))["conservation"])


def stored_costs(client: Client, tenant: str) -> dict[str, Decimal]:
    """By team, from SQL."""
    rows = client.query(
        "SELECT team, sum(effective_cost) FROM usage.usage_events"
        " WHERE tenant_id = {t:String} AND effective_cost IS NOT NULL GROUP BY team",
        parameters={"t": tenant},
    ).result_rows
    return {str(team): cost for team, cost in rows}


def stored_events(client: Client, tenant: str) -> int:
    sql = "SELECT count() FROM usage.usage_events WHERE tenant_id = {t:String}"
    return int(client.query(sql, parameters={"t": tenant}).result_rows[0][0])


def budget_use(client: Client, tenant: str) -> dict[str, Decimal]:
    """Used money of the rolling day by team, as the watch published it."""
    rows = client.query(
        "SELECT scope, used FROM usage.budgets WHERE tenant_id = {t:String} AND budget_id = 'team-rolling-day'",
        parameters={"t": tenant},
    ).result_rows
    return {str(scope).rpartition("=")[2]: used for scope, used in rows}


def compare(
    settings: Settings,
    client: Client,
    record_property: Callable[[str, object], None],
    sent: Sent,
    before: dict[str, int | None],
    stages: Sequence[Stage],
) -> None:
    """Wait until everything of `sent` is there, then compare to the last digit; `before` is the account before it."""

    def logs() -> str:
        return "\n".join(s.said()[-2000:] for s in stages)

    until(lambda: stored_events(client, sent.tenant) >= sent.good, 60, f"{sent.good} events of {sent.tenant}", logs)
    until(lambda: set(budget_use(client, sent.tenant).items()) == set(sent.costs().items()), 60, "budgets exact", logs)
    assert stored_events(client, sent.tenant) == sent.good
    assert stored_costs(client, sent.tenant) == sent.costs()
    until(lambda: asyncio.run(account(settings))["waiting"] == 0, 60, "marked as stored", logs)
    after = asyncio.run(account(settings))
    assert after["stored"] == after["rated"]
    record_property("difference", after["difference"])
    assert after["difference"] == 0
    gained = {k: (after[k] or 0) - (before[k] or 0) for k in ("produced", "rated", "duplicate", "dead", "lost")}
    assert gained == {
        "produced": sent.total,
        "rated": sent.good,
        "duplicate": sent.repeats,
        "dead": sent.poison,
        "lost": 0,
    }
