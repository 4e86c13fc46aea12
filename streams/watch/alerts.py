"""What all records of the watch share: ids that a replay finds again, plain amounts, instants, and what made the watch look."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

LAST_MS = 253_402_300_799_000  # the last second of 9999


@dataclass(frozen=True, slots=True)
class Cause:
    """What made the watch look: event time as of then, the broker's time, and the ledger batch behind it."""

    clock: int
    detected: int
    stream: str
    partition: int
    ledger_offset: int


def id_of(scope: str, threshold: str, start: int) -> str:
    """24 hex digits that every replay finds again."""
    return hashlib.sha256(f"{scope}\n{threshold}\n{start}".encode()).hexdigest()[:24]


def text(amount: Decimal) -> str:
    """Plain digits, no exponent, no trailing zeros."""
    plain = f"{amount:f}" if amount else "0"  # 0E-400000000 is a zero too
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def instant(ms: int) -> str:
    """RFC 3339 in UTC with milliseconds; what no calendar holds is its last or first moment."""
    at = datetime.fromtimestamp(min(max(ms, 0), LAST_MS) / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
