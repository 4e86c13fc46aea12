"""Alerts about the catalog: the same cause is the same alert."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from pydantic import ValidationError

from streams.catalog.alerting import Rule
from streams.catalog.changes import Change
from streams.catalog.models import Catalog
from streams.watch.catalog_alerts import catalog_age_alerts, price_change_alerts
from streams.watch.watched import watched

DAY, NOON = timedelta(days=1), datetime(2026, 11, 1, 12, tzinfo=UTC)
AGE = Rule(id="old", kind="catalog_age", days=30)
CHANGED = Rule(id="vendor", kind="price_change", percent=Decimal(5), severity="critical")
RULES = Catalog(rules=(AGE, CHANGED))


def change(model: str, old: str | None, new: str | None, bucket: str = "input_uncached") -> Change:
    amounts = (Decimal(old) if old else None, Decimal(new) if new else None)
    return Change("p", model, bucket, "", *amounts, "USD", NOON)


def test_a_catalog_that_nobody_published_for_long_fires_and_the_next_version_resolves_it() -> None:
    def said(published: list[datetime], now: datetime) -> list[tuple[object, ...]]:
        return [(a["alert_id"], a["state"], a["revision"]) for a in catalog_age_alerts(RULES, published, now)]

    assert said([NOON], NOON + 30 * DAY) == []
    [(name, state, revision)] = said([NOON], NOON + 31 * DAY)
    assert (state, revision) == ("firing", 1)
    assert said([NOON], NOON + 40 * DAY) == [(name, "firing", 1)]
    assert said([NOON, NOON + 41 * DAY], NOON + 42 * DAY) == [(name, "resolved", 2)]


def test_a_vendors_price_change_is_one_alert_a_model_with_its_largest_change() -> None:
    found = [
        change("m", "1", "2"),
        change("m", "1", "1.5", "output_visible"),
        change("n", "100", "104"),
        change("k", None, "1"),
    ]

    [alert] = price_change_alerts(RULES, found, 7, NOON)

    assert alert["summary"] == "p/m: input_uncached +100.0 % and 1 more, catalog version 7"
    assert (alert["tenant_id"], alert["severity"], alert["value"]) == ("*", "critical", "100")
    assert price_change_alerts(RULES, found, 7, NOON + DAY)[0]["alert_id"] == alert["alert_id"]


def test_rules_about_the_catalog_watch_no_usage() -> None:
    assert watched(RULES) == {}


def test_days_belong_to_the_age_of_the_catalog() -> None:
    with pytest.raises(ValidationError, match="days belong to catalog_age"):
        Rule(id="r", kind="catalog_age")
    with pytest.raises(ValidationError, match="percent belongs to price_change"):
        Rule(id="r", kind="unpriced", percent=Decimal(1))
