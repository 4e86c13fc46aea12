"""Periods of budgets in event time: [start, end) in ms since the epoch, in the zone that people chose."""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Rolling

HOUR_MS = 3_600_000
SIZES = {"1m": 60_000, "5m": 300_000, "1h": HOUR_MS, "24h": 24 * HOUR_MS, "7d": 168 * HOUR_MS}


def size_of(rolling: Rolling) -> int:
    """Length of a rolling window in ms."""
    return SIZES[rolling.size]


def period_of(calendar: Calendar, at: int) -> tuple[int, int]:
    """The calendar period that holds the instant `at`.

    Local midnight rules, so a day has 23 or 25 hours when clocks change; an hour is always an hour of real time.
    """
    if calendar.every == "hour":
        return at - at % HOUR_MS, at - at % HOUR_MS + HOUR_MS  # zones with a half-hour offset still share real hours
    # Local midnight falls on a full quarter of an hour in every zone in use, so one look-up serves 15 minutes.
    return _period(calendar.every, calendar.zone, calendar.week_start, at // 900_000)


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
