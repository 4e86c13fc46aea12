"""Exceptions from budgets: who may spend how much more at a clock, what of it was used, which is open past its reason. Pure.

Those of the catalog and those that people requested and approved at runtime are the same thing. Each ends by itself when it
expires; while it holds its `extra` is added to the limit of every scope that it names.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from streams.catalog.alerting import Rule
from streams.catalog.limits import Exemption
from streams.catalog.limits_problems import TENANT
from streams.watch.alerts import instant, text
from streams.watch.commands import Case, Commands, ms_of
from streams.watch.conditions import Condition
from streams.watch.exact import EXACT
from streams.watch.scopes import key_of

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Grant:
    """An exception that somebody approved. Times in ms; it holds in `[starts, expires)` unless it was revoked."""

    id: str
    budget: str
    tenant: str
    where: Mapping[str, str]
    extra: Decimal
    starts: int
    expires: int
    reason_ends: int | None
    review: int | None
    justification: str
    workload_class: str
    tier: str
    requested_by: str
    approver: str
    source: str  # catalog, or command

    @property
    def due(self) -> int | None:
        """From when on somebody must look at it: its reason is over, or its review is due."""
        return min((at for at in (self.reason_ends, self.review) if at is not None), default=None)

    def is_for(self, budget: str, tenant: str, dimensions: Mapping[str, str]) -> bool:
        """Whether it adds to the limit of this scope."""
        return (
            self.budget == budget
            and self.tenant in {"*", tenant}
            and all(dimensions.get(name) == value for name, value in self.where.items())
        )


class Use(NamedTuple):
    """What a scope has spent of an exception, above its base limit, in the budget's unit."""

    grant: Grant
    used: Decimal


@dataclass(frozen=True, slots=True)
class Grants:
    """All of them, by budget; made anew when the catalog or the commands change."""

    by_budget: Mapping[str, tuple[Grant, ...]]

    def __iter__(self) -> Iterator[Grant]:
        for found in self.by_budget.values():
            yield from found

    def in_force(self, budget: str, tenant: str, dimensions: Mapping[str, str], clock: int) -> list[Grant]:
        """Those that hold for a scope at a clock: what ends first comes first, and is used first."""
        found = self.by_budget.get(budget, ())
        return [g for g in found if g.starts <= clock < g.expires and g.is_for(budget, tenant, dimensions)]

    def changes(self, budget: str, tenant: str, dimensions: Mapping[str, str]) -> list[int]:
        """The clocks at which the limit of a scope moves: the watch looks at it then."""
        found = [g for g in self.by_budget.get(budget, ()) if g.is_for(budget, tenant, dimensions)]
        return sorted({at for g in found for at in (g.starts, g.expires)})


def grants(exemptions: Iterable[Exemption], commands: Commands) -> Grants:
    """Of a catalog, and of what was requested and approved."""
    found = [_written(e) for e in exemptions]
    found += [_approved(case) for case in commands.cases.values() if case.state == "approved"]
    by_budget = dict[str, list[Grant]]()
    for grant in sorted(found, key=lambda g: (g.expires, g.id)):
        by_budget.setdefault(grant.budget, []).append(grant)
    return Grants({budget: tuple(of_it) for budget, of_it in by_budget.items()})


def _written(e: Exemption) -> Grant:
    return Grant(
        id=e.id,
        budget=e.budget,
        tenant=e.tenant,
        where=dict(e.where),
        extra=e.extra,
        starts=ms_of(e.starts),
        expires=ms_of(e.expires),
        reason_ends=None if e.reason_ends is None else ms_of(e.reason_ends),
        review=None if e.review is None else ms_of(e.review),
        justification=e.justification,
        workload_class=e.workload_class,
        tier=e.tier,
        requested_by=e.requested_by,
        approver=e.approver,
        source="catalog",
    )


def _approved(case: Case) -> Grant:
    """In force from its decision on, not before: what earlier periods used was not allowed then."""
    asked, decided = case.request, case.decision
    return Grant(
        id=asked.request_id,
        budget=asked.budget,
        tenant=asked.tenant,
        where=asked.where,
        extra=asked.extra,
        starts=max(case.decided_ms, 0 if asked.starts is None else ms_of(asked.starts)),
        expires=ms_of(asked.expires),
        reason_ends=None if asked.reason_ends is None else ms_of(asked.reason_ends),
        review=None if asked.review is None else ms_of(asked.review),
        justification=asked.justification,
        workload_class=asked.workload_class,
        tier=asked.tier,
        requested_by=asked.by,
        approver=decided.approver if decided else "",
        source="command",
    )


