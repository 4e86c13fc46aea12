"""The price book: a catalog version compiled so that a chunk's few distinct kinds of sale find their offers at once. A value.

Factors become prices here, in their declared order (class of service, region, contract), so that rating only looks up.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Context, Decimal
from typing import NamedTuple

import numpy as np
import polars as pl

from streams.catalog.models import Catalog
from streams.catalog.money import MAX_SCALE
from streams.catalog.names import Names, Sku, compile_names, earliest
from streams.catalog.prices import Factor, FxRate, Price, Schedule
from streams.catalog.registry_frames import RegistryFrames, compile_registries
from streams.pipeline.frames import INSTANT, MONEY
from streams.tokens.buckets import MODALITIES

# Buckets without any price of their own are billed like another, by every provider that we know (domain.md §1.2). Audio is not
# among them, nor output of another modality, nor what was read from a cache: their prices differ, so a missing one is missing.
_PICTURES = [m for m in MODALITIES if m != "audio"]
SAME_RATE = {
    "output_reasoning": "output_visible",
    "input_tool_prompt": "input_uncached",
    **{f"input_uncached_{m}": "input_uncached" for m in _PICTURES},
    **{f"input_cache_read_{m}": "input_cache_read" for m in _PICTURES},
    **{f"input_tool_prompt_{m}": "input_uncached" for m in _PICTURES},
}
CELLS = pl.Schema(
    {
        "bucket": pl.String(),
        "effective_from": INSTANT,
        "effective_to": INSTANT,
        "context_from": pl.Int64(),
        "context_to": pl.Int64(),
        "excess": pl.Boolean(),
        "schedule": pl.String(),
        "rank": pl.Int32(),
        "contract": pl.Boolean(),
        "price_id": pl.String(),
        "unit_price": MONEY,
        "currency": pl.String(),
    }
)
KINDS = ("class", "region", "contract")  # of factors, in the order in which they multiply
WIDE = Context(prec=80)  # of a price times a multiplier, before it is rounded to 18 digits
MEMO = 20_000
EXACT = 1_000  # narrowness of a region that is named in full


class Cell(NamedTuple):
    """One price, ready to be looked up; `rank` is lower where it is more specific."""

    bucket: str
    effective_from: datetime
    effective_to: datetime | None
    context_from: int
    context_to: int | None
    excess: bool
    schedule: str
    rank: int
    contract: bool
    price_id: str
    unit_price: Decimal
    currency: str
    service: tuple[str, str, str]
    region: str
    tenant: str
    account: str


class Sale(NamedTuple):
    """What decides the offers for an event, beside its time and size."""

    provider: str
    model: str
    service_tier: str = "standard"
    processing: str = "online"
    speed: str = "standard"
    region: str = ""
    tenant: str = ""
    account: str = ""


@dataclass(frozen=True, slots=True)
class Offers:
    """The cells that fit a sale but for time and size: (SKU, places in `Book.frame`), one a time in which the name means it."""

    found: tuple[tuple[Sku, np.ndarray], ...]


@dataclass(frozen=True, slots=True)
class Book:
    """Prices of one catalog version.

    cells, frame: every price, as values and as CELLS, in the same order
    places:       SKU -> the places of its cells
    parties:      SKU -> tenant and account -> the places of its cells for them, so that a contract costs others no time
    regions, tenants, accounts: those that some price is for
    """

    sequence: int
    version: str
    names: Names
    cells: tuple[Cell, ...]
    frame: pl.DataFrame
    places: Mapping[tuple[str, str], range]
    parties: Mapping[tuple[str, str], Mapping[tuple[str, str], Sequence[int]]]
    schedules: Mapping[str, Schedule]
    rates: tuple[FxRate, ...]
    currency_of: Mapping[str, str]
    regions: frozenset[str]
    tenants: frozenset[str]
    accounts: frozenset[str]
    registries: RegistryFrames
    _memo: dict[Sale, Offers] = field(default_factory=dict, compare=False, repr=False)

    def offers(self, sale: Sale) -> Offers:
        """Every cell that fits the sale but for time and size."""
        known = self._memo.get(sale)
        if known is None:
            if len(self._memo) >= MEMO:
                self._memo.clear()
            known = self._memo[sale] = Offers(tuple(self._fitting(sale)))
        return known

    def _fitting(self, sale: Sale) -> Iterable[tuple[Sku, np.ndarray]]:
        for sku in self.names.resolve(sale.provider, sale.model):
            of_party = self.parties.get((sku.provider, sku.model), {})
            parties = {(t, a) for t in ("", sale.tenant) for a in ("", sale.account)}
            places = sorted(i for party in parties for i in of_party.get(party, ()))
            yield sku, np.array([i for i in places if fits(self.cells[i], sale)], np.int64)


def fits(cell: Cell, sale: Sale) -> bool:
    """Whether the cell is for this class of service, region, tenant and account."""
    region = cell.region
    here = not region or region == sale.region or (region.endswith("*") and sale.region.startswith(region[:-1]))
    service = (sale.service_tier, sale.processing, sale.speed)
    return here and cell.service == service and cell.tenant in ("", sale.tenant) and cell.account in ("", sale.account)


def compile_book(catalog: Catalog, sequence: int, version: str) -> Book:
    """The catalog's prices, factors and names."""
    of_sku = defaultdict[tuple[str, str], list[Cell]](list)
    for price, name, each in expanded(catalog):
        of_sku[price.provider, price.model].append(_cell(price, name, each))
    cells, places = list[Cell](), dict[tuple[str, str], range]()
    parties = dict[tuple[str, str], dict[tuple[str, str], list[int]]]()
    for sku, found in of_sku.items():
        also = list(_billed_alike(found))
        places[sku] = range(len(cells), len(cells) + len(found) + len(also))
        of_party = parties[sku] = defaultdict(list)
        for i, cell in zip(places[sku], (*found, *also), strict=True):
            of_party[cell.tenant, cell.account].append(i)
        cells += found + also
    columns = zip(*(c[: len(CELLS)] for c in cells), strict=True) if cells else [()] * len(CELLS)
    frame = pl.DataFrame([pl.Series(n, v, CELLS[n]) for n, v in zip(CELLS, columns, strict=True)])
    sold = [*catalog.prices, *catalog.factors]
    return Book(
        sequence,
        version,
        compile_names(catalog),
        tuple(cells),
        frame,
        places,
        parties,
        {s.id: s for s in catalog.schedules},
        catalog.rates,
        {t.id: t.currency for t in catalog.tenants if t.currency},
        frozenset(s.region for s in sold if s.region),
        frozenset(s.tenant for s in sold if s.tenant),
        frozenset(s.account for s in sold if s.account),
        compile_registries(catalog, {t.id: t.accountable for t in catalog.tenants}),
    )


