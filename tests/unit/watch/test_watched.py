"""What is watched, as scopes and windows; keys of scopes and of their parents."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.catalog.alerting import Rule
from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, BurnRate, Lifetime, Rolling, RunLimits, Split
from streams.catalog.models import Catalog
from streams.watch.scopes import dimensions_of, id_and_tenant, key_of, parent_key
from streams.watch.watched import of_budget, watched

DAY, MONTH = Calendar(every="day"), Calendar(every="month", zone="Europe/Berlin")
ORG = Budget(id="org", limit=Decimal(100), period=MONTH)
TEAM = Budget(id="team", each=("team",), limit=Decimal(10), period=MONTH, parent="org")
CATALOG = Catalog(
    budgets=(ORG, TEAM),
    burn_rates=(BurnRate(id="burn", budget="team", contributors=("user_id", "team")),),
    runs=(RunLimits(id="loop", repeats=3), RunLimits(id="dear", cost="2", currency="EUR", idle="90s")),
    rules=(
        Rule(id="no-price", kind="unpriced"),
        Rule(id="long", kind="context", tokens=1000),
        Rule(id="wild", kind="policy"),
        Rule(id="unused", kind="low_usage", events=3, each=("workload_id",), period=Calendar(every="week")),
        Rule(id="age", kind="catalog_age", days=3),
        Rule(id="open", kind="exception_overdue"),
    ),
)
KNOWN = watched(CATALOG)


def test_everything_about_usage_is_watched_and_nothing_else() -> None:
    assert {i: w.kind for i, w in KNOWN.items()} == {
        "burn": "burn_rate", "dear": "run", "long": "context", "loop": "run", "no-price": "unpriced", "org": "budget",
        "team": "budget", "unused": "low_usage", "wild": "policy",
    }  # fmt: skip
    assert list(KNOWN) == sorted(KNOWN)


def test_a_burn_rate_has_the_scope_of_its_budget_and_the_windows_of_both() -> None:
    burn = KNOWN["burn"]

    assert [w.name for w in burn.windows] == ["period", "5m", "30m", "1h", "6h", "3d"]
    assert (burn.scope.id, burn.scope.each, burn.budget) == ("burn", ("team",), TEAM)
    assert burn.scope.slice_ms == 15_000  # of which slices of a minute, 5 minutes and an hour are made
    assert burn.scope.contributors == ("user_id",)  # the team is what it is about
    assert [w.name for w in burn.windows if w.with_causes] == ["1h", "6h", "3d"]


def test_rules_are_about_what_their_kind_uses_by_itself() -> None:
    scopes = {i: w.scope for i, w in KNOWN.items()}

    assert scopes["no-price"].each == ("provider", "model")
    assert (scopes["long"].each, scopes["long"].above, KNOWN["long"].windows[0].size_ms) == (
        ("workload_id",),
        1000,
        3_600_000,
    )
    assert scopes["wild"].where == (("approval_status", "unapproved"),)
    assert (scopes["unused"].each, KNOWN["unused"].windows[0].calendar) == (("workload_id",), Calendar(every="week"))


def test_runs_measure_what_they_limit() -> None:
    assert "repeats" in KNOWN["loop"].scope.measures
    assert "repeats" not in KNOWN["dear"].scope.measures
    assert (KNOWN["dear"].currency, KNOWN["dear"].scope.unit) == ("EUR", "cost")
    assert KNOWN["dear"].windows[0].slice_ms <= 90_000


@pytest.mark.parametrize(
    ("change", "is_other"),
    [
        ({"limit": Decimal(5)}, False),
        ({"thresholds": (Decimal(1),)}, False),
        ({"owner": "me"}, False),
        ({"period": DAY}, True),
        ({"unit": "tokens"}, True),
        ({"currency": "EUR"}, True),
        ({"measures": ("errors",)}, True),
        ({"forecast": False}, True),
        ({"where": {"model": "m"}}, True),
        ({"split": Split(by="user_id", shares={"a": "0.5"})}, True),
    ],
)
def test_windows_are_filled_anew_when_their_sums_would_be_others(change: dict[str, Any], is_other: bool) -> None:
    assert (of_budget(TEAM).shape != of_budget(TEAM.model_copy(update=change)).shape) is is_other


@pytest.mark.parametrize(
    ("period", "slice_ms"),
    [(DAY, 900_000), (Rolling(size="1m"), 5_000), (Rolling(size="7d"), 3_600_000), (Lifetime(idle="1d"), 60_000)],
)
def test_totals_are_as_coarse_as_the_window_allows(period: Any, slice_ms: int) -> None:
    assert of_budget(Budget(id="b", period=period)).scope.slice_ms == slice_ms


words = st.text("ab|=\\ *", max_size=5)


@given(words, st.dictionaries(st.sampled_from(["team", "attributes.a:b", "model"]), words))
def test_a_key_says_its_dimensions_whatever_they_contain(tenant: str, values: dict[str, str]) -> None:
    key = key_of("budget", tenant, values.items())

    assert dimensions_of(key) == {"tenant_id": tenant, **values}
    assert id_and_tenant(key) == ("budget", tenant)


def test_a_scope_knows_its_parents_key() -> None:
    key = key_of("team", "a|b", [("team", "x")])
    own = Budget(id="own", tenant="a|b", where={"team": "x"}, each=("user_id",), period=DAY)
    shares = Budget(id="s", split=Split(by="team", shares={"x": "0.5"}), limit=Decimal(1), period=DAY)
    of_key = dimensions_of(key)

    assert parent_key(of_budget(TEAM).scope, ORG, of_key) == "org|tenant_id=a\\|b"
    assert parent_key(of_budget(own).scope, TEAM, {"tenant_id": "a|b", "user_id": "u"}) == key
    assert parent_key(of_budget(TEAM).scope, shares, of_key) == "s|tenant_id=a\\|b|team=x"
    assert parent_key(of_budget(TEAM).scope, shares, {**of_key, "team": "y"}) == "s|tenant_id=a\\|b|team=*"
    assert parent_key(of_budget(ORG).scope, TEAM, {"tenant_id": "a"}) is None  # it does not say which team
    assert parent_key(of_budget(shares).scope, TEAM, {"tenant_id": "a", "team": "*"}) is None
    assert parent_key(of_budget(TEAM).scope, own, of_key) is None
    assert parent_key(of_budget(TEAM).scope, own.model_copy(update={"tenant": "other"}), of_key) is None
