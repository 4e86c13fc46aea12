"""One way in to all judges: what a scope's windows mean, whatever kind of thing watches it. Pure: sums and a clock in."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from streams.catalog.alerting import Rule
from streams.catalog.limits import Budget, BurnRate, RunLimits
from streams.watch.budgets import judge_budget, standing_of_budget
from streams.watch.burn import judge_burn
from streams.watch.conditions import Condition, Stretch
from streams.watch.rules import judge_rule
from streams.watch.runs import judge_run, standing_of_run
from streams.watch.verdicts import Standing, next_rung
from streams.watch.watched import Watched

NONE = Decimal(0)


def judge(
    known: Watched,
    stretches: Mapping[str, Stretch],
    past: Sequence[Stretch],
    clock: int,
    extra: Decimal = NONE,
    key: str = "",
    past_extra: Mapping[int, Decimal] | None = None,
) -> list[Condition]:
    """Every condition of a scope as it stands, over or not; what is not among them is gone.

    stretches:  every window by name, as of the clock (ms)
    past:       earlier calendar periods whose sums moved; for `needs_last_period` the one that ended last, moved or not
    extra:      what exceptions in force add to the limit; `past_extra`: what they added to earlier periods, by start (ms)
    key:        of the scope; asked where a budget is split
    """
    match known.rule:
        case Budget() as budget:
            return judge_budget(budget, stretches, past, extra, key, past_extra)
        case BurnRate() as burn if known.budget is not None:
            return judge_burn(burn, known.budget, stretches, clock, extra, key)
        case RunLimits() as limits:
            return judge_run(limits, stretches, extra)
        case Rule() as rule:
            return judge_rule(known, rule, stretches, past)
    raise TypeError(f"{known.kind} {known.id}: has no judge; it belongs to no budget")


def verdict_of(
    known: Watched, stretches: Mapping[str, Stretch], clock: int, extra: Decimal = NONE, key: str = ""
) -> Standing | None:
    """Where a budget or a run stands; None for what gives no verdict."""
    match known.rule:
        case Budget() as budget:
            return standing_of_budget(budget, stretches, clock, extra, key)
        case RunLimits() as limits:
            return standing_of_run(limits, stretches, extra)
    return None


def needs_last_period(known: Watched) -> bool:
    """Whether it judges the last whole period, so that it must always be among `past`."""
    return known.kind == "low_usage"


def next_look(known: Watched, clock: int) -> int | None:
    """When (ms) a verdict may change although nothing comes, besides the windows: the next rung of a ladder."""
    return next_rung(known.rule.ladder, clock) if isinstance(known.rule, Budget) else None
