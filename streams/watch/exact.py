"""Arithmetic that never rounds: Python's default of 28 digits would."""

from decimal import Context, Decimal

EXACT = Context(prec=60)
ZERO = Decimal(0)


def plain(amount: Decimal) -> Decimal:
    """The same amount in the fewest digits: what is stored stays small, and equal amounts look alike."""
    return amount.normalize(EXACT) if amount else ZERO
