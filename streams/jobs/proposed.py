"""Proposals as a catalog file that can be applied as it is: TOML with the evidence in its comments."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal

from streams.catalog.durations import duration_text
from streams.jobs.baseline import Period, Proposal, Unit, short
from streams.jobs.run_sizes import STEPS, RunProposal
from streams.watch.alerts import text

WARN_AFTER_DAYS = 30  # of reports first
IDLE = timedelta(days=14)
HEAD = """\
# Proposed by `{command}` on {day}, from usage of {first} to {last}.
# Put it into your catalog folder; `usage-streams apply FOLDER --dry-run` shows what it changes. It stops nobody: budgets report
# at first and warn from the second date on. When its figures are trusted, add
# {{ step = "require_approval", since = ... }} or "stop".
"""


def quoted(value: str) -> str:
    """A TOML string."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def slug(words: Iterable[str]) -> str:
    """An id as the catalog takes it."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")[:80].strip("-") or "scope"


class Ids:
    """Names of proposals, each once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = set(taken)

    def of(self, words: Iterable[str]) -> str:
        """The slug, with a number where another has it."""
        base = found = slug(words)
        number = 1
        while found in self.taken:
            number += 1
            found = f"{base}-{number}"
        self.taken.add(found)
        return found


def percent(share: Decimal | None) -> str:
    """With its sign where it has one to show."""
    return "unknown" if share is None else f"{share * 100:+.0f} %"


def evidence(p: Proposal, period: Period, uplift: Decimal) -> Iterator[str]:
    """What the figure rests on, a line each."""
    what = (
        f"the day that 95 % do not exceed, {short(p.baseline)}"
        if period == "day"
        else f"a mean {period}, {short(p.baseline)}"
    )
    yield f"{text(p.limit)} = {what} x {text(uplift)}, rounded up"
    yield (
        f"a day: mean {short(p.mean)}, median {short(p.median)}, p95 {short(p.p95)};"
        f" largest {short(p.largest)} on {p.largest_on}"
    )
    yield (
        f"{p.days} days from {p.first} to {p.last} ({', '.join(p.months)}), {p.used_days} of them with use;"
        f" {p.events:,} events; second half against first {percent(p.trend)}"
    )
    if p.unpriced:
        yield (
            f"{p.unpriced * 100:.2g} % of the events have no price: the figure is too low;"
            f" {p.unpriced_tokens:,} tokens a {period} went unpriced"
        )
    if p.last - p.last_used > IDLE:
        yield f"not used since {p.last_used}: perhaps nobody needs it any more"
    for one in p.left_out:
        yield f"left out: {one}"
    if p.is_short:
        yield "fewer than 30 days: a guess, not a baseline"


