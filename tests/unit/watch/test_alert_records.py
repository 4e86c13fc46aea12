"""What an alert says to the person who is woken by it, and when a parent's says it already."""

from decimal import Decimal
from typing import Any

from streams.catalog.limits import Paged
from streams.watch.alert_records import About, Window, alert_record
from streams.watch.alerts import Cause
from streams.watch.conditions import Condition
from streams.watch.contributors import Contributor
from streams.watch.machine import Transition, acknowledge, advance
from streams.watch.raised import Ack, Hush, Raised
from streams.watch.windows import Sums

DAY, HOUR = 86_400_000, 3_600_000
START = 1_790_000_000_000 // DAY * DAY  # 2026-09-21
CAUSE = Cause(clock=0, detected=START + HOUR + 500, stream="s", partition=3, ledger_offset=7)
ABOUT = About(
    "budget",
    "team-day",
    "acme",
    "team-day|tenant_id=acme|team=a,b",
    {"tenant_id": "acme", "team": "a,b"},
    owner="platform",
    accountable="ada",
    currency="USD",
    runbook="https://wiki/limits",
    parents=("tenant-day|tenant_id=acme",),
)
WINDOW = Window("period", "calendar", None, "Europe/Berlin")


def crossed(**other: Any) -> Transition:
    given: dict[str, Any] = {
        "name": "0.8", "anchor": START, "end": START + DAY, "over": True, "clear": False, "value": Decimal("8.50"),
        "limit": Decimal(10), "unit": "cost", "severity": "critical", "latched": True, "said": "",
    }  # fmt: skip
    (found,) = advance({}, [Condition(**given | other)], START + HOUR, Paged(), ABOUT.scope)
    return found


def test_a_record_says_everything_that_a_notifier_needs() -> None:
    who = [Contributor("model", "gpt-5", Decimal("6.8"), Decimal("0.8"))]
    change = crossed()

    record = alert_record(ABOUT, change, CAUSE, WINDOW, Sums(events=4, unpriced=1, cost=Decimal("8.5")), who)

    assert record == {
        "alert_id": change.alert_id,
        "revision": 1,
        "state": "firing",
        "reason": "crossed",
        "kind": "budget",
        "tenant_id": "acme",
        "budget_id": "team-day",
        "scope": "team-day|tenant_id=acme|team=a,b",
        "dimensions": {"tenant_id": "acme", "team": "a,b"},
        "parents": ["tenant-day|tenant_id=acme"],
        "severity": "critical",
        "threshold": "0.8",
        "value": "8.5",
        "limit": "10",
        "percent": "85.0",
        "unit": "cost",
        "currency": "USD",
        "events": 4,
        "unpriced_events": 1,
        "owner": "platform",
        "accountable": "ada",
        "runbook": "https://wiki/limits",
        "window": {"name": "period", "kind": "calendar", "size": None, "zone": "Europe/Berlin"},
        "period_start": "2026-09-21T00:00:00.000Z",
        "period_end": "2026-09-22T00:00:00.000Z",
        "occurred_at": "2026-09-21T01:00:00.000Z",
        "detected_at": "2026-09-21T01:00:00.500Z",
        "since": "2026-09-21T01:00:00.000Z",
        "late": False,
        "lateness_ms": 0,
        "contributors": [{"dimension": "model", "value": "gpt-5", "amount": "6.8", "share": "0.8"}],
        "query": "usage-streams query alert_events --param tenant=acme --param where=team=a%2Cb"
        " --param 'start=2026-09-21 00:00:00.000' --param 'end=2026-09-22 00:00:00.000' --param top=20",
        "link": f"/v1/alerts/{change.alert_id}",
        "silenced": None,
        "told": True,
        "acknowledged": None,
        "escalation": 0,
        "deduplication_key": change.alert_id,
        "ledger": {"stream": "s", "partition": 3, "offset": 7},
        "summary": "team-day|tenant_id=acme|team=a,b: 85.0 % of 10 USD",
    }


def test_an_episode_shows_the_window_in_which_it_was_seen() -> None:
    change = crossed(name="1h/5m", anchor=None, end=START + HOUR, unit="ratio")

    record = alert_record(ABOUT, change, CAUSE, Window("1h", "rolling", HOUR))

    assert (record["period_start"], record["period_end"]) == ("2026-09-21T00:00:00.000Z", "2026-09-21T01:00:00.000Z")
    assert record["window"] == {"name": "1h", "kind": "rolling", "size": "1h", "zone": None}
    assert (record["currency"], record["events"]) == (None, None)  # a ratio is no money, nobody counted


def test_a_silenced_record_says_by_what_and_that_nobody_was_told() -> None:
    raised = dict[str, Raised]()
    over = Condition("1", START, START + DAY, True, False, Decimal(11), Decimal(10), "cost", "warning", True)
    hush = Hush("quiet", START + DAY, "release")
    (change,) = advance(raised, [over], START + HOUR, Paged(), "s", hush=lambda severity: hush)

    record = alert_record(ABOUT, change, CAUSE)

    assert record["silenced"] == {"id": "quiet", "until": "2026-09-22T00:00:00.000Z", "reason": "release"}
    assert record["told"] is False


def test_a_sentence_says_what_changed() -> None:
    raised = dict[str, Raised]()
    over = Condition(
        "1", START, START + DAY, True, False, Decimal(11), Decimal(10), "events", "warning", False, "11 calls"
    )
    told = advance(raised, [over], START + HOUR, Paged(), "s", lateness_ms=HOUR)
    told += advance(raised, [over], START + 2 * HOUR, Paged(), "s", lambda severity, condition: (HOUR,))
    [name] = raised
    if (taken := acknowledge(raised, name, Ack("ada", START + 2 * HOUR), START + 2 * HOUR)) is not None:
        told.append(taken)
    told += advance(raised, [over._replace(over=False, clear=True)], START + 3 * HOUR, Paged(), "s")

    said = [alert_record(ABOUT, t, CAUSE)["summary"].removeprefix(f"{ABOUT.scope}: ") for t in told]

    assert said == [
        "11 calls; known late",
        "11 calls; nobody acknowledged it, level 1",
        "110.0 % of 10 events; acknowledged by ada",
        "11 calls; resolved: it is clear again",
    ]
