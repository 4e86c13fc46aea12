"""Scopes: what a total belongs to. A predicate over dimensions, expanded once per value of `each`; its canonical key."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.catalog.limits import Budget, Split

OTHERS = "*"  # of a split: the values that have no share of their own, and events that do not say


@dataclass(frozen=True, slots=True)
class Scope:
    """Events of `tenant` ("*" = each tenant) that have all the values of `where`, one scope per value of `each`.

    split:        a dimension and the values that have a scope of their own; all others are "*"
    slice_ms:     grain of time of its totals
    buckets:      globs: which buckets `tokens` counts; none = all that are tokens
    measures:     globs: what else is counted, as extras of its totals
    contributors: dimensions by whose values the causes are named
    unit:         in which causes are compared
    above:        only events whose whole input is larger, in tokens
    """

    id: str
    tenant: str
    where: tuple[tuple[str, str], ...]
    each: tuple[str, ...]
    split: tuple[str, tuple[str, ...]] | None = None
    slice_ms: int = 60_000
    buckets: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    contributors: tuple[str, ...] = ()
    unit: str = "cost"
    above: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The dimensions that its keys name after the tenant."""
        each = tuple(name for name in self.each if name != "tenant_id")
        return (*each, self.split[0]) if self.split else each


def split_of(split: "Split | None") -> tuple[str, tuple[str, ...]] | None:
    """The dimension of a split and the values that it lists."""
    return None if split is None else (split.by, tuple(sorted(value for value in split.shares if value != OTHERS)))


def key_of(scope: str, tenant: str, values: Iterable[tuple[str, str]]) -> str:
    """Canonical key: `budget|tenant_id=acme|team=search`; a `|` or `=` in a value is escaped with a backslash."""

    def clean(text: str) -> str:
        return text.replace("\\", "\\\\").replace("|", "\\|").replace("=", "\\=")

    return "|".join([scope, f"tenant_id={clean(tenant)}", *(f"{name}={clean(value)}" for name, value in values)])


def rule_of(key: str) -> str:
    """Of a canonical key: the id of the budget or rule; no id needs an escape."""
    return key.partition("|")[0]


def dimensions_of(key: str) -> dict[str, str]:
    """Of a canonical key: the value of each dimension that it names, `tenant_id` first."""
    if "\\" not in key:
        return dict(part.split("=", 1) for part in key.split("|")[1:])
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
    # A name holds neither sign, so the first `=` ends it, also where one in the value lost its escape.
    return {name: value for name, _, value in (p.partition("=") for p in parts[1:])}


def id_and_tenant(key: str) -> tuple[str, str]:
    """Of a canonical key: which budget or rule, and whose."""
    return rule_of(key), dimensions_of(key)["tenant_id"]


def parent_key(child: Scope, parent: "Budget", dims: Mapping[str, str]) -> str | None:
    """Key of the parent's scope that a child's belongs to; None where the child says too little or is not part of it.

    dims: of the child's key, see `dimensions_of`
    """
    known = {**dict(child.where), **dims}
    if child.split and known.get(child.split[0]) == OTHERS and not (parent.split and parent.split.by == child.split[0]):
        del known[child.split[0]]  # many values together are none of the parent's
    if parent.tenant not in {"*", known["tenant_id"]} or any(known.get(n) != v for n, v in parent.where.items()):
        return None
    values = [(name, known.get(name)) for name in parent.each if name != "tenant_id"]
    if parent.split:
        value = known.get(parent.split.by)
        values.append((parent.split.by, value if value in parent.split.shares else None if value is None else OTHERS))
    found = [(name, value) for name, value in values if value is not None]
    return key_of(parent.id, known["tenant_id"], found) if len(found) == len(values) else None
