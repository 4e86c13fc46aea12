"""Where a scope stands against its limit, and how figures are said: what budgets, burn rates, runs and enforcement share."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple

from streams.catalog.durations import duration_text
from streams.catalog.limits import Rung, Step
from streams.watch.alerts import text
from streams.watch.exact import EXACT

Verdict = Literal["allow", "warn", "require_approval", "stop"]
VERDICTS: tuple[Verdict, ...] = ("allow", "warn", "require_approval", "stop")  # from the mildest on
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST: dict[Step, Verdict] = {"report": "allow", "warn": "warn", "require_approval": "require_approval", "stop": "stop"}


class Standing(NamedTuple):
    """Where a scope stands now.

    verdict:  what a gateway or an agent may do next
    would_be: what it would say if its step were `stop`: how a ladder is tried before it bites
    binding:  the limit that is nearest: `limit`, `guard`, or one of a run's; "" = there is none
    used, limit, headroom, unit: of the binding limit; None = nothing is capped
    percent:  used of the limit, with one decimal
    """

    verdict: Verdict
    would_be: Verdict
    step: Step
    used: Decimal
    limit: Decimal | None
    headroom: Decimal | None
    binding: str
    percent: Decimal | None
    unit: str


def step_at(ladder: Sequence[Rung], clock: int) -> Step:
    """The step in force at a clock (ms): without a ladder stop, before the first rung report."""
    held: Step = "report" if ladder else "stop"
    for rung in ladder:
        if _ms(rung.since) > clock:
            break
        held = rung.step
    return held


def next_rung(ladder: Sequence[Rung], clock: int) -> int | None:
    """When the next step begins (ms): verdicts may change then although nothing comes."""
    return next((at for at in (_ms(rung.since) for rung in ladder) if at > clock), None)


def _ms(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def verdict_under(step: Step, would_be: Verdict) -> Verdict:
    """What a step makes of it: nothing is said more sharply than the step allows, and a warning stays a warning."""
    return min(would_be, MOST[step], key=VERDICTS.index)


def headroom(used: Decimal, limit: Decimal) -> Decimal:
    """What may still be used; never below zero."""
    return max(EXACT.subtract(limit, used), Decimal(0))


def share_of(used: Decimal, limit: Decimal) -> Decimal:
    """How much of a limit is used. Of a limit of 0 all is, before anything was used."""
    return EXACT.divide(used, limit) if limit else Decimal(1)


def percent_of(used: Decimal, limit: Decimal) -> Decimal:
    """`share_of` in percent with one decimal, never rounded up to a hundred."""
    exact = EXACT.multiply(share_of(used, limit), Decimal(100))
    shown = exact.quantize(Decimal("0.1"), context=EXACT)
    return Decimal("99.9") if exact < 100 <= shown else shown


def amount_text(amount: Decimal, unit: str, currency: str = "") -> str:
    """With its unit, for people: `32.8 USD`, `12,000 tokens`, `90s`."""
    match unit:
        case "cost":
            return f"{text(amount)} {currency}"
        case "elapsed":
            return duration_text(max(int(amount) // 1000, 1) * 1000)
        case _:
            return f"{amount:,f} {unit.replace('_', ' ')}"


def moment_text(ms: int) -> str:
    """To the minute, in UTC."""
    return (EPOCH + timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%MZ")
