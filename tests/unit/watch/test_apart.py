"""Alerts that no window is about: the catalog's age, a vendor's prices, exceptions past their reason."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic import ValidationError

from streams.catalog.alerting import Rule, Silence
from streams.catalog.limits import Budget, Exemption, Rolling
from streams.catalog.models import Catalog
from streams.catalog.prices import Price
from streams.watch.alerts import Cause
from streams.watch.apart import Apart, look_apart, price_changes
from streams.watch.commands import Commands
from streams.watch.look import Decisions
from streams.watch.watched import watched

DAY_MS = 86_400_000
NOON = int(datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp() * 1000)
AGE = Rule(id="old", kind="catalog_age", days=30)
VENDOR = Rule(id="vendor", kind="price_change", percent=Decimal(5), severity="critical")


def base(*amounts: tuple[str, str, str]) -> tuple[Price, ...]:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    return tuple(
        Price(provider="p", model=m, bucket=b, unit_price=Decimal(a), currency="USD", effective_from=start, source="t",
              origin="base")
        for m, b, a in amounts
    )  # fmt: skip


def look(catalog: Catalog, apart: Apart, clock: int, published: int = NOON, **more: object) -> list[tuple[object, ...]]:
    decided, cause = Decisions.of(catalog, Commands()), Cause(clock, clock, "", -1, -1)
    found = look_apart(decided, lambda _: decided, apart, lambda key: True, published, cause, "time", **more)  # type: ignore[arg-type]
    return [(a["scope"], a["state"], a["reason"], a["revision"], a["value"]) for a in found]


def test_a_catalog_that_nobody_published_for_long_fires_once_and_the_next_version_resolves_it() -> None:
    catalog, apart = Catalog(rules=(AGE,)), Apart()

    assert look(catalog, apart, NOON + 30 * DAY_MS) == []
    assert look(catalog, apart, NOON + 31 * DAY_MS) == [("old|tenant_id=*", "firing", "crossed", 1, "31")]
    assert look(catalog, apart, NOON + 40 * DAY_MS) == []
    late = NOON + 41 * DAY_MS
    assert look(catalog, apart, late + 1, published=late) == [("old|tenant_id=*", "resolved", "cleared", 2, "0")]
    assert look(catalog, apart, late + DAY_MS, published=late) == []
    assert apart == {}


def test_a_vendors_price_change_is_one_alert_a_model_with_its_largest_change_open_for_a_week() -> None:
    old = Catalog(
        prices=base(("m", "input_uncached", "1"), ("m", "output_visible", "1"), ("n", "input_uncached", "100"))
    )
    new = Catalog(
        prices=base(("m", "input_uncached", "2"), ("m", "output_visible", "1.5"), ("n", "input_uncached", "104")),
        rules=(VENDOR,),
    )  # fmt: skip
    apart, scope = Apart(), "vendor|tenant_id=*|provider=p|model=m"
    moved = price_changes(old, new, 7, NOON)

    assert {key: c.said for key, c in moved.items()} == {scope: "input_uncached +100.0 % and 1 more, catalog version 7"}
    assert look(new, apart, NOON + 1, moved=moved.items()) == [(scope, "firing", "crossed", 1, "100")]
    assert look(new, apart, NOON + 2, moved=moved.items()) == []  # the same version again
    assert look(new, apart, NOON + 6 * DAY_MS) == []
    assert look(new, apart, NOON + 7 * DAY_MS) == [(scope, "resolved", "period_ended", 2, "100")]


def test_own_prices_are_no_vendors_news() -> None:
    own = tuple(p.model_copy(update={"origin": "own"}) for p in base(("m", "input_uncached", "1")))
    dearer = tuple(p.model_copy(update={"unit_price": Decimal(9)}) for p in own)

    assert price_changes(Catalog(prices=own), Catalog(prices=dearer, rules=(VENDOR,)), 2, NOON) == {}


def test_an_exception_past_its_reason_is_an_alert_until_it_expires() -> None:
    budget = Budget(id="b", limit=Decimal(1), period=Rolling(size="1h"))
    when = [datetime.fromtimestamp((NOON + d * DAY_MS) / 1000, UTC) for d in range(12)]
    granted = Exemption(id="launch", budget="b", tenant="acme", extra=Decimal(5), justification="launch", approver="cfo",
                        starts=when[0], reason_ends=when[3], expires=when[10])  # fmt: skip
    catalog = Catalog(budgets=(budget,), exceptions=(granted,), rules=(Rule(id="late", kind="exception_overdue"),))
    apart, scope = Apart(), "late|tenant_id=acme|exception=launch"

    assert look(catalog, apart, NOON + 2 * DAY_MS) == []
    assert look(catalog, apart, NOON + 4 * DAY_MS) == [(scope, "firing", "crossed", 1, "1")]
    assert [c[:3] for c in look(catalog, apart, NOON + 10 * DAY_MS)] == [(scope, "resolved", "period_ended")]


def test_a_dropped_rule_resolves_its_alert_and_a_silence_says_so() -> None:
    apart = Apart()
    hush = Silence(
        id="hush", starts=datetime(2020, 1, 1, tzinfo=UTC), ends=datetime(2030, 1, 1, tzinfo=UTC), reason="r"
    )
    quiet = Decisions.of(Catalog(rules=(AGE,), silences=(hush,)), Commands())
    cause = Cause(NOON + 31 * DAY_MS, 0, "", -1, -1)

    [fired] = look_apart(quiet, lambda _: quiet, apart, lambda key: True, NOON, cause, "time")

    assert fired["silenced"]["id"] == "hush"
    assert [c[1:3] for c in look(Catalog(), apart, NOON + 32 * DAY_MS)] == [("resolved", "rule_gone")]


def test_another_partition_raises_nothing_of_ours() -> None:
    decided, cause = Decisions.of(Catalog(rules=(AGE,)), Commands()), Cause(NOON + 31 * DAY_MS, 0, "", -1, -1)

    assert look_apart(decided, lambda _: decided, {}, lambda key: False, NOON, cause, "time") == []


def test_rules_about_the_catalog_watch_no_usage() -> None:
    assert watched(Catalog(rules=(AGE, VENDOR))) == {}


def test_days_belong_to_the_age_of_the_catalog() -> None:
    with pytest.raises(ValidationError, match="days belong to catalog_age"):
        Rule(id="r", kind="catalog_age")
    with pytest.raises(ValidationError, match="percent belongs to price_change"):
        Rule(id="r", kind="unpriced", percent=Decimal(1))
