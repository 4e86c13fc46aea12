"""Alerts as states: drawn timelines first, then what holds for every history."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.limits import Paged
from streams.watch.conditions import Condition
from streams.watch.machine import KEEP_MS, LATE_OPEN_MS, Transition, Why, acknowledge, advance, close, next_due
from streams.watch.raised import ACKNOWLEDGED, Ack, Hush, Raised

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
MIDNIGHT = 1_790_000_000_000 // DAY * DAY
LIMIT = Decimal(10)


def now(minute: float) -> int:
    return MIDNIGHT + round(minute * MINUTE)


def budget(value: int | str, limit: Decimal = LIMIT, day: int = 0, hysteresis: int = 0) -> Condition:
    """A threshold of a budget of a calendar day: latched."""
    start, amount = MIDNIGHT + day * DAY, Decimal(value)
    return Condition(
        "1", start, start + DAY, amount >= limit, amount < limit - hysteresis, amount, limit, "cost", "warning", True
    )


def burn(minute: float, value: int, hysteresis: int = 0) -> Condition:
    """A rolling window: an episode. Its end is the clock rounded up to a minute."""
    amount, end = Decimal(value), now(-(-minute // 1))
    return Condition(
        "1h/5m", None, end, amount >= LIMIT, amount < LIMIT - hysteresis, amount, LIMIT, "ratio", "critical"
    )


class Scope:
    """One scope under a policy; `look` says what changed, as (state, reason)."""

    def __init__(self, policy: Paged | None = None, escalate_after: Sequence[int] = ()) -> None:
        self.raised: dict[str, Raised] = {}
        self.policy, self.escalate_after = policy or Paged(), lambda severity, condition: escalate_after
        self.told: list[Transition] = []

    def look(self, minute: float, *conditions: Condition, **more: Any) -> list[tuple[str, str]]:
        found = advance(self.raised, conditions, now(minute), self.policy, "s", self.escalate_after, **more)
        self.told += found
        return [(t.raised.state, t.reason) for t in found]

    def ack(self, minute: float) -> Transition | None:
        (name,) = self.raised
        return acknowledge(self.raised, name, Ack("me", now(minute)), now(minute))

    @property
    def due(self) -> float | None:
        """In minutes."""
        at = next_due(self.raised, self.policy, self.escalate_after)
        return None if at is None else (at - MIDNIGHT) / MINUTE


def silent_until(minute: float) -> Any:
    return lambda severity: Hush("quiet", now(minute), "release")


def test_a_threshold_of_a_period_fires_once_and_ends_with_its_period() -> None:
    #  minute   0    1    2   ...  1440 (midnight)
    #  used     9   10   25          0
    #  alert         firing          resolved
    scope = Scope()

    assert scope.look(0, budget(9)) == []
    assert scope.look(1, budget(10)) == [("firing", "crossed")]
    assert scope.look(2, budget(25)) == []
    assert scope.look(1440, budget(0, day=1)) == [("resolved", "period_ended")]
    assert [t.raised.revision for t in scope.told] == [1, 2]
    assert scope.told[0].alert_id == scope.told[1].alert_id
    assert scope.told[1].raised.value == 25  # what stood when it was last looked at


def test_an_episode_ends_when_it_is_clear_and_the_next_one_is_another_alert() -> None:
    #  minute   0   1   2   3
    #  burn    11   9   9  12
    #  alert   A....x       B....
    scope = Scope()

    story = [scope.look(m, burn(m, value)) for m, value in enumerate((11, 9, 9, 12))]

    assert story == [[("firing", "crossed")], [("resolved", "cleared")], [], [("firing", "crossed")]]
    assert scope.told[0].alert_id == scope.told[1].alert_id != scope.told[2].alert_id


def test_an_episode_that_flaps_within_its_slice_stays_one_alert() -> None:
    scope = Scope()

    story = [scope.look(m, burn(m, value)) for m, value in ((0.1, 11), (0.2, 9), (0.3, 11))]

    assert story == [[("firing", "crossed")], [("resolved", "cleared")], [("firing", "crossed")]]
    assert len({t.alert_id for t in scope.told}) == 1
    assert [t.raised.revision for t in scope.told] == [1, 2, 3]


def test_it_fires_only_when_it_was_over_for_as_long_as_pending_asks() -> None:
    #  minute   0   1   2   3   4   5   6   7
    #  burn    11   9  11  11  11  11  11  11     pending 5m
    #  alert    p   x   p                   F
    scope = Scope(Paged(pending="5m"))

    story = [scope.look(m, burn(m, v)) for m, v in enumerate((11, 9, 11, 11, 11, 11, 11, 11))]

    assert story[0] == [("pending", "crossed")]
    assert story[1] == [("resolved", "cleared")]
    assert story[2] == [("pending", "crossed")]
    assert story[3:7] == [[], [], [], []]
    assert story[7] == [("firing", "pending_over")]
    assert scope.told[-1].raised.since == now(2)
    assert [t.raised.paged for t in scope.told] == [0, 0, 0, now(7)]  # nobody was told before it fired


def test_it_resolves_only_when_it_was_clear_for_as_long_as_resolve_after_asks() -> None:
    #  minute   0   1   2   3   4   5   6   7   8   9
    #  burn    11   9   9  11   9   9   9   9   9   9     resolve_after 5m
    #  alert    F                                   x
    scope = Scope(Paged(resolve_after="5m"))

    story = [scope.look(m, burn(m, v)) for m, v in enumerate((11, 9, 9, 11, 9, 9, 9, 9, 9, 9))]

    assert [i for i, found in enumerate(story) if found] == [0, 9]
    assert story[9] == [("resolved", "cleared")]


def test_between_threshold_and_hysteresis_nothing_changes() -> None:
    #  burn    11   9   8   7     over from 10, clear below 8
    #  alert    F           x
    scope = Scope()

    story = [scope.look(m, burn(m, v, hysteresis=2)) for m, v in enumerate((11, 9, 8, 7))]

    assert story == [[("firing", "crossed")], [], [], [("resolved", "cleared")]]


def test_what_latched_does_not_resolve_by_itself() -> None:
    scope = Scope()
    scope.look(0, budget(10))

    assert scope.look(1, budget(9)) == []  # nothing that was used comes back by itself


@pytest.mark.parametrize(
    ("how", "condition", "reason"),
    [
        ({"why": "correction"}, budget(9), "correction"),
        ({"why": "usage", "lateness_ms": 2 * HOUR}, budget(9), "late_data"),
        ({"why": "catalog"}, budget(10, Decimal(20)), "limit_changed"),
        ({"why": "command"}, budget(10, Decimal(20)), "limit_changed"),  # an exception came into force
        ({"why": "time"}, budget(10, Decimal(20)), "limit_changed"),  # one that starts later than it was approved
    ],
)
def test_a_latched_alert_that_is_cleared_says_by_what(how: dict[str, Any], condition: Condition, reason: str) -> None:
    scope = Scope()
    scope.look(0, budget(10))

    assert scope.look(1, condition, **how) == [("resolved", reason)]


def test_what_a_correction_cleared_resolves_after_the_quiet_time_whoever_looks_then() -> None:
    scope = Scope(Paged(resolve_after="10m"))
    scope.look(0, budget(12))
    scope.look(1, budget(2), why="correction")

    assert (scope.due, scope.look(11, budget(2), why="time")) == (11, [("resolved", "correction")])


def test_a_limit_that_moves_while_it_is_over_changes_nothing_but_what_comes_after_is_told_apart() -> None:
    scope = Scope()
    scope.look(0, budget(20))

    assert scope.look(1, budget(20, Decimal(12)), why="catalog") == []
    assert scope.look(2, budget(9, Decimal(12)), why="correction") == [("resolved", "correction")]


def test_a_correction_opens_it_again_under_its_id_and_says_so() -> None:
    scope = Scope()
    scope.look(0, budget(10))
    scope.look(1, budget(9), why="correction")

    assert scope.look(2, budget(11), why="correction") == [("firing", "correction")]
    assert [(t.raised.revision, t.before) for t in scope.told] == [(1, ""), (2, "firing"), (3, "resolved")]
    assert len({t.alert_id for t in scope.told}) == 1


def test_late_data_opens_what_nobody_knew_and_it_stays_open_for_an_hour() -> None:
    #  minute   0 (day 0)   1440  1450             1510
    #  day 0    9           9     10 (late)        10
    #  alert                      F, late          x
    scope = Scope()
    scope.look(0, budget(9))

    assert scope.look(1450, budget(0, day=1), budget(10), lateness_ms=11 * MINUTE) == [("firing", "late_data")]
    assert (scope.told[0].late, scope.told[0].lateness_ms) == (True, 11 * MINUTE)
    assert scope.due == 1450 + LATE_OPEN_MS / MINUTE
    assert scope.look(1509, budget(0, day=1)) == []
    assert scope.look(1510, budget(0, day=1)) == [("resolved", "period_ended")]


def test_what_ended_with_its_period_is_not_opened_again() -> None:
    scope = Scope()
    scope.look(0, budget(10))
    scope.look(1440, budget(0, day=1))

    assert scope.look(1450, budget(0, day=1), budget(50), lateness_ms=11 * MINUTE) == []
    assert scope.look(1460, budget(0, day=1), budget(9), why="correction") == []
    assert scope.look(1470, budget(0, day=1), budget(60), why="correction") == []


def test_what_nobody_keeps_any_more_is_not_opened() -> None:
    scope, much_later = Scope(), (KEEP_MS + DAY) / MINUTE + 1

    assert scope.look(much_later, budget(0, day=9), budget(50), why="correction") == []


def test_a_late_event_within_the_period_is_said_to_be_late() -> None:
    scope = Scope()

    assert scope.look(600, budget(10), lateness_ms=3 * HOUR) == [("firing", "late_data")]
    assert scope.told[0].late


def test_it_is_told_again_until_somebody_acknowledges() -> None:
    #  minute   0   10   20   30   40
    #  alert    F    r    r    a
    scope = Scope(Paged(renotify="10m"))
    scope.look(0, budget(10))

    assert scope.due == 10
    assert scope.look(9, budget(10)) == []
    assert scope.look(10, budget(10)) == [("firing", "reminder")]
    assert scope.look(45, budget(10)) == [("firing", "reminder")]  # one, however long nobody looked
    assert scope.due == 55
    acked = scope.ack(50)
    assert acked is not None
    assert (acked.raised.state, acked.reason, acked.raised.revision) == (ACKNOWLEDGED, "acknowledged", 4)
    assert scope.look(60, budget(10)) == []
    assert scope.due == 1440  # only its period ends it


def test_it_is_escalated_level_by_level_while_nobody_acknowledges() -> None:
    scope = Scope(escalate_after=(15 * MINUTE, 60 * MINUTE))
    scope.look(0, budget(10))

    assert scope.due == 15
    assert scope.look(15, budget(10)) == [("firing", "escalated")]
    assert scope.look(16, budget(10)) == []
    assert scope.look(60, budget(10)) == [("firing", "escalated")]
    assert [t.raised.level for t in scope.told] == [0, 1, 2]
    assert scope.due == 1440


def test_levels_that_fall_due_together_are_told_one_after_the_other() -> None:
    scope = Scope(escalate_after=(15 * MINUTE, 60 * MINUTE))
    scope.look(0, budget(10))

    assert scope.look(90, budget(10)) == [("firing", "escalated")] * 2
    assert [(t.raised.revision, t.raised.level) for t in scope.told[1:]] == [(2, 1), (3, 2)]


def test_time_in_a_silence_escalates_and_reminds_nobody() -> None:
    #  minute     0      5        65   70           75          85           95
    #  silence           [--------)
    #  counted    0      5        5    10 reminder  15 level 1  25 reminder  35 level 2
    scope = Scope(Paged(renotify="10m"), escalate_after=(15 * MINUTE, 35 * MINUTE))
    scope.look(0, budget(10))
    scope.look(5, budget(10), hush=silent_until(65))

    assert scope.due == 65
    assert scope.look(65, budget(10)) == []
    assert scope.due == 70
    assert scope.look(70, budget(10)) == [("firing", "reminder")]
    assert scope.look(75, budget(10)) == [("firing", "escalated")]
    assert scope.look(85, budget(10)) == [("firing", "reminder")]
    assert scope.look(95, budget(10)) == [("firing", "escalated")]
    assert [t.raised.level for t in scope.told] == [0, 0, 1, 1, 2]


def test_a_silence_that_is_lifted_counts_until_then() -> None:
    scope = Scope(escalate_after=(15 * MINUTE,))
    scope.look(0, budget(10))
    scope.look(5, budget(10), hush=silent_until(65))

    assert scope.look(20, budget(10)) == []
    assert scope.due == 30


def test_a_silence_that_nobody_looked_in_does_not_count_either() -> None:
    #  minute     0      5        65     80
    #  silence           [--------)
    #  watch      |  is down             |
    scope = Scope(escalate_after=(15 * MINUTE, 60 * MINUTE))
    scope.look(0, budget(10))

    found = scope.look(80, budget(10), quiet=lambda severity, since: 60 * MINUTE if since == now(0) else 0)

    assert found == [("firing", "escalated")]
    assert scope.told[-1].raised.level == 1
    assert scope.due == 120


def test_an_acknowledgement_never_brings_anything_back() -> None:
    scope = Scope()
    scope.look(0, budget(10))
    scope.look(1, budget(9), why="correction")

    assert scope.ack(2) is None
    assert scope.look(3, budget(9)) == []


def test_an_acknowledgement_of_what_is_pending_or_unknown_or_acknowledged_is_none() -> None:
    scope = Scope(Paged(pending="5m"))
    scope.look(0, budget(10))
    assert scope.ack(1) is None
    scope.look(5, budget(10))
    assert scope.ack(6) is not None

    assert scope.ack(7) is None
    assert acknowledge(scope.raised, "unheard-of", Ack("me", 0), 0) is None


def test_a_new_crossing_after_an_acknowledged_one_is_not_acknowledged() -> None:
    scope = Scope(Paged(renotify="10m"))
    scope.look(0, budget(10))
    scope.ack(1)
    scope.look(2, budget(9), why="correction")

    assert scope.look(3, budget(11)) == [("firing", "crossed")]
    assert scope.told[-1].raised.ack is None
    assert scope.due == 13


def test_an_acknowledged_alert_resolves_and_keeps_who_took_it() -> None:
    scope = Scope()
    scope.look(0, burn(0, 11))
    scope.ack(1)

    assert scope.look(2, burn(2, 9)) == [("resolved", "cleared")]
    assert scope.told[-1].before == ACKNOWLEDGED
    assert scope.told[-1].raised.ack == Ack("me", now(1))


def test_what_fires_in_a_silence_is_told_when_the_silence_ends() -> None:
    #  minute   0           30      40
    #  silence  [------------)
    #  alert    F (silenced) F      reminder
    scope = Scope(Paged(renotify="10m"), escalate_after=(15 * MINUTE,))

    assert scope.look(0, budget(10), hush=silent_until(30)) == [("firing", "crossed")]
    assert scope.told[0].silenced == Hush("quiet", now(30), "release")
    assert scope.due == 30  # neither reminders nor escalation in a silence
    assert scope.look(20, budget(10), hush=silent_until(30)) == []
    assert scope.look(30, budget(10)) == [("firing", "silence_over")]
    assert scope.told[1].silenced is None
    assert scope.look(40, budget(10)) == [("firing", "reminder")]
    assert scope.look(45, budget(10)) == [("firing", "escalated")]  # counted from when somebody was told


def test_the_end_of_what_nobody_was_told_of_is_silenced_too() -> None:
    scope = Scope()
    scope.look(0, burn(0, 11), hush=silent_until(30))

    scope.look(1, burn(1, 9), hush=silent_until(30))

    assert scope.told[1].silenced == Hush("quiet", now(30), "release")


def test_the_end_of_what_was_told_is_told_although_a_silence_began() -> None:
    scope = Scope(Paged(renotify="1m"))
    scope.look(0, burn(0, 11))
    assert scope.look(1, burn(1, 11), hush=silent_until(30)) == []

    scope.look(2, burn(2, 9), hush=silent_until(30))

    assert (scope.told[-1].reason, scope.told[-1].silenced) == ("cleared", None)


def test_a_silence_that_is_made_longer_is_waited_for() -> None:
    scope = Scope()
    scope.look(0, budget(10), hush=silent_until(30))

    scope.look(30, budget(10), hush=silent_until(60))

    assert scope.due == 60


def test_a_threshold_that_the_rule_does_not_have_any_more_resolves() -> None:
    scope = Scope()
    scope.look(0, budget(10), burn(0, 11))

    assert scope.look(1, budget(10), why="catalog") == [("resolved", "rule_gone")]


def test_a_period_that_moves_keeps_its_open_alert() -> None:
    #  day   [------------|   became a week   [----------------------|
    scope = Scope()
    scope.look(0, budget(10))
    week = budget(12)._replace(anchor=MIDNIGHT - DAY, end=MIDNIGHT + 6 * DAY)

    assert scope.look(1, week, why="catalog") == []
    assert scope.due == 6 * 1440
    assert scope.look(2, week._replace(over=False, clear=True), why="catalog") == [("resolved", "limit_changed")]


def test_a_run_that_goes_on_ends_later() -> None:
    #  minute   0         60 (idle)   90
    #  run      [----e----|
    #           [----e---------e------|
    scope, run = Scope(), budget(10)._replace(anchor=now(0), end=now(60))
    scope.look(10, run)

    assert scope.look(61, run._replace(end=now(90))) == []
    assert scope.look(90, run._replace(end=now(90)), why="time") == [("resolved", "period_ended")]


def test_a_rule_that_is_dropped_resolves_everything() -> None:
    scope = Scope()
    scope.look(0, budget(10), burn(0, 11))

    found = close(scope.raised, now(1))

    assert [(t.raised.state, t.reason) for t in found] == [("resolved", "rule_gone")] * 2
    assert scope.raised == {}


def test_ids_are_of_scope_condition_and_period_alone() -> None:
    names = set()
    for value, minute in ((10, 0), (30, 700)):
        scope = Scope()
        scope.look(minute, budget(value))
        names.add(scope.told[0].alert_id)

    assert names == {scope.told[0].alert_id}
    assert len(scope.told[0].alert_id) == 24


# Whatever happens: a step is (minutes that pass, used in the day, burn, what made the watch look, acknowledge, silence).
steps = st.tuples(
    st.integers(0, 400),
    st.integers(0, 14),
    st.integers(0, 14),
    st.sampled_from(["usage", "correction", "time", "catalog"]),
    st.booleans(),
    st.one_of(st.none(), st.integers(1, 300)),
)
policies = st.builds(
    Paged,
    pending=st.sampled_from(["0s", "5m", "3h"]),
    resolve_after=st.sampled_from(["0s", "5m", "3h"]),
    renotify=st.sampled_from([None, "10m", "6h"]),
)
delays = st.sampled_from([(), (5 * MINUTE,), (5 * MINUTE, 400 * MINUTE)])
Step = tuple[int, int, int, Why, bool, int | None]


def conditions(minute: float, used: int, burning: int) -> list[Condition]:
    """Of a day's budget and of a burn rate, with hysteresis; late data of the day before comes along now and then."""
    day = int(minute) // 1440
    found = [budget(used, day=day, hysteresis=1), burn(minute, burning, hysteresis=2)]
    if day and used % 3 == 0:
        found.insert(0, budget(burning, day=day - 1, hysteresis=1))
    return found


