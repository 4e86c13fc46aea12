"""A weekly digest from the real broker and the real engine: spend, alerts, budgets at risk; once a week and owner."""

import asyncio
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from streams.agents.notify_digest import NO_WAREHOUSE, Digests, compute
from streams.agents.notify_log import DeliveryLog
from streams.catalog.book import compile_book
from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget
from streams.catalog.models import Catalog
from streams.catalog.routes import Digest, Endpoint
from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.notify.digest import due
from streams.notify.instants import rfc3339, utc
from streams.pipeline.seen import SeenSet
from streams.pipeline.settle import settle
from streams.settings import Settings
from streams.warehouse.client import connect
from streams.warehouse.insert import LedgerMessage, insert_ledger
from streams.warehouse.queries import run_query
from tests.support.events import DECODER, NOW, avro
from tests.support.notifying import alert
from tests.unit.pipeline.test_settle import PRICES

pytestmark = pytest.mark.integration
TENANT = "digested"
EACH = Decimal("0.000325")  # 100 x 0.00000125 + 20 x 0.00001
DAY = 86_400_000
ALWAYS = tuple(p.model_copy(update={"effective_from": utc(NOW - 100 * DAY)}) for p in PRICES)
WEEK_END = NOW + DAY
EVENTS: list[dict[str, Any]] = [
    {"team": "a", "event_time": NOW, "attributes": [{"key": "region_group", "value": "emea"}]},
    {"team": "a", "event_time": NOW - DAY},
    {"team": "b", "event_time": NOW - DAY},
    {"team": "a", "event_time": NOW - 8 * DAY},
    {"team": "b", "event_time": NOW - 20 * DAY},
]
BUDGETS = (
    Budget(
        id="digest-team", tenant=TENANT, each=("team",), limit=Decimal(1), owner="digest-owner",
        period=Calendar(every="month"),
    ),
    Budget(
        id="digest-emea", tenant=TENANT, where={"attributes.region_group": "emea"}, limit=Decimal(1), owner="digest-owner",
        period=Calendar(every="month"),
    ),
    Budget(id="other", tenant=TENANT, limit=Decimal(1), owner="somebody-else", period=Calendar(every="month")),
)  # fmt: skip
DIGEST = Digest(id="weekly", owners=("digest-owner",), tenant=TENANT, endpoints=("mail",), day="mon", hour=0)
MAIL = Endpoint.model_validate({"id": "mail", "kind": "topic"})
CATALOG = Catalog(budgets=BUDGETS, endpoints=(MAIL,), digests=(DIGEST,))


@pytest.fixture(scope="module")
def stored(settings: Settings) -> Iterator[Client]:
    """Two weeks of usage, as meter and warehouse would have written them; gone afterwards, as no ledger knows them."""
    records = [avro(i, tenant_id=TENANT, **event)._replace(offset=i) for i, event in enumerate(EVENTS)]
    outcome = settle(records, -1, SeenSet(10), DECODER, compile_book(Catalog(prices=ALWAYS), 1, "v1"), TENANT)
    client = connect(settings.clickhouse_url)
    insert_ledger(
        client, TENANT, 0, [LedgerMessage(i, NOW, b.headers(), b.payload) for i, b in enumerate(outcome.batches)]
    )
    yield client
    for table in ("rated_rows", "ledger_batches", "ledger_marks"):
        client.command(f"ALTER TABLE usage.{table} DELETE WHERE stream = '{TENANT}'", settings={"mutations_sync": 1})
    client.close()


