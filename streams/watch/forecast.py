"""What a budget will have used when its period ends, with an interval, an exhaustion time and the error of the method. Pure.

An estimate is a float, since it is nobody's money: `record` rounds it for people. Everything else stays Decimal.

Decision: an average of days that is monotone in every day, so that more spend never lowers a forecast; and no choice of method
by its past error, which would break that. Up to 13 complete days half of it is weighted by age (0.6 a day), half is the mean of
seven; from 14 on 70 % is the same weekday's (0.5 a week), 30 % the last seven. Days are cut at 2 to 3 medians, at the mean at
least: a burst is in `used`, not in every day to come. The interval is a factor around what is still to come, from the errors at
earlier days and from how a day differs from the one before. Rejected: multiplied weekday factors (not monotone, no better).

Measured by `python -m tests.bench.forecast` on ServeGen's 14 days (months: a real day taken as a week): mean error as a share
of the period's mean use, (spend / elapsed x period), how often the interval of 80 % held, and half its width at the median.

    sums of ten clients   weeks 0.071 (0.071) 95 % +-16 %   months 0.086 (0.094) 96 % +-19 %   a day 0.087 (0.156) 95 %
    single clients        weeks 0.192 (0.186) 82 % +-26 %   months 0.204 (0.223) 90 % +-37 %   a day 0.233 (0.275) 79 %
    that come and go      weeks 0.434 (0.503) 79 %          months 0.490 (0.708) 83 %          a day 0.408 (0.447) 83 %
    Azure's hour, a minute taken as a day                   months 0.086 (0.098) 94 % +-15 %

So it is no better than a straight line in even weeks, and better with bursts, seasons, or little of the period gone. What
`error_percent` says is 1.0 to 1.5 times what came, since earlier days knew less. Within an hour a straight line is as good.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from streams.watch.alerts import instant, text

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
ZERO = Decimal(0)
MOST_DAYS = 35
LEAST_DAYS = 3  # complete ones
WEEKDAYS_FROM = 14  # complete days
COVERAGE_PERCENT = 80
FLOOR = (
    1 / 60
)  # of an hour: what days say of it weighs as much as so much of its own speed, so that its first event is no flood
ORIGINS = 12  # of the back-test at most
# The interval in spreads, for COVERAGE_PERCENT with tails as they are; the hours of a day are less alike than parts of an hour.
_WIDTH, _WIDTH_OF_A_DAY, _WIDTH_OF_AN_HOUR = 1.7, 2.3, 1.2
# The spread before any error is known: at least, the share of how days change; its weight, in errors.
_LEAST, _CHANGES, _WEIGHT = 0.15, 0.8, 3.0
_STEEP = 2.0  # a log ratio beyond it counts as this

Steps = Sequence[tuple[int, float]]  # (until in ms, what comes until then), one after the other


class Outlook(NamedTuple):
    """Use at the end of the period in the budget's unit: `mid` is expected, [low, high] holds it in COVERAGE_PERCENT of cases.

    exhausts_ms:      when the limit is expected to be reached; the clock if it is; None: not before the end
    exhausts_from_ms: the same at the pace of `high`: earliest
    method:           `weekday` | `level` (days alike) | `pace` (an hour's own speed)
    error_percent:    of the figure at the end of a period like this, asked at `origins` earlier days; None with none
    """

    low: float
    mid: float
    high: float
    exhausts_ms: int | None
    exhausts_from_ms: int | None
    method: str
    error_percent: float | None
    origins: int


class Pace(NamedTuple):
    """What complete days say of those to come."""

    week: tuple[float, ...]  # expected amounts of today and the six days after it
    mean: float
    spread: float  # s
    idle: bool  # days without use are usual: nothing more may come
    error: float | None
    origins: int


def outlook(
    days: Sequence[tuple[int, Decimal]], start: int, end: int, used: Decimal, limit: Decimal | None, clock: int
) -> Outlook | None:
    """The outlook of a period [start, end) in ms as of `clock`; None without three complete days, or when it is over.

    days: (start in ms, amount) of local days, ascending, the last one as far as it is known; days that are missing had no use.
          Of whatever periods: those before `start` count as much. More than MOST_DAYS are cut off.
    used: of the period. Nothing is remembered but `pace_of`, by value: the same arguments give the same outlook in a replay.
    """
    if not start <= clock < end or not days:
        return None
    complete, today, so_far = _complete(days, clock)
    if len(complete) < LEAST_DAYS:
        return None
    left = max(1, round((end - today) / DAY_MS))  # days, today included
    pace = pace_of(complete, max(0, round((today - start) / DAY_MS)), left)
    lacks = math.inf if limit is None else float(limit - used)
    if end - start <= HOUR_MS:
        usual, gone = pace.week[0] * (end - start) / DAY_MS, (clock - start) / (end - start)
        rest = (float(used) + FLOOR * usual) / (gone + FLOOR) * (1 - gone)
        found = _outlook(pace, [(end, rest)], rest, _WIDTH_OF_AN_HOUR, "pace", float(used), lacks, clock)
        return found._replace(error_percent=None, origins=0)  # sums of days cannot test it
    gone = min(max((clock - today) / DAY_MS, 0.0), 1.0)
    rest_of_today = (
        (max(float(so_far), 0.0) + pace.week[0]) / (gone + 1) * (1 - gone)
    )  # its own speed and a whole usual day
    steps = [(min(today + DAY_MS, end), rest_of_today)]
    steps += [(min(today + (k + 1) * DAY_MS, end), pace.week[k % 7]) for k in range(1, left)]
    method, width = "weekday" if len(complete) >= WEEKDAYS_FROM else "level", _WIDTH if left > 1 else _WIDTH_OF_A_DAY
    return _outlook(pace, steps, pace.mean * (left - gone), width, method, float(used), lacks, clock)


def _outlook(
    pace: Pace, steps: Steps, average: float, width: float, method: str, used: float, lacks: float, clock: int
) -> Outlook:
    """average: what is still to come if all days were as the mean; lacks: from `used` to the limit."""
    rest, factor = sum(amount for _, amount in steps), math.exp(width * pace.spread)
    low = 0.0 if pace.idle else min(rest, average) / factor
    high = max(rest, average) * factor
    fast = [(at, amount * high / rest) for at, amount in steps] if rest > 0 else [(steps[-1][0], high)]
    return Outlook(
        used + low,
        used + rest,
        used + high,
        _reached(steps, lacks, clock),
        _reached(fast, lacks, clock),
        method,
        None if pace.error is None else pace.error * 100,
        pace.origins,
    )


def _reached(steps: Steps, lacks: float, clock: int) -> int | None:
    """When so much has come."""
    since = clock
    if lacks <= 0:
        return clock
    for until, amount in steps:
        if amount >= lacks:
            return max(clock + 1, since + math.ceil((until - since) * (lacks / amount)))
        lacks -= amount
        since = until
    return None


def record(found: Outlook) -> dict[str, Any]:
    """The part `forecast` of a record on usage.budgets: amounts as strings, rounded for people."""
    return {
        "low": rounded(found.low),
        "mid": rounded(found.mid),
        "high": rounded(found.high),
        "coverage_percent": COVERAGE_PERCENT,
        "exhausts_at": None if found.exhausts_ms is None else instant(found.exhausts_ms),
        "exhausts_from": None if found.exhausts_from_ms is None else instant(found.exhausts_from_ms),
        "method": found.method,
        "error_percent": None if found.error_percent is None else f"{found.error_percent:.1f}",
        "origins": found.origins,
    }


def rounded(amount: float) -> str:
    """Two decimals, below 1 two digits that count; plain, without an exponent."""
    if amount >= 1 or amount <= 0:
        return text(Decimal(f"{amount:.2f}"))
    return text(Decimal(f"{amount:.2g}"))


def _complete(days: Sequence[tuple[int, Decimal]], clock: int) -> tuple[tuple[Decimal, ...], int, Decimal]:
    """Amounts of the days that are over, none missing; the start of the day of the clock, and its amount so far."""
    first = days[-MOST_DAYS][0] if len(days) > MOST_DAYS else days[0][0]
    last = days[-1][0]
    since = max(0, (clock - 1 - last) // DAY_MS)  # whole days after the last one that has use
    places = [round((at - first) / DAY_MS) for at, _ in days[-MOST_DAYS:]]  # a local day has 23 to 25 hours
    today = places[-1] + since
    amounts = [ZERO] * (today + 1)
    for place, (_, amount) in zip(places, days[-MOST_DAYS:], strict=True):
        amounts[place] = amount
    return tuple(amounts[-MOST_DAYS:-1]), last + since * DAY_MS, amounts[-1]


@lru_cache(maxsize=8192)
def pace_of(complete: tuple[Decimal, ...], elapsed: int, left: int) -> Pace:
    """Of complete days, the oldest first. `elapsed` and `left`: days of the period before today, and from today on.

    Changes once a day, or when late events and corrections touch a day: so it is remembered.
    """
    amounts = [max(float(amount), 0.0) for amount in complete]  # below 0 while a correction is under way
    mean = sum(amounts) / len(amounts)
    small = mean / 20  # what a day may differ from nothing without being a change
    if small <= 0:
        return Pace((0.0,) * 7, 0.0, _LEAST, True, None, 0)
    squares, wrong, whole, origins = 0.0, 0.0, 0.0, 0
    latest = min(
        max(len(amounts) - min(left, 3), LEAST_DAYS), len(amounts) - 1
    )  # three days ahead say something of a month
    possible = range(latest, LEAST_DAYS - 1, -1)
    for at in possible[:: max(1, math.ceil(len(possible) / ORIGINS))]:
        ahead = min(left, len(amounts) - at)
        said, came = _ahead(_week(amounts[:at]), ahead), sum(amounts[at : at + ahead])
        ratio = math.log((came + small * ahead) / (said + small * ahead))
        squares += min(abs(ratio), _STEEP) ** 2
        wrong += abs(came - said)
        whole += came + sum(amounts[max(0, at - elapsed) : at])
        origins += 1
    back = 7 if len(amounts) >= WEEKDAYS_FROM else 1
    changes = [
        min(abs(math.log((b + small) / (a + small))), _STEEP) ** 2
        for a, b in zip(amounts, amounts[back:], strict=False)
    ]
    prior = _LEAST**2 + _CHANGES**2 * sum(changes) / len(changes)
    spread = math.sqrt((_WEIGHT * prior + squares) / (_WEIGHT + origins))
    idle = sum(amount > 0 for amount in amounts) <= 0.8 * len(amounts)
    return Pace(tuple(_week(amounts)), mean, spread, idle, wrong / whole if whole > 0 else None, origins)


def _week(amounts: Sequence[float]) -> list[float]:
    """What the seven days after these will be. Each is monotone in each amount."""
    recent = sorted(amounts[-14:])
    middle = (recent[len(recent) // 2] + recent[(len(recent) - 1) // 2]) / 2
    by_weekday = len(amounts) >= WEEKDAYS_FROM
    cap = max((3 if by_weekday else 2) * middle, sum(recent) / len(recent))
    cut = [min(amount, cap) for amount in amounts]
    level = sum(cut[-7:]) / len(cut[-7:])
    if not by_weekday:
        return [(_weighted(cut[::-1], 0.6) + level) / 2] * 7
    return [0.7 * _weighted(cut[-7 + slot :: -7], 0.5) + 0.3 * level for slot in range(7)]


def _weighted(newest_first: Sequence[float], fade: float) -> float:
    total, weights, weight = 0.0, 0.0, 1.0
    for amount in newest_first:
        total += weight * amount
        weights += weight
        weight *= fade
    return total / weights


def _ahead(week: Sequence[float], days: int) -> float:
    return days // 7 * sum(week) + sum(week[: days % 7])