def play(scope: Scope, story: Sequence[Step], begin: float = 0) -> float:
    """The minute at which the story ends."""
    minute = begin
    for passed, used, burning, why, is_acked, silence in story:
        minute += passed
        hush = silent_until(minute + silence) if silence else lambda severity: None
        scope.look(minute, *conditions(minute, used, burning), why=why, lateness_ms=used * 30_000, hush=hush)
        if is_acked:
            for name in sorted(scope.raised):
                if found := acknowledge(scope.raised, name, Ack("me", now(minute)), now(minute)):
                    scope.told.append(found)
    return minute


def bytes_of(told: Sequence[Transition]) -> bytes:
    return msgspec.json.encode([tuple(t) for t in told])


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=25), policies, delays, st.integers(0, 25))
def test_a_restart_at_any_point_tells_the_same_story_byte_for_byte(
    story: list[Step], policy: Paged, escalate_after: tuple[int, ...], cut: int
) -> None:
    whole, before, after = (Scope(policy, escalate_after) for _ in range(3))
    play(whole, story)

    minute = play(before, story[:cut])
    saved = msgspec.msgpack.encode(before.raised)
    after.raised = msgspec.msgpack.decode(saved, type=dict[str, Raised])
    play(after, story[cut:], minute)

    assert bytes_of([*before.told, *after.told]) == bytes_of(whole.told)
    assert msgspec.msgpack.encode(after.raised) == msgspec.msgpack.encode(whole.raised)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=25), policies, delays)
