"""What an alert says to the person who is woken by it."""

from decimal import Decimal

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget
from streams.catalog.models import Tenant
from streams.watch.alerts import Cause, Raised, alert_record
from streams.watch.windows import Sums

CAUSE = Cause(clock=0, detected=0, stream="s", partition=0, ledger_offset=0)
RAISED = Raised(state="firing", revision=1, threshold="1", start=0, end=60_000, since=0)


def summary(unit: str, sums: Sums) -> str:
    budget = Budget(id="b", unit=unit, limit=Decimal(4), period=Calendar(every="day"))
    found = alert_record(budget, "budget", "b|team=a", Tenant(id="acme"), "name", RAISED, sums, CAUSE)
    return str(found["summary"])


def test_a_budget_says_its_share() -> None:
    assert summary("cost", Sums(events=1, cost=Decimal(3))) == "b|team=a: 75.0 % of 4 USD"


def test_usage_without_a_price_is_counted_and_the_query_that_says_why_is_named() -> None:
    assert summary("unpriced", Sums(events=5, unpriced=3)) == (
        "b|team=a: 3 of 5 events without a price; `usage-streams query unpriced_models` says why"
    )
