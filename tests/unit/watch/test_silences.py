"""Who is silenced, and until when: matchers, people's silences, maintenance in local time where clocks change."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.alerting import DAYS, Maintenance, Matcher
from streams.catalog.alerting import Silence as Written
from streams.watch.commands import Commands, EndSilence, StartSilence, ms_of
from streams.watch.raised import Hush
from streams.watch.silences import Silences, Subject, end_of, silence_of, silences

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
walls = st.tuples(st.integers(0, 23), st.integers(0, 59)).map(lambda t: f"{t[0]:02}:{t[1]:02}")
SUBJECT = Subject("budget", "team-day", "acme", "platform", {"tenant_id": "acme", "team": "search"})


def written(starts: datetime, ends: datetime, name: str = "s", **match: Any) -> Written:
    return Written(id=name, starts=starts, ends=ends, reason="release", match=Matcher(**match))


def hush(known: Silences, at: datetime, severity: str = "warning") -> Hush | None:
    return known.of(SUBJECT, ms_of(at))(severity)


@pytest.mark.parametrize(
    ("match", "is_meant"),
    [
        ({}, True),
        ({"rules": ("team-day", "other")}, True),
        ({"rules": ("other",)}, False),
        ({"kinds": ("burn_rate",)}, False),
        ({"severities": ("warning",)}, True),
        ({"severities": ("critical",)}, False),
        ({"owners": ("platform",)}, True),
        ({"owners": ("finance",)}, False),
        ({"tenant": "acme"}, True),
        ({"tenant": "globex"}, False),
        ({"where": {"team": "search"}}, True),
        ({"where": {"team": "ads"}}, False),
        ({"where": {"model": "gpt-5"}}, False),  # a dimension that the scope does not have
    ],
)
def test_a_silence_is_for_what_it_matches(match: dict[str, Any], is_meant: bool) -> None:
    known = silences([written(NOON, NOON + HOUR, **match)], (), Commands())

    assert (hush(known, NOON) is not None) == is_meant


def test_a_silence_begins_at_its_start_and_is_over_at_its_end() -> None:
    known = silences([written(NOON, NOON + HOUR)], (), Commands())
    moments = [NOON - timedelta(milliseconds=1), NOON, NOON + HOUR - timedelta(milliseconds=1), NOON + HOUR]

    assert [hush(known, at) is not None for at in moments] == [False, True, True, False]


def test_of_several_the_one_that_ends_last_is_said() -> None:
    known = silences([written(NOON, NOON + HOUR, "a"), written(NOON, NOON + 3 * HOUR, "b")], (), Commands())

    assert hush(known, NOON) == Hush("b", ms_of(NOON + 3 * HOUR), "release")


def test_a_silence_that_somebody_lifted_is_over_at_once() -> None:
    commands = Commands()
    silence = silence_of(written(NOON, NOON + HOUR))
    commands.take(0, StartSilence(command_id="1", at=NOON, by="me", silence=silence))
    assert hush(silences((), (), commands), NOON) is not None

    commands.take(1, EndSilence(command_id="2", at=NOON, by="me", silence_id="s"))

    assert hush(silences((), (), commands), NOON) is None


def test_what_a_silence_kept_quiet_until_it_was_lifted_stays_quiet_time() -> None:
    commands = Commands()
    commands.take(0, StartSilence(command_id="1", at=NOON, by="me", silence=silence_of(written(NOON, NOON + 5 * HOUR))))
    commands.take(1, EndSilence(command_id="2", at=NOON + HOUR, by="me", silence_id="s"))

    found = silences((), (), commands).quiet(SUBJECT, ms_of(NOON + 2 * HOUR))("warning", ms_of(NOON - HOUR))

    assert found == HOUR // timedelta(milliseconds=1)


def window(start: str, end: str, zone: str = "Europe/Berlin", days: Any = DAYS) -> Maintenance:
    return Maintenance(id="m", start=start, end=end, zone=zone, days=days, reason="backup")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 600), st.integers(1, 200), st.sampled_from(["warning", "critical"])), max_size=4),
    walls,
    walls,
    st.integers(0, 600),
    st.integers(0, 3000),
)
def test_quiet_time_is_the_time_in_which_somebody_would_have_been_silenced(
    spans: list[tuple[int, int, str]], start: str, end: str, since: int, length: int
) -> None:
    known = silences(
        [
            written(NOON + at * MINUTE, NOON + (at + long) * MINUTE, f"s{i}", severities=(severity,))
            for i, (at, long, severity) in enumerate(spans)
        ],
        [window(start, end)] if start != end else [],
        Commands(),
    )
    clock = NOON + (since + length) * MINUTE

    found = known.quiet(SUBJECT, ms_of(clock))("warning", ms_of(NOON + since * MINUTE))

    minutes = [NOON + (since + m) * MINUTE for m in range(length)]
    assert found == 60_000 * sum(hush(known, at) is not None for at in minutes)


def held(known: Maintenance, at: datetime) -> datetime | None:
    """Its end, in its zone."""
    end = end_of(known, ms_of(at))
    return None if end is None else datetime.fromtimestamp(end / 1000, ZoneInfo(known.zone))


def berlin(*moment: int, fold: int = 0) -> datetime:
    return datetime(*moment, tzinfo=ZoneInfo("Europe/Berlin"), fold=fold)  # type: ignore[misc,arg-type]  # year to minute


def test_maintenance_is_in_local_time() -> None:
    assert held(window("08:00", "10:00"), datetime(2026, 1, 5, 7, 30, tzinfo=UTC)) == berlin(2026, 1, 5, 10)
    assert held(window("08:00", "10:00"), datetime(2026, 7, 6, 7, 30, tzinfo=UTC)) == berlin(2026, 7, 6, 10)
    assert held(window("08:00", "10:00"), datetime(2026, 1, 5, 6, 30, tzinfo=UTC)) is None
    assert held(window("08:00", "10:00"), datetime(2026, 7, 6, 6, 30, tzinfo=UTC)) == berlin(2026, 7, 6, 10)


def test_maintenance_past_midnight_belongs_to_the_day_on_which_it_starts() -> None:
    #  friday 22:00 [-------- midnight --------) 02:00 saturday
    friday = window("22:00", "02:00", days=("fri",))

    assert held(friday, berlin(2026, 11, 20, 23)) == berlin(2026, 11, 21, 2)
    assert held(friday, berlin(2026, 11, 21, 1)) == berlin(2026, 11, 21, 2)
    assert held(friday, berlin(2026, 11, 21, 2)) is None
    assert held(friday, berlin(2026, 11, 21, 23)) is None  # saturday evening
    assert held(friday, berlin(2026, 11, 20, 1)) is None  # thursday's night


def test_a_window_whose_start_the_clocks_leave_out_begins_at_the_leap() -> None:
    #  01:59 CET | 03:00 CEST        window 02:30 - 04:00
    night = window("02:30", "04:00")
    leap = datetime(2026, 3, 29, 1, tzinfo=UTC)

    assert held(night, leap - timedelta(minutes=1)) is None
    assert held(night, leap) == berlin(2026, 3, 29, 4)


def test_a_window_whose_end_the_clocks_leave_out_ends_at_the_leap() -> None:
    night = window("01:00", "02:30")
    leap = datetime(2026, 3, 29, 1, tzinfo=UTC)

    assert held(night, leap - timedelta(minutes=1)) == leap
    assert held(night, leap) is None


def test_a_leap_of_half_an_hour_is_found_to_the_minute() -> None:
    howe = window("02:10", "04:00", "Australia/Lord_Howe")
    leap = datetime(2026, 10, 3, 15, 30, tzinfo=UTC)

    assert held(howe, leap - timedelta(minutes=1)) is None
    assert held(howe, leap) is not None


def test_a_window_that_the_clocks_show_twice_lasts_from_the_first_to_the_second() -> None:
    #  02:00 CEST .. 02:59 CEST | 02:00 CET .. 02:59 CET     window 02:00 - 02:30
    night = window("02:00", "02:30")

    begin, end = berlin(2026, 10, 25, 2), berlin(2026, 10, 25, 2, 30, fold=1)
    assert end.timestamp() - begin.timestamp() == 90 * 60
    assert held(night, begin) is not None
    assert held(night, berlin(2026, 10, 25, 2, 45)) is not None
    assert held(night, begin - timedelta(minutes=1)) is None
    assert held(night, end.astimezone(UTC)) is None


def test_a_day_that_a_zone_left_out_has_no_window() -> None:
    samoa = window("10:00", "11:00", "Pacific/Apia")

    hours = [datetime(2011, 12, 29, tzinfo=UTC) + timedelta(minutes=30 * i) for i in range(144)]

    assert sum(held(samoa, at) is not None for at in hours) == 2 * 3  # 29th, 31st, 1st: the 30th was not


@settings(max_examples=300, deadline=None)
@given(
    walls,
    walls,
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
    st.sets(st.sampled_from(DAYS), min_size=1),
    st.integers(0, 366 * 24 * 60),
)
def test_away_from_changes_of_the_clocks_a_window_is_what_the_wall_shows(
    start: str, end: str, zone: str, days: set[Any], minute: int
) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    local = at.astimezone(ZoneInfo(zone))
    nearby = {(at + timedelta(hours=h)).astimezone(ZoneInfo(zone)).utcoffset() for h in range(-30, 31)}
    if start == end or len(nearby) > 1:
        return
    wall, today = f"{local:%H:%M}", DAYS[local.weekday()]
    yesterday = DAYS[(local - timedelta(days=1)).weekday()]
    if start < end:
        expected = today in days and start <= wall < end
    else:
        expected = (today in days and wall >= start) or (yesterday in days and wall < end)

    found = end_of(window(start, end, zone, tuple(days)), ms_of(at))

    assert (found is not None) == expected
    if found is not None:
        assert f"{datetime.fromtimestamp(found / 1000, ZoneInfo(zone)):%H:%M}" == end
        assert ms_of(at) < found <= ms_of(at) + 86_400_000
