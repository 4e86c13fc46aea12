"""The whole decision: any order of chunks and any chunking gives the same ledger content; every offset is accounted for."""

from decimal import Decimal

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.book import Book, compile_book
from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget
from streams.catalog.models import Catalog
from streams.catalog.prices import Price
from streams.pipeline.dedupe import minutes_of
from streams.pipeline.frames import Record
from streams.pipeline.ledger import read_frame, read_headers
from streams.pipeline.seen import SeenSet
from streams.pipeline.settle import settle
from streams.pipeline.totals import read_totals, split, totals
from streams.watch.scopes import key_of
from streams.watch.watched import scopes_of
from tests.support.events import DECODER, NOW, avro
from tests.unit.pipeline.test_rate import NOON, price

PRICES: tuple[Price, ...] = (
    price("gpt-5.2", "input_uncached", "0.00000125"),
    price("gpt-5.2", "output_visible", "0.00001"),
)
BUDGET = Budget(id="team-day", each=("team",), limit=Decimal(5), period=Calendar(every="day"))
BOOK = compile_book(Catalog(prices=PRICES), 1, "v1")
assert NOON.timestamp() * 1000 < NOW

kind = st.sampled_from(["good", "poison", "conflict"])
stories = st.lists(st.tuples(st.integers(0, 9), kind), min_size=1, max_size=30)


def record(offset: int, number: int, what: str) -> Record:
    if what == "poison":
        return Record(offset, NOW, b"poison")
    other = {"user_id": "somebody-else"} if what == "conflict" else {}
    return avro(number, **other)._replace(offset=offset)


def run(
    records: list[Record], cut: int, book: Book = BOOK
) -> tuple[pl.DataFrame, list[int], list[int], list[tuple[int, str]]]:
    seen, frames, covered, dead = SeenSet(10_000), [], -1, []
    duplicates: list[int] = []
    for i in range(0, len(records), cut):
        outcome = settle(records[i : i + cut], covered, seen, DECODER, book, "s")
        for batch in outcome.batches:
            coverage, _ = read_headers(batch.headers())
            rows = read_frame(batch.payload)
            assert coverage.base == covered
            assert coverage.rated == rows.height
            covered = coverage.to
            frames.append(rows)
            duplicates += coverage.duplicates
            seen = seen.add(rows["id_hash"].to_numpy(), rows["fingerprint"].to_numpy(), minutes_of(rows["append_time"]))
        dead += [(d.record.offset, d.reason) for d in outcome.dead]
    return pl.concat(frames), sorted(duplicates), [covered], dead


@settings(max_examples=40, deadline=None)
@given(stories, st.integers(1, 7))
def test_any_chunking_gives_the_same_ledger(story: list[tuple[int, str]], cut: int) -> None:
    records = [record(offset, number, what) for offset, (number, what) in enumerate(story)]

    rows, duplicates, covered, dead = run(records, cut)
    whole = run(records, len(records))

    assert rows.equals(whole[0])
    assert (duplicates, covered, dead) == whole[1:]
    offsets = [*rows["source_offset"], *duplicates, *(o for o, _ in dead)]
    assert sorted(offsets) == list(range(len(records)))
    assert rows["id_hash"].n_unique() == rows.height


def test_the_same_id_with_other_content_is_a_conflict_never_dropped() -> None:
    records = [record(0, 1, "good"), record(1, 1, "good"), record(2, 1, "conflict")]

    rows, duplicates, _, dead = run(records, 1)

    assert rows["source_offset"].to_list() == [0]
    assert duplicates == [1]
    assert dead == [(2, "conflict")]


def test_totals_are_the_sum_of_the_ledger_whatever_the_partition() -> None:
    rows, *_ = run(
        [avro(i, team=f"t{i % 3}|=", model="gpt-5.2" if i % 4 else "nobody")._replace(offset=i) for i in range(40)], 7
    )

    parts = [read_totals(p) for p in split(totals(rows, scopes_of([BUDGET])), 3)]

    together = pl.concat(parts)
    assert together["events"].sum() == 40
    assert together["unpriced"].sum() == 10
    assert (
        together["cost"].sum()
        == rows["effective_cost"].sum()
        == 30 * (100 * Decimal("0.00000125") + 20 * Decimal("0.00001"))
    )
    assert set(together["scope"]) == {key_of("team-day", "acme", [("team", f"t{i}|=")]) for i in range(3)}


def test_a_batch_stays_under_the_brokers_message_limit() -> None:
    import secrets

    from streams.pipeline import ledger

    records = [
        avro(i, trace_id=secrets.token_hex(128), response_id=secrets.token_hex(128))._replace(offset=i)
        for i in range(4_000)
    ]

    outcome = settle(records, -1, SeenSet(10), DECODER, BOOK, "s")

    assert len(outcome.batches) > 1
    assert all(len(b.payload) <= ledger.LIMIT_BYTES for b in outcome.batches)
    assert [b.coverage.base for b in outcome.batches] == [-1, *(b.coverage.to for b in outcome.batches)][:-1]
