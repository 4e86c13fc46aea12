"""Alerts, commands and budgets as rows of the real engine, and questions whose answers are worked out by hand."""

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
from streams.watch.commands import AnyCommand, Decide, Request, Revoke, write_command

pytestmark = pytest.mark.integration
TENANT = "history"
BEGIN = datetime(2026, 3, 2, 12, tzinfo=UTC)
SPAN = {"start": "2026-03-01 00:00:00", "end": "2026-04-01 00:00:00"}
SCOPE = f"team-day|tenant_id={TENANT}|team=search"


def moment(minutes: float) -> str:
    return f"{BEGIN + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%S.000Z}"


def alert(name: str, revision: int, state: str, reason: str, minute: float, **other: Any) -> dict[str, Any]:
    return {
        "alert_id": f"{TENANT}-{name}", "revision": revision, "state": state, "reason": reason, "kind": "budget",
        "tenant_id": TENANT, "budget_id": "team-day", "scope": SCOPE, "dimensions": {"tenant_id": TENANT, "team": "search"},
        "severity": "warning", "threshold": "0.8", "value": f"{80 + revision}", "limit": "100", "percent": f"{80 + revision}.0",
        "unit": "cost", "currency": "USD", "occurred_at": moment(minute), "detected_at": moment(minute),
        "since": moment(0), "late": False, "lateness_ms": 0, "told": True, "silenced": None, "acknowledged": None,
        "escalation": 0, "summary": "s",
    } | other  # fmt: skip


ACK = {"by": "ada", "at": moment(6), "note": ""}
ALERTS = [
    #  a: fires at 0, is told again, taken on, resolves after 30 minutes; b: 2 minutes, late, nobody told; c: still open
    alert("a", 1, "firing", "crossed", 0),
    alert("a", 2, "firing", "reminder", 5),
    alert("a", 3, "acknowledged", "acknowledged", 6, acknowledged=ACK),
    alert("a", 4, "resolved", "cleared", 30, acknowledged=ACK),
    alert("b", 1, "firing", "late_data", 100, since=moment(100), late=True, lateness_ms=90_000, told=False,
          silenced={"id": "quiet", "until": moment(200), "reason": "r"}),
    alert("b", 2, "resolved", "cleared", 102, since=moment(100), told=False),
    alert("c", 1, "firing", "crossed", 200, since=moment(200), threshold="1h/5m", scope="burn", budget_id="burn"),
]  # fmt: skip
PARTS = [{"id": "h-launch", "until": "2126-01-01T00:00:00.000Z", "extra": "50", "used": "20"}]


def budget(day: int, used: str, **other: Any) -> dict[str, Any]:
    start = datetime(2026, 3, day, tzinfo=UTC)
    return {
        "scope": SCOPE, "tenant_id": TENANT, "budget_id": "team-day", "used": used, "limit": "150", "base_limit": "100",
        "headroom": "0", "unit": "cost", "currency": "USD", "verdict": "allow", "period": "calendar",
        "period_start": f"{start:%Y-%m-%dT%H:%M:%S.000Z}", "period_end": f"{start + timedelta(days=1):%Y-%m-%dT%H:%M:%S.000Z}",
        "as_of": f"{start:%Y-%m-%dT%H:%M:%S.000Z}", "events": 3, "unpriced_events": 1, "exception": None,
    } | other  # fmt: skip


BUDGETS: list[dict[str, Any] | None] = [
    budget(2, "90"),
    budget(2, "120", exception={"id": "h-launch", "parts": PARTS}),
    budget(3, "30"),
    budget(4, "7", period="rolling", scope="rolling", period_start="2026-03-04T00:07:00.000Z"),
]


def request(name: str, **other: Any) -> Request:
    given: dict[str, Any] = {
        "command_id": f"{TENANT}-{name}", "at": BEGIN, "by": "bob", "request_id": f"h-{name}", "budget": "team-day",
        "tenant": TENANT, "extra": Decimal(50), "justification": "launch week", "expires": datetime(2126, 1, 1, tzinfo=UTC),
        "reason_ends": BEGIN,
    }  # fmt: skip
    return Request(**given | other)


def decide(name: str, approved: bool = True) -> Decide:
    return Decide(
        command_id=f"{TENANT}-d-{name}", at=BEGIN, by="ada", request_id=f"h-{name}", approved=approved, approver="ada"
    )


