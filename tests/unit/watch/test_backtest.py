"""A back-test says what the live watch said of the same events, whatever the rule; its figures are worked out by hand."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.catalog.alerting import Rule, Silence
from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, BurnRate, BurnWindow, Rolling, RunLimits
from streams.catalog.models import Catalog
from streams.catalog.prices import Price
from streams.catalog.registries import Workload
from streams.cli.backtest_tables import what_was_read
from streams.pipeline.ledger import read_frame
from streams.pipeline.totals import totals
from streams.watch.alerts import Cause
from streams.watch.backtest import TICK_MS, Backtest, NoRule, columns_of, known_rule, only, replay, step_of, warm_from
from streams.watch.kept import MemoryTracks
from streams.watch.noise import Episode, Report, Seen
from streams.watch.scopes import key_of
from streams.watch.state import WatchState
from streams.watch.windows import Delta
from tests.support.stored import messages

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 1_790_000_000_000 // DAY * DAY
CENT = Price(
    provider="openai",
    model="gpt-5.2",
    bucket="input_uncached",
    unit_price=Decimal("0.01"),
    currency="USD",
    effective_from=datetime(2020, 1, 1, tzinfo=UTC),
    source="test",
)
CATALOG = Catalog(
    budgets=(
        Budget(id="day", each=("team",), limit=Decimal(10), period=Calendar(every="day")),
        Budget(id="hour", each=("team",), limit=Decimal(4), period=Rolling(size="1h"), hysteresis=Decimal("0.1")),
        Budget.model_validate(
            {
                "id": "slow",
                "limit": "6",
                "period": {"kind": "rolling", "size": "1h"},
                "pending": "10m",
                "resolve_after": "5m",
            }
        ),
        Budget.model_validate(
            {"id": "chat", "each": ["run_id"], "limit": "3", "period": {"kind": "lifetime", "idle": "30m"}}
        ),
    ),
    burn_rates=(
        BurnRate(
            id="burn", budget="day", min_events=1, windows=(BurnWindow(long="1h", short="5m", share=Decimal("0.3")),)
        ),
    ),
    runs=(RunLimits(id="runs", iterations=3),),
    rules=(
        Rule(id="no-price", kind="unpriced"),
        Rule(id="quiet", kind="low_usage", events=3, each=("team",)),
        Rule(id="age", kind="catalog_age", days=3),
    ),
)
RULES = ["day", "hour", "slow", "chat", "burn", "runs", "no-price", "quiet"]


def event(minute: float, cents: int, team: str = "a", run: str = "r", **other: Any) -> dict[str, Any]:
    block = f'{{"prompt_tokens":{cents},"completion_tokens":0,"total_tokens":{cents}}}'
    at = START + int(minute * MINUTE)
    return {"event_time": at, "team": team, "run_id": run, "usage_json": block, **other}


def frame(*events: dict[str, Any], tenant: str = "acme") -> pl.DataFrame:
    """Rated rows in the order of event time."""
    batches = messages(events, [CENT], tenant, START + 40 * DAY)
    return pl.concat([read_frame(b.payload) for b in batches]).sort("event_time")


def live(rule: str, rows: pl.DataFrame, start: int, end: int) -> list[tuple[str, str, str, int]]:
    """What the watch says: a message for each slice in which something came, a tick each ten seconds, a slice at least."""
    catalog = only(CATALOG, rule)
    state, known, found = WatchState(MemoryTracks()), known_rule(catalog, rule), list[tuple[str, str, str, int]]()
    state.adopt(1, catalog)
    grain = min(known.scope.slice_ms, MINUTE)
    at = pl.col("event_time").dt.epoch("ms")
    ticked = start

    def told(alerts: list[dict[str, Any]]) -> None:
        found.extend((a["alert_id"], a["state"], a["reason"], state.clock) for a in alerts if a["budget_id"] == rule)

    def tick(until: int) -> None:
        nonlocal ticked
        while ticked + max(TICK_MS, grain) <= until:
            ticked += max(TICK_MS, grain)
            told(state.tick(ticked, Cause(0, ticked, "", -1, -1)).alerts)

    for _, part in rows.with_columns(slice=at - at % grain).group_by("slice", maintain_order=True):
        tick(part["slice"][0])
        deltas = [Delta(*row) for row in totals(part.drop("slice"), [known.scope]).iter_rows()]
        told(state.take(deltas, Cause(0, 0, "s", 0, 0)).alerts)
    tick(end - 1)
    return found


class Told(Backtest):
    """Keeps what it was told, to be compared with the live watch."""

    def _begin(self) -> None:
        super()._begin()
        self.told: list[tuple[str, str, str, int]] = []

    def _note(self, alert: dict[str, Any], clock: int) -> None:
        self.told.append((alert["alert_id"], alert["state"], alert["reason"], clock))
        super()._note(alert, clock)


events = st.builds(
    event, st.floats(0, 1800, allow_nan=False), st.integers(50, 400), st.sampled_from("ab"), st.sampled_from("rs")
) | st.builds(lambda minute: event(minute, 5, model="unheard-of"), st.floats(0, 1800, allow_nan=False))


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=12, deadline=None)
@given(st.lists(events, min_size=5, max_size=40))
def test_a_back_test_says_what_the_live_watch_said_of_the_same_events(rule: str, found: list[dict[str, Any]]) -> None:
    rows, end = frame(*found), START + 2 * DAY
    test = Told(CATALOG, rule, START, end, min(known_rule(CATALOG, rule).scope.slice_ms, MINUTE))

    test.take(rows)
    test.report()

    assert test.told == live(rule, rows, START, end)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=8, deadline=None)
@given(st.lists(events, min_size=1, max_size=40), st.integers(1, 7))
@example([event(0, 500, "b"), event(0, 500, "b"), event(0.5, 500, "a")], 2)
def test_pages_may_end_anywhere(rule: str, found: list[dict[str, Any]], most: int) -> None:
    rows, end = frame(*found), START + 2 * DAY
    whole, paged = Told(CATALOG, rule, START, end, MINUTE), Told(CATALOG, rule, START, end, MINUTE)

    whole.take(rows)
    for i in range(0, rows.height, most):
        paged.take(rows[i : i + most])

    assert [(e.alert_id, e.opened, e.closed) for e in paged.report().episodes] == [
        (e.alert_id, e.opened, e.closed) for e in whole.report().episodes
    ]


def day_budget(*found: dict[str, Any], start: int = START, end: int = START + 7 * DAY) -> Report:
    return replay(CATALOG, "day", [frame(*found)], start, end, MINUTE)


def test_figures_of_a_budget_by_hand() -> None:
    #  limit 10: 8 at 01:00 fires 0.8, 10.50 at 02:00 fires 1, 2 more until midnight resolves both
    report = day_budget(event(60, 800), event(120, 250), event(180, 200), event(1500, 100), event(1600, 100, team="b"))

    assert [(e.threshold, e.opened - START, e.reason) for e in report.fired] == [
        ("0.8", 60 * MINUTE + 1, "period_ended"),
        ("1", 120 * MINUTE + 1, "period_ended"),
    ]
    assert [e.lasted(report.end) // MINUTE for e in report.fired] == [22 * 60 + 59, 21 * 60 + 59]
    assert [e.spent for e in report.fired] == [Decimal("4.5"), Decimal(2)]
    assert (report.at_risk, report.over) == (Decimal("4.5"), Decimal("2.5"))
    assert (report.spent, report.scopes, report.fired_scopes) == (
        Decimal("14.5"), 2, [key_of("day", "acme", [("team", "a")])]
    )  # fmt: skip
    assert report.noise == (1.0, 0, 0, 0, 0.0)  # 2 alerts, 2 scopes, 1 week


def test_what_was_used_before_the_start_is_in_the_windows_and_in_no_figure() -> None:
    noon = START + 12 * HOUR
    known = known_rule(CATALOG, "day")

    report = day_budget(event(60, 800), event(13 * 60, 250), start=noon)

    assert warm_from(known, noon) == START
    assert [(e.threshold, e.before) for e in report.episodes] == [("0.8", True), ("1", False)]
    assert (report.events, report.spent) == (1, Decimal("2.5"))
    assert report.at_risk == Decimal("2.5")  # an alert was open already


def test_windows_begin_to_be_filled_as_early_as_they_reach() -> None:
    month = Budget(id="m", limit=Decimal(1), period=Calendar(every="month", zone="Europe/Berlin"))
    catalog = CATALOG.model_copy(update={"budgets": (*CATALOG.budgets, month)})
    start = int(datetime(2026, 9, 20, tzinfo=UTC).timestamp() * 1000)

    assert datetime.fromtimestamp(warm_from(known_rule(catalog, "m"), start) / 1000, UTC) == datetime(
        2026, 8, 31, 22, tzinfo=UTC
    )
    assert start - warm_from(known_rule(catalog, "burn"), start) >= HOUR
    assert warm_from(known_rule(catalog, "quiet"), start) == start - DAY  # it judges whole periods


def test_long_windows_are_looked_at_less_often() -> None:
    steps = {rule: step_of(known_rule(CATALOG, rule)) // MINUTE for rule in ("burn", "hour", "day", "runs")}

    assert steps == {"burn": 1, "hour": 1, "day": 5, "runs": 1}


def test_tenants_come_one_after_the_other_and_know_nothing_of_each_other() -> None:
    one, two = frame(event(60, 800), event(3000, 900)), frame(event(30, 800), tenant="other")

    report = replay(CATALOG, "day", [pl.concat([one, two])], START, START + 7 * DAY, MINUTE)

    assert [(e.scope, e.opened - START) for e in report.fired] == [
        (key_of("day", "other", [("team", "a")]), 30 * MINUTE + 1),
        (key_of("day", "acme", [("team", "a")]), 60 * MINUTE + 1),
        (key_of("day", "acme", [("team", "a")]), 3000 * MINUTE + 1),
    ]


def test_batches_of_the_ledger_are_taken_as_they_came() -> None:
    rows = frame(event(60, 800), event(120, 250))
    test = Backtest(CATALOG, "day", START, START + 2 * DAY)

    test.take_batch(rows, Cause(0, START + 121 * MINUTE, "s", 0, 7))  # one batch: both thresholds at once
    report = test.report()

    assert {e.opened - START for e in report.fired} == {120 * MINUTE + 1}
    assert {e.closed for e in report.fired} == {START + DAY}


def test_silences_hide_nothing_and_parents_and_owners_come_along() -> None:
    parent = Budget(id="org", limit=Decimal(50), period=Calendar(every="day"))
    child = CATALOG.budgets[0].model_copy(update={"parent": "org"})
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    catalog = Catalog(
        budgets=(child, parent, *CATALOG.budgets[1:]),
        burn_rates=CATALOG.burn_rates,
        workloads=(Workload(id="w", business_owner="b", technical_owner="t", cost_center="c"),),
        silences=(Silence(id="s", starts=moment, ends=moment.replace(year=2030), reason="r"),),
    )

    kept = only(catalog, "burn")

    assert [b.id for b in kept.budgets] == ["day", "org"]
    assert (kept.silences, len(kept.workloads), [b.id for b in kept.burn_rates]) == ((), 1, ["burn"])


@pytest.mark.parametrize(
    ("rule", "said"), [("nobody", "there is none; take one of burn, chat"), ("age", "not about usage")]
)
def test_a_rule_that_cannot_be_tested_is_refused_with_those_that_can(rule: str, said: str) -> None:
    with pytest.raises(NoRule, match=said):
        Backtest(CATALOG, rule, START, START + DAY)


def test_only_the_columns_that_its_totals_are_made_of_are_read() -> None:
    catalog = Catalog(
        budgets=(
            Budget(id="b", each=("attributes.k",), unit="tokens", buckets=("output_*",), limit=Decimal(1),
                   period=Calendar(every="day"), contributors=("user_id",)),
        ),
        runs=(RunLimits(id="r", repeats=3),),
    )  # fmt: skip

    assert {"attributes", "lines", "user_id"} <= set(columns_of(known_rule(catalog, "b")))
    assert "tool_call_hashes" in columns_of(known_rule(catalog, "r"))
    assert "lines" not in columns_of(known_rule(CATALOG, "day"))


def episode(opened: int, closed: int | None, scope: str = "s", **other: Any) -> Episode:
    given: dict[str, Any] = {"since": opened, "limit": Decimal(10), "peak": Decimal(12), "spent": Decimal(5)} | other
    return Episode(f"{scope}{opened}", scope, "1", "warning", opened=opened, closed=closed, **given)


def report_of(*episodes: Episode, **seen: Seen) -> Report:
    return Report("r", "budget", "cost", "USD", 0, 7 * DAY, 10, 2, Decimal(100), episodes, seen)


def test_noise_is_what_is_brief_or_small_or_comes_back_soon() -> None:
    found = report_of(
        episode(0, 10 * MINUTE),  # brief
        episode(HOUR, 4 * HOUR, spent=Decimal("0.1")),  # back within an hour, and small: below 5 % of 7 a week
        episode(6 * HOUR, None),
        episode(DAY, DAY + HOUR, scope="t"),
        s=Seen(Decimal(70)),
        t=Seen(Decimal(70)),
    )

    assert found.noise == (2.0, 1, 1, 1, 0.5)
    assert found.still_open == 1
    assert found.over == 8  # 2 of each of four that were apart


def test_alerts_that_are_open_together_count_what_lies_above_the_limit_once() -> None:
    found = report_of(episode(0, DAY), episode(HOUR, 2 * DAY, peak=Decimal(15)), s=Seen(Decimal(70)))

    assert found.over == 5


def test_a_rule_that_never_fires_has_no_score() -> None:
    assert report_of().noise == (0.0, 0, 0, 0, None)


def test_memory_holds_the_spend_of_so_many_scopes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.watch.backtest.MOST_SEEN", 2)

    def pages() -> Iterator[pl.DataFrame]:
        for i in range(5):
            yield frame(event(60 + i, 1100, team=f"t{i}"))

    report = replay(CATALOG, "day", pages(), START, START + DAY)

    assert (report.scopes, len(report.fired_scopes)) == (5, 5)
    assert report.spent == 55


def test_a_report_says_where_usage_began_only_in_the_midst_of_the_time_asked_for() -> None:
    whole, late = (replace(report_of(), first=first) for first in (HOUR, 6 * DAY))

    assert what_was_read(whole).endswith("nobody was told")
    assert what_was_read(late).endswith("The first was at 1970-01-07 00:00: rates by week rest on 1d")
