"""What `alerts explain` says of the thresholds beside the one that it is asked about."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, Rolling
from streams.catalog.models import Catalog
from streams.cli.alerts_explained import thresholds
from streams.cli.watching import Record, Seen


def said(kind: str, threshold: str, hours: tuple[int, int], state: str = "firing") -> Record:
    start, end = (f"2026-11-26T{h:02}:00:00.000Z" for h in hours)
    return {
        "alert_id": f"{threshold}@{hours[0]}", "scope": "b|tenant_id=acme", "budget_id": "b", "threshold": threshold,
        "state": state, "period_start": start, "period_end": end, "limit": "40", "window": {"kind": kind},
    }  # fmt: skip


def states(records: list[Record], asked: Record) -> dict[str, Any]:
    period = Rolling(size="1h") if asked["window"]["kind"] == "rolling" else Calendar(every="hour")
    catalog = Catalog(budgets=(Budget(id="b", limit=Decimal(40), period=period),))
    seen = cast(Seen, SimpleNamespace(records=lambda: records, catalog=catalog))
    return {row["threshold"]: row["state"] for row in thresholds(seen, asked)}


@pytest.mark.parametrize("asked", [0, 1])
def test_thresholds_of_a_rolling_window_that_were_crossed_at_different_times_both_fire(asked: int) -> None:
    records = [said("rolling", "0.8", (7, 8)), said("rolling", "1", (9, 10))]

    assert states(records, records[asked]) == {"0.8": "firing", "1": "firing"}


def test_a_calendar_alert_is_explained_with_those_of_its_own_period() -> None:
    records = [said("calendar", "0.8", (7, 8), "resolved"), said("calendar", "1", (8, 9))]

    assert states(records, records[0]) == {"0.8": "resolved", "1": "not crossed"}
