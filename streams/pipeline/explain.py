"""How a cost came about, one event at a time: what its name means, how it was sold, which entry each line took, why no other.

Scalar, for people: it decides again what `rate` decides on columns, and a property holds the two equal. An entry is rejected
for one reason, the first that applies: class of service, region, contract, what the name means, time, hours, band, a more
specific one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Context, Decimal
from difflib import get_close_matches
from typing import NamedTuple
from zoneinfo import ZoneInfo

from streams.catalog.book import SAME_RATE, Book, Cell, Sale
from streams.catalog.names import Sku, Way
from streams.catalog.prices import Schedule
from streams.pipeline.select import PROCESSINGS, TIERS, UNIT
from streams.tokens.buckets import NOT_TOKENS

EXACT = Context(prec=60)
ASSUMED = "assumed: nothing says it"
USUAL = ("standard", "online")
RESPONSE, EVENT = "response block", "event"


class Said(NamedTuple):
    """A word that decides the price, and who said it."""

    value: str | None
    source: str = EVENT


UNSAID = Said(None)


@dataclass(frozen=True, slots=True)
class Case:
    """What is priced: an event as rating sees it, its response's words already over its own."""

    provider: str
    model: str
    at: datetime
    quantities: Mapping[str, int]
    service_tier: Said = UNSAID
    processing: Said = UNSAID
    speed: Said = UNSAID
    region: Said = UNSAID
    tenant: str = ""
    account: str = ""


class Fact(NamedTuple):
    """One field of the sale: its value, and where that came from."""

    name: str
    value: str
    source: str


class Part(NamedTuple):
    """Units that one entry prices: the whole line, or what of it lies in the entry's band."""

    cell: Cell
    quantity: int
    amount: Decimal


class Rejected(NamedTuple):
    """An entry of this model and bucket that did not price the line."""

    cell: Cell
    reason: str


@dataclass(frozen=True, slots=True)
class Line:
    """How one bucket was priced.

    parts:    empty when nothing prices it
    at_list:  what it costs at public prices, where a contract decided; else the same
    why:      one sentence each: the rule, the stand-in, the band, the factors
    remedy:   what to do where it has no price
    """

    bucket: str
    quantity: int
    parts: tuple[Part, ...]
    at_list: tuple[Part, ...]
    why: tuple[str, ...]
    rejected: tuple[Rejected, ...]
    remedy: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """name: what the name means, in words; skus: provider/model of the priced model, those of other times too."""

    name: str
    skus: tuple[str, ...]
    sale: tuple[Fact, ...]
    at: datetime
    whole_input: int
    lines: tuple[Line, ...]


def explain(case: Case, book: Book) -> Explanation:
    """Every decision behind the cost of this event."""
    sale, facts = sold(case)
    meant = book.names.resolve(sale.provider, sale.model)
    whole = sum(n for bucket, n in case.quantities.items() if bucket.startswith("input_") and bucket not in NOT_TOKENS)
    lines = tuple(
        _line(_Asked(case, sale, meant, whole, bucket, quantity), book)
        for bucket, quantity in sorted(case.quantities.items())
        if quantity > 0
    )
    skus = tuple(f"{sku.provider}/{sku.model}" for sku in meant)
    return Explanation(understood(case.provider, case.model, book), skus, facts, case.at, whole, lines)


