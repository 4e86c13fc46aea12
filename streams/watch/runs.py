"""Runs of agents and conversations: a ledger of what each has used, and limits of which the first one reached stops it."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from streams.catalog.limits import RunLimits
from streams.watch.alerts import text
from streams.watch.conditions import Condition, Stretch
from streams.watch.exact import EXACT
from streams.watch.verdicts import Standing, Verdict, amount_text, headroom, percent_of, share_of, verdict_under
from streams.watch.watched import PERIOD
from streams.watch.windows import Sums

LIMITS = ("iterations", "tool_calls", "tokens", "retries", "elapsed", "cost", "repeats")  # the first of equals binds
TOOL = "tool:"  # how extras begin that count one tool with the same arguments
WARN = "warn"


def used_by(sums: Sums) -> dict[str, Decimal]:
    """What a run has used, by the name of its limit; elapsed in ms, repeats of the tool call that came most often."""
    extras = sums.extras
    return {
        "iterations": Decimal(sums.events),
        "tool_calls": Decimal(extras.get("tool_calls", 0)),
        "tokens": Decimal(sums.tokens),
        "retries": Decimal(extras.get("retries", 0)),
        "elapsed": Decimal(sums.last_ms - sums.first_ms if sums.events > 0 else 0),
        "cost": sums.cost,
        "repeats": Decimal(max((n for name, n in extras.items() if name.startswith(TOOL)), default=0)),
    }


def limits_of(limits: RunLimits, extra: Decimal = Decimal(0)) -> dict[str, Decimal]:
    """The limits that are set; exceptions add money."""
    found = {name: getattr(limits, name) for name in LIMITS}
    given = {name: Decimal(limit) for name, limit in found.items() if limit is not None}
    if "cost" in given:
        given["cost"] = EXACT.add(given["cost"], extra)
    return given


def binding(used: Mapping[str, Decimal], limits: Mapping[str, Decimal]) -> str:
    """The limit of which most is used."""
    return max(limits, key=lambda name: share_of(used[name], limits[name]))


def judge_run(limits: RunLimits, stretches: Mapping[str, Stretch], extra: Decimal) -> list[Condition]:
    """One condition a limit, and `warn` for the binding one. Each alerts once in a run and ends with it."""
    stretch = stretches[PERIOD]
    used, allowed = used_by(stretch.sums), limits_of(limits, extra)
    return [
        *(_reached(limits, stretch, name, used[name], limit) for name, limit in allowed.items()),
        _warned(limits, stretch, used, allowed),
    ]


def _reached(limits: RunLimits, stretch: Stretch, name: str, used: Decimal, limit: Decimal) -> Condition:
    return Condition(
        name=name,
        anchor=stretch.start,
        end=stretch.end,
        over=used >= limit,
        clear=used < EXACT.multiply(limit, EXACT.subtract(Decimal(1), limits.hysteresis)),
        value=used,
        limit=limit,
        unit=name,
        severity=limits.severity,
        latched=True,
        said=_said(limits, stretch.sums, name, used, limit),
    )


def _warned(
    limits: RunLimits, stretch: Stretch, used: Mapping[str, Decimal], allowed: Mapping[str, Decimal]
) -> Condition:
    """Before a limit is reached. Once one is, its own condition pages, and this one changes nothing any more."""
    name = binding(used, allowed)
    reached = any(used[each] >= limit for each, limit in allowed.items())
    near = used[name] >= EXACT.multiply(allowed[name], limits.warn_at)
    return Condition(
        name=WARN,
        anchor=stretch.start,
        end=stretch.end,
        over=near and not reached,
        clear=not near and not reached,
        value=used[name],
        limit=allowed[name],
        unit=name,
        severity="info" if limits.severity == "info" else "warning",
        latched=True,
        said=_said(limits, stretch.sums, name, used[name], allowed[name]),
    )


def _said(limits: RunLimits, sums: Sums, name: str, used: Decimal, limit: Decimal) -> str:
    said = f"{percent_of(used, limit)} % of {amount_text(limit, name, limits.currency)}"
    if name == "repeats" and (calls := list(_loops(sums, int(used)))):
        return f"{said}: {calls[0]} was called {used:,f} times with the same arguments"
    return said


def _loops(sums: Sums, times: int) -> Iterator[str]:
    """Names of the tools that were called so often with the same arguments."""
    for extra in sorted(sums.extras):
        if extra.startswith(TOOL) and sums.extras[extra] == times:
            yield extra.removeprefix(TOOL).rpartition(":")[0] or extra


def standing_of_run(limits: RunLimits, stretches: Mapping[str, Stretch], extra: Decimal) -> Standing:
    """What the run may do next, and which limit says so."""
    used, allowed = used_by(stretches[PERIOD].sums), limits_of(limits, extra)
    name = binding(used, allowed)
    would_be: Verdict = "allow"
    if used[name] >= allowed[name]:
        would_be = "stop"
    elif used[name] >= EXACT.multiply(allowed[name], limits.warn_at):
        would_be = "warn"
    return Standing(
        verdict_under(limits.step, would_be),
        would_be,
        limits.step,
        used[name],
        allowed[name],
        headroom(used[name], allowed[name]),
        name,
        percent_of(used[name], allowed[name]),
        name,
    )


def figures_of_run(limits: RunLimits, sums: Sums, extra: Decimal) -> dict[str, Any]:
    """The part of the record on usage.budgets that is about limits: money (tokens, where no money is capped) as for budgets,
    so that an intended amount can be compared; `limits` as far as they are set, `used_by` with all that its ledger knows."""
    used, allowed, base = used_by(sums), limits_of(limits, extra), limits_of(limits)
    unit = "cost" if "cost" in allowed else "tokens"
    limit, before = allowed.get(unit), base.get(unit)
    return {
        "unit": unit,
        "currency": limits.currency if unit == "cost" else None,
        "used": text(used[unit]),
        "limit": None if limit is None else text(limit),
        "base_limit": None if before is None else text(before),
        "headroom": None if limit is None else text(headroom(used[unit], limit)),
        "limits": {name: {"used": text(used[name]), "limit": text(allowed[name])} for name in allowed},
        "used_by": {name: text(amount) for name, amount in used.items()},
    }
