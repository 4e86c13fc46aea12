"""The watch as a fold: windows equal brute force in any order, a restart anywhere changes nothing, alerts are states."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.alerting import Rule
from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, Rolling
from streams.catalog.models import Catalog
from streams.watch.alerts import Cause
from streams.watch.scopes import id_and_tenant, key_of
from streams.watch.state import WatchState
from streams.watch.windows import MINUTE_MS, Delta, current

DAY = Budget(id="team-day", each=("team",), limit=Decimal(10), period=Calendar(every="day"))
HOUR = Budget(id="hour", limit=Decimal(10), period=Rolling(size="1h"), thresholds=(Decimal(1),))
CATALOG = Catalog(budgets=(DAY, HOUR), rules=(Rule(id="no-price", kind="unpriced"),))
START = 1_790_000_000_000 // 86_400_000 * 1440  # minute of a midnight


def fresh(catalog: Catalog = CATALOG) -> WatchState:
    state = WatchState()
    state.adopt(1, catalog)
    return state


def cause(at: int = 0) -> Cause:
    return Cause(0, at, "s", 0, at)


def day(minute: int, cost: str, team: str = "a", unpriced: int = 0) -> Delta:
    return Delta(key_of("team-day", "acme", [("team", team)]), START + minute, "USD", 1, 10, unpriced, Decimal(cost))


def hour(minute: int, cost: str) -> Delta:
    return Delta(key_of("hour", "acme", []), START + minute, "USD", 1, 10, 0, Decimal(cost))


def story(state: WatchState, messages: list[list[Delta]]) -> list[dict[str, Any]]:
    return [a for i, deltas in enumerate(messages) for a in state.take(deltas, cause(i)).alerts]


def said(alerts: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(a["budget_id"], a["threshold"], a["state"]) for a in alerts]


def test_a_calendar_alert_fires_once_for_each_threshold_and_resolves_with_its_period() -> None:
    alerts = story(fresh(), [[day(0, "7")], [day(1, "1")], [day(2, "2")], [day(3, "5")], [day(1440, "1")]])

    assert said(alerts)[:2] == [("team-day", "0.8", "firing"), ("team-day", "1", "firing")]
    assert sorted(said(alerts)[2:]) == [("team-day", "0.8", "resolved"), ("team-day", "1", "resolved")]
    assert [a["revision"] for a in alerts] == [1, 1, 2, 2]


def test_a_rolling_alert_resolves_when_the_window_moves_on_and_a_new_crossing_is_a_new_episode() -> None:
    state = fresh()
    alerts = story(state, [[hour(0, "11")], [hour(30, "1")], [hour(61, "0")], [hour(70, "9.5")]])

    assert said(alerts) == [("hour", "1", "firing"), ("hour", "1", "resolved"), ("hour", "1", "firing")]
    assert alerts[0]["alert_id"] == alerts[1]["alert_id"] != alerts[2]["alert_id"]


def test_a_tick_ends_what_no_event_ends() -> None:
    state = fresh()
    story(state, [[hour(0, "11")]])

    ended = state.tick((START + 62) * MINUTE_MS, cause())

    assert said(ended.alerts) == [("hour", "1", "resolved")]


def test_usage_without_a_price_raises_its_alert_by_model() -> None:
    state, scope = fresh(), key_of("no-price", "acme", [("provider", "internal"), ("model", "house-7b")])

    alerts = story(state, [[Delta(scope, START, "", 3, 30, 3, Decimal(0))]])

    assert said(alerts) == [("no-price", "1", "firing")]
    assert alerts[0]["scope"].endswith("model=house-7b")


def test_money_of_another_currency_is_counted_beside_never_added() -> None:
    state = fresh()
    delta = day(0, "9")._replace(currency="EUR")
    state.take([delta], cause())

    record = state.budgets([delta.scope], ("s", 0, 0))[delta.scope]

    assert record is not None
    assert (record["used"], record["foreign_events"]) == ("0", 1)


def test_a_limit_that_is_lowered_is_judged_at_once_without_new_usage() -> None:
    state = fresh()
    state.take([day(0, "5")], cause())

    fresh_ids = state.adopt(
        2, CATALOG.model_copy(update={"budgets": (DAY.model_copy(update={"limit": Decimal(5)}), HOUR)})
    )
    effects = state.refresh(set(state.tracks), cause())

    assert fresh_ids == set()  # the windows stay, only the limit moved
    assert ("team-day", "1", "firing") in said(effects.alerts)


def test_a_budget_that_is_dropped_frees_its_scopes() -> None:
    state = fresh()
    state.take([day(0, "5"), hour(0, "1")], cause())

    state.adopt(2, CATALOG.model_copy(update={"budgets": (HOUR,)}))
    gone = state.drop(())

    assert {id_and_tenant(k)[0] for k in gone} == {"team-day"}
    assert state.budgets(gone, ("s", 0, 0)) == dict.fromkeys(gone)


deltas = st.builds(
    day,
    st.integers(0, 3000),
    st.decimals(0, 5, places=9).map(str),
    st.sampled_from("ab"),
) | st.builds(hour, st.integers(0, 3000), st.decimals(0, 5, places=9).map(str))
histories = st.lists(st.lists(deltas, max_size=4), max_size=12)


@settings(max_examples=60, deadline=None)
@given(histories, st.randoms())
def test_window_totals_are_the_sum_of_their_events_in_any_order(messages: list[list[Delta]], random: Any) -> None:
    state = fresh()
    shuffled = list(messages)
    random.shuffle(shuffled)
    story(state, shuffled)
    everything = [d for m in messages for d in m]

    for key, track in state.tracks.items():
        known = state.watched[id_and_tenant(key)[0]].budget
        start, end, sums = current(known, track, state.clock)
        brute = sum((d.cost for d in everything if d.scope == key and start <= d.minute * MINUTE_MS < end), Decimal(0))
        assert sums.cost == brute


@settings(max_examples=60, deadline=None)
@given(histories, st.integers(0, 12))
def test_a_restart_at_any_point_tells_the_same_story(messages: list[list[Delta]], cut: int) -> None:
    whole = fresh()
    told = story(whole, messages)

    first = fresh()
    begun = story(first, messages[:cut])
    second = fresh()
    second.load(first.dump())
    assert [*begun, *[a for i, m in enumerate(messages[cut:], cut) for a in second.take(m, cause(i)).alerts]] == told
    assert second.dump() == whole.dump()


@pytest.mark.parametrize("name", ["a|b", "a=b", "a\\", "\\|=", ""])
def test_a_scope_key_gives_its_tenant_back_whatever_it_contains(name: str) -> None:
    assert id_and_tenant(key_of("budget", name, [("team", "x|y=z")])) == ("budget", name)


def test_a_correction_resolves_what_it_takes_below_the_threshold() -> None:
    state = fresh()
    fired = state.take([day(0, "11")], cause())
    back = day(0, "-9")._replace(events=-1, tokens=-10)

    effects = state.take([back], cause(1), is_correction=True)

    assert said(fired.alerts) == [("team-day", "0.8", "firing"), ("team-day", "1", "firing")]
    assert said(effects.alerts) == [("team-day", "0.8", "resolved"), ("team-day", "1", "resolved")]


def test_a_correction_of_what_was_forgotten_raises_nothing_and_leaves_nothing() -> None:
    state = fresh()
    late = 30 * 1440  # the day of START is gone: its sums cannot become what they were plus the correction
    story(state, [[day(0, "1"), hour(0, "1")], [day(late, "1"), hour(late, "1")]])

    effects = state.take([day(0, "500"), hour(0, "500")], cause(2), is_correction=True)

    assert effects.alerts == []
    assert state.tracks[day(0, "0").scope].sums.keys() == {(START + late) * MINUTE_MS}
