"""An amount is plain once it has entered: no exponent in it can fill memory where it is written out."""

from decimal import Decimal

import pytest
from pydantic import TypeAdapter, ValidationError

from streams.catalog.money import Money, kept_of, scale_of

MONEY: TypeAdapter[Decimal] = TypeAdapter(Money)


@pytest.mark.parametrize("zero", ["0", "-0", "0.00", "0E-400000000", "0E+400000000", "0e-19", 0, Decimal("0E-9999")])
def test_every_zero_is_the_same(zero: object) -> None:
    assert repr(MONEY.validate_python(zero)) == "Decimal('0')"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("1.50", "1.50"),
        ("1e-18", "1E-18"),
        ("999999999999999.999999999999999999", "999999999999999.999999999999999999"),
        ("5." + "0" * 50_000, "5.000000000000000000"),
        ("1e14", "1E+14"),
    ],
)
def test_an_amount_stays_as_it_was_written_with_eighteen_digits_after_the_point_at_most(given: str, kept: str) -> None:
    assert str(MONEY.validate_python(given)) == kept


@pytest.mark.parametrize(
    "given",
    ["1e-19", "1E-400000000", "1E-999999999999999999", "1E-9999999999999999999", "1E400000000", "1" * 40, "-1E400000000",
     "0.1000000000000000000000000000000000001", "NaN", "sNaN", "Infinity"],
)  # fmt: skip
def test_an_amount_that_cannot_be_kept_is_refused_in_a_line(given: str) -> None:
    with pytest.raises(ValidationError, match="money is") as refused:
        MONEY.validate_python(given)

    assert len(str(refused.value)) < 500


def test_what_is_kept_of_an_amount_below_zero_is_below_zero() -> None:
    assert kept_of(Decimal("-1.5")) == Decimal("-1.5")
    assert kept_of(Decimal("-1E400000000")) is None


def test_digits_beyond_the_twenty_eighth_count_too() -> None:
    assert scale_of(Decimal("123456789012345.123456789012345678")) == 18
