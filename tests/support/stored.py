"""Usage in the warehouse as meter and warehouse would have written it, without either."""

from collections.abc import Iterable, Sequence
from typing import Any

from clickhouse_connect.driver.client import Client

from streams.catalog.book import compile_book
from streams.catalog.models import Catalog
from streams.catalog.prices import Price
from streams.pipeline.seen import SeenSet
from streams.pipeline.settle import settle
from streams.warehouse.insert import LedgerMessage, insert_ledger
from tests.support.events import DECODER, NOW, avro

MONEY = {"provider": "openai", "model": "gpt-5.2"}  # with `CENTS`, tokens are cents


def messages(
    events: Iterable[dict[str, Any]], prices: Sequence[Price], tenant: str, append_time: int = NOW
) -> list[LedgerMessage]:
    """The events, each with an id of its own, as counted messages of the ledger's partition 0."""
    records = [
        avro(i, tenant_id=tenant, **{"event_id": f"{tenant}-{i}", **event})._replace(offset=i, timestamp=append_time)
        for i, event in enumerate(events)
    ]
    book = compile_book(Catalog(prices=tuple(prices)), 1, "v1")
    outcome = settle(records, -1, SeenSet(len(records) + 10), DECODER, book, tenant)
    if outcome.dead:
        raise ValueError(f"events of {tenant}: {outcome.dead[0].detail}; mend the test")
    return [LedgerMessage(i, append_time, b.headers(), b.payload) for i, b in enumerate(outcome.batches)]


def store(
    client: Client, events: Iterable[dict[str, Any]], prices: Sequence[Price], tenant: str, append_time: int = NOW
) -> None:
    """Insert them; the tenant's name is also the stream's, by which `forget` finds them."""
    insert_ledger(client, tenant, 0, messages(events, prices, tenant, append_time))


def forget(client: Client, tenant: str) -> None:
    """Take them away again, since no ledger accounts for them."""
    for table in ("rated_rows", "ledger_batches", "ledger_marks"):
        client.command(f"ALTER TABLE usage.{table} DELETE WHERE stream = '{tenant}'", settings={"mutations_sync": 1})
