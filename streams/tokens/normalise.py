"""Usage of a frame of events as lines: one row an event and bucket, disjoint by construction.

A provider's block is decoded by its dialect's typed struct, row by row, so that a bad row fails alone; all else is columns.
Events that bring their own quantities are exploded as columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import msgspec
import numpy as np
import polars as pl

from streams.tokens import anthropic, openai
from streams.tokens.buckets import Dialect, Inconsistent

LINES = pl.Schema({"source_offset": pl.Int64, "bucket": pl.String, "quantity": pl.Int64})
PROBLEMS = pl.Schema({"source_offset": pl.Int64, "reason": pl.String})
LIMIT = 10**12


@dataclass(frozen=True, slots=True)
class Usage:
    """`lines`: LINES, sorted; `problems`: PROBLEMS, why an event's usage cannot be trusted."""

    lines: pl.DataFrame
    problems: pl.DataFrame


DIALECTS = {
    "openai.chat": Dialect(openai.Usage, openai.BUCKETS, openai.amounts),
    "anthropic.messages": Dialect(anthropic.Usage, anthropic.BUCKETS, anthropic.amounts),
}
DECODE = {name: msgspec.json.Decoder(dialect.kind).decode for name, dialect in DIALECTS.items()}


def read_block(dialect: str, block: str) -> dict[str, int] | str:
    """Buckets above 0 of one block, or the reason why not: one line that names the figures."""
    if dialect not in DIALECTS:
        return f"unknown_dialect: {dialect}"
    try:
        found = dict(zip(DIALECTS[dialect].buckets, DIALECTS[dialect].amounts(DECODE[dialect](block)), strict=True))
    except Inconsistent as error:
        return f"inconsistent: {error}"
    except msgspec.MsgspecError as error:
        return f"bad_usage: {error}"
    except (RecursionError, ValueError):
        return "bad_usage: nested too deep, or not UTF-8"
    for bucket, amount in found.items():
        if not 0 <= amount <= LIMIT:
            return f"inconsistent: {bucket} would be {amount}"
    return {bucket: amount for bucket, amount in found.items() if amount}


Problems = list[tuple[int, str]]


def _of_dialect(name: str, offsets: Sequence[int], blocks: Sequence[str], problems: Problems) -> pl.DataFrame:
    """Lines of the blocks of one dialect, sorted; those that cannot be read go to `problems`."""
    dialect = DIALECTS.get(name)
    if dialect is None:
        problems += [(offset, f"unknown_dialect: {name}") for offset in offsets]
        return pl.DataFrame(schema=LINES)
    decode, amounts, rows = DECODE[name], dialect.amounts, list[tuple[int, ...]]()
    width = len(dialect.buckets)
    unreadable = (-1,) * width
    for block in blocks:
        try:
            rows.append(amounts(decode(block)))
        except (Inconsistent, msgspec.MsgspecError, RecursionError, ValueError):
            rows.append(unreadable)
    try:
        matrix = np.fromiter(chain.from_iterable(rows), np.int64, len(rows) * width).reshape(-1, width)
    except OverflowError:  # a count beyond 64 bits
        rows = [row if max(row) <= LIMIT else unreadable for row in rows]
        matrix = np.array(rows, np.int64)
    wrong = ((matrix < 0) | (matrix > LIMIT)).any(axis=1)
    if wrong.any():
        problems += [(offsets[i], str(read_block(name, blocks[i]))) for i in np.flatnonzero(wrong).tolist()]
        matrix[wrong] = 0
    row_of, bucket_of = np.nonzero(matrix)
    return pl.DataFrame(
        {
            "source_offset": np.asarray(offsets, np.int64)[row_of],
            "bucket": pl.Series(dialect.buckets, dtype=pl.String).gather(bucket_of),
            "quantity": matrix[row_of, bucket_of],
        },
        schema=LINES,
    )


def normalise(events: pl.DataFrame) -> Usage:
    """events: source_offset, usage_dialect, usage_json, quantities, provider_total_tokens."""
    problems: Problems = []
    blocks = events.select("source_offset", "usage_dialect", "usage_json").drop_nulls("usage_json")
    found = [
        _of_dialect(
            str(part["usage_dialect"][0]), part["source_offset"].to_list(), part["usage_json"].to_list(), problems
        )
        for part in blocks.partition_by("usage_dialect", maintain_order=True)
    ]
    own = events.select("source_offset", "usage_json", "quantities")
    own = own.filter(pl.col("usage_json").is_null() & (pl.col("quantities").list.len() > 0))
    if own.height:
        items = own.select("source_offset", "quantities").explode("quantities").unnest("quantities")
        given = items.group_by("source_offset", "bucket").agg(quantity=pl.col("amount").sum())
        found.append(given.filter(pl.col("quantity") > 0).select(LINES.names()))
    lines = pl.concat(found) if found else pl.DataFrame(schema=LINES)
    if len(found) > 1 or own.height:
        lines = lines.sort("source_offset", "bucket")
    problems.sort()
    return Usage(lines, pl.concat([pl.DataFrame(problems, PROBLEMS, orient="row"), _totals_missed(events, lines)]))


def _totals_missed(events: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Events whose token buckets do not add up to the total that the provider reported."""
    told = events.select("source_offset", "provider_total_tokens").drop_nulls("provider_total_tokens")
    if not told.height:
        return pl.DataFrame(schema=PROBLEMS)
    tokens = lines.filter(pl.col("bucket").str.contains("^(input|output)_")).group_by("source_offset")
    both = told.join(tokens.agg(found=pl.col("quantity").sum()), on="source_offset", how="left")
    missed = both.filter(pl.col("found").fill_null(0) != pl.col("provider_total_tokens"))
    text = pl.format("inconsistent: provider_total_tokens is {}, the buckets are {}", "provider_total_tokens", "found")
    return missed.select("source_offset", reason=text)
