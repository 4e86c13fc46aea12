"""The registries compiled for columns: shelves that a join looks into, and what each tenant and environment must say.

A shelf is a table and two indexes into it, by tenant and for every tenant, so that a tenant's own entry wins whole.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from streams.catalog.registries import MINIMUM, ModelEntry, ProviderKey, Registries, Requirement, Workload

# What events get where they do not say it themselves, in the order of the bits of `from_workload` and `from_key`.
OF_KEY = {
    "workload_id": "workload", "technical_owner": "owner", "business_owner": "business_owner", "cost_center": "cost_center",
    "application": "application", "environment": "environment", "team": "team", "project": "project", "use_case": "use_case",
    "account_id": "account_id", "provider_project": "provider_project", "provider_workspace": "provider_workspace",
    "procurement_model": "procurement_model",
}  # fmt: skip
OF_WORKLOAD = (
    "business_owner", "technical_owner", "cost_center", "application", "environment", "team", "project", "use_case",
    "business_process", "request_type", "workload_class", "data_class",
)  # fmt: skip
ONLY_OF_WORKLOAD = ("archetype", "accountable")  # an event has no field for them
FILLED = tuple(dict.fromkeys((*OF_KEY, *OF_WORKLOAD)))
APPROVALS = ("approved", "experimental", "unapproved")  # a later one outweighs an earlier one
PRODUCTION = "production"  # what does not name its environment is held to the rules of this one
TAGS = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))


@dataclass(frozen=True, slots=True)
class Shelf:
    """`table`: one row an entry; `own`: tenant_id, the ids, row; `every`: the ids, row (of the entries for "*")."""

    ids: tuple[str, ...]
    table: pl.DataFrame
    own: pl.DataFrame
    every: pl.DataFrame

    @property
    def empty(self) -> bool:
        return not self.table.height


@dataclass(frozen=True, slots=True)
class Policies:
    """What must be there. `by_both`, `by_tenant`, `by_environment`: index into `masks` and `refuses`; `last` for the rest.

    `fields` names the bits of `masks`; entry 0 requires nothing.
    """

    fields: tuple[str, ...]
    masks: pl.Series
    refuses: pl.Series
    by_both: pl.DataFrame
    by_tenant: pl.DataFrame
    by_environment: pl.DataFrame
    last: int


@dataclass(frozen=True, slots=True)
class RegistryFrames:
    """Everything that attribution looks up. `by_workload`, `by_class`: row of `models`, the id, approval as its weight."""

    workloads: Shelf
    keys: Shelf
    models: Shelf
    by_workload: pl.DataFrame
    by_class: pl.DataFrame
    accountable: pl.DataFrame  # tenant_id, tenant_accountable
    policies: Policies
    tagged: bool = field(default=False)  # whether any workload has tags


def _shelf(
    entries: Sequence[Workload | ProviderKey | ModelEntry],
    ids: Mapping[str, str],
    columns: Mapping[str, tuple[Any, Iterable[Any]]],
) -> Shelf:
    """ids: column of the events -> field of the entry. columns: name -> type and values, one an entry."""
    named = {name: [getattr(e, source) for e in entries] for name, source in ids.items()}
    schema = {"tenant_id": pl.String, **dict.fromkeys(ids, pl.String), "row": pl.UInt32}
    index = pl.DataFrame({"tenant_id": [e.tenant for e in entries], **named, "row": range(len(entries))}, schema=schema)
    table = pl.DataFrame({name: pl.Series(name, list(values), kind) for name, (kind, values) in columns.items()})
    whole = pl.col("tenant_id") == "*"
    return Shelf(tuple(ids), table, index.filter(~whole), index.filter(whole).drop("tenant_id"))


def _policies(declared: Sequence[Requirement]) -> Policies:
    """The declared ones, and the minimum for production unless somebody declares that for everybody."""
    known = {(r.tenant, r.environment): r for r in declared}
    minimum = Requirement(required=MINIMUM, environment=PRODUCTION)
    rules = list({("*", PRODUCTION): minimum, **known}.values())
    fields = tuple(dict.fromkeys(name for rule in rules for name in rule.required))
    masks = [0, *(sum(1 << fields.index(name) for name in set(rule.required)) for rule in rules)]
    index = pl.DataFrame(
        [(r.tenant, r.environment, i) for i, r in enumerate(rules, 1)],
        {"tenant_id": pl.String, "environment": pl.String, "rule": pl.UInt32},
        orient="row",
    )
    any_tenant, any_environment = pl.col("tenant_id") == "*", pl.col("environment") == "*"
    last = index.filter(any_tenant & any_environment)["rule"].to_list()
    return Policies(
        fields,
        pl.Series("mask", masks, pl.Int64),
        pl.Series("refuses", [False, *(r.on_breach == "dead_letter" for r in rules)], pl.Boolean),
        index.filter(~any_tenant & ~any_environment),
        index.filter(~any_tenant & any_environment).drop("environment"),
        index.filter(any_tenant & ~any_environment).drop("tenant_id"),
        last[0] if last else 0,
    )


def compile_registries(of: Registries, accountable: Mapping[str, str]) -> RegistryFrames:
    """accountable: tenant id -> the person who answers for its AI cost."""
    texts: dict[str, tuple[Any, Iterable[Any]]] = {
        name: (pl.String, [getattr(w, name) for w in of.workloads]) for name in (*OF_WORKLOAD, *ONLY_OF_WORKLOAD)
    }
    workloads = _shelf(
        of.workloads,
        {"workload_id": "id"},
        texts
        | {
            "approval": (pl.Int8, [APPROVALS.index(w.approval) for w in of.workloads]),
            "tags": (TAGS, [[{"key": k, "value": v} for k, v in w.tags.items()] for w in of.workloads]),
        },
    )
    keys = _shelf(
        of.keys,
        {"provider": "provider", "api_key_id": "id"},
        {name: (pl.String, [getattr(k, source) for k in of.keys]) for name, source in OF_KEY.items()},
    )
    models = _shelf(
        of.models,
        {"provider": "provider", "sku_model": "model"},
        {
            "tier": (pl.String, [m.tier for m in of.models]),
            "approval": (pl.Int8, [APPROVALS.index(m.approval) for m in of.models]),
        },
    )
    by_workload = [
        (row, name, APPROVALS.index(said)) for row, m in enumerate(of.models) for name, said in m.workloads.items()
    ]
    by_class = [
        (row, name, APPROVALS.index("unapproved" if said == "blocked" else "approved"))
        for row, m in enumerate(of.models)
        for name, said in m.classes.items()
    ]
    return RegistryFrames(
        workloads,
        keys,
        models,
        pl.DataFrame(by_workload, {"row": pl.UInt32, "workload_id": pl.String, "by_workload": pl.Int8}, orient="row"),
        pl.DataFrame(by_class, {"row": pl.UInt32, "workload_class": pl.String, "by_class": pl.Int8}, orient="row"),
        pl.DataFrame(
            [(tenant, person) for tenant, person in accountable.items() if person],
            {"tenant_id": pl.String, "tenant_accountable": pl.String},
            orient="row",
        ),
        _policies(of.requirements),
        any(w.tags for w in of.workloads),
    )
