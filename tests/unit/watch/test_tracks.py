"""Windows of a scope: brute force in any order, lives that late events join, days with 23 hours, what is kept and forgotten."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, BurnRate, Lifetime, Rolling, RunLimits
from streams.watch.periods import DAY_MS, HOPS, HOUR_MS, MINUTE_MS, SIZES, edge
from streams.watch.tracks import (
    BLOCKS,
    KEEP_LIFE_MS,
    KEEP_MS,
    NEVER,
    Track,
    add,
    advance,
    causes_of,
    days,
    due,
    is_empty,
    past,
    stretches,
)
from streams.watch.watched import Watched, of_budget, of_burn_rate, of_runs, rolling_window
from streams.watch.windows import Delta, Sums

START = 1_790_000_000_000 // DAY_MS * DAY_MS  # a midnight
MONTH = Budget(id="month", limit=Decimal(10), period=Calendar(every="month", zone="Europe/Berlin"))
BURN = of_burn_rate(BurnRate(id="burn", budget="month"), MONTH)
MINUTE = of_budget(Budget(id="minute", period=Rolling(size="1m"), unit="tokens"))
HOUR = of_budget(Budget(id="hour", period=Calendar(every="hour")))
RUN = of_runs(RunLimits(id="run", iterations=5, idle="10m"))
KNOWN = (BURN, MINUTE, HOUR, RUN, of_budget(MONTH))


def at(known: Watched, ms: int, cost: str = "1", events: int = 1, **other: Any) -> Delta:
    """What one event (or more at once) at START + ms adds to a scope."""
    when = START + ms
    start = when - when % known.scope.slice_ms
    delta = Delta(known.id, start, "USD", events, 10 * events, 0, 0, Decimal(cost), when, when)
    return delta._replace(**other)


def run(known: Watched, deltas: Sequence[Delta], track: Track | None = None, clock: int = 0) -> tuple[Track, int]:
    """As the watch does it: the clock follows the newest event, the track is advanced, then the row is added."""
    track = Track() if track is None else track
    for delta in deltas:
        clock = max(clock, delta.last_ms + 1)
        advance(known, track, clock)
        add(known, track, delta, clock)
    advance(known, track, clock)
    return track, clock


def brute(known: Watched, deltas: Sequence[Delta], start: int, end: int) -> Sums:
    found = Sums()
    for delta in deltas:
        if start <= delta.slice < end or (known.kind == "run" and start <= delta.first_ms < end):
            found.add(delta, known.currency)
    return found


amounts = st.decimals(0, 5, places=9).map(str)
histories = st.lists(st.tuples(st.integers(0, 4 * DAY_MS), amounts), max_size=25)
near = st.lists(st.tuples(st.integers(0, 3 * HOUR_MS), amounts), max_size=25)


@pytest.mark.parametrize("known", KNOWN, ids=lambda k: k.id)
@settings(max_examples=60, deadline=None)
@given(told=histories | near, order=st.randoms(), ticks=st.integers(0, HOUR_MS))
def test_windows_are_the_sum_of_their_events_in_any_order(
    known: Watched, told: list[tuple[int, str]], order: Any, ticks: int
) -> None:
    deltas = [at(known, ms, cost) for ms, cost in told]
    shuffled = list(deltas)
    order.shuffle(shuffled)

    track, clock = run(known, shuffled)
    clock += ticks
    advance(known, track, clock)

    for name, found in stretches(known, track, clock).items():
        if known is RUN and found.end + KEEP_LIFE_MS < clock:
            continue
        assert found.sums == brute(known, deltas, found.start, found.end), name


@settings(max_examples=60, deadline=None)
@given(near, st.randoms())
def test_lives_are_the_same_whatever_comes_first(told: list[tuple[int, str]], order: Any) -> None:
    deltas = [at(RUN, ms, cost) for ms, cost in told]
    shuffled = list(deltas)
    order.shuffle(shuffled)

    (one, _), (two, _) = run(RUN, sorted(deltas, key=lambda d: d.first_ms)), run(RUN, shuffled)

    assert [p.sums for p in one.lives] == [p.sums for p in two.lives]
    for a, b in zip(one.lives, one.lives[1:], strict=False):
        assert a.sums.last_ms + 10 * MINUTE_MS <= b.sums.first_ms


@settings(max_examples=60, deadline=None)
@given(near, st.integers(0, 25), st.integers(0, 25))
def test_partial_sums_can_be_joined_in_any_grouping(told: list[tuple[int, str]], one: int, two: int) -> None:
    one, two = sorted((one, two))
    extras = [{"name": "retries", "amount": 1}]
    deltas = [at(MINUTE, ms, cost, extras=extras, currency="USD" if ms % 2 else "EUR") for ms, cost in told]
    parts = [brute(MINUTE, part, 0, NEVER) for part in (deltas[:one], deltas[one:two], deltas[two:])]
    a, b, c = parts

    assert a.join(b).join(c) == a.join(b.join(c)) == c.join(a).join(b) == brute(MINUTE, deltas, 0, NEVER)
    assert parts == [brute(MINUTE, part, 0, NEVER) for part in (deltas[:one], deltas[one:two], deltas[two:])]


@pytest.mark.parametrize("known", KNOWN, ids=lambda k: k.id)
@settings(max_examples=40, deadline=None)
@given(told=histories | near, ticks=st.integers(0, 4 * DAY_MS))
def test_nothing_changes_before_it_is_due(known: Watched, told: list[tuple[int, str]], ticks: int) -> None:
    """Looking only when something is due says the same as looking always."""
    track, clock = run(known, [at(known, ms, cost) for ms, cost in told])
    before = {n: s.sums for n, s in stretches(known, track, clock).items()}
    when = due(known, track, clock)
    assert when > clock

    later = min(clock + ticks, when - 1)
    advance(known, track, later)

    found = stretches(known, track, later)
    assert {n: s.sums for n, s in found.items()} == before
    assert later == clock or RUN is known or all(s.end > later - 1 for s in found.values())


@pytest.mark.parametrize("known", KNOWN, ids=lambda k: k.id)
@settings(max_examples=40, deadline=None)
@given(told=histories | near)
def test_a_scope_that_falls_silent_ends_and_leaves_nothing(known: Watched, told: list[tuple[int, str]]) -> None:
    track, clock = run(known, [at(known, ms, cost) for ms, cost in told])

    looks = 0
    while (when := due(known, track, clock)) < NEVER:
        assert when > clock
        clock, looks = when, looks + 1
        advance(known, track, clock)

    assert is_empty(track)
    assert looks < 600


@pytest.mark.parametrize("known", KNOWN, ids=lambda k: k.id)
@settings(max_examples=40, deadline=None)
@given(told=histories | near, cut=st.integers(0, 25))
def test_a_track_is_the_same_after_it_was_stored(known: Watched, told: list[tuple[int, str]], cut: int) -> None:
    deltas = [at(known, ms, cost, causes=[cause("m", ms % 7, cost)]) for ms, cost in told]
    whole, clock = run(known, deltas)

    first, then = run(known, deltas[:cut])
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(first), type=Track)
    resumed, _ = run(known, deltas[cut:], stored, then)

    assert msgspec.msgpack.encode(resumed) == msgspec.msgpack.encode(whole)
    assert stretches(known, resumed, clock) == stretches(known, whole, clock)


@pytest.mark.parametrize("size", SIZES)
def test_a_rolling_window_ends_at_the_next_hop_and_each_hop_divides_its_size(size: Any) -> None:
    spec = rolling_window("period", size)

    assert SIZES[size] % spec.hop_ms == 0
    assert all(longer % spec.hop_ms == 0 for name, longer in HOPS.items() if SIZES[name] >= SIZES[size])
    assert edge(START + 1, spec.hop_ms) == START + spec.hop_ms
    assert edge(START, spec.hop_ms) == START


def test_an_event_leaves_a_rolling_window_with_its_slice() -> None:
    #  event at 0 s, slices of 5 s, window of 60 s:  [0, 60) holds it, [5, 65) does not
    track, clock = run(MINUTE, [at(MINUTE, 0)])

    seen = {s: stretches_at(MINUTE, track, START + s * 1000)["period"].sums.events for s in (1, 60)}
    gone = stretches_at(MINUTE, track, START + 60_001)["period"]

    assert seen == {1: 1, 60: 1}
    assert (gone.start, gone.end, gone.sums) == (START + 5_000, START + 65_000, Sums())
    assert due(MINUTE, run(MINUTE, [at(MINUTE, 0)])[0], clock) == START + 60_001


def stretches_at(known: Watched, track: Track, clock: int) -> Any:
    advance(known, track, clock)
    return stretches(known, track, clock)


def test_late_events_count_in_the_period_they_belong_to_until_nobody_waits_for_them() -> None:
    track, clock = run(HOUR, [at(HOUR, 0), at(HOUR, 3 * HOUR_MS)])

    late = add(HOUR, track, at(HOUR, 5, "3"), clock)
    moved = past(HOUR, track, {late or 0}, clock)
    clock = START + HOUR_MS + KEEP_MS + 1
    advance(HOUR, track, clock)
    too_late = add(HOUR, track, at(HOUR, 6), clock)

    assert [(s.start, s.sums.cost) for s in moved] == [(START, Decimal(4))]
    assert too_late is None


def test_a_correction_that_comes_before_what_it_corrects_counts_and_after_everything_is_forgotten_does_not() -> None:
    for known in (HOUR, RUN):
        back = at(known, 0, "-1", events=-1)
        track, clock = run(known, [back, at(known, 1, "1")])
        [found] = stretches(known, track, clock).values()
        assert (found.sums.cost, found.sums.events) == (Decimal(0), 0)

        long_after = clock + 20 * DAY_MS
        advance(known, track, long_after)
        assert add(known, track, back, long_after) is None
        assert is_empty(track)


def test_a_late_event_joins_two_lives_and_history_may_come_in_any_order() -> None:
    #  |--a--|   10m idle   |--b--|        late c between both
    a, b, c = (at(RUN, minutes * MINUTE_MS, causes=[cause("m", 1, "1")]) for minutes in (0, 16, 8))
    track, clock = run(RUN, [a, b])
    assert [p.sums.events for p in track.lives] == [1, 1]

    joined = add(RUN, track, c, clock)

    assert joined == START
    assert [(p.sums.events, p.sums.first_ms, p.sums.last_ms) for p in track.lives] == [(3, a.first_ms, b.last_ms)]
    filled, now = Track(), clock + 3 * DAY_MS
    for delta in (b, a, c, at(RUN, 3 * DAY_MS)):
        add(RUN, filled, delta, now, filling=True)
    assert [p.sums.events for p in filled.lives] == [3, 1]
    causes = causes_of(RUN, track, "period", START)
    assert causes is not None
    assert causes.total == Decimal(30)  # tokens: this run has no limit of money


def test_a_correction_takes_from_the_causes_of_a_life_what_it_takes_from_its_sum() -> None:
    spent = at(RUN, 0, "5", causes=[cause("model", 1, "50")])
    taken = at(RUN, 0, "-2", events=-1, causes=[cause("model", 1, "-20")])

    track, _ = run(RUN, [spent, spent, taken])

    causes = causes_of(RUN, track, "period", START)
    assert causes is not None
    assert [list(top.amounts.values()) for top in causes.tops.values()] == [[Decimal(80)]]


def test_a_life_ends_when_nothing_came_for_its_idle_time() -> None:
    track, clock = run(RUN, [at(RUN, 0), at(RUN, 60_000)])

    assert stretches(RUN, track, clock)["period"][:2] == (START, START + 11 * MINUTE_MS)
    assert due(RUN, track, clock) == START + 11 * MINUTE_MS
    assert due(RUN, track, START + 11 * MINUTE_MS) == START + 11 * MINUTE_MS + KEEP_LIFE_MS + 1


BERLIN = ZoneInfo("Europe/Berlin")


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25)], ids=["spring", "autumn"])
def test_a_days_budget_starts_anew_at_local_midnight_when_clocks_change(day: tuple[int, int, int], hours: int) -> None:
    known = of_budget(Budget(id="d", period=Calendar(every="day", zone="Europe/Berlin")))
    midnight = ms(datetime(*day, tzinfo=BERLIN))
    deltas = [at(known, midnight - START + h * HOUR_MS + 1) for h in range(-1, hours + 1)]

    track, clock = run(known, deltas)

    assert [part.sums.events for part in track.periods.values()] == [1, hours, 1]
    assert [int(amount) for amount in days(track).values()] == [1, hours, 1]
    assert list(days(track))[1] == midnight
    assert stretches(known, track, clock)["period"].start == midnight + hours * HOUR_MS


def test_days_are_kept_for_forecasts_and_only_where_somebody_wants_one() -> None:
    month = of_budget(MONTH)
    track, _ = run(month, [at(month, d * DAY_MS, str(d)) for d in range(60)])

    assert len(days(track)) == 35
    assert list(days(track).values())[-1] == Decimal(59)
    silent = of_budget(MONTH.model_copy(update={"forecast": False}))
    assert not days(run(silent, [at(silent, 0)])[0])
    assert not days(run(HOUR, [at(HOUR, 0)])[0])
    assert datetime.fromtimestamp(next(iter(days(track))) / 1000, UTC).hour == 22  # midnight in Berlin, in summer


def cause(dimension: str, value: object, amount: str) -> dict[str, Any]:
    return {"dimension": dimension, "value": str(value), "amount": Decimal(amount)}


def test_contributors_of_a_rolling_window_reach_back_a_quarter_more_at_most() -> None:
    spec = BURN.window("1h")
    deltas = [at(BURN, minute * MINUTE_MS, "1", causes=[cause("model", minute, "1")]) for minute in range(180)]

    track, clock = run(BURN, deltas)

    found = causes_of(BURN, track, "1h", 0)
    assert found is not None
    assert spec.size_ms // MINUTE_MS <= found.total <= spec.size_ms // MINUTE_MS * (BLOCKS + 1) // BLOCKS
    assert stretches(BURN, track, clock)["1h"].sums.events == 60
    assert causes_of(BURN, track, "5m", 0) is None  # an alert asks the long window


def test_a_run_that_calls_thousands_of_tools_stays_small_and_still_shows_its_loop() -> None:
    track, clock = Track(), START
    for n in range(3_000):
        extras = [{"name": f"tool:t:{n}", "amount": 1}] + [{"name": "tool:t:loop", "amount": 1}] * (n % 10 == 0)
        clock = START + n + 1
        add(RUN, track, at(RUN, n, extras=extras), clock)

    counted = stretches(RUN, track, clock)["period"].sums.extras
    assert counted["tool:t:loop"] == 300
    assert len(counted) <= 1_001


def test_money_of_another_currency_is_counted_beside_never_added() -> None:
    track, clock = run(
        HOUR, [at(HOUR, 0, "9", currency="EUR"), at(HOUR, 1, "2"), at(HOUR, 2, "0", currency="", unpriced=1)]
    )

    sums = stretches(HOUR, track, clock)["period"].sums

    assert (sums.cost, sums.foreign, sums.events, sums.unpriced) == (Decimal(2), 1, 3, 1)


def test_a_conversation_is_a_life_of_a_budget() -> None:
    talk = of_budget(Budget(id="talk", each=("conversation_id",), unit="tokens", period=Lifetime(idle="30s")))
    track, clock = run(talk, [at(talk, 0), at(talk, 20_000), at(talk, 60_000)])

    assert talk.scope.slice_ms == 15_000  # two lives never share a slice
    assert [p.sums.tokens for p in track.lives] == [20, 10]
    assert stretches(talk, track, clock)["period"].sums.tokens == 10
