"""Which budgets and run limits cover a question, and under which scope keys; compiled once a catalog."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from streams.catalog.limits import Budget, Exemption, Rolling, RunLimits
from streams.catalog.models import Catalog
from streams.watch.commands import Commands
from streams.watch.exact import EXACT
from streams.watch.exceptions import Grant, Grants, grants
from streams.watch.scopes import OTHERS, dimensions_of, key_of, rule_of

EVERYBODY = "*"
TENANT = "tenant_id"
MEASURES = ("iterations", "tool_calls", "tokens", "retries", "elapsed", "cost", "repeats")  # what limits a run


class ScopeUnreadable(ValueError):
    """A scope key that is none; the message says how one looks."""


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
    has_end: bool = False  # its period or life is over at some moment: then nothing is used of the next one

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
    exemptions: tuple[Exemption, ...] = ()
    grants: Grants = field(default_factory=lambda: Grants({}))

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

    def in_force(self, cover: Cover, dimensions: Mapping[str, str], now: int) -> Sequence[Grant]:
        """Exceptions that add to the limit of one scope."""
        if not self.grants.by_budget:
            return ()
        if cover.split:
            dimensions = {**dimensions, cover.split: cover.listed(dimensions.get(cover.split))}
        return self.grants.in_force(cover.id, dimensions[TENANT], dimensions, now)

    def with_commands(self, commands: Commands) -> "Coverage":
        """The same, with the exceptions that people approved."""
        return replace(self, grants=grants(self.exemptions, commands))


def coverage_of(catalog: Catalog) -> Coverage:
    """Of every budget and every run limit, with the catalog's own exceptions."""
    covers = {b.id: _of_budget(b) for b in catalog.budgets} | {r.id: _of_run(r) for r in catalog.runs}
    of_tenant = defaultdict[str, list[Cover]](list)
    for cover in covers.values():
        of_tenant[cover.tenant].append(cover)
    of_all = tuple(of_tenant.pop(EVERYBODY, ()))
    own = {k: tuple(v) for k, v in of_tenant.items()}
    return Coverage(covers, own, of_all, catalog.exceptions).with_commands(Commands())


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
        has_end=not isinstance(budget.period, Rolling),
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
        has_end=True,
    )


def _without_tenant(each: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in each if name != TENANT)


def parse_key(key: str) -> tuple[str, dict[str, str]]:
    """Id and dimensions of a scope key that somebody wrote; ScopeUnreadable says how one looks."""
    try:
        name, dims = rule_of(key), dimensions_of(key)
        again = key_of(name, dims[TENANT], [(k, v) for k, v in dims.items() if k != TENANT])
    except (KeyError, ValueError):
        again = None
    if again != key:
        raise ScopeUnreadable(f"scope {key}: is no key of a scope; write it as budget|tenant_id=acme|team=search")
    return name, dims
