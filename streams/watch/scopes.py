"""Scopes: what a total belongs to. A budget's scope is a predicate over dimensions, expanded once per value of `each`."""

from collections.abc import Iterable
from dataclasses import dataclass

from streams.catalog.models import Budget


@dataclass(frozen=True, slots=True)
class Scope:
    """Events of `tenant` ("*" = each tenant) that have all the values of `where`, one scope per value of `each`."""

    id: str
    tenant: str
    where: tuple[tuple[str, str], ...]
    each: tuple[str, ...]


def scopes_of(budgets: Iterable[Budget]) -> list[Scope]:
    """The scopes of budgets, by id."""
    return [
        Scope(b.id, b.tenant, tuple(sorted(b.where.items())), tuple(b.each))
        for b in sorted(budgets, key=lambda b: b.id)
    ]


def key_of(scope: str, tenant: str, values: Iterable[tuple[str, str]]) -> str:
    """Canonical key: `budget|tenant_id=acme|team=search`; a `|` or `=` in a value is escaped with a backslash."""

    def clean(text: str) -> str:
        return text.replace("\\", "\\\\").replace("|", "\\|").replace("=", "\\=")

    return "|".join([scope, f"tenant_id={clean(tenant)}", *(f"{name}={clean(value)}" for name, value in values)])