def sold(case: Case) -> tuple[Sale, tuple[Fact, ...]]:
    """The sale, and where each of its fields came from."""
    tier, processing, speed = ((s.value or "").lower() for s in (case.service_tier, case.processing, case.speed))
    tier, processing, speed = TIERS.get(tier, tier), PROCESSINGS.get(processing, processing), speed or "standard"
    if tier == "batch":
        tier, processing = "standard", "batch"
    region, tenant, account = case.region.value or "", case.tenant, case.account
    sale = Sale(case.provider, case.model, tier, processing, speed, region, tenant, account)
    if any(UNIT in word for word in sale[:5]):  # rating takes no such name apart
        sale = Sale("", "")
    by_tier = case.service_tier if processing == "batch" and not case.processing.value else case.processing
    said = {
        "service tier": (tier, case.service_tier),
        "processing": (processing, by_tier),
        "speed": (speed, case.speed),
    }
    facts = [Fact(name, value, _source(value, by)) for name, (value, by) in said.items()]
    facts.append(Fact("region", region or "none", case.region.source if region else "nothing says it"))
    facts += [Fact(name, value, EVENT) for name, value in (("tenant", tenant), ("account", account)) if value]
    return sale, tuple(facts)


def _source(value: str, said: Said) -> str:
    if not said.value:
        return ASSUMED
    return said.source if said.value == value else f"{said.source}, which says {said.value}"


def understood(provider: str, model: str, book: Book) -> str:
    """How the provider's name of the model was understood."""
    meant = book.names.meaning(provider, model)
    own = book.names.provider_of.get(provider, provider)
    also = f"{provider} is another name of {own}; " if own != provider else ""
    if not meant:
        known = sorted({name for sold_by, name in book.names.models if sold_by == own})
        if not known:
            near = get_close_matches(own, sorted({p for p, _ in book.names.models}), 3, 0.75)
            return f"{also}provider {own} has no prices" + (f"; is it {' or '.join(near)}?" if near else "")
        near = get_close_matches(model.lower(), known, 3)
        return f"{also}{own} has no model or alias {model}" + (f"; is it {' or '.join(near)}?" if near else "")
    return f"{also}{model} is " + "; then ".join(_known(way, own, model) for way in meant)


def _known(way: Way, own: str, model: str) -> str:
    """One SKU that the name means, and how that is known."""
    form = f", compared as {way.form}" if way.form != model else ""
    how = {"model": "the name of a priced model", "alias": "an alias", "pattern": f"matched by the {way.by}"}[way.how]
    sells = f"; {own} has no price of its own and sells at the prices of {way.seller}" if way.seller != own else ""
    return f"{how}{form}, it means {way.sku.provider}/{way.sku.model}{_while(way.sku)}{sells}"


def _while(sku: Sku) -> str:
    since = f" from {day(sku.effective_from)}" if sku.effective_from else ""
    return since + (f" until {day(sku.effective_to)}" if sku.effective_to else "")


def day(at: datetime) -> str:
    """A day where the instant is a midnight in UTC, else the instant."""
    return f"{at:%Y-%m-%d}" if at.time() == time(0) else f"{at:%Y-%m-%dT%H:%M:%SZ}"


class _Asked(NamedTuple):
    """One line to explain."""

    case: Case
    sale: Sale
    meant: Sequence[Sku]
    whole: int
    bucket: str
    quantity: int


def _line(asked: _Asked, book: Book) -> Line:
    rejected, held = list[Rejected](), list[Cell]()
    for sku in asked.meant:
        for i in book.places.get((sku.provider, sku.model), range(0)):
            cell = book.cells[i]
            if cell.bucket == asked.bucket:
                if reason := _reason(cell, sku, asked, book.schedules):
                    rejected.append(Rejected(cell, reason))
                else:
                    held.append(cell)
    parts = choose(held, asked.quantity)
    at_list = choose([c for c in held if not c.contract], asked.quantity)
    if parts:
        taken = {id(p.cell) for p in parts}
        first = parts[0].cell
        than = f"less specific than {first.price_id}, which is for {', '.join(traits(first)) or 'everybody'}"
        others = [Rejected(c, than) for c in held if id(c) not in taken]
        why, remedy = tuple(_why(asked, parts, len(held), book)), ""
    else:
        others = [Rejected(c, _undecided(held)) for c in held]
        why, remedy = tuple(_why_not(asked, held, book)), _remedy(asked, held, book)
    return Line(asked.bucket, asked.quantity, parts, at_list, why, (*others, *rejected), remedy)


