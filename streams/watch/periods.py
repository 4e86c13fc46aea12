"""Periods of budgets in event time: [start, end) in ms since the epoch, in the zone that people chose."""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import get_args
from zoneinfo import ZoneInfo

from streams.catalog.calendars import Calendar
from streams.catalog.durations import duration_ms
from streams.catalog.limits import Size

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
QUARTER_MS = 15 * MINUTE_MS  # local midnight falls on a full quarter of an hour in every zone in use
SIZES = {size: duration_ms(size) for size in get_args(Size)}
HOPS = {
    "1m": 5_000, "5m": 15_000, "30m": MINUTE_MS, "1h": MINUTE_MS, "6h": 5 * MINUTE_MS, "24h": 5 * MINUTE_MS,
    "3d": HOUR_MS, "7d": HOUR_MS,
}  # fmt: skip  # each divides those after it, so that slices of the smallest add up to slices of every other


def edge(clock: int, hop: int) -> int:
    """Where a rolling window ends as of `clock`: the next full hop, so that the newest events are in it."""
    return -(-clock // hop) * hop


def period_of(calendar: Calendar, at: int) -> tuple[int, int]:
    """The calendar period that holds the instant `at`.

    Local midnight rules, so a day has 23 or 25 hours when clocks change; an hour is always an hour of real time.
    """
    if calendar.every == "hour":
        return at - at % HOUR_MS, at - at % HOUR_MS + HOUR_MS  # zones with a half-hour offset still share real hours
    return _period(calendar.every, calendar.zone, calendar.week_start, at // QUARTER_MS)


@lru_cache(maxsize=4096)
def _period(every: str, zone: str, week_start: str, quarter: int) -> tuple[int, int]:
    tz = ZoneInfo(zone)
    day = datetime.fromtimestamp(quarter * 900, UTC).astimezone(tz).date()
    if every == "day":
        first, after = day, day + timedelta(days=1)
    elif every == "week":
        back = day.weekday() if week_start == "monday" else (day.weekday() + 1) % 7
        first = day - timedelta(days=back)
        after = first + timedelta(days=7)
    else:
        months = 1 if every == "month" else 3
        month = day.month - (day.month - 1) % months
        first = day.replace(month=month, day=1)
        after = first.replace(year=first.year + (month + months > 12), month=(month + months - 1) % 12 + 1)

    def instant(day: date) -> int:
        return int(datetime(day.year, day.month, day.day, tzinfo=tz).timestamp() * 1000)

    return instant(first), instant(after)
