"""One page per problem: an alert of a child says nothing where its parent's pages for the same cause. Pure.

Decision: the same endpoint, not the same owner: of two endpoints of one owner the second would hear nothing at all, and where
nobody is named as owner everybody would be the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from streams.catalog.limits import Budget, BurnRate
from streams.notify.delivery import Delivery
from streams.watch.budgets import GUARD

RANKS = {"info": 0, "warning": 1, "critical": 2}


def parents_of(budgets: Sequence[Budget], burn_rates: Sequence[BurnRate]) -> dict[str, frozenset[str]]:
    """By id of a budget or burn rate: the ids of everything above it. A burn rate has the place of its budget."""
    above = {b.id: b.parent for b in budgets}
    burning: dict[str, list[str]] = {}
    for rate in burn_rates:
        burning.setdefault(rate.budget, []).append(rate.id)

    def chain(of: str) -> frozenset[str]:
        found, at = list[str](), above.get(of)
        while at is not None and at not in found:  # a cycle is refused where the catalog is checked; never loop on one
            found.append(at)
            at = above.get(at)
        return frozenset([*found, *(rate for budget in found for rate in burning.get(budget, ()))])

    return {b.id: chain(b.id) for b in budgets} | {r.id: chain(r.budget) for r in burn_rates}


def inhibitor(child: Delivery, paging: Iterable[Delivery], parents: Mapping[str, frozenset[str]]) -> str | None:
    """The alert that holds back this one; None when nothing does.

    paging: deliveries of alerts that somebody is being told of. An alert holds back what is below it in the tree of budgets, of
    the same tenant, kind and endpoint, inside its scope, neither more severe nor further: 80 % says nothing of a child's stop.
    """
    above = parents.get(str(child.facts.get("budget_id")), frozenset())
    if not above:
        return None
    for one in paging:
        if (
            one.facts.get("budget_id") in above
            and one.endpoint == child.endpoint
            and all(one.facts.get(name) == child.facts.get(name) for name in ("tenant_id", "kind"))
            and one.dimensions.items() <= child.dimensions.items()
            and _rank(one.facts) >= _rank(child.facts)
            and _reaches(one.facts.get("threshold"), child.facts.get("threshold"))
        ):
            return one.alert_id
    return None


def _reaches(above: object, below: object) -> bool:
    """Whether a threshold is as high as another. Of two pairs of a burn rate severity alone tells; a number says nothing of a
    name, such as `guard`, nor a name of a number."""
    reached, asked = _share(above), _share(below)
    if reached is None or asked is None:
        return reached is asked and (above == GUARD) == (below == GUARD)
    return reached >= asked


def _share(threshold: object) -> Decimal | None:
    try:
        return Decimal(str(threshold))
    except InvalidOperation:
        return None


def _rank(facts: Mapping[str, Any]) -> int:
    return RANKS.get(str(facts.get("severity")), 0)
