"""Money as people write it: decimal strings, exact to 18 digits, never a float."""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

MAX_SCALE = 18
MAX_UNIT_PRICE = 10**6  # so that a line of the largest quantity still fits Decimal(38, 18) (C6)


def _money(value: Any) -> Decimal:
    if isinstance(value, float):
        raise ValueError(f'money is a float: {value}; write it as a string, "{value}"')
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f"money is {type(value).__name__}; write it as a string")
    try:
        amount = Decimal(value)
    except InvalidOperation as error:
        raise ValueError(f"money is {value!r}; write a decimal string") from error
    if not amount.is_finite() or amount < 0 or amount >= 10**15:
        raise ValueError(f"money is {value}; give a positive decimal string below 10^15")
    if scale_of(amount) > MAX_SCALE:
        raise ValueError(f"money is {value}; at most {MAX_SCALE} digits after the point are kept")
    return amount


def scale_of(amount: Decimal) -> int:
    """Digits after the point that the amount needs."""
    return max(0, -int(amount.normalize().as_tuple().exponent)) if amount else 0


Money = Annotated[Decimal, BeforeValidator(_money)]
Currency = Annotated[str, Field(pattern="^[A-Z]{3,8}$")]  # ISO 4217, or a virtual unit such as DBU or CREDITS
