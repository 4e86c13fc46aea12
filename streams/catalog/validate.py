"""What a catalog must be as a whole: one price at a time, one thing per id, aliases that lead somewhere."""

from collections import Counter, defaultdict
from itertools import pairwise

from streams.catalog.models import Catalog, Price


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
    return found


def validated(catalog: Catalog) -> Catalog:
    """The catalog itself; CatalogError names every problem."""
    if found := problems(catalog):
        raise CatalogError("\n".join(found))
    return catalog
