"""A refused event leaves its id free, whatever the chunking: held against an oracle that takes one record after the other."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.book import compile_book
from streams.catalog.models import Catalog
from streams.catalog.registries import Requirement, Workload
from streams.pipeline.frames import Record
from streams.pipeline.seen import SeenSet
from streams.pipeline.settle import settle
from tests.support.events import DECODER, avro
from tests.unit.pipeline.test_settle import PRICES, run

STRICT = compile_book(
    Catalog(
        prices=PRICES,
        requirements=(
            Requirement(environment="production", required=("cost_center", "owner"), on_breach="dead_letter"),
            Requirement(environment="staging", required=("cost_center",)),
        ),
        workloads=(Workload(id="w", business_owner="b", technical_owner="t", cost_center="c"),),
    ),
    1,
    "v1",
)
NAMED = {"environment": "production", "workload_id": "w"}
LACKING = {"environment": "production"}
stories = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from(["somebody", "somebody-else"])), min_size=1, max_size=16
)


def record(offset: int, number: int, **other: Any) -> Record:
    return avro(number, **other)._replace(offset=offset)


@settings(max_examples=100, deadline=None)
@given(stories, st.integers(1, 7))
def test_every_record_is_judged_by_what_came_before_it(story: list[tuple[int, bool, str]], cut: int) -> None:
    records = [record(i, n, user_id=user, **NAMED if ok else LACKING) for i, (n, ok, user) in enumerate(story)]
    known, rated, duplicates, dead = dict[int, str](), list[int](), list[int](), list[tuple[int, str]]()
    for offset, (number, ok, user) in enumerate(story):
        if number in known:
            if known[number] == user:
                duplicates.append(offset)
            else:
                dead.append((offset, "conflict"))
        elif ok:
            known[number] = user
            rated.append(offset)
        else:
            dead.append((offset, "attribution"))

    rows, found_duplicates, _, found_dead = run(records, cut, STRICT)

    assert rows["source_offset"].to_list() == rated
    assert found_duplicates == duplicates
    assert found_dead == dead


def test_a_breach_dead_letters_one_record_alone_and_says_which_fields() -> None:
    records = [record(0, 0, **NAMED), record(1, 1, **LACKING), record(2, 2, **NAMED)]

    outcome = settle(records, -1, SeenSet(10), DECODER, STRICT, "s")

    (dead,) = outcome.dead
    assert (dead.record, dead.reason) == (records[1], "attribution")
    assert dead.detail.startswith("lacks cost_center, owner; ")
    assert outcome.batches[0].frame["source_offset"].to_list() == [0, 2]
    assert outcome.batches[0].coverage.dead == (1,)


def test_a_breach_that_only_warns_is_rated_and_visible() -> None:
    rows, _, _, dead = run([record(0, 1, environment="staging")], 1, STRICT)

    assert (rows["lacks"].to_list(), dead) == ([["cost_center"]], [])


def test_many_copies_of_a_refused_event_cost_one_pass() -> None:
    records = [record(i, 1, **LACKING) for i in range(2_000)]

    outcome = settle(records, -1, SeenSet(10), DECODER, STRICT, "s")

    assert [d.reason for d in outcome.dead] == ["attribution"] * 2_000