def extra_of(in_force: Sequence[Grant]) -> Decimal:
    """What they add to the limit together."""
    total = Decimal(0)
    for grant in in_force:
        total = EXACT.add(total, grant.extra)
    return total


def uses(in_force: Sequence[Grant], value: Decimal, base_limit: Decimal) -> list[Use]:
    """What was spent above the base limit, of which exception: each is used up before the next. Their sum is all of it, as
    far as the exceptions reach."""
    left, found = max(EXACT.subtract(value, base_limit), Decimal(0)), list[Use]()
    for grant in in_force:
        used = min(left, grant.extra)
        left = EXACT.subtract(left, used)
        found.append(Use(grant, used))
    return found


def exception_field(found: Sequence[Use]) -> dict[str, Any] | None:
    """The field `exception` of a record of usage.budgets: all in force together, until the first ends; each in `parts`."""
    if not found:
        return None
    parts = [
        {"id": u.grant.id, "until": instant(u.grant.expires), "extra": text(u.grant.extra), "used": text(u.used)}
        for u in found
    ]
    used = Decimal(0)
    for one in found:
        used = EXACT.add(used, one.used)
    return {
        "id": ",".join(u.grant.id for u in found),
        "until": parts[0]["until"],
        "extra": text(extra_of([u.grant for u in found])),
        "used": text(used),
        "parts": parts,
    }


def overdue_scopes(rules: Iterable[Rule], known: Grants) -> dict[str, tuple[Rule, Grant]]:
    """Scope key of the alert -> rule and exception: one for each that has a day on which its reason ends or a review is due."""
    found = dict[str, tuple[Rule, Grant]]()
    for rule in (r for r in rules if r.kind == "exception_overdue"):
        for grant in known:
            named = sorted((name, value) for name, value in grant.where.items() if name != TENANT)
            values = [*named, ("exception", grant.id)]
            if grant.due is None or rule.tenant not in {"*", grant.tenant}:
                continue
            if all(grant.where.get(name) == value for name, value in rule.where.items()):
                found[key_of(rule.id, grant.tenant, values)] = rule, grant
    return found


def overdue(rule: Rule, grant: Grant, clock: int) -> list[Condition]:
    """Of one exception: whether it is open past its reason, or its review. Its alert ends with it, and with what makes it moot.

    value, limit: full days that it is open past that, of which none is allowed
    """
    found = []
    for name, at, said in (
        ("reason_ended", grant.reason_ends, "its business reason ended"),
        ("review_due", grant.review, "its review was due"),
    ):
        if at is None or at >= grant.expires:
            continue
        days = Decimal(max(clock - at, 0) // DAY_MS)
        is_open = grant.starts <= clock < grant.expires
        over = is_open and clock >= at
        sentence = (
            f"exception {grant.id} from {grant.budget} is open although {said} on {instant(at)[:10]}; it expires"
            f" {instant(grant.expires)[:10]}, approved by {grant.approver}"
        )
        found.append(
            Condition(name, at, grant.expires, over, not over, days, Decimal(0), "days", rule.severity, False, sentence)
        )
    return found


def grant_field(grant: Grant) -> dict[str, Any]:
    """The exception as a record shows it: who, why, until when."""

    def moment(at: int | None) -> str | None:
        return None if at is None else instant(at)

    return {
        "id": grant.id,
        "budget_id": grant.budget,
        "tenant_id": grant.tenant,
        "where": dict(sorted(grant.where.items())),
        "extra": text(grant.extra),
        "justification": grant.justification,
        "workload_class": grant.workload_class or None,
        "tier": grant.tier or None,
        "requested_by": grant.requested_by or None,
        "approver": grant.approver,
        "source": grant.source,
        "starts": moment(grant.starts or None),
        "expires": moment(grant.expires),
        "reason_ends": moment(grant.reason_ends),
        "review": moment(grant.review),
    }
