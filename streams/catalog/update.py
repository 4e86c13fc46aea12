"""Newer base prices after older ones. History stands: what had a price at a moment before the update keeps it.

`succeed` works by groups of prices that compete for the same lines. A group that is the same from the update on stays as it is;
of one that differs the old entries end at the update and the new ones begin there, or later where the source dates them so. A
model that nobody knew is priced since the day that its source gives. Names are dated alike.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from datetime import datetime
from difflib import SequenceMatcher
from typing import TypeVar

from streams.catalog.base_prices import with_base
from streams.catalog.book import SAME_RATE
from streams.catalog.models import Catalog
from streams.catalog.names import Names, compile_names, earliest, latest
from streams.catalog.prices import Alias, Price, Schedule, Seller
from streams.catalog.validate import CatalogError

SECTIONS = ("prices", "aliases", "schedules", "sellers")
Key = tuple[str, ...]
T = TypeVar("T", Price, Alias)


def own_part(published: Catalog) -> Catalog:
    """What people decided themselves. CatalogError when the base prices in it cannot be told apart."""
    if any(p.origin == "own" and p.source.startswith("genai-prices ") for p in published.prices):
        raise CatalogError("catalog: its base prices are not marked; publish it anew with `usage-streams apply` first")
    return published.model_copy(update={n: _of(published, n, "own") for n in SECTIONS})


def base_part(published: Catalog) -> Catalog:
    """The base prices and names in a published catalog."""
    return Catalog(**{n: _of(published, n, "base") for n in SECTIONS})


def _of(catalog: Catalog, section: str, origin: str) -> tuple[Price | Alias | Schedule | Seller, ...]:
    return tuple(entry for entry in getattr(catalog, section) if entry.origin == origin)


def as_base(catalog: Catalog) -> Catalog:
    """A catalog as base prices. CatalogError when it decides anything else."""
    others = [n for n in Catalog.model_fields if n not in SECTIONS and getattr(catalog, n)]
    if others or any(p.contract for p in catalog.prices):
        raise CatalogError(
            f"base prices: {(*others, 'a contract')[0]} is in them; keep it in your own folder, `apply` it"
        )
    marked = {n: tuple(e.model_copy(update={"origin": "base"}) for e in getattr(catalog, n)) for n in SECTIONS}
    return catalog.model_copy(update=marked)


def standing_base(published: Catalog | None, installed: Catalog) -> Catalog:
    """The base that is published, so that `apply` never moves it; the installed one for models that it lacks."""
    base = base_part(published) if published else Catalog()
    if not base.prices:
        return installed
    models, names = {(p.provider, p.model) for p in base.prices}, {(a.provider, a.alias.lower()) for a in base.aliases}
    prices = [p for p in installed.prices if (p.provider, p.model) not in models]
    aliases = [
        a
        for a in installed.aliases
        if (a.provider, a.alias.lower()) not in names and (a.match == "exact" or (a.provider, a.model) not in models)
    ]
    hours, sellers = {s.id for s in base.schedules}, {s.provider for s in base.sellers}
    return Catalog(
        prices=(*base.prices, *prices),
        aliases=(*base.aliases, *aliases),
        schedules=(*base.schedules, *(s for s in installed.schedules if s.id not in hours)),
        sellers=(*base.sellers, *(s for s in installed.sellers if s.provider not in sellers)),
    )


def updated(published: Catalog, newer: Catalog, at: datetime) -> Catalog:
    """The published catalog with newer base prices from `at` on; own entries stay and win."""
    found = with_base(own_part(published), succeed(base_part(published), newer, at))
    return published if _same(found, published) else found


def succeed(old: Catalog, new: Catalog, at: datetime) -> Catalog:
    """`old` up to `at`, `new` from then on; `old` itself when nothing differs."""
    schedules, new = _hours(old, new, at)
    prices = tuple(_prices(old, new, {s.id: s for s in schedules}, at))
    priced = {_sku(p) for p in prices}  # a model that was only to come may be gone
    aliases = tuple(a for a in (*_exact(old, new, at), *_patterns(old, new, at)) if (a.provider, a.model) in priced)
    found = Catalog(prices=prices, aliases=aliases, schedules=schedules, sellers=_sellers(old.sellers, new.sellers))
    return old if _same(found, old) else found


def _same(a: Catalog, b: Catalog) -> bool:
    """Whether both say the same, in whatever order; patterns that change places are other ones (`_patterns`)."""
    return all(set(getattr(a, n)) == set(getattr(b, n)) for n in SECTIONS)


def _hours(old: Catalog, new: Catalog, at: datetime) -> tuple[tuple[Schedule, ...], Catalog]:
    """Schedules of both; one that has changed under its id gets another id, and the new prices name that one."""
    taken, known = {s.id for s in old.schedules}, {_what(s): s.id for s in old.schedules}
    fresh = {s.id: f"{s.id}-{at:%Y%m%d%H%M%S}" if s.id in taken else s.id for s in new.schedules}
    named = {s.id: known.get(_what(s), fresh[s.id]) for s in new.schedules}
    prices = (p.model_copy(update={"schedule": named[p.schedule]}) if p.schedule in named else p for p in new.prices)
    hours = (s.model_copy(update={"id": named[s.id]}) for s in new.schedules)
    new = new.model_copy(update={"prices": tuple(prices), "schedules": tuple(hours)})
    used = {p.schedule for p in new.prices}
    return (*old.schedules, *(s for s in new.schedules if s.id not in taken and s.id in used)), new


def _what(schedule: Schedule) -> Schedule:
    return schedule.model_copy(update={"id": ""})


def _sku(price: Price) -> tuple[str, str]:
    return price.provider, price.model


def _group(price: Price) -> Key:
    """Prices of one group compete for the same lines: their bands and hours may differ."""
    return price.where[:-1]


def _by(prices: Iterable[Price], key: Callable[[Price], Key]) -> dict[Key, list[Price]]:
    found = defaultdict[Key, list[Price]](list)
    for price in prices:
        found[key(price)].append(price)
    return dict(found)


def _prices(old: Catalog, new: Catalog, schedules: dict[str, Schedule], at: datetime) -> Iterator[Price]:
    olds, news = _by(old.prices, _sku), _by(new.prices, _sku)
    for sku in dict.fromkeys((*olds, *news)):
        if sku not in olds:
            yield from news[sku]
            continue
        # A bucket without any price is billed like another (book.py): said in so many words where one of the two has its own.
        standing = _billed_alike(olds[sku], news.get(sku, []))
        coming = _billed_alike(news.get(sku, []), olds[sku])
        found = list(_of_sku(_by(standing, _group), _by(coming, _group), schedules, at))
        # But not where it goes without saying: a bucket whose own prices still begin on the same day of the past.
        said = set(standing) - set(olds[sku])
        own, begins = _begins(olds[sku]), _begins(p for p in found if p not in said)
        plain = {bucket for bucket, start in own.items() if start <= at and begins.get(bucket) == start}
        yield from (p for p in found if p not in said or p.bucket not in plain)


def _of_sku(
    before: dict[Key, list[Price]], after: dict[Key, list[Price]], schedules: dict[str, Schedule], at: datetime
) -> Iterator[Price]:
    everywhere = {(*group[:-3], "", "", "") for group in before}
    for group in dict.fromkeys((*before, *after)):
        held, next_ = before.get(group, []), after.get(group, [])
        if not held and (*group[:-3], "", "", "") not in everywhere:
            yield from next_ if any(_cut(next_, at, None)) else ()  # else it would change the past alone
        elif _facts(held, schedules, at) == _facts(next_, schedules, at):
            yield from held
        else:
            yield from _cut(held, None, at)
            yield from _cut(next_, at, None)


def _billed_alike(prices: Sequence[Price], others: Sequence[Price]) -> list[Price]:
    """The prices, and those that stand in for a bucket until its own begin, where the others begin at another time."""
    mine, theirs = _begins(prices), _begins(others)
    found = list(prices)
    for bucket in sorted((mine.keys() | theirs.keys()) & SAME_RATE.keys()):
        begins = mine.get(bucket)
        if begins != theirs.get(bucket):
            alike = [p.model_copy(update={"bucket": bucket}) for p in prices if p.bucket == SAME_RATE[bucket]]
            found += _cut(alike, None, begins)
    return found


def _begins(prices: Iterable[Price]) -> dict[str, datetime]:
    """Since when each bucket has prices of its own."""
    found = dict[str, datetime]()
    for p in prices:
        found[p.bucket] = min(found.get(p.bucket, p.effective_from), p.effective_from)
    return found


def _facts(prices: Sequence[Price], schedules: dict[str, Schedule], at: datetime) -> set[Hashable]:
    """What the prices charge from `at` on, wherever it was read."""
    return {
        (
            p.context, p.context_from, p.context_to, p.each, p.currency, p.effective_from, p.effective_to,
            _what(schedules[p.schedule]) if p.schedule in schedules else p.schedule,
        )
        for p in _cut(prices, at, None)
    }  # fmt: skip


def _cut(entries: Iterable[T], start: datetime | None, end: datetime | None) -> Iterator[T]:
    """What of the entries lies in [start, end)."""
    for entry in entries:
        a, b = latest(entry.effective_from, start), earliest(entry.effective_to, end)
        if a is None or b is None or a < b:
            same = (a, b) == (entry.effective_from, entry.effective_to)
            yield entry if same else entry.model_copy(update={"effective_from": a, "effective_to": b})


def _meant(catalog: Catalog) -> dict[tuple[str, str], list[Alias]]:
    """What each exact name means: its aliases, or the model of that name as an alias of itself."""
    found = defaultdict[tuple[str, str], list[Alias]](list)
    for alias in catalog.aliases:
        if alias.match == "exact":
            found[alias.provider, alias.alias.lower()].append(alias)
    for provider, model in dict.fromkeys((p.provider, p.model) for p in catalog.prices):
        if (provider, model.lower()) not in found:
            found[provider, model.lower()].append(Alias(provider=provider, alias=model, model=model, origin="base"))
    return found


def _exact(old: Catalog, new: Catalog, at: datetime) -> Iterator[Alias]:
    before, after, names = _meant(old), _meant(new), compile_names(old)
    sold_by = defaultdict[str, list[str]](list)
    for seller in old.sellers:
        for provider in seller.sells:
            sold_by[provider].append(seller.provider)
    for name in dict.fromkeys((*before, *after)):
        held, next_ = before.get(name, []), after.get(name, [])
        if held and _targets(held, at) == _targets(next_, at):
            found: Iterable[Alias] = held
        elif not held and not _known(names, (name[0], *sold_by[name[0]]), name[1]):
            found = next_
        else:
            found = (*_cut(held, None, at), *_cut(next_, at, None))
        yield from (a for a in found if not _itself(a))


def _targets(aliases: Iterable[Alias], at: datetime) -> set[tuple[str, datetime | None, datetime | None]]:
    return {(a.model, a.effective_from, a.effective_to) for a in _cut(aliases, at, None)}


def _known(names: Names, providers: Iterable[str], name: str) -> bool:
    return any(names.resolve(provider, name) for provider in providers)


def _itself(alias: Alias) -> bool:
    """A model's own name, always: needs no alias."""
    return alias.alias.lower() == alias.model.lower() and not alias.effective_from and not alias.effective_to


