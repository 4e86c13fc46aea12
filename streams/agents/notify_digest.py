"""Computes the weekly digests when they are due; that each is sent once is the book's doing, by ids."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

import structlog
from clickhouse_connect.driver.exceptions import ClickHouseError

from streams.agents.notify_log import DeliveryLog
from streams.catalog.limits import Budget
from streams.catalog.models import Catalog
from streams.catalog.routes import Digest
from streams.kafka import topics
from streams.kafka.budgets_log import read_budgets
from streams.kafka.client import KafkaClient
from streams.notify.delivery import Delivery
from streams.notify.digest import at_risk, body_of, digest_id, due, fired, owners_of, weeks_before
from streams.notify.instants import utc
from streams.outside import Away
from streams.settings import Settings
from streams.warehouse.client import ask, connect
from streams.warehouse.queries import run_query
from streams.watch.published import read_alert

log = structlog.get_logger()
NO_WAREHOUSE = "what was spent is unknown: the warehouse did not answer"


class HasCatalog(Protocol):
    catalog: Catalog | None


class Digests:
    """One look: what is due and was never owed is computed and owed. Digests belong to partition 0 of usage.alerts."""

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaClient,
        deliveries: DeliveryLog,
        decided: HasCatalog,
        now_ms: Callable[[], int],
    ) -> None:
        self._settings, self._kafka, self._deliveries = settings, kafka, deliveries
        self._decided, self._now = decided, now_ms

    async def look(self) -> None:
        catalog, now = self._decided.catalog, self._now()
        if catalog is None or not catalog.digests:
            return
        await self._deliveries.refresh()
        for digest in catalog.digests:
            at = due(digest, now)
            if at is None:
                continue
            for owner in owners_of(digest, (b.owner for b in catalog.budgets)):
                ids = {e: digest_id(digest.id, owner, at, e) for e in digest.endpoints}
                fresh = {e: name for e, name in ids.items() if not self._deliveries.book.knows(name)}
                if fresh:
                    body = await compute(self._settings, self._kafka, catalog, digest, owner, at)
                    await self._deliveries.append(
                        *(self._owed(digest, owner, e, name, body, now) for e, name in fresh.items())
                    )

    def _owed(self, digest: Digest, owner: str, endpoint: str, name: str, body: dict[str, Any], now: int) -> Delivery:
        facts = {"tenant_id": digest.tenant, "kind": "digest", "severity": "info", "owner": owner}
        return Delivery(
            delivery_id=name,
            alert_id=f"digest/{digest.id}/{owner}",
            revision=1,
            endpoint=endpoint,
            route="",
            group=f"digest/{digest.id}/{owner}",
            partition=0,
            offset=-1,
            status="sending",
            at=now,
            queued_at=now,
            next_at=now,
            facts=facts,
            body=body,
        )


async def compute(
    settings: Settings, kafka: KafkaClient, catalog: Catalog, digest: Digest, owner: str, at: int
) -> dict[str, Any]:
    """The digest's body for the week to `at` (ms)."""
    own = [b for b in catalog.budgets if b.owner == owner and digest.tenant in ("*", b.tenant, *_each(b))]
    ids = {b.id for b in own}

    def ours(record: Mapping[str, Any]) -> bool:
        return digest.tenant in ("*", record.get("tenant_id"))

    standing = {s: r for s, r in (await read_budgets(kafka)).items() if r.get("budget_id") in ids and ours(r)}
    start = weeks_before(digest, at)
    alerts = [r for r in await _alerts(kafka, owner, start) if ours(r)]
    try:
        spend, note = await ask(_spend, settings.clickhouse_url, own, digest, at), ""
    except (ClickHouseError, Away, OSError) as error:
        log.warning("a digest goes without what was spent", digest=digest.id, error=type(error).__name__)
        spend, note = [], NO_WAREHOUSE
    return body_of(digest, owner, at, spend, fired(alerts, start, at), at_risk(standing.values()), note)


def _each(budget: Budget) -> tuple[str, ...]:
    return ("*",) if budget.tenant == "*" else ()


def _spend(url: str, budgets: Sequence[Budget], digest: Digest, at: int) -> list[dict[str, Any]]:
    """Of each budget's scopes, both weeks."""
    found = []
    with connect(url) as client:
        for budget in budgets:
            given = {
                "start": _sql(weeks_before(digest, at, 2)),
                "middle": _sql(weeks_before(digest, at)),
                "end": _sql(at),
                "tenant": budget.tenant if budget.tenant != "*" else digest.tenant,
                "each": list(budget.each),
                "names": list(budget.where),
                "values": list(budget.where.values()),
            }
            for row in run_query(client, "spend_by_scope", given):
                values = zip(budget.each, row["scope"], strict=True)  # type: ignore[call-overload]  # Array(String)
                where = ", ".join(f"{name}={value}" for name, value in values)
                found.append(
                    {
                        "budget_id": budget.id,
                        "scope": f"{budget.id}: {row['tenant_id']}{f', {where}' if where else ''}",
                        "currency": row["currency"],
                        "this_week": _digits(row["this_period"]),
                        "last_week": _digits(row["last_period"]),
                    }
                )
    return found


def _digits(amount: object) -> str:
    """Plain digits without trailing zeros; where nothing has a price it is 0 here, `unpriced_models` says what that hides."""
    return f"{Decimal(str(amount or 0)).normalize():f}"


def _sql(ms: int) -> str:
    return f"{utc(ms):%Y-%m-%d %H:%M:%S}"


async def _alerts(kafka: KafkaClient, owner: str, since: int) -> list[dict[str, Any]]:
    """Records of usage.alerts of an owner that the broker took since then."""
    found = []
    for partition in await kafka.partitions(topics.ALERTS):
        log = kafka.log(topics.ALERTS, partition)
        begin, end = await log.bounds()
        async for message in log.read(begin, end):
            if message.timestamp < since or (record := read_alert(message.value)) is None:
                continue
            if record.get("owner") == owner:
                found.append(record)
    return found
