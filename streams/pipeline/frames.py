"""The vocabulary that every pure stage shares: money, a record as the broker gave it, a record that was refused."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

MONEY = pl.Decimal(38, 18)
INSTANT = pl.Datetime("ms", "UTC")


class Record(NamedTuple):
    """One Kafka record of one partition; `timestamp` is the broker's append time in ms since the epoch."""

    offset: int
    timestamp: int
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    key: bytes | None = None


def above(records: Sequence[Record], mark: int) -> Sequence[Record]:
    """Of records in offset order those after `mark`; no record is looked at that need not be."""
    return records[bisect_right(records, mark, key=lambda record: record.offset) :]


class Dead(NamedTuple):
    """A refused record: `reason` is a code that keeps its meaning, `detail` is for people and holds no content."""

    record: Record
    reason: str
    detail: str
