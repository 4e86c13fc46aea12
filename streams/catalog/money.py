"""Money as people write it: decimal strings, exact to 18 digits, never a float.

What has entered is plain: a dozen letters such as 0E-400000000 are hundreds of megabytes once they are written out.
"""

from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

MAX_SCALE = 18
MAX_UNIT_PRICE = 10**6  # so that a line of the largest quantity still fits Decimal(38, 18) (C6)
LAST = Decimal(1).scaleb(-MAX_SCALE)
_EXACT = Context(prec=60)
_WHOLE = Context(prec=60, traps=[Inexact, InvalidOperation])


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
    if (kept := kept_of(amount)) is None:
        raise ValueError(f"money is {value}; at most {MAX_SCALE} digits after the point are kept")
    return kept


def kept_of(amount: Decimal) -> Decimal | None:
    """The same with 18 digits after the point at most, every zero as 0; None where it needs more, or is none below 10^15."""
    if not amount.is_finite() or amount.copy_abs() >= 10**15:
        return None
    try:
        kept = amount.quantize(LAST, context=_WHOLE)
    except Inexact:
        return None
    return (kept if int(amount.as_tuple().exponent) < -MAX_SCALE else amount) if amount else Decimal(0)


def scale_of(amount: Decimal) -> int:
    """Digits after the point that the amount needs."""
    return max(0, -int(amount.normalize(_EXACT).as_tuple().exponent)) if amount else 0


Money = Annotated[Decimal, BeforeValidator(_money)]
Currency = Annotated[str, Field(pattern="^[A-Z]{3,8}$")]  # ISO 4217, or a virtual unit such as DBU or CREDITS
