"""Burn rates: how many times faster than evenly a budget is spent, in two windows at once (domain.md §5, SRE Workbook ch. 5).

burn(w) = (spend(w) / w) / (B / T) with T the actual length of the period: a month has 28 to 31 days, a day 23 to 25 hours. A
share of the budget within the long window is a threshold, share x T / long: 2 % in 1 h are 14.4 in 30 days. Against what
remains the even speed is (B - spent) / (t_end - now). Both windows must exceed; the short one ends the alert soon after the
spending does.
"""

from collections.abc import Iterator, Mapping
from decimal import Context, Decimal
from typing import NamedTuple

from streams.catalog.durations import duration_ms, duration_text
from streams.catalog.limits import Budget, BurnRate, BurnWindow, Rolling
from streams.watch.budgets import limit_of
from streams.watch.conditions import Condition, Stretch
from streams.watch.verdicts import amount_text, moment_text
from streams.watch.watched import PERIOD

WIDE = Context(prec=150)  # amount x time x time, compared without a division
SHOWN = Decimal("0.01")


class Use(NamedTuple):
    """What is known of the budget as of now, in its unit and ms; `even` is (amount, time) of an even use."""

    limit: Decimal
    spent: Decimal
    period: int
    end: int | None  # None: a rolling budget has none
    clock: int

    @property
    def left(self) -> Decimal:
        return WIDE.subtract(self.limit, self.spent)

    def even(self, window: BurnWindow) -> tuple[Decimal, int]:
        """Amount, and the time in which it would be used evenly."""
        if window.against == "period":
            return self.limit, self.period
        return self.left, self.period if self.end is None else max(self.end - self.clock, 0)


def judge_burn(
    burn: BurnRate, budget: Budget, stretches: Mapping[str, Stretch], clock: int, extra: Decimal, key: str = ""
) -> list[Condition]:
    """One condition a pair of windows; level-triggered, so each time is an episode. Without a limit there is no speed."""
    limit = limit_of(budget, key, extra)
    if limit is None:
        return []
    start, end, sums = stretches[PERIOD]
    rolling = isinstance(budget.period, Rolling)
    use = Use(limit, sums.value(budget.unit), end - start, None if rolling else end, clock)
    return list(_judged(burn, budget, stretches, use))


def threshold(window: BurnWindow, period: int) -> Decimal:
    """Times the even speed: the factor, or that at which `long` uses the share of a period of so many ms."""
    if window.factor is not None:
        return window.factor
    return WIDE.divide(WIDE.multiply(window.share or Decimal(0), Decimal(period)), Decimal(duration_ms(window.long)))


def burn_of(spend: Decimal, size: int, even: tuple[Decimal, int]) -> Decimal:
    """Times the even speed, of what was spent in a window of `size` ms. The amount that is used evenly is above 0."""
    amount, time = even
    return WIDE.divide(WIDE.multiply(spend, Decimal(time)), WIDE.multiply(amount, Decimal(size)))


def _exceeds(spend: Decimal, size: int, window: BurnWindow, use: Use, scale: Decimal) -> bool:
    """Whether burn > threshold x scale: exactly, so both sides are multiplied out. With nothing left any spending does."""
    amount, time = use.even(window)
    if amount <= 0:
        return spend > 0
    fast, even = WIDE.multiply(spend, Decimal(time)), WIDE.multiply(WIDE.multiply(amount, Decimal(size)), scale)
    if window.factor is not None:
        return fast > WIDE.multiply(even, window.factor)
    shared = WIDE.multiply(window.share or Decimal(0), Decimal(use.period))
    return WIDE.multiply(fast, Decimal(duration_ms(window.long))) > WIDE.multiply(even, shared)


def _judged(burn: BurnRate, budget: Budget, stretches: Mapping[str, Stretch], use: Use) -> Iterator[Condition]:
    clear_at = WIDE.subtract(Decimal(1), burn.hysteresis)
    for window in burn.windows:
        long, short = stretches[window.long], stretches[window.short]
        sizes = duration_ms(window.long), duration_ms(window.short)
        spends = tuple(zip((s.sums.value(budget.unit) for s in (long, short)), sizes, strict=True))
        enough = long.sums.events >= burn.min_events and spends[0][0] >= burn.min_spend
        clear = not enough or not all(_exceeds(*spend, window, use, clear_at) for spend in spends)
        even = use.even(window) if use.left > 0 else (use.limit, use.period)  # a figure to show where none can be made
        rates = tuple(burn_of(*spend, even).quantize(SHOWN, context=WIDE) for spend in spends)
        limit = threshold(window, use.period).quantize(SHOWN, context=WIDE)
        fast = (
            f"{rates[0]} and {rates[1]} times an even use{' of what is left' if window.against == 'remaining' else ''}"
        )
        fast += f" in {window.long} and {window.short}, {limit} are allowed"
        yield Condition(
            name=f"{window.long}/{window.short}",
            anchor=None,
            end=long.end,
            over=enough and all(_exceeds(*spend, window, use, Decimal(1)) for spend in spends),
            clear=clear,
            value=rates[0],
            limit=limit,
            unit="times_even",
            severity=window.severity,
            said=fast if clear else f"{fast}: {_outlook(window, budget, use, spends[0][0])}",
        )


def exhausted_at(use: Use, spend: Decimal, size: int) -> int | None:
    """When (ms) nothing is left at the speed of a window; None: never. What is exhausted already is so now."""
    if use.left <= 0:
        return use.clock
    if spend <= 0:
        return None
    return use.clock + int(WIDE.divide_int(WIDE.multiply(use.left, Decimal(size)), spend))


def _outlook(window: BurnWindow, budget: Budget, use: Use, spend: Decimal) -> str:
    """What was spent, what is left, and until when that lasts."""
    used, left, limit = (
        amount_text(amount, budget.unit, budget.currency) for amount in (spend, max(use.left, Decimal(0)), use.limit)
    )
    at = exhausted_at(use, spend, duration_ms(window.long))
    if use.left <= 0:
        ends = "it is exhausted"
    elif at is None or (use.end is not None and at >= use.end):
        ends = "at this speed it lasts" + (f" until its period ends at {moment_text(use.end)}" if use.end else "")
    else:
        early = "" if use.end is None else f", {_rough(use.end - at)} before its period ends"
        ends = f"at this speed it is exhausted at {moment_text(at)}{early}"
    return f"{used} in {window.long}, {left} of {limit} are left; {ends}"


def _rough(ms: int) -> str:
    """A length of time in whole minutes, hours or days: `3d`, `26h`, `5m`."""
    unit = 86_400_000 if ms >= 259_200_000 else 3_600_000 if ms >= 10_800_000 else 60_000
    return duration_text(max(ms // unit, 1) * unit)