def choose(held: Sequence[Cell], quantity: int) -> tuple[Part, ...]:
    """The most specific of the entries that hold; none when they price more or less than the quantity, so when two tie."""
    if not held:
        return ()
    rank = min(c.rank for c in held)
    found = [(c, _units(c, quantity)) for c in held if c.rank == rank]
    if sum(n for _, n in found) != quantity:
        return ()
    return tuple(Part(c, n, EXACT.multiply(c.unit_price, Decimal(n))) for c, n in found)


def _units(cell: Cell, quantity: int) -> int:
    """Units that the entry prices: all, or those in its band of the excess."""
    if not cell.excess:
        return quantity
    return min(quantity, cell.context_to if cell.context_to is not None else quantity) - cell.context_from


def _reason(cell: Cell, sku: Sku, asked: _Asked, schedules: Mapping[str, Schedule]) -> str | None:
    """Why the entry does not hold, or None when it does."""
    at = asked.case.at
    if found := _misfit(cell, asked.sale):
        return found
    for start, end, what in (
        (sku.effective_from, sku.effective_to, f"the name means {sku.model} "),
        (cell.effective_from, cell.effective_to, ""),
    ):
        if start is not None and at < start:
            return f"{what}from {day(start)} on" if what else f"starts {day(start)}"
        if end is not None and at >= end:
            return f"{what}until {day(end)}" if what else f"ended {day(end)}"
    if cell.schedule and not (cell.schedule in schedules and inside(schedules[cell.schedule], at)):
        return f"only in the hours of {cell.schedule}"
    if cell.excess:
        beyond = _units(cell, asked.quantity) <= 0
        return f"for the part beyond {cell.context_from:,} units, this has {asked.quantity:,}" if beyond else None
    low, high = cell.context_from, cell.context_to
    if asked.whole < low or (high is not None and asked.whole >= high):
        return f"for {band(cell)} input tokens, this has {asked.whole:,}"
    return None


def _misfit(cell: Cell, sale: Sale) -> str | None:
    """Why the entry is not for this class of service, region, tenant or account."""
    said_service = (sale.service_tier, sale.processing, sale.speed)
    apart = [pair for pair in zip(cell.service, said_service, strict=True) if pair[0] != pair[1]]
    if apart:  # what is usual goes without saying: `batch: the event is flex`
        priced, said = (
            ", ".join([w for w in words if w not in USUAL] or words[:1]) for words in zip(*apart, strict=True)
        )
        return f"{priced}: the event is {said}"
    region = cell.region
    if region and region != sale.region and not (region.endswith("*") and sale.region.startswith(region[:-1])):
        return f"region {region}: the event says {sale.region or 'none'}"
    for kind, whose, who in (("", cell.tenant, sale.tenant), ("account ", cell.account, sale.account)):
        if whose not in ("", who):
            return f"contract of {kind}{whose}: the event is of {kind}{who or 'none'}"
    return None


def band(cell: Cell) -> str:
    """`more than 200,000`, `up to 200,000`, `more than 100 up to 1,000`, or nothing for any size."""
    low = f"more than {cell.context_from - 1:,}" if cell.context_from else ""
    high = f"up to {cell.context_to - 1:,}" if cell.context_to is not None else ""
    return " ".join(filter(None, (low, high)))


def inside(schedule: Schedule, at: datetime) -> bool:
    """Whether the instant lies in the hours; hours over midnight belong to the day on which they start."""
    local = at.astimezone(ZoneInfo(schedule.zone))
    now, today = local.time(), local.date()

    def on(back: int) -> bool:
        date = today - timedelta(days=back)
        return date.isoweekday() in schedule.weekdays and date not in schedule.holidays

    for hours in schedule.hours:
        if hours.end > hours.start:
            if on(0) and hours.start <= now < hours.end:
                return True
        elif (on(0) and now >= hours.start) or (on(1) and now < hours.end):
            return True
    return False


