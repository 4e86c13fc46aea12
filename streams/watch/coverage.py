"""Which budgets and run limits cover a question, and under which scope keys; compiled once a catalog."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, Exemption, RunLimits
from streams.catalog.models import Catalog
from streams.watch.scopes import key_of
from streams.watch.windows import EXACT

EVERYBODY = "*"
OTHERS = "*"  # of a split: all values that it does not list, together
TENANT = "tenant_id"
MEASURES = ("iterations", "tool_calls", "tokens", "retries", "elapsed", "cost", "repeats")  # what limits a run


class ScopeUnreadable(ValueError):
    """A scope key that is none; the message says how one looks."""


@dataclass(frozen=True, slots=True)
class Extra:
    """What an exception adds to the limit of the scopes that it is for, `[starts, expires)` in ms."""

    id: str
    budget: str
    tenant: str
    where: tuple[tuple[str, str], ...]
    extra: Decimal
    starts: int
    expires: int


@dataclass(frozen=True, slots=True)
class Cover:
    """A budget or the limits of a run, as a check needs it.

    each:    dimensions that make a scope, without the tenant, the one that splits last
    shares:  of the limit by value of `split`; what is not listed there counts together as `*`
    ladder:  (ms from which it holds, step), rising
    limits:  what limits a run, by measure; a budget has one limit, in `unit`
    """

    id: str
    kind: str
    tenant: str
    where: tuple[tuple[str, str], ...]
    each: tuple[str, ...]
    unit: str
    currency: str
    limit: Decimal | None
    warn_at: Decimal
    ladder: tuple[tuple[int, str], ...]
    fail: str
    stale_after: int
    text: str
    parent: str | None = None
    split: str = ""
    shares: Mapping[str, Decimal] = field(default_factory=dict)
    limits: Mapping[str, Decimal] = field(default_factory=dict)
    guard: int | None = None
    is_calendar: bool = False

    def key(self, dimensions: Mapping[str, str], is_whole: bool = True) -> str | None:
        """The scope that these dimensions belong to; None where they do not, or do not say enough.

        is_whole: they are all that an event says, so that one without the dimension that splits is of the others
        """
        tenant = dimensions.get(TENANT)
        if tenant is None or (self.tenant not in {EVERYBODY, tenant}):
            return None
        for name, value in self.where:
            if dimensions.get(name) != value:
                return None
        values = []
        for name in self.each:
            said = dimensions.get(name)
            if said is None and (name != self.split or not is_whole):
                return None
            values.append((name, self.listed(said) if name == self.split else said or ""))
        return key_of(self.id, tenant, values)

    def listed(self, value: str | None) -> str:
        """A value of the dimension that splits, as its scope names it."""
        return OTHERS if value is None or value not in self.shares else value

    def limit_of(self, dimensions: Mapping[str, str]) -> Decimal | None:
        """Of one scope, without exceptions; None: nothing is capped."""
        if self.limit is None or not self.split:
            return self.limit
        share = self.shares.get(self.listed(dimensions.get(self.split)))
        return None if share is None else EXACT.multiply(self.limit, share)

    def step(self, now: int) -> str:
        """The rung that holds: without a ladder it stops, before the first rung it reports."""
        if not self.ladder:
            return "stop"
        return next((step for since, step in reversed(self.ladder) if since <= now), "report")


@dataclass(frozen=True, slots=True)
class Coverage:
    """Everything that caps, by id and by tenant."""

    covers: Mapping[str, Cover]
    of_tenant: Mapping[str, tuple[Cover, ...]]
    of_all: tuple[Cover, ...]
    extras: Mapping[str, tuple[Extra, ...]] = field(default_factory=dict)  # by budget

    def matching(self, dimensions: Mapping[str, str]) -> Iterator[tuple[Cover, str]]:
        """Each that covers these dimensions, with the key of its scope."""
        for covers in (self.of_tenant.get(dimensions.get(TENANT, ""), ()), self.of_all):
            for cover in covers:
                if (key := cover.key(dimensions)) is not None:
                    yield cover, key

    def parent(self, cover: Cover, dimensions: Mapping[str, str], is_whole: bool) -> tuple[Cover, str] | None:
        """The parent of a scope and the key of its own scope; None where there is none, or the scope says too little."""
        above = self.covers.get(cover.parent or "")
        if above is None:
            return None
        if not is_whole and cover.split and cover.split != above.split and dimensions.get(cover.split) == OTHERS:
            dimensions = {
                k: v for k, v in dimensions.items() if k != cover.split
            }  # many values are none of the parent's
        key = above.key(dimensions, is_whole)
        return None if key is None else (above, key)

    def exception(self, cover: Cover, dimensions: Mapping[str, str], now: int) -> Extra | None:
        """The exceptions in force for one scope, as one: together what they add, until the first of them ends."""
        held = [
            e
            for e in self.extras.get(cover.id, ())
            if e.starts <= now < e.expires
            and e.tenant == dimensions[TENANT]
            and all(dimensions.get(name) == value for name, value in e.where)
        ]
        if len(held) < 2:
            return held[0] if held else None
        first = min(held, key=lambda e: e.expires)
        total = sum((e.extra for e in held), Decimal(0))
        return Extra(first.id, first.budget, first.tenant, first.where, total, first.starts, first.expires)

    def with_extras(self, extras: Iterable[Extra]) -> "Coverage":
        """The same with these exceptions."""
        found = defaultdict[str, list[Extra]](list)
        for one in extras:
            found[one.budget].append(one)
        return Coverage(self.covers, self.of_tenant, self.of_all, {k: tuple(v) for k, v in found.items()})


def coverage_of(catalog: Catalog) -> Coverage:
    """Of every budget and every run limit, with the catalog's own exceptions."""
    covers = {b.id: _of_budget(b) for b in catalog.budgets} | {r.id: _of_run(r) for r in catalog.runs}
    of_tenant = defaultdict[str, list[Cover]](list)
    for cover in covers.values():
        of_tenant[cover.tenant].append(cover)
    of_all = tuple(of_tenant.pop(EVERYBODY, ()))
    found = Coverage(covers, {k: tuple(v) for k, v in of_tenant.items()}, of_all)
    return found.with_extras(map(extra_of, catalog.exceptions))


