"""Newer base prices: history stands, what follows is new, and nothing happens where nothing differs."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.base_prices import base_catalog, with_base
from streams.catalog.book import Book, Sale, compile_book
from streams.catalog.limits import Budget, Rolling
from streams.catalog.models import Catalog
from streams.catalog.prices import Alias, Hours, Price, Schedule, Seller
from streams.catalog.update import as_base, own_part, standing_base, succeed, updated
from streams.catalog.validate import CatalogError, problems

START, AT = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)
PROVIDERS, MODELS = ("p", "q"), ("m", "m-2", "n")
NAMES = (*MODELS, "m-3", "other", "n-20260101")
BUCKETS, TIERS = ("input_uncached", "output_visible", "output_reasoning"), ("standard", "priority")
MOMENTS = [START, AT - 30 * DAY, AT - DAY, AT, AT + DAY, AT + 30 * DAY]


def price(amount: str = "1", **other: Any) -> Price:
    given = {
        "provider": "p",
        "model": "m",
        "bucket": "input_uncached",
        "effective_from": START,
        "currency": "USD",
        "source": "test",
    }
    return Price(**{**given, "origin": "base", "unit_price": Decimal(amount), **other})


def book_of(catalog: Catalog) -> Book:
    return compile_book(catalog, 1, "v")


def charged(book: Book, sale: Sale, bucket: str, size: int, moment: datetime) -> Decimal | None:
    """The scalar oracle: what a unit of the bucket costs then; None is unpriced."""
    found = []
    for sku, places in book.offers(sale).found:
        if (sku.effective_from or START) <= moment and (sku.effective_to is None or moment < sku.effective_to):
            found += [
                c
                for c in (book.cells[i] for i in places)
                if c.bucket == bucket
                and c.effective_from <= moment
                and (c.effective_to is None or moment < c.effective_to)
                and c.context_from <= size
                and (c.context_to is None or size < c.context_to)
            ]
    return min(found, key=lambda c: c.rank).unit_price if found else None


def each_charge(*books: Book) -> Any:
    """Every name, class, bucket, size and moment: the moment, then what each book charges."""
    for moment in MOMENTS:
        for provider in PROVIDERS:
            for name in NAMES:
                for tier in TIERS:
                    for bucket in BUCKETS:
                        for size in (10, 1_000):
                            sale = Sale(provider, name, tier)
                            yield moment, *(charged(b, sale, bucket, size, moment) for b in books)


@st.composite
def bases(draw: st.DrawFn) -> Catalog:
    """Small base catalogs: prices that change, bands, classes, exact names and patterns, one provider selling another's."""
    prices, amount = [], st.integers(1, 3).map(str)
    for provider in PROVIDERS:
        for model in draw(st.sets(st.sampled_from(MODELS))):
            for bucket in draw(st.sets(st.sampled_from(BUCKETS), min_size=1)):
                for tier in draw(st.sets(st.sampled_from(TIERS), min_size=1)):
                    cell = {"provider": provider, "model": model, "bucket": bucket, "service_tier": tier}
                    layout = draw(st.sampled_from(("one", "changes", "banded", "later")))
                    if layout == "changes":
                        turn = draw(st.sampled_from((AT - 30 * DAY, AT, AT + 30 * DAY)))
                        prices.append(price(draw(amount), **cell, effective_to=turn))
                        prices.append(price(draw(amount), **cell, effective_from=turn))
                    elif layout == "banded":
                        prices.append(price(draw(amount), **cell, context_to=100))
                        prices.append(price(draw(amount), **cell, context_from=100))
                    else:
                        prices.append(price(draw(amount), **cell, effective_from=AT if layout == "later" else START))
    known = sorted({(p.provider, p.model) for p in prices})
    aliases = list[Alias]()
    for provider, model in known:
        for name in draw(st.sets(st.sampled_from(("m-3", "other", "m-2")), max_size=1)):
            if (provider, name) not in {(a.provider, a.alias) for a in aliases} | set(known):
                aliases.append(Alias(provider=provider, alias=name, model=model, origin="base"))
        aliases += [
            Alias(provider=provider, alias=prefix, model=model, match="prefix", origin="base")
            for prefix in draw(st.sets(st.sampled_from(("m", "n")), max_size=1))
        ]
    sellers = (Seller(provider="q", sells=("p",), origin="base"),)
    return Catalog(prices=tuple(prices), aliases=tuple(aliases), sellers=sellers)


@settings(max_examples=60, deadline=None)
@given(bases(), bases(), bases())
def test_no_moment_before_an_update_is_priced_differently_and_every_moment_after_it_as_the_newer_base_says(
    old: Catalog, new: Catalog, newest: Catalog
) -> None:
    first = succeed(old, new, AT)
    second = succeed(first, newest, AT + 20 * DAY)

    assert problems(first) == problems(second) == []
    for moment, was, now, says in each_charge(*map(book_of, (old, first, new))):
        if moment < AT:
            assert now == was or was is None  # a model that nobody knew may have one since its first day
        else:
            assert now == says
    for moment, was, now, says in each_charge(*map(book_of, (first, second, newest))):
        assert now == (says if moment >= AT + 20 * DAY else now if was is None else was)


