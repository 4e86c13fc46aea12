"""Ledger messages into rated_rows: rows, then their accounts, then the mark; every step may be repeated.

One or several neighbouring messages are one insert with one token, `stream/partition/first-last`. The same offsets always give
the same bytes; other cuts after a crash meet in ReplacingMergeTree.
"""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl
from clickhouse_connect.driver.client import Client
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from streams.pipeline.chain import LogBroken
from streams.pipeline.frames import INSTANT
from streams.pipeline.ledger import encode_frame, read_frame, read_headers
from streams.warehouse.client import is_away
from streams.warehouse.marks import Mark, write_mark

PATIENCE_SECONDS = 10.0


class LedgerMessage(NamedTuple):
    """A counted message of one partition of the ledger."""

    offset: int
    timestamp: int
    headers: Sequence[tuple[str, bytes]]
    payload: bytes


def insert_frame(client: Client, table: str, frame: pl.DataFrame, token: str) -> None:
    """The frame as one insert, retried for a while with the same bytes; raises when the warehouse stays away."""
    payload = encode_frame(frame)
    retrying = Retrying(
        retry=retry_if_exception(is_away),
        stop=stop_after_delay(PATIENCE_SECONDS),
        wait=wait_exponential(0.1, max=5),
        reraise=True,
    )
    for attempt in retrying:
        with attempt:
            client.raw_insert(
                table,
                column_names=frame.columns,
                insert_block=payload,
                fmt="ArrowStream",
                settings={"insert_deduplication_token": token},
            )


def rows_of(messages: Sequence[LedgerMessage], partition: int) -> pl.DataFrame:
    """The rated rows of neighbours with their place in the ledger: stream, partition, ledger_offset, version 0."""
    frames = []
    for message in messages:
        coverage, stamp = read_headers(message.headers)
        frame = read_frame(message.payload)
        if frame.height != coverage.rated:
            raise LogBroken(
                f"ledger offset {message.offset}: {frame.height} rows, its headers say {coverage.rated}; restore the topic"
            )
        if not frame.is_empty():
            place = (
                pl.lit(stamp.stream).alias("stream"),
                pl.lit(partition, pl.Int32).alias("partition"),
                pl.lit(message.offset, pl.Int64).alias("ledger_offset"),
                pl.lit(0, pl.UInt64).alias("version"),
            )
            frames.append(frame.with_columns(*place))
    return pl.concat(frames, how="diagonal") if frames else pl.DataFrame()


def accounts_of(messages: Sequence[LedgerMessage], partition: int) -> pl.DataFrame:
    """What the messages say of the source offsets, one row each, for conservation."""
    rows = []
    for message in messages:
        c, s = read_headers(message.headers)
        counts = (c.rated, len(c.duplicates), len(c.dead), len(c.skipped), len(c.lost))
        rows.append((s.stream, partition, message.offset, c.base, c.to, *counts, s.catalog_sequence, message.timestamp))
    names = ("base", "to", "rated", "duplicate", "dead", "skipped", "lost", "catalog_sequence", "appended_at")
    schema = {"stream": pl.String, "partition": pl.Int32, "ledger_offset": pl.Int64, **dict.fromkeys(names, pl.Int64)}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("appended_at").cast(INSTANT))


def insert_ledger(client: Client, topic: str, partition: int, messages: Sequence[LedgerMessage]) -> Mark:
    """Store counted neighbours in order and mark them; the mark that now holds."""
    coverage, stamp = read_headers(messages[-1].headers)
    token = f"{stamp.stream}/{partition}/{messages[0].offset}-{messages[-1].offset}"
    rows = rows_of(messages, partition)
    if not rows.is_empty():
        insert_frame(client, "usage.rated_rows", rows, token)
    insert_frame(client, "usage.ledger_batches", accounts_of(messages, partition), token)
    mark = Mark(topic, partition, messages[-1].offset, stamp.stream, coverage.to)
    write_mark(client, mark)
    return mark
