"""Which priced model a provider's name means. Distinct names are few, so this is plain Python on them."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple

from streams.catalog.models import Catalog
from streams.catalog.prices import Alias, Seller

COMPACT_DATE = re.compile(r"-(20\d\d)(\d\d)(\d\d)$")  # LiteLLM and OpenRouter write gpt-5.2-20251211


class Sku(NamedTuple):
    """What is priced, and while when the name means it."""

    provider: str
    model: str
    effective_from: datetime | None = None
    effective_to: datetime | None = None


class Meaning(NamedTuple):
    """SKUs that a name means, each in its time, and how that is known; empty when nobody knows it.

    how:    model (the name of a priced model), alias, pattern; empty when nobody knows the name
    seller: whose prices these are: the provider, or one whose models it sells
    form:   the name as it was compared: in lower case, a compact date spelt out
    by:     the pattern
    """

    skus: list[Sku]
    how: str = ""
    seller: str = ""
    form: str = ""
    by: str = ""


Matches = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Names:
    """Compiled names of a catalog; names of models are compared in lower case."""

    provider_of: dict[str, str]
    sells: dict[str, tuple[str, ...]]
    models: dict[tuple[str, str], str]
    exact: dict[tuple[str, str], list[Sku]]
    patterns: dict[str, list[tuple[str, Matches, Sku]]]

    def resolve(self, provider: str, model: str) -> list[Sku]:
        """SKUs that the name means, each in its time; empty when nobody knows it."""
        return self.meaning(provider, model).skus

    def meaning(self, provider: str, model: str) -> Meaning:
        """What the name means, and how that is known."""
        name = model.lower()
        own = self.provider_of.get(provider, provider)
        for form in dict.fromkeys((name, COMPACT_DATE.sub(r"-\1-\2-\3", name))):
            for seller in (own, *self.sells.get(own, ())):
                if known := self.models.get((seller, form)):
                    return Meaning([Sku(seller, known)], "model", seller, form)
                if given := self.exact.get((seller, form)):
                    return Meaning(given, "alias", seller, form)
                for pattern, matches, sku in self.patterns.get(seller, ()):
                    if matches(form):
                        return Meaning([sku], "pattern", seller, form, pattern)
        return Meaning([])


def compile_names(catalog: Catalog) -> Names:
    """Names of a catalog's prices, aliases and sellers."""
    exact, patterns = (
        defaultdict[tuple[str, str], list[Sku]](list),
        defaultdict[str, list[tuple[str, Matches, Sku]]](list),
    )
    for alias in catalog.aliases:
        sku = Sku(alias.provider, alias.model, alias.effective_from, alias.effective_to)
        if alias.match == "exact":
            exact[alias.provider, alias.alias.lower()].append(sku)
        else:
            patterns[alias.provider].append((f"{alias.match} {alias.alias}", _matcher(alias), sku))
    models = {(p.provider, p.model.lower()): p.model for p in catalog.prices}
    return Names(
        dict(_other_names(catalog.sellers)),
        {s.provider: s.sells for s in catalog.sellers},
        models,
        dict(exact),
        dict(patterns),
    )


def _other_names(sellers: Sequence[Seller]) -> Iterator[tuple[str, str]]:
    for seller in sellers:
        for name in seller.names:
            yield name, seller.provider


def _starts(prefix: str, name: str) -> bool:
    return name.startswith(prefix)


def _found(pattern: re.Pattern[str], name: str) -> bool:
    return pattern.search(name) is not None


def _matcher(alias: Alias) -> Matches:
    if alias.match == "prefix":
        return partial(_starts, alias.alias.lower())
    return partial(_found, re.compile(alias.alias, re.IGNORECASE))