def _billed_alike(cells: Sequence[Cell]) -> Iterator[Cell]:
    """Cells of one SKU again, for buckets of SAME_RATE, until a price of their own begins: it changes no earlier day.

    A contract's price of a bucket ends that for its own party alone.
    """
    by_bucket = defaultdict[str, list[Cell]](list)
    for cell in cells:
        by_bucket[cell.bucket].append(cell)
    for bucket, other in SAME_RATE.items():
        own = by_bucket.get(bucket, ())
        listed = min((c.effective_from for c in own if not c.contract), default=None)
        agreed = dict[tuple[str, str], datetime]()
        for c in own:
            if c.contract:
                party = c.tenant, c.account
                agreed[party] = min(agreed.get(party, c.effective_from), c.effective_from)
        for cell in by_bucket.get(other, ()):
            end = earliest(cell.effective_to, earliest(listed, agreed.get((cell.tenant, cell.account))))
            if end is None or end > cell.effective_from:
                yield cell._replace(bucket=bucket, effective_to=end)


Named = tuple[Price, str, Decimal]


def expanded(catalog: Catalog) -> list[Named]:
    """Every price with its id and amount for one unit, those that factors make included."""
    found: list[Named] = [(p, p.price_id, p.each) for p in catalog.prices]
    written = dict[tuple[str, ...], datetime]()  # since when an entry says the price; earlier days stay as they were
    for p in catalog.prices:
        written[p.where] = min(written.get(p.where, p.effective_from), p.effective_from)
    for kind in KINDS:
        factors = [f for f in catalog.factors if f.kind == kind]
        if factors:
            made = [new for f in factors for one in found if (new := _multiplied(f, *one))]
            found += [kept for new in made if (kept := _until(written.get(new[0].where), new))]
    return found


def _until(written: datetime | None, made: Named) -> Named | None:
    """What a factor made, up to the day from which an entry says the price."""
    price, name, each = made
    if written is None or (price.effective_to is not None and price.effective_to <= written):
        return made
    if written <= price.effective_from:
        return None
    return price.model_copy(update={"effective_to": written}), name, each


def _multiplied(factor: Factor, price: Price, name: str, each: Decimal) -> Named | None:
    """The price that the factor makes of this one, if it is for it."""
    if price.provider != factor.provider or factor.model not in ("*", price.model) or price.contract:
        return None
    if factor.buckets and price.bucket not in factor.buckets:
        return None
    service = {"service_tier": factor.service_tier, "processing": factor.processing, "speed": factor.speed}
    if factor.kind == "class":
        if (price.service_tier, price.processing, price.speed) != ("standard", "online", "standard") or price.region:
            return None
        change = service
    elif factor.kind == "region":
        if price.region:
            return None
        change = {"region": factor.region}
    else:
        change = {"tenant": factor.tenant, "account": factor.account}
    start = max(price.effective_from, factor.effective_from)
    ends = [e for e in (price.effective_to, factor.effective_to) if e is not None]
    if ends and min(ends) <= start:
        return None
    dated = {"effective_from": start, "effective_to": min(ends) if ends else None}
    amount = WIDE.multiply(each, factor.multiplier).quantize(Decimal(1).scaleb(-MAX_SCALE), context=WIDE)
    return price.model_copy(update=change | dated), f"{name}*{factor.id}", amount


def _narrowness(region: str) -> int:
    """How exactly a region is named: not at all, by its beginning, the longer the narrower, or in full."""
    if not region.endswith("*"):
        return EXACT if region else 0
    return min(len(region), EXACT - 1)


def _cell(price: Price, name: str, each: Decimal) -> Cell:
    whom = 2 * bool(price.account) + bool(price.tenant)
    rank = -((whom * 2 * EXACT + _narrowness(price.region)) * 2 + bool(price.schedule))
    return Cell(
        price.bucket, price.effective_from, price.effective_to, price.context_from, price.context_to,
        price.context == "excess", price.schedule, rank, price.contract, name, each, price.currency,
        (price.service_tier, price.processing, price.speed), price.region, price.tenant, price.account,
    )  # fmt: skip
