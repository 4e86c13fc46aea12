"""What a catalog must be as a whole: one price at a time, one thing per id, aliases that lead somewhere."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby, pairwise

from streams.catalog.book import expanded
from streams.catalog.commitments import agreement_problems
from streams.catalog.limits_problems import limits_problems
from streams.catalog.models import Catalog
from streams.catalog.money import MAX_UNIT_PRICE
from streams.catalog.prices import FxRate, Price
from streams.catalog.registries import MOST_REQUIRED
from streams.catalog.routes import route_problems

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CatalogError(Exception):
    """The catalog cannot be used; one line a problem, each with where and a remedy."""


def problems(catalog: Catalog) -> list[str]:
    """Every problem, a line each; empty when the catalog holds."""
    found = []
    cells = defaultdict[tuple[str | int, ...], list[Price]](list)
    for price in catalog.prices:
        cells[price.cell].append(price)
    for prices in cells.values():
        found += _overlaps("prices", [(p.price_id, p.effective_from, p.effective_to) for p in prices])
    found += _bands(catalog.prices)
    found += _factors(catalog)
    found += _names(catalog)
    for (base, quote), rates in groupby(sorted(catalog.rates, key=_pair), key=_pair):
        found += _overlaps(f"rates {base}/{quote}", [(r.rate_id, r.effective_from, r.effective_to) for r in rates])
    of_periods = ("commitments", "quotas", "volumes", "provisioned")
    of_limits = ("budgets", "burn_rates", "runs", "rules", "exceptions", "silences", "maintenance")
    for kind in ("tenants", "schedules", "factors", *of_periods, *of_limits):
        for double, n in Counter(x.id for x in getattr(catalog, kind)).items():
            if n > 1:
                found.append(f"{kind} {double}: the id is used {n} times; rename one")
    found += route_problems(catalog.endpoints, catalog.routes, catalog.digests)
    return found + limits_problems(catalog) + _of_registries(catalog) + agreement_problems(catalog)


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


Interval = tuple[str, datetime, datetime | None]


def _overlaps(what: str, intervals: list[Interval]) -> list[str]:
    """Two that hold at once make the price a guess."""
    intervals.sort(key=lambda i: i[1])
    return [
        f"{what} {a[0]}: overlaps {b[0]}; end the first with effective_to"
        for a, b in pairwise(intervals)
        if a[2] is None or a[2] > b[1]
    ]


def _pair(rate: FxRate) -> tuple[str, str]:
    return rate.base, rate.quote


def _factors(catalog: Catalog) -> Iterator[str]:
    """Factors whose prices would be nothing, or so large that a line of the largest quantity is no Decimal(38, 18)."""
    wrong = dict[str, str]()
    for price, name, each in expanded(catalog) if catalog.factors else ():
        if "*" in name and not price.free and not 0 < each < MAX_UNIT_PRICE:
            wrong.setdefault(name.rpartition("*")[2], f"makes {each:f} of {name.rpartition('*')[0]}")
    for factor, what in wrong.items():
        yield f"factors {factor}: {what}; a price is above 0 and below {MAX_UNIT_PRICE:,}, mend the multiplier"


def _bands(prices: Sequence[Price]) -> list[str]:
    """Context bands of one cell must meet, and those for the excess begin at 0 and end nowhere."""
    found = []
    banded = defaultdict[tuple[str, ...], list[Price]](list)
    for price in prices:
        banded[price.where].append(price)
    for cell in banded.values():
        if not any(p.context_from or p.context_to is not None for p in cell):
            continue
        for start in {p.effective_from for p in cell}:
            held = [p for p in cell if p.effective_from <= start and (p.effective_to is None or p.effective_to > start)]
            found += _unmet(sorted(held, key=lambda p: p.context_from))
    return list(dict.fromkeys(found))


def _unmet(bands: list[Price]) -> list[str]:
    """What is wrong with the bands that hold at one moment."""
    found, first, last = list[str](), bands[0], bands[-1]
    for a, b in pairwise(bands):
        if a.context != b.context:
            found.append(f"prices {a.price_id}: bands for the whole and for the excess are mixed; choose one")
        elif a.context_to != b.context_from:
            word = "overlaps" if a.context_to is None or a.context_to > b.context_from else "leaves a gap before"
            found.append(f"prices {a.price_id}: its band {word} {b.price_id}; bands are [from, to) and must meet")
    if first.context == "excess" and (first.context_from or last.context_to is not None):
        found.append(f"prices {first.price_id}: bands for the excess must begin at 0, the last without context_to")
    return found


def _names(catalog: Catalog) -> list[str]:
    """Aliases and schedules that lead somewhere, each name once at a time, patterns that compile."""
    models = {(p.provider, p.model) for p in catalog.prices}
    schedules = {s.id for s in catalog.schedules}
    found = [
        f"prices {p.price_id}: schedule {p.schedule} is not there; add it under [[schedules]]"
        for p in catalog.prices
        if p.schedule and p.schedule not in schedules
    ]
    spelt = dict[tuple[str, str], str]()  # names are compared in lower case, so that one of two would never be found
    for provider, model in sorted(models):
        if (other := spelt.setdefault((provider, model.lower()), model)) != model:
            found.append(f"prices {provider}/{model}: differs from {other} in case alone; write both the same way")
    dated = defaultdict[tuple[str, str], list[Interval]](list)
    for alias in catalog.aliases:
        if (alias.provider, alias.model) not in models:
            found.append(
                f"aliases {alias.alias}: {alias.provider} has no price for {alias.model}; price it or end the alias"
            )
        if alias.match == "regex" and (problem := _unreadable(alias.alias)):
            found.append(f"aliases {alias.alias}: {problem}; mend the pattern")
        if alias.match == "exact":
            start = alias.effective_from or EPOCH
            dated[alias.provider, alias.alias.lower()].append(
                (f"{alias.alias} for {alias.model}", start, alias.effective_to)
            )
    for intervals in dated.values():
        found += _overlaps("aliases", intervals)
    return found


def _unreadable(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except re.error as error:
        return str(error)
    return None
