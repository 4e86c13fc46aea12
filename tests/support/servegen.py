"""Usage of real LLM clients over 14 days (tests/data/servegen), as series of days, and the same with time pressed together."""

import lzma
from functools import cache
from itertools import accumulate
from pathlib import Path
from random import Random

HOURS = Path(__file__).parents[1] / "data" / "servegen" / "hours.csv.xz"
DAYS = 14


@cache
def clients() -> dict[str, tuple[tuple[float, ...], ...]]:
    """336 hours of each client and measure. `busy`: in use in 70 % of the hours; `sparse`: on 4 to 13 of 14 days."""
    found: dict[str, list[tuple[float, ...]]] = {"busy": [], "sparse": []}
    for line in lzma.decompress(HOURS.read_bytes()).decode().splitlines():
        hours = tuple(map(float, line.split(",")[2:]))
        if sum(h > 0 for h in hours) > 0.7 * len(hours):
            found["busy"].append(hours)
        elif 4 <= sum(d > 0 for d in daily(hours)) < DAYS:
            found["sparse"].append(hours)
    return {name: tuple(series) for name, series in found.items()}


@cache
def teams(count: int = 40, size: int = 10) -> tuple[tuple[float, ...], ...]:
    """Sums of ten busy clients, each brought to the same mean; which ones is drawn with a fixed seed."""
    draw, level = Random(1), [[h / sum(series) for h in series] for series in clients()["busy"]]
    return tuple(tuple(1e6 * sum(hours) for hours in zip(*draw.sample(level, size), strict=True)) for _ in range(count))


def kinds() -> dict[str, tuple[tuple[float, ...], ...]]:
    """By how large a scope is: single clients, clients that come and go, teams."""
    return {**clients(), "teams": teams()}


def daily(hours: tuple[float, ...]) -> list[float]:
    """Sums of 24 hours."""
    return [sum(hours[at : at + 24]) for at in range(0, len(hours), 24)]


def pressed(hours: tuple[float, ...], parts: int = 98) -> list[float]:
    """The same use as if a real day were a week: 98 days whose weekdays differ as hours of the day do.

    Two weeks are too short for months; this keeps real bursts, shifts and a season of seven.
    """
    sums = [0.0, *accumulate(hours)]

    def upto(part: int) -> float:
        at = part * len(hours) / parts
        whole = int(at)
        return sums[whole] + (at - whole) * (sums[min(whole + 1, len(hours))] - sums[whole])

    return [upto(part + 1) - upto(part) for part in range(parts)]
