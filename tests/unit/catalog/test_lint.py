"""What a catalog lacks is found; what is whole is left alone."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from streams.catalog.calendars import Calendar
from streams.catalog.changes import changes
from streams.catalog.limits import Budget, BurnRate, BurnWindow, Lifetime, Rolling
from streams.catalog.lint import gaps, hidden, lint, missing, noise, stale
from streams.catalog.models import Catalog
from streams.catalog.prices import Factor, Price

START, AT = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)


def price(bucket: str, amount: str = "1", **other: Any) -> Price:
    given = {
        "provider": "p",
        "model": "m",
        "effective_from": START,
        "currency": "USD",
        "source": "s",
        "source_url": "u",
    }
    return Price(**{**given, "checked": date(2026, 10, 1), "bucket": bucket, "unit_price": Decimal(amount), **other})


def said(*prices: Price, **other: Any) -> list[str]:
    return [str(f) for f in missing(Catalog(prices=prices, **other), AT)]


def test_a_whole_matrix_has_no_findings() -> None:
    whole = [price(b, processing=c) for b in ("input_uncached", "output_visible") for c in ("online", "batch")]

    assert lint(Catalog(prices=tuple(whole)), AT) == []


def test_a_class_that_lacks_a_cache_price_of_the_standard_class_is_named() -> None:
    online = [price("input_uncached"), price("input_cache_read"), price("output_visible")]

    assert said(*online, price("input_uncached", processing="batch"), price("output_visible", processing="batch")) == [
        "prices p/m: no price for input_cache_read (batch); add it, or such usage is unpriced"
    ]


def test_a_band_that_lacks_a_bucket_of_another_band_is_named() -> None:
    banded = [price("input_uncached", context_to=200_001), price("input_uncached", context_from=200_001)]

    assert said(*banded, price("output_visible", context_to=200_001)) == [
        "prices p/m: no price for output_visible (input from 200001); add it, or such usage is unpriced"
    ]


def test_what_factors_make_and_what_is_billed_alike_is_not_missing() -> None:
    half = Factor(
        id="half", kind="class", provider="p", model="*", processing="batch", multiplier=Decimal("0.5"), source="s",
        effective_from=START,
    )  # fmt: skip
    reasoning = price("output_reasoning", service_tier="priority")

    assert said(price("input_uncached"), price("output_visible"), factors=(half,)) == []
    assert said(price("output_visible"), price("output_visible", service_tier="priority"), reasoning) == []


def test_a_price_that_ended_is_missing() -> None:
    ended = price("output_visible", context_from=10, effective_to=AT)
    bands = [price("output_visible", context_to=10), price("input_uncached", context_to=10)]

    assert said(*bands, price("input_uncached", context_from=10), ended) != []


def test_sources_that_are_not_named_or_were_not_read_for_90_days_are_stale() -> None:
    old = price("input_uncached", checked=date(2026, 8, 2))
    bare = price("output_visible", source_url="", checked=None)
    fresh = price("input_cache_read", checked=date(2026, 8, 3))

    assert [f.said for f in stale(Catalog(prices=(old, bare, fresh)), AT)] == [
        "no source_url for output_visible; write where the price can be read",
        "no checked for output_visible; write the day on which the source was read",
        "input_uncached last checked on 2026-08-02, more than 90 days ago; read the source again",
    ]


def test_own_prices_say_which_classes_of_the_base_they_hide() -> None:
    own = Catalog(prices=(price("input_uncached"),))
    base = Catalog(
        prices=(price("input_uncached"), price("input_uncached", processing="batch"), price("pages", model="n"))
    )

    [found] = hidden(own, base, AT)

    assert found.level == "note"
    assert str(found).startswith("prices p/m: own prices hide 1 of its base prices, all of batch among them")


def test_changes_are_sorted_by_how_much_changes() -> None:
    old = Catalog(prices=(price("input_uncached", "2"), price("output_visible", "4"), price("pages", "1")))
    new = Catalog(prices=(price("input_uncached", "3"), price("output_visible", "1"), price("images", "1")))

    found = changes(old, new, AT)

    assert [(c.kind, c.bucket, c.relative) for c in found] == [
        ("changed", "output_visible", Decimal("-0.75")),
        ("changed", "input_uncached", Decimal("0.5")),
        ("added", "images", None),
        ("removed", "pages", None),
    ]


def test_the_same_amount_written_otherwise_or_in_another_currency_is_told_apart() -> None:
    old = Catalog(prices=(price("input_uncached", "2", per=1_000), price("pages", "1")))
    new = Catalog(prices=(price("input_uncached", "0.002"), price("pages", "1", currency="EUR")))

    assert [(c.kind, c.bucket, c.currency) for c in changes(old, new, AT)] == [
        ("removed", "pages", "USD"),
        ("added", "pages", "EUR"),
    ]


def test_a_time_between_two_prices_in_which_none_holds_is_named_and_meeting_ones_are_not() -> None:
    ends, starts = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
    first, second = price("input_uncached", effective_to=ends), price("input_uncached", effective_from=starts)
    meets = price("output_visible", effective_to=ends), price("output_visible", effective_from=ends)

    assert [str(f) for f in gaps(Catalog(prices=(first, second, *meets)))] == [
        "prices p/m/input_uncached@2026-01-01T00:00:00Z: no price between 2026-03-01T00:00:00Z and 2026-03-02T00:00:00Z;"
        " let the intervals meet, or usage of that time is unpriced"
    ]


def of_burn(period: Any, *windows: BurnWindow) -> list[str]:
    budget = Budget(id="b", each=("run_id",), limit="1", period=period)
    burn = BurnRate(id="fast", budget="b", **({"windows": windows} if windows else {}))
    return [str(f) for f in noise(Catalog(budgets=(budget,), burn_rates=(burn,)))]


def test_a_share_that_ordinary_use_of_a_day_takes_is_noise() -> None:
    page = BurnWindow(long="1h", short="5m", share="0.02")

    assert of_burn(Calendar(every="day"), page) == [
        "burn_rates fast: share 0.02 of 1h/5m is 0.48 times an even use of budget b, so it fires all the time;"
        " give more than 0.042"
    ]
    assert len(of_burn(Rolling(size="24h"))) == 2  # the third compares with what is left, by a factor
    assert of_burn(Calendar(every="month")) == of_burn(Rolling(size="7d"), page) == of_burn(Lifetime()) == []