async def tell(settings: Settings) -> None:
    """An alert of the owner, one of somebody else, and a budget that is nearly used up."""
    kafka = KafkaClient(settings.bootstrap)
    try:
        at = rfc3339(WEEK_END - DAY)
        for name, owner in (("digest-alert", "digest-owner"), ("digest-other", "somebody-else")):
            record = alert(name, tenant_id=TENANT, owner=owner, occurred_at=at)
            await kafka.log(topics.ALERTS, 0).append(json.dumps(record).encode(), [], name.encode())
        scope = f"digest-team|tenant_id={TENANT}|team=a"
        budget = {
            "scope": scope, "tenant_id": TENANT, "budget_id": "digest-team", "used": "0.95", "limit": "1", "unit": "cost",
            "currency": "USD", "verdict": "warn", "percent": "95.0", "period_start": at, "period_end": rfc3339(WEEK_END + DAY),
            "as_of": at, "headroom": "0.05", "stamp": {"stream": TENANT, "partition": 0, "offset": 1},
        }  # fmt: skip
        await kafka.log(topics.BUDGETS, 0).append(json.dumps(budget).encode(), [], scope.encode())
        body = await compute(settings, kafka, CATALOG, DIGEST, "digest-owner", WEEK_END)
        away = settings.model_copy(update={"clickhouse_url": "http://127.0.0.1:1"})
        without = await compute(away, kafka, CATALOG, DIGEST, "digest-owner", WEEK_END)
        await kafka.log(topics.BUDGETS, 0).append(None, [], scope.encode())
    finally:
        await kafka.close()
    teams = {one["scope"]: (one["this_week"], one["last_week"]) for one in body["spend"]}
    assert teams == {
        f"digest-team: {TENANT}, team=a": ("0.00065", "0.000325"),
        f"digest-team: {TENANT}, team=b": ("0.000325", "0"),
        f"digest-emea: {TENANT}": ("0.000325", "0"),
    }
    assert [one["scope"] for one in body["budgets"]] == [scope]
    assert body["note"] == ""
    assert (without["spend"], without["note"]) == ([], NO_WAREHOUSE)
    assert [one["scope"] for one in without["budgets"]] == [scope]


def test_a_digest_knows_spend_against_the_week_before_and_goes_without_it_when_the_warehouse_is_away(
    settings: Settings, stored: Client
) -> None:
    asyncio.run(tell(settings))


def test_spend_by_scope_takes_dimensions_filters_and_own_attributes(stored: Client) -> None:
    def spent(**other: object) -> list[tuple[list[str], Decimal, Decimal]]:
        given = {
            "start": f"{utc(WEEK_END - 14 * DAY):%Y-%m-%d %H:%M:%S}", "middle": f"{utc(WEEK_END - 7 * DAY):%Y-%m-%d %H:%M:%S}",
            "end": f"{utc(WEEK_END):%Y-%m-%d %H:%M:%S}", "tenant": TENANT, "each": ["team"], "names": [], "values": [],
        } | other  # fmt: skip
        rows: list[dict[str, Any]] = run_query(stored, "spend_by_scope", given)
        return [(list(row["scope"]), row["this_period"], row["last_period"] or Decimal(0)) for row in rows]

    assert spent() == [(["a"], 2 * EACH, EACH), (["b"], EACH, Decimal(0))]
    assert spent(names=["team"], values=["b"]) == [(["b"], EACH, Decimal(0))]
    emea = spent(each=["attributes.region_group"], names=["attributes.region_group"], values=["emea"])
    assert emea == [(["emea"], EACH, Decimal(0))]
    assert spent(tenant="nobody") == []


def test_a_digest_is_owed_once_a_week_and_owner_whoever_looks(settings: Settings) -> None:
    async def story() -> list[str]:
        kafka = KafkaClient(settings.bootstrap)

        class Now:
            catalog: Catalog | None = CATALOG

        try:
            at = due(DIGEST, now := int(time.time() * 1000))
            moment = at if at is not None else now - (now % DAY)
            while due(DIGEST, moment) is None:  # the next Monday
                moment += DAY
            first = DeliveryLog(kafka.log(topics.DELIVERIES, 0))
            for log in (first, first, DeliveryLog(kafka.log(topics.DELIVERIES, 0))):
                await Digests(settings, kafka, log, Now(), lambda: moment + 1).look()
            await first.refresh()
            return [
                d.alert_id for d in first.book.open.values() if d.body is not None and d.facts["tenant_id"] == TENANT
            ]
        finally:
            await kafka.close()

    assert asyncio.run(story()) == ["digest/weekly/digest-owner"]
