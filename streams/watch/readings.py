"""What a track says to those who judge and tell: who caused it, the period before, where it leads. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from streams.watch.conditions import Stretch
from streams.watch.contributors import Contributor, top
from streams.watch.forecast import outlook
from streams.watch.forecast import record as forecast_record
from streams.watch.judge import needs_last_period
from streams.watch.kept import Scoped
from streams.watch.periods import period_of
from streams.watch.tracks import Track, causes_of, days, stretches
from streams.watch.watched import PERIOD, Watched
from streams.watch.windows import Sums

Record = dict[str, Any]


def contributors(known: Watched, track: Track, name: str, clock: int) -> list[Contributor]:
    start = stretches(known, track, clock)[name].start
    return top(causes_of(known, track, name, start), known.scope.contributors)


def last_period(known: Watched, scoped: Scoped, held: Mapping[str, Stretch], touched: set[int]) -> list[Stretch]:
    """The period that ended last, for whoever judges whole ones: only where the scope was known before it began."""
    calendar = known.windows[0].calendar
    if calendar is None or not needs_last_period(known):
        return []
    start, end = period_of(calendar, held[PERIOD].start - 1)
    if start in touched or scoped.since > start:
        return []
    part = scoped.track.periods.get(start)
    return [Stretch(start, end, part.sums if part else Sums())]


def forecast(known: Watched, track: Track, period: Stretch, limit: Decimal | None, clock: int) -> Record | None:
    if known.days is None or known.budget is None or not track.days:
        return None
    used = period.sums.value(known.budget.unit)
    found = outlook(list(days(track).items()), period.start, period.end, used, limit, clock)
    return None if found is None else forecast_record(found)
