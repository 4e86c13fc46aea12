"""What is explained is what was done: the same entries, the same amounts; and each rejected entry says its one reason."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.book import Book, compile_book
from streams.catalog.models import Catalog
from streams.catalog.parse import parse_files
from streams.catalog.prices import Alias, Factor, Schedule, Seller
from streams.catalog.validate import CatalogError
from streams.pipeline.attribute import attribute
from streams.pipeline.explain import RESPONSE, Case, Explanation, Line, Said, explain, inside
from streams.pipeline.frames import INSTANT
from streams.pipeline.rate import rate
from streams.pipeline.select import inside as columnar
from streams.tokens.normalise import normalise
from tests.support.events import DECODER, avro
from tests.unit.pipeline.test_select import BANDED, NIGHT, NOON, PEAK, YEAR, book, price


def one(prices: Book, **more: Any) -> Explanation:
    given_: dict[str, Any] = {
        "provider": "openai",
        "model": "m",
        "at": NOON,
        "quantities": {"input_uncached": 1_200},
    } | more
    return explain(Case(**given_), prices)


def reasons(line: Line) -> list[str]:
    return [r.reason for r in line.rejected]


def test_every_rejected_entry_has_one_reason() -> None:
    ended = NOON.replace(hour=0) - timedelta(days=30)
    prices = book(
        price("1", effective_from=ended),
        price("9", effective_from=ended - YEAR, effective_to=ended),
        price("2", service_tier="priority"),
        price("3", processing="batch"),
        price("4", region="eu-*"),
        price("5", tenant="acme"),
        price("6", tenant="b", account="a1"),
        price("7", speed="fast"),
        price("8", schedule="night"),
        price("9", "output_visible"),
        schedules=(NIGHT,),
    )

    [line] = one(prices, tenant="b", region=Said("us")).lines

    assert [p.cell.unit_price for p in line.parts] == [1]
    assert reasons(line) == [
        f"ended {ended:%Y-%m-%d}",
        "priority: the event is standard",
        "batch: the event is online",
        "region eu-*: the event says us",
        "contract of acme: the event is of b",
        "contract of account a1: the event is of account none",
        "fast: the event is standard",
        "only in the hours of night",
    ]
    assert line.why == ("the only entry that holds",)


def test_a_class_of_service_is_named_by_what_is_not_usual() -> None:
    [line] = one(book(price("1"), price("2", processing="batch")), service_tier=Said("flex")).lines

    assert reasons(line) == ["standard: the event is flex", "batch: the event is flex"]


def test_an_entry_of_another_day_or_size_says_which() -> None:
    later = NOON.replace(hour=0) + timedelta(days=9)

    [line] = one(book(*BANDED, price("3", service_tier="flex", effective_from=later))).lines
    [soon] = one(book(price("3", service_tier="flex", effective_from=later)), service_tier=Said("flex"), at=NOON).lines

    assert reasons(line)[0] == "for more than 200,000 input tokens, this has 1,200"
    assert line.why[-1] == "band: up to 200,000 input tokens; the whole input is 1,200"
    assert reasons(soon) == [f"starts {later:%Y-%m-%d}"]


def test_the_most_specific_entry_names_what_it_is_for_and_the_list_price_stands_beside() -> None:
    [line] = one(book(price("1"), price("0.8", tenant="acme")), tenant="acme").lines

    assert line.why[0] == "the most specific of 2: for tenant acme (account, tenant, region, hours, in this order)"
    assert reasons(line)[0].startswith("less specific than openai/m/input_uncached/tenant=acme@")
    assert [p.amount for p in (*line.parts, *line.at_list)] == [960, 1_200]


def test_reasoning_that_is_billed_as_output_says_so() -> None:
    [line] = one(book(price("1", "output_visible")), quantities={"output_reasoning": 5}).lines

    assert line.why[-1] == "output_reasoning has no price of its own here and is billed as output_visible"


def test_two_that_are_equally_specific_price_nothing() -> None:
    again = PEAK.model_copy(update={"id": "again"})
    entries = (price("1", schedule="peak"), price("2", schedule="again"))
    [line] = one(book(*entries, schedules=(PEAK, again)), at=datetime(2026, 9, 30, 2, tzinfo=UTC)).lines

    assert line.parts == ()
    assert line.why == ("one of 2 that hold and are equally specific: none is chosen by chance",)
    assert line.remedy == "make one of them more specific, or end it with effective_to"


def test_the_sale_says_where_each_word_came_from() -> None:
    facts = one(book(price("1")), service_tier=Said("on_demand_priority", RESPONSE), region=Said("eu")).sale

    assert [tuple(f) for f in facts] == [
        ("service tier", "priority", "response block, which says on_demand_priority"),
        ("processing", "online", "assumed: nothing says it"),
        ("speed", "standard", "assumed: nothing says it"),
        ("region", "eu", "event"),
    ]


@pytest.mark.parametrize(
    ("provider", "model", "said"),
    [
        ("openai", "M", "M is the name of a priced model, compared as m, it means openai/m"),
        ("openai", "m-latest", "m-latest is an alias, it means openai/m"),
        ("openai", "m-2026", "m-2026 is matched by the prefix m-2, it means openai/m"),
        (
            "azure.ai.openai", "m",
            "azure.ai.openai is another name of azure; m is the name of a priced model, it means openai/m;"
            " azure has no price of its own and sells at the prices of openai",
        ),
        ("openai", "mm", "openai has no model or alias mm; is it m?"),
        ("opnai", "m", "provider opnai has no prices; is it openai?"),
        ("opera", "m", "provider opera has no prices"),
    ],
)  # fmt: skip
def test_a_name_says_how_it_was_understood(provider: str, model: str, said: str) -> None:
    prices = book(
        price("1"),
        aliases=(
            Alias(provider="openai", alias="m-latest", model="m"),
            Alias(provider="openai", alias="m-2", model="m", match="prefix"),
        ),
        sellers=(Seller(provider="azure", names=("azure.ai.openai",), sells=("openai",)),),
    )

    assert one(prices, provider=provider, model=model).name == said


def test_the_remedy_is_an_entry_that_lacks_only_what_a_person_must_read() -> None:
    prices = book(price("1"))
    [line] = one(prices, quantities={"input_uncached": 1}, service_tier=Said("flex")).lines

    with pytest.raises(CatalogError, match="unit_price: money is ''"):
        parse_files({"prices.toml": line.remedy})

    filled = line.remedy
    for name, value in (("unit_price", "0.5"), ("currency", "USD"), ("source", "the page")):
        filled = filled.replace(f'{name} = ""', f'{name} = "{value}"')
    [entry] = parse_files({"prices.toml": filled}).prices
    [again] = one(book(price("1"), entry), quantities={"input_uncached": 1}, service_tier=Said("flex")).lines
    assert [p.amount for p in again.parts] == [Decimal("0.5")]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 40 * 24 * 60), min_size=1, max_size=30), st.sampled_from([PEAK, NIGHT]))
def test_hours_hold_at_the_moments_at_which_the_columns_say_so(minutes: list[int], schedule: Schedule) -> None:
    moments = [datetime(2026, 9, 25, tzinfo=UTC) + timedelta(minutes=m) for m in minutes]
    frame = pl.DataFrame({"event_time": pl.Series(moments, dtype=INSTANT)})

    assert [inside(schedule, at) for at in moments] == frame.select(columnar(schedule)).to_series().to_list()


buckets = st.sampled_from(
    ["input_uncached", "input_cache_read", "output_visible", "output_reasoning", "input_tool_prompt"]
)
tiers = st.sampled_from(["standard", "flex", "priority"])
processings = st.sampled_from(["online", "batch"])
regions = st.sampled_from(["", "eu", "eu-*", "us"])
tenants, accounts = st.sampled_from(["", "acme"]), st.sampled_from(["", "a1"])
bands = st.sampled_from(
    [(0, None, "whole"), (0, 100, "whole"), (100, None, "whole"), (0, 50, "excess"), (50, None, "excess")]
)
cells = st.builds(
    lambda n, bucket, tier, processing, region, tenant, account, days, size, schedule, model: price(
        str(n), bucket, service_tier=tier, processing=processing, region=region, tenant=tenant, account=account,
        effective_from=NOON + timedelta(days=days[0]), effective_to=NOON + timedelta(days=days[1]) if days[1] else None,
        context_from=size[0], context_to=size[1], context=size[2], schedule=schedule, model=model,
    ),
    st.integers(1, 9), buckets, tiers, processings, regions, tenants, accounts,
    st.sampled_from([(-9, None), (-9, 1), (-9, -1), (0, None), (2, 7)]), bands, st.sampled_from(["", "", "peak", "night"]),
    st.sampled_from(["m", "m", "n"]),
)  # fmt: skip
SINCE = {"provider": "openai", "model": "*", "effective_from": NOON - YEAR, "source": "test"}
FACTORS = (
    Factor(id="half", kind="class", multiplier=Decimal("0.5"), processing="batch", **SINCE),
    Factor(id="there", kind="region", multiplier=Decimal("1.1"), region="us", **SINCE),
    Factor(id="deal", kind="contract", multiplier=Decimal("0.9"), tenant="acme", **SINCE),
)
ALIASES = (
    Alias(provider="openai", alias="latest", model="m", effective_to=NOON),
    Alias(provider="openai", alias="latest", model="n", effective_from=NOON),
)
events = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["m", "M", "n", "latest", "nobody"]),
        "service_tier": st.sampled_from([None, "auto", "flex", "on_demand_priority", "batch"]),
        "processing": st.sampled_from([None, "online", "batch"]),
        "region": st.sampled_from([None, "eu", "eu-west", "us"]),
        "tenant_id": st.sampled_from(["acme", "b"]),
        "account_id": st.sampled_from([None, "a1"]),
        "event_time": st.builds(lambda h: NOON + timedelta(hours=h), st.integers(-72, 72)),
        "amounts": st.dictionaries(buckets, st.integers(1, 120), min_size=1),
    }
)


@settings(max_examples=150, deadline=None)
@given(st.lists(cells, max_size=14), st.lists(events, min_size=1, max_size=5))
def test_the_explained_choice_is_the_one_that_the_columns_make(written: list[Any], asked: list[dict[str, Any]]) -> None:
    catalog = Catalog(prices=tuple(written), factors=FACTORS, aliases=ALIASES, schedules=(PEAK, NIGHT))
    prices = compile_book(catalog, 1, "v1")  # unchecked: overlapping entries are chosen alike too
    records = [
        avro(i, usage_json=None, usage_dialect=None, quantities=[{"bucket": b, "amount": n} for b, n in e["amounts"].items()],
             **{k: v for k, v in e.items() if k != "amounts"})
        for i, e in enumerate(asked)
    ]  # fmt: skip
    frame = attribute(DECODER.decode(records).frame, prices)

    rated = rate(frame, normalise(frame), prices)

    for event, row in zip(asked, rated.iter_rows(named=True), strict=True):
        found = explain(
            Case(
                "openai", event["model"], event["event_time"], event["amounts"], Said(event["service_tier"]),
                Said(event["processing"]), region=Said(event["region"]), tenant=event["tenant_id"],
                account=event["account_id"] or "",
            ),
            prices,
        )  # fmt: skip
        explained = {(x.bucket, p.quantity, p.cell.price_id, p.amount) for x in found.lines for p in x.parts}
        bare = {x.bucket for x in found.lines if not x.parts}
        assert explained == {
            (x["bucket"], x["quantity"], x["price_id"], x["amount"]) for x in row["lines"] if x["price_id"] is not None
        }
        assert bare == {x["bucket"] for x in row["lines"] if x["price_id"] is None}
        assert all(x.remedy for x in found.lines if not x.parts)
        if row["list_cost"] is not None:
            assert sum(p.amount for x in found.lines for p in x.at_list) == row["list_cost"]
        for line in found.lines:  # every entry of the model and bucket has one word: chosen, or why not
            of_bucket = sum(
                prices.cells[i].bucket == line.bucket
                for sku in prices.names.resolve("openai", event["model"])
                for i in prices.places.get((sku.provider, sku.model), range(0))
            )
            assert len(line.parts) + len(line.rejected) == of_bucket
