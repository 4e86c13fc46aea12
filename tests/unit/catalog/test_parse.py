"""A catalog is refused with file, line and remedy, or trusted."""

import pytest

from streams.catalog import wire
from streams.catalog.parse import parse_files
from streams.catalog.validate import CatalogError

PRICE = """
[[prices]]
provider = "openai"
model = "m"
bucket = "input_uncached"
unit_price = {amount}
effective_from = 2026-01-01T00:00:00Z
source = "test"
"""


def test_a_good_catalog_has_the_same_version_however_often_it_is_read() -> None:
    catalog = parse_files({"prices.toml": PRICE.format(amount='"0.000001"')})

    assert wire.load(wire.dump(catalog)) == catalog
    assert wire.version_of(wire.dump(catalog)) == wire.version_of(wire.dump(wire.load(wire.dump(catalog))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            PRICE.format(amount=2.5),
            'prices.toml:2: prices.0.unit_price: money is a float: 2.5; write it as a string, "2.5"',
        ),
        (PRICE.format(amount='"0"'), "say free = true"),
        (PRICE.format(amount='"1000000"'), "unit_price is 1000000; a price is for one unit"),
        (PRICE.format(amount='"1"') + 'colour = "red"', "Extra inputs are not permitted"),
        (PRICE.format(amount='"1"') * 2, "overlaps"),
        ("nonsense", "mend the TOML"),
        ('[[prices]]\nsource = "M\udcfcnchen"', "prices.toml: is not UTF-8"),
    ],
)
def test_a_slip_is_named_with_its_place(text: str, message: str) -> None:
    with pytest.raises(CatalogError) as caught:
        parse_files({"prices.toml": text})

    assert message in str(caught.value)
