"""Periods of budgets that have ended, from what is stored: what was used, and what a forecast would have said on the way."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget
from streams.watch.forecast import MOST_DAYS, Outlook, outlook
from streams.watch.periods import period_of
from streams.watch.scopes import key_of

UNITS = ("cost", "tokens", "events", "unpriced")  # that days of usage tell
ASKED = (Decimal("0.25"), Decimal("0.5"), Decimal("0.75"))  # of a period, when a forecast is asked for
UNDER_USED = Decimal("0.3")  # of the limit
ZERO = Decimal(0)


class Said(NamedTuple):
    """A forecast when `gone` of the period was over."""

    gone: Decimal
    outlook: Outlook


class Ended(NamedTuple):
    """One period of one scope, [start, end) in ms."""

    budget: Budget
    scope: str
    tenant: str
    start: int
    end: int
    used: Decimal
    said: tuple[Said, ...]

    def error(self, said: Said) -> float | None:
        """Of what was used, with its sign, as a share; None when nothing was."""
        return (said.outlook.mid - float(self.used)) / float(self.used) if self.used else None

    def held(self, said: Said) -> bool:
        """Whether the interval holds what came."""
        used = float(self.used)
        return said.outlook.low * (1 - 1e-9) <= used <= said.outlook.high * (1 + 1e-9)


def why_not(budget: Budget) -> str | None:
    """Why days of usage say nothing of this budget's periods."""
    if not isinstance(budget.period, Calendar):
        return "its window has no end"
    if budget.period.every == "hour":
        return "its hours are shorter than the days that are kept"
    if budget.unit not in UNITS or budget.buckets:
        return f"days of usage do not count {', '.join(budget.buckets) or budget.unit}"
    return None


def dimensions(budget: Budget) -> list[str]:
    """What `usage_by_day` is asked by for this budget."""
    return sorted({*budget.where, *budget.each} - {"tenant_id"})


def ended(budget: Budget, rows: Iterable[Mapping[str, Any]], first: date, now: int) -> list[Ended]:
    """Every period that lies whole between local day `first` and `now` (ms), by scope and time, from its first use on.

    rows: of `usage_by_day` by `dimensions(budget)`, in the budget's zone, from MOST_DAYS before `first` on
    """
    calendar = budget.period
    if not isinstance(calendar, Calendar) or why_not(budget):
        return []
    zone, names, found = ZoneInfo(calendar.zone), dimensions(budget), list[Ended]()
    scopes: dict[tuple[str, str], dict[date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for row in rows:
        values = dict(zip(names, row["values"], strict=True))
        fits = budget.tenant in {"*", row["tenant_id"]} and all(values[n] == v for n, v in budget.where.items())
        if fits and all(values.get(n, "-") for n in budget.each):
            each = [(n, values[n]) for n in budget.each if n != "tenant_id"]
            key = key_of(budget.id, row["tenant_id"], each)
            scopes[key, row["tenant_id"]][date.fromisoformat(row["day"])] += _amount(budget, row)
    for (key, tenant), days in sorted(scopes.items()):
        at, last = _midnight(max(first, min(days)), zone), now
        while (period := period_of(calendar, at))[1] <= last:
            start, end = period
            at = end
            if start >= _midnight(first, zone):
                found.append(_of(budget, key, tenant, start, end, days, zone))
    return found


def _amount(budget: Budget, row: Mapping[str, Any]) -> Decimal:
    match budget.unit:
        case "cost":
            return row["cost"] or ZERO if row["currency"] == budget.currency else ZERO
        case "tokens":
            return Decimal(int(row["tokens"]))
        case "unpriced":
            return Decimal(int(row["unpriced_events"]))
        case _:
            return Decimal(int(row["events"]))


def _of(
    budget: Budget, key: str, tenant: str, start: int, end: int, days: Mapping[date, Decimal], zone: ZoneInfo
) -> Ended:
    inside = _days(start, end, zone)
    used = sum((days.get(d, ZERO) for d in inside), ZERO)
    said = list[Said]()
    for gone in ASKED if len(inside) > 1 else ():
        whole = int(len(inside) * gone)
        today = inside[whole]
        since = max(min(days), today - timedelta(days=MOST_DAYS - 1))
        kept = [since + timedelta(days=i) for i in range((today - since).days)]
        history = [(_midnight(d, zone), days.get(d, ZERO)) for d in kept] + [(_midnight(today, zone), ZERO)]
        so_far = sum((days.get(d, ZERO) for d in inside[:whole]), ZERO)
        if one := outlook(history, start, end, so_far, budget.limit, _midnight(today, zone)):
            said.append(Said(gone, one))
    return Ended(budget, key, tenant, start, end, used, tuple(said))


def _days(start: int, end: int, zone: ZoneInfo) -> list[date]:
    first, after = (datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).date() for at in (start, end))
    return [first + timedelta(days=i) for i in range((after - first).days)]


def _midnight(day: date, zone: ZoneInfo) -> int:
    return int(datetime.combine(day, time(), zone).timestamp() * 1000)


def under_used(periods: Sequence[Ended]) -> list[tuple[str, list[Ended]]]:
    """Scopes whose every ended period used less than UNDER_USED of the limit, with those periods."""
    by_scope = defaultdict[str, list[Ended]](list)
    for one in periods:
        if one.budget.limit is not None:
            by_scope[one.scope].append(one)
    return [
        (scope, mine)
        for scope, mine in by_scope.items()
        if all(one.used < UNDER_USED * (one.budget.limit or ZERO) for one in mine)
    ]
