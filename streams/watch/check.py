"""May this be spent? The catalog's limits and the newest records of usage.budgets in, one answer out. Pure, in microseconds.

The verdict is the worst of all scopes that cover a question and of their parents: allow < warn < require_approval < stop.
A child cannot spend what its parent lacks, so headroom is the least on the way up. What is known is too old when more than
`stale_after` lies between now and the moment up to which everything is in: then the budget's `fail` decides. `open` assumes
that the limit is not reached, `closed` that it is, so that a budget whose ladder only reports never blocks.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import msgspec

from streams.watch import alerts
from streams.watch.coverage import Cover, Coverage, parse_key
from streams.watch.enforcement import scope_text
from streams.watch.lines import ALLOW, APPROVE, OF_STEP, SEVERITY, ZERO, Line, has_ended, lines_of, worst
from streams.watch.packed_record import PackedRecord

instant = lru_cache(maxsize=8192)(alerts.instant)
text = alerts.text
INFINITE = Decimal("Infinity")


class UnknownScope(LookupError):
    """A scope of no budget and no run limit; the message says so."""


class CurrencyUnclear(ValueError):
    """An amount whose currency the budgets in question do not share."""


class Question(NamedTuple):
    """dimensions: what is known of a request, as its event will say it; or scopes: keys, as records name them.

    amount: what the caller intends to spend, in `unit`; currency: of a cost, None: of whichever budget
    """

    dimensions: Mapping[str, str]
    scopes: tuple[str, ...] = ()
    amount: Decimal = ZERO
    unit: str = "cost"
    currency: str | None = None


class Knowledge(Protocol):
    """What a door knows: the last record of each scope, and how far the watch has come."""

    def standing(self, scope: str) -> PackedRecord | None:
        """The newest record; None: nothing was used yet."""

    def fresh_ms(self, scope: str) -> int | None:
        """Everything that the broker had at this moment is in; None: nobody can say."""

    def clock(self, scope: str) -> int:
        """Event time, in ms, up to which the watch of the scope's partition has come."""


