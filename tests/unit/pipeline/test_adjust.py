"""Corrections, pure: what a run changes, and that old, new and difference are the same everywhere. Money worked out by hand."""

from datetime import timedelta
from decimal import Decimal, localcontext
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.book import Book, compile_book
from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget
from streams.catalog.models import Catalog, Tenant
from streams.catalog.prices import FxRate
from streams.jobs.ports import event_columns
from streams.pipeline.adjust import (
    NONE,
    adjusted_totals,
    as_they_stand,
    corrected,
    differences,
    encode_pairs,
    join,
    latest,
    read_pairs,
    sum_differences,
)
from streams.pipeline.attribute import attribute
from streams.pipeline.chain import Chain, LogBroken
from streams.pipeline.dedupe import identify
from streams.pipeline.rate import rate
from streams.pipeline.runs import (
    OFFSET_BITS,
    Kind,
    Run,
    RunRecord,
    Selection,
    adjustment_headers,
    encode_run,
    offset_of,
    place,
    reached,
    read_adjustment,
    read_run,
    run_of,
)
from streams.pipeline.totals import totals
from streams.tokens.normalise import normalise
from streams.watch.watched import scopes_of
from tests.support.events import DECODER
from tests.unit.pipeline.test_rate import DAY, NOON, book, price, used

EVENT = event_columns()
MS = int(NOON.timestamp() * 1000)
NO_PRICE, ONE_CENT, TWO_CENTS = book(), book(price("m", "requests", "0.01")), book(price("m", "requests", "0.02"))
SCOPES = scopes_of([Budget(id="day", each=("team",), limit=Decimal(5), period=Calendar(every="day"))])


def ledger(prices: Book, *events: Any, at: int = 0, later: pl.DataFrame | None = None) -> pl.DataFrame:
    """Rows of one ledger batch as they stand."""
    frame = attribute(identify(DECODER.decode(list(events)).frame), prices)
    rows = rate(frame, normalise(frame), prices)
    return as_they_stand(rows, at, latest([]) if later is None else later)


def run(kind: Kind = "rerate", selection: Selection | None = None) -> Run:
    return Run(1, "r", kind, "a reason", "somebody", "s1", 1, selection or Selection(), (0,))


def test_a_new_price_changes_the_cost_and_nothing_else() -> None:
    rows = ledger(ONE_CENT, used(1, NOON, requests=3), used(2, NOON, requests=1))

    pairs = corrected(rows, run(), TWO_CENTS, EVENT)

    assert pairs.new["effective_cost"].to_list() == [Decimal("0.06"), Decimal("0.02")]  # 3 x 0.02 and 1 x 0.02
    money = ["list_cost", "contracted_cost", "effective_cost", "lines"]
    assert pairs.new.drop(money).equals(rows.select(pairs.new.columns).drop(money))


def test_the_same_prices_change_nothing() -> None:
    rows = ledger(ONE_CENT, used(1, NOON, requests=3), used(2, NOON, model="nobody-knows", requests=1))

    assert corrected(rows, run(), ONE_CENT, EVENT).height == 0


def test_unpriced_to_priced_is_a_difference_of_the_whole_cost_and_is_counted() -> None:
    rows = ledger(NO_PRICE, used(1, NOON, requests=3))

    pairs = corrected(rows, run(), ONE_CENT, EVENT)
    [found] = differences(pairs).rows(named=True)

    assert (pairs.old["effective_cost"][0], pairs.new["pricing_status"][0]) == (None, "priced")
    assert (found["old"], found["new"], found["difference"]) == (Decimal(0), Decimal("0.03"), Decimal("0.03"))
    assert (found["currency"], found["events"], found["unpriced_before"], found["unpriced_after"]) == ("USD", 1, 1, 0)


def test_a_void_leaves_the_row_visible_without_lines_tokens_or_cost() -> None:
    rows = ledger(ONE_CENT, used(1, NOON, requests=3, input_uncached=0), used(2, NOON, requests=1))

    pairs = corrected(rows, run("void", Selection(where=(("event_id", "e1"),))), ONE_CENT, EVENT)

    [new] = pairs.new.rows(named=True)
    assert (new["event_id"], new["pricing_status"], new["is_deleted"], new["lines"]) == ("e1", "void", 1, [])
    assert (new["effective_cost"], new["total_tokens"], new["reasons"]) == (Decimal(0), 0, ["void: a reason"])
    assert differences(pairs)["difference"].to_list() == [Decimal("-0.03")]


