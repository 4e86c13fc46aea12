"""What the watch follows: every budget, burn rate, limit of runs and rule about usage, as a scope and its windows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from streams.catalog.alerting import Rule
from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, BurnRate, Lifetime, Rolling, RunLimits, Size
from streams.catalog.models import Catalog
from streams.watch.periods import HOPS, MINUTE_MS, QUARTER_MS, SIZES
from streams.watch.scopes import Scope, split_of

PERIOD = "period"  # the window of the budget's own period, or of the run
LEAST_IDLE_MS = 5_000
COUNTERS = ("retries", "tool_calls", "errors")  # units that are extras of the totals
RULES = {
    "unpriced": ("provider", "model"),
    "context": ("workload_id",),
    "policy": ("workload_id", "model"),
    "low_usage": (),
}  # kinds of rules that have windows, and what they are about by themselves


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """A window by name. calendar: the period of `calendar`; rolling: the last `size_ms`, moving on by `hop_ms`;
    lifetime: from the first event on, until nothing came for `idle_ms`.

    with_causes: whether its contributors are kept
    """

    name: str
    kind: Literal["calendar", "rolling", "lifetime"]
    size_ms: int = 0
    hop_ms: int = 0
    calendar: Calendar | None = None
    idle_ms: int = 0
    with_causes: bool = True

    @property
    def slice_ms(self) -> int:
        """The coarsest grain of totals of which it can be made exactly."""
        match self.kind:
            case "calendar":
                return QUARTER_MS
            case "rolling":
                return self.hop_ms
            case _:  # events of one slice must be of one life
                return max(hop for hop in HOPS.values() if hop <= min(self.idle_ms, MINUTE_MS))


@dataclass(frozen=True, slots=True)
class Watched:
    """One thing that is watched. `kind` names its alerts, `rule` is what people wrote.

    budget: the budget itself, or that of a burn rate; else None
    """

    kind: str
    id: str
    rule: Budget | BurnRate | RunLimits | Rule
    budget: Budget | None
    scope: Scope
    windows: tuple[WindowSpec, ...]

    @property
    def shape(self) -> tuple[object, ...]:
        """What its sums depend on; when it changes they are filled anew from the ledger."""
        return self.scope, self.windows, self.currency, self.days

    @property
    def currency(self) -> str:
        """In which money is added up; costs in others are counted as foreign."""
        if self.budget:
            return self.budget.currency
        return self.rule.currency if isinstance(self.rule, RunLimits) else "USD"

    @property
    def days(self) -> Calendar | None:
        """The days by which its use is kept for forecasts, where it has one."""
        budget = self.budget
        if self.kind != "budget" or budget is None or not budget.forecast or not isinstance(budget.period, Calendar):
            return None
        return None if budget.period.every == "hour" else Calendar(every="day", zone=budget.period.zone)

    def window(self, name: str) -> WindowSpec:
        """One of its windows."""
        return next(w for w in self.windows if w.name == name)


def watched(catalog: Catalog) -> dict[str, Watched]:
    """By id. Rules about the catalog itself and about exceptions have none (watch/apart.py)."""
    return {w.id: w for w in sorted(_all(catalog), key=lambda w: w.id)}


def scopes_of(things: Iterable[Watched | Budget]) -> list[Scope]:
    """The scopes of what is watched, by id."""
    known = [of_budget(t) if isinstance(t, Budget) else t for t in things]
    return [w.scope for w in sorted(known, key=lambda w: w.id)]


def _all(catalog: Catalog) -> Iterator[Watched]:
    budgets = {b.id: b for b in catalog.budgets}
    yield from map(of_budget, catalog.budgets)
    yield from (of_burn_rate(burn, budgets[burn.budget]) for burn in catalog.burn_rates if burn.budget in budgets)
    yield from map(of_runs, catalog.runs)
    yield from (of_rule(rule) for rule in catalog.rules if rule.kind in RULES)


def of_budget(budget: Budget) -> Watched:
    """A budget: one window, its period."""
    windows = (_window(budget.period),)
    scope = Scope(
        id=budget.id,
        tenant=budget.tenant,
        where=tuple(sorted(budget.where.items())),
        each=budget.each,
        split=split_of(budget.split),
        slice_ms=_grain(windows),
        buckets=budget.buckets,
        measures=_measures(budget.unit, budget.measures),
        contributors=budget.contributors,
        unit=budget.unit,
    )
    return Watched("budget", budget.id, budget, budget, _without_fixed(scope), windows)


def of_burn_rate(burn: BurnRate, budget: Budget) -> Watched:
    """A burn rate: the scope of its budget under its own id, with the windows of both."""
    period = _window(budget.period, with_causes=False)  # an alert of a burn rate asks who burns now
    long = {w.long for w in burn.windows}
    sizes = {size: size in long for w in burn.windows for size in (w.long, w.short)}
    rolling = (rolling_window(size, size, with_causes) for size, with_causes in sorted(sizes.items(), key=_by_length))
    windows = (period, *rolling)
    scope = replace(
        of_budget(budget).scope,
        id=burn.id,
        slice_ms=_grain(windows),
        measures=_measures(budget.unit, ()),
        contributors=burn.contributors,
    )
    return Watched("burn_rate", burn.id, burn, budget, _without_fixed(scope), windows)


def of_runs(runs: RunLimits) -> Watched:
    """Limits of runs: one lifetime for each run, with what its ledger shows."""
    windows = (_lifetime(runs.idle),)
    scope = Scope(
        id=runs.id,
        tenant=runs.tenant,
        where=tuple(sorted(runs.where.items())),
        each=runs.each,
        slice_ms=_grain(windows),
        measures=(*COUNTERS, *(("repeats",) if runs.repeats else ())),
        contributors=runs.contributors,
        unit="cost" if runs.cost is not None else "tokens",
    )
    return Watched("run", runs.id, runs, None, _without_fixed(scope), windows)


def of_rule(rule: Rule) -> Watched:
    """A rule about usage, see `Rule`."""
    by_itself: Calendar | Rolling = Rolling(size="1h") if rule.kind == "context" else Calendar(every="day")
    period = rule.period or by_itself
    where = dict(rule.where) | ({"approval_status": "unapproved"} if rule.kind == "policy" else {})
    windows = (_window(period),)
    scope = Scope(
        id=rule.id,
        tenant=rule.tenant,
        where=tuple(sorted(where.items())),
        each=RULES[rule.kind] if rule.each is None else rule.each,
        slice_ms=_grain(windows),
        contributors=rule.contributors,
        unit="unpriced" if rule.kind == "unpriced" else "events",
        above=rule.tokens if rule.kind == "context" else None,
    )
    return Watched(rule.kind, rule.id, rule, None, _without_fixed(scope), windows)


def rolling_window(name: str, size: Size, with_causes: bool = True) -> WindowSpec:
    """A rolling window of a size."""
    return WindowSpec(name, "rolling", SIZES[size], HOPS[size], with_causes=with_causes)


def _window(period: Calendar | Rolling | Lifetime, with_causes: bool = True) -> WindowSpec:
    match period:
        case Calendar():
            return WindowSpec(PERIOD, "calendar", calendar=period, with_causes=with_causes)
        case Rolling():
            return rolling_window(PERIOD, period.size, with_causes)
        case _:
            return _lifetime(period.idle, with_causes)


def _lifetime(idle_ms: int, with_causes: bool = True) -> WindowSpec:
    return WindowSpec(PERIOD, "lifetime", idle_ms=max(idle_ms, LEAST_IDLE_MS), with_causes=with_causes)


def _by_length(item: tuple[Size, bool]) -> int:
    return SIZES[item[0]]


def _grain(windows: Iterable[WindowSpec]) -> int:
    return min(w.slice_ms for w in windows)


def _measures(unit: str, asked: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*asked, unit) if unit in COUNTERS else asked))


def _without_fixed(scope: Scope) -> Scope:
    """What a scope fixes names no cause."""
    fixed = {*scope.names, *(name for name, _ in scope.where)}
    if scope.split:
        fixed.discard(scope.split[0])  # among its "*" there are many
    return replace(scope, contributors=tuple(name for name in scope.contributors if name not in fixed))
