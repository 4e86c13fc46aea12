"""Rules beside budgets: usage without a price, calls with a huge input, use that nobody approved, scopes that are hardly used.

What events are counted is decided by the scope (watch/watched.py): `context` counts those above its size alone, `policy` those
of what is not approved.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from streams.catalog.alerting import Rule
from streams.watch.conditions import Condition, Stretch
from streams.watch.watched import PERIOD, Watched
from streams.watch.windows import Sums

ONE = Decimal(1)


def judge_rule(
    known: Watched, rule: Rule, stretches: Mapping[str, Stretch], past: Sequence[Stretch]
) -> list[Condition]:
    """One condition. Of a calendar period it is latched; of a rolling window, and of low usage, an episode."""
    stretch = stretches[PERIOD]
    if rule.kind == "low_usage":
        return [_low_usage(rule, stretch, past)]
    if known.window(PERIOD).kind != "calendar":
        return [_any(rule, stretch, None)]
    return [_any(rule, one, one.start) for one in (*past, stretch)]


def _any(rule: Rule, stretch: Stretch, anchor: int | None) -> Condition:
    """One such event is one too many."""
    sums, unit = stretch.sums, "unpriced" if rule.kind == "unpriced" else "events"
    value = sums.value(unit)
    return Condition(
        name="1",
        anchor=anchor,
        end=stretch.end,
        over=value >= ONE,
        clear=value < ONE,
        value=value,
        limit=ONE,
        unit=unit,
        severity=rule.severity,
        latched=anchor is not None,
        said=_said(rule, sums),
    )


def _said(rule: Rule, sums: Sums) -> str:
    match rule.kind:
        case "unpriced":
            what = "events without a price; `usage-streams query unpriced_models` says why"
            return f"{sums.unpriced:,} of {sums.events:,} {what}"
        case "context":
            return f"{sums.events:,} calls whose input is over {rule.tokens or 0:,} tokens, {sums.tokens:,} tokens together"
        case _:
            what = "events of what is not approved; `usage-streams query unapproved_spend` shows them"
            return f"{sums.events:,} {what}"


def _low_usage(rule: Rule, now: Stretch, past: Sequence[Stretch]) -> Condition:
    """Too few events in the last whole period, which ended where the one of now began. Without it nothing changes."""
    wanted = Decimal(rule.events or 0)
    last = next((one for one in past if one.end == now.start), None)
    value = Decimal(last.sums.events) if last else Decimal(0)
    return Condition(
        name="low_usage",
        anchor=None,
        end=last.end if last else now.start,
        over=last is not None and value < wanted,
        clear=last is not None and value >= wanted,
        value=value,
        limit=wanted,
        unit="events",
        severity=rule.severity,
        said=f"{value:,f} events in the last whole period, {wanted:,f} are expected at least",
    )
