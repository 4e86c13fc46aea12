"""Estimates as tables for people and as JSON. Only the tables round: totals to the cent, small amounts to 6 digits."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from rich.text import Text

from streams.cli.estimates import Figure, FileSums, Sum, Use, as_it_goes, times_requests
from streams.cli.screen import Screen, Table
from streams.cli.workloads import Planned
from streams.pipeline.estimate import EXACT
from streams.watch.alerts import text

ROUNDED = "rounded for reading: to the cent, below 1 to 6 digits; --json has every digit"
NO_PRICE = "no price"
SIX = Context(prec=6, rounding=ROUND_HALF_EVEN)
CENT = Decimal("0.01")


def shown(amount: Decimal | None, currency: str | None) -> str:
    """Money for people."""
    if amount is None:
        return NO_PRICE
    figure = f"{amount.quantize(CENT, context=EXACT):,}" if abs(amount) >= 1 else text(SIX.plus(amount))
    return f"{figure} {currency or ''}".rstrip()


def percent(share: Decimal) -> str:
    """A share for people, to a tenth of a percent."""
    return f"{text((share * 100).quantize(Decimal('0.1'), context=EXACT))} %"


def exact(amount: Decimal | None) -> str | None:
    """Money as JSON has it."""
    return None if amount is None else text(amount)


def saved(figure: Figure, against: Figure) -> Decimal | None:
    """Which share it saves; null where one has no price or their currencies differ."""
    if figure.contracted is None or not against.contracted or figure.currency != against.currency:
        return None
    return EXACT.subtract(Decimal(1), EXACT.divide(figure.contracted, against.contracted))


def _difference(figure: Figure, against: Figure) -> str:
    share = saved(figure, against)
    if share is None or figure is against:
        return ""
    return f"{'-' if share >= 0 else '+'}{percent(abs(share))}"


def show(one: Planned, found: Sequence[Figure], uses: Sequence[Use], prices: str, screen: Screen) -> None:
    """One workload; `prices` says whose and of when."""
    whom = "".join(
        f", {n} {v}" for n, v in (("tenant", one.tenant), ("account", one.account), ("region", one.region)) if v
    )
    size = ", ".join(f"{bucket} {amount:,}" for bucket, amount in one.used.items())
    share = (
        f", {percent(Decimal(one.cached.numerator) / one.cached.denominator)} of the input cached" if one.cached else ""
    )
    screen.print(Text.assemble((one.name, "bold"), f": {one.requests:,} requests at {prices}{whom}"))
    screen.print(f"each {size}{share} (cached variants)" if one.cached else f"each {size}")
    grown = [f"total at {one.growth}x"] if one.growth is not None else []
    first = found[0]
    table = Table(
        one.model, "per request", "1,000 requests", "total, list", "total, contracted", *grown, "against online",
        box=None, title_justify="left",
    )  # fmt: skip
    for f in (f for f in found if f.model == one.model):
        table.add_row(*_row(f, one, first))
    screen.print(table)
    if one.compare:
        models = list(dict.fromkeys(f.model for f in found))
        beside = Table("total, contracted", *models, box=None, title_justify="left")
        for variant in dict.fromkeys(f.variant for f in found):
            row = [next(f for f in found if (f.model, f.variant) == (model, variant)) for model in models]
            beside.add_row(variant, *(f"{_total(f, one)}  {_difference(f, first)}".rstrip() for f in row))
        screen.print(beside)
    for f in found:
        if f.contracted is None:
            screen.print(f"{f.model} {f.variant}: {'; '.join(f.reasons) or f.status}")
    if uses:
        _show_capacity(one, as_it_goes(one, found), uses, screen)


def _row(f: Figure, one: Planned, first: Figure) -> Iterator[str]:
    yield f.variant
    yield shown(f.contracted, f.currency)
    yield shown(times_requests(f.contracted, 1_000), f.currency)
    yield shown(times_requests(f.at_list, one.requests), f.currency)
    yield _total(f, one)
    if one.growth is not None:
        yield shown(times_requests(f.contracted, one.requests, one.growth), f.currency)
    yield _difference(f, first)


def _total(f: Figure, one: Planned) -> str:
    return shown(times_requests(f.contracted, one.requests), f.currency)


def _show_capacity(one: Planned, figure: Figure, uses: Sequence[Use], screen: Screen) -> None:
    if (bought := one.provisioned) is None:
        return
    capacity, currency = bought.capacity, bought.currency
    table = Table(
        "provisioned", "utilisation", "spillover", "per million tokens", f"as you go, {figure.variant}", "total",
        "total as you go", box=None, title_justify="left",
    )  # fmt: skip
    for use in uses:
        found = use.found
        goes = found.as_you_go
        alone = None if goes is None else EXACT.divide(EXACT.multiply(goes, Decimal(use.tokens)), Decimal(1_000_000))
        table.add_row(
            use.name, percent(found.utilisation), percent(found.spillover), shown(found.per_million, currency),
            shown(goes, currency), shown(found.total, currency), shown(alone, currency),
        )  # fmt: skip
    screen.print(table)
    screen.print(
        f"{capacity.units:,} x {capacity.hours:,} hours cost {shown(capacity.cost, currency)}"
        f" and could serve {capacity.tokens:,} tokens; {breaks_even(uses[0])}"
    )


def breaks_even(use: Use) -> str:
    """The utilisation that decides, in words."""
    share = use.found.break_even
    if share is None:
        return "no break-even: as you go it has no price"
    if share > 1:
        return f"never cheaper than as you go: it would break even at {percent(share)}"
    return f"it breaks even at {percent(share)} utilisation"


def workload_data(one: Planned, found: Sequence[Figure], uses: Sequence[Use], at: str) -> dict[str, Any]:
    """One workload as JSON."""
    return {
        "name": one.name,
        "at": at,
        "requests": one.requests,
        "growth": exact(one.growth),
        "tenant": one.tenant or None,
        "variants": [_figure_data(f, one, found[0]) for f in found],
        "provisioned": _capacity_data(one, uses) if uses else None,
    }


def _figure_data(f: Figure, one: Planned, first: Figure) -> dict[str, Any]:
    growth = one.growth
    costs = {
        name: {
            "per_request": exact(each),
            "per_1000": exact(times_requests(each, 1_000)),
            "total": exact(times_requests(each, one.requests)),
            "total_grown": None if growth is None else exact(times_requests(each, one.requests, growth)),
        }
        for name, each in (("list", f.at_list), ("contracted", f.contracted))
    }
    return {
        "model": f.model,
        "variant": f.variant,
        "pricing_status": f.status,
        "reasons": f.reasons,
        "quantities": f.quantities,
        "currency": f.currency,
        **costs,
        "saved": exact(saved(f, first)),
    }


def _capacity_data(one: Planned, uses: Sequence[Use]) -> dict[str, Any]:
    figures = ("utilisation", "spillover", "per_million", "as_you_go", "break_even", "total")
    rows = [{"usage": u.name, "tokens": u.tokens, **{n: exact(getattr(u.found, n)) for n in figures}} for u in uses]
    return {"currency": one.provisioned.currency if one.provisioned else None, "uses": rows}


def file_data(found: FileSums, growth: Decimal | None) -> dict[str, Any]:
    """A file as JSON."""
    return {
        "refused": len(found.problems),
        "growth": exact(growth),
        "variants": [_label_data(found, label, growth) for label in found.labels],
    }


def _label_data(found: FileSums, label: tuple[str, str], growth: Decimal | None) -> dict[str, Any]:
    groups = {
        f"by_{by}": {which: _sum_data(_of(found, label, by, which), growth) for which in found.groups(by, label)}
        for by in ("model", "team")
    }
    total = _sum_data(_of(found, label, "", ""), growth)
    return {"variant": label[0], "model": label[1] or None, **total, **groups}


def _of(found: FileSums, label: tuple[str, str], by: str, which: str) -> Sum:
    return found.sums.get((label, by, which), Sum())


def _sum_data(one: Sum, growth: Decimal | None) -> dict[str, Any]:
    def costs(money: Mapping[str, Decimal], without: int) -> dict[str, Any]:
        by_currency = {c: text(m) for c, m in sorted(money.items())}
        grown = {c: text(EXACT.multiply(m, growth)) for c, m in sorted(money.items())} if growth is not None else None
        whole = not without
        return {
            "total": by_currency if whole else None,
            "total_grown": grown if whole else None,
            "priced_part": by_currency,
        }

    return {
        "events": one.events,
        "without_price": one.without,
        "tokens": one.tokens,
        "list": costs(one.at_list, one.unlisted),
        "contracted": costs(one.contracted, one.without),
    }


def sum_shown(money: Mapping[str, Decimal], without: int, events: int, growth: Decimal = Decimal(1)) -> str:
    """Money of a group for people; a sum that lacks a part says so."""
    parts = " + ".join(shown(EXACT.multiply(m, growth), c) for c, m in sorted(money.items()))
    if not without:
        return parts or "0"
    return f"{NO_PRICE}: {without:,} of {events:,}" + (f" (the others {parts})" if parts else "")


def show_file(found: FileSums, growth: Decimal | None, screen: Screen) -> None:
    """A file: every variant, then models and teams."""
    grown = [f"total at {growth}x"] if growth is not None else []
    table = Table("variant", "events", "tokens", "list", "contracted", *grown, box=None)
    for label in found.labels:
        one = _of(found, label, "", "")
        more = [sum_shown(one.contracted, one.without, one.events, growth)] if growth is not None else []
        name = f"{label[0]}, {label[1]}" if label[1] else label[0]
        at_list = sum_shown(one.at_list, one.unlisted, one.events)
        contracted = sum_shown(one.contracted, one.without, one.events)
        table.add_row(name, f"{one.events:,}", f"{one.tokens:,}", at_list, contracted, *more)
    screen.print(table)
    own = [label for label in found.labels if not label[1]]
    for by in ("model", "team"):
        part = Table(by, "events", "tokens", *(f"{label[0]}" for label in own), box=None)
        for which in found.groups(by, found.labels[0]):
            sums = [_of(found, label, by, which) for label in own]
            costs = [sum_shown(s.contracted, s.without, s.events) for s in sums]
            part.add_row(which, f"{sums[0].events:,}", f"{sums[0].tokens:,}", *costs)
        screen.print(part)
