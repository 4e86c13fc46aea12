"""Budgets proposed from what was used: a baseline of 30 to 60 days, 110 to 120 % of it, with the evidence.

Decision: the baseline of a week, month or quarter is its mean day times its length; of a day it is the day that 95 % do not
exceed, since half of all days exceed the mean. Rare days far above the median are left out, and named.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_CEILING, Decimal
from statistics import median
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from clickhouse_connect.driver.client import Client

from streams.warehouse.queries import run_query

Unit = Literal["cost", "tokens"]
Period = Literal["day", "week", "month", "quarter"]
LEAST_DAYS, MOST_DAYS = 30, 60
LENGTHS: dict[Period, Decimal] = {  # days; 365.25 a year
    "day": Decimal(1),
    "week": Decimal(7),
    "month": Decimal("30.4375"),
    "quarter": Decimal("91.3125"),
}
BURST = 5  # times the median day
RARE = 20  # one day in so many may be left out
ZERO = Decimal(0)


class Used(NamedTuple):
    """One day of one scope."""

    amount: Decimal
    tokens: int
    events: int
    unpriced: int
    unpriced_tokens: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """A limit with its evidence; amounts are in `unit`, of money in `currency`.

    limit:    baseline x uplift, rounded up to three digits
    days:     that the baseline covers, those without use among them; used_days: those with
    trend:    mean day of the second half against the first, as a share; None when that had none
    unpriced: share of events without a price; unpriced_tokens: of them, in a mean period
    left_out: what is not in the baseline, and why
    """

    tenant: str
    where: dict[str, str]
    currency: str | None
    limit: Decimal
    baseline: Decimal
    mean: Decimal
    median: Decimal
    p95: Decimal
    largest: Decimal
    largest_on: date
    trend: Decimal | None
    first: date
    last: date
    last_used: date
    days: int
    used_days: int
    events: int
    unpriced: Decimal
    unpriced_tokens: int
    left_out: tuple[str, ...]
    is_short: bool

    @property
    def months(self) -> tuple[str, ...]:
        """The months that the baseline covers, in whole or in part."""
        found = dict.fromkeys(
            f"{self.first + timedelta(days=i):%Y-%m}" for i in range((self.last - self.first).days + 1)
        )
        return tuple(found)


class Found(NamedTuple):
    """events: of all; nameless: of them, those that lack a dimension of `by`, so that no proposal holds them.

    unpriced: scopes (tenant, where, events) of whose use nothing has a price: nothing can be proposed in money
    """

    proposals: list[Proposal]
    events: int
    nameless: int
    unpriced: list[tuple[str, dict[str, str], int]]

    @property
    def short(self) -> list[Proposal]:
        """Of fewer days than a baseline takes."""
        return [p for p in self.proposals if p.is_short]


def read_days(
    client: Client, by: Sequence[str], first: date, after: date, zone: str, tenants: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Rows of the query `usage_by_day` for local days [first, after)."""
    asked = {"by": list(by), "zone": zone, "tenants": list(tenants), **span(first, after, zone)}
    return run_query(client, "usage_by_day", asked)


def span(first: date, after: date, zone: str) -> dict[str, str]:
    """Parameters start and end of local days [first, after)."""
    local = (datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC) for day in (first, after))
    return dict(zip(("start", "end"), (f"{moment:%Y-%m-%d %H:%M:%S}" for moment in local), strict=True))


def propose(
    rows: Iterable[Mapping[str, Any]],
    by: Sequence[str],
    unit: Unit,
    period: Period,
    uplift: Decimal,
    first: date,
    after: date,
) -> Found:
    """A proposal for each value of `by` in each tenant and currency, the largest first.

    rows: of `usage_by_day`, days in [first, after), all of them over
    """
    scopes: dict[tuple[str, tuple[str, ...], str | None], dict[date, Used]] = defaultdict(dict)
    nameless, events, unpriced = 0, 0, list[tuple[str, dict[str, str], int]]()
    for key, days in _by_scope(rows, unit).items():
        count = sum(d.events for d in days.values())
        events += count
        if "" in key[1]:
            nameless += count
        elif any(d.amount for d in days.values()):
            scopes[key] = days
        elif unit == "cost" and any(d.unpriced for d in days.values()):
            unpriced.append((key[0], dict(zip(by, key[1], strict=True)), count))
    found = [_proposal(key, by, days, period, uplift, first, after) for key, days in scopes.items()]
    found.sort(key=lambda p: (p.tenant, p.currency or "", -p.baseline, *p.where.values()))
    return Found(found, events, nameless, unpriced)


