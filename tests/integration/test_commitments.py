"""`usage-streams commitments` on the real broker and engine: usage is stored, agreements are published, figures are by hand."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from typer.testing import CliRunner

from streams.catalog.book import compile_book
from streams.catalog.commitments import Commitment, Provisioned, Quota, Volume
from streams.catalog.models import Catalog
from streams.cli import main
from streams.cli.apply import publish
from streams.cli.commitments import published
from streams.pipeline.seen import SeenSet
from streams.pipeline.settle import settle
from streams.settings import Settings
from streams.warehouse.client import connect
from streams.warehouse.insert import LedgerMessage, insert_ledger
from streams.warehouse.queries import run_query
from tests.support.events import DECODER, NOW, avro
from tests.unit.pipeline.test_settle import PRICES

pytestmark = pytest.mark.integration
TENANT = "committed"
HOUR = 3_600_000
START = NOW - NOW % HOUR - 5 * HOUR
AT = datetime.fromtimestamp((START + 4 * HOUR) / 1000, UTC)
EVENTS: list[dict[str, Any]] = [  # each 100 tokens in and 20 out: 0.000325 USD
    {"event_time": START},
    {"event_time": START + 1},
    {"event_time": START + 2 * HOUR},
    {"event_time": START + 3 * HOUR, "service_tier": "provisioned"},  # no price of its own
    {"event_time": START + 3 * HOUR, "model": "unheard-of"},
    {"event_time": START + 4 * HOUR},  # not before AT
]
AGREED = {
    "provider": "openai",
    "tenant": TENANT,
    "effective_from": datetime.fromtimestamp(START / 1000, UTC),
    "source": "test",
}
IN, OUT = "input_uncached", "output_visible"


def agreed() -> dict[str, Any]:
    credit = {"kind": "prepaid", "amount": "0.0008", "currency": "USD"} | AGREED
    day = {"every": "day"}
    volume = {"measure": "units", "mode": "cliff", "currency": "USD", "period": day, "buckets": [IN]} | AGREED
    return {
        "commitments": (Commitment.model_validate({"id": "credit"} | credit),),
        "quotas": (
            Quota.model_validate(
                {"id": "free", "model": "*", "buckets": [OUT], "amount": 10, "period": day} | AGREED
            ),
        ),
        "volumes": (
            Volume.model_validate({"id": "bulk", "tiers": [{"above": "200", "multiplier": "0.9"}]} | volume),
        ),
        "provisioned": (
            Provisioned.model_validate(
                {"id": "ptu", "model": "gpt-5.2", "units": 1, "hourly_cost": "0.00024", "currency": "USD",
                 "tokens_per_minute": 1} | AGREED
            ),
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
def stored(settings: Settings) -> Iterator[Client]:
    """Usage as meter and warehouse would have written it, and agreements on top of the catalog; both gone afterwards."""
    records = [avro(i, tenant_id=TENANT, **event)._replace(offset=i) for i, event in enumerate(EVENTS)]
    book = compile_book(Catalog(prices=PRICES), 1, "v1")
    outcome = settle(records, -1, SeenSet(10), DECODER, book, TENANT)
    messages = [LedgerMessage(i, NOW, b.headers(), b.payload) for i, b in enumerate(outcome.batches)]
    client = connect(settings.clickhouse_url)
    insert_ledger(client, TENANT, 0, messages)
    before = asyncio.run(published(settings)).catalog
    asyncio.run(publish(settings, before.model_copy(update=agreed()), dry_run=False, confirm=False))
    yield client
    asyncio.run(publish(settings, before, dry_run=False, confirm=False))
    for table in ("rated_rows", "ledger_batches", "ledger_marks"):
        client.command(f"ALTER TABLE usage.{table} DELETE WHERE stream = '{TENANT}'", settings={"mutations_sync": 1})
    client.close()


def ask(settings: Settings, *more: str) -> tuple[int, str]:
    if not main.app.registered_commands:
        main.mount()
    there = ["--bootstrap", settings.bootstrap, "--clickhouse-url", settings.clickhouse_url]
    said = CliRunner().invoke(main.app, ["commitments", "--at", AT.isoformat(), *there, *more])
    assert said.exit_code in (0, 1), said.output
    return said.exit_code, said.stdout


@pytest.mark.usefixtures("stored")
def test_credit_free_units_discount_and_capacity_are_counted_from_what_is_stored(settings: Settings) -> None:
    code, text = ask(settings, "--json")
    found = json.loads(text)

    [credit], [bulk], [ptu] = found["drawdowns"], found["volumes"], found["provisioned"]
    # 3 x 0.000325 less 10 x 0.00001 that were free = 0.000875: the third event uses the last of 0.0008
    assert (credit["used"], credit["left"], credit["overage"]) == ("0.0008", "0", "0.000075")
    assert credit["ran_out"] == datetime.fromtimestamp((START + 2 * HOUR) / 1000, UTC).isoformat()
    assert (code, credit["state"], found["pressing"][0]["id"]) == (1, "exhausted", "credit")
    assert credit["unpriced_quantity"] == 120  # what the capacity served is paid by the hour
    quotas = [(q["currency"], q["used"], q["free"], q["credit"]) for q in found["quotas"]]
    assert quotas == [("USD", 60, 10, "0.0001"), (None, 20, 0, "0")]
    assert (bulk["volume"], bulk["credit"], bulk["unpriced_quantity"]) == ("300", "0.0000375", 100)
    assert (ptu["tokens"], ptu["spilled"], ptu["capacity"], ptu["utilisation"]) == (120, 360, 240, "0.5")
    assert (ptu["spillover"], ptu["cost"], ptu["per_million"]) == ("0.75", "0.00096", "8")
    assert [hour["tokens"] for hour in found["hours"]] == [0, 0, 0, 120]


@pytest.mark.usefixtures("stored")
def test_people_see_bars_and_what_runs_out(settings: Settings) -> None:
    code, text = ask(settings)

    assert code == 1
    assert "████████████████████ 100.0 %" in text
    assert "used up in the hour of" in text
    assert "120 units without a price are not counted" in text


def test_slices_have_one_row_a_price_and_names_only_where_they_are_asked_for(stored: Client) -> None:
    span = {"start": "2027-01-01 00:00:00", "end": "2027-02-01 00:00:00", "minutes": 60, "providers": ["openai"]}

    rows = run_query(stored, "usage_by_hour", span | {"tenants": [TENANT], "accounts": [], "regions": []})
    mine = [r for r in rows if r["tenant_id"] == TENANT and r["model"] == "gpt-5.2" and r["bucket"] == IN]

    assert [(r["quantity"], r["service_tier"], r["currency"] is None) for r in mine] == [
        (200, "", False), (100, "", False), (100, "provisioned", True), (100, "", False)
    ]  # fmt: skip
    assert all((r["cost"] is None) == (r["unit_price"] is None) for r in rows)