def test_a_voided_row_is_never_touched_again() -> None:
    rows = ledger(ONE_CENT, used(1, NOON, requests=3))
    gone = corrected(rows, run("void"), ONE_CENT, EVENT).new
    stands = as_they_stand(ledger(ONE_CENT, used(1, NOON, requests=3)).drop("ledger_offset", "is_deleted"), 0, gone)

    assert stands["is_deleted"].to_list() == [1]
    assert corrected(stands, run(), TWO_CENTS, EVENT).height == 0
    assert corrected(stands, run("void"), TWO_CENTS, EVENT).height == 0


def test_the_latest_correction_of_an_event_is_how_it_stands() -> None:
    rows = ledger(NO_PRICE, used(1, NOON, requests=1), used(2, NOON, requests=1, model="other"))
    first = corrected(rows, run(), ONE_CENT, EVENT).new
    second = corrected(rows, run(), TWO_CENTS, EVENT).new

    stands = as_they_stand(rows.drop("ledger_offset", "is_deleted"), 0, latest([first, second]))

    assert stands["source_offset"].to_list() == [1, 2]
    assert stands["effective_cost"].to_list() == [Decimal("0.02"), None]


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (Selection(MS, MS + 1), ["e2"]),
        (Selection(end=MS), ["e1"]),
        (Selection(start=MS + 1), ["e3"]),
        (Selection(where=(("model", "m"),)), ["e1", "e2"]),
        (Selection(where=(("model", "m"), ("model", "n"), ("event_id", "e3"))), ["e3"]),
        (Selection(where=(("team", "x' OR 1=1 --"),)), []),
    ],
)
def test_a_selection_is_a_stretch_of_event_time_and_values_of_fields(selection: Selection, chosen: list[str]) -> None:
    ms = timedelta(milliseconds=1)
    events = used(1, NOON - ms, requests=1), used(2, NOON, requests=1), used(3, NOON + ms, model="n", requests=1)
    rows = ledger(book(price("m", "requests", "0.01"), price("n", "requests", "0.01")), *events)

    found = corrected(rows, run("void", selection), ONE_CENT, EVENT).new

    assert (found["event_id"].to_list() if found.height else []) == chosen


def test_what_is_not_on_the_list_of_fields_is_refused() -> None:
    with pytest.raises(ValueError, match=r"field 1=1; DROP TABLE x: cannot be chosen by; take one of tenant_id"):
        Selection(where=(("1=1; DROP TABLE x", "1"),))
    with pytest.raises(ValueError, match="its end is not after its start"):
        Selection(5, 5)


amounts = st.integers(1, 10**9)
prices_ = st.decimals("0.000000000000000001", "99999", places=18)
stories = st.lists(
    st.tuples(st.sampled_from(["m", "n", "none"]), st.sampled_from("abc"), st.integers(0, 4), amounts),
    min_size=1,
    max_size=20,
)


def catalog(*given: tuple[str, Decimal, str]) -> Book:
    return book(
        *(price(model, "requests", f"{amount}").model_copy(update={"currency": c}) for model, amount, c in given)
    )


def story(told: list[tuple[str, str, int, int]]) -> list[Any]:
    return [used(i, NOON - DAY * day / 10, model=m, requests=n) for i, (m, _, day, n) in enumerate(told)]


@settings(max_examples=60, deadline=None)
@given(
    stories,
    prices_,
    prices_,
    prices_,
    st.sampled_from(["rerate", "void"]),
    st.sampled_from(["USD", "EUR"]),
    st.integers(1, 5),
)
def test_new_less_old_is_the_difference_in_the_report_and_in_the_totals(
    told: list[tuple[str, str, int, int]], one: Decimal, two: Decimal, three: Decimal, kind: Kind, other: str, cut: int
) -> None:
    old_book = catalog(("m", one, "USD"))
    new_book = catalog(("m", two, "USD"), ("n", three, other))
    events = story(told)
    parts = [ledger(old_book, *events[i : i + cut], at=i) for i in range(0, len(events), cut)]

    pieces = [corrected(rows, run(kind), new_book, EVENT) for rows in parts]

    pairs = read_pairs(encode_pairs(join(pieces)))
    whole = sum_differences(differences(p) for p in pieces)
    assert whole.equals(differences(pairs))
    for currency in ("USD", "EUR"):

        def total(rows: pl.DataFrame, name: str = "effective_cost", currency: str = currency) -> Decimal:
            return Decimal(rows.filter(pl.col("currency") == currency)[name].sum() or 0) if rows.height else Decimal(0)

        with localcontext(prec=60):  # 28 digits would round
            assert (
                total(pairs.new) - total(pairs.old)
                == total(whole, "difference")
                == total(whole, "new") - total(whole, "old")
            )

    before = pl.concat(parts)
    after = (
        pl.concat([before.join(pairs.new, on="source_offset", how="anti"), pairs.new], how="diagonal")
        if pairs.height
        else before
    )
    moved = pl.concat([totals(before, SCOPES), adjusted_totals(pairs, SCOPES)])
    names = ["events", "tokens", "unpriced", "unpriced_tokens", "cost"]
    keys = ["scope", "slice", "currency"]
    folded = moved.group_by(keys).agg(pl.col(names).sum())
    folded = folded.filter(pl.any_horizontal(pl.col(n) != 0 for n in names)).sort(keys)
    assert folded.equals(totals(after.filter(pl.col("is_deleted") == 0), SCOPES).select(*keys, *names))