def _by_scope(
    rows: Iterable[Mapping[str, Any]], unit: Unit
) -> dict[tuple[str, tuple[str, ...], str | None], dict[date, Used]]:
    """Days by tenant, values and, of money, currency. What has no price is counted with the scope's only currency."""
    kept: dict[tuple[str, tuple[str, ...]], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        kept[row["tenant_id"], tuple(row["values"])].append(row)
    found: dict[tuple[str, tuple[str, ...], str | None], dict[date, Used]] = {}
    for (tenant, values), mine in kept.items():
        currencies = sorted({r["currency"] for r in mine if r["currency"]})
        for currency in (currencies or [None]) if unit == "cost" else [None]:
            days: dict[date, Used] = {}
            for r in mine:
                if unit == "cost" and r["currency"] not in (currency, None):
                    continue
                amount = (r["cost"] or ZERO) if unit == "cost" else Decimal(int(r["tokens"]))
                unpriced = int(r["tokens"]) if r["currency"] is None else 0
                one = Used(amount, int(r["tokens"]), int(r["events"]), int(r["unpriced_events"]), unpriced)
                day = date.fromisoformat(r["day"])
                days[day] = _sum(days[day], one) if day in days else one
            found[tenant, values, currency] = days
    return found


def _sum(one: Used, other: Used) -> Used:
    return Used(
        one.amount + other.amount,
        one.tokens + other.tokens,
        one.events + other.events,
        one.unpriced + other.unpriced,
        one.unpriced_tokens + other.unpriced_tokens,
    )


def _proposal(
    key: tuple[str, tuple[str, ...], str | None],
    by: Sequence[str],
    used: dict[date, Used],
    period: Period,
    uplift: Decimal,
    first: date,
    after: date,
) -> Proposal:
    tenant, values, currency = key
    left_out = list[str]()
    begins = min(used)
    if begins > first:
        left_out.append(f"{(begins - first).days} days before its first use on {begins}")
    days = {begins + timedelta(days=i): ZERO for i in range((after - begins).days)}
    days.update({day: one.amount for day, one in used.items()})
    middle = median(days.values())
    bursts = sorted((d for d, a in days.items() if middle > 0 and a > BURST * middle), key=lambda d: -days[d])
    if len(bursts) * RARE <= len(days):
        for day in bursts:
            left_out.append(f"{day}: {short(days[day])} is {days[day] / middle:.1f} x the median day")
            del days[day]
    amounts = sorted(days.values())
    mean, p95 = sum(amounts, ZERO) / len(amounts), rank(amounts, Decimal("0.95"))
    baseline = p95 if period == "day" else mean * LENGTHS[period]
    events, unpriced = sum(u.events for u in used.values()), sum(u.unpriced for u in used.values())
    largest_on = max(used, key=lambda d: (used[d].amount, d))
    tokens = sum(u.unpriced_tokens for u in used.values())
    return Proposal(
        tenant=tenant,
        where=dict(zip(by, values, strict=True)),
        currency=currency,
        limit=rounded_up(baseline * uplift),
        baseline=baseline,
        mean=mean,
        median=median(amounts),
        p95=p95,
        largest=used[largest_on].amount,
        largest_on=largest_on,
        trend=_trend([days[d] for d in sorted(days)]),
        first=begins,
        last=after - timedelta(days=1),
        last_used=max(d for d, u in used.items() if u.amount),
        days=len(days),
        used_days=sum(a > 0 for a in days.values()),
        events=events,
        unpriced=Decimal(unpriced) / events,
        unpriced_tokens=int(tokens * LENGTHS[period] / (after - begins).days),
        left_out=tuple(left_out),
        is_short=(after - begins).days < LEAST_DAYS,
    )


def rank(ascending: Sequence[Decimal], share: Decimal) -> Decimal:
    """The smallest that `share` of them do not exceed."""
    return ascending[max(0, int((len(ascending) * share).to_integral_value(ROUND_CEILING)) - 1)]


def _trend(in_order: Sequence[Decimal]) -> Decimal | None:
    half = len(in_order) // 2
    before, since = sum(in_order[:half], ZERO), sum(in_order[-half:], ZERO) if half else ZERO
    return since / before - 1 if before else None


def rounded_up(amount: Decimal) -> Decimal:
    """To three digits that count."""
    if amount <= 0:
        return ZERO
    step = Decimal(1).scaleb(amount.adjusted() - 2)
    return (amount / step).to_integral_value(ROUND_CEILING) * step


def short(amount: Decimal) -> str:
    """For people: two decimals, thousands apart; small ones with two digits that count."""
    if abs(amount) >= 1 or not amount:
        return f"{amount:,.2f}".removesuffix(".00")
    return f"{amount:.2g}" if abs(amount) >= Decimal("0.0001") else f"{Decimal(f'{amount:.2g}'):f}"