@settings(max_examples=60, deadline=None)
@given(bases(), bases())
def test_the_same_base_again_changes_nothing(old: Catalog, new: Catalog) -> None:
    first = succeed(old, new, AT)

    assert succeed(old, old, AT) is old
    again = book_of(succeed(first, new, AT + DAY)).frame
    assert sorted(map(str, again.rows())) == sorted(map(str, book_of(first).frame.rows()))


def test_what_stands_in_for_a_bucket_before_the_update_is_not_written_out_by_the_next_one() -> None:
    #  old  reasoning            [AT--------
    #  new  visible   [START---------------   stands in for reasoning until AT
    old = Catalog(prices=(price(bucket="output_reasoning", effective_from=AT),))
    new = Catalog(prices=(price(bucket="output_visible"),))

    first = succeed(old, new, AT)

    assert succeed(first, new, AT + DAY) is first


def test_what_the_newer_base_does_not_sell_any_more_gets_no_price_in_the_past_from_the_next_update() -> None:
    #  old  reasoning [START----------------   in the class `priority` [AT----
    #  new  reasoning           [AT---------   in no other class, so nothing stands in there from AT on
    reasoning, visible = price(bucket="output_reasoning"), price(bucket="output_visible")
    first_class = {"service_tier": "priority"}
    old = Catalog(prices=(reasoning, price(bucket="output_reasoning", effective_from=AT, **first_class)))
    later = reasoning.model_copy(update={"effective_from": AT})
    new = Catalog(prices=(later, visible, visible.model_copy(update=first_class)))

    first = succeed(old, new, AT)

    assert succeed(first, new, AT + DAY) is first


def test_the_base_that_is_installed_succeeds_itself_without_a_change() -> None:
    assert succeed(base_catalog(), base_catalog(), AT) is base_catalog()


def test_a_price_that_changes_is_two_entries_that_meet_at_the_update() -> None:
    old, new = Catalog(prices=(price("1"),)), Catalog(prices=(price("2"),))

    found = succeed(old, new, AT).prices

    assert [(str(p.unit_price), p.effective_from, p.effective_to) for p in found] == [("1", START, AT), ("2", AT, None)]


def test_a_change_that_its_source_dates_later_starts_on_that_day() -> None:
    later = AT + 10 * DAY
    old = Catalog(prices=(price("1"),))
    new = Catalog(prices=(price("1", effective_to=later), price("2", effective_from=later)))

    found = book_of(succeed(old, new, AT))

    sale = Sale("p", "m")
    charges = [charged(found, sale, "input_uncached", 1, at) for at in (AT - DAY, later - DAY, later)]
    assert charges == [1, 1, 2]


def test_a_model_that_nobody_knew_is_priced_since_the_day_that_its_source_gives() -> None:
    found = succeed(Catalog(prices=(price(),)), Catalog(prices=(price(), price("2", model="n"))), AT)

    assert charged(book_of(found), Sale("p", "n"), "input_uncached", 1, AT - 30 * DAY) == 2


def test_hours_that_change_under_their_name_change_from_the_update_on() -> None:
    def hours(start: str, end: str) -> Schedule:
        return Schedule(id="peak", hours=(Hours.model_validate({"start": start, "end": end}),), origin="base")

    old = Catalog(prices=(price(), price("2", schedule="peak")), schedules=(hours("08:00", "20:00"),))
    new = old.model_copy(update={"schedules": (hours("09:00", "21:00"),)})

    found = succeed(old, new, AT)

    assert problems(found) == []
    assert {s.id: s.hours[0].start.hour for s in found.schedules} == {"peak": 8, "peak-20261101000000": 9}
    assert succeed(found, new, AT + DAY) is found


def test_own_entries_stay_and_win() -> None:
    own = price("7", model="n", origin="own")
    published = with_base(Catalog(prices=(own,)), Catalog(prices=(price("1"), price("3", model="n"))))

    found = updated(published, Catalog(prices=(price("2"), price("4", model="n"))), AT)

    assert [p.unit_price for p in found.prices if p.model == "n"] == [7]
    assert [p.unit_price for p in found.prices if p.model == "m"] == [1, 2]
    assert own_part(found).prices == (own,)


def test_apply_keeps_the_base_that_is_published_and_takes_only_missing_models_from_the_installed_one() -> None:
    published = updated(Catalog(prices=(price("1"),)), Catalog(prices=(price("2"),)), AT)

    base = standing_base(published, Catalog(prices=(price("1"), price("3", model="n"))))

    assert [(p.model, str(p.unit_price)) for p in base.prices] == [("m", "1"), ("m", "2"), ("n", "3")]


def test_base_prices_that_decide_something_else_are_refused() -> None:
    budget = Budget(id="b", limit=Decimal(1), period=Rolling(size="1h"))

    with pytest.raises(CatalogError, match="budgets is in them"):
        as_base(Catalog(budgets=(budget,)))
