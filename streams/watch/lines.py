"""The limits of one scope as they stand now: one of a budget, one a measure of a run, each with what is left and a verdict.

A record of the watch is taken at its word as long as it holds. It no longer does when its period or life is over (nothing is
used of the next one), when its exception has ended, or when the ladder has moved on: then its figures are judged again.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from streams.watch.coverage import Cover
from streams.watch.exact import EXACT
from streams.watch.exceptions import Grant, exception_field, extra_of, uses
from streams.watch.packed_record import PackedRecord
from streams.watch.verdicts import percent_of

ALLOW, WARN, APPROVE, STOP = "allow", "warn", "require_approval", "stop"
VERDICTS = (ALLOW, WARN, APPROVE, STOP)
SEVERITY = {verdict: i for i, verdict in enumerate(VERDICTS)}
OF_STEP = {"report": ALLOW, "warn": WARN, "require_approval": APPROVE, "stop": STOP}
UNIT_OF = {"iterations": "events"}  # of a measure that limits a run, where its name is not its unit
ZERO = Decimal(0)
Asked = tuple[Decimal, str, str | None]  # amount, unit, currency


class Line(NamedTuple):
    """verdict: of what is used; asked: of that and the amount together; would_be: the same if it stopped at the limit.

    share: of the limit that is used; is_asked: the question is in its unit; is_over: its amount is more than
    what is left; is_current: the period goes on;
    is_held: the verdict is that of the watch's record
    """

    unit: str
    currency: str | None
    measure: str | None
    limit: Decimal | None
    used: Decimal
    headroom: Decimal | None
    share: Decimal
    percent: str | None
    verdict: str
    asked: str
    would_be: str
    reason: str
    is_asked: bool
    is_over: bool
    is_current: bool
    is_held: bool
    exception: dict[str, Any] | None


def worst(*verdicts: str) -> str:
    """The one that is obeyed."""
    return max(verdicts, key=SEVERITY.__getitem__)


def lines_of(
    cover: Cover,
    dimensions: Mapping[str, str],
    standing: PackedRecord | None,
    granted: Sequence[Grant],
    asked: Asked,
    now: int,
) -> Sequence[Line]:
    """The worst first. granted: exceptions in force that no record counts with."""
    if cover.kind == "budget":
        return [_budget(cover, dimensions, standing, granted, asked, now)]
    lines = _run(cover, standing, granted, asked, now)
    found = sorted(lines, key=lambda line: (-SEVERITY[line.asked], -line.share))
    known = (
        standing.verdict if standing and not _is_over(cover, standing, now) and not has_ended(standing, now) else ALLOW
    )
    if SEVERITY[known] > SEVERITY[found[0].verdict]:  # the watch knows more than the figures that it published
        found[0] = found[0]._replace(
            verdict=known, asked=worst(known, found[0].asked), would_be=worst(known, found[0].would_be)
        )
    return found


def _budget(
    cover: Cover,
    dimensions: Mapping[str, str],
    standing: PackedRecord | None,
    granted: Sequence[Grant],
    asked: Asked,
    now: int,
) -> Line:
    step = cover.step(now)
    if standing is None:
        limit, exception = _with_granted(cover.limit_of(dimensions), granted, ZERO)
        return _line(cover, cover.unit, None, limit, ZERO, step, asked, exception)
    is_over, is_ended = _is_over(cover, standing, now), has_ended(standing, now)
    has_moved = standing.step is not None and standing.step != step
    limit, exception = _decimal(standing.limit), standing.exception
    used = ZERO if is_over else Decimal(standing.used)
    if is_ended:
        limit, exception = _with_granted(_decimal(standing.base_limit), granted, used)
    guarded = not is_over and cover.guard is not None and standing.unpriced_tokens >= cover.guard
    held = None if is_over or is_ended or has_moved else standing
    line = _line(cover, standing.unit, None, limit, used, step, asked, exception, guarded, held)
    return line._replace(is_current=False) if is_over else line


def _with_granted(
    base: Decimal | None, granted: Sequence[Grant], used: Decimal
) -> tuple[Decimal | None, dict[str, Any] | None]:
    """A limit with what exceptions add to it, and those as they are shown."""
    if base is None or not granted:
        return base, None
    return EXACT.add(base, extra_of(granted)), exception_field(uses(granted, used, base))


def _is_over(cover: Cover, standing: PackedRecord, now: int) -> bool:
    return cover.has_end and standing.period_end is not None and now >= standing.period_end


def has_ended(standing: PackedRecord, now: int) -> bool:
    """Whether an exception that a record counts with is over, so that the watch will say something else."""
    return standing.until is not None and now >= standing.until


def _run(
    cover: Cover, standing: PackedRecord | None, granted: Sequence[Grant], asked: Asked, now: int
) -> Iterator[Line]:
    step, limits, exception = cover.step(now), dict(cover.limits), None
    if standing is not None and standing.limits and not has_ended(standing, now):
        limits, exception = {name: Decimal(limit) for name, limit in standing.limits.items()}, standing.exception
    begun = standing if standing is not None and not _is_over(cover, standing, now) else None
    if granted and "cost" in limits:
        used = Decimal(begun.used_by.get("cost", 0)) if begun else ZERO
        exception = exception_field(uses(granted, used, limits["cost"]))
        limits["cost"] = EXACT.add(limits["cost"], extra_of(granted))
    for name, limit in limits.items():
        used = Decimal(begun.used_by.get(name, 0)) if begun else ZERO
        if name == "elapsed" and begun and begun.period_start is not None:
            used = max(used, Decimal(now - begun.period_start))  # time passes although nothing comes
        line = _line(cover, UNIT_OF.get(name, name), name, limit, used, step, asked, exception)
        yield line._replace(is_held=begun is not None and name == begun.binding)


def _line(
    cover: Cover,
    unit: str,
    measure: str | None,
    limit: Decimal | None,
    used: Decimal,
    step: str,
    asked: Asked,
    exception: dict[str, Any] | None,
    guarded: bool = False,
    held: PackedRecord | None = None,
) -> Line:
    """held: the record that is taken at its word: its verdict, and what it says is left."""
    currency = cover.currency if unit == "cost" else None
    amount, asked_unit, asked_currency = asked
    is_asked = unit == asked_unit and (currency is None or asked_currency is None or asked_currency == currency)
    if limit is None:
        return Line(
            unit=unit,
            currency=currency,
            measure=measure,
            limit=None,
            used=used,
            headroom=None,
            share=ZERO,
            percent=None,
            verdict=ALLOW,
            asked=ALLOW,
            would_be=ALLOW,
            reason="limit",
            is_asked=is_asked,
            is_over=False,
            is_current=True,
            is_held=held is not None,
            exception=exception,
        )
    left = _decimal(held.headroom) if held is not None else ZERO if guarded else None
    if left is None:
        left = max(EXACT.subtract(limit, used), ZERO)
    reached = guarded or used >= limit
    if held is None:
        near = reached or used >= EXACT.multiply(limit, cover.warn_at)
        verdict = OF_STEP[step] if reached else WARN if near and step != "report" else ALLOW
        would_be = STOP if reached else WARN if near else ALLOW
    else:
        verdict, would_be = held.verdict, held.would_be or held.verdict
        guarded = guarded or (used < limit and SEVERITY[would_be] > SEVERITY[WARN])
    over = is_asked and bool(amount) and amount > left
    return Line(
        unit=unit,
        currency=currency,
        measure=measure,
        limit=limit,
        used=used,
        headroom=left,
        share=used / limit if limit else ZERO,
        percent=held.percent if held and held.percent else str(percent_of(used, limit)) if limit else None,
        verdict=verdict,
        asked=worst(verdict, OF_STEP[step]) if over else verdict,
        would_be=STOP if over else would_be,
        reason=_reason(measure, reached, over, guarded and used < limit),
        is_asked=is_asked,
        is_over=over,
        is_current=True,
        is_held=held is not None,
        exception=exception,
    )


def _reason(measure: str | None, reached: bool, over: bool, guarded: bool) -> str:
    """Why it blocks, if it does."""
    if over and not reached:
        return "amount"
    if guarded:
        return "guard"
    return "limit" if measure is None else "loop" if measure == "repeats" else measure


def _decimal(amount: str | None) -> Decimal | None:
    return None if amount is None else Decimal(amount)
