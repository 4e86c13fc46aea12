"""Budgets: what their thresholds say of a period, what may be spent next, and the record that gateways read.

A calendar period has one condition a threshold, latched: once over, its alert stays until the period ends, unless a
correction, late data or another limit takes it back. So has a lifetime, whose use only grows; its alert is named by its first
event, and so by the same id however the events were cut into batches. A rolling window has episodes with hysteresis. Without
a limit a budget discovers: it caps nothing, raises nothing and has a record all the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, Rolling
from streams.watch.alerts import text
from streams.watch.conditions import Condition, Stretch
from streams.watch.exact import EXACT
from streams.watch.scopes import OTHERS, dimensions_of
from streams.watch.verdicts import (
    Standing,
    Verdict,
    amount_text,
    headroom,
    percent_of,
    step_at,
    verdict_under,
)
from streams.watch.watched import PERIOD
from streams.watch.windows import Sums

GUARD = "guard"  # the condition, and the limit, of tokens whose price nobody knows


def limit_of(budget: Budget, key: str = "", extra: Decimal = Decimal(0)) -> Decimal | None:
    """The limit of one scope: its share where the budget is split, and what exceptions add. None: nothing is capped.

    key: of the scope; asked only where the budget is split. Who has no share, and there is none for `*`, is not capped.
    """
    if budget.limit is None:
        return None
    if budget.split is None:
        return EXACT.add(budget.limit, extra)
    shares = budget.split.shares
    share = shares.get(dimensions_of(key).get(budget.split.by, OTHERS), shares.get(OTHERS))
    return None if share is None else EXACT.add(EXACT.multiply(budget.limit, share), extra)


def judge_budget(
    budget: Budget,
    stretches: Mapping[str, Stretch],
    past: Sequence[Stretch],
    extra: Decimal,
    key: str = "",
    past_extra: Mapping[int, Decimal] | None = None,
) -> list[Condition]:
    """Conditions of the period in force, and of earlier ones whose sums moved.

    extra:      what exceptions add now; `past_extra` what they added to earlier periods, by their start (ms)
    """
    added, found = past_extra or {}, list[Condition]()
    for stretch in past if isinstance(budget.period, Calendar) else ():
        found += _conditions(budget, stretch, limit_of(budget, key, added.get(stretch.start, Decimal(0))))
    return [*found, *_conditions(budget, stretches[PERIOD], limit_of(budget, key, extra))]


def _conditions(budget: Budget, stretch: Stretch, limit: Decimal | None) -> Iterator[Condition]:
    if limit is None:
        return
    used = stretch.sums.value(budget.unit)
    said = f"{percent_of(used, limit)} % of {amount_text(limit, budget.unit, budget.currency)}"
    for threshold in budget.thresholds:
        at = EXACT.multiply(limit, threshold)
        yield _condition(budget, stretch, text(threshold), used, at, limit, budget.unit, said)
    if budget.guard_tokens is not None:
        unknown, most = Decimal(stretch.sums.unpriced_tokens), Decimal(budget.guard_tokens)
        said = f"{unknown:,f} tokens have no price in force, {most:,f} are allowed: what they cost is not known"
        yield _condition(budget, stretch, GUARD, unknown, most, most, "unpriced_tokens", said)


def _condition(
    budget: Budget, stretch: Stretch, name: str, used: Decimal, at: Decimal, limit: Decimal, unit: str, said: str
) -> Condition:
    """over: at `at` or above; clear: below it by the hysteresis; limit: what `used` is compared with for people."""
    latched = not isinstance(budget.period, Rolling)
    return Condition(
        name=name,
        anchor=stretch.start if latched else None,
        end=stretch.end,
        over=used >= at,
        clear=used < EXACT.multiply(at, EXACT.subtract(Decimal(1), budget.hysteresis)),
        value=used,
        limit=limit,
        unit=unit,
        severity=budget.severity,
        latched=latched,
        said=said,
    )


def standing_of_budget(
    budget: Budget, stretches: Mapping[str, Stretch], clock: int, extra: Decimal, key: str = ""
) -> Standing:
    """What the budget says of its next event. The guard counts as the limit reached: money that nobody knows is not none."""
    sums, step, limit = stretches[PERIOD].sums, step_at(budget.ladder, clock), limit_of(budget, key, extra)
    used = sums.value(budget.unit)
    if limit is None:
        return Standing("allow", "allow", step, used, None, None, "", None, budget.unit)
    if budget.guard_tokens is not None and sums.unpriced_tokens >= budget.guard_tokens and used < limit:
        unknown, most = Decimal(sums.unpriced_tokens), Decimal(budget.guard_tokens)
        verdict, percent = verdict_under(step, "stop"), percent_of(unknown, most)
        return Standing(verdict, "stop", step, unknown, most, Decimal(0), GUARD, percent, "unpriced_tokens")
    would_be: Verdict = "allow"
    if used >= limit:
        would_be = "stop"
    elif used >= EXACT.multiply(limit, budget.thresholds[0]):
        would_be = "warn"
    verdict, left = verdict_under(step, would_be), headroom(used, limit)
    return Standing(verdict, would_be, step, used, limit, left, "limit", percent_of(used, limit), budget.unit)


def figures_of_budget(budget: Budget, sums: Sums, standing: Standing, extra: Decimal, key: str) -> dict[str, Any]:
    """The part of the record on usage.budgets that is about the limit; amounts are strings, null where nothing is capped."""
    used, limit, base = sums.value(budget.unit), limit_of(budget, key, extra), limit_of(budget, key)
    left = None if limit is None else Decimal(0) if standing.binding == GUARD else headroom(used, limit)
    return {
        "unit": budget.unit,
        "currency": budget.currency if budget.unit == "cost" else None,
        "used": text(used),
        "limit": None if limit is None else text(limit),
        "base_limit": None if base is None else text(base),
        "headroom": None if left is None else text(left),
        "limits": {},
        "used_by": {},
    }