def traits(cell: Cell) -> list[str]:
    """What makes an entry specific, the strongest first."""
    named = {"account": cell.account, "tenant": cell.tenant, "region": cell.region, "the hours of": cell.schedule}
    return [f"{kind} {value}" for kind, value in named.items() if value]


def _why(asked: _Asked, parts: Sequence[Part], held: int, book: Book) -> list[str]:
    cell = parts[0].cell
    if held == len(parts):
        why = ["the only entry that holds" if held == 1 else f"{held} bands, each for its part of the line"]
    else:
        why = [
            f"the most specific of {held}: for {', '.join(traits(cell))} (account, tenant, region, hours, in this order)"
        ]
    if (other := SAME_RATE.get(asked.bucket)) and _copied(cell, other, asked.meant, book):
        why.append(f"{asked.bucket} has no price of its own here and is billed as {other}")
    if not cell.excess and (size := band(cell)):
        why.append(f"band: {size} input tokens; the whole input is {asked.whole:,}")
    factors = cell.price_id.rpartition("@")[2].split("*")[1:]
    if factors:
        why.append(f"made of a base price by factor {', then '.join(factors)}")
    if cell.contract:
        why.append("negotiated: the list price is another")
    return why


def _copied(cell: Cell, other: str, meant: Sequence[Sku], book: Book) -> bool:
    """Whether the entry is that of another bucket, standing in."""
    places = [i for sku in meant for i in book.places.get((sku.provider, sku.model), range(0))]
    return any(book.cells[i].bucket == other and book.cells[i].price_id == cell.price_id for i in places)


def _undecided(held: Sequence[Cell]) -> str:
    if any(c.excess for c in held):
        return "bands for the excess leave a gap, so the line has no price"
    return f"one of {len(held)} that hold and are equally specific: none is chosen by chance"


def _why_not(asked: _Asked, held: Sequence[Cell], book: Book) -> list[str]:
    if held:
        return [_undecided(held)]
    if not asked.meant:
        return ["nobody knows this model"]
    have = {book.cells[i].bucket for s in asked.meant for i in book.places.get((s.provider, s.model), range(0))}
    models = ", ".join(f"{s.provider}/{s.model}" for s in asked.meant)
    if asked.bucket not in have:
        return [f"{models} has no entry for {asked.bucket}; it has {', '.join(sorted(have - SAME_RATE.keys()))}"]
    return ["no entry holds"]


def _remedy(asked: _Asked, held: Sequence[Cell], book: Book) -> str:
    """The entry to write, but for what only a person can know: the price and where it was read."""
    if held:
        return "make one of them more specific, or end it with effective_to"
    now = [
        s for s in asked.meant
        if (s.effective_from is None or s.effective_from <= asked.case.at)
        and (s.effective_to is None or asked.case.at < s.effective_to)
    ]  # fmt: skip
    own = book.names.provider_of.get(asked.case.provider, asked.case.provider)
    sku = now[0] if now else Sku(own, asked.case.model)
    words = {"provider": sku.provider, "model": sku.model, "bucket": asked.bucket}
    sale = asked.sale
    usual = (("service_tier", "standard"), ("processing", "online"), ("speed", "standard"))
    words |= {name: getattr(sale, name) for name, common in usual if getattr(sale, name) != common}
    lines = ["[[prices]]", *(f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in words.items())]
    lines += [
        'unit_price = "" # what one unit costs',
        'currency = "" # such as USD',
        f"effective_from = {asked.case.at:%Y-%m-%d}T00:00:00Z",
    ]
    lines.append('source = "" # where you read it, and when')
    if now:  # with_base leaves the base prices of a model out once a catalog prices it
        lines.insert(
            0, f"# an own list price replaces all base prices of {sku.provider}/{sku.model}: write its others too"
        )
    return "\n".join(lines)