@settings(max_examples=60, deadline=None)
@given(stories, prices_, prices_, st.integers(0, 4))
def test_a_price_with_a_later_start_never_changes_what_lies_before_it(
    told: list[tuple[str, str, int, int]], one: Decimal, two: Decimal, day: int
) -> None:
    start = NOON - DAY * day / 10
    old_book = book(price("m", "requests", f"{one}"))
    new_book = book(price("m", "requests", f"{one}", end=start), price("m", "requests", f"{two}", start))

    pairs = corrected(ledger(old_book, *story(told)), run(), new_book, EVENT)

    assert pairs.height == 0 or pairs.old["event_time"].min() >= start  # type: ignore[operator]  # a time it is


def test_nothing_is_an_empty_message() -> None:
    assert encode_pairs(NONE) == b""
    assert read_pairs(b"").height == read_pairs(None).height == 0
    assert join([NONE, NONE]).height == 0
    assert differences(NONE).height == adjusted_totals(NONE, SCOPES).height == 0


def test_pairs_of_runs_and_offsets_are_one_chain() -> None:
    chain = Chain()
    for offset, (base, to) in enumerate(
        [
            (-1, place(1, 4)),
            (place(1, 4), place(1, 9)),
            (place(1, 4), place(1, 9)),
            (place(1, 9), place(3, 0)),
            (place(1, 9), place(2, 5)),
        ]
    ):
        chain, _ = chain.take(offset, base, to)

    assert (chain.mark, chain.last) == (place(3, 0), 3)  # what came twice, and what came too late, is ignored
    assert [place(1, 1 << 30) < place(2, -1), place(2, -1) < place(2, 0)] == [True, True]
    assert (run_of(-1), reached(-1, 1), reached(place(1, 9), 2), reached(place(2, 9), 2)) == (0, -1, -1, 9)


@given(st.integers(1, 2**23 - 1), st.integers(-1, 2**OFFSET_BITS - 2))
def test_a_pair_fits_64_bits_and_comes_back(number: int, offset: int) -> None:
    mark = place(number, offset)

    assert (run_of(mark), offset_of(mark)) == (number, offset)
    assert mark < 2**63


def test_a_run_and_its_messages_come_back_as_they_were_written() -> None:
    given_run = Run(7, "ü", "void", "line\nand ü", "me", "s1", 3, Selection(1, 2, (("team", "é=|"),)), (4, -1))

    value, headers = encode_run(RunRecord(given_run, ended=True, adjusted=5))
    stamp = read_adjustment(adjustment_headers(given_run, -1, 4, 9))

    assert read_run(value, headers) == RunRecord(given_run, True, 5)
    assert (stamp.run, stamp.run_id, stamp.kind, stamp.reason, stamp.rows) == (7, "ü", "void", "line\nand ü", 9)
    assert [RunRecord(given_run).span(), RunRecord(given_run, True).span()] == [(11, 12), (12, 13)]


@pytest.mark.parametrize("headers", [[], [("format", b"2")], [("format", b"1"), ("run", b"x")]])
def test_what_is_not_an_adjustment_stops_its_reader(headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(LogBroken, match=r"usage\.adjustments: "):
        read_adjustment(headers)


def test_a_void_takes_back_what_was_converted_too() -> None:
    rates = (FxRate(base="USD", quote="EUR", rate=Decimal("0.5"), effective_from=NOON - DAY, source="test"),)
    prices = compile_book(
        Catalog(prices=(price("m", "requests", "0.01"),), rates=rates, tenants=(Tenant(id="acme", currency="EUR"),)),
        1,
        "v1",
    )
    rows = ledger(prices, used(1, NOON, requests=3))

    new = corrected(rows, run("void"), prices, EVENT).new

    assert rows["converted_cost"].to_list() == [Decimal("0.015")]
    assert new["converted_cost"].to_list() == [Decimal(0)]
