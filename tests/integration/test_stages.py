"""Real broker, real engine, the stages as processes: numbers are exact whatever happens to the processes."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest
from clickhouse_connect.driver.client import Client

from streams.settings import Settings
from tests.conftest import Check
from tests.support.stages import Stage, until
from tests.support.traffic import Sent, account, produce, stored_events

pytestmark = pytest.mark.integration
Start = Callable[..., Stage]


def stored_at_least(client: Client, count: int) -> bool:
    return stored_events(client, "killed") >= count


def test_what_is_produced_is_what_sql_and_budgets_say(
    settings: Settings, client: Client, stage: Start, check: Check
) -> None:
    before = asyncio.run(account(settings))
    stages = [stage(name) for name in ("meter", "watch", "warehouse")]

    sent = asyncio.run(produce(settings, "plain", 6_000))

    check(sent, before, stages)
    rows = client.query(
        "SELECT countIf(pricing_status = 'unpriced'), countIf(effective_cost = 0) FROM usage.usage_events"
        " WHERE tenant_id = 'plain'"
    ).result_rows
    assert rows == [(sent.unpriced, 0)]
    alerts = client.query("SELECT budget_id, state FROM usage.alerts WHERE tenant_id = 'plain'").result_rows
    assert alerts == [("no-price", "firing")]


@pytest.mark.chaos
def test_stages_killed_at_any_moment_lose_nothing_and_count_nothing_twice(
    settings: Settings, client: Client, stage: Start, check: Check
) -> None:
    before, sent = asyncio.run(account(settings)), Sent("killed")
    live = {name: stage(name, worker_id="k") for name in ("meter", "watch", "warehouse")}
    spare = [*live.values()]

    for round_, name in enumerate(["meter", "watch", "meter", "warehouse", "meter"]):
        asyncio.run(produce(settings, "killed", 2_000, round_ * 2_000, sent))
        want = sent.good * (round_ + 1) // 6  # while there is work left, another moment each time
        until(partial(stored_at_least, client, want), 60, f"{want} stored", live["meter"].said)
        live[name].kill()
        live[name] = stage(name, worker_id="k")
        spare.append(live[name])

    check(sent, before, spare)


@pytest.mark.chaos
def test_workers_join_and_leave_and_share_the_partitions(
    settings: Settings, client: Client, stage: Start, check: Check
) -> None:
    before, sent = asyncio.run(account(settings)), Sent("shared")
    stages = [stage(name) for name in ("meter", "watch", "warehouse")]
    asyncio.run(produce(settings, "shared", 3_000, 0, sent))
    joined = stage("meter"), stage("watch"), stage("warehouse")
    asyncio.run(produce(settings, "shared", 3_000, 3_000, sent))
    until(lambda: stored_events(client, "shared") > 3_000, 60, "the second half begun", joined[0].said)
    for one in stages:
        assert one.stop() == 0, one.said()
    asyncio.run(produce(settings, "shared", 3_000, 6_000, sent))

    check(sent, before, [*stages, *joined])


@pytest.mark.chaos
def test_a_zombie_that_wakes_up_harms_nothing(settings: Settings, client: Client, stage: Start, check: Check) -> None:
    before, sent = asyncio.run(account(settings)), Sent("zombie")
    zombies = [stage(name) for name in ("meter", "watch", "warehouse")]
    asyncio.run(produce(settings, "zombie", 2_000, 0, sent))
    until(lambda: stored_events(client, "zombie") > 0, 60, "work begun", zombies[0].said)
    for zombie in zombies:
        zombie.freeze()
    asyncio.run(produce(settings, "zombie", 2_000, 2_000, sent))
    heirs = [stage(name) for name in ("meter", "watch", "warehouse")]
    until(lambda: stored_events(client, "zombie") >= sent.good, 60, "the heirs done", heirs[0].said)

    for zombie in zombies:
        zombie.thaw()
    asyncio.run(produce(settings, "zombie", 2_000, 4_000, sent))

    check(sent, before, [*zombies, *heirs])