class Finding(msgspec.Struct, frozen=True, gc=False):
    """One scope in an answer. `headroom` is the least of its own and its parents'; amounts are decimal strings.

    measure:     of a run, which of its limits is nearest
    stop_reason: of what blocks: limit, amount (only with what is intended), guard, stale, loop, or a run's measure
    degraded:    what is known is older than tolerated, `fail` decided
    """

    scope: str
    budget_id: str
    kind: str
    verdict: str
    would_be: str
    step: str
    unit: str
    currency: str | None
    limit: str | None
    used: str | None
    headroom: str | None
    percent: str | None
    measure: str | None
    parent: str | None
    stop_reason: str | None
    text: str
    exception: dict[str, Any] | None
    forecast: dict[str, Any] | None
    period_end: str | None
    as_of: str
    staleness_ms: int | None
    degraded: bool
    fail: str
    sources: dict[str, int]


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The whole answer; from `limit` on it is said of `binding`, the scope that decides. `scopes` has all, the worst first.

    allowed:  how much of the amount may be spent; without an amount how much at most, null: nothing caps it
    headroom: the least that is left in the unit asked, whether its step enforces it or not
    """

    verdict: str
    degraded: bool
    amount: str
    unit: str
    allowed: str | None
    headroom: str | None
    binding: str | None
    limit: str | None
    used: str | None
    percent: str | None
    forecast: dict[str, Any] | None
    text: str
    exception: dict[str, Any] | None
    as_of: str | None
    staleness_ms: int | None
    stop_reason: str | None
    sources: dict[str, int]
    scopes: Sequence[Finding]


class Place(NamedTuple):
    """A scope that a question is about; `dimensions` are all that is known of it."""

    cover: Cover
    key: str
    dimensions: Mapping[str, str]
    parent: str | None


class Judged(NamedTuple):
    """A scope with its limits as they stand; `lines` the worst first."""

    place: Place
    standing: PackedRecord | None
    lines: Sequence[Line]
    step: str
    staleness: int | None
    is_stale: bool

    def verdict(self) -> str:
        """What is known, or what `fail` says where that is too old."""
        if not self.is_stale:
            return self.lines[0].asked
        caps = any(line.limit is not None for line in self.lines)
        return OF_STEP[self.step] if caps and self.place.cover.fail == "closed" else ALLOW

    def binds(self, line: Line) -> bool:
        """Does this line keep anybody from spending more than its headroom?"""
        return SEVERITY[OF_STEP[self.step]] >= SEVERITY[APPROVE] and not (
            self.is_stale and self.place.cover.fail == "open"
        )


def check(coverage: Coverage, known: Knowledge, question: Question, now: int) -> Answer:
    """now: ms since the epoch. Raises UnknownScope, and ScopeUnreadable for what is no key."""
    judged = {place.key: _judge(place, coverage, known, question, now) for place in places(coverage, question)}
    ranked = sorted(judged.values(), key=_rank)
    return _answer(ranked, [_finding(j, judged, question, known, now) for j in ranked], question)


def places(coverage: Coverage, question: Question) -> Iterator[Place]:
    """Each scope that the question is about and every parent of it, once."""
    waiting = [(cover, key, question.dimensions) for cover, key in coverage.matching(question.dimensions)]
    waiting.extend(_named(coverage, key) for key in question.scopes)
    seen = set[str]()
    while waiting:
        cover, key, dims = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        above = coverage.parent(cover, dims, is_whole=dims is question.dimensions) if cover.parent else None
        yield Place(cover, key, dims, above[1] if above else None)
        if above:
            whole = dims if dims is question.dimensions else {**dims, **dict(above[0].where)}
            waiting.append((*above, whole))


def _named(coverage: Coverage, key: str) -> tuple[Cover, str, Mapping[str, str]]:
    name, dims = parse_key(key)
    cover = coverage.covers.get(name)
    if cover is None:
        raise UnknownScope(f"scope {key}: no budget and no run limit is called {name}; take one that the catalog has")
    dims |= dict(cover.where)
    if cover.key(dims, is_whole=False) != key:
        form = "|".join([name, f"tenant_id={cover.tenant}", *(f"{n}=..." for n in cover.each)])
        raise UnknownScope(f"scope {key}: {name} has none like it; write it as {form}")
    return cover, key, dims


def _judge(place: Place, coverage: Coverage, known: Knowledge, question: Question, now: int) -> Judged:
    cover, standing = place.cover, known.standing(place.key)
    granted = () if standing and not has_ended(standing, now) else coverage.in_force(cover, place.dimensions, now)
    asked = question.amount, question.unit, question.currency
    lines = lines_of(cover, place.dimensions, standing, granted, asked, now)
    fresh = known.fresh_ms(place.key)
    staleness = None if fresh is None else max(now - fresh, 0)
    is_stale = staleness is None or staleness > cover.stale_after
    return Judged(place, standing, lines, cover.step(now), staleness, is_stale)


def _rank(judged: Judged) -> tuple[int, Decimal, Decimal, str]:
    """The scope that decides comes first: the worst verdict, then what has the least left in the unit asked."""
    line = judged.lines[0]
    left = line.headroom if line.is_asked and line.headroom is not None else INFINITE
    return -SEVERITY[judged.verdict()], left, -line.share, judged.place.key


def _finding(judged: Judged, all_: Mapping[str, Judged], question: Question, known: Knowledge, now: int) -> Finding:
    place, standing, line = judged.place, judged.standing, judged.lines[0]
    cover, verdict = place.cover, judged.verdict()
    blocks = SEVERITY[verdict] >= SEVERITY[APPROVE]
    reason = ("stale" if judged.is_stale else line.reason) if blocks else None
    left = _headroom(judged, line, all_)
    exception = line.exception
    return Finding(
        scope=place.key,
        budget_id=cover.id,
        kind=cover.kind,
        verdict=verdict,
        would_be=worst(line.would_be, verdict),
        step=judged.step,
        unit=line.unit,
        currency=line.currency,
        limit=None if line.limit is None else text(line.limit),
        used=text(line.used),
        headroom=None if left is None else text(left),
        percent=line.percent,
        measure=line.measure,
        parent=place.parent,
        stop_reason=reason,
        text=_said(judged, line, reason, question),
        exception=exception,
        forecast=standing.forecast if standing and line.is_current else None,
        period_end=instant(standing.period_end) if standing and standing.period_end and line.is_current else None,
        as_of=instant(standing.as_of if standing else known.clock(place.key)),
        staleness_ms=judged.staleness,
        degraded=judged.is_stale,
        fail=cover.fail,
        sources=standing.sources if standing else {},
    )


def _headroom(judged: Judged, line: Line, all_: Mapping[str, Judged]) -> Decimal | None:
    """The least that is left of this line and, in the same unit, of the scopes above."""
    least, seen = line.headroom, {judged.place.key}
    while (above := judged.place.parent) is not None and above not in seen:  # a catalog that was applied has no circle
        seen.add(above)
        judged = all_[above]
        for other in judged.lines:
            if (other.unit, other.currency) == (line.unit, line.currency):
                least = _least(least, other.headroom)
    return least


def _least(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return other if one is None else one if other is None else min(one, other)


def _said(judged: Judged, line: Line, reason: str | None, question: Question) -> str:
    """One sentence for whoever is told; people's own words where a limit is reached and they wrote some."""
    cover, key = judged.place.cover, judged.place.key
    if judged.is_stale:
        age = "unknown" if judged.staleness is None else f"{judged.staleness / 1000:.0f} s"
        tolerated = f"{cover.stale_after / 1000:g} s"
        return f"{key}: what is known is too old (age {age}, {tolerated} are tolerated), so it fails {cover.fail}"
    if reason and cover.text:
        return cover.text
    if judged.standing and judged.standing.text and line.is_held and not line.is_over:
        return judged.standing.text
    unit = line.currency or line.measure or line.unit
    if line.limit is None:
        return f"{key}: {text(line.used)} {unit} used, no limit"
    used = f"{scope_text(key) if reason else key}: {text(line.used)} of {text(line.limit)} {unit} used"
    match reason:
        case "amount":
            return f"{used}, {text(question.amount)} more are over the limit"
        case "guard":
            return f"{used}, but too many tokens have no price"
        case "loop":
            return f"{used}: the same call again and again"
    return used


