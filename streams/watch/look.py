"""One look at a scope: what its windows mean, which alerts change, what may be spent next. Pure, everything by value.

The state (state.py) knows what was used; this knows what people decided, and puts judges, alerts and verdicts together.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from streams.catalog.limits import Budget, RunLimits
from streams.catalog.models import Catalog, Tenant
from streams.catalog.registries import Workload
from streams.catalog.routes import escalations_of
from streams.watch.alert_records import About, Window, alert_record
from streams.watch.alerts import Cause
from streams.watch.budgets import limit_of
from streams.watch.commands import Commands
from streams.watch.conditions import Stretch
from streams.watch.contributors import Contributor
from streams.watch.enforcement import Enforced, enforce
from streams.watch.exceptions import Grants, exception_field, extra_of, grants, uses
from streams.watch.identity import identity_of
from streams.watch.judge import judge, next_look, verdict_of
from streams.watch.machine import Transition, Why, advance, next_due
from streams.watch.raised import Raised
from streams.watch.scopes import dimensions_of, parent_key
from streams.watch.silences import Silences, Subject, silences
from streams.watch.verdicts import Standing
from streams.watch.watched import PERIOD, Watched, WindowSpec, watched

Contributors = Callable[[str], Iterable[Contributor]]  # by the name of a window, the largest first
MOST_CAUSES = 5


class Looked(NamedTuple):
    """What a look found. `alerts` and `enforcement` are records; `due` is the next clock at which time alone may change
    something beside the windows."""

    alerts: list[dict[str, Any]]
    enforced: Enforced
    enforcement: dict[str, Any] | None
    due: int | None


class Position(NamedTuple):
    """What may be spent next in a scope. extra: what exceptions in force add to its limit; exception: as records show them."""

    standing: Standing | None
    extra: Decimal
    exception: dict[str, Any] | None


@dataclass(frozen=True)
class Decisions:
    """What people decided, in the catalog and at runtime; made anew when either changes.

    since: rule -> version of the catalog from which on every one has it
    """

    watched: Mapping[str, Watched]
    budgets: Mapping[str, Budget]
    tenants: Mapping[str, Tenant]
    workloads: Mapping[tuple[str, str], Workload]
    grants: Grants
    silences: Silences
    catalog: Catalog
    since: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        catalog: Catalog,
        commands: Commands,
        before: "Decisions | None" = None,
        since: Mapping[str, int] | None = None,
    ) -> "Decisions":
        """`before`: the same catalog's, when only commands came."""
        same = before if before is not None and before.catalog is catalog else None
        return cls(
            watched=same.watched if same else watched(catalog),
            budgets=same.budgets if same else {b.id: b for b in catalog.budgets},
            tenants=same.tenants if same else {t.id: t for t in catalog.tenants},
            workloads=same.workloads if same else {(w.tenant, w.id): w for w in catalog.workloads},
            grants=grants(catalog.exceptions, commands),
            silences=silences(catalog.silences, catalog.maintenance, commands),
            catalog=catalog,
            since=same.since if same else dict(since or {}),
        )

    def identity(self, key: str) -> str:
        """What ids of a scope's records are made of."""
        return identity_of(key, self.since)

    def dimensions(self, known: Watched, key: str) -> dict[str, str]:
        """What a scope names, the rule's own `where` included."""
        return {**dimensions_of(key), **dict(known.scope.where)}

    def parents(self, known: Watched, key: str) -> Iterator[str]:
        """Keys of the parents of a budget's scope, the nearest first."""
        child, dims, budget = known, dimensions_of(key), known.budget
        while budget is not None and budget.parent is not None:
            above = self.watched.get(budget.parent)
            if above is None or above.budget is None:
                return
            found = parent_key(child.scope, above.budget, dims)
            if found is None:
                return
            yield found
            child, dims, budget = above, dimensions_of(found), above.budget

    def about(self, known: Watched, key: str) -> About:
        """What all alerts of a scope have in common."""
        dims = self.dimensions(known, key)
        tenant, rule, budget = dims["tenant_id"], known.rule, known.budget
        who = self.tenants.get(tenant) or Tenant(id=tenant)
        workload = self._workload(tenant, dims.get("workload_id", ""))
        owners = (rule.owner, budget.owner if budget else "", workload.technical_owner if workload else "")
        answer = (rule.accountable, budget.accountable if budget else "", (workload and workload.accountable) or "")
        return About(
            kind=known.kind,
            rule=known.id,
            tenant=tenant,
            scope=key,
            dimensions=dims,
            owner=next(filter(None, owners), ""),
            accountable=next(filter(None, (*answer, who.accountable)), ""),
            currency=known.currency,
            runbook=rule.runbook,
            parents=tuple(self.parents(known, key)),
        )

    def _workload(self, tenant: str, name: str) -> Workload | None:
        return self.workloads.get((tenant, name)) or self.workloads.get(("*", name)) if name else None

    def escalate_after(self, about: About, severity: str, condition: str) -> tuple[int, ...]:
        """Delays (ms) after which nobody's acknowledgement escalates an alert: those of the routes that it takes."""
        if not any(route.escalate for route in self.catalog.routes):
            return ()
        return escalations_of(
            self.catalog,
            {
                "kind": about.kind,
                "budget_id": about.rule,
                "tenant_id": about.tenant,
                "dimensions": about.dimensions,
                "owner": about.owner,
                "severity": severity,
                "threshold": condition,
            },
        )