def test_looking_again_at_the_same_changes_nothing(
    story: list[Step], policy: Paged, escalate_after: tuple[int, ...]
) -> None:
    scope, minute = Scope(policy, escalate_after), 0.0
    for step in story:
        minute = play(scope, [step], minute)
        hush = silent_until(minute + step[5]) if step[5] else lambda severity: None
        found = conditions(minute, step[1], step[2])
        kept = dict(scope.raised)

        again = scope.look(minute, *found, why=step[3], lateness_ms=step[1] * 30_000, hush=hush)

        assert again == []
        assert scope.raised == kept


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=25), policies, delays)
def test_revisions_count_up_states_follow_each_other_and_one_alert_at_most_is_open(
    story: list[Step], policy: Paged, escalate_after: tuple[int, ...]
) -> None:
    scope = Scope(policy, escalate_after)
    may = {
        "": {"pending", "firing"},
        "pending": {"firing", "resolved"},
        "firing": {"firing", "acknowledged", "resolved"},
        "acknowledged": {"resolved"},
        "resolved": {"pending", "firing"},
    }
    minute, last = 0.0, dict[str, Transition]()
    for step in story:
        seen = len(scope.told)
        minute = play(scope, [step], minute)
        for t in scope.told[seen:]:
            before = last.get(t.alert_id)
            assert t.raised.revision == (before.raised.revision + 1 if before else 1)
            assert t.before == (before.raised.state if before else "")
            assert t.raised.state in may[t.before]
            last[t.alert_id] = t
        still_open = [(r.name, None if r.episode else r.start) for r in scope.raised.values() if r.is_open]
        assert len(still_open) == len(set(still_open))
        assert {n for n, t in last.items() if t.raised.is_open} == {n for n, r in scope.raised.items() if r.is_open}


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=15), policies, delays)
def test_before_the_next_due_clock_time_alone_changes_nothing(
    story: list[Step], policy: Paged, escalate_after: tuple[int, ...]
) -> None:
    #  ... story ...|----- looks in between -----| due
    scope, minute = Scope(policy, escalate_after), 0.0
    for step in story:
        minute = play(scope, [step], minute)
        due = scope.due
        day = int(minute) // 1440
        still = [
            budget(step[1], day=day, hysteresis=1),
            *(burn(minute, step[2], hysteresis=2)._replace(end=now(m)) for m in (minute,)),
        ]
        hush = silent_until(minute + step[5]) if step[5] else lambda severity: None
        until = min(due, (day + 1) * 1440) if due is not None else minute + 600
        if until <= minute:
            continue
        copy = Scope(policy, escalate_after)
        copy.raised = dict(scope.raised)
        copy.look(minute, *still, why="time", hush=hush)  # what is clear since just now begins to count here
        if copy.due is not None:
            until = min(until, copy.due)
        copy.told.clear()

        assert copy.look(max(minute, until - 0.001), *still, why="time", hush=hush) == []