def _answer(ranked: Sequence[Judged], findings: Sequence[Finding], question: Question) -> Answer:
    currencies = {line.currency for judged in ranked for line in judged.lines if line.is_asked}
    if len(currencies) > 1 and question.amount:
        said = ", ".join(sorted(c for c in currencies if c))
        raise CurrencyUnclear(f"currency is missing: the budgets in question are in {said}; say which the amount is in")
    headroom, most = None, None  # what is left; what may be spent
    for judged in ranked:
        for line in judged.lines:
            if line.is_asked and len(currencies) == 1:
                headroom = _least(headroom, line.headroom)
                if judged.binds(line):
                    most = _least(most, line.headroom)
            if judged.binds(line) and SEVERITY[line.verdict] >= SEVERITY[APPROVE]:
                most = ZERO  # reached already, in whatever unit
        if judged.is_stale and SEVERITY[judged.verdict()] >= SEVERITY[APPROVE]:
            most = ZERO
    if question.amount:
        most = question.amount if most is None else min(most, question.amount)
    first = findings[0] if findings else None
    ages = [j.staleness for j in ranked]
    return Answer(
        verdict=first.verdict if first else ALLOW,
        degraded=any(f.degraded for f in findings),
        amount=text(question.amount),
        unit=question.unit,
        allowed=None if most is None else text(most),
        headroom=None if headroom is None else text(headroom),
        binding=first.scope if first else None,
        limit=first.limit if first else None,
        used=first.used if first else None,
        percent=first.percent if first else None,
        forecast=first.forecast if first else None,
        text=first.text if first else "no budget and no run limit covers this",
        exception=first.exception if first else None,
        as_of=first.as_of if first else None,
        staleness_ms=None if not ages or None in ages else max(a for a in ages if a is not None),
        stop_reason=first.stop_reason if first else None,
        sources=first.sources if first else {},
        scopes=findings,
    )
