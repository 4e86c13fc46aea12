"""What a catalog must be as a whole: one price at a time, one thing per id, aliases that lead somewhere."""

from collections import Counter, defaultdict
from itertools import pairwise

from streams.catalog.models import Catalog, Price
from streams.catalog.registries import MOST_REQUIRED


class CatalogError(Exception):
    """The catalog cannot be used; one line a problem, each with where and a remedy."""


def problems(catalog: Catalog) -> list[str]:
    """Every problem, a line each; empty when the catalog holds."""
    found = []
    cells: dict[tuple[str, str, str], list[Price]] = defaultdict(list)
    for price in catalog.prices:
        cells[price.provider, price.model, price.bucket].append(price)
    for name, prices in cells.items():
        prices.sort(key=lambda p: p.effective_from)
        for a, b in pairwise(prices):
            if a.effective_to is None or a.effective_to > b.effective_from:
                found.append(
                    f"prices {'/'.join(name)}: the price from {a.effective_from:%Y-%m-%d %H:%M} overlaps the one from"
                    f" {b.effective_from:%Y-%m-%d %H:%M}; end the first with effective_to"
                )
    for kind in ("tenants", "budgets", "rules"):
        for double, n in Counter(x.id for x in getattr(catalog, kind)).items():
            if n > 1:
                found.append(f"{kind} {double}: the id is used {n} times; rename one")
    found += [
        f"rules {double}: a budget has this id too; rename one, alerts are named by it"
        for double in {b.id for b in catalog.budgets} & {r.id for r in catalog.rules}
    ]
    return found + _of_registries(catalog)


def _of_registries(catalog: Catalog) -> list[str]:
    """Registries that hold a thing twice, or lead nowhere."""
    names = [
        *(f"workloads {w.id}, tenant {w.tenant}" for w in catalog.workloads),
        *(f"keys {k.id}, provider {k.provider}, tenant {k.tenant}" for k in catalog.keys),
        *(f"models {m.model}, provider {m.provider}, tenant {m.tenant}" for m in catalog.models),
        *(f"requirements of tenant {r.tenant}, environment {r.environment}" for r in catalog.requirements),
    ]
    found = [f"{name}: there are {n} of them; leave one" for name, n in Counter(names).items() if n > 1]
    workloads = {(w.tenant, w.id) for w in catalog.workloads}
    ids, budgets = {w.id for w in catalog.workloads}, {b.id for b in catalog.budgets}
    found += [
        f"workloads {w.id}: budget {w.budget} is unknown; add it, or leave it out"
        for w in catalog.workloads
        if w.budget is not None and w.budget not in budgets
    ]
    found += [
        f"keys {k.id}: workload {k.workload} is unknown to tenant {k.tenant}; add it, or leave it out"
        for k in catalog.keys
        if k.workload is not None and not {(k.tenant, k.workload), ("*", k.workload)} & workloads
    ]
    found += [
        f"models {m.model}: workload {name} is unknown; add it, or leave it out"
        for m in catalog.models
        for name in m.workloads
        if name not in ids
    ]
    fields = {field for r in catalog.requirements for field in r.required}
    if len(fields) > MOST_REQUIRED:
        found.append(
            f"requirements: {len(fields)} different fields, at most {MOST_REQUIRED} can be required; drop some"
        )
    return found


def validated(catalog: Catalog) -> Catalog:
    """The catalog itself; CatalogError names every problem."""
    if found := problems(catalog):
        raise CatalogError("\n".join(found))
    return catalog