COMMANDS: list[AnyCommand] = [
    request("launch"), decide("launch"),
    request("denied"), decide("denied", False),
    request("waits"),
    request("revoked"), decide("revoked"),
    Revoke(command_id=f"{TENANT}-v", at=BEGIN, by="ada", request_id="h-revoked", note="moved"),
    request("over", expires=BEGIN + timedelta(days=1)), decide("over"),
    request("still-needed", reason_ends=datetime(2125, 1, 1, tzinfo=UTC)), decide("still-needed"),
    request("launch", command_id=f"{TENANT}-launch"),  # sent twice
]  # fmt: skip


def messages(bodies: list[bytes], at: int = 0) -> list[Message]:
    published = int(BEGIN.timestamp() * 1000)
    return [Message(at + i, published + i, b"k", body, ()) for i, body in enumerate(bodies)]


@pytest.fixture(scope="module")
def stored(settings: Settings) -> Iterator[Client]:
    """The records above, stored as the warehouse stores them: twice, since a crash repeats them."""
    client = connect(settings.clickhouse_url)
    overdue = alert("x", 1, "firing", "crossed", 0, kind="exception_overdue", budget_id="overdue", unit="days",
                    exception={"id": "h-written", "tenant_id": TENANT, "budget_id": "team-day", "source": "catalog",
                               "extra": "5", "expires": "2126-01-01T00:00:00.000Z", "review": moment(0),
                               "reason_ends": None, "requested_by": None, "approver": "eve", "justification": "j"})  # fmt: skip
    for _ in range(2):
        insert_records(client, "usage.alerts", 0, messages([json.dumps(a).encode() for a in [*ALERTS, overdue]]))
        insert_records(client, "usage.budgets", 0, messages([json.dumps(b).encode() for b in BUDGETS]))
        insert_records(client, "usage.commands", 0, messages([*map(write_command, COMMANDS), b"{nonsense"]))
    yield client
    for table in ("alerts", "budgets", "budget_periods", "exception_use", "commands"):
        where = f"tenant_id = '{TENANT}'" if table != "commands" else f"startsWith(command_id, '{TENANT}')"
        client.command(f"ALTER TABLE usage.{table}_rows DELETE WHERE {where}", settings={"mutations_sync": 1})
    client.close()


def mine(client: Client, name: str, **given: object) -> list[dict[str, Any]]:
    return [row for row in run_query(client, name, given) if row.get("tenant_id") == TENANT]


def test_an_alert_is_stored_with_the_reason_of_each_change(stored: Client) -> None:
    rows = stored.query(
        "SELECT revision, reason, condition, threshold, told, late, lateness_ms, silenced, acknowledged_by, acknowledged_at,"
        f" dimensions FROM usage.alerts_rows FINAL WHERE tenant_id = '{TENANT}' AND budget_id != 'overdue'"
        " ORDER BY alert_id, revision"
    ).result_rows

    dims, taken = (
        [("tenant_id", TENANT), ("team", "search")],
        (BEGIN + timedelta(minutes=6)).replace(tzinfo=None),
    )  # the client's UTC has no zone
    plain = (Decimal("0.8"), 1, 0, 0, None)
    assert [(*r[:-1], [tuple(d.values()) if isinstance(d, dict) else d for d in r[-1]]) for r in rows] == [
        (1, "crossed", "0.8", *plain, None, None, dims),
        (2, "reminder", "0.8", *plain, None, None, dims),
        (3, "acknowledged", "0.8", *plain, "ada", taken, dims),
        (4, "cleared", "0.8", *plain, "ada", taken, dims),
        (1, "late_data", "0.8", Decimal("0.8"), 0, 1, 90_000, "quiet", None, None, dims),
        (2, "cleared", "0.8", Decimal("0.8"), 0, 0, 0, None, None, None, dims),
        (1, "crossed", "1h/5m", None, 1, 0, 0, None, None, None, dims),  # a name is no number
    ]


def test_the_view_shows_each_alert_as_it_stands(stored: Client) -> None:
    rows = stored.query(
        f"SELECT alert_id, state, reason FROM usage.alerts WHERE tenant_id = '{TENANT}' AND kind = 'budget' ORDER BY alert_id"
    ).result_rows

    assert rows == [
        ("history-a", "resolved", "cleared"),
        ("history-b", "resolved", "cleared"),
        ("history-c", "firing", "crossed"),
    ]


