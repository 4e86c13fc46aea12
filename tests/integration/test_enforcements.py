"""Changes of verdicts as rows of the real engine, and where budgets stand, worked out by hand."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from streams.kafka.ports import Message
from streams.settings import Settings
from streams.warehouse.client import connect
from streams.warehouse.queries import run_query
from streams.warehouse.records import insert_records
from streams.watch.alerts import instant
from tests.support.knowledge import NOW, record

pytestmark = pytest.mark.integration
TENANT = "enforced"
SCOPE = f"run|tenant_id={TENANT}|run_id=r1"
BEGIN = datetime(2026, 3, 2, 12, tzinfo=UTC)
SPAN = {"start": "2026-03-01 00:00:00", "end": "2026-04-01 00:00:00", "scope": ""}


def at(seconds: float) -> str:
    return f"{BEGIN + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S.000Z}"


def change(number: int, verdict: str, previous: str, seconds: float, **other: Any) -> dict[str, Any]:
    return {
        "enforcement_id": f"{TENANT}-{number}", "scope": SCOPE, "tenant_id": TENANT, "budget_id": "run", "kind": "run",
        "dimensions": {"tenant_id": TENANT, "run_id": "r1"}, "verdict": verdict, "previous": previous,
        "stop_reason": "repeats" if verdict == "stop" else None, "limit": "3", "value": str(number), "unit": "repeats",
        "currency": None, "at": at(seconds), "detected_at": at(seconds), "text": f"run r1: {verdict}", "exception": None,
    } | other  # fmt: skip


#  warn at 0 s, stop at 60 s, allowed again at 660 s; another scope stops at 30 s and still is
CHANGES = [
    change(1, "warn", "allow", 0),
    change(2, "stop", "warn", 60),
    change(3, "allow", "stop", 660, exception="x-1"),
    change(9, "stop", "allow", 30, scope=f"team|tenant_id={TENANT}|team=a", unit="cost", currency="USD", limit="10.5"),
]


@pytest.fixture(scope="module")
def stored(settings: Settings) -> Iterator[Client]:
    """Stored twice, since a crash repeats what a replay publishes again at other places of the topic."""
    client = connect(settings.clickhouse_url)
    for first in (0, 50):
        published = int(BEGIN.timestamp() * 1000) + 700
        bodies = [json.dumps(c).encode() for c in CHANGES]
        messages = [Message(first + i, published, b"k", body, ()) for i, body in enumerate(bodies)]
        insert_records(client, "usage.enforcements", 0, messages)
    yield client
    client.command(
        f"ALTER TABLE usage.enforcements_rows DELETE WHERE tenant_id = '{TENANT}'", settings={"mutations_sync": 1}
    )
    client.close()


def mine(client: Client, name: str, **given: object) -> list[dict[str, Any]]:
    return [row for row in run_query(client, name, given) if row["tenant_id"] == TENANT]


def test_a_change_that_is_published_twice_is_one_row_with_its_text(stored: Client) -> None:
    rows = stored.query(
        f"SELECT enforcement_id, verdict, stop_reason, value, text FROM usage.enforcements WHERE tenant_id = '{TENANT}'"
        " ORDER BY enforcement_id"
    ).result_rows

    assert len(rows) == 4
    assert rows[1] == ("enforced-2", "stop", "repeats", Decimal(2), "run r1: stop")


def test_it_is_told_how_long_each_verdict_held(stored: Client) -> None:
    rows = mine(stored, "enforcements", **SPAN)

    assert [(r["previous"], r["verdict"], r["seconds"], r["exception"]) for r in rows] == [
        ("stop", "allow", None, "x-1"),
        ("warn", "stop", 600, None),
        ("allow", "stop", None, None),
        ("allow", "warn", 60, None),
    ]
    assert (rows[2]["limit"], rows[2]["currency"]) == (Decimal("10.5"), "USD")
    assert [r["verdict"] for r in mine(stored, "enforcements", **{**SPAN, "scope": SCOPE})] == ["allow", "stop", "warn"]
    later = {"start": "2026-03-02 12:01:00", "end": "2026-03-02 12:02:00", "scope": ""}
    assert [(r["verdict"], r["seconds"]) for r in mine(stored, "enforcements", **later)] == [("stop", 600)]


def test_where_budgets_stand_is_their_last_record(stored: Client) -> None:
    scope = f"team|tenant_id={TENANT}|team=a"
    forecast = {"low": "11", "mid": "12.5", "high": "14", "exhausts_at": "2026-03-20T00:00:00.000Z"}
    exception = {"id": "x-1", "until": instant(NOW), "extra": "5", "used": "1"}
    records = [
        record(scope, "3"),
        record(scope, "9", percent="90.0", forecast=forecast, exception=exception, parent="company|tenant_id=enforced"),
    ]
    messages = [Message(i, NOW, scope.encode(), json.dumps(r).encode(), ()) for i, r in enumerate(records)]
    insert_records(stored, "usage.budgets", 0, messages)

    [row] = mine(stored, "budget_status")

    assert (row["used"], row["limit"], row["verdict"], row["step"]) == (9, 10, "warn", "stop")
    assert (row["percent"], row["forecast"], row["exhausts_at"]) == (90, Decimal("12.5"), "2026-03-20T00:00:00.000Z")
    assert (row["exception"], row["parent"]) == ("x-1", "company|tenant_id=enforced")
    stored.command(
        f"ALTER TABLE usage.budgets_rows DELETE WHERE tenant_id = '{TENANT}'", settings={"mutations_sync": 1}
    )