def position_of(decided: Decisions, known: Watched, key: str, stretches: Mapping[str, Stretch], clock: int) -> Position:
    """Its verdict as of the clock, with the exceptions that hold then."""
    dims = decided.dimensions(known, key)
    in_force = decided.grants.in_force(limited(known), dims["tenant_id"], dims, clock)
    extra = extra_of(in_force)
    standing, exception = verdict_of(known, stretches, clock, extra, key), None
    base = _base_limit(known, key)
    if in_force and standing is not None and base is not None:
        used = stretches[PERIOD].sums.value(known.budget.unit if known.budget else "cost")
        exception = exception_field(uses(in_force, used, base))
    return Position(standing, extra, exception)


def limited(known: Watched) -> str:
    """Whose exceptions move its limit: of a burn rate its budget's."""
    return known.budget.id if known.budget else known.id


def _base_limit(known: Watched, key: str) -> Decimal | None:
    """What exceptions add to: a budget's share of its limit, the money of a run."""
    if isinstance(known.rule, Budget):
        return limit_of(known.rule, key)
    return known.rule.cost if isinstance(known.rule, RunLimits) else None


def look(
    decided: Decisions,
    known: Watched,
    key: str,
    raised: dict[str, Raised],
    before: Enforced,
    stretches: Mapping[str, Stretch],
    past: Sequence[Stretch],
    contributors: Contributors,
    cause: Cause,
    why: Why,
    lateness_ms: int = 0,
) -> Looked:
    """raised: the alerts of the scope, brought up to date; before: its verdict as it was last told."""
    clock, dims = cause.clock, decided.dimensions(known, key)
    tenant, whose = dims["tenant_id"], limited(known)
    standing, extra, exception = position_of(decided, known, key, stretches, clock)
    earlier = {s.start: extra_of(decided.grants.in_force(whose, tenant, dims, s.end - 1)) for s in past}
    conditions = judge(known, stretches, past, clock, extra, key, earlier)
    alerts, timers = list[dict[str, Any]](), None
    if raised or any(c.over for c in conditions):
        about = decided.about(known, key)
        delays = partial(decided.escalate_after, about)
        subject = Subject(known.kind, known.id, tenant, about.owner, dims)
        changes = advance(
            raised,
            conditions,
            clock,
            known.rule,
            decided.identity(key),
            delays,
            why=why,
            lateness_ms=lateness_ms,
            hush=decided.silences.of(subject, clock),
            quiet=decided.silences.quiet(subject, clock),
        )
        alerts = [record_of(about, known, change, cause, stretches, past, contributors) for change in changes]
        timers = next_due(raised, known.rule, delays)
    enforced, enforcement = enforce(
        before,
        known,
        key,
        standing,
        clock,
        cause.detected,
        exception["id"] if exception else None,
        decided.identity(key),
    )
    moves = (at for at in decided.grants.changes(whose, tenant, dims) if at > clock)
    dues = [at for at in (timers, next_look(known, clock), min(moves, default=None)) if at is not None]
    return Looked(alerts, enforced, enforcement, min(dues, default=None))


def record_of(
    about: About,
    known: Watched,
    change: Transition,
    cause: Cause,
    stretches: Mapping[str, Stretch],
    past: Sequence[Stretch],
    contributors: Contributors,
) -> dict[str, Any]:
    """With the window that its condition looks at: of a burn rate the long one, of a period that is over that one."""
    spec, condition, raised = window_of(known, change.raised.name), change.condition, change.raised
    seen: Stretch | None = stretches.get(spec.name)
    if condition is not None and condition.anchor is not None:
        seen = next((s for s in (*past, *stretches.values()) if s.start == condition.anchor), seen)
    elif condition is None and not raised.episode and seen is not None and not seen.start < raised.end <= seen.end:
        seen = None  # of another period
    zone = spec.calendar.zone if spec.calendar else None
    window = Window(spec.name, spec.kind, spec.size_ms if spec.kind == "rolling" else None, zone)
    causes = list(contributors(spec.name))[:MOST_CAUSES] if seen is stretches.get(spec.name) else []
    return alert_record(about, change, cause, window, seen.sums if seen else None, causes)


def window_of(known: Watched, condition: str) -> WindowSpec:
    """The window that a condition is about."""
    long = condition.partition("/")[0]
    return next((w for w in known.windows if w.name == long), known.windows[0])


def has_record(known: Watched) -> bool:
    """Whether its scopes stand on usage.budgets."""
    return isinstance(known.rule, Budget | RunLimits)
