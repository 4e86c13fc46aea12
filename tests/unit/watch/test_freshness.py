"""How old knowledge is: never younger than it is, not old when nothing happens."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from streams.watch.freshness import Beat, Freshness, beat_key, beat_record, is_beat, read_beat

S = 1_000


def beat(seen: int, partition: int = 0) -> Beat:
    return Beat(partition, 0, seen)


def test_an_idle_system_is_as_fresh_as_the_last_look_and_the_last_heartbeat() -> None:
    #  look at 10 s: 5 events, all covered;  heartbeat: seen everything at 11 s
    found = Freshness()

    found.observe(10 * S, {0: 5}, {0: 5}, 10 * S)
    before = found.fresh_ms(0)
    found.beat(beat(11 * S))

    assert (before, found.fresh_ms(0)) == (None, 10 * S)


def test_events_that_the_meter_has_not_covered_keep_knowledge_old_until_it_has() -> None:
    #  at 10 s: 5 events, 3 covered;  at 12 s: 9 events, 5 covered: what was there at 10 s is in, what came since is not
    found = Freshness()
    found.observe(9 * S, {0: 3}, {0: 3}, 9 * S)
    found.observe(10 * S, {0: 5}, {0: 3}, 10 * S)
    found.beat(beat(10 * S))
    first = found.fresh_ms(0)

    found.observe(12 * S, {0: 9}, {0: 5}, 12 * S)
    found.beat(beat(13 * S))

    assert (first, found.fresh_ms(0), found.metered_ms()) == (9 * S, 10 * S, 10 * S)


def test_a_watch_that_is_behind_knows_only_what_was_in_the_totals_when_it_had_come_so_far() -> None:
    found = Freshness()
    for at in (10 * S, 20 * S, 30 * S):
        found.observe(at, {0: at}, {0: at}, at)

    found.beat(beat(25 * S))

    assert found.fresh_ms(0) == 20 * S


def test_a_meter_that_never_ran_makes_nothing_fresh_unless_there_is_nothing_to_do() -> None:
    waits, empty = Freshness(), Freshness()
    waits.observe(10 * S, {0: 5, 1: 0}, {}, 10 * S)
    empty.observe(10 * S, {0: 0, 1: 0}, {}, 10 * S)
    for found in (waits, empty):
        found.beat(beat(11 * S))

    assert (waits.fresh_ms(0), empty.fresh_ms(0)) == (None, 10 * S)


def test_partitions_of_the_watch_are_apart_and_an_older_heartbeat_changes_nothing() -> None:
    found = Freshness()
    found.observe(10 * S, {0: 1}, {0: 1}, 10 * S)
    found.beat(Beat(0, 700, 11 * S))
    found.beat(Beat(0, 600, 5 * S))

    assert (found.fresh_ms(0), found.fresh_ms(1)) == (10 * S, None)
    assert (found.clock(0), found.clock(1), found.seen_ms(0), found.seen_ms(1)) == (700, 0, 11 * S, None)


def test_a_heartbeat_is_read_as_it_was_written_and_is_no_scope() -> None:
    assert read_beat(beat_record(3, 7, 9)) == Beat(3, 7, 9)
    assert is_beat(beat_key(3))
    assert not is_beat(b"team|tenant_id=acme")
    assert not is_beat(None)


Step = tuple[str, int]
STEPS = st.lists(st.tuples(st.sampled_from(["event", "rate", "watch", "look", "beat"]), st.integers(1, 3)), max_size=60)


@given(STEPS)
def test_whatever_the_order_every_event_before_the_moment_that_is_called_fresh_was_watched(
    steps: Sequence[Step],
) -> None:
    """A model of the whole: events come, the meter covers them, the watch takes what is covered; each step takes a second."""
    found, now = Freshness(), 0
    came, rated, watched = list[int](), 0, 0  # times of events; how many are covered; how many are watched
    for what, count in steps:
        now += S
        match what:
            case "event":
                came += [now] * count
            case "rate":
                rated = min(len(came), rated + count)
            case "watch":
                watched = min(rated, watched + count)
            case "look":
                found.observe(now, {0: len(came)}, {0: rated}, now)
            case "beat":
                if watched == rated:  # it has seen everything that is in the totals now
                    found.beat(beat(now))
        fresh = found.fresh_ms(0)
        if fresh is not None:
            assert all(i < watched for i, at in enumerate(came) if at <= fresh)
