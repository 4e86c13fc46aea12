"""Scopes: what a total belongs to. A budget's scope is a predicate over dimensions, expanded once per value of `each`."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget
from streams.catalog.models import Catalog


@dataclass(frozen=True, slots=True)
class Scope:
    """Events of `tenant` ("*" = each tenant) that have all the values of `where`, one scope per value of `each`."""

    id: str
    tenant: str
    where: tuple[tuple[str, str], ...]
    each: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Watched:
    """What the watch follows: a budget, or a rule as the budget that it amounts to. `kind` names its alerts."""

    kind: str
    budget: Budget

    @property
    def shape(self) -> tuple[object, ...]:
        """What its windows depend on; when it changes they are filled anew from the ledger."""
        b = self.budget
        return scope_of(b), b.unit, b.currency, b.period


def watched(catalog: Catalog) -> dict[str, Watched]:
    """By id: every budget, and every rule about usage. `unpriced` allows no event of a day without a price, per model.

    Rules about the catalog itself are in watch/catalog_alerts.py.
    """
    found = {b.id: Watched("budget", b) for b in catalog.budgets}
    for rule in (r for r in catalog.rules if r.kind == "unpriced"):
        budget = Budget(
            id=rule.id,
            each=("provider", "model"),
            unit="unpriced",
            limit=Decimal(1),
            period=Calendar(every="day"),
            thresholds=(Decimal(1),),
            severity=rule.severity,
        )
        found[rule.id] = Watched(rule.kind, budget)
    return dict(sorted(found.items()))


def scope_of(budget: Budget) -> Scope:
    """The scope of one budget."""
    return Scope(budget.id, budget.tenant, tuple(sorted(budget.where.items())), tuple(budget.each))


def scopes_of(budgets: Iterable[Budget]) -> list[Scope]:
    """The scopes of budgets, by id."""
    return [scope_of(b) for b in sorted(budgets, key=lambda b: b.id)]


def key_of(scope: str, tenant: str, values: Iterable[tuple[str, str]]) -> str:
    """Canonical key: `budget|tenant_id=acme|team=search`; a `|` or `=` in a value is escaped with a backslash."""

    def clean(text: str) -> str:
        return text.replace("\\", "\\\\").replace("|", "\\|").replace("=", "\\=")

    return "|".join([scope, f"tenant_id={clean(tenant)}", *(f"{name}={clean(value)}" for name, value in values)])


def id_and_tenant(key: str) -> tuple[str, str]:
    """Of a canonical key: which budget or rule, and whose."""
    parts, part, escaped = [], "", False
    for sign in key:
        if escaped or sign not in "\\|":
            part, escaped = part + sign, False
        elif sign == "\\":
            escaped = True
        else:
            parts.append(part)
            part = ""
    parts.append(part)
    return parts[0], parts[1].removeprefix("tenant_id=")
