"""Which priced model a provider's name means. Distinct names are few, so this is plain Python on them.

What names something more exactly wins while it is in force; in the time that it leaves open the next one is asked.
"""

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


class Way(NamedTuple):
    """One SKU that a name means, and how that is known.

    how:    model (the name of a priced model), alias or pattern
    seller: whose prices these are: the provider, or one whose models it sells
    form:   the name as it was compared: in lower case, a compact date spelt out
    by:     the pattern
    """

    sku: Sku
    how: str
    seller: str
    form: str
    by: str = ""


Matches = Callable[[str], bool]
Span = tuple[datetime | None, datetime | None]  # [from, to); None = since and for ever


@dataclass(frozen=True, slots=True)
class Names:
    """Compiled names of a catalog; names of models are compared in lower case."""

    provider_of: dict[str, str]
    sells: dict[str, tuple[str, ...]]
    models: dict[tuple[str, str], str]
    exact: dict[tuple[str, str], list[Sku]]
    patterns: dict[str, list[tuple[str, Matches, Sku]]]

    def resolve(self, provider: str, model: str) -> list[Sku]:
        """SKUs that the name means, each in its time, which never overlap; empty when nobody knows it."""
        return [way.sku for way in self.meaning(provider, model)]

    def meaning(self, provider: str, model: str) -> list["Way"]:
        """The same, and how each is known."""
        name, found, open_ = model.lower(), list[Way](), list[Span]([(None, None)])
        own = self.provider_of.get(provider, provider)
        for form in dict.fromkeys((name, COMPACT_DATE.sub(r"-\1-\2-\3", name))):
            for seller in (own, *self.sells.get(own, ())):
                for sku, how, by in self._at(seller, form):
                    held = (sku.effective_from, sku.effective_to)
                    for start, end in _both(open_, held):
                        dated = sku._replace(effective_from=start, effective_to=end)
                        found.append(Way(dated, how, seller, form, by))
                    open_ = _without(open_, held)
                    if not open_:
                        return found
        return found

    def _at(self, provider: str, name: str) -> Iterator[tuple[Sku, str, str]]:
        """Exact aliases, or else the model of that name; then patterns. Each with how, and the pattern."""
        given = self.exact.get((provider, name), ())
        for sku in given:
            yield sku, "alias", ""
        if not given and (known := self.models.get((provider, name))):
            yield Sku(provider, known), "model", ""
        for pattern, matches, sku in self.patterns.get(provider, ()):
            if matches(name):
                yield sku, "pattern", pattern


def _both(spans: Sequence[Span], held: Span) -> list[Span]:
    """What of the spans lies in `held`."""
    found = [(latest(a, held[0]), earliest(b, held[1])) for a, b in spans]
    return [(a, b) for a, b in found if a is None or b is None or a < b]


def _without(spans: Sequence[Span], held: Span) -> list[Span]:
    """What of the spans lies outside."""
    start, end = held
    before = _both(spans, (None, start)) if start is not None else []
    after = _both(spans, (end, None)) if end is not None else []
    return [*before, *after]


def latest(a: datetime | None, b: datetime | None) -> datetime | None:
    """Of two starts the later one; None = since ever."""
    return max(a, b) if a and b else a or b


def earliest(a: datetime | None, b: datetime | None) -> datetime | None:
    """Of two ends the earlier one; None = for ever."""
    return min(a, b) if a and b else a or b


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
