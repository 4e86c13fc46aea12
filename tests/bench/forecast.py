"""How good forecasts are on real series, beside simpler ones: `python -m tests.bench.forecast`. Needs no stack."""

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from statistics import median
from typing import NamedTuple

from streams.demo.traces import azure
from streams.watch.forecast import DAY_MS, Outlook, outlook
from tests.support.servegen import daily, kinds, pressed

EPOCH = 1_790_000_000_000 // DAY_MS * DAY_MS


class Asked(NamedTuple):
    """One forecast, what came, and what simpler ways say: spend / elapsed x period; the mean of the last seven days."""

    said: Outlook
    actual: float
    linear: float
    seven: float
    scale: float  # of the period, at the series' own mean


def ask(days: Sequence[float], first: int, period: int, at: float) -> Asked | None:
    """The period of days [first, first + period), asked at `at` days after the series began."""
    today, gone = int(at), at - int(at)
    kept = days[max(0, today - 34) : today]
    history = [(EPOCH + (today - len(kept) + i) * DAY_MS, Decimal(repr(d))) for i, d in enumerate(kept)]
    so_far = days[today] * gone  # within a day as if it were even
    history.append((EPOCH + today * DAY_MS, Decimal(repr(so_far))))
    used = sum(days[first:today]) + so_far
    start, clock = EPOCH + first * DAY_MS, EPOCH + int(at * DAY_MS)
    said = outlook(history, start, start + period * DAY_MS, Decimal(repr(used)), None, clock)
    if said is None:
        return None
    lasted, last = at - first, kept[-7:]
    linear = used / lasted * period if lasted else sum(kept) / len(kept) * period
    seven = used + sum(last) / len(last) * (period - lasted)
    return Asked(said, sum(days[first : first + period]), linear, seven, sum(days) / len(days) * period)


def weeks(series: Sequence[tuple[float, ...]]) -> Iterator[Asked]:
    """Budgets of 7 days within 14 real days, and of all 14, asked every half day."""
    for hours in series:
        days = daily(hours)
        for first, period in [(0, 14), *((first, 7) for first in range(8))]:
            for half in range(2 * period):
                if found := ask(days, first, period, first + half / 2):
                    yield found


def months(series: Sequence[tuple[float, ...]]) -> Iterator[Asked]:
    """Budgets of 30 days on pressed series, with little history and with much."""
    for hours in series:
        days = pressed(hours)
        for first in (0, 3, *range(5, 69, 9)):
            for at in range(0, 30, 3):
                if found := ask(days, first, 30, first + at):
                    yield found


def one_day(series: Sequence[tuple[float, ...]]) -> Iterator[Asked]:
    """Budgets of a day by the real hours of that day, asked at a quarter, half and three quarters of it."""
    for hours in series:
        days = daily(hours)
        for day in range(3, 14):
            for gone in (6, 12, 18):
                used, actual = sum(hours[day * 24 : day * 24 + gone]), days[day]
                start, clock = EPOCH + day * DAY_MS, EPOCH + (day * 24 + gone) * (DAY_MS // 24)
                kept = [(EPOCH + i * DAY_MS, Decimal(repr(d))) for i, d in enumerate(days[:day])]
                kept.append((start, Decimal(repr(used))))
                said = outlook(kept, start, start + DAY_MS, Decimal(repr(used)), None, clock)
                if said is not None:
                    usual = sum(days[max(0, day - 7) : day]) / min(7, day)
                    yield Asked(said, actual, used * 24 / gone, used + usual * (1 - gone / 24), sum(days) / len(days))


def minutes() -> Iterator[Asked]:
    """Azure's hour with a minute taken as a day: budgets of 30 of them, in tokens, output four times."""
    sums = [0.0] * 58  # the last one is cut
    for sent in azure():
        block = json.loads(sent.event["usage_json"])
        if sent.at < 58 * 60_000:
            sums[sent.at // 60_000] += block["prompt_tokens"] + 4 * block["completion_tokens"]
    for first in range(28):
        for at in range(0, 30, 2):
            if found := ask(sums, first, 30, first + at + 0.5):
                yield found


def figures(asked: Sequence[Asked]) -> dict[str, float]:
    """Mean error as a share of the period's mean use, of ours and of simpler ways; how often the interval held; its width.

    told: what the back-tests said, as a ratio of the errors that came; width: median of (high - low) / mid
    """

    def error(values: Sequence[float]) -> float:
        return sum(abs(v - a.actual) / a.scale for v, a in zip(values, asked, strict=True)) / len(asked)

    tested = [a for a in asked if a.said.error_percent is not None and a.actual > 0]
    came = sum(abs(a.said.mid - a.actual) / a.scale for a in tested)
    told = sum((a.said.error_percent or 0) / 100 * a.actual / a.scale for a in tested)
    slack = 1e-9
    return {
        "asked": len(asked),
        "error": round(error([a.said.mid for a in asked]), 4),
        "linear": round(error([a.linear for a in asked]), 4),
        "seven_days": round(error([a.seven for a in asked]), 4),
        "held": round(
            sum(a.said.low * (1 - slack) <= a.actual <= a.said.high * (1 + slack) for a in asked) / len(asked), 4
        ),
        "above": round(sum(a.actual > a.said.high * (1 + slack) for a in asked) / len(asked), 4),
        "width": round(median((a.said.high - a.said.low) / a.said.mid if a.said.mid else 0.0 for a in asked), 4),
        "told": round(told / came, 2) if came else 0.0,
    }


def measure() -> dict[str, dict[str, float]]:
    """Of every kind of series and period."""
    found = {
        f"{name} {what}": figures(list(way(series)))
        for name, series in kinds().items()
        for what, way in (("weeks", weeks), ("months", months), ("day", one_day))
    }
    return found | {"azure minutes": figures(list(minutes()))}


if __name__ == "__main__":
    found = measure()
    for name, row in found.items():
        print(f"{name:15}", "  ".join(f"{key} {value:g}" for key, value in row.items()))
    print(json.dumps(found))
