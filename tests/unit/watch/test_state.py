"""The watch as a fold: windows equal brute force in any order, a restart anywhere changes nothing, alerts are states."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.alerting import Rule, Silence
from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, BurnRate, BurnWindow, Exemption, Rolling
from streams.catalog.models import Catalog
from streams.catalog.routes import Route
from streams.watch import commands
from streams.watch.alerts import Cause
from streams.watch.kept import MemoryTracks, Row
from streams.watch.periods import MINUTE_MS
from streams.watch.scopes import id_and_tenant, key_of
from streams.watch.state import STEP, Head, WatchState
from streams.watch.tracks import stretches
from streams.watch.windows import Delta

DAY = Budget(id="team-day", each=("team",), limit=Decimal(10), period=Calendar(every="day"))
HOUR = Budget(id="hour", limit=Decimal(10), period=Rolling(size="1h"), thresholds=(Decimal(1),))
CATALOG = Catalog(budgets=(DAY, HOUR), rules=(Rule(id="no-price", kind="unpriced"),))
START = 1_790_000_000_000 // 86_400_000 * 1440  # minute of a midnight


def fresh(catalog: Catalog = CATALOG) -> WatchState:
    state = WatchState(MemoryTracks())
    state.adopt(1, catalog)
    return state


def rows(state: WatchState) -> list[Row]:
    return list(state.tracks.above(""))


def cause(at: int = 0) -> Cause:
    return Cause(0, at, "s", 0, at)


def row(scope: str, minute: int, cost: str, unpriced: int = 0, slice_ms: int = 900_000) -> Delta:
    at = (START + minute) * MINUTE_MS
    return Delta(scope, at - at % slice_ms, "USD", 1, 10, unpriced, 10 * unpriced, Decimal(cost), at, at)


def day(minute: int, cost: str, team: str = "a", unpriced: int = 0) -> Delta:
    return row(key_of("team-day", "acme", [("team", team)]), minute, cost, unpriced)


def hour(minute: int, cost: str) -> Delta:
    return row(key_of("hour", "acme", []), minute, cost, 0, MINUTE_MS)


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


def to(name: str, after: str, **match: Any) -> Route:
    """A route that escalates after so long."""
    given = {"id": name, "endpoints": ["chat"], "escalate": [{"after": after, "endpoints": ["phone"]}]}
    return Route.model_validate(given | match)


def test_an_alert_escalates_as_the_routes_of_its_own_severity_and_condition_say() -> None:
    #  minute       0      20      40      60
    #  fast, 3d/6h  fires                  escalates: it is a warning, although its rule is critical
    #  hour, 0.8    fires  escalates
    #  hour, 1      fires          escalates
    slow = BurnWindow(long="3d", short="6h", factor=Decimal("1.1"), severity="warning")
    fast = BurnRate(id="fast", budget="month", windows=(slow,), severity="critical", min_events=1)
    routes = (
        to("pages", "10m", match={"severities": ["critical"]}),
        to("used-up", "40m", conditions=["1"]),
        to("nearly", "20m", match={"rules": ["hour"]}),
        to("rest", "60m"),
    )
    month = Budget(id="month", limit=Decimal(7200), period=Calendar(every="month"))
    hour_ = HOUR.model_copy(update={"thresholds": (Decimal("0.8"), Decimal(1))})
    state = fresh(Catalog(budgets=(month, hour_), burn_rates=(fast,), routes=routes))
    fired = state.take([row(key_of("fast", "acme", []), 0, "7200"), hour(0, "11")], cause()).alerts

    ticks = [(m, state.tick((START + m) * MINUTE_MS + 1, cause()).alerts) for m in range(10, 65, 10)]

    assert sorted(said(fired)) == [
        ("fast", "3d/6h", "firing"), ("hour", "0.8", "firing"), ("hour", "1", "firing")
    ]  # fmt: skip
    assert [(m, a["budget_id"], a["threshold"]) for m, told in ticks for a in told if a["reason"] == "escalated"] == [
        (20, "hour", "0.8"),
        (40, "hour", "1"),
        (60, "fast", "3d/6h"),
    ]


def test_usage_without_a_price_raises_its_alert_by_model() -> None:
    state, scope = fresh(), key_of("no-price", "acme", [("provider", "internal"), ("model", "house-7b")])

    alerts = story(state, [[row(scope, 0, "0", 3)._replace(currency="", events=3)]])

    assert said(alerts) == [("no-price", "1", "firing")]
    assert alerts[0]["scope"].endswith("model=house-7b")


def test_money_of_another_currency_is_counted_beside_never_added() -> None:
    state = fresh()
    delta = day(0, "9")._replace(currency="EUR")
    state.take([delta], cause())

    _, record = state.records([delta.scope], (), ("s", 0, 0))[delta.scope]

    assert record is not None
    assert (record["used"], record["foreign_events"]) == ("0", 1)


def test_a_limit_that_is_lowered_is_judged_at_once_without_new_usage() -> None:
    state = fresh()
    state.take([day(0, "5")], cause())

    fresh_ids = state.adopt(
        2, CATALOG.model_copy(update={"budgets": (DAY.model_copy(update={"limit": Decimal(5)}), HOUR)})
    )
    effects = state.tick(0, cause())

    assert fresh_ids == set()  # the windows stay, only the limit moved
    assert ("team-day", "1", "firing") in said(effects.alerts)
    assert not state.is_behind()


def exempted(budget: str = "team-day") -> Exemption:
    """5 more, for everybody, at any time."""
    return Exemption(id="launch", budget=budget, tenant="acme", extra=Decimal(5), justification="launch", approver="cfo",
                     starts=datetime(2020, 1, 1, tzinfo=UTC), expires=datetime(2100, 1, 1, tzinfo=UTC))  # fmt: skip


def test_an_exception_of_a_later_catalog_raises_the_limit_of_scopes_that_are_known() -> None:
    state = fresh()
    state.take([day(0, "11")], cause())

    state.adopt(2, CATALOG.model_copy(update={"exceptions": (exempted(),)}))
    effects = state.tick(0, cause())
    _, record = state.records([day(0, "0").scope], (), ("s", 0, 0))[day(0, "0").scope]

    assert ("team-day", "1", "resolved") in said(effects.alerts)
    assert record is not None
    assert (record["limit"], record["base_limit"], record["exception"]["used"]) == ("15", "10", "1")


def test_what_is_used_of_an_exception_is_money_although_another_limit_binds() -> None:
    guarded = DAY.model_copy(update={"guard_tokens": 5})
    state = fresh(CATALOG.model_copy(update={"budgets": (guarded, HOUR), "exceptions": (exempted(),)}))
    state.take([day(0, "11", unpriced=1)], cause())

    _, record = state.records([day(0, "0").scope], (), ("s", 0, 0))[day(0, "0").scope]

    assert record is not None
    assert (record["binding"], record["exception"]["used"]) == ("guard", "1")


def test_who_was_not_told_is_told_when_the_silence_is_taken_out_of_the_catalog() -> None:
    hush = Silence(id="s", starts=datetime(2020, 1, 1, tzinfo=UTC), ends=datetime(2100, 1, 1, tzinfo=UTC), reason="r")
    state = fresh(CATALOG.model_copy(update={"silences": (hush,)}))
    [quiet] = state.take([hour(0, "11")], cause()).alerts

    state.adopt(2, CATALOG)
    [told] = state.tick(0, cause()).alerts

    assert quiet["silenced"]["id"] == "s"
    assert (told["alert_id"], told["reason"], told["silenced"]) == (quiet["alert_id"], "silence_over", None)


def test_a_budget_that_is_dropped_frees_its_scopes() -> None:
    state = fresh()
    state.take([day(0, "5"), hour(0, "1")], cause())
    state.records([day(0, "5").scope], (), ("s", 0, 0))

    state.adopt(2, CATALOG.model_copy(update={"budgets": (HOUR,)}))
    effects = state.tick(0, cause())

    assert effects.gone == {day(0, "5").scope}
    assert state.records((), effects.gone, ("s", 0, 0)) == {day(0, "5").scope: (0, None)}
    assert {id_and_tenant(r.key)[0] for r in rows(state)} == {"hour"}


SAME = (
    "kind",
    "budget_id",
    "tenant_id",
    "dimensions",
    "owner",
    "accountable",
    "severity",
    "currency",
    "runbook",
    "parents",
)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_rule_that_comes_back_under_its_id_within_its_period_is_another_one_and_alerts_anew(
    is_restarted: bool,
) -> None:
    capped = DAY.model_copy(update={"mode": "enforce", "thresholds": (Decimal(1),)})
    old = Rule(id="old", kind="catalog_age", days=1)
    catalog = Catalog(budgets=(capped,), rules=(old,))
    state = fresh(catalog)

    def crossed() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        seen = state.take([day(0, "10")], cause())
        return seen.alerts + state.tick(0, cause()).alerts, seen.enforcements

    first, stopped = crossed()
    state.adopt(2, Catalog())
    ended = state.tick(0, cause()).alerts
    state.adopt(3, catalog)
    if is_restarted:
        again = WatchState(state.tracks)
        again.head = msgspec.msgpack.decode(msgspec.msgpack.encode(state.head), type=Head)
        again.resume(catalog)
        state = again
    second, stopped_again = crossed()

    # All at one clock, so that nothing but the version tells them apart.
    assert len({a["occurred_at"] for a in (*first, *ended, *second)}) == 1
    assert said(second) == said(first) == [("team-day", "1", "firing"), ("old", "1", "firing")]
    assert [a["revision"] for a in second] == [1, 1]
    assert {a["alert_id"] for a in ended} == {a["alert_id"] for a in first}
    assert not {a["alert_id"] for a in second} & {a["alert_id"] for a in first}
    assert [e["verdict"] for e in (*stopped, *stopped_again)] == ["stop", "stop"]
    assert stopped[0]["enforcement_id"] != stopped_again[0]["enforcement_id"]


def test_who_starts_with_the_newest_version_finds_the_alerts_of_who_saw_every_one() -> None:
    first, second = Catalog(budgets=(HOUR,)), Catalog(budgets=(HOUR, DAY))
    live, rebuilt = WatchState(MemoryTracks()), WatchState(MemoryTracks())
    for sequence, catalog in enumerate((second, first, second), 1):
        live.adopt(sequence, catalog)
    rebuilt.adopt(3, second, between={1: second, 2: first})

    alerts = [state.take([day(0, "9"), hour(0, "12")], cause()).alerts for state in (live, rebuilt)]

    assert alerts[0] == alerts[1]
    assert said(alerts[0]) == [("hour", "1", "firing"), ("team-day", "0.8", "firing")]
    assert live.head.since == rebuilt.head.since == {"hour": 1, "team-day": 3}


def test_a_rule_that_comes_back_before_the_watch_saw_it_go_keeps_its_alert() -> None:
    state = fresh(Catalog(budgets=(DAY,)))
    first = state.take([day(0, "9")], cause()).alerts
    state.adopt(2, Catalog())
    state.adopt(3, Catalog(budgets=(DAY,)))
    state.fill([day(0, "9")])

    seen = state.take([day(1, "9")], cause()).alerts

    assert said(first) == [("team-day", "0.8", "firing")]
    assert said(seen) == [("team-day", "1", "firing")]  # the other goes on as it was


@pytest.mark.parametrize("is_restarted", [False, True])
def test_what_a_dropped_rule_had_raised_ends_under_its_kind_and_owner_however_late_and_by_whom(
    monkeypatch: pytest.MonkeyPatch, is_restarted: bool
) -> None:
    monkeypatch.setattr("streams.watch.state.STEP", 1)
    mine = DAY.model_copy(update={"owner": "search", "accountable": "cfo", "where": {"model": "m"}, "parent": "hour"})
    old = Rule(id="old", kind="catalog_age", days=1, owner="finops")
    catalog = CATALOG.model_copy(update={"budgets": (mine, HOUR), "rules": (old,)})
    state = fresh(catalog)
    fired = state.take([day(0, "9", "a"), day(0, "9", "b")], cause()).alerts + state.tick(0, cause()).alerts

    without = Catalog(budgets=(HOUR,))
    state.adopt(2, without)
    ended = state.take([], cause()).alerts
    assert len(ended) == 1  # a step looks at one scope
    state.adopt(3, without.model_copy(update={"budgets": ()}))
    if is_restarted:
        again = WatchState(state.tracks)
        again.head = msgspec.msgpack.decode(msgspec.msgpack.encode(state.head), type=Head)
        again.resume(Catalog(), 0, [(n, {1: catalog, 2: without}[n]) for n in set(again.head.last_in.values())])
        state = again
    for _ in range(3):
        ended += state.tick(0, cause()).alerts

    def said_of(alerts: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        return sorted(((a["alert_id"], *(a[name] for name in SAME)) for a in alerts), key=str)

    assert {a["reason"] for a in ended} == {"rule_gone"}
    assert {(a["kind"], a["owner"]) for a in fired} == {("budget", "search"), ("catalog_age", "finops")}
    assert said_of(ended) == said_of(fired)
    assert (state.head.last_in, state.is_behind()) == ({}, False)


def test_many_scopes_are_looked_at_in_steps_and_nobody_is_forgotten() -> None:
    state = fresh()
    state.take([day(0, "9", f"t{n}") for n in range(2 * STEP + 10)], cause())

    ends = [state.tick((START + 1440) * MINUTE_MS + 1, cause()) for _ in range(4)]

    assert [len(e.dirty) for e in ends] == [STEP, STEP, 10, 0]
    assert sum(len(e.alerts) for e in ends) == 2 * STEP + 10  # each was at 90 %, and its day is over
    assert not state.is_behind()


def test_a_rule_of_another_shape_forgets_what_it_counted_and_is_filled_before_it_is_judged() -> None:
    state = fresh()
    state.take([day(0, "5", "a"), day(1, "5", "b")], cause())
    other = DAY.model_copy(update={"where": {"model": "m"}})

    fresh_ids = state.adopt(2, CATALOG.model_copy(update={"budgets": (other, HOUR)}))
    touched = state.fill([day(2, "11", "a")])
    effects = state.take([day(3, "1", "a")], cause())

    assert fresh_ids == {"team-day"}
    assert touched == {day(0, "0", "a").scope}
    assert said(effects.alerts) == [("team-day", "0.8", "firing"), ("team-day", "1", "firing")]
    assert effects.alerts[0]["value"] == "12"
    assert [r.key for r in rows(state)] == [day(0, "0", "a").scope]  # nothing is left of b


def test_a_record_is_told_when_its_figures_move_and_not_otherwise() -> None:
    state = fresh()
    key, stamp = day(0, "1").scope, ("s", 0, 0)
    state.take([day(0, "1")], cause())
    first = state.records([key], (), stamp)
    state.tick((START + 5) * MINUTE_MS, cause())

    assert list(first) == [key]
    assert state.records([key], (), ("s", 0, 9)) == {}
    assert list(state.records([key], (), stamp, again=True)) == [key]
    state.take([day(6, "1")], cause())
    assert list(state.records([key], (), stamp)) == [key]


def test_a_silent_scope_is_gone_when_nothing_can_reach_its_windows() -> None:
    state = fresh()
    state.take([day(0, "9"), hour(0, "1")], cause())
    state.records([day(0, "0").scope], (), ("s", 0, 0))

    effects = state.tick((START + 10 * 1440) * MINUTE_MS, cause())

    assert effects.gone == {day(0, "0").scope}
    assert said(effects.alerts) == [("team-day", "0.8", "resolved")]
    assert rows(state) == []


def test_a_budget_without_a_limit_is_followed_and_raises_nothing() -> None:
    state = fresh(Catalog(budgets=(DAY.model_copy(update={"limit": None}),)))

    effects = state.take([day(0, "1000")], cause())

    assert (effects.alerts, len(rows(state))) == ([], 1)


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

    for key, scoped in state.tracks.items():
        known = state.watched[id_and_tenant(key)[0]]
        start, end, sums = stretches(known, scoped.track, state.clock)["period"]
        brute = sum((d.cost for d in everything if d.scope == key and start <= d.first_ms < end), Decimal(0))
        assert sums.cost == brute


@settings(max_examples=60, deadline=None)
@given(histories, st.integers(0, 12))
def test_a_restart_at_any_point_tells_the_same_story(messages: list[list[Delta]], cut: int) -> None:
    whole = fresh()
    told = story(whole, messages)

    first = fresh()
    begun = story(first, messages[:cut])
    second = WatchState(MemoryTracks())
    second.tracks.load(rows(first))
    second.head = msgspec.msgpack.decode(msgspec.msgpack.encode(first.head), type=Head)
    second.resume(CATALOG)
    assert [*begun, *[a for i, m in enumerate(messages[cut:], cut) for a in second.take(m, cause(i)).alerts]] == told
    assert (second.head, rows(second)) == (whole.head, rows(whole))


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

    effects = state.take([day(0, "500"), hour(0, "500")], cause(2))

    assert effects.alerts == []
    left = state.tracks.get(day(0, "0").scope)
    assert left is not None
    assert left.track.periods.keys() == {(START + late) * MINUTE_MS}


def test_a_silence_without_end_that_an_earlier_version_sent_stops_no_watch() -> None:
    state = fresh()
    ends = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(hours=5)))
    silence = commands.Silence("s", datetime(2026, 1, 1, tzinfo=UTC), ends, "for good")
    command = commands.StartSilence(command_id="c", at=silence.starts, by="me", silence=silence)
    state.command(0, commands.read_command(commands.write_command(command)), cause())

    alerts = state.take([day(0, "9")], cause(1)).alerts

    assert said(alerts) == [("team-day", "0.8", "firing")]
    assert alerts[0]["silenced"]["until"] == "2199-12-31T23:59:59.000Z"


@pytest.mark.parametrize("of", [hour, day])
def test_who_takes_an_alert_on_sees_the_same_window_as_who_was_paged(of: Any) -> None:
    state = fresh()
    fired = state.take([of(0, "12")], cause()).alerts[-1]

    [taken] = state.command(
        0,
        commands.Acknowledge(
            command_id="c",
            at=datetime(2026, 1, 1, tzinfo=UTC),
            by="me",
            alert_id=fired["alert_id"],
            scope=fired["scope"],
        ),
        cause(),
    ).alerts

    same = ("window", "period_start", "period_end", "query", "events", "contributors", "value", "limit")
    assert {name: taken[name] for name in same} == {name: fired[name] for name in same}
    assert taken["window"]["kind"] == ("rolling" if of is hour else "calendar")


def test_what_ended_with_its_period_counts_no_events_of_the_next() -> None:
    state = fresh()
    state.take([day(0, "12")], cause())

    ended = state.take([day(1441, "1")], cause()).alerts

    assert {(a["reason"], a["events"]) for a in ended} == {("period_ended", None)}