def _patterns(old: Catalog, new: Catalog, at: datetime) -> Iterator[Alias]:
    """Patterns are asked in their order, so that what is kept keeps it."""
    of_old, of_new = (
        {p: [a for a in c.aliases if a.provider == p and a.match != "exact"] for p in {a.provider for a in c.aliases}}
        for c in (old, new)
    )
    for provider in sorted({*of_old, *of_new}):
        held, next_ = of_old.get(provider, []), of_new.get(provider, [])
        steps = SequenceMatcher(None, [_pattern(a, at) for a in held], [_pattern(a, at) for a in next_], autojunk=False)
        for step, a, b, c, d in steps.get_opcodes():
            yield from held[a:b] if step == "equal" else _cut(held[a:b], None, at)
            if step != "equal":
                yield from _cut(next_[c:d], at, None)


def _pattern(alias: Alias, at: datetime) -> tuple[object, ...]:
    """Equal for patterns that mean the same from `at` on."""
    start = None if alias.effective_from is not None and alias.effective_from <= at else alias.effective_from
    return alias.match, alias.alias, alias.model, start, alias.effective_to


def _sellers(old: Sequence[Seller], new: Sequence[Seller]) -> tuple[Seller, ...]:
    """Sellers have no dates, so they only gain: what was sold at somebody's prices still is."""
    next_ = {s.provider: s for s in new}
    found = []
    for seller in old:
        more = next_.pop(seller.provider, seller)
        gained = {
            "names": tuple(dict.fromkeys((*seller.names, *more.names))),
            "sells": tuple(dict.fromkeys((*seller.sells, *more.sells))),
        }
        found.append(seller.model_copy(update=gained))
    return (*found, *next_.values())