def extra_of(exemption: Exemption) -> Extra:
    """An exception of the catalog, or one that was approved, as a check needs it."""
    return Extra(
        exemption.id,
        exemption.budget,
        exemption.tenant,
        tuple(exemption.where.items()),
        exemption.extra,
        int(exemption.starts.timestamp() * 1000),
        int(exemption.expires.timestamp() * 1000),
    )


def _of_budget(budget: Budget) -> Cover:
    split = budget.split
    return Cover(
        id=budget.id,
        kind="budget",
        tenant=budget.tenant,
        where=tuple(sorted(budget.where.items())),
        each=(*_without_tenant(budget.each), *((split.by,) if split else ())),
        unit=budget.unit,
        currency=budget.currency if budget.unit == "cost" else "",
        limit=budget.limit,
        warn_at=budget.thresholds[0],
        ladder=tuple((int(r.since.timestamp() * 1000), r.step) for r in budget.ladder),
        fail=budget.fail,
        stale_after=budget.stale_after,
        text=budget.text,
        parent=budget.parent,
        split=split.by if split else "",
        shares=dict(split.shares) if split else {},
        guard=budget.guard_tokens,
        is_calendar=isinstance(budget.period, Calendar),
    )


def _of_run(run: RunLimits) -> Cover:
    limits = {name: limit for name in MEASURES if (limit := getattr(run, name)) is not None}
    return Cover(
        id=run.id,
        kind="run",
        tenant=run.tenant,
        where=tuple(sorted(run.where.items())),
        each=_without_tenant(run.each),
        unit="",
        currency=run.currency,
        limit=None,
        warn_at=run.warn_at,
        ladder=((0, run.step),),
        fail=run.fail,
        stale_after=run.stale_after,
        text=run.text,
        limits={name: Decimal(limit) for name, limit in limits.items()},
    )


def _without_tenant(each: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in each if name != TENANT)


def parse_key(key: str) -> tuple[str, dict[str, str]]:
    """Id and dimensions of a scope key, the tenant among them; ScopeUnreadable says how one looks."""
    found, name = dict[str, str](), ""
    parts, part, escaped = list[str](), "", False
    for sign in key + "|":
        if escaped:
            part, escaped = part + sign, False
        elif sign == "\\":
            escaped = True
        elif sign == "=" and parts and not name:
            name, part = part, ""
        elif sign == "|":
            if parts:
                found[name] = part
            else:
                parts.append(part)
            name, part = "", ""
        else:
            part += sign
    if escaped or "" in found or list(found)[:1] != [TENANT]:
        raise ScopeUnreadable(f"scope {key}: is no key of a scope; write it as budget|tenant_id=acme|team=search")
    return parts[0], found