def test_the_history_of_a_rule_is_one_row_an_alert(stored: Client) -> None:
    rows = mine(stored, "alert_history", **SPAN, rule="team-day", scope="")

    assert [(r["alert_id"], r["state"], r["minutes"], r["largest"], r["acknowledged_by"], r["late"]) for r in rows] == [
        ("history-b", "resolved", 2, 82, None, 1),
        ("history-a", "resolved", 30, 84, "ada", 0),
    ]
    assert [r["alert_id"] for r in mine(stored, "alert_history", **SPAN, rule="", scope="burn")] == ["history-c"]
    before = {"start": "2026-02-01 00:00:00", "end": "2026-03-01 00:00:00"}
    assert mine(stored, "alert_history", **before, rule="", scope="") == []


def test_noise_is_counted_by_rule(stored: Client) -> None:
    rows = {r["rule"]: r for r in mine(stored, "alert_noise", **SPAN)}

    team = rows["team-day"]
    assert (team["alerts"], team["fired"], team["open"], team["mean_minutes"]) == (2, 2, 0, 16)  # (30 + 2) / 2
    assert (team["shorter_than_5_minutes"], team["silenced"], team["late"], team["escalated"]) == (1, 1, 1, 0)
    assert (team["acknowledged"], team["acknowledged_share"]) == (1, Decimal("0.5"))
    assert (rows["burn"]["open"], rows["burn"]["acknowledged_share"]) == (1, 0)


def test_variance_is_by_budget_and_calendar_period(stored: Client) -> None:
    rows = mine(stored, "budget_variance", **SPAN)

    assert [(f"{r['period_start']:%d}", r["used"], r["variance"], r["variance_share"]) for r in rows] == [
        ("02", 120, -30, Decimal("-0.2")),  # the last record of the day, not the first
        ("03", 30, -120, Decimal("-0.8")),
    ]
    assert (rows[0]["base_limit"], rows[0]["unpriced_events"]) == (100, 1)


def test_the_use_of_an_exception_is_kept_by_period(stored: Client) -> None:
    rows = stored.query(
        f"SELECT exception_id, toString(period_start), extra, used FROM usage.exception_use WHERE tenant_id = '{TENANT}'"
    ).result_rows

    assert rows == [("h-launch", "2026-03-02 00:00:00.000", Decimal(50), Decimal(20))]


def test_exceptions_that_are_open_past_their_reason_are_listed(stored: Client) -> None:
    rows = mine(stored, "open_exceptions")

    assert [(r["exception_id"], r["why"], r["source"], r["extra"], r["used"], r["approver"]) for r in rows] == [
        ("h-launch", "reason ended", "command", 50, 20, "ada"),
        ("h-written", "review due", "catalog", 5, None, "eve"),
    ]


def test_a_verdict_that_still_counts_an_expired_exception_is_listed(stored: Client) -> None:
    behind = [{"id": "h-late", "until": "2026-03-01T00:00:00.000Z", "extra": "5", "used": "1"}]
    record = budget(5, "1", scope="behind", exception={"id": "h-late", "parts": behind})
    insert_records(stored, "usage.budgets", 0, messages([json.dumps(record).encode()], 50))

    rows = mine(stored, "open_exceptions")

    assert [(r["exception_id"], r["why"], r["used"]) for r in rows if r["why"] == "expired"] == [
        ("h-late", "expired", 1)
    ]


def test_every_command_is_on_record_once(stored: Client) -> None:
    rows = [r for r in run_query(stored, "commands", SPAN) if r["tenant_id"] == TENANT or r["by"] == "ada"]

    assert len(rows) == len({c.command_id for c in COMMANDS}) == 12
    kept = {(r["kind"], r["subject"], r["by"], r["said"]) for r in rows}
    assert ("request", "h-launch", "bob", "launch week") in kept
    assert ("revoke", "h-revoked", "ada", "moved") in kept


def test_a_record_that_cannot_be_read_is_kept_as_text(stored: Client) -> None:
    rows = stored.query("SELECT record FROM usage.commands WHERE kind = ''").result_rows

    assert rows == [("{nonsense",)]
