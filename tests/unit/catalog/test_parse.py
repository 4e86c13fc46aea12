"""A catalog is refused with file, line and remedy, or trusted."""

import json
import time
from datetime import datetime, timedelta, timezone

import pytest

from streams.catalog import wire
from streams.catalog.parse import parse_files
from streams.catalog.prices import Price
from streams.catalog.validate import CatalogError

PRICE = """
[[prices]]
provider = "openai"
model = "m"
bucket = "input_uncached"
unit_price = {amount}
currency = "USD"
effective_from = 2026-01-01T00:00:00Z
source = "test"
"""


def test_a_good_catalog_has_the_same_version_however_often_it_is_read() -> None:
    catalog = parse_files({"prices.toml": PRICE.format(amount='"0.000001"')})

    assert wire.load(wire.dump(catalog)) == catalog
    assert wire.version_of(wire.dump(catalog)) == wire.version_of(wire.dump(wire.load(wire.dump(catalog))))


def test_what_was_published_before_a_bound_came_still_loads() -> None:
    far = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(hours=5)))
    body = json.dumps(
        {
            "silences": [{"id": "s", "starts": "2026-01-01T00:00:00Z", "ends": far.isoformat(), "reason": "for good"}],
            "runs": [{"id": "r", "iterations": 3, "idle": "9999d"}],
        }
    ).encode()

    catalog = wire.load(body)

    assert (catalog.silences[0].ends, catalog.runs[0].idle) == (far, 9_999 * 86_400_000)
    assert wire.load(wire.dump(catalog)) == wire.load_sections(body, ("silences", "runs")) == catalog


GOOD = PRICE.format(amount='"1"')
SLIPS = {
    "a float": (
        PRICE.format(amount=2.5),
        'prices.toml:6: prices.0.unit_price: money is a float: 2.5; write it as a string, "2.5"',
    ),
    "a zero": (PRICE.format(amount='"0"'), "say free = true"),
    "a negative": (
        PRICE.format(amount='"-1"'),
        "prices.toml:6: prices.0.unit_price: money is -1; give a positive decimal string",
    ),
    "too large": (PRICE.format(amount='"1000000"'), "unit_price is 1000000; a price is for one unit"),
    "an unknown key": (
        GOOD + 'colour = "red"',
        "prices.toml:10: prices.0.colour: is no key of it; leave it out",
    ),
    "an overlap": (GOOD * 2, "prices.toml:2: prices openai/m/input_uncached@2026-01-01T00:00:00Z: overlaps"),
    "no currency": (GOOD.replace('currency = "USD"\n', ""), "prices.toml:2: prices.0.currency: is missing; add it"),
    "a wrong currency": (
        GOOD.replace("USD", "dollars"),
        "prices.toml:7: prices.0.currency: is 'dollars'; write its code in capitals, such as USD",
    ),
    "an unknown bucket": (
        GOOD.replace("input_uncached", "inputs"),
        "prices.toml:5: prices.0: bucket inputs: no usage has it; write one of",
    ),
    "a bucket with a typo": (
        GOOD.replace("input_uncached", "input_uncachd"),
        "bucket input_uncachd: no usage has it; write one of input_uncached",
    ),
    "a key with a typo": (
        GOOD.replace("provider", "provder"),
        "prices.toml:3: prices.0.provder: is no key of it; is it provider?",
    ),
    "an unknown section": (GOOD.replace("prices", "price"), "prices.toml:2: price: is no section; is it prices?"),
    "one table instead of a list": (
        GOOD.replace("[[prices]]", "[prices]"),
        "prices: is one table or a value; write each entry under [[prices]]",
    ),
    "a word that is not on the list": (
        '[[rules]]\nid = "r"\nkind = "unprised"',
        "prices.toml:3: rules.0.kind: is 'unprised'; write 'unpriced', 'context', 'policy', 'low_usage',",
    ),
    "a day instead of an instant": (
        GOOD.replace("2026-01-01T00:00:00Z", "2026-01-01"),
        "prices.0.effective_from: 2026-01-01 has no zone; write 2026-01-01T00:00:00Z for UTC",
    ),
    "a period of no kind": (
        '[[budgets]]\nid = "b"\nlimit = "1"\nperiod = { kind = "rollin", size = "1h" }\n',
        "budgets.0.period: kind is 'rollin'; write 'calendar', 'rolling'",
    ),
    "an unknown zone": (
        '[[schedules]]\nid = "peak"\nzone = "Mars/Olympus"\nhours = [{start = 09:00:00, end = 12:00:00}]',
        "prices.toml:3: schedules.0: zone Mars/Olympus: unknown; write an IANA name such as Europe/Berlin",
    ),
    "hours of nobody": (GOOD + 'schedule = "peak"', "schedule peak is not there; add it under [[schedules]]"),
    "a gap between bands": (
        GOOD + "context_to = 100" + GOOD + "context_from = 101",
        "prices.toml:2: prices openai/m/input_uncached@2026-01-01T00:00:00Z: its band leaves a gap before",
    ),
    "a price that ends before it starts": (
        GOOD + "effective_to = 2025-01-01T00:00:00Z",
        "effective_to is not after effective_from",
    ),
    "an alias of nothing": (
        '[[aliases]]\nprovider = "openai"\nalias = "a"\nmodel = "m"',
        "prices.toml:1: aliases a: openai has no price for m",
    ),
    "a factor without its region": (
        '[[factors]]\nid = "eu"\nkind = "region"\nprovider = "openai"\nmodel = "*"\nmultiplier = "1.1"\n'
        'effective_from = 2026-01-01T00:00:00Z\nsource = "s"',
        "factor eu: kind region and region '' do not fit",
    ),
    "no TOML": ("nonsense", "mend the TOML"),
    "not UTF-8": ('[[prices]]\nsource = "M\udcfcnchen"', "prices.toml: is not UTF-8"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_named_with_its_place(slip: str) -> None:
    text, message = SLIPS[slip]

    with pytest.raises(CatalogError) as caught:
        parse_files({"prices.toml": text})

    assert message in str(caught.value)


def test_a_list_of_many_prices_is_read_in_the_time_of_its_length() -> None:
    entry = (
        '[[prices]]\nprovider="p"\nmodel="m{}"\nbucket="input_uncached"\nunit_price="1"\ncurrency="USD"\nsource="x"\n'
    )
    text = "".join(entry.format(i) + "effective_from=2026-01-01T00:00:00Z\n" for i in range(4_000))
    begun = time.perf_counter()

    catalog = parse_files({"prices.toml": text})

    assert len(catalog.prices) == 4_000
    assert time.perf_counter() - begun < 8  # 16 s when the lines were counted again for every entry


def test_many_slips_are_named_in_the_time_of_their_number() -> None:
    text = "".join(f'[[prices]]\nmodel="m{i}"\n' for i in range(1_000))
    begun = time.perf_counter()

    with pytest.raises(CatalogError, match=r"prices\.toml:1999: prices\.999\.provider: is missing"):
        parse_files({"prices.toml": text})

    assert time.perf_counter() - begun < 8


def test_the_name_of_a_price_says_its_first_instant_in_utc() -> None:
    start = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    price = Price(
        provider="p", model="m", bucket="requests", unit_price="1", currency="USD", source="x", effective_from=start
    )

    assert price.price_id == "p/m/requests@2025-12-31T22:00:00Z"
