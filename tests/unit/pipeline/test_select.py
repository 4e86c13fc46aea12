"""Which price holds: class of service, band, hour, region, contract, name and time; held against a slow scalar oracle."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from time import perf_counter as clock
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.book import Book, compile_book
from streams.catalog.models import Catalog, Tenant
from streams.catalog.prices import Alias, Factor, FxRate, Hours, Price, Schedule, Seller
from streams.catalog.validate import problems
from streams.pipeline.attribute import attribute
from streams.pipeline.rate import rate
from streams.tokens.normalise import normalise
from tests.support.events import DECODER, NOW, avro

NOON = datetime.fromtimestamp(NOW / 1000, UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=4)
YEAR = timedelta(days=365)


def price(amount: str, bucket: str = "input_uncached", **more: Any) -> Price:
    given_ = {
        "provider": "openai",
        "model": "m",
        "effective_from": NOON - YEAR,
        "source": "test",
        "currency": "USD",
    } | more
    return Price(bucket=bucket, unit_price=Decimal(amount), **given_)


def book(*prices: Price, **more: Any) -> Book:
    catalog = Catalog(prices=prices, **more)
    assert problems(catalog) == []
    return compile_book(catalog, 1, "v1")


def one(prices: Book, at: datetime = NOON, model: str = "m", **more: Any) -> dict[str, Any]:
    """The rated row of one event; quantities by default 1,000 of input_uncached."""
    amounts = more.pop("amounts", {"input_uncached": 1_000})
    quantities = [{"bucket": b, "amount": n} for b, n in amounts.items()]
    usage = {"usage_json": None, "usage_dialect": None, "quantities": quantities} if "usage_json" not in more else {}
    frame = attribute(DECODER.decode([avro(1, model=model, event_time=at, **usage | more)]).frame, prices)
    return rate(frame, normalise(frame), prices).row(0, named=True)


def cost(*args: Any, **more: Any) -> Decimal | None:
    found: Decimal | None = one(*args, **more)["effective_cost"]
    return found


FLEX = price("0.5", service_tier="flex")
CLASSES: list[tuple[dict[str, Any], str | None]] = [
    ({}, "1000"),
    ({"service_tier": "default"}, "1000"),
    ({"service_tier": "flex"}, "500"),
    ({"service_tier": "priority"}, None),  # I-8, I-10: never the standard price
    ({"service_tier": "batch"}, "400"),
    ({"processing": "batch"}, "400"),
    ({"processing": "batch", "service_tier": "flex"}, None),
    ({"speed": "fast"}, None),
]


@pytest.mark.parametrize(("said", "expected"), CLASSES)
def test_a_class_of_service_without_a_price_of_its_own_is_unpriced(said: dict[str, Any], expected: str | None) -> None:
    prices = book(price("1"), FLEX, price("0.4", processing="batch"))

    found = one(prices, **said)

    assert found["effective_cost"] == (None if expected is None else Decimal(expected))
    assert found["pricing_status"] == ("unpriced" if expected is None else "priced")


def test_the_tier_of_the_response_wins_over_what_the_event_says() -> None:
    prices = book(price("1", provider="anthropic"), price("3", provider="anthropic", service_tier="priority"))
    block = '{"input_tokens": 1000, "output_tokens": 0, "service_tier": "priority"}'
    said: dict[str, Any] = {
        "provider": "anthropic",
        "usage_dialect": "anthropic.messages",
        "usage_json": block,
        "service_tier": "standard",
    }

    found = one(prices, **said)

    assert (found["effective_cost"], found["service_tier"], found["tier_source"]) == (
        Decimal(3_000),
        "priority",
        "response",
    )


BANDED = (price("1", context_to=200_001), price("2", context_from=200_001))


@pytest.mark.parametrize(("tokens", "each"), [(200_000, 1), (200_001, 2)])
def test_a_band_takes_the_whole_request_and_counts_cached_input(tokens: int, each: int) -> None:
    out = (price("10", "output_visible", context_to=200_001), price("20", "output_visible", context_from=200_001))
    prices = book(*BANDED, *out, price("0.1", "input_cache_read"))

    found = cost(prices, amounts={"input_uncached": tokens - 100_000, "input_cache_read": 100_000, "output_visible": 7})

    assert found == each * (tokens - 100_000) + 10_000 + each * 70


def test_bands_for_the_excess_price_each_part_on_its_own() -> None:
    steps = [(0, 100, "3"), (100, 1_000, "2"), (1_000, None, "1")]
    prices = book(*(price(p, context="excess", context_from=a, context_to=b) for a, b, p in steps))

    found = one(prices, amounts={"input_uncached": 1_500})

    assert found["effective_cost"] == 100 * 3 + 900 * 2 + 500 * 1
    assert sum(line["quantity"] for line in found["lines"]) == 1_500


def test_a_batch_above_the_band_takes_the_batch_price_of_that_band() -> None:
    # I-9: litellm counted a batch over 272,000 tokens at half of what it cost
    batch = {"processing": "batch"}
    prices = book(price("5", context_to=272_001, **batch), price("10", context_from=272_001, **batch))

    assert cost(prices, amounts={"input_uncached": 300_000}, **batch) == 3_000_000


PEAK = Schedule(id="peak", zone="Asia/Shanghai", hours=(Hours(start=time(9), end=time(12)),), weekdays=(1, 2, 3, 4, 5),
                holidays=(date(2026, 10, 1),))  # fmt: skip
NIGHT = Schedule(id="night", hours=(Hours(start=time(22), end=time(6)),), weekdays=(5,))


def shanghai(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=ZoneInfo("Asia/Shanghai"))


MOMENTS = [
    (shanghai(9, 30, 9), "2000"),  # a Wednesday
    (shanghai(9, 30, 8, 59), "1000"),
    (shanghai(9, 30, 12), "1000"),
    (shanghai(10, 1, 9), "1000"),  # a holiday
    (shanghai(10, 3, 9), "1000"),  # a Saturday
]


@pytest.mark.parametrize(("at", "expected"), MOMENTS)
def test_hours_are_those_of_their_zone_weekdays_and_holidays(at: datetime, expected: str) -> None:
    prices = book(price("1"), price("2", schedule="peak"), schedules=(PEAK,))

    assert cost(prices, at) == Decimal(expected)


def test_hours_over_midnight_belong_to_the_day_on_which_they_start() -> None:
    prices = book(price("1"), price("2", schedule="night"), schedules=(NIGHT,))
    friday = datetime(2026, 9, 25, 23, tzinfo=UTC)

    found = [cost(prices, friday + timedelta(hours=h)) for h in (-24, 0, 6, 7, 24)]

    assert found == [1_000, 2_000, 2_000, 1_000, 1_000]


def test_a_region_takes_its_own_price_and_others_the_general_one() -> None:
    prices = book(price("1"), price("1.1", region="eu-*"), price("1.3", region="us-gov-west-1"))

    assert [cost(prices, region=r) for r in (None, "eu-west-1", "us-east-1", "us-gov-west-1")] == [
        1_000,
        1_100,
        1_000,
        1_300,
    ]


def test_list_and_contracted_cost_stand_side_by_side() -> None:
    prices = book(price("1"), price("0.8", tenant="acme"), price("0.7", tenant="acme", account="a1"))

    people = [("acme", None), ("acme", "a1"), ("b", None)]
    found = [one(prices, tenant_id=tenant, account_id=account) for tenant, account in people]

    assert [(f["list_cost"], f["contracted_cost"]) for f in found] == [(1_000, 800), (1_000, 700), (1_000, 1_000)]


def test_factors_multiply_in_their_declared_order_and_leave_written_prices_alone() -> None:
    since = {"provider": "openai", "model": "*", "effective_from": NOON - YEAR, "source": "test"}
    factors = (
        Factor(id="acme", kind="contract", multiplier=Decimal("0.9"), tenant="acme", **since),
        Factor(id="eu", kind="region", multiplier=Decimal("1.1"), region="eu", **since),
        Factor(id="batch", kind="class", multiplier=Decimal("0.5"), processing="batch", **since),
    )
    prices = book(
        price("1"), price("8", region="eu", processing="batch", model="n"), price("1", model="n"), factors=factors
    )

    assert cost(prices, tenant_id="b") == 1_000
    assert cost(prices, tenant_id="b", processing="batch", region="eu") == 550
    assert cost(prices, tenant_id="acme", processing="batch", region="eu") == 495
    assert cost(prices, model="n", tenant_id="b", processing="batch", region="eu") == 8_000
    assert one(prices, tenant_id="acme")["lines"][0]["price_id"].endswith("*acme")


def test_a_name_may_mean_another_model_from_a_day_on() -> None:
    aliases = (
        Alias(provider="openai", alias="m-latest", model="m", effective_to=NOON),
        Alias(provider="openai", alias="m-latest", model="n", effective_from=NOON),
        Alias(provider="openai", alias="m-2026", model="m", match="prefix"),
    )
    prices = book(price("1"), price("2", model="n"), aliases=aliases)

    before, after = (one(prices, at, "m-latest") for at in (NOON - timedelta(milliseconds=1), NOON))

    assert (before["effective_cost"], before["sku_model"]) == (1_000, "m")
    assert (after["effective_cost"], after["sku_model"]) == (2_000, "n")
    assert cost(prices, model="M-2026-05-05") == 1_000
    assert one(prices, model="m2")["pricing_status"] == "unpriced"  # I-14: no fallback rate


def test_a_seller_uses_the_prices_of_those_whose_models_it_sells() -> None:
    prices = book(price("1"), sellers=(Seller(provider="azure", names=("azure.ai.openai",), sells=("openai",)),))

    assert cost(prices, provider="azure.ai.openai") == 1_000


def test_tokens_of_a_plan_never_become_spend() -> None:
    found = one(book(price("1")), billing_mode="subscription")

    assert (found["list_cost"], found["contracted_cost"], found["effective_cost"]) == (1_000, 0, 0)
    assert found["reasons"][0].startswith("subscription")


def test_estimated_usage_says_who_counted_and_how_the_response_ended() -> None:
    found = one(book(price("1")), usage_source="estimated", completion_state="aborted")

    assert found["pricing_status"] == "estimated"
    assert found["reasons"] == ["estimated: the producer counted the tokens, the response is aborted"]


def test_a_zero_price_must_be_said_to_be_free() -> None:
    # I-12: a table of zeros disables every budget
    with pytest.raises(ValueError, match="say free = true"):
        price("0")

    assert one(book(price("0", free=True)))["pricing_status"] == "free"


def test_a_cost_is_converted_by_the_rate_of_its_day_into_the_currency_of_the_tenant() -> None:
    rates = (
        FxRate(
            base="USD", quote="EUR", rate=Decimal("0.9"), effective_from=NOON - YEAR, effective_to=NOON, source="ECB"
        ),
        FxRate(base="USD", quote="EUR", rate=Decimal("0.8"), effective_from=NOON, source="ECB"),
    )
    prices = book(price("1"), rates=rates, tenants=(Tenant(id="acme", currency="EUR"),))

    before, after = (one(prices, at, tenant_id="acme") for at in (NOON - timedelta(milliseconds=1), NOON))

    assert [(f["converted_cost"], f["converted_currency"]) for f in (before, after)] == [(900, "EUR"), (800, "EUR")]
    assert (after["effective_cost"], after["currency"], after["rate_id"]) == (1_000, "USD", rates[1].rate_id)
    assert one(prices, tenant_id="b")["converted_cost"] is None


def test_what_lacks_a_price_is_named() -> None:
    found = one(book(price("1")), amounts={"input_uncached": 1, "input_cache_read": 1, "output_visible": 1})

    assert found["pricing_status"] == "partial"
    assert found["reasons"] == ["no price in force: input_cache_read, output_visible"]


tiers = st.sampled_from(["", "flex", "priority"])
regions = st.sampled_from(["", "eu", "us"])
tenants = st.sampled_from(["", "acme"])
starts = st.integers(0, 4)
cells = st.lists(st.tuples(tiers, regions, tenants, starts, st.integers(1, 9)), max_size=12, unique_by=lambda c: c[:4])
asked = st.lists(st.tuples(tiers, regions, st.sampled_from(["acme", "b"]), st.integers(-1, 5)), min_size=1, max_size=8)


@settings(max_examples=80, deadline=None)
@given(cells, asked)
def test_columns_choose_what_the_oracle_chooses(written: list[Any], events: list[Any]) -> None:
    ordered = sorted(written)
    prices = []
    for tier, region, tenant, start, amount in ordered:
        ends = [s for t, r, n, s, _ in ordered if (t, r, n) == (tier, region, tenant) and s > start]
        prices.append(
            price(
                str(amount), service_tier=tier or "standard", region=region, tenant=tenant,
                effective_from=NOON + timedelta(hours=start), effective_to=NOON + timedelta(hours=min(ends)) if ends else None,
            )
        )  # fmt: skip
    records = [
        avro(i, model="m", event_time=NOON + timedelta(hours=h), tenant_id=tenant, service_tier=tier or None,
             region=region or None, usage_json=None, usage_dialect=None, quantities=[{"bucket": "input_uncached", "amount": 1}])
        for i, (tier, region, tenant, h) in enumerate(events)
    ]  # fmt: skip
    frame = DECODER.decode(records).frame

    rated = rate(frame, normalise(frame), book(*prices))
    apart = pl.concat([rate(frame[i : i + 1], normalise(frame[i : i + 1]), book(*prices)) for i in range(frame.height)])

    assert rated.equals(apart)
    for (tier, region, tenant, h), row in zip(events, rated.iter_rows(named=True), strict=True):
        at = NOON + timedelta(hours=h)
        held = [
            p for p in prices
            if p.service_tier == (tier or "standard") and p.region in ("", region) and p.tenant in ("", tenant)
            and p.effective_from <= at and (p.effective_to is None or at < p.effective_to)
        ]  # fmt: skip
        best = max(held, key=lambda p: (bool(p.tenant), bool(p.region)), default=None)
        assert row["contracted_cost"] == (best.unit_price if best else None)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-48, 48), min_size=1, max_size=20), st.integers(-24, 24))
def test_a_price_with_a_later_start_never_changes_an_earlier_day(hours: list[int], change: int) -> None:
    # I-21: a closed range went from $2,472.81 to $1,923.92 because a price had changed since
    starts_at = NOON + timedelta(hours=change)
    before = book(price("3"))
    after = book(price("3", effective_to=starts_at), price("5", effective_from=starts_at))

    for hour in hours:
        at = NOON + timedelta(hours=hour)
        if at < starts_at:
            assert cost(after, at) == cost(before, at)
        else:
            assert cost(after, at) == 5_000


def test_a_price_of_its_own_changes_no_day_on_which_the_bucket_was_billed_like_another() -> None:
    #  output_visible    [----------------
    #  output_reasoning          [--------
    used = {"output_visible": 1, "output_reasoning": 1}
    prices = book(price("2", "output_visible"), price("5", "output_reasoning", effective_from=NOON))

    assert cost(prices, NOON - timedelta(milliseconds=1), amounts=used) == 4
    assert cost(prices, NOON, amounts=used) == 7


def test_a_price_that_one_tenant_negotiated_for_a_bucket_takes_nothing_from_the_others() -> None:
    used = {"output_visible": 1, "output_reasoning": 1}
    prices = book(
        price("2", "output_visible"),
        price("1", "output_visible", tenant="acme"),
        price("3", "output_reasoning", tenant="acme"),
    )

    assert cost(prices, tenant_id="b", amounts=used) == 4
    assert cost(prices, tenant_id="acme", amounts=used) == 4  # 1 + 3: both are agreed


def test_a_written_price_takes_the_place_of_a_factor_from_its_first_day_on() -> None:
    #  factor batch  [----------------
    #  written batch         [--------
    half = Factor(
        id="batch", kind="class", multiplier=Decimal("0.5"), processing="batch", provider="openai", model="*",
        effective_from=NOON - YEAR, source="test",
    )  # fmt: skip
    prices = book(price("1"), price("0.7", processing="batch", effective_from=NOON), factors=(half,))

    assert cost(prices, NOON - timedelta(milliseconds=1), processing="batch") == 500
    assert cost(prices, NOON, processing="batch") == 700


def test_a_region_named_in_full_wins_over_its_beginning_and_a_longer_beginning_over_a_shorter() -> None:
    prices = book(
        price("1"), price("2", region="us*"), price("3", region="us-east*"), price("4", region="us-east-1"),
        price("5", tenant="acme"),
    )  # fmt: skip

    found = [cost(prices, tenant_id="b", region=r) for r in ("eu", "us-west-1", "us-east-2", "us-east-1")]

    assert found == [1_000, 2_000, 3_000, 4_000]
    assert cost(prices, tenant_id="acme", region="us-east-1") == 5_000


def test_a_list_cost_in_another_currency_than_the_contract_is_unknown_and_says_so() -> None:
    two = {"input_uncached": 1, "output_visible": 1}
    agreed = [price("2", b, tenant="acme", currency="EUR") for b in two]
    foreign = one(book(price("1"), price("1", "output_visible"), *agreed), tenant_id="acme", amounts=two)
    mixed = one(book(price("1"), price("1", "output_visible", currency="EUR"), *agreed), tenant_id="acme", amounts=two)

    for found in (foreign, mixed):
        assert (found["list_cost"], found["effective_cost"], found["currency"]) == (None, 4, "EUR")
    assert foreign["reasons"] == ["list prices in USD have no sum in EUR"]
    assert mixed["reasons"] == ["list prices in EUR and USD have no sum in EUR"]


def test_prices_in_two_currencies_are_partial_and_say_why() -> None:
    found = one(
        book(price("1"), price("1", "output_visible", currency="EUR")),
        amounts={"input_uncached": 1, "output_visible": 1},
    )

    assert (found["pricing_status"], found["effective_cost"]) == ("partial", None)
    assert found["reasons"] == ["prices in EUR and USD have no sum"]


def test_a_list_cost_beyond_all_bounds_is_inconsistent_however_cheap_the_contract() -> None:
    found = one(
        book(price("999999"), price("0.000001", tenant="acme")), tenant_id="acme", amounts={"input_uncached": 10**12}
    )

    assert (found["pricing_status"], found["list_cost"]) == ("inconsistent", None)


def test_the_contracts_of_thousands_of_tenants_cost_the_others_no_time() -> None:
    prices = book(price("1"), *(price("2", tenant=f"t{i}") for i in range(4_000)))
    own = [{"bucket": "input_uncached", "amount": 1}]
    events = [
        avro(i, model="m", tenant_id=f"t{i}", usage_json=None, usage_dialect=None, quantities=own) for i in range(1_000)
    ]
    frame = DECODER.decode(events).frame
    begun = clock()

    found = rate(frame, normalise(frame), prices)

    assert found["effective_cost"].sum() == 2_000
    assert clock() - begun < 1.5  # every sale looked at every contract: 3 s here, and a minute with 100,000 of them


@pytest.mark.parametrize(
    ("amount", "multiplier"),
    [("999999", "1000"), ("999999", "999999999999999"), ("0.000000000000000001", "0.1")],
)
def test_a_factor_that_makes_a_price_of_nothing_or_beyond_all_bounds_is_a_problem(amount: str, multiplier: str) -> None:
    # such a price stopped the meter at the first event, or was free without saying so
    factor = Factor(
        id="prio", kind="class", multiplier=Decimal(multiplier), service_tier="priority", provider="openai", model="*",
        effective_from=NOON - YEAR, source="test",
    )  # fmt: skip

    [problem] = problems(Catalog(prices=(price(amount),), factors=(factor,)))

    assert problem.startswith("factors prio: makes ")
    assert problem.endswith("; a price is above 0 and below 1,000,000, mend the multiplier")


def test_a_price_that_is_nothing_at_eighteen_digits_is_refused() -> None:
    with pytest.raises(ValueError, match="one unit would cost 0"):
        price("0.0000000000001", "session_ms", per=3_600_000)


def test_a_rate_at_which_the_largest_cost_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="in a larger unit"):
        FxRate(base="USD", quote="IRR", rate=Decimal(10**8), effective_from=NOON, source="test")


def test_seconds_and_characters_of_input_are_no_tokens() -> None:
    prices = book(
        price("1", context_to=1_000), price("2", context_from=1_000), price("0.001", "input_audio_ms"),
        price("0.001", "input_characters"),
    )  # fmt: skip
    used = {"input_uncached": 10, "input_audio_ms": 60_000, "input_characters": 5_000}

    found = one(prices, amounts=used, provider_total_tokens=10)

    assert (found["input_tokens"], found["total_tokens"], found["pricing_status"]) == (10, 10, "priced")
    assert found["effective_cost"] == 75  # 10 + 60 + 5: the lower band, for ten tokens


def test_two_models_whose_names_differ_in_case_alone_are_a_problem() -> None:
    # one of the two was never found, so that an own price lost to the base price without a word
    assert problems(Catalog(prices=(price("1", model="M-1"), price("2", model="m-1")))) == [
        "prices openai/m-1: differs from M-1 in case alone; write both the same way"
    ]


def test_hours_over_midnight_hold_after_a_day_that_a_zone_left_out() -> None:
    # Samoa went from Thursday 2011-12-29 to Saturday 2011-12-31; an event of that day must not stop the meter
    night = Schedule(id="night", zone="Pacific/Apia", hours=(Hours(start=time(22), end=time(6)),))
    since = datetime(2011, 1, 1, tzinfo=UTC)
    prices = book(
        price("1", effective_from=since), price("2", schedule="night", effective_from=since), schedules=(night,)
    )

    assert cost(prices, datetime(2011, 12, 31, 1, tzinfo=ZoneInfo("Pacific/Apia"))) == 2_000
