"""Attributed rows in the real engine: the columns arrive, and the questions about owners and gaps have worked-out answers."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from streams.catalog.book import Book, compile_book
from streams.catalog.models import Catalog
from streams.catalog.registries import ModelEntry, ProviderKey, Workload
from streams.pipeline.seen import SeenSet
from streams.pipeline.settle import settle
from streams.settings import Settings
from streams.warehouse.client import connect
from streams.warehouse.insert import LedgerMessage, insert_ledger
from streams.warehouse.queries import names, run_query
from tests.support.events import DECODER, NOW, avro
from tests.unit.pipeline.test_attribute import ALL_NINE
from tests.unit.pipeline.test_settle import PRICES

pytestmark = pytest.mark.integration
TENANT = "attributed"
EACH = Decimal("0.000325")  # 100 x 0.00000125 + 20 x 0.00001
SPAN = {"start": "2027-01-01 00:00:00", "end": "2027-02-01 00:00:00"}
SLICES: dict[str, object] = {"minutes": 60, "providers": [], "tenants": [], "accounts": [], "regions": []}
OF_ALERTS: dict[str, object] = {"tenant": "acme", "where": ["team=a"], "top": 5, "rule": "", "scope": ""}
DIGEST: dict[str, object] = {"each": ["team"], "middle": "2027-01-15 00:00:00", "names": ["team"], "values": ["a"]}
DAYS: dict[str, object] = {"by": ["team"], "zone": "UTC", "open_ms": 0}
EVENTS: list[dict[str, Any]] = [
    {
        "workload_id": "w",
        "request_type": "chat",
        "step": "plan",
        "attributes": [{"key": "region_group", "value": "emea"}],
    },
    {"api_key_id": "k", "request_type": "chat"},
    {**ALL_NINE, "workload_id": "w"},  # its cost center is another than the registry's
    {"environment": "production", "application": "shadow"},
    {"environment": "development", "model": "unheard-of"},
]


def book() -> Book:
    workload = Workload(
        id="w",
        business_owner="b",
        technical_owner="t",
        cost_center="wc",
        application="a",
        environment="production",
        use_case="u",
        business_process="p",
        approval="approved",
        archetype="chatbot",
    )
    key = ProviderKey(id="k", provider="openai", owner="o", cost_center="kc", approved_use="tests", workload="w")
    model = ModelEntry(provider="openai", model="gpt-5.2", tier="frontier", approval="approved")
    return compile_book(Catalog(prices=PRICES, workloads=(workload,), keys=(key,), models=(model,)), 1, "v1")


@pytest.fixture(scope="module")
def stored(settings: Settings) -> Iterator[Client]:
    """The events above, as meter and warehouse would have written them; gone afterwards, since no ledger accounts for them."""
    records = [avro(i, tenant_id=TENANT, **event)._replace(offset=i) for i, event in enumerate(EVENTS)]
    outcome = settle(records, -1, SeenSet(10), DECODER, book(), TENANT)
    messages = [LedgerMessage(i, NOW, b.headers(), b.payload) for i, b in enumerate(outcome.batches)]
    client = connect(settings.clickhouse_url)
    insert_ledger(client, TENANT, 0, messages)
    yield client
    for table in ("rated_rows", "ledger_batches", "ledger_marks"):
        client.command(f"ALTER TABLE usage.{table} DELETE WHERE stream = '{TENANT}'", settings={"mutations_sync": 1})
    client.close()


def mine(client: Client, question: str, **other: str) -> list[dict[str, Any]]:
    rows = run_query(client, question, SPAN | other)
    return [row for row in rows if row["tenant_id"] == TENANT]


def test_every_row_says_how_its_attribution_is_known(stored: Client) -> None:
    rows = stored.query(
        "SELECT cost_center, archetype, model_tier, lacks, contradicts, unregistered, has(from_workload, 'cost_center'),"
        f" from_key FROM usage.usage_events WHERE tenant_id = '{TENANT}' ORDER BY source_offset"
    ).result_rows

    missing = ["owner", "cost_center", "use_case", "business_process", "request_type"]
    assert [tuple(row) for row in rows] == [
        ("wc", "chatbot", "frontier", [], [], [], 1, []),
        ("wc", "chatbot", "frontier", [], [], [], 1, ["workload_id"]),
        ("c", "chatbot", "frontier", [], ["cost_center"], [], 0, []),
        (None, None, "frontier", missing, [], [], 0, []),
        (None, None, None, [], [], ["model"], 0, []),
    ]


def test_a_step_keeps_its_name(stored: Client) -> None:
    steps = stored.query(f"SELECT step FROM usage.usage_events WHERE tenant_id = '{TENANT}' ORDER BY source_offset")

    assert steps.result_rows == [("plan",), (None,), (None,), (None,), (None,)]


def test_production_without_attribution_is_listed_with_what_it_lacks_and_cost(stored: Client) -> None:
    (row,) = mine(stored, "missing_attribution")

    assert (row["application"], row["events"], row["cost"]) == ("shadow", 1, EACH)
    assert row["missing"] == ["business_process", "cost_center", "owner", "request_type", "use_case"]


def test_allocation_accuracy_keeps_untagged_and_misattributed_apart(stored: Client) -> None:
    unpriced, priced = sorted(mine(stored, "allocation_accuracy"), key=lambda row: str(row["currency"] or ""))

    assert (priced["events"], priced["untagged_events"], priced["misattributed_events"]) == (4, 1, 1)
    assert (priced["cost"], priced["untagged_cost"], priced["misattributed_cost"]) == (4 * EACH, EACH, EACH)
    assert (priced["allocated_tokens_share"], priced["allocated_cost_share"]) == (Decimal("0.5"), Decimal("0.5"))
    assert (unpriced["cost"], unpriced["untagged_cost"], unpriced["allocated_cost_share"]) == (None, None, None)
    assert unpriced["allocated_tokens_share"] == 0


def test_spend_is_split_by_its_standing(stored: Client) -> None:
    rows = {row["standing"]: (row["events"], row["cost"]) for row in mine(stored, "unapproved_spend")}

    assert rows == {"approved": (3, 3 * EACH), "orphaned": (1, EACH), "unregistered": (1, None)}


def test_an_own_attribute_is_a_dimension_of_cost(stored: Client) -> None:
    rows = mine(stored, "cost_by_attribute", key="region_group")

    assert {(r["value"], r["currency"]): r["cost"] for r in rows} == {
        ("emea", "USD"): EACH,
        (None, "USD"): 3 * EACH,
        (None, None): None,
    }


def test_owners_and_keys_are_listed(stored: Client) -> None:
    owners = {
        (r["business_owner"], r["cost_center"], r["known_from"], r["currency"]): r["events"]
        for r in mine(stored, "ownership")
    }
    keys = {(r["api_key_id"], r["model"]): r["owners"] for r in mine(stored, "inventory")}

    assert owners == {
        ("b", "wc", "workload", "USD"): 2,
        ("b", "c", "declared", "USD"): 1,
        (None, None, "nobody", "USD"): 1,
        (None, None, "nobody", None): 1,
    }
    assert keys == {
        ("k", "gpt-5.2"): ["b"],
        (None, "gpt-5.2"): ["b", "nobody"],
        (None, "unheard-of"): ["nobody"],
    }


def behind(client: Client, *where: str, top: int = 10, tenant: str = TENANT) -> list[Any]:
    given = {"tenant": tenant, "where": list(where), "top": top}
    return [row["event_id"] for row in run_query(client, "alert_events", SPAN | given)]


def test_the_events_behind_an_alert_are_those_of_its_scope_the_dearest_first(stored: Client) -> None:
    assert behind(stored, "application=a") == ["e0", "e1", "e2"]
    assert behind(stored, "application=%61", "cost_center=c") == ["e2"]  # escaped
    assert behind(stored, "attributes.region_group=emea") == ["e0"]
    assert behind(stored, "attributes.region_group=apac") == []
    assert behind(stored, "environment=development") == ["e4"]
    assert behind(stored, "application=*", "model=unheard-of") == ["e4"]  # the rest of a split is not told apart
    assert behind(stored) == ["e0", "e1", "e2", "e3", "e4"]  # what has no cost comes last
    assert behind(stored, top=2) == ["e0", "e1"]
    assert behind(stored, tenant="nobody") == []


@pytest.mark.parametrize("name", names())
def test_every_named_question_runs(client: Client, name: str) -> None:
    run_query(client, name, SPAN | {"key": "region_group"} | SLICES | OF_ALERTS | DIGEST | DAYS)
