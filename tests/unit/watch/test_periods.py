"""Calendar periods in zones whose clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.calendars import Calendar
from streams.watch.periods import HOUR_MS, period_of


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@pytest.mark.parametrize(
    ("day", "hours"),
    [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 6, 1), 24)],
    ids=["spring", "autumn", "summer"],
)
def test_a_day_in_berlin_has_as_many_hours_as_its_clocks_show(day: tuple[int, int, int], hours: int) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    noon = datetime(*day, 12, tzinfo=berlin)

    start, end = period_of(Calendar(every="day", zone="Europe/Berlin"), ms(noon))

    assert end - start == hours * HOUR_MS
    assert datetime.fromtimestamp(start / 1000, berlin).hour == 0


def test_weeks_start_when_people_say() -> None:
    sunday = ms(datetime(2026, 11, 22, 10, tzinfo=UTC))

    monday_start, _ = period_of(Calendar(every="week"), sunday)
    sunday_start, _ = period_of(Calendar(every="week", week_start="sunday"), sunday)

    assert datetime.fromtimestamp(monday_start / 1000, UTC).day == 16
    assert datetime.fromtimestamp(sunday_start / 1000, UTC).day == 22


def test_a_quarter_ends_where_the_next_one_starts() -> None:
    start, end = period_of(Calendar(every="quarter"), ms(datetime(2026, 11, 24, tzinfo=UTC)))

    assert datetime.fromtimestamp(start / 1000, UTC) == datetime(2026, 10, 1, tzinfo=UTC)
    assert datetime.fromtimestamp(end / 1000, UTC) == datetime(2027, 1, 1, tzinfo=UTC)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1_577_836_800_000, 2_051_222_400_000),
    st.sampled_from(["hour", "day", "week", "month", "quarter"]),
    st.sampled_from(
        ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"]
    ),
)
def test_periods_cover_time_without_gap_or_overlap(at: int, every: str, zone: str) -> None:
    calendar = Calendar.model_validate({"every": every, "zone": zone})

    start, end = period_of(calendar, at)

    assert start <= at < end
    assert period_of(calendar, start) == (start, end)
    assert period_of(calendar, end - 1) == (start, end)
    assert period_of(calendar, end)[0] == end
    assert end - start <= timedelta(days=93).total_seconds() * 1000