def budgets_toml(
    found: Sequence[Proposal],
    command: str,
    unit: Unit,
    period: Period,
    zone: str,
    uplift: Decimal,
    day: date,
    taken: Iterable[str] = (),
) -> str:
    """[[budgets]] with their evidence; `day`: from which on they report."""
    ids, several, warns = Ids(taken), len({p.tenant for p in found}) > 1, day + timedelta(days=WARN_AFTER_DAYS)
    first, last = min(p.first for p in found), max(p.last for p in found)
    parts = [HEAD.format(command=command, day=day, first=first, last=last)]
    twice = {(p.tenant, *p.where.values()) for p in found}
    for p in found:
        names = [*([p.tenant] if several else []), *(p.where.values() or [p.tenant]), unit if unit == "tokens" else ""]
        names += [p.currency or ""] if len(twice) < len(found) and unit == "cost" else []
        lines = [f"# {line}" for line in evidence(p, period, uplift)]
        lines += [
            "[[budgets]]",
            f"id = {quoted(ids.of([*filter(None, names), period]))}",
            f"tenant = {quoted(p.tenant)}",
        ]
        if p.where:
            lines.append(f"where = {{ {', '.join(f'{_key(n)} = {quoted(v)}' for n, v in p.where.items())} }}")
        lines.append(f"unit = {quoted(unit)}")
        if p.currency:
            lines.append(f"currency = {quoted(p.currency)}")
        lines += [
            f"limit = {quoted(text(p.limit))}",
            f'period = {{ kind = "calendar", every = {quoted(period)}, zone = {quoted(zone)} }}',
            'thresholds = ["0.8", "1.0"]',
            f'ladder = [{{ step = "report", since = {day} }}, {{ step = "warn", since = {warns} }}]',
        ]
        if p.unpriced_tokens and unit == "cost":
            lines.append(
                f"# guard_tokens = {max(1, 2 * p.unpriced_tokens)} # so many unpriced tokens count as the limit reached"
            )
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def run_evidence(p: RunProposal, uplift: Decimal) -> Iterator[str]:
    """Percentiles behind the limits, a line each."""
    yield (
        f"{p.runs:,} of {p.each} that ended, {p.events:,} events; {p.open:,} more still went on;"
        f" p99 x {text(uplift)}, rounded up"
    )
    for name, sizes in p.sizes.items():
        if name in p.limits:
            of = f" {p.currency}, of {p.priced:,} with a price throughout" if name == "cost" else ""
            shown = [lasting(int(v)) if name == "elapsed_ms" else short(v) for v in sizes]
            yield f"{name.removesuffix('_ms')}: p50 {shown[0]}, p95 {shown[1]}, p99 {shown[2]}, largest {shown[3]}{of}"
    if "cost" not in p.sizes and p.priced:
        yield "no limit in money: it is in several currencies"
    if p.is_short:
        yield "fewer than 100: a guess, not a percentile"


def lasting(ms: int) -> str:
    """About how long, as limits write it."""
    step = next(size for size, upto in STEPS if ms <= upto)
    return duration_text(round(ms / step) * step) if ms >= 500 else "0s"


def shown_limit(name: str, limit: Decimal, currency: str | None) -> str:
    """For people."""
    match name:
        case "elapsed_ms":
            return duration_text(int(limit))
        case "cost":
            return f"{short(limit)} {currency}"
        case _:
            return f"{int(limit):,}"


def runs_toml(
    found: Sequence[RunProposal],
    command: str,
    uplift: Decimal,
    first: date,
    day: date,
    taken: Iterable[str] = (),
) -> str:
    """[[runs]] with their evidence. They warn; `step = "stop"` is for when their figures are trusted."""
    ids, several = Ids(taken), len({p.tenant for p in found}) > 1
    parts = [
        f"# Proposed by `{command}` on {day}, from usage since {first}.\n"
        "# Put it into your catalog folder; `usage-streams apply FOLDER --dry-run` shows what it changes.\n"
        "# It warns and stops nobody.\n"
    ]
    for p in found:
        names = [*([p.tenant] if several else []), *(p.where.values() or [p.tenant]), p.each.removesuffix("_id")]
        lines = [f"# {line}" for line in run_evidence(p, uplift)]
        lines += ["[[runs]]", f"id = {quoted(ids.of(names))}", f"tenant = {quoted(p.tenant)}"]
        if p.where:
            lines.append(f"where = {{ {', '.join(f'{_key(n)} = {quoted(v)}' for n, v in p.where.items())} }}")
        lines.append(f"each = [{quoted(p.each)}]")
        for name, limit in p.limits.items():
            match name:
                case "elapsed_ms":
                    lines.append(f"elapsed = {quoted(duration_text(int(limit)))}")
                case "cost":
                    lines += [f"cost = {quoted(text(limit))}", f"currency = {quoted(p.currency or '')}"]
                case _:
                    lines.append(f"{name} = {int(limit)}")
        lines.append('step = "warn" # later "require_approval" or "stop"')
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _key(name: str) -> str:
    """A dimension as a TOML key: the point of attributes.KEY would make a table."""
    return name if re.fullmatch(r"\w+", name) else quoted(name)
