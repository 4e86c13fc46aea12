"""Proposals from a baseline: figures by hand, what is left out and said so, and a file that the catalog takes as it is."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.catalog.limits import Budget
from streams.catalog.parse import parse_files
from streams.jobs.baseline import LENGTHS, Found, Period, Proposal, Unit, propose, rank, rounded_up, short
from streams.jobs.proposed import Ids, budgets_toml, evidence, quoted, runs_toml, slug
from streams.jobs.run_sizes import propose_runs

FIRST = date(2026, 9, 28)
AFTER = FIRST + timedelta(days=60)
UPLIFT = Decimal("1.15")


def row(day: int, cost: str | None, team: str = "search", **other: Any) -> dict[str, Any]:
    """A row of `usage_by_day`; no cost: nothing of it has a price."""
    return {
        "tenant_id": "acme", "values": [team], "day": f"{FIRST + timedelta(days=day)}", "currency": "USD" if cost else None,
        "events": 10, "unpriced_events": 0 if cost else 10, "tokens": 1000, "cost": Decimal(cost) if cost else None,
    } | other  # fmt: skip


def days(*costs: str, team: str = "search", since: int = 0) -> list[dict[str, Any]]:
    return [row(since + i, cost, team) for i, cost in enumerate(costs)]


def proposals(rows: list[dict[str, Any]], unit: Unit = "cost", period: Period = "month") -> Found:
    return propose(rows, ["team"], unit, period, UPLIFT, FIRST, AFTER)


def only(found: Found) -> Proposal:
    [one] = found.proposals
    return one


def test_a_month_is_its_mean_day_times_its_length_with_room_on_top() -> None:
    one = only(proposals(days(*["10", "20"] * 30)))

    assert [one.mean, one.median, one.p95] == [Decimal(15), Decimal(15), Decimal(20)]
    assert (one.days, one.used_days) == (60, 60)
    assert one.baseline == 15 * LENGTHS["month"] == Decimal("456.5625")
    assert one.limit == 526  # 456.5625 x 1.15 = 525.05, up to three digits
    assert one.months == ("2026-09", "2026-10", "2026-11")


def test_a_day_is_the_one_that_95_percent_do_not_exceed() -> None:
    one = only(proposals(days(*["10"] * 57, "20", "20", "20"), period="day"))

    assert (one.baseline, one.limit) == (Decimal(10), Decimal("11.5"))


def test_a_rare_burst_is_left_out_and_named() -> None:
    one = only(proposals(days(*["10"] * 59, "500")))

    assert one.mean == 10
    assert (one.largest, one.largest_on) == (Decimal(500), FIRST + timedelta(days=59))
    assert one.left_out == (f"{one.largest_on}: 500 is 50.0 x the median day",)


def test_what_is_usual_is_no_burst() -> None:
    one = only(proposals(days(*["10"] * 50, *["500"] * 10)))

    assert one.left_out == ()
    assert one.days == 60


def test_days_without_use_count_and_days_before_the_first_use_do_not() -> None:
    one = only(proposals([row(20, "30"), row(59, "30")]))

    assert (one.days, one.used_days, one.mean) == (40, 2, Decimal("1.5"))
    assert one.left_out[0] == "20 days before its first use on 2026-10-18"


def test_growth_is_shown_as_the_second_half_against_the_first() -> None:
    assert only(proposals(days(*["10"] * 30, *["15"] * 30))).trend == Decimal("0.5")
    assert only(proposals([row(0, "0"), row(59, "5")])).trend is None


def test_what_has_no_price_is_counted_beside_and_never_a_zero() -> None:
    rows = [*days(*["10"] * 60), *[row(i, None) for i in range(0, 60, 2)]]

    one = only(proposals(rows))

    assert one.unpriced == Decimal(300) / 900
    assert one.unpriced_tokens == int(30_000 * LENGTHS["month"] / 60)
    assert one.mean == 10


def test_a_scope_without_any_price_is_named_and_gets_no_limit_in_money_but_one_in_tokens() -> None:
    rows = [row(i, None) for i in range(60)]

    money, tokens = proposals(rows), only(proposals(rows, "tokens"))

    assert (money.proposals, money.unpriced) == ([], [("acme", {"team": "search"}, 600)])
    assert (tokens.mean, tokens.currency) == (Decimal(1000), None)


def test_usage_that_names_no_team_is_counted_and_in_no_proposal() -> None:
    found = proposals([*days(*["10"] * 60), row(5, "7", team="")])

    assert (only(found).mean, found.nameless, found.events) == (Decimal(10), 10, 610)


def test_money_of_two_currencies_is_never_one_proposal() -> None:
    rows = [*days(*["10"] * 60), *[row(i, "4", currency="EUR") for i in range(60)]]

    assert {(p.currency, p.mean) for p in proposals(rows).proposals} == {("USD", Decimal(10)), ("EUR", Decimal(4))}
    assert only(proposals(rows, "tokens")).mean == 2000


def test_fewer_than_30_days_are_marked() -> None:
    found = proposals([*days(*["1"] * 29, since=31), *days(*["1"] * 30, team="ads", since=30)])

    assert {p.where["team"]: p.is_short for p in found.proposals} == {"search": True, "ads": False}


@given(st.lists(st.integers(1, 1000), min_size=30, max_size=60), st.integers(1, 500))
def test_more_use_never_lowers_the_proposal(costs: list[int], more: int) -> None:
    one = only(proposals(days(*map(str, costs))))
    other = only(proposals(days(*(str(c + more) for c in costs))))

    assert other.limit >= one.limit or one.left_out != other.left_out  # a burst is one beside its neighbours


@given(st.decimals(Decimal("0.000001"), 10**12, allow_nan=False, places=6))
def test_rounding_up_keeps_three_digits_and_never_loses(amount: Decimal) -> None:
    assert amount <= rounded_up(amount) <= amount * Decimal("1.01")
    assert len(rounded_up(amount).normalize().as_tuple().digits) <= 3


def test_a_rank_is_the_smallest_that_the_share_does_not_exceed() -> None:
    amounts = [Decimal(i) for i in range(1, 46)]

    assert rank(amounts, Decimal("0.95")) == 43  # 42.75 of 45
    assert rank(amounts[:1], Decimal("0.95")) == 1


@pytest.mark.parametrize(
    ("amount", "said"),
    [("1234.5", "1,234.50"), ("12", "12"), ("0.0123", "0.012"), ("0", "0"), ("0.00000012", "0.00000012")],
)
def test_amounts_for_people(amount: str, said: str) -> None:
    assert short(Decimal(amount)) == said


HOSTILE = [
    "plain",
    'quo"te',
    "back\\slash",
    "new\nline",
    "tab\t",
    "\x7f",
    "größe 😀",
    "[[budgets]]",
    "# no comment",
    "a=b|c",
]


def test_the_file_is_a_catalog_whatever_names_hold() -> None:
    rows = [r for name in HOSTILE for r in days(*["10"] * 60, team=name)]
    found = proposals(rows)

    text = budgets_toml(
        found.proposals, "usage-streams budgets propose", "cost", "month", "Europe/Berlin", UPLIFT, AFTER
    )
    budgets: tuple[Budget, ...] = parse_files({"proposed.toml": text}).budgets

    assert [b.where["team"] for b in budgets] == [p.where["team"] for p in found.proposals]
    assert {b.where["team"] for b in budgets} == set(HOSTILE)
    assert len({b.id for b in budgets}) == len(HOSTILE)
    first = budgets[0]
    assert (first.limit, first.thresholds) == (Decimal(351), (Decimal("0.8"), Decimal(1)))
    assert [(rung.step, f"{rung.since:%Y-%m-%d}") for rung in first.ladder] == [
        ("report", "2026-11-27"), ("warn", "2026-12-27")
    ]  # fmt: skip


def test_attributes_are_keys_of_the_file_too() -> None:
    rows = [row(i, "10") for i in range(60)]
    found = propose(rows, ["attributes.region_group"], "cost", "month", UPLIFT, FIRST, AFTER)

    text = budgets_toml(found.proposals, "c", "cost", "month", "UTC", UPLIFT, AFTER)

    assert parse_files({"p.toml": text}).budgets[0].where == {"attributes.region_group": "search"}


def test_evidence_names_the_limit_as_the_file_has_it() -> None:
    one = only(proposals(days(*["0.0064"] * 60)))

    first = next(evidence(one, "month", UPLIFT))

    assert (str(one.limit), first.split(" = ")[0]) == (
        "0.225",
        "0.225",
    )  # 0.0064 x 30.4375 x 1.15 = 0.22402, rounded up


def test_evidence_stands_beside_the_figure() -> None:
    one = only(proposals([*days(*["10"] * 59, "500"), row(3, None)]))

    said = "\n".join(evidence(one, "month", UPLIFT))

    assert "351 = a mean month, 304.37 x 1.15, rounded up" in said or "304.38 x 1.15" in said
    assert "mean 10, median 10, p95 10; largest 500 on 2026-11-26" in said
    assert "(2026-09, 2026-10, 2026-11)" in said
    assert "of the events have no price" in said
    assert "left out: 2026-11-26" in said


def test_ids_are_new_and_fit_the_catalog() -> None:
    ids = Ids(["search-month"])

    assert [ids.of(["Search", "month"]), ids.of(["search", "month"])] == ["search-month-2", "search-month-3"]
    assert slug(["Ä", "!"]) == "scope"


def test_strings_are_quoted_for_toml() -> None:
    assert quoted('a"b\x7f') == '"a\\"b\\u007f"'


def runs(**other: Any) -> dict[str, Any]:
    """A row of `usage_by_run`."""
    flat = [Decimal(1)] * 4
    return {
        "tenant_id": "acme", "values": ["search"], "runs": 200, "open": 3, "events": 1200, "unpriced_events": 0,
        "in_currencies": ["USD"], "priced": 190, "iterations": [4, 6, 6, 40], "tokens": [900, 2000, 4321, 9000],
        "tool_calls": [0, 0, 0, 0], "retries": [0, 0, 0, 1], "elapsed_ms": [60_000, 600_000, 900_001, 10**6], "cost": flat,
    } | other  # fmt: skip


def test_limits_of_runs_have_room_above_what_99_percent_need() -> None:
    [one] = propose_runs([runs()], "run_id", ["team"], UPLIFT)

    assert one.limits == {
        "iterations": 7, "tokens": 4970, "elapsed_ms": 18 * 60_000, "cost": Decimal("1.15")
    }  # fmt: skip
    assert not one.is_short


def test_limits_of_runs_are_a_catalog_and_stop_nobody() -> None:
    found = propose_runs([runs(), runs(values=["ads"], runs=99)], "run_id", ["team"], UPLIFT)

    [ads, search] = sorted(
        parse_files({"r.toml": runs_toml(found, "c", UPLIFT, FIRST, AFTER)}).runs, key=lambda r: r.id
    )

    assert (search.id, search.iterations, search.elapsed, search.cost, search.step) == (
        "search-run", 7, 1_080_000, Decimal("1.15"), "warn"
    )  # fmt: skip
    assert ads.each == ("run_id",)


def test_costs_of_runs_in_several_currencies_are_no_limit() -> None:
    [one] = propose_runs([runs(in_currencies=["EUR", "USD"])], "run_id", ["team"], UPLIFT)

    assert "cost" not in one.limits
    assert one.currency is None
